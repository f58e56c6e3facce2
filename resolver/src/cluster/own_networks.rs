//! The networks that the cluster itself uses and that no Node names: what an administrator has given, and that of Services.

use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use knap_core::ClusterNetwork;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use crate::view::View;

/// Between looks. Ranges of Services are added once in years.
const LOOK: Duration = Duration::from_secs(60);
/// Between looks that failed.
const RETRY: Duration = Duration::from_secs(2);
/// For one look.
const ANSWER: Duration = Duration::from_secs(10);

/// What `--cluster-cidr` says.
pub(crate) fn given(cidrs: &[IpNetwork]) -> Vec<ClusterNetwork> {
    let what = || "a network of the cluster's own (--cluster-cidr)".to_owned();
    cidrs.iter().map(|cidr| ClusterNetwork { cidr: *cidr, what: what() }).collect()
}

/// Keeps the view informed. Does not end, since a part of the service never does.
pub(crate) async fn follow(client: Client, view: Arc<View>) {
    let mut troubled = false;
    loop {
        let looked = tokio::time::timeout(ANSWER, of_services(&client)).await;
        match looked
            .map_err(|_| "no word within 10 s".to_owned())
            .and_then(|found| found.map_err(|error| error.to_string()))
        {
            Ok(networks) => {
                view.learn_cluster_networks("services", networks);
                troubled = false;
                tokio::time::sleep(LOOK).await;
            }
            Err(error) => {
                if !troubled {
                    tracing::warn!(error, "can't find out which addresses Services have; trying again");
                }
                troubled = true;
                tokio::time::sleep(RETRY).await;
            }
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
    use serde_json::json;

    use super::*;

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
