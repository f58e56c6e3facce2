//! Network -> NetworkIntent.

use knap_api::{AddressPolicy, Ipam, Network};
use knap_core::{Dns, IpamMode, NetworkIntent, NetworkRef, Route};

use super::field::{Fields, TranslateError, address, prefix, range};
use super::selector::{features, selector};

/// Which Network it is.
pub fn network_ref(network: &Network) -> NetworkRef {
    let meta = &network.metadata;
    NetworkRef {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
    }
}

/// What a Network asks for. Whether it contradicts itself is `NetworkIntent::check`'s to say.
pub fn network(network: &Network) -> Result<NetworkIntent, TranslateError> {
    let (owner, spec) = (network_ref(network), &network.spec);
    let fields = Fields::of(format!("Network {owner}"));
    let shared_with = spec.shared_with.as_ref();
    let shared_with = shared_with
        .map(|shared| selector(&fields, "spec.sharedWith.namespaceSelector", &shared.namespace_selector));
    Ok(NetworkIntent {
        owner,
        class: spec.class.clone(),
        provider: spec.provider.clone(),
        requires: spec.requires.as_ref().map(features),
        hints: spec.hints.clone(),
        subnets: fields.each("spec.subnets", &spec.subnets, prefix)?,
        ipam: match spec.ipam {
            Ipam::Managed => IpamMode::Managed,
            Ipam::None => IpamMode::None,
            Ipam::Dhcp => IpamMode::Dhcp,
        },
        reserved: fields.each("spec.reserved", &spec.reserved, range)?,
        routes: routes(&fields, &spec.routes)?,
        dns: spec.dns.as_ref().map(|given| dns(&fields, given)).transpose()?.unwrap_or_default(),
        sticky: spec.address_policy == AddressPolicy::Sticky,
        shared_with: shared_with.transpose()?,
    })
}

fn routes(fields: &Fields, routes: &[knap_api::Route]) -> Result<Vec<Route>, TranslateError> {
    let routes = routes.iter().enumerate().map(|(index, route)| {
        let gateway = route.gateway.as_deref().map(address).transpose();
        Ok(Route {
            destination: prefix(&route.destination)
                .map_err(fields.at(format!("spec.routes[{index}].destination")))?,
            gateway: gateway.map_err(fields.at(format!("spec.routes[{index}].gateway")))?,
        })
    });
    routes.collect()
}

fn dns(fields: &Fields, dns: &knap_api::Dns) -> Result<Dns, TranslateError> {
    Ok(Dns {
        nameservers: fields.each("spec.dns.nameservers", &dns.nameservers, address)?,
        domain: dns.domain.clone().filter(|domain| !domain.is_empty()),
        search: dns.search.clone(),
    })
}

#[cfg(test)]
mod tests {
    use knap_api::NetworkSpec;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn translated(spec: Value) -> Result<NetworkIntent, String> {
        let mut network = Network::new("blue", serde_json::from_value::<NetworkSpec>(spec).unwrap());
        network.metadata.namespace = Some("shop".into());
        super::network(&network).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_arrives() {
        let intent = translated(json!({
            "class": "fabric-a", "provider": "bridge",
            "requires": {"isolation": true, "ipFamilies": ["IPv4", "IPv6"], "mtu": 9000},
            "hints": {"a": "b"}, "subnets": ["10.64.7.0/24", "fd00:64:7::/64"], "ipam": "Managed",
            "reserved": ["10.64.7.1-10.64.7.20", "10.64.7.99"],
            "routes": [{"destination": "172.16.0.0/12", "gateway": "10.64.7.1"}, {"destination": "::/0"}],
            "dns": {"nameservers": ["10.64.7.2"], "domain": "", "search": ["x.example"]},
            "addressPolicy": "Sticky",
            "sharedWith": {"namespaceSelector": {"matchLabels": {"team": "a"},
                "matchExpressions": [{"key": "env", "operator": "In", "values": ["prod"]}]}},
        }))
        .unwrap();
        assert_eq!(intent.owner.to_string(), "shop/blue");
        assert_eq!(intent.requires.unwrap().ip_families.len(), 2);
        assert_eq!(intent.subnets.len(), 2);
        assert_eq!(intent.reserved[0].to_string(), "10.64.7.1-10.64.7.20");
        assert_eq!(intent.routes[1].gateway, None);
        assert_eq!((intent.dns.domain, intent.dns.nameservers.len()), (None, 1));
        assert!(intent.sticky);
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let shared = intent.shared_with.unwrap();
        assert!(shared.matches(&labels(&[("team", "a"), ("env", "prod")])));
        assert!(!shared.matches(&labels(&[("team", "a")])));
    }

    #[rstest]
    #[case(json!({"subnets": ["10.0.0.0/24", "10.0.1.0"]}), "spec.subnets[1]: \"10.0.1.0\" is not a prefix")]
    #[case(json!({"subnets": ["10.0.0.0/33"]}), "spec.subnets[0]: \"10.0.0.0/33\" is not a prefix")]
    #[case(json!({"subnets": ["10.0.0.0/255.0.0.0"]}), "spec.subnets[0]: ")]
    #[case(json!({"reserved": ["10.0.0.1", "10.0.0.9-10.0.0.2"]}), "spec.reserved[1]: 10.0.0.9-10.0.0.2 is not")]
    #[case(json!({"routes": [{"destination": "default"}]}), "spec.routes[0].destination: \"default\" is not")]
    #[case(json!({"routes": [{"destination": "::/0", "gateway": "x"}]}), "spec.routes[0].gateway: \"x\" is not")]
    #[case(json!({"dns": {"nameservers": ["ns1"]}}), "spec.dns.nameservers[0]: \"ns1\" is not an IP address")]
    #[case(
        json!({"sharedWith": {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Has"}]}}}),
        "spec.sharedWith.namespaceSelector.matchExpressions[0]: operator \"Has\""
    )]
    fn errors_name_object_and_field(#[case] spec: Value, #[case] expected: &str) {
        let error = translated(spec).unwrap_err();
        assert!(error.starts_with(&format!("Network shop/blue: {expected}")), "{error}");
    }
}
