//! The examples under `deploy/examples`, applied as they are.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use knap_api::{Network, NetworkClass};
use knap_tests::bare;
use knap_tests::nodes::kubevirt::assert_virtual_machine;
use knap_tests::nodes::manifests::{assert_strictly, identity, parse, repository};
use knap_tests::nodes::{Cluster, network_status};
use serde_json::{Value, json};

/// The objects of an example, which are valid.
fn example(name: &str) -> Vec<Value> {
    let folder = repository("deploy/examples").join(name);
    let read = |file: &str| parse(&std::fs::read_to_string(folder.join(file)).unwrap());
    let objects = [read("network.yaml"), read("workload.yaml")].concat();
    for object in &objects {
        match object["kind"].as_str().unwrap() {
            "Namespace" => assert_strictly::<Namespace>(object),
            "Network" => assert_strictly::<Network>(object),
            "NetworkClass" => assert_strictly::<NetworkClass>(object),
            "Deployment" => assert_strictly::<Deployment>(object),
            "StatefulSet" => assert_strictly::<StatefulSet>(object),
            "Pod" => assert_strictly::<Pod>(object),
            "VirtualMachine" => assert_virtual_machine(object),
            kind => panic!("no type for {kind}"),
        }
    }
    objects
}

/// Applies an example, and waits until its workloads run; names of the pods of a namespace.
async fn run(cluster: &Cluster, name: &str, namespace: &str) -> Vec<String> {
    let objects = example(name);
    cluster.apply(&objects);
    for object in &objects {
        let (kind, name) = identity(object);
        if kind == "Deployment" || kind == "StatefulSet" {
            cluster.wait_rolled_out(namespace, &format!("{kind}/{}", name.split_once('/').unwrap().1)).await;
        }
    }
    let pods = cluster.api.kubectl_ok(&format!("get pods -n {namespace} -o name"), "");
    pods.lines().map(|line| line.replace("pod/", &format!("{namespace}/"))).collect()
}

/// Removes an example; nothing of its Networks' attachments stays.
async fn remove(cluster: &Cluster, name: &str, networks: &[&str]) {
    let list =
        |objects: Vec<Value>| json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
    let (networked, working): (Vec<_>, Vec<_>) = example(name).into_iter().partition(|object| {
        ["Namespace", "Network", "NetworkClass"].contains(&object["kind"].as_str().unwrap())
    });
    cluster.api.kubectl_ok("delete --wait=false -f -", &list(working));
    for network in networks {
        cluster.assert_nothing_left(network).await;
    }
    cluster.api.kubectl_ok("delete --wait=false -f -", &list(networked));
}

#[tokio::test]
async fn hello_world() {
    let cluster = Cluster::shared().await;
    let pods = run(&cluster, "hello-world", "hello").await;
    let of = |colour: &str| pods.iter().filter(|pod| pod.contains(colour)).cloned().collect::<Vec<_>>();
    let (blue, red) = (of("blue"), of("red"));
    assert_eq!((blue.len(), red.len()), (2, 1), "{pods:?}");
    let address = |pod: &str| cluster.addresses(pod, "net1").remove(0);
    assert!(cluster.reaches(&blue[0], &address(&blue[1])));
    assert_ne!(address(&blue[0]).rsplit_once('.').unwrap().0, address(&red[0]).rsplit_once('.').unwrap().0);
    remove(&cluster, "hello-world", &["hello/blue", "hello/red"]).await;
}

#[tokio::test]
async fn dual_stack() {
    let cluster = Cluster::shared().await;
    let pods = run(&cluster, "dual-stack", "dual").await;
    let addresses = cluster.addresses(&pods[1], "net1");
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    for address in &addresses {
        assert!(cluster.reaches(&pods[0], address), "{address}");
    }
    remove(&cluster, "dual-stack", &["dual/both"]).await;
}

#[tokio::test]
async fn shared_provider_network() {
    let cluster = Cluster::shared().await;
    let pods = run(&cluster, "shared-provider-network", "printing").await;
    let address = cluster.addresses(&pods[1], "net1").remove(0);
    assert!(address.starts_with("192.0.2.") && address.ends_with("/24"), "{address}");
    assert!(cluster.reaches(&pods[0], &address));
    let pod = cluster.pod_ready(&pods[1]).await;
    let status = network_status(&pod);
    assert_eq!(
        (&status[1]["name"], &status[1]["ips"]),
        (&json!("infrastructure/office"), &json!([bare(&address)]))
    );
    remove(&cluster, "shared-provider-network", &["infrastructure/office"]).await;
}

