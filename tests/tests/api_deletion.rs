//! Networks that go: at once, never before what still runs is safe, and never in the way of a namespace.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::events::v1::Event;
use knap_api::NetworkAttachmentDefinition;
use knap_tests::{KubernetesApi, Objects, Replica};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

async fn start() -> (KubernetesApi, Replica, Objects) {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    api.install_multus_crd().await;
    let replica = api.start_replica().await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    (api, replica, objects)
}

fn fabric() -> serde_json::Value {
    json!({
        "provider": "macvlan", "fabric": "dc-a", "uplinks": [{"interface": "up0"}], "allowRequestedSubnets": true, "allowSharing": true,
        "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]
    })
}

/// Names of Reservations, each with whether it is draining.
async fn reservations(objects: &Objects) -> Vec<(String, bool)> {
    let found = objects.reservations().await.into_iter();
    let mut all: Vec<_> =
        found.map(|found| (found.name_any(), found.status.is_some_and(|status| status.draining))).collect();
    all.sort();
    all
}

async fn nothing_is_reserved(objects: &Objects) {
    let none = async || reservations(objects).await.is_empty().then_some(());
    objects.eventually("nothing is reserved", none).await;
}

#[tokio::test]
async fn what_runs_keeps_what_it_has_until_its_end() {
    let (_api, replica, objects) = start().await;
    objects.network("shop/blue", json!({"provider": "bridge"})).await;
    objects.ready("shop/blue").await;
    let first = replica.attached("n1", "c1", json!({})).await;
    let second = replica.attached("n2", "c2", json!({})).await;
    let before = reservations(&objects).await;
    assert_eq!(before.len(), 2, "{before:?}");

    objects.delete_network("shop/blue").await;
    objects.gone("shop/blue").await;
    let draining: Vec<_> = before.iter().map(|(name, _)| (name.clone(), true)).collect();
    assert_eq!(reservations(&objects).await, draining, "marked before the Network was gone");
    assert_eq!(objects.leases().await.len(), 2);
    assert!(objects.all::<NetworkAttachmentDefinition>().await.is_empty(), "nothing leads there any more");
    let refused = replica.attach("n1", "c3", json!({})).await.unwrap();
    assert!(refused.status == 404 || refused.status == 503, "{refused:?}");
    let events = objects.in_namespace::<Event>("shop");
    let told = async || {
        let all = events.list(&ListParams::default()).await.unwrap().items;
        all.into_iter().find(|event| event.reason.as_deref() == Some("Draining"))
    };
    let note = objects.eventually("an Event tells of the attachments", told).await.note.unwrap();
    assert!(note.contains("2 attachments"), "{note}");

    assert_eq!(replica.release("n1", "c1", &first.leases).await.unwrap().status, 204);
    assert_eq!(reservations(&objects).await, draining, "the other still runs");
    assert_eq!(replica.release("n2", "c2", &second.leases).await.unwrap().status, 204);
    nothing_is_reserved(&objects).await;
}

