//! NetworkAttachmentDefinitions on a real Kubernetes API: made, healed, left alone, projected, removed; and what people are
//! told about them.

use k8s_openapi::api::events::v1::Event;
use knap_api::{Network, NetworkAttachmentDefinition, NetworkClass};
use knap_tests::{KubernetesApi, Objects, Replica, condition, thin_config};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

const RESOURCE: &str = "k8s.v1.cni.cncf.io/resourceName";

async fn start() -> (KubernetesApi, Replica, Objects) {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    api.install_multus_crd().await;
    let replica = api.start_replica().await;
    let objects = api.objects().await;
    for namespace in ["shop", "web"] {
        objects.namespace(namespace, &[]).await;
    }
    (api, replica, objects)
}

async fn get(objects: &Objects, name: &str) -> Option<NetworkAttachmentDefinition> {
    let (namespace, name) = name.split_once('/').unwrap();
    objects.in_namespace::<NetworkAttachmentDefinition>(namespace).get_opt(name).await.unwrap()
}

/// Waits until there is one that this holds of.
async fn wait(
    objects: &Objects,
    name: &str,
    what: &str,
    holds: impl Fn(&NetworkAttachmentDefinition) -> bool,
) -> NetworkAttachmentDefinition {
    objects.eventually(&format!("{name} {what}"), async || get(objects, name).await.filter(&holds)).await
}

async fn patch(objects: &Objects, name: &str, patch: Value) {
    let (namespace, name) = name.split_once('/').unwrap();
    let api = objects.in_namespace::<NetworkAttachmentDefinition>(namespace);
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn delete(objects: &Objects, name: &str) {
    let (namespace, name) = name.split_once('/').unwrap();
    let api = objects.in_namespace::<NetworkAttachmentDefinition>(namespace);
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

fn config(definition: &NetworkAttachmentDefinition) -> Value {
    serde_json::from_str(definition.spec.config.as_deref().unwrap_or("null")).unwrap()
}

fn names(network: &Network) -> Vec<String> {
    network.status.clone().unwrap().network_attachment_definitions
}

/// A class `vf`, whose pods ask for a device.
async fn class_of_devices(objects: &Objects, allow_sharing: bool) {
    let class = json!({
        "provider": "sriov", "resourceName": "vendor.com/pool", "segments": {"vlans": ["100-199"]},
        "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}], "allowSharing": allow_sharing
    });
    objects.class("vf", class).await;
}

/// Reasons of the Events about a Network, each once per Event.
async fn events(objects: &Objects, network: &str) -> Vec<(String, String)> {
    let (namespace, name) = network.split_once('/').unwrap();
    let listed = objects.in_namespace::<Event>(namespace).list(&ListParams::default()).await.unwrap();
    let about = listed
        .items
        .into_iter()
        .filter(|event| event.regarding.as_ref().is_some_and(|about| about.name.as_deref() == Some(name)));
    about.map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default())).collect()
}

#[tokio::test]
async fn a_network_has_one_and_it_is_healed() {
    let (_api, _replica, objects) = start().await;
    class_of_devices(&objects, false).await;
    objects.network("shop/blue", json!({"provider": "bridge"})).await;
    objects.network("shop/fast", json!({"class": "vf"})).await;
    let blue = objects.network_with("shop/blue", "Published", "True", "Published").await;
    objects.network_with("shop/fast", "Published", "True", "").await;
    assert_eq!(names(&blue), ["shop/blue"]);
    let made = get(&objects, "shop/blue").await.unwrap();
    assert_eq!(config(&made), thin_config("shop/blue", "1.0.0"));
    let owner = &made.owner_references()[0];
    assert_eq!((owner.kind.as_str(), Some(&owner.uid)), ("Network", blue.metadata.uid.as_ref()));
    assert_eq!(made.labels()["app.kubernetes.io/managed-by"], "knap");
    assert!(!made.annotations().contains_key(RESOURCE));
    let fast = get(&objects, "shop/fast").await.unwrap();
    assert_eq!(fast.annotations()[RESOURCE], "vendor.com/pool");

    // What others add stays; what they change is put right.
    patch(&objects, "shop/blue", json!({"metadata": {"annotations": {"mine": "1"}}})).await;
    patch(&objects, "shop/blue", json!({"spec": {"config": "{}"}})).await;
    let healed =
        wait(&objects, "shop/blue", "has its configuration", |found| config(found) != json!({})).await;
    assert_eq!((config(&healed), healed.annotations()["mine"].as_str()), (config(&made), "1"));
    for change in [
        json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}),
        json!({"metadata": {"ownerReferences": null}}),
        json!({"metadata": {"annotations": {RESOURCE: "vendor.com/other"}}}),
    ] {
        patch(&objects, "shop/blue", change).await;
        wait(&objects, "shop/blue", "is as it was", |found| {
            found.labels() == made.labels()
                && found.owner_references() == made.owner_references()
                && !found.annotations().contains_key(RESOURCE)
        })
        .await;
    }
    patch(&objects, "shop/fast", json!({"metadata": {"annotations": {RESOURCE: null}}})).await;
    wait(&objects, "shop/fast", "asks for devices", |found| found.annotations().contains_key(RESOURCE)).await;
    delete(&objects, "shop/blue").await;
    wait(&objects, "shop/blue", "is there again", |found| found.uid() != made.uid()).await;

    objects.delete_network("shop/blue").await;
    objects.gone("shop/blue").await;
    objects
        .eventually("the definition is gone", async || {
            get(&objects, "shop/blue").await.is_none().then_some(())
        })
        .await;
    let told: Vec<String> =
        events(&objects, "shop/blue").await.into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(told, ["Ready"], "once, and nothing of what was healed");
}

