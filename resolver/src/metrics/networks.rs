//! What the view knows of Networks and their addresses, read at each scrape: nothing to keep up, nothing to forget.

use std::fmt;
use std::sync::Arc;

use knap_api::Network;
use knap_protocol::NetworkName;
use kube::ResourceExt;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::provision::{class_name, is_ready, subnets_in_use};
use crate::view::View;

/// Reads the view.
#[derive(Debug)]
pub(super) struct Networks {
    view: Arc<View>,
}

#[derive(Debug, EncodeLabelSet)]
struct NetworkLabels {
    namespace: String,
    network: String,
    class: String,
}

#[derive(Debug, EncodeLabelSet)]
struct SubnetLabels {
    namespace: String,
    network: String,
    subnet: String,
}

/// All series of one scrape.
#[derive(Default)]
struct Scrape {
    attachments: Vec<(NetworkLabels, i64)>,
    ready: Vec<(NetworkLabels, i64)>,
    addresses: Vec<(SubnetLabels, i64)>,
    free: Vec<(SubnetLabels, i64)>,
}

impl Networks {
    pub(super) const fn new(view: Arc<View>) -> Self {
        Self { view }
    }
}

impl Collector for Networks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut scrape = Scrape::default();
        for network in self.view.networks.all() {
            scrape.add(&self.view, &network);
        }
        let Scrape { attachments, ready, addresses, free } = scrape;
        gauge(&mut encoder, "network_attachments", "Attachments to a Network", attachments)?;
        gauge(&mut encoder, "network_ready", "Whether a Network is Ready, 0 or 1", ready)?;
        gauge(
            &mut encoder,
            "subnet_addresses",
            "Addresses of a Network's subnet that can be given out",
            addresses,
        )?;
        gauge(&mut encoder, "subnet_addresses_free", "Those of them that no attachment has", free)?;
        let leases = ConstGauge::new(signed(self.view.leases.len() as u64));
        leases.encode(encoder.encode_descriptor(
            "leases",
            "Leases in the cluster",
            None,
            MetricType::Gauge,
        )?)
    }
}

impl Scrape {
    fn add(&mut self, view: &View, network: &Network) {
        let (namespace, name) = (network.namespace().unwrap_or_default(), network.name_any());
        let uid = network.uid().unwrap_or_default();
        let class = class_name(network).unwrap_or_default();
        let labels =
            || NetworkLabels { namespace: namespace.clone(), network: name.clone(), class: class.to_owned() };
        self.attachments.push((labels(), view.leases.count_of_uid(&uid).into()));
        self.ready.push((labels(), is_ready(network).into()));
        let Ok(network_name) = NetworkName::new(&namespace, &name) else { return };
        for subnet in subnets_in_use(network, &view.leases.slots_of(&network_name, &uid)) {
            let labels = || SubnetLabels {
                namespace: namespace.clone(),
                network: name.clone(),
                subnet: subnet.cidr.clone(),
            };
            self.addresses.push((labels(), signed(subnet.capacity)));
            self.free.push((labels(), signed(subnet.capacity.saturating_sub(subnet.allocated))));
        }
    }
}

fn gauge<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: Vec<(L, i64)>,
) -> fmt::Result {
    let mut encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        ConstGauge::new(value).encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
