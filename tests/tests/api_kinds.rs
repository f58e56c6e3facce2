//! Knap's kinds on a real API server: nonsense is refused there, and never reaches a controller.

use knap_api::{Network, NetworkClass, NodeInventory};
use knap_tests::{KubernetesApi, Objects};
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::ApiResource;
use serde_json::{Value, json};

/// What the API server says to an object; None where it takes it.
async fn refusal(objects: &Objects, kind: &ApiResource, object: Value) -> Option<String> {
    let mut whole = json!({"apiVersion": kind.api_version, "kind": kind.kind});
    whole.as_object_mut().unwrap().extend(object.as_object().unwrap().clone());
    let object: DynamicObject = serde_json::from_value(whole).unwrap();
    let api: Api<DynamicObject> = match kind.kind.as_str() {
        "Network" => Api::namespaced_with(objects.client.clone(), "shop", kind),
        _ => Api::all_with(objects.client.clone(), kind),
    };
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&parameters, &object).await {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}

async fn start() -> (KubernetesApi, Objects) {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    (api, objects)
}

#[tokio::test]
async fn networks() {
    let (_api, objects) = start().await;
    let kind = ApiResource::erase::<Network>(&());
    let full = json!({
        "class": "fabric-a", "provider": "bridge", "hints": {"a": "b"}, "subnets": ["10.64.7.0/24", "fd00:64:7::/64"],
        "requires": {"isolation": true, "ipFamilies": ["IPv4", "IPv6"], "mtu": 9000}, "ipam": "DHCP",
        "reserved": ["10.64.7.1-10.64.7.20", "10.64.7.30", "10.64.7.32/28", "fd00:64:7::1"],
        "routes": [{"destination": "172.16.0.0/12", "gateway": "10.64.7.1"}, {"destination": "fd00::/8"}],
        "dns": {"nameservers": ["10.64.7.2", "fd00::2"], "domain": "shop.example", "search": ["example", "a.b."]},
        "addressPolicy": "Sticky",
        "sharedWith": {"namespaceSelector": {
            "matchLabels": {"team": "web", "example.com/tier": "1"},
            "matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["test"]}]
        }}
    });
    assert_eq!(refusal(&objects, &kind, json!({"metadata": {"name": "full"}, "spec": full})).await, None);
    for spec in [json!({}), json!({"provider": "bridge"}), json!({"dns": null, "sharedWith": {}})] {
        assert_eq!(refusal(&objects, &kind, json!({"metadata": {"name": "a"}, "spec": spec})).await, None);
    }
    let refused = [
        (json!({"class": "Fabric_A"}), "spec.class"),
        (json!({"class": "a".repeat(41)}), "spec.class"),
        (json!({"provider": ""}), "spec.provider"),
        (json!({"hints": {"a": 1}}), "spec.hints.a"),
        (json!({"hints": {"a": "x".repeat(2000)}}), "spec.hints.a"),
        (json!({"subnets": "10.64.7.0/24"}), "spec.subnets"),
        (json!({"subnets": ["10.64.7.0"]}), "spec.subnets"),
        (json!({"subnets": ["10.64.7.0/33"]}), "spec.subnets"),
        (json!({"subnets": ["10.64.7/24"]}), "spec.subnets"),
        (json!({"subnets": vec!["10.64.7.0/24"; 17]}), "spec.subnets"),
        (json!({"requires": {"ipFamilies": ["ipv4"]}}), "ipFamilies"),
        (json!({"requires": {"ipFamilies": ["IPv4", "IPv4"]}}), "ipFamilies"),
        (json!({"requires": {"mtu": 20}}), "mtu"),
        (json!({"requires": {"mtu": 70000}}), "mtu"),
        (json!({"requires": {"isolation": "yes"}}), "isolation"),
        (json!({"ipam": "managed"}), "spec.ipam"),
        (json!({"reserved": ["10.64.7.1 to 10.64.7.9"]}), "spec.reserved"),
        (json!({"reserved": vec!["10.64.7.1"; 257]}), "spec.reserved"),
        (json!({"routes": [{"gateway": "10.64.7.1"}]}), "destination"),
        (json!({"routes": [{"destination": "default"}]}), "destination"),
        (json!({"routes": [{"destination": "0.0.0.0/0", "gateway": "router"}]}), "gateway"),
        (json!({"dns": {"nameservers": ["ns.example"]}}), "nameservers"),
        (json!({"dns": {"domain": "a b"}}), "domain"),
        (json!({"addressPolicy": "sticky"}), "addressPolicy"),
        (json!({"sharedWith": {"namespaceSelector": {"matchLabels": {"a": "-"}}}}), "matchLabels"),
        (
            json!({"sharedWith": {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}}),
            "operator",
        ),
    ];
    for (spec, word) in refused {
        let said = refusal(&objects, &kind, json!({"metadata": {"name": "a"}, "spec": spec.clone()})).await;
        assert!(said.as_ref().is_some_and(|said| said.contains(word)), "{spec}: {said:?}");
    }
    for name in ["a.b".to_owned(), "a".repeat(64)] {
        let said = refusal(&objects, &kind, json!({"metadata": {"name": name}, "spec": {}})).await;
        assert!(said.as_ref().is_some_and(|said| said.contains("metadata.name")), "{name}: {said:?}");
    }
    let said = refusal(&objects, &kind, json!({"metadata": {"name": "a"}})).await;
    assert!(said.as_ref().is_some_and(|said| said.contains("spec")), "{said:?}");
}

