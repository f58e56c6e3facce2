//! The cases of the table.

use serde_json::{Value, json};

use crate::{CLASSES, DEFINITIONS, NETWORKS, PODS};

/// How an object is written.
pub(crate) enum Verb {
    Create,
    /// By somebody who is no administrator.
    CreateAs(&'static str),
    Change,
}

/// One object, and how it is written.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) verb: Verb,
    pub(crate) path: String,
    pub(crate) object: Value,
}

/// Who may make definitions past Knap.
pub(crate) const EXEMPT: &str = "ops";

fn create(name: &str, path: &str, object: Value) -> Case {
    Case { name: name.to_owned(), verb: Verb::Create, path: path.to_owned(), object }
}

fn change(name: &str, path: &str, object: Value) -> Case {
    Case { name: name.to_owned(), verb: Verb::Change, path: path.to_owned(), object }
}

fn network(name: &str, spec: &Value) -> Case {
    let object = json!({"apiVersion": "knap.github.com/v1alpha1", "kind": "Network", "metadata": {"name": "new"}, "spec": spec});
    create(&format!("network: {name}"), NETWORKS, object)
}

fn class(name: &str, spec: &Value) -> Case {
    let object = json!({"apiVersion": "knap.github.com/v1alpha1", "kind": "NetworkClass", "metadata": {"name": "new"}, "spec": spec});
    create(&format!("class: {name}"), CLASSES, object)
}

fn pod(name: &str, annotations: &Value, spec: &Value) -> Case {
    let mut whole =
        json!({"automountServiceAccountToken": false, "containers": [{"name": "app", "image": "i"}]});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-", "annotations": annotations}, "spec": whole});
    create(&format!("pod: {name}"), PODS, object)
}

/// A pod that asks Knap for these.
fn asking(name: &str, networks: &str) -> Case {
    pod(name, &json!({"knap.github.com/networks": networks}), &json!({}))
}

/// A virtual machine's pod, as KubeVirt makes it.
fn launcher() -> Case {
    let networks = r#"[{"name": "fast", "namespace": "shop", "mac": "02:00:00:00:00:01", "interface": "pod37a8eec1ce1"}]"#;
    let device = json!({"vendor.com/pool": "1"});
    let spec = json!({"nodeSelector": {"kubevirt.io/schedulable": "true"}, "containers": [
        {"name": "compute", "image": "i", "resources": {"requests": device, "limits": device}}]});
    let mut case = pod("a virtual machine's", &json!({"k8s.v1.cni.cncf.io/networks": networks}), &spec);
    case.object["metadata"]["labels"] = json!({"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": "vm"});
    case
}

fn definition(name: &str, config: &str) -> Case {
    let object = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "raw"},
        "spec": {"config": config}
    });
    let case = create(name, DEFINITIONS, object);
    Case { verb: Verb::CreateAs("jane"), ..case }
}

/// All of them, where definitions past Knap are warned of.
pub(crate) fn cases() -> Vec<Case> {
    let groups = [networks(), changed_networks(), classes(), pods(), definitions("definition")];
    groups.into_iter().flatten().collect()
}

fn networks() -> Vec<Case> {
    vec![
        network("carved", &json!({"class": "fab"})),
        network("requested and free", &json!({"class": "fab", "subnets": ["10.64.7.0/24"]})),
        network("inside another's subnet", &json!({"class": "fab", "subnets": ["10.64.0.128/25"]})),
        network("around other's subnets", &json!({"class": "wide", "subnets": ["10.64.0.0/20"]})),
        network("the same subnet", &json!({"class": "fab", "subnets": ["10.64.0.0/24"]})),
        network("the cluster's pods", &json!({"class": "wide", "subnets": ["10.244.0.0/20"]})),
        network("the cluster's network as given", &json!({"class": "wide", "subnets": ["10.200.16.0/20"]})),
        network("the first Service", &json!({"class": "wide", "subnets": ["10.96.0.0/20"]})),
        network("a node's address", &json!({"class": "fab", "subnets": ["10.64.9.0/24"]})),
        network(
            "a node's address, reserved",
            &json!({"class": "fab", "subnets": ["10.64.9.0/24"], "reserved": ["10.64.9.0/27"]}),
        ),
        network("outside of the class", &json!({"class": "fab", "subnets": ["10.70.0.0/24"]})),
        network("requests are not allowed", &json!({"class": "plain", "subnets": ["10.91.0.0/24"]})),
        network("no prefix but an address in one", &json!({"class": "fab", "subnets": ["10.64.7.9/24"]})),
        network("two that overlap", &json!({"class": "fab", "subnets": ["10.64.7.0/24", "10.64.7.128/25"]})),
        network("exhausted subnets", &json!({"class": "tiny"})),
        network("exhausted VLANs", &json!({"class": "vf"})),
        network("a bridge's only port", &json!({"class": "port"})),
        network("over quota", &json!({"class": "few"})),
        network("a class of others", &json!({"class": "closed"})),
        network("a class that is not there yet", &json!({"class": "none"})),
        network("a provider without class", &json!({"provider": "sriov"})),
        network("a provider that is none", &json!({"provider": "acme"})),
        network("a provider with a built-in class", &json!({"provider": "bridge", "class": "plain"})),
        network("class and provider disagree", &json!({"class": "fab", "provider": "bridge"})),
        network("no default", &json!({})),
        network(
            "features that no class has",
            &json!({"requires": {"hardwareAcceleration": true, "mtu": 9000}}),
        ),
        network(
            "a family that the class has not",
            &json!({"class": "fab", "requires": {"ipFamilies": ["IPv6"]}}),
        ),
        network("addresses of nobody", &json!({"class": "fab", "ipam": "None"})),
        network(
            "addresses of nobody, reserved",
            &json!({"class": "fab", "ipam": "None", "reserved": ["10.64.7.1"]}),
        ),
        network("sticky", &json!({"class": "fab", "addressPolicy": "Sticky"})),
        network(
            "a gateway out of reach",
            &json!({"class": "fab", "routes": [{"destination": "172.16.0.0/12", "gateway": "10.99.0.1"}]}),
        ),
        network("what the schema does not allow", &json!({"class": "fab", "subnets": ["10.64.7"]})),
        network("a subnet for loopback", &json!({"class": "wide", "subnets": ["127.0.0.0/24"]})),
    ]
}

