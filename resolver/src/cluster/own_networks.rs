//! The networks that the cluster itself uses and that no Node names: what an administrator has given, and that of Services.

use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use knap_core::ClusterNetwork;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use tokio::time::{sleep, timeout};

use crate::http::Readiness;
use crate::view::View;

/// Between looks. Ranges of Services are added once in years.
const LOOK: Duration = Duration::from_secs(60);
/// Between looks that failed.
const RETRY: Duration = Duration::from_secs(2);
/// For one look.
const ANSWER: Duration = Duration::from_secs(10);

/// Who tells the view.
const SERVICES: &str = "services";
/// What there is none of until the first look has ended.
const LACKING: &str = "addresses of Services";

/// What `--cluster-cidr` says.
pub(crate) fn given(cidrs: &[IpNetwork]) -> Vec<ClusterNetwork> {
    let what = || "a network of the cluster's own (--cluster-cidr)".to_owned();
    cidrs.iter().map(|cidr| ClusterNetwork { cidr: *cidr, what: what() }).collect()
}

/// Keeps the view informed, of which no Network gets a subnet before there was an answer. Does not end, since a part of the
/// service never does.
pub(crate) fn follow(
    client: Client,
    view: Arc<View>,
    readiness: Arc<Readiness>,
) -> impl Future<Output = ()> + Send + 'static {
    view.await_cluster_networks(SERVICES);
    readiness.lacks(LACKING, Some("they have not been read yet".to_owned()));
    async move {
        let mut troubled = false;
        loop {
            let trouble = match timeout(ANSWER, of_services(&client)).await {
                Ok(Ok(networks)) => {
                    view.learn_cluster_networks(SERVICES, networks);
                    None
                }
                Ok(Err(error)) if matches!(&error, kube::Error::Api(status) if status.code == 403) => {
                    tracing::warn!(%error, "may not read which addresses Services have, so a Network can get some of them: permit it, or give --cluster-cidr");
                    view.go_on_without_cluster_networks(SERVICES);
                    None
                }
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("no word within 10 s".to_owned()),
            };
            if let Some(error) = trouble.as_ref().filter(|_| !troubled) {
                tracing::warn!(error, "can't find out which addresses Services have; trying again");
            }
            troubled = trouble.is_some();
            // Whatever came of it: nodes are served without.
            readiness.lacks(LACKING, None);
            sleep(if troubled { RETRY } else { LOOK }).await;
        }
    }
}

/// The ranges that Services get addresses from; where the API server does not tell them (before 1.33), at least the first
/// Service's own.
pub(crate) async fn of_services(client: &Client) -> Result<Vec<ClusterNetwork>, kube::Error> {
    match Api::<ServiceCIDR>::all(client.clone()).list(&ListParams::default()).await {
        Ok(ranges) => Ok(ranges.items.iter().flat_map(range_of).collect()),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let services = Api::<Service>::namespaced(client.clone(), "default");
            Ok(services.get_opt("kubernetes").await?.iter().flat_map(addresses_of).collect())
        }
        Err(error) => Err(error),
    }
}

fn range_of(range: &ServiceCIDR) -> Vec<ClusterNetwork> {
    let what = format!("the Service network (ServiceCIDR {})", range.name_any());
    parsed(range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten()), &what)
}

fn addresses_of(service: &Service) -> Vec<ClusterNetwork> {
    let spec = service.spec.iter();
    let addresses = spec.flat_map(|spec| spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip));
    parsed(addresses, "the address of Service default/kubernetes")
}

fn parsed<'a>(cidrs: impl Iterator<Item = &'a String>, what: &str) -> Vec<ClusterNetwork> {
    let cidrs = cidrs.filter_map(|cidr| cidr.parse().ok());
    cidrs.map(|cidr| ClusterNetwork { cidr, what: what.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::{Request, Response};
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::*;
    use crate::store::embedded::EmbeddedStore;

    /// An API server that gives these answers, the last one again and again; and a view that follows it.
    async fn following(answers: &[(u16, Value)]) -> (Arc<View>, Arc<Readiness>, tokio::task::JoinSet<()>) {
        let left = Arc::new(Mutex::new(answers.to_vec()));
        let service = tower::service_fn(move |request: Request<Body>| {
            let mut left = left.lock();
            let (status, body) = if left.len() > 1 { left.remove(0) } else { left[0].clone() };
            let body = match status {
                200 => body,
                _ => {
                    json!({"kind": "Status", "status": "Failure", "code": status, "message": request.uri().path()})
                }
            };
            let answer = Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
            std::future::ready(Ok::<_, Infallible>(answer.unwrap()))
        });
        let (view, mut tasks) = View::follow(&EmbeddedStore::in_memory().unwrap());
        view.current().await;
        let readiness = Arc::new(Readiness::default());
        let client = Client::new(service, "default");
        tasks.spawn(follow(client, Arc::clone(&view), Arc::clone(&readiness)));
        assert!(!view.knows_cluster_networks());
        (view, readiness, tasks)
    }

    fn ranges() -> Value {
        json!({"metadata": {}, "items": [{"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16"]}}]})
    }

    fn is_known(view: &View) -> bool {
        view.cluster_networks().conflict("10.96.0.0/24".parse().unwrap(), &[], || None).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_no_answer_and_keeps_nobody_from_being_served() {
        let (view, readiness, _tasks) =
            following(&[(500, json!(null)), (503, json!(null)), (200, ranges())]).await;
        assert_eq!(
            readiness.unready(&view).as_deref(),
            Some("no addresses of Services: they have not been read yet")
        );
        sleep(Duration::from_secs(1)).await;
        assert_eq!((readiness.unready(&view), view.knows_cluster_networks()), (None, false));
        sleep(Duration::from_secs(10)).await;
        assert!(view.knows_cluster_networks() && is_known(&view));
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_server_has_at_least_a_service() {
        let service = json!({"metadata": {"name": "kubernetes"}, "spec": {"clusterIP": "10.96.0.1"}});
        let (view, _, _tasks) = following(&[(404, json!(null)), (200, service)]).await;
        sleep(Duration::from_secs(1)).await;
        assert!(view.knows_cluster_networks() && is_known(&view));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_an_answer_and_takes_nothing_back() {
        let (view, _, _tasks) = following(&[(403, json!(null))]).await;
        sleep(Duration::from_secs(1)).await;
        assert!(view.knows_cluster_networks() && !is_known(&view));
        let (view, _, _tasks) = following(&[(200, ranges()), (403, json!(null))]).await;
        sleep(Duration::from_secs(200)).await;
        assert!(view.knows_cluster_networks() && is_known(&view));
    }

    #[test]
    fn services_have_ranges_or_at_least_addresses() {
        let range =
            json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16", "fd00:96::/108"]}});
        let found = range_of(&serde_json::from_value(range).unwrap());
        assert_eq!(found[1].cidr.to_string(), "fd00:96::/108");
        assert_eq!(found[0].what, "the Service network (ServiceCIDR kubernetes)");
        let service = json!({"spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00:96::1"]}});
        let found = addresses_of(&serde_json::from_value(service).unwrap());
        assert_eq!(found[1].cidr.to_string(), "fd00:96::1/128");
        let headless = json!({"spec": {"clusterIP": "None"}});
        assert!(addresses_of(&serde_json::from_value(headless).unwrap()).is_empty());
    }
}
