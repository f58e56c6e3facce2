//! What `deploy/` holds: both ways of installing are one, valid, and leave a node as it was.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use knap_tests::eventually;
use knap_tests::nodes::manifests::{assert_strictly, charted, charted_in, identity, kustomized, webhooks};
use knap_tests::nodes::{Cluster, SYSTEM};
use serde_json::{Value, json};

/// Checks an object against its kind, as Kubernetes 1.33 has it.
fn check(object: &Value) {
    match object["kind"].as_str().unwrap() {
        "ClusterRole" => assert_strictly::<ClusterRole>(object),
        "ClusterRoleBinding" => assert_strictly::<ClusterRoleBinding>(object),
        "ConfigMap" => assert_strictly::<ConfigMap>(object),
        "CustomResourceDefinition" => assert_strictly::<CustomResourceDefinition>(object),
        "DaemonSet" => assert_strictly::<DaemonSet>(object),
        "Deployment" => assert_strictly::<Deployment>(object),
        "Namespace" => assert_strictly::<Namespace>(object),
        "NetworkPolicy" => assert_strictly::<NetworkPolicy>(object),
        "PodDisruptionBudget" => assert_strictly::<PodDisruptionBudget>(object),
        "Role" => assert_strictly::<Role>(object),
        "RoleBinding" => assert_strictly::<RoleBinding>(object),
        "Service" => assert_strictly::<Service>(object),
        "ServiceAccount" => assert_strictly::<ServiceAccount>(object),
        "MutatingWebhookConfiguration" => assert_strictly::<MutatingWebhookConfiguration>(object),
        "ValidatingWebhookConfiguration" => assert_strictly::<ValidatingWebhookConfiguration>(object),
        // Of the Prometheus operator, whose types nobody here has.
        "ServiceMonitor" => println!("a ServiceMonitor is read as YAML, and not checked further"),
        kind => panic!("no type for {kind}"),
    }
}

fn by_identity(objects: Vec<Value>) -> BTreeMap<(String, String), Value> {
    objects.into_iter().map(|object| (identity(&object), object)).collect()
}

#[test]
fn what_kustomize_makes_is_valid() {
    for folder in ["deploy", "deploy/monitoring"] {
        let objects = kustomized(folder);
        assert!(!objects.is_empty());
        objects.iter().for_each(check);
    }
}

#[test]
fn the_chart_makes_what_kustomize_makes() {
    let mut others = by_identity(kustomized("deploy"));
    for (what, object) in by_identity(charted(&[])) {
        assert_eq!(others.remove(&what).as_ref(), Some(&object), "{what:?}: run build/deploy.sh");
    }
    // Helm makes the namespace when it is told to, and the kinds from its folder of them.
    others.retain(|(kind, _), _| kind != "Namespace" && kind != "CustomResourceDefinition");
    assert!(others.is_empty(), "not in the chart: {:?}", others.keys());

    let monitored = charted(&["monitoring.serviceMonitor.enabled=true", "monitoring.dashboard.enabled=true"]);
    let monitored = by_identity(monitored);
    for (what, object) in by_identity(kustomized("deploy/monitoring")) {
        assert_eq!(monitored.get(&what), Some(&object), "{what:?}: run build/deploy.sh");
    }
}

#[test]
fn every_value_of_the_chart_makes_valid_objects() {
    let values = [
        "image.registry=registry.example/net",
        "image.tag=1.2.3",
        "image.pullSecrets=[{name: pull}]",
        "resolver.replicas=3",
        "resolver.clusterIP=10.96.7.7",
        "resolver.hostNetwork=true",
        "resolver.clusterCIDRs=[10.244.0.0/16]",
        "resolver.extraArgs=[--drain=9]",
        "resolver.nodeSelector={rack: a}",
        "resolver.tolerations=[{operator: Exists}]",
        "node.privileged=true",
        "node.seLinuxOptions={type: spc_t, level: s0}",
        "node.healthPort=14181",
        "node.nodeSelector={rack: a}",
        "node.extraArgs=[--uninstall]",
        "networkPolicy.enabled=false",
        "webhooks.rawAttachments=refuse",
        "rbac.aggregate=false",
        "monitoring.serviceMonitor.enabled=true",
        "monitoring.dashboard.enabled=true",
    ];
    let objects = charted(&values);
    objects.iter().for_each(check);
    let text = serde_json::to_string(&objects).unwrap();
    for expected in [
        "registry.example/net/knap-node:1.2.3",
        "10.96.7.7",
        "--cluster-cidr=10.244.0.0/16",
        "--drain=9",
        "--uninstall",
        "--raw-attachments=refuse",
        "\"seLinuxOptions\":{\"level\":\"s0\",\"type\":\"spc_t\"}",
        "--health-address=127.0.0.1:14181",
    ] {
        assert!(text.contains(expected), "{expected}");
    }
    assert!(!text.contains("NetworkPolicy"));
}