fn changed_networks() -> Vec<Case> {
    let blue = |name: &str, patch: Value| {
        change(&format!("network, changed: {name}"), &format!("{NETWORKS}/blue"), patch)
    };
    let waiting = |name: &str, patch: Value| {
        change(&format!("network, changed: {name}"), &format!("{NETWORKS}/waiting"), patch)
    };
    vec![
        blue("labels", json!({"metadata": {"labels": {"a": "b"}}})),
        blue(
            "one more subnet",
            json!({"spec": {"subnets": ["10.64.0.0/24", "10.64.1.0/24", "10.64.7.0/24"]}}),
        ),
        blue("a subnet that nobody uses goes", json!({"spec": {"subnets": ["10.64.1.0/24"]}})),
        blue("a subnet in use goes", json!({"spec": {"subnets": ["10.64.0.0/24"]}})),
        blue("another class while attached", json!({"spec": {"class": "wide"}})),
        blue("no addresses while attached", json!({"spec": {"subnets": null, "ipam": "None"}})),
        blue("name servers", json!({"spec": {"dns": {"nameservers": ["10.64.0.2"]}}})),
        blue(
            "a subnet of others",
            json!({"spec": {"subnets": ["10.64.0.0/24", "10.64.1.0/24", "10.64.2.0/24"]}}),
        ),
        waiting("something else of one that waits", json!({"spec": {"dns": {"nameservers": ["10.64.0.2"]}}})),
        waiting("what it waits for", json!({"spec": {"class": "fab"}})),
    ]
}

