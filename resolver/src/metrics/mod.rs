//! Metrics in the OpenMetrics text format: what Prometheus reads from `/metrics`, and what docs/metrics.md lists.

mod log;
mod networks;
mod nodes;
mod requests;
mod reviews;
mod store;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tracing_appender::non_blocking::ErrorCounter;

pub use requests::{Call, Requests};
pub use reviews::{Reviewed, Reviews};
pub use store::{Measured, StoreCalls};

use crate::attach;
use crate::identity::Pods;
use crate::store::Store;
use crate::view::View;

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is measured in this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    /// What nodes asked, and what came of it.
    pub requests: Requests,
    /// What the API server asked, and what came of it.
    pub reviews: Reviews,
}

impl Metrics {
    /// Gathers what the parts measure. What is known of Networks is read from the view at each scrape.
    pub fn new(view: &Arc<View>, calls: &StoreCalls, attachments: &attach::Counters) -> Self {
        let mut registry = Registry::with_prefix("knap");
        let requests = Requests::default();
        requests.register(&mut registry);
        let reviews = Reviews::default();
        reviews.register(&mut registry);
        calls.register(&mut registry);
        attachments.register(&mut registry);
        registry.register_collector(Box::new(networks::Networks::new(Arc::clone(view))));
        registry.register_collector(Box::new(nodes::Nodes::new(Arc::clone(view))));
        Self { registry: Mutex::new(registry), requests, reviews }
    }

    /// With what happens to the leases of dead boots, where this process looks after nodes.
    #[must_use]
    pub fn with_fencing(self, fencing: &crate::nodes::Counters) -> Self {
        fencing.register(&mut self.registry.lock());
        self
    }

    /// With whether the controllers run here.
    #[must_use]
    pub fn with_leader(self, leading: Gauge) -> Self {
        self.registry.lock().register(
            "leader",
            "Whether the controllers run in this replica: 1 in one of all, 0 in the others",
            leading,
        );
        self
    }

    /// With how pods of attachments are looked up.
    #[must_use]
    pub fn with_pods<S: Store>(self, pods: &Pods<S>) -> Self {
        pods.register(&mut self.registry.lock());
        self
    }

    /// With what of this process's log nobody took.
    pub fn add_log(&self, dropped: ErrorCounter) {
        self.registry.lock().register_collector(Box::new(log::Log(dropped)));
    }