/// A node's agent asks the resolver alone: who takes its token can do nothing at the API server.
#[test]
fn the_agents_account_has_no_rights() {
    let of_kustomize = [kustomized("deploy"), kustomized("deploy/monitoring")].concat();
    for objects in [of_kustomize, charted(&["node.privileged=true"])] {
        let bindings = objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("Binding"));
        let subjects: Vec<_> = bindings.flat_map(|binding| binding["subjects"].as_array().unwrap()).collect();
        assert!(subjects.iter().any(|subject| subject["name"] == "knap-resolver"), "{subjects:?}");
        for subject in subjects {
            // A group would have the agents' account in it.
            assert!(subject["kind"] == "ServiceAccount" && subject["name"] != "knap-node", "{subject}");
        }
    }
}

#[test]
fn the_chart_limits_the_resolver_to_the_ports_it_is_given() {
    let policy = |values: &[&str]| {
        let policy = charted(values).into_iter().find(|object| object["kind"] == "NetworkPolicy").unwrap();
        check(&policy);
        (policy["spec"]["policyTypes"].clone(), policy["spec"]["egress"].clone())
    };
    assert_eq!(policy(&[]), (json!(["Ingress"]), Value::Null));
    let ports = json!([{"port": 443, "protocol": "TCP"}, {"port": 16443, "protocol": "TCP"}]);
    assert_eq!(
        policy(&["networkPolicy.apiServerPorts=[443, 16443]"]),
        (json!(["Ingress", "Egress"]), json!([{ "ports": ports }]))
    );
}

#[test]
fn prometheus_shows_the_token_in_its_file_or_one_that_is_given() {
    let endpoint = |values: &[&str]| {
        let objects = charted(&[&["monitoring.serviceMonitor.enabled=true"], values].concat());
        let monitor = objects.into_iter().find(|object| object["kind"] == "ServiceMonitor").unwrap();
        let shown = |name: &str| monitor["spec"]["endpoints"][0][name].clone();
        (shown("bearerTokenFile").is_string(), shown("authorization"))
    };
    assert_eq!(endpoint(&[]), (true, Value::Null));
    let given = json!({"name": "prometheus", "key": "token"});
    let value = format!("monitoring.serviceMonitor.credentials={given}");
    assert_eq!(endpoint(&[&value]), (false, json!({"type": "Bearer", "credentials": given})));
}

#[test]
#[should_panic(expected = "webhooks.rawAttachments is allow, warn or refuse, not deny")]
fn the_chart_refuses_a_policy_that_there_is_not() {
    charted(&["webhooks.rawAttachments=deny"]);
}

#[test]
fn the_chart_has_the_webhooks_that_the_resolver_prints() {
    let of_chart = |values: &[&str]| {
        let mut objects = charted_in("net", values);
        objects.retain(|object| object["kind"].as_str().unwrap().ends_with("WebhookConfiguration"));
        by_identity(objects)
    };
    for policy in ["allow", "warn", "refuse"] {
        let printed = webhooks(&format!("--service net/knap-resolver --raw-attachments {policy}"));
        let value = format!("webhooks.rawAttachments={policy}");
        assert_eq!(of_chart(&[&value]), by_identity(printed), "{policy}");
    }
    assert!(of_chart(&["webhooks.enabled=false"]).is_empty());
}

#[tokio::test]
async fn the_api_server_accepts_the_chart() {
    let cluster = Cluster::shared().await;
    let objects = charted(&["resolver.clusterIP=null", "monitoring.dashboard.enabled=true"]);
    let objects = cluster.as_known(objects);
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    let accepted = cluster.api.kubectl_ok("apply --dry-run=server -f -", &list.to_string());
    assert_eq!(accepted.lines().count(), objects.len(), "{accepted}");
    cluster.assert_never_forbidden();
}

