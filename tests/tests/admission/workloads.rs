//! Workloads that name Networks in an annotation, and nothing else.

use k8s_openapi::api::core::v1::Pod;
use knap_tests::KubernetesApi;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;

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

#[tokio::test]
async fn deployments_of_kubectl_become_pods_that_multus_attaches() {
    let mut api = KubernetesApi::start().await;
    api.install_crds().await;
    api.install_multus_crd().await;
    let mut replica = api.replica(&[]).with("KNAP_CERTIFICATE_SECONDS", "2000,1000,100");
    api.install_webhooks(&replica).await;
    replica.start();
    replica.wait_ready().await;
    let objects = api.objects().await;
    objects.webhooks_answer().await;
    objects.namespace("hello", &[]).await;
    objects.service_account("hello").await;
    api.start_controllers("deployment,replicaset");

    api.kubectl_ok("apply -f -", HELLO);
    let pods = objects
        .eventually("three pods", async || {
            let pods = objects.in_namespace::<Pod>("hello").list(&ListParams::default()).await.unwrap().items;
            (pods.len() == 3).then_some(pods)
        })
        .await;
    for pod in &pods {
        let (multus, class) = (&pod.annotations()["k8s.v1.cni.cncf.io/networks"], "built-in-bridge");
        let expected = if pod.labels()["app"] == "web" { "hello/blue" } else { "hello/blue,hello/red@red0" };
        assert_eq!(multus, expected);
        let affinity = serde_json::to_value(pod.spec.as_ref().unwrap().affinity.as_ref().unwrap()).unwrap();
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        assert_eq!(
            affinity["nodeAffinity"][required]["nodeSelectorTerms"],
            json!([{"matchExpressions": [
                {"key": format!("network.knap.github.com/{class}"), "operator": "In", "values": ["true"]}
            ]}])
        );
    }
    // What Multus looks up by these names is there.
    for network in ["hello/blue", "hello/red"] {
        objects.network_with(network, "Published", "True", "").await;
        let (namespace, name) = network.split_once('/').unwrap();
        api.kubectl_ok(&format!("get net-attach-def -n {namespace} {name} -o name"), "");
    }
}