#[tokio::test]
async fn stateful() {
    let cluster = Cluster::shared().await;
    let pods = run(&cluster, "stateful", "ledger").await;
    assert_eq!(pods, ["ledger/store-0", "ledger/store-1"]);
    let before = cluster.addresses("ledger/store-0", "net1");
    let old = cluster.pod_ready("ledger/store-0").await.metadata.uid;
    cluster.api.kubectl_ok("delete pod -n ledger store-0 --wait=true --timeout=180s", "");
    cluster.wait_rolled_out("ledger", "StatefulSet/store").await;
    assert_ne!(cluster.pod_ready("ledger/store-0").await.metadata.uid, old);
    assert_eq!(cluster.addresses("ledger/store-0", "net1"), before);
    // Kept for the StatefulSet, and so until a look after it is gone.
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": example("stateful") }).to_string();
    cluster.api.kubectl_ok("delete --wait=false -f -", &list);
}

#[test]
fn what_kubevirt_does_not_know_is_refused() {
    let machine = example("virtual-machine").pop().unwrap();
    for (place, wrong) in [
        ("/spec/template/spec/networks/1/multus", json!({ "networkName": "plant", "network": "plant" })),
        ("/spec/template/spec/domain/devices/interfaces/1", json!({ "name": "plant", "bridged": {} })),
        ("/spec/template/spec/domain/memory", json!({ "guest": 1 })),
        ("/spec/template/spec/volumes", json!({ "name": "root" })),
    ] {
        let mut machine = machine.clone();
        *machine.pointer_mut(place).unwrap() = wrong;
        assert!(std::panic::catch_unwind(|| assert_virtual_machine(&machine)).is_err(), "{place}");
    }
}

#[test]
fn what_kubernetes_does_not_know_of_a_pod_is_refused() {
    let mut pod = example("sriov-dpdk").pop().unwrap();
    assert_eq!(pod["kind"], "Pod");
    pod["spec"]["containers"][0]["resources"]["limit"] = json!({ "intel.com/dpdk": "1" });
    assert!(std::panic::catch_unwind(|| assert_strictly::<Pod>(&pod)).is_err());
}

/// There is no KubeVirt here.
#[tokio::test]
async fn a_virtual_machine_is_accepted() {
    let cluster = Cluster::shared().await;
    let mut objects = example("virtual-machine");
    let machine = objects.pop().unwrap();
    assert!(!cluster.knows(&machine));
    cluster.apply(&objects);
    let objects = cluster.api.objects().await;
    objects.network_with("machines/plant", "Published", "True", "").await;

    let spec = &machine["spec"]["template"]["spec"];
    let names = |pointer: &str| -> Vec<Value> {
        spec.pointer(pointer).unwrap().as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect()
    };
    assert_eq!(names("/networks"), names("/domain/devices/interfaces"));
    assert_eq!(names("/volumes"), names("/domain/devices/disks"));
    let network = spec["networks"][1]["multus"]["networkName"].as_str().unwrap();
    let published = objects.get_network("machines/plant").await.unwrap().status.unwrap();
    assert_eq!(published.network_attachment_definitions, [format!("machines/{network}")]);
    // What KubeVirt makes of it: a launcher that names the definition, with an interface of KubeVirt's naming.
    cluster.create_pod(
        "machines/launcher",
        &json!({ "k8s.v1.cni.cncf.io/networks":
        r#"[{"name": "plant", "namespace": "machines", "interface": "pod8a1f4d2c3b9"}]"# }),
    );
    let launcher = cluster.pod_ready("machines/launcher").await;
    let status = network_status(&launcher);
    assert_eq!((&status[1]["interface"], &status[1]["ips"]), (&json!("pod8a1f4d2c3b9"), &Value::Null));
    cluster.delete_pod("machines/launcher");
    cluster.assert_nothing_left("machines/plant").await;
    cluster.api.kubectl_ok("delete namespace machines --wait=false", "");
}

/// There is no such device here.
#[tokio::test]
async fn a_pod_with_a_virtual_function_is_accepted() {
    let cluster = Cluster::shared().await;
    cluster.apply(&example("sriov-dpdk"));
    let objects = cluster.api.objects().await;
    objects.network_with("packets/ingress", "Published", "True", "").await;
    let pod: Value =
        serde_json::from_str(&cluster.api.kubectl_ok("get pod -n packets forwarder -o json", "")).unwrap();
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"]["intel.com/dpdk"], "1");
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": example("sriov-dpdk") }).to_string();
    cluster.api.kubectl_ok("delete --wait=false -f -", &list);
}
