//! NetworkClass -> Class.

use knap_api::{DEFAULT_CLASS_ANNOTATION, NetworkClass, PoolSubnet};
use knap_core::{
    Access, AddressScope, Class, GatewayPolicy, NumberKind, NumberRanges, Pool, Segments, Uplink,
};

use super::field::{FieldError, Fields, TranslateError, prefix, range};
use super::selector::{features, selector};

/// The port of VXLAN (RFC 7348).
const VXLAN_PORT: u16 = 4789;

/// What an administrator offers. Whether its provider can work with it is the provider's to say.
pub fn class(class: &NetworkClass) -> Result<Class, TranslateError> {
    let (meta, spec) = (&class.metadata, &class.spec);
    let name = meta.name.clone().unwrap_or_default();
    let fields = Fields::of(format!("NetworkClass {name}"));
    let marked = meta.annotations.as_ref().and_then(|annotations| annotations.get(DEFAULT_CLASS_ANNOTATION));
    let pools = spec.subnets.iter().enumerate();
    Ok(Class {
        is_default: marked.is_some_and(|value| value == "true"),
        provider: spec.provider.clone(),
        fabric: spec.fabric.clone().unwrap_or_else(|| name.clone()),
        parameters: spec.parameters.clone(),
        features: features(&spec.features),
        uplinks: uplinks(&fields, &spec.uplinks)?,
        resource_name: spec.resource_name.clone(),
        segments: spec.segments.as_ref().map_or(Ok(None), |given| segments(&fields, given))?,
        subnets: pools.map(|(index, given)| pool(&fields, index, given)).collect::<Result<_, _>>()?,
        address_scope: match spec.address_scope {
            knap_api::AddressScope::Cluster => AddressScope::Cluster,
            knap_api::AddressScope::Segment => AddressScope::Segment,
        },
        allow_requested_subnets: spec.allow_requested_subnets,
        allow_sharing: spec.allow_sharing,
        access: spec.access.as_ref().map_or_else(|| Ok(Access::default()), |given| access(&fields, given))?,
        name,
    })
}

fn uplinks(fields: &Fields, uplinks: &[knap_api::Uplink]) -> Result<Vec<Uplink>, TranslateError> {
    let uplinks = uplinks.iter().enumerate().map(|(index, uplink)| {
        let field = format!("spec.uplinks[{index}].nodeSelector");
        let node_selector = uplink.node_selector.as_ref().map(|given| selector(fields, &field, given));
        Ok(Uplink { node_selector: node_selector.transpose()?, interface: uplink.interface.clone() })
    });
    uplinks.collect()
}

fn segments(fields: &Fields, segments: &knap_api::Segments) -> Result<Option<Segments>, TranslateError> {
    match (&segments.vlans[..], &segments.vxlan) {
        ([], None) => Ok(None),
        ([_, ..], Some(_)) => Err(fields.at("spec.segments")(FieldError::TwoKindsOfSegments)),
        (vlans, None) => {
            Ok(Some(Segments::Vlans(numbers(fields, "spec.segments.vlans", NumberKind::Vlan, vlans)?)))
        }
        ([], Some(vxlan)) if vxlan.vnis.is_empty() => {
            Err(fields.at("spec.segments.vxlan.vnis")(FieldError::NoVnis))
        }
        ([], Some(vxlan)) => Ok(Some(Segments::Vxlan {
            vnis: numbers(fields, "spec.segments.vxlan.vnis", NumberKind::Vni, &vxlan.vnis)?,
            port: vxlan.port.unwrap_or(VXLAN_PORT),
        })),
    }
}

fn numbers(
    fields: &Fields,
    field: &str,
    kind: NumberKind,
    ranges: &[String],
) -> Result<NumberRanges, TranslateError> {
    // One by one first, so that the one that is wrong is named.
    fields.each(field, ranges, |text| NumberRanges::parse(kind, [text]))?;
    NumberRanges::parse(kind, ranges.iter().map(String::as_str)).map_err(fields.at(field))
}

fn pool(fields: &Fields, index: usize, pool: &PoolSubnet) -> Result<Pool, TranslateError> {
    let field = format!("spec.subnets[{index}]");
    let cidr = prefix(&pool.cidr).map_err(fields.at(format!("{field}.cidr")))?;
    let exclude = fields.each(&format!("{field}.exclude"), &pool.exclude, range)?;
    let gateway = match &pool.gateway {
        Some(text) => text.parse().map_err(fields.at(format!("{field}.gateway")))?,
        None => GatewayPolicy::ProviderDefault,
    };
    Pool::new(cidr, pool.prefix_length, exclude, pool.shared, gateway).map_err(fields.at(field))
}