#[tokio::test]
async fn a_network_made_anew_is_another() {
    let (_api, replica, objects) = start().await;
    objects.class("fab", fabric()).await;
    let spec = json!({"class": "fab", "subnets": ["10.64.7.0/24"]});
    objects.network("shop/blue", spec.clone()).await;
    objects.network("shop/red", json!({"class": "fab"})).await;
    objects.ready("shop/blue").await;
    objects.ready("shop/red").await;
    let blue = replica.attached("n1", "c1", json!({})).await;
    let red = replica.attached("n1", "c2", json!({"network": "shop/red"})).await;
    for network in ["shop/blue", "shop/red"] {
        objects.delete_network(network).await;
        objects.gone(network).await;
    }
    // Anything will do: it gets something else, and serves beside what runs.
    objects.network("shop/red", json!({"class": "fab"})).await;
    let anew = objects.ready("shop/red").await.status.unwrap();
    let second = replica.attached("n1", "c3", json!({"network": "shop/red"})).await;
    assert_ne!((&red.leases, &red.addresses), (&second.leases, &second.addresses));
    let definition = objects
        .in_namespace::<NetworkAttachmentDefinition>("shop")
        .get("red")
        .await
        .expect("the definition of the new one");
    let uid = objects.get_network("shop/red").await.unwrap().uid();
    assert_eq!(Some(&definition.owner_references()[0].uid), uid.as_ref());

    // The very subnet that still runs: it waits, and says for what.
    objects.network("shop/blue", spec).await;
    let waiting = objects.network_with("shop/blue", "Ready", "False", "Conflict").await;
    let message = knap_tests::condition(&waiting, "Ready").unwrap()["message"].to_string();
    assert!(message.contains("deleted but still has attachments"), "{message}");
    let refused = replica.attach("n1", "c4", json!({})).await.unwrap();
    assert!(refused.status == 503 && refused.body.contains("deleted but still has"), "{refused:?}");
    assert_eq!(replica.release("n1", "c1", &blue.leases).await.unwrap().status, 204);
    objects.ready("shop/blue").await;
    replica.attached("n1", "c4", json!({})).await;
    assert_eq!(replica.release("n1", "c2", &red.leases).await.unwrap().status, 204);
    let left = objects.ready("shop/red").await.status.unwrap().subnets;
    assert_eq!(
        left,
        anew.subnets
            .iter()
            .map(|subnet| knap_api::StatusSubnet { allocated: left[0].allocated, ..subnet.clone() })
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_namespace_goes_while_its_pods_and_anothers_run() {
    let (mut api, replica, objects) = start().await;
    api.start_controller_manager();
    objects.namespace("web", &[("knap.github.com/project-networks", "true")]).await;
    objects.class("fab", fabric()).await;
    objects.network("shop/blue", json!({"class": "fab", "sharedWith": {"namespaceSelector": {}}})).await;
    objects.network("shop/odd", json!({"class": "missing"})).await;
    objects.ready("shop/blue").await;
    let pod = |namespace: &str| json!({"pod": {"namespace": namespace}});
    let own = replica.attached("n1", "c1", pod("shop")).await;
    let other = replica.attached("n1", "c2", pod("web")).await;
    let projected = objects.in_namespace::<NetworkAttachmentDefinition>("web");
    let there = async || projected.get_opt("shop--blue").await.unwrap();
    objects.eventually("the Network is projected", there).await;

    let namespaces = Api::<Namespace>::all(objects.client.clone());
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    let is_gone = async || namespaces.get_opt("shop").await.unwrap().is_none().then_some(());
    objects.eventually("the namespace is gone", is_gone).await;
    assert_eq!(objects.leases().await.len(), 2, "what runs keeps its record");
    assert!(reservations(&objects).await.iter().all(|(_, draining)| *draining));
    objects.eventually("the projection is gone", async || there().await.is_none().then_some(())).await;
    assert_eq!(replica.attach("n1", "c3", pod("web")).await.unwrap().status, 404);

    assert_eq!(replica.release("n1", "c1", &own.leases).await.unwrap().status, 204);
    assert_eq!(reservations(&objects).await.len(), 2, "a pod of the other namespace runs on");
    assert_eq!(replica.release("n1", "c2", &other.leases).await.unwrap().status, 204);
    nothing_is_reserved(&objects).await;
}

#[tokio::test]
async fn a_resolver_that_dies_in_the_middle_is_no_obstacle() {
    let (api, mut replica, objects) = start().await;
    objects.network("shop/blue", json!({"provider": "bridge"})).await;
    objects.ready("shop/blue").await;
    let reply = replica.attached("n1", "c1", json!({})).await;
    replica.stop().await;
    let mut dying = api.replica(&[]).with("KNAP_FAULT_POINT", "network-retired");
    dying.start();
    dying.wait_ready().await;
    objects.delete_network("shop/blue").await;
    assert!(!dying.wait_end().await.success());
    assert!(objects.get_network("shop/blue").await.is_some(), "it was not let go");
    let left = reservations(&objects).await;
    assert!(left.len() == 2 && left.iter().all(|(_, draining)| *draining), "{left:?}");

    replica.start();
    replica.wait_ready().await;
    objects.gone("shop/blue").await;
    assert_eq!(replica.release("n1", "c1", &reply.leases).await.unwrap().status, 204);
    nothing_is_reserved(&objects).await;
}

#[tokio::test]
async fn a_network_removed_by_force_leaves_nothing() {
    let (_api, replica, objects) = start().await;
    objects.network("shop/blue", json!({"provider": "bridge"})).await;
    objects.ready("shop/blue").await;
    let reply = replica.attached("n1", "c1", json!({})).await;
    // As people do who are told of a finalizer.
    let api = objects.in_namespace::<knap_api::Network>("shop");
    let patch = kube::api::Patch::Merge(json!({"metadata": {"finalizers": null}}));
    objects.delete_network("shop/blue").await;
    let _ = api.patch("blue", &kube::api::PatchParams::default(), &patch).await;
    objects.gone("shop/blue").await;
    let kept = async || reservations(&objects).await.iter().all(|(_, draining)| *draining).then_some(());
    objects.eventually("what runs keeps what it has", kept).await;
    assert_eq!(reservations(&objects).await.len(), 2);
    assert_eq!(replica.release("n1", "c1", &reply.leases).await.unwrap().status, 204);
    nothing_is_reserved(&objects).await;
    let none = async || objects.all::<NetworkAttachmentDefinition>().await.is_empty().then_some(());
    objects.eventually("nothing leads there", none).await;
}
