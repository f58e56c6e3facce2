//! Networks as a person with kubectl meets them.

use knap_tests::KubernetesApi;
use serde_json::json;

/// The shape of the first prototype.
const PROTOTYPE: &str = "
apiVersion: knap.github.com/v1alpha1
kind: Network
metadata: {name: blue, namespace: shop}
spec: {provider: bridge}
---
apiVersion: knap.github.com/v1alpha1
kind: Network
metadata: {name: red, namespace: shop}
spec: {provider: bridge, hints: {colour: red}}
";

/// The cells of each line of a table, without its heading.
fn table(printed: &str) -> Vec<Vec<&str>> {
    printed.lines().skip(1).map(|line| line.split_whitespace().collect()).collect()
}

#[tokio::test]
async fn kubectl_shows_what_a_person_wants_to_know() {
    let mut api = KubernetesApi::start().await;
    api.install_multus_crd().await;
    // The definitions, as a person applies them.
    api.kubectl_ok("apply -f -", &knap_resolver::command::crds::yaml().unwrap());
    api.kubectl_ok("wait --for=condition=Established crd/networks.knap.github.com --timeout=180s", "");
    api.start_controller_manager();
    let replica = api.start_replica().await;
    api.kubectl_ok("create namespace shop", "");

    let applied = api.kubectl_ok("apply -f -", PROTOTYPE);
    assert!(applied.contains("network.knap.github.com/blue created"), "{applied}");
    api.kubectl_ok("wait -n shop --for=condition=Ready nw/blue nw/red --timeout=180s", "");
    replica.attached("n1", "c1", json!({})).await;
    let counted = |printed: &str| {
        let rows = table(printed);
        (rows.first()?.get(3..5)? == ["1/253", "0"]).then(|| printed.to_owned())
    };
    let printed = api.kubectl_until("attachment and nodes are counted", "get nw -n shop", counted);
    let heading: Vec<&str> = printed.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["NAME", "CLASS", "SUBNETS", "USED", "NODES", "READY", "REASON", "AGE"]);
    let rows = table(&printed);
    // Of its node no agent has said what is there. Both Networks came at once: either may have the first subnet.
    let subnet = rows[0][2];
    assert!(["100.96.0.0/24", "100.96.1.0/24"].contains(&subnet), "{printed}");
    let blue = ["blue", "built-in-bridge", subnet, "1/253", "0", "True", "Ready"];
    assert_eq!((rows[0][..7].to_vec(), rows[1][3]), (blue.to_vec(), "0/253"), "{printed}");

    let leases = api.kubectl_ok("get nwl", "");
    assert!(
        leases.contains("shop.blue-")
            && leases.contains("n1")
            && leases.contains(subnet.trim_end_matches("0/24")),
        "{leases}"
    );
    let reservations = api.kubectl_ok("get nwr", "");
    assert!(reservations.contains("subnet-cluster-64600000-24"), "{reservations}");
    let definitions = api.kubectl_ok("get net-attach-def -n shop -o name", "");
    assert_eq!(definitions.lines().count(), 2, "{definitions}");
    let described = api.kubectl_ok("describe nw blue -n shop", "");
    assert!(described.contains("attachments are served by class built-in-bridge"), "{described}");
    assert!(api.kubectl_ok("get all -n shop", "").contains("network.knap.github.com/blue"));

    // A second look changes nothing, and nonsense is refused where it is written.
    assert!(api.kubectl_ok("apply -f -", PROTOTYPE).contains("network.knap.github.com/blue unchanged"));
    let typo = PROTOTYPE.replace("spec: {provider: bridge}", "spec: {provider: bridge, subnets: [10.1.2.0]}");
    let refused = api.kubectl("apply -f -", &typo);
    assert!(!refused.success && refused.err.contains("spec.subnets"), "{refused:?}");

    let dual = json!({
        "apiVersion": "knap.github.com/v1alpha1", "kind": "NetworkClass", "metadata": {"name": "dual"},
        "spec": {"provider": "bridge", "subnets": [
            {"cidr": "10.64.0.0/16", "prefixLength": 24}, {"cidr": "fd00:64::/48", "prefixLength": 64}
        ]}
    });
    api.kubectl_ok("apply -f -", &dual.to_string());
    let six = json!({
        "apiVersion": "knap.github.com/v1alpha1", "kind": "Network", "metadata": {"name": "six", "namespace": "shop"},
        "spec": {"class": "dual"}
    });
    let planned = api.plan(&six.to_string());
    assert!(planned.contains("subnet    10.64.0.0/24") && planned.contains("fd00:64::/64"), "{planned}");
    api.kubectl_ok("apply -f -", &six.to_string());
    api.kubectl_ok("wait -n shop --for=condition=Ready nw/six --timeout=180s", "");
    let printed = api.kubectl_ok("get nw six -n shop", "");
    assert_eq!(table(&printed)[0][2], "10.64.0.0/24,fd00:64::/64", "{printed}");
    let classes = api.kubectl_ok("get nwc", "");
    assert!(classes.contains("dual") && classes.contains("bridge"), "{classes}");
    let planned = api.plan(&six.to_string().replace("\"six\"", "\"seven\""));
    assert!(planned.contains("subnet    10.64.1.0/24"), "six has the first: {planned}");
    println!("{printed}{classes}{leases}{reservations}{described}");

    api.kubectl_ok("delete nw --all -n shop --timeout=180s", "");
    assert!(api.kubectl_ok("get net-attach-def -n shop -o name", "").is_empty());
    assert_eq!(replica.release("n1", "c1", &[]).await.unwrap().status, 204);
    let none = |printed: &str| printed.is_empty().then_some(());
    api.kubectl_until("nothing is reserved", "get nwr -o name", none);
    assert!(api.kubectl_ok("get nwl -o name", "").is_empty());
    api.kubectl_ok("delete namespace shop --timeout=180s", "");
}
