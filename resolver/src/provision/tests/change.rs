//! Networks and classes that change while Networks are served.

use serde_json::{Value, json};

use super::fabric;
use crate::testing::World;

/// A class of bridges that each Network has for itself, and that reach nothing else.
fn bridges(more: &Value) -> Value {
    let mut spec = json!({
        "provider": "bridge", "addressScope": "Segment", "parameters": {"isGateway": false},
        "allowRequestedSubnets": true, "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

#[tokio::test]
async fn another_provider_is_looked_for_among_all_classes() {
    let world = World::new().await;
    world.class("fab", fabric(&json!({}))).await;
    world.class("own", bridges(&json!({"access": {"networksPerNamespace": 1}}))).await;
    for name in ["shop/blue", "shop/red"] {
        world.ready_network(name, json!({"provider": "macvlan"})).await;
        world.edit(name, |network| network.spec.provider = Some("bridge".to_owned())).await;
        match name {
            "shop/blue" => {
                let blue = world.until_ready(name).await;
                assert_eq!(blue.status.unwrap().class.as_deref(), Some("own"));
            }
            _ => assert!(world.refusal(name, "OverQuota").await.contains("own")),
        }
    }
}