#[tokio::test]
async fn what_is_not_knaps_is_left_alone() {
    let (_api, _replica, objects) = start().await;
    let foreign: NetworkAttachmentDefinition = serde_json::from_value(
        json!({"metadata": {"name": "blue"}, "spec": {"config": r#"{"type": "macvlan"}"#}}),
    )
    .unwrap();
    let api = objects.in_namespace::<NetworkAttachmentDefinition>("shop");
    api.create(&PostParams::default(), &foreign).await.unwrap();
    // Not even a configuration.
    let bare: NetworkAttachmentDefinition =
        serde_json::from_value(json!({"metadata": {"name": "bare"}})).unwrap();
    api.create(&PostParams::default(), &bare).await.unwrap();
    for name in ["blue", "bare"] {
        objects.network(&format!("shop/{name}"), json!({"provider": "bridge"})).await;
    }
    objects.ready("shop/blue").await;
    let blue = objects.network_with("shop/blue", "Published", "False", "NameTaken").await;
    let message = condition(&blue, "Published").unwrap()["message"].to_string();
    assert!(message.contains("shop/blue is not Knap's") && message.contains("remove or rename"), "{message}");
    assert!(names(&blue).is_empty());
    objects.network_with("shop/bare", "Published", "False", "NameTaken").await;
    assert_eq!(config(&get(&objects, "shop/blue").await.unwrap()), json!({"type": "macvlan"}));
    assert_eq!(get(&objects, "shop/bare").await.unwrap().spec.config, None);
    let warned =
        async || events(&objects, "shop/blue").await.into_iter().find(|(reason, _)| reason == "NameTaken");
    let (_, note) = objects.eventually("an Event says so", warned).await;
    assert!(note.contains("is not Knap's"), "{note}");

    delete(&objects, "shop/blue").await;
    let blue = objects.network_with("shop/blue", "Published", "True", "").await;
    assert_eq!(names(&blue), ["shop/blue"]);
    assert_eq!(config(&get(&objects, "shop/blue").await.unwrap()), thin_config("shop/blue", "1.0.0"));

    // The Network goes, and the other's definition stays.
    objects.delete_network("shop/bare").await;
    objects.gone("shop/bare").await;
    assert!(get(&objects, "shop/bare").await.is_some());
}

#[tokio::test]
async fn shared_networks_are_projected_where_both_sides_want_it() {
    let (_api, _replica, objects) = start().await;
    let class = |sharing: bool| {
        json!({
            "provider": "macvlan", "fabric": "dc-a", "uplinks": [{"interface": "up0"}], "allowSharing": sharing,
            "subnets": [{"cidr": if sharing { "10.64.0.0/16" } else { "10.80.0.0/16" }, "prefixLength": 24}]
        })
    };
    objects.class("open", class(true)).await;
    objects.class("closed", class(false)).await;
    let selector = json!({"namespaceSelector": {"matchLabels": {"team": "web"}}});
    objects.network("shop/blue", json!({"class": "open", "sharedWith": selector})).await;
    objects.network("shop/kept", json!({"class": "closed", "sharedWith": selector})).await;
    objects.network_with("shop/blue", "Published", "True", "").await;
    let opted_in = json!({"team": "web", "knap.github.com/project-networks": "true"});
    objects.label_namespace("web", opted_in).await;
    let projected = wait(&objects, "web/shop--blue", "is projected", |_| true).await;
    assert_eq!(config(&projected), thin_config("shop/blue", "1.0.0"));
    assert!(projected.owner_references().is_empty());
    let all = async || {
        let mut all = objects.all::<NetworkAttachmentDefinition>().await;
        all.sort_by_key(|found| (found.namespace(), found.name_any()));
        let names = all.iter().map(|found| format!("{}/{}", found.namespace().unwrap(), found.name_any()));
        names.collect::<Vec<_>>().join(" ")
    };
    let becomes = async |wanted: &str| {
        objects.eventually(wanted, async || (all().await == wanted).then_some(())).await;
    };
    becomes("shop/blue shop/kept web/shop--blue").await;
    let listed = async || {
        let names = names(&objects.get_network("shop/blue").await.unwrap());
        (names == ["shop/blue", "web/shop--blue"]).then_some(())
    };
    objects.eventually("the status names both", listed).await;

    patch(&objects, "web/shop--blue", json!({"spec": {"config": null}})).await;
    wait(&objects, "web/shop--blue", "is healed", |found| found.spec.config.is_some()).await;
    for (there, gone) in [
        (
            json!({"knap.github.com/project-networks": "true"}),
            json!({"knap.github.com/project-networks": null}),
        ),
        (json!({"team": "web"}), json!({"team": "other"})),
    ] {
        objects.label_namespace("web", gone).await;
        becomes("shop/blue shop/kept").await;
        objects.label_namespace("web", there).await;
        becomes("shop/blue shop/kept web/shop--blue").await;
    }
    objects.edit_network("shop/blue", json!({"sharedWith": null})).await;
    becomes("shop/blue shop/kept").await;
    objects.edit_network("shop/blue", json!({"sharedWith": selector})).await;
    becomes("shop/blue shop/kept web/shop--blue").await;
    objects.delete_network("shop/blue").await;
    becomes("shop/kept").await;
}

#[tokio::test]
async fn they_are_healed_also_while_their_network_is_not_served() {
    let (_api, _replica, objects) = start().await;
    class_of_devices(&objects, true).await;
    objects.label_namespace("web", json!({"knap.github.com/project-networks": "true"})).await;
    let shared = json!({"namespaceSelector": {}});
    objects.network("shop/blue", json!({"class": "vf", "sharedWith": shared})).await;
    objects.network_with("shop/blue", "Published", "True", "").await;
    let both = ["shop/blue", "web/shop--blue"];
    wait(&objects, both[1], "is projected", |_| true).await;

    // It asks for what the class does not offer, and so does one that never was served.
    objects.edit_network("shop/blue", json!({"subnets": ["10.64.9.0/24"]})).await;
    objects.network("shop/never", json!({"class": "vf", "subnets": ["10.64.9.0/24"]})).await;
    for name in ["shop/blue", "shop/never"] {
        objects.network_with(name, "Ready", "False", "NotOffered").await;
    }
    let thin = thin_config("shop/blue", "1.0.0");
    let is_whole = |found: &NetworkAttachmentDefinition| {
        config(found) == thin
            && found.annotations().get(RESOURCE).is_some_and(|pool| pool == "vendor.com/pool")
    };
    let raw =
        json!({"spec": {"config": r#"{"type": "macvlan"}"#}, "metadata": {"annotations": {RESOURCE: null}}});
    for name in both {
        patch(&objects, name, raw.clone()).await;
        wait(&objects, name, "is put right", is_whole).await;
        delete(&objects, name).await;
        wait(&objects, name, "is there again", is_whole).await;
    }
    // Who is looked at again writes nothing.
    let before = get(&objects, both[0]).await.unwrap();
    objects.edit_network("shop/blue", json!({"subnets": ["10.64.8.0/24"]})).await;
    objects.network_with("shop/blue", "Ready", "False", "NotOffered").await;
    assert_eq!(get(&objects, both[0]).await.unwrap().resource_version(), before.resource_version());

    // Without the class, the definitions themselves know which devices they ask for.
    let classes = Api::<NetworkClass>::all(objects.client.clone());
    classes.delete("vf", &DeleteParams::default()).await.unwrap();
    objects.network_with("shop/blue", "Ready", "False", "NoClass").await;
    patch(&objects, both[0], json!({"spec": {"config": "{}"}})).await;
    wait(&objects, both[0], "is put right", is_whole).await;
    delete(&objects, both[0]).await;
    wait(&objects, both[0], "is there again", is_whole).await;
    let blue = objects.network_with("shop/blue", "Published", "True", "").await;
    assert_eq!(names(&blue), both);

    // What a namespace does not take any more goes as ever.
    objects.label_namespace("web", json!({"knap.github.com/project-networks": null})).await;
    let gone = async || get(&objects, both[1]).await.is_none().then_some(());
    objects.eventually("the projected one is gone", gone).await;
    assert!(get(&objects, both[0]).await.is_some());
    assert!(get(&objects, "shop/never").await.is_none());
}

#[tokio::test]
async fn without_multus_networks_say_so_and_attachments_go_on() {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    let replica = api.start_replica().await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    objects.network("shop/blue", json!({"provider": "bridge"})).await;
    let blue = objects.network_with("shop/blue", "Published", "False", "MultusMissing").await;
    let message = condition(&blue, "Published").unwrap()["message"].to_string();
    assert!(message.contains("install Multus"), "{message}");
    objects.ready("shop/blue").await;
    replica.attached("n1", "c1", json!({})).await;
    objects.network("shop/short", json!({"provider": "bridge"})).await;
    objects.ready("shop/short").await;
    objects.delete_network("shop/short").await;
    objects.gone("shop/short").await;

    api.install_multus_crd().await;
    objects.network_with("shop/blue", "Published", "True", "").await;
    assert!(get(&objects, "shop/blue").await.is_some());
}