fn classes() -> Vec<Case> {
    let changed = |name: &str, class: &str, spec: Value| {
        change(&format!("class, changed: {name}"), &format!("{CLASSES}/{class}"), json!({"spec": spec}))
    };
    let macvlan = |more: Value| {
        let mut spec = json!({"provider": "macvlan", "uplinks": [{"interface": "up9"}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    vec![
        class("good", &macvlan(json!({"subnets": [{"cidr": "10.100.0.0/16", "prefixLength": 24}]}))),
        class("a provider that is none", &json!({"provider": "acme"})),
        class("a parameter that is none", &macvlan(json!({"parameters": {"mod": "bridge"}}))),
        class("without what the provider needs", &json!({"provider": "macvlan"})),
        class(
            "units larger than the whole",
            &macvlan(json!({"subnets": [{"cidr": "10.100.0.0/16", "prefixLength": 8}]})),
        ),
        class(
            "another name for a wire",
            &macvlan(json!({"uplinks": [{"interface": "up0"}], "fabric": "dc-z"})),
        ),
        class(
            "a port that others build on",
            &macvlan(json!({"provider": "bridge", "uplinks": [{"interface": "up0"}], "fabric": "dc-a"})),
        ),
        class("an interface for one pod alone", &macvlan(json!({"parameters": {"mode": "passthru"}}))),
        class("VLANs that are none", &macvlan(json!({"segments": {"vlans": ["4000-5000"]}}))),
        class(
            "all in the cluster's own",
            &macvlan(json!({"subnets": [{"cidr": "10.200.7.0/24", "prefixLength": 28}]})),
        ),
        class(
            "partly in the cluster's own",
            &macvlan(json!({"subnets": [{"cidr": "10.192.0.0/12", "prefixLength": 24}]})),
        ),
        changed("more room", "fab", json!({"subnets": [{"cidr": "10.64.0.0/15", "prefixLength": 24}]})),
        changed("no more requests", "fab", json!({"allowRequestedSubnets": false})),
        changed("other subnets", "fab", json!({"subnets": [{"cidr": "10.101.0.0/16", "prefixLength": 24}]})),
        changed("another provider", "fab", json!({"provider": "bridge"})),
        changed("another name for a wire", "fab", json!({"fabric": "dc-z"})),
        changed("another name for a wire while one of its VLANs is in use", "vf", json!({"fabric": "dc-z"})),
        changed("other VLANs while one is in use", "vf", json!({"segments": {"vlans": ["200-209"]}})),
        changed(
            "not for everybody any more",
            "plain",
            json!({"access": {"namespaceSelector": {"matchLabels": {"a": "b"}}}}),
        ),
        changed(
            "not for one any more that has a Network of it",
            "team",
            json!({"access": {"namespaceSelector": {"matchLabels": {"team": "bank"}}}}),
        ),
        changed("fewer than there are", "few", json!({"access": {"networksPerNamespace": 0}})),
    ]
}

fn pods() -> Vec<Case> {
    let multus = "k8s.v1.cni.cncf.io/networks";
    let knap = "knap.github.com/networks";
    let device = |amount: &str| {
        let amount = json!({"vendor.com/pool": amount});
        json!({"containers": [{"name": "app", "image": "i"},
            {"name": "dpdk", "image": "i", "resources": {"requests": amount, "limits": amount}}]})
    };
    let affinity = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
    {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "zone", "operator": "Exists"}]},
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
    ]}}}});
    vec![
        pod("asks for nothing", &json!({}), &json!({})),
        asking("one", "blue"),
        asking("several", "blue, bank/open@dmz0, fast"),
        asking("as JSON", r#"[{"name": "blue", "ips": ["10.64.0.9"]}]"#),
        asking("nothing in it", ""),
        asking("unknown", "none"),
        asking("unknown elsewhere", "bank/none"),
        asking("not shared", "bank/own"),
        asking("shared with others", "bank/team"),
        asking("not ready", "waiting"),
        asking("twice", "blue,blue"),
        asking("twice, told apart", "blue@a,blue@b"),
        asking("one interface twice", "blue@a,fast@a"),
        asking("a default interface twice", "blue@net2,fast"),
        asking("an interface of every pod", "blue@eth0"),
        asking("an interface that is none", "blue@much-too-long-a-name"),
        asking("capitals", "Blue"),
        asking("other letters", "blau-grün, 蓝"),
        asking("half a list", "[{\"name\": \"blue\"}"),
        asking("a list of words", "[\"blue\"]"),
        asking("a nameless entry", "[{\"namespace\": \"shop\"}]"),
        pod("beside others of Multus", &json!({knap: "blue", multus: "raw@x"}), &json!({})),
        pod(
            "beside others of Multus as JSON",
            &json!({knap: "blue", multus: "[{\"name\": \"raw\"}]"}),
            &json!({}),
        ),
        pod("named to both", &json!({knap: "blue", multus: "shop/blue"}), &json!({})),
        pod("what Multus can't read", &json!({knap: "blue", multus: "[{"}), &json!({})),
        pod("a device that is asked for", &json!({knap: "fast"}), &device("1")),
        pod("one of two devices asked for", &json!({knap: "fast@a,fast@b"}), &device("1")),
        pod("nodes chosen already", &json!({knap: "blue"}), &affinity),
        pod("Multus alone", &json!({multus: "blue"}), &json!({})),
        pod("a device by Multus alone", &json!({multus: "fast"}), &json!({})),
        launcher(),
        pod("Multus alone, not Knap's", &json!({multus: "raw, ["}), &json!({})),
    ]
}

/// Definitions written by hand, by such a name of the whole.
pub(crate) fn definitions(of: &str) -> Vec<Case> {
    let definition = |name: &str, config: &str| definition(&format!("{of}: {name}"), config);
    vec![
        definition("thin", r#"{"cniVersion": "1.0.0", "type": "knap", "network": "shop/blue"}"#),
        definition("another network's", r#"{"cniVersion": "1.0.0", "type": "ovn-k8s-cni-overlay"}"#),
        definition("macvlan", r#"{"cniVersion": "1.0.0", "type": "macvlan", "master": "up0"}"#),
        definition("a list with a bridge in it", r#"{"plugins": [{"type": "knap"}, {"Type": "bridge"}]}"#),
        definition("what nobody can read", "{type: macvlan}"),
        Case { verb: Verb::Create, ..definition("by an administrator", r#"{"type": "macvlan"}"#) },
        Case { verb: Verb::CreateAs(EXEMPT), ..definition("by one who is exempt", r#"{"type": "macvlan"}"#) },
    ]
}
