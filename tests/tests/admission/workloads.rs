//! Workloads that name Networks in an annotation, and nothing else.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use knap_tests::{KubernetesApi, Objects, Replica};
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::asked;

const MULTUS: &str = "k8s.v1.cni.cncf.io/networks";

const HELLO: &str = "
apiVersion: knap.github.com/v1alpha1
kind: Network
metadata: {name: blue, namespace: hello}
spec: {provider: bridge}
---
apiVersion: knap.github.com/v1alpha1
kind: Network
metadata: {name: red, namespace: hello}
spec: {provider: bridge}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: hello}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {knap.github.com/networks: blue}}
    spec: {automountServiceAccountToken: false, containers: [{name: web, image: web}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: both, namespace: hello}
spec:
  replicas: 1
  selector: {matchLabels: {app: both}}
  template:
    metadata: {labels: {app: both}, annotations: {knap.github.com/networks: 'blue,red@red0'}}
    spec: {automountServiceAccountToken: false, containers: [{name: both, image: both}]}
";

const OTHERS: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere, namespace: hello}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}, annotations: {knap.github.com/networks: blue}}
    spec: {automountServiceAccountToken: false, containers: [{name: c, image: i}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: kept, namespace: hello}
spec:
  replicas: 1
  serviceName: kept
  selector: {matchLabels: {app: kept}}
  template:
    metadata: {labels: {app: kept}, annotations: {knap.github.com/networks: blue}}
    spec: {automountServiceAccountToken: false, containers: [{name: c, image: i}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: hello}
spec:
  template:
    metadata: {labels: {app: once}, annotations: {knap.github.com/networks: blue}}
    spec: {automountServiceAccountToken: false, restartPolicy: Never, containers: [{name: c, image: i}]}
";

/// A virtual machine's pod, as KubeVirt makes it: it knows Multus alone.
const LAUNCHER: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {
    "name": "virt-launcher-vm-x2x7l", "namespace": "hello",
    "labels": {"app": "launcher", "kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": "vm"},
    "annotations": {"k8s.v1.cni.cncf.io/networks":
        "[{\"name\": \"blue\", \"namespace\": \"hello\", \"interface\": \"pod16477688c0e\"}]"}},
  "spec": {"automountServiceAccountToken": false, "nodeSelector": {"kubevirt.io/schedulable": "true"},
    "containers": [{"name": "compute", "image": "i"}]}}"#;

/// A cluster that runs these controllers of Kubernetes, with a namespace `hello`.
async fn cluster(controllers: &str) -> (KubernetesApi, Replica, Objects) {
    let (mut api, replica) = asked(&[]).await;
    let objects = api.objects().await;
    objects.namespace("hello", &[]).await;
    objects.service_account("hello").await;
    api.start_controllers(controllers);
    (api, replica, objects)
}

/// So many pods, when they are there.
async fn pods(objects: &Objects, count: usize) -> Vec<Pod> {
    objects
        .eventually(&format!("{count} pods"), async || {
            let pods = objects.in_namespace::<Pod>("hello").list(&ListParams::default()).await.unwrap().items;
            (pods.len() == count).then_some(pods)
        })
        .await
}

/// The ways to a node that a pod allows.
fn terms(pod: &Pod) -> Value {
    let affinity = serde_json::to_value(pod.spec.as_ref().unwrap().affinity.as_ref().unwrap()).unwrap();
    affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].clone()
}

/// What the class of the Networks here requires of a node.
fn label() -> Value {
    json!([{"key": "network.knap.github.com/built-in-bridge", "operator": "In", "values": ["true"]}])
}

#[tokio::test]
async fn deployments_of_kubectl_become_pods_that_multus_attaches() {
    let (api, _replica, objects) = cluster("deployment,replicaset").await;
    api.kubectl_ok("apply -f -", HELLO);
    for pod in &pods(&objects, 3).await {
        let expected = if pod.labels()["app"] == "web" { "hello/blue" } else { "hello/blue,hello/red@red0" };
        assert_eq!(pod.annotations()[MULTUS], expected);
        assert_eq!(terms(pod), json!([{ "matchExpressions": label() }]));
    }
    // What Multus looks up by these names is there.
    for network in ["hello/blue", "hello/red"] {
        objects.network_with(network, "Published", "True", "").await;
        let (namespace, name) = network.split_once('/').unwrap();
        api.kubectl_ok(&format!("get net-attach-def -n {namespace} {name} -o name"), "");
    }
}

#[tokio::test]
async fn pods_of_every_owner_are_attached_and_find_a_node_that_can() {
    let (api, _replica, objects) = cluster("daemonset,job,statefulset").await;
    for node in ["n1", "n2"] {
        objects.labelled_node(node, json!({})).await;
        // The API server taints new nodes, until a controller that is none of these finds them ready.
        objects.taint_node(node, json!([])).await;
    }
    objects.network("hello/blue", json!({"provider": "bridge"})).await;
    objects.network_with("hello/blue", "Published", "True", "").await;
    api.kubectl_ok("apply -f -", OTHERS);
    let mut everywhere = Vec::new();
    for pod in &pods(&objects, 4).await {
        assert_eq!(pod.annotations()[MULTUS], "hello/blue", "{}", pod.name_any());
        if pod.labels()["app"] == "everywhere" {
            // The controller's own term stays, so that it finds its pod on each node again.
            let terms = terms(pod);
            assert_eq!(
                (terms.as_array().unwrap().len(), &terms[0]["matchExpressions"]),
                (1, &label()),
                "{terms}"
            );
            let field = &terms[0]["matchFields"][0];
            assert_eq!(field["key"], "metadata.name", "{terms}");
            everywhere.push(field["values"][0].as_str().unwrap().to_owned());
        } else {
            assert_eq!(terms(pod), json!([{ "matchExpressions": label() }]), "{}", pod.name_any());
        }
    }
    everywhere.sort();
    assert_eq!(everywhere, ["n1", "n2"]);
    // It counts one on each of them, and makes no more.
    objects
        .eventually("the DaemonSet is content", async || {
            let sets = objects.in_namespace::<DaemonSet>("hello");
            let status = sets.get("everywhere").await.unwrap().status?;
            (status.current_number_scheduled == 2 && status.desired_number_scheduled == 2).then_some(())
        })
        .await;
    assert_eq!(pods(&objects, 4).await.len(), 4);

    api.kubectl_ok("apply -f -", LAUNCHER);
    let launcher = objects.in_namespace::<Pod>("hello").get("virt-launcher-vm-x2x7l").await.unwrap();
    assert!(launcher.annotations()[MULTUS].contains("pod16477688c0e"), "{:?}", launcher.annotations());
    assert_eq!(terms(&launcher), json!([{ "matchExpressions": label() }]));
}

#[tokio::test]
async fn a_namespace_and_its_network_are_made_in_one_breath() {
    let (api, _replica) = asked(&[]).await;
    let objects = api.objects().await;
    let chosen = json!({"provider": "bridge", "access": {"namespaceSelector": {"matchLabels": {"team": "net"}}},
        "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 28}]});
    objects.class("chosen", chosen).await;
    for index in 0..50 {
        let namespace = format!("shop-{index}");
        objects.namespace(&namespace, &[("team", "net")]).await;
        // It would panic if it were refused.
        objects.network(&format!("{namespace}/blue"), json!({"class": "chosen"})).await;
    }
    objects.ready("shop-49/blue").await;
}
