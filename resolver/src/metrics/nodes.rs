//! What the view knows of nodes: their fences, and which classes they serve; read at each scrape.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use knap_api::ConditionStatus;
use kube::ResourceExt;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::nodes::{Eligibility, boots_of};
use crate::translate;
use crate::view::View;

/// Reads the view.
#[derive(Debug)]
pub(super) struct Nodes {
    view: Arc<View>,
}

#[derive(Debug, EncodeLabelSet)]
struct ClassLabels {
    class: String,
}

#[derive(Debug, EncodeLabelSet)]
struct FenceLabels {
    node: String,
    reason: &'static str,
}

impl Nodes {
    pub(super) const fn new(view: Arc<View>) -> Self {
        Self { view }
    }
}

impl Collector for Nodes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let inventories = self.view.inventories.all();
        let troubled = inventories.iter().filter(|inventory| {
            let conditions = inventory.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|condition| condition.status == ConditionStatus::False)
        });
        let counts = [
            ("nodes", "Nodes of which there is an inventory", inventories.len()),
            ("nodes_not_ready", "Those of them whose agent found a problem", troubled.count()),
        ];
        for (name, help, count) in counts {
            let count = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            count.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let help =
            "Whether boots of a node are fenced for this reason, until nothing of them remains: always 1";
        let mut fences = encoder.encode_descriptor("node_fenced", help, None, MetricType::Gauge)?;
        for inventory in &inventories {
            // Several boots may be fenced for one reason.
            let reasons: BTreeSet<&str> =
                boots_of(inventory).fences.iter().map(|fence| fence.reason.name()).collect();
            for reason in reasons {
                let labels = FenceLabels { node: inventory.name_any(), reason };
                ConstGauge::new(1_i64).encode(fences.encode_family(&labels)?)?;
            }
        }
        let help = "Nodes that can serve Networks of a class";
        let mut eligible =
            encoder.encode_descriptor("class_nodes_eligible", help, None, MetricType::Gauge)?;
        let mut eligibility = Eligibility::default();
        for class in self.view.classes.all() {
            let Ok(class) = translate::class(&class) else { continue };
            let count = eligibility.count(&self.view, &class, false).eligible;
            let labels = ClassLabels { class: class.name };
            ConstGauge::new(i64::from(count)).encode(eligible.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