fn access(fields: &Fields, access: &knap_api::Access) -> Result<Access, TranslateError> {
    let given = access.namespace_selector.as_ref();
    let namespace_selector = given.map(|given| selector(fields, "spec.access.namespaceSelector", given));
    Ok(Access {
        namespace_selector: namespace_selector.transpose()?,
        networks_per_namespace: access.networks_per_namespace,
        attachments_per_namespace: access.attachments_per_namespace,
    })
}

#[cfg(test)]
mod tests {
    use knap_api::NetworkClassSpec;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn translated(spec: Value) -> Result<Class, String> {
        let mut class =
            NetworkClass::new("fabric-a", serde_json::from_value::<NetworkClassSpec>(spec).unwrap());
        let annotations = [(DEFAULT_CLASS_ANNOTATION.to_owned(), "true".to_owned())];
        class.metadata.annotations = Some(annotations.into());
        super::class(&class).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_arrives() {
        let class = translated(json!({
            "provider": "macvlan", "parameters": {"mode": "bridge"},
            "features": {"isolation": true, "ipFamilies": ["IPv4"], "mtu": 9000},
            "uplinks": [{"nodeSelector": {"matchLabels": {"rack": "a"}}, "interface": "ens1f0"}],
            "segments": {"vlans": ["100-199", "300"]},
            "subnets": [
                {"cidr": "10.64.0.0/12", "prefixLength": 24, "exclude": ["10.64.0.0/24"]},
                {"cidr": "192.0.2.0/24", "prefixLength": 28, "shared": true, "gateway": "192.0.2.1"},
            ],
            "addressScope": "Segment", "allowRequestedSubnets": true, "allowSharing": true,
            "access": {"namespaceSelector": {}, "networksPerNamespace": 10, "attachmentsPerNamespace": 500},
        }))
        .unwrap();
        assert!(class.is_default && class.allow_requested_subnets && class.allow_sharing);
        assert_eq!((class.name.as_str(), class.fabric.as_str()), ("fabric-a", "fabric-a"));
        assert_eq!(class.parameters["mode"], "bridge");
        assert!(!class.uplinks[0].serves(Some(&[("rack".to_owned(), "b".to_owned())].into())));
        let Some(Segments::Vlans(vlans)) = &class.segments else { panic!("{:?}", class.segments) };
        assert_eq!(vlans.to_string(), "100-199,300");
        assert!(class.subnets[1].shared());
        assert_eq!(class.address_scope, AddressScope::Segment);
        assert_eq!(class.access.networks_per_namespace, Some(10));
    }

    #[test]
    fn vxlan_has_a_port() {
        let class =
            translated(json!({"provider": "bridge", "segments": {"vxlan": {"vnis": ["10000-19999"]}}}))
                .unwrap();
        assert!(matches!(class.segments, Some(Segments::Vxlan { port: 4789, .. })), "{:?}", class.segments);
        let class = translated(json!({"provider": "bridge", "segments": {}})).unwrap();
        assert_eq!(class.segments, None);
    }

    #[rstest]
    #[case(json!({"subnets": [{"cidr": "10.0.0.0", "prefixLength": 24}]}), "spec.subnets[0].cidr: \"10.0.0.0\" is not")]
    #[case(json!({"subnets": [{"cidr": "10.0.0.0/24", "prefixLength": 16}]}), "spec.subnets[0]: prefixLength 16")]
    #[case(
        json!({"subnets": [{"cidr": "10.0.0.0/8", "prefixLength": 24, "exclude": ["x"]}]}),
        "spec.subnets[0].exclude[0]: \"x\" is not"
    )]
    #[case(
        json!({"subnets": [{"cidr": "10.0.0.0/8", "prefixLength": 24, "gateway": "Last"}]}),
        "spec.subnets[0].gateway: gateway \"Last\" is none of"
    )]
    #[case(json!({"segments": {"vlans": ["1", "4095"]}}), "spec.segments.vlans[1]: VLAN range \"4095\"")]
    #[case(json!({"segments": {"vlans": ["1"], "vxlan": {"vnis": ["1"]}}}), "spec.segments: vlans and vxlan")]
    #[case(json!({"segments": {"vxlan": {"vnis": []}}}), "spec.segments.vxlan.vnis: a class with vxlan")]
    #[case(
        json!({"uplinks": [{"interface": "a", "nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}]}),
        "spec.uplinks[0].nodeSelector.matchExpressions[0]: operator In"
    )]
    fn errors_name_object_and_field(#[case] spec: Value, #[case] expected: &str) {
        let mut spec = spec;
        spec["provider"] = json!("macvlan");
        let error = translated(spec).unwrap_err();
        assert!(error.starts_with(&format!("NetworkClass fabric-a: {expected}")), "{error}");
    }
}
