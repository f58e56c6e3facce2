//! What the tests of classes, plans and providers are made of: Network `shop/blue`, classes, and what they get.

use ipnetwork::IpNetwork;
use serde_json::Value;

use crate::provider::provider;
use crate::{
    Class, GatewayPolicy, Grant, LabelSelector, Labels, Layout, LeaseFacts, Mac, MacCode, Needs,
    NetworkIntent, NetworkRef, NodeFacts, NumberKind, NumberRanges, Plan, Pool, Segments, Slot, Uplink,
    carve,
};

pub(crate) fn network() -> NetworkIntent {
    NetworkIntent::new(NetworkRef { namespace: "shop".into(), name: "blue".into(), uid: "uid-blue".into() })
}

pub(crate) fn class(provider: &str, parameters: Value) -> Class {
    let mut class = Class::new("fabric-a", provider);
    if let Value::Object(parameters) = parameters {
        class.parameters = parameters;
    }
    class
}

pub(crate) fn prefix(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

pub(crate) fn pool(cidr: &str, prefix_length: u8) -> Pool {
    pool_with_gateway(cidr, prefix_length, GatewayPolicy::ProviderDefault)
}

pub(crate) fn pool_with_gateway(cidr: &str, prefix_length: u8, gateway: GatewayPolicy) -> Pool {
    Pool::new(prefix(cidr), prefix_length, Vec::new(), false, gateway).unwrap()
}

pub(crate) fn shared_pool(cidr: &str, prefix_length: u8, gateway: GatewayPolicy) -> Pool {
    Pool::new(prefix(cidr), prefix_length, Vec::new(), true, gateway).unwrap()
}

pub(crate) fn vlans(text: &str) -> Option<Segments> {
    Some(Segments::Vlans(NumberRanges::parse(NumberKind::Vlan, [text]).unwrap()))
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn selector(pairs: &[(&str, &str)]) -> LabelSelector {
    LabelSelector { match_labels: labels(pairs), match_expressions: Vec::new() }
}

pub(crate) fn uplink(interface: &str) -> Uplink {
    Uplink { node_selector: None, interface: interface.into() }
}

/// A node whose labels nobody knows.
pub(crate) fn node() -> NodeFacts {
    NodeFacts { name: "n1".into(), labels: None }
}

/// What a Network gets of a class in an empty cluster, and what becomes of it. Errors are messages.
pub(crate) fn plan(network: &NetworkIntent, class: &Class) -> Result<(Plan, Layout), String> {
    let provider = provider(&class.provider).unwrap();
    provider.validate(class).map_err(|error| error.to_string())?;
    let needs = Needs::of(network, class, provider.profile(class)).map_err(|error| error.to_string())?;
    let grant = grant(&needs, network);
    let plan = provider.plan(network, class, &grant).map_err(|error| error.to_string())?;
    Ok((plan, grant.layout))
}

fn grant(needs: &Needs, network: &NetworkIntent) -> Grant {
    let mut layout = Layout::without_addresses();
    for need in &needs.subnets {
        let first = |pool: &Pool| {
            let unit = need.requested.or_else(|| carve(pool, &[]))?;
            Some(pool.subnet(unit, need.gateway_by_default))
        };
        let subnet = need.pools.iter().find_map(first).unwrap();
        if layout.subnets().is_empty() {
            layout = Layout::new(vec![subnet], network.reserved.clone()).unwrap();
        } else {
            layout.append(subnet).unwrap();
        }
    }
    let first = |numbers: &NumberRanges| numbers.first_free(&[].into()).unwrap();
    Grant {
        mac_code: MacCode::new(0x1f2e).unwrap(),
        vlan: needs.vlans.as_ref().map(first).map(|vlan| vlan.try_into().unwrap()),
        vni: needs.vnis.as_ref().map(first),
        layout,
    }
}

/// The lease of slot 5.
pub(crate) fn lease(layout: &Layout) -> LeaseFacts {
    let slot = Slot::new(5).unwrap();
    let mac = Some(Mac::of(MacCode::new(0x1f2e).unwrap(), slot));
    let addresses = if layout.subnets().is_empty() { Vec::new() } else { layout.addresses(slot).unwrap() };
    LeaseFacts { addresses, mac }
}

/// What is run for slot 5 on a node whose labels nobody knows. Errors are messages.
pub(crate) fn attachment(network: &NetworkIntent, class: &Class) -> Result<Value, String> {
    let (plan, layout) = plan(network, class)?;
    // A plan that was kept as JSON must serve as well.
    let plan: Plan = serde_json::from_value(serde_json::to_value(&plan).unwrap()).unwrap();
    let provider = provider(&plan.provider).unwrap();
    let attachment =
        provider.attachment(&plan, &node(), &lease(&layout)).map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(attachment).unwrap())
}