/// What the kernel holds the agent to is what `deploy/` says: all that the tests of this tier see the agent do, it does so.
#[tokio::test]
async fn the_agent_has_the_rights_that_are_written_and_no_others() {
    let cluster = Cluster::shared().await;
    let mut objects = kustomized("deploy");
    objects.retain(|object| object["kind"] == "DaemonSet");
    let pod = &objects[0]["spec"]["template"]["spec"];
    let written = &pod["containers"][0]["securityContext"];
    assert_eq!(written["capabilities"]["drop"], json!(["ALL"]));
    let capabilities = written["capabilities"]["add"].as_array().unwrap().iter();
    let bits = capabilities.map(|name| 1_u64 << capability(name.as_str().unwrap())).sum::<u64>();

    let agent = cluster.node().process("/knap-installer agent ");
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(agent.status(set), format!("{bits:016x}"), "{set}");
    }
    assert_eq!(
        (written["allowPrivilegeEscalation"].as_bool(), agent.status("NoNewPrivs")),
        (Some(false), "1")
    );
    assert_eq!(written["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(agent.status("Seccomp"), "2", "a filter");
    assert_eq!((written["runAsUser"].as_u64(), agent.status("Uid").split('\t').next()), (Some(0), Some("0")));
    let namespaces = agent.status("NSpid").split('\t').count();
    assert_eq!((pod["hostPID"].as_bool(), namespaces), (Some(true), 1), "known to the node by one number");
    assert_eq!((written["readOnlyRootFilesystem"].as_bool(), agent.root_is_read_only()), (Some(true), true));
}

/// Its number in linux/capability.h.
fn capability(name: &str) -> u32 {
    match name {
        "DAC_OVERRIDE" => 1,
        "FOWNER" => 3,
        "NET_ADMIN" => 12,
        "NET_RAW" => 13,
        "SYS_CHROOT" => 18,
        "SYS_PTRACE" => 19,
        "SYS_ADMIN" => 21,
        other => panic!("no number for {other}"),
    }
}

/// As docs/deploy.md says it, after pods have come and gone.
#[tokio::test]
async fn taken_away_it_leaves_the_node_as_it_was() {
    let cluster = Cluster::alone().await;
    let objects = cluster.api.objects().await;
    objects.namespace("away", &[]).await;
    objects.network("away/blue", json!({ "provider": "bridge" })).await;
    let network = objects.network_with("away/blue", "Published", "True", "").await;
    let bridge = network.status.unwrap().segment.unwrap().bridge.unwrap();
    cluster.create_pod("away/a", &json!({ "k8s.v1.cni.cncf.io/networks": "blue" }));
    cluster.pod_ready("away/a").await;
    assert!(cluster.node().machine().network().has_interface(&bridge));
    assert_eq!(cluster.node_labels()["network.knap.github.com/built-in-bridge"], "true");
    assert!(cluster.node().tree().contains_key("/opt/cni/bin/knap"));

    cluster.delete_pod("away/a");
    cluster.api.kubectl_ok("delete networks.knap.github.com --all --all-namespaces --timeout=180s", "");
    cluster.api.kubectl_ok("delete networkclasses.knap.github.com --all", "");
    let arguments = "/spec/template/spec/containers/0/args/-";
    cluster.patch_agents(&json!([{ "op": "add", "path": arguments, "value": "--uninstall" }]));
    cluster.wait_rolled_out(SYSTEM, "daemonset/knap-node").await;
    let webhooks = "mutatingwebhookconfigurations,validatingwebhookconfigurations";
    let deleted = cluster.api.kubectl_ok(&format!("delete {webhooks} -l knap.github.com/webhooks=true"), "");
    assert_eq!(deleted.lines().count(), 2, "{deleted}");
    let list = json!({
        "apiVersion": "v1", "kind": "List", "items": cluster.as_known(kustomized("deploy")),
    });
    cluster.api.kubectl_ok("delete -f - --ignore-not-found --timeout=180s", &list.to_string());
    let labels = "network.knap.github.com/built-in-bridge- network.knap.github.com/ipam.dhcp-";
    cluster.api.kubectl_ok(&format!("label nodes --all {labels}"), "");

    let (after, before) = (cluster.node().tree(), cluster.before_knap());
    let left: Vec<_> =
        after.iter().filter(|(path, content)| before.tree.get(*path) != Some(content)).collect();
    let missing: Vec<_> = before.tree.keys().filter(|path| !after.contains_key(*path)).collect();
    assert!(left.is_empty() && missing.is_empty(), "left: {left:#?}, missing: {missing:#?}");
    // The default network's own bridge came with the first pod that it served, a resolver.
    let links = [before.links.as_slice(), &["cni0".to_owned()]].concat();
    eventually("the links are those of before", || {
        (cluster.node().machine().network().interfaces() == links).then_some(())
    });
    assert_eq!(cluster.node_labels(), before.labels);

    // And back again.
    cluster.apply_knap();
    cluster.wait_knap_ready().await;
    assert!(cluster.node().tree().contains_key("/opt/cni/bin/knap"));
}