#[tokio::test]
async fn classes() {
    let (_api, objects) = start().await;
    let kind = ApiResource::erase::<NetworkClass>(&());
    let full = json!({
        "provider": "macvlan", "fabric": "dc-a", "parameters": {"mode": "bridge", "deep": {"er": [1]}},
        "features": {"isolation": true, "mtu": 9000},
        "uplinks": [{"nodeSelector": {"matchLabels": {"rack": "a"}}, "interface": "ens1f0.100"}, {"interface": "bond0"}],
        "segments": {"vlans": ["100-199", "7"]},
        "subnets": [
            {"cidr": "10.64.0.0/12", "prefixLength": 24, "exclude": ["10.64.0.0/24"], "gateway": "First"},
            {"cidr": "fd00:64::/32", "prefixLength": 64, "gateway": "fd00:64::1", "shared": true}
        ],
        "addressScope": "Segment", "allowRequestedSubnets": true,
        "access": {"namespaceSelector": {}, "networksPerNamespace": 10, "attachmentsPerNamespace": 500}
    });
    assert_eq!(refusal(&objects, &kind, json!({"metadata": {"name": "full"}, "spec": full})).await, None);
    let vf = json!({"provider": "sriov", "resourceName": "vendor.com/pool_a", "segments": {"vxlan": {"vnis": ["10000-19999"]}}});
    assert_eq!(refusal(&objects, &kind, json!({"metadata": {"name": "vf"}, "spec": vf})).await, None);
    let with = |more: Value| {
        let mut spec = json!({"provider": "macvlan"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let refused = [
        (json!({}), "spec.provider"),
        (json!({"provider": "MacVlan"}), "spec.provider"),
        (with(json!({"fabric": "dc_a"})), "spec.fabric"),
        (with(json!({"parameters": "mode=bridge"})), "spec.parameters"),
        (with(json!({"uplinks": [{"interface": "much-too-long-a-name"}]})), "interface"),
        (with(json!({"uplinks": [{"interface": "a/b"}]})), "interface"),
        (with(json!({"uplinks": [{}]})), "interface"),
        (with(json!({"resourceName": "pool"})), "resourceName"),
        (with(json!({"segments": {"vlans": ["100..199"]}})), "vlans"),
        (with(json!({"segments": {"vlans": [100]}})), "vlans"),
        (with(json!({"segments": {"vxlan": {"vnis": ["10000"], "port": 0}}})), "port"),
        (with(json!({"subnets": [{"cidr": "10.64.0.0/12"}]})), "prefixLength"),
        (with(json!({"subnets": [{"cidr": "10.64.0.0", "prefixLength": 24}]})), "cidr"),
        (with(json!({"subnets": [{"cidr": "10.64.0.0/12", "prefixLength": 129}]})), "prefixLength"),
        (
            with(json!({"subnets": [{"cidr": "10.64.0.0/12", "prefixLength": 24, "gateway": "Last"}]})),
            "gateway",
        ),
        (with(json!({"addressScope": "Fabric"})), "addressScope"),
        (with(json!({"access": {"networksPerNamespace": -1}})), "networksPerNamespace"),
    ];
    for (spec, word) in refused {
        let said = refusal(&objects, &kind, json!({"metadata": {"name": "a"}, "spec": spec.clone()})).await;
        assert!(said.as_ref().is_some_and(|said| said.contains(word)), "{spec}: {said:?}");
    }
    let said = refusal(
        &objects,
        &kind,
        json!({"metadata": {"name": "a".repeat(41)}, "spec": {"provider": "bridge"}}),
    )
    .await;
    assert!(said.as_ref().is_some_and(|said| said.contains("metadata.name")), "{said:?}");
}

#[tokio::test]
async fn inventories() {
    let (_api, objects) = start().await;
    let kind = ApiResource::erase::<NodeInventory>(&());
    let full = json!({
        "bootID": "7a1c6f0e-0000-4000-8000-000000000002", "supersededBootIDs": ["7a1c6f0e-0000-4000-8000-000000000001"],
        "fences": [{"bootID": "b", "reason": "OutOfService", "since": "2026-01-01T00:00:00Z"}],
        "agentVersion": "0.1.0", "pluginVersion": "0.1.0", "underlayAddress": "fd00::1",
        "interfaces": [{
            "name": "ens1f0.100", "driver": "ixgbe", "mac": "02:00:00:00:00:01", "speedMbps": 10000, "mtu": 9000, "up": true,
            "pciAddress": "0000:3b:00.0", "sriov": {"totalVfs": 64, "vfs": 8}
        }],
        "delegates": [{"type": "bridge", "cniVersions": ["0.4.0", "1.0.0"]}, {"type": "silent"}]
    });
    let named = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    assert_eq!(refusal(&objects, &kind, named("n1.example", full)).await, None);
    assert_eq!(refusal(&objects, &kind, named("n1", json!({"bootID": "b"}))).await, None);
    let with = |more: Value| {
        let mut spec = json!({"bootID": "b"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let refused = [
        (json!({}), "spec.bootID"),
        (json!({"bootID": ""}), "spec.bootID"),
        (json!({"bootID": "two words"}), "spec.bootID"),
        (with(json!({"supersededBootIDs": ["a b"]})), "supersededBootIDs"),
        (with(json!({"supersededBootIDs": vec!["a"; 65]})), "supersededBootIDs"),
        (with(json!({"fences": [{"bootID": "b", "reason": "Bored", "since": "now"}]})), "reason"),
        (with(json!({"fences": [{"bootID": "b", "reason": "Rebooted"}]})), "since"),
        (with(json!({"underlayAddress": "gateway"})), "underlayAddress"),
        (with(json!({"interfaces": [{"name": "a/b", "mtu": 1500, "up": true}]})), "name"),
        (with(json!({"interfaces": [{"name": "much-too-long-a-name", "mtu": 1500, "up": true}]})), "name"),
        (with(json!({"interfaces": [{"name": "eth0", "mtu": -1, "up": true}]})), "mtu"),
        (with(json!({"interfaces": [{"name": "eth0", "mtu": 1500, "up": true, "mac": "none"}]})), "mac"),
        (with(json!({"delegates": [{"cniVersions": []}]})), "type"),
        (with(json!({"delegates": [{"type": "/bin/sh"}]})), "type"),
    ];
    for (spec, word) in refused {
        let said = refusal(&objects, &kind, named("n1", spec.clone())).await;
        assert!(said.as_ref().is_some_and(|said| said.contains(word)), "{spec}: {said:?}");
    }
}