    /// All of it, as of now.
    ///
    /// # Errors
    /// Never in practice: writing to a string can't fail.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry.lock())?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::EmbeddedStore;
    use crate::store::{ObjectName, Store};
    use crate::testing::World;
    use knap_api::Network;
    use knap_core::FenceReason;
    use knap_protocol::{ProblemKind, ReconcileReply};
    use serde_json::json;
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
    }

    #[tokio::test]
    async fn networks_are_told_as_the_view_has_them() {
        let world = World::new().await;
        world
            .class(
                "c",
                json!({"provider": "bridge", "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 29}]}),
            )
            .await;
        world.ready_network("shop/blue", json!({"class": "c"})).await;
        world.network("shop/none", json!({"class": "missing"})).await;
        world.attach("c1", json!({"network": "shop/blue"})).await.unwrap();
        world.known(|_| true).await;
        let view = &world.replica.view;
        while view.networks.len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let metrics = Metrics::new(view, &StoreCalls::default(), world.replica.attacher.counters());
        let text = metrics.text().unwrap();
        has(&text, r#"knap_network_attachments{namespace="shop",network="blue",class="c"} 1"#);
        has(&text, r#"knap_network_ready{namespace="shop",network="blue",class="c"} 1"#);
        has(&text, r#"knap_network_ready{namespace="shop",network="none",class=""} 0"#);
        has(&text, r#"knap_subnet_addresses{namespace="shop",network="blue",subnet="10.64.0.0/29"} 5"#);
        has(&text, r#"knap_subnet_addresses_free{namespace="shop",network="blue",subnet="10.64.0.0/29"} 4"#);
        has(&text, "knap_leases 1");
        has(&text, "knap_nodes 1");
        has(&text, "knap_attach_collisions_total 0");
        assert!(text.ends_with("# EOF\n"));
    }

    /// The names in a text, without what a histogram adds to its own.
    fn names(text: &str) -> BTreeSet<&str> {
        let words = text.split(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric());
        let names = words.filter(|word| word.starts_with("knap_"));
        names.map(|name| name.trim_end_matches("_bucket").trim_end_matches("_count")).collect()
    }

    /// All that is measured, each of it once: what was never counted is not told.
    async fn everything() -> Metrics {
        let world = World::new().await;
        let (pods, _following) = Pods::follow(&world.store, |_| {});
        let request = json!({
            "network": "shop/blue", "bootID": "b", "attempt": "a", "deadlineSeconds": 1, "cniVersion": "1.0.0",
            "pod": {"namespace": "shop", "name": "web"}
        });
        pods.proven(&"n1".parse().unwrap(), &serde_json::from_value(request).unwrap()).await.unwrap_err();
        let calls = StoreCalls::default();
        Measured::new(world.store.clone(), calls.clone()).list::<Network>(&Default::default()).await.unwrap();
        let fencing = crate::nodes::Counters::default();
        fencing.freed(FenceReason::Rebooted);
        let metrics = Metrics::new(&world.replica.view, &calls, world.replica.attacher.counters())
            .with_fencing(&fencing)
            .with_leader(Gauge::default())
            .with_pods(&pods);
        metrics.requests.answered(Call::Attach, None, Duration::ZERO);
        metrics.requests.denied("no_token");
        metrics.requests.reconciled(&ReconcileReply::default());
        metrics.reviews.answered("pods", Reviewed::Denied("Collision"), Duration::ZERO);
        let log = tracing_appender::non_blocking::NonBlockingBuilder::default().finish(std::io::sink());
        metrics.add_log(log.0.error_counter());
        metrics
    }

    #[tokio::test]
    async fn the_document_has_all_metrics_and_no_others() {
        let text = everything().await.text().unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let measured: Vec<String> = types
            .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
            .collect();
        let measured: BTreeSet<&str> = measured.iter().map(String::as_str).collect();
        assert_eq!(names(include_str!("../../../docs/metrics.md")), measured);
        let shown = names(include_str!("../../../deploy/helm/knap/dashboards/knap.json"));
        assert!(shown.is_subset(&measured), "{shown:?}");
    }

    #[tokio::test]
    async fn calls_of_the_store_are_counted_by_what_came_of_them() {
        let calls = StoreCalls::default();
        let store = Measured::new(EmbeddedStore::in_memory().unwrap(), calls.clone());
        let name = ObjectName::namespaced("shop", "blue");
        assert!(store.get::<Network>(&name).await.unwrap().is_none());
        store.delete::<Network>(&name, &crate::store::Preconditions::default()).await.unwrap_err();
        let mut registry = Registry::default();
        calls.register(&mut registry);
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        has(&out, r#"store_request_duration_seconds_count{verb="get",kind="networks",outcome="ok"} 1"#);
        has(
            &out,
            r#"store_request_duration_seconds_count{verb="delete",kind="networks",outcome="not_found"} 1"#,
        );
    }

    /// Writes nothing until the other end of its channel is gone.
    struct Stuck(std::sync::mpsc::Receiver<()>);

    impl std::io::Write for Stuck {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_nobody_takes_are_counted() {
        let (unstuck, stuck) = std::sync::mpsc::channel();
        let builder = tracing_appender::non_blocking::NonBlockingBuilder::default();
        let (mut lines, _writer) = builder.lossy(true).buffered_lines_limit(2).finish(Stuck(stuck));
        for _ in 0..9 {
            std::io::Write::write_all(&mut lines, b"a line").unwrap();
        }
        let mut registry = Registry::default();
        registry.register_collector(Box::new(log::Log(lines.error_counter())));
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        // Two wait, and one may be with the writer.
        let told = |count| out.lines().any(|line| line == format!("log_lines_dropped_total {count}"));
        assert!(told(6) || told(7), "{out}");
        drop(unstuck);
    }

    #[test]
    fn requests_are_told_by_their_problem() {
        let requests = Requests::default();
        requests.answered(Call::Attach, None, Duration::from_millis(3));
        requests.answered(Call::Attach, Some(ProblemKind::Full), Duration::from_millis(3));
        let mut registry = Registry::default();
        requests.register(&mut registry);
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        has(&out, r#"request_duration_seconds_count{call="attach",outcome="ok"} 1"#);
        has(&out, r#"request_duration_seconds_count{call="attach",outcome="full"} 1"#);
    }
}
