//! Reviews about what the view does not know yet.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1::Namespace;
use knap_api::{Network, NetworkClass};
use serde_json::{Value, json};

use super::super::reading;
use super::{PATHS, policy, post, review, service};
use crate::admission::Subject;
use crate::store::Store;
use crate::store::embedded::EmbeddedStore;
use crate::testing::{Replica, Troubled, World};

async fn namespace(world: &World, name: &str, labels: Value) {
    let namespace = json!({"metadata": {"name": name, "labels": labels}});
    world.store.create(&serde_json::from_value::<Namespace>(namespace).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_namespace_that_only_the_store_knows_yet_is_read_before_its_pods_are_let_in() {
    let world = World::new().await;
    let class = json!({"provider": "macvlan", "uplinks": [{"interface": "up0"}], "allowSharing": true,
        "subnets": [{"cidr": "10.9.0.0/24", "prefixLength": 26}]});
    world.class("shared", class).await;
    let but_banks = json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["money"]}]});
    let spec = json!({"class": "shared", "sharedWith": {"namespaceSelector": but_banks}});
    world.ready_network("bank/blue", spec).await;
    namespace(&world, "bank", json!({})).await;
    let behind = Replica::over(&Troubled::held_back(&world.store)).await;
    namespace(&world, "shop", json!({"team": "money"})).await;
    let router = service(world.store.clone(), Arc::clone(&behind.view), Some(policy()));
    let asking = json!({"metadata": {"annotations": {"knap.github.com/networks": "bank/blue"}}, "spec": {"containers": [{}]}});
    let (_, answer) = post(&router, PATHS[2], review(&asking)).await;
    assert_eq!(answer["response"]["allowed"], json!(false), "{answer}");
}

#[tokio::test]
async fn a_class_that_only_the_store_knows_yet_is_waited_for_before_its_pods_are_let_in() {
    let (store, seen) = (EmbeddedStore::in_memory().unwrap(), EmbeddedStore::in_memory().unwrap());
    let class = json!({"metadata": {"name": "fast"}, "spec": {"provider": "macvlan",
        "uplinks": [{"interface": "up0"}], "subnets": [{"cidr": "10.9.0.0/24", "prefixLength": 26}]}});
    let class = serde_json::from_value::<NetworkClass>(class).unwrap();
    store.create(&class).await.unwrap();
    let network = json!({"metadata": {"name": "blue", "namespace": "shop"}, "spec": {"class": "fast"}});
    store.create(&serde_json::from_value::<Network>(network).unwrap()).await.unwrap();
    let behind = Replica::over(&seen).await;
    let router = service(store, Arc::clone(&behind.view), Some(policy()));
    let asking = review(
        &json!({"metadata": {"annotations": {"knap.github.com/networks": "blue"}}, "spec": {"containers": [{}]}}),
    );
    let (status, problem) = post(&router, PATHS[2], asking.clone()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");

    let catches_up = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        seen.create(&class).await.unwrap();
    };
    let patient = PATHS[2].replace("1s", "30s");
    let ((status, answer), ()) = tokio::join!(post(&router, &patient, asking), catches_up);
    assert_eq!(status, StatusCode::OK, "{answer}");
    let patch = answer["response"]["patch"].as_str().unwrap();
    let patch = BASE64_STANDARD.decode(patch).unwrap();
    assert!(String::from_utf8(patch).unwrap().contains("network.knap.github.com/fast"), "{answer}");
}

#[test]
fn half_of_the_api_servers_time_is_for_reading() {
    let seconds = |subject, query| reading(subject, query).as_secs_f32();
    assert_eq!(seconds(Subject::Pod, "timeout=1s"), 0.5);
    assert_eq!(seconds(Subject::Pod, "a=b&timeout=3s"), 1.5);
    assert_eq!(seconds(Subject::Network, "timeout=30s"), 5.0);
    for unknown in ["", "timeout=", "timeout=soon", "timeout=-1s", "timeout=1m0s"] {
        assert_eq!(seconds(Subject::Pod, unknown), 0.5, "{unknown}");
    }
}

#[tokio::test]
async fn a_namespace_that_only_the_store_knows_yet_is_read_before_its_networks_are_refused() {
    let world = World::new().await;
    let spec = |more: Value| {
        let mut spec = json!({"provider": "macvlan", "fabric": "dc-a", "uplinks": [{"interface": "up0"}],
            "subnets": [{"cidr": "10.9.0.0/24", "prefixLength": 26}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let chosen = spec(json!({"access": {"namespaceSelector": {"matchLabels": {"team": "net"}}}}));
    world.class("chosen", chosen.clone()).await;
    world.class("all", spec(json!({}))).await;
    world.ready_network("shop/red", json!({"class": "all"})).await;
    namespace(&world, "bank", json!({})).await;
    let behind = Replica::over(&Troubled::held_back(&world.store)).await;
    let router = service(world.store.clone(), Arc::clone(&behind.view), Some(policy()));
    let blue = review(&json!({"metadata": {"name": "blue"}, "spec": {"class": "chosen"}}));
    let all = review(&json!({"metadata": {"name": "all"}, "spec": chosen}));
    for (path, body) in [(PATHS[0], &blue), (PATHS[1], &all)] {
        let (_, answer) = post(&router, path, body.clone()).await;
        let why = answer["response"]["status"]["message"].as_str().unwrap();
        assert!(why.contains("may not be used in namespace \"shop\""), "{why}");
    }
    namespace(&world, "shop", json!({"team": "net"})).await;
    for (path, body) in [(PATHS[0], &blue), (PATHS[1], &all)] {
        let (_, answer) = post(&router, path, body.clone()).await;
        assert_eq!(answer["response"], json!({"uid": "r-1", "allowed": true}), "{path}");
    }
}

#[tokio::test]
async fn a_network_of_which_nothing_is_decided_is_tried_out_with_its_namespaces_labels() {
    // No controller decides here.
    let store = EmbeddedStore::in_memory().unwrap();
    let class = json!({"metadata": {"name": "chosen"}, "spec": {"provider": "macvlan", "allowSharing": true,
        "uplinks": [{"interface": "up0"}], "subnets": [{"cidr": "10.9.0.0/24", "prefixLength": 26}],
        "access": {"namespaceSelector": {"matchLabels": {"team": "net"}}}}});
    store.create(&serde_json::from_value::<NetworkClass>(class).unwrap()).await.unwrap();
    let namespace = async |name: &str| {
        let namespace = json!({"metadata": {"name": name, "labels": {"team": "net"}}});
        store.create(&serde_json::from_value::<Namespace>(namespace).unwrap()).await.unwrap();
    };
    namespace("shop").await;
    let behind = Replica::over(&Troubled::held_back(&store)).await;
    namespace("bank").await;
    let network = json!({"metadata": {"name": "blue", "namespace": "bank"},
        "spec": {"class": "chosen", "sharedWith": {"namespaceSelector": {}}}});
    store.create(&serde_json::from_value::<Network>(network).unwrap()).await.unwrap();
    let router = service(store.clone(), Arc::clone(&behind.view), Some(policy()));
    let asking = json!({"metadata": {"annotations": {"knap.github.com/networks": "bank/blue"}}, "spec": {"containers": [{}]}});
    let (_, answer) = post(&router, PATHS[2], review(&asking)).await;
    assert_eq!(answer["response"]["allowed"], json!(true), "{answer}");
}
