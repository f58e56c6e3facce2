//! The cluster's own networks, before all of them are known.

use std::sync::Arc;

use knap_core::ClusterNetwork;
use serde_json::json;
use tokio::sync::oneshot;

use super::fabric;
use crate::provision::{Provisioner, Rules};
use crate::testing::World;
use crate::view::View;

#[tokio::test]
async fn nothing_is_given_out_before_they_are_known_and_deletions_go_on() {
    let mut world = World::new().await;
    world.class("fab", fabric(&json!({}))).await;
    world.ready_network("shop/old", json!({"class": "fab", "subnets": ["10.64.9.0/24"]})).await;
    world.stop_controller().await;
    let (view, mut tasks) = View::follow(&world.store);
    view.await_cluster_networks("services");
    tasks.spawn(
        Provisioner::new(world.store.clone(), Arc::clone(&view), Rules::default()).run(oneshot::channel().0),
    );
    world.network("shop/blue", json!({"class": "fab"})).await;
    world.network("shop/red", json!({"class": "fab", "subnets": ["10.64.0.0/24"]})).await;
    // Looked at after both.
    world.remove("shop/old").await;
    world.until_reservations(0).await;
    assert!(world.get("shop/blue").await.unwrap().status.is_none());
    world.attach("c1", json!({})).await.unwrap_err();

    let services = ClusterNetwork { cidr: "10.64.0.0/20".parse().unwrap(), what: "x".to_owned() };
    view.learn_cluster_networks("services", vec![services]);
    let blue = world.until_ready("shop/blue").await;
    assert_eq!(super::subnets(&blue), [("10.64.16.0/24".to_owned(), 0)]);
    world.refusal("shop/red", "ClusterConflict").await;
    drop(tasks);
}

#[tokio::test]
async fn who_finds_all_of_its_class_taken_by_the_cluster_is_told_so() {
    let mut world = World::new().await;
    world.stop_controller().await;
    let (view, mut tasks) = View::follow(&world.store);
    let pods = ClusterNetwork { cidr: "100.96.0.0/11".parse().unwrap(), what: "the pod network".to_owned() };
    view.learn_cluster_networks("pods", vec![pods]);
    tasks.spawn(Provisioner::new(world.store.clone(), view, Rules::default()).run(oneshot::channel().0));
    world.network("shop/blue", json!({"provider": "bridge"})).await;
    let message = world.refusal("shop/blue", "ClusterConflict").await;
    for word in ["built-in-bridge", "100.96.0.0/12", "100.96.0.0/11, the pod network", "make a NetworkClass"]
    {
        assert!(message.contains(word), "no {word}: {message}");
    }
    // As that says.
    let mine = json!({"provider": "bridge", "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]});
    world.class("mine", mine).await;
    world.until_ready("shop/blue").await;
}
