//! What changes in the instant of an attachment, before the controller can have heard of it.

use std::sync::Arc;

use knap_api::NetworkClass;
use rstest::rstest;
use serde_json::{Value, json};

use crate::store::{ObjectName, Store};
use crate::testing::{Fate, Troubled, World, attach, controller};

/// A class of devices; with these VLANs, where it has any.
fn devices(vlans: Option<&str>) -> Value {
    json!({
        "provider": "sriov", "resourceName": "vendor.com/pool", "fabric": "dc-a",
        "segments": vlans.map(|vlans| json!({"vlans": [vlans]})),
        "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]
    })
}

fn device() -> Value {
    json!({"runtimeConfig": {"deviceID": "0000:00:02.1"}})
}

#[rstest]
#[case::from_one_vlan(Some("100-109"), Some(100))]
#[case::from_none(None, None)]
#[tokio::test]
async fn a_class_moves_no_network_that_is_attached_to_meanwhile(
    #[case] before: Option<&str>,
    #[case] vlan: Option<u16>,
) {
    let mut world = World::new().await;
    world.class("wire", devices(before)).await;
    world.ready_network("shop/blue", json!({"class": "wire"})).await;
    world.stop_controller().await;
    let mut class: NetworkClass = world.store.get(&ObjectName::cluster("wire")).await.unwrap().unwrap();
    class.spec = serde_json::from_value(devices(Some("200-209"))).unwrap();
    world.store.update(&class).await.unwrap();
    // The controller has counted no attachment, and takes another VLAN.
    let attacher = Arc::clone(&world.replica.attacher);
    let store = Troubled::new(&world.store, move |call| {
        let attacher = Arc::clone(&attacher);
        async move {
            if (call.verb, call.kind.as_str()) == ("create", "reservations") && call.name.starts_with("vlan-")
            {
                attach(&attacher, "c1", device()).await.unwrap();
            }
            Fate::Served
        }
    });
    let _controller = controller(&store);
    world.ready_network("shop/red", json!({"class": "wire"})).await;
    let blue = world.get("shop/blue").await.unwrap();
    assert_eq!(blue.status.unwrap().segment.unwrap().vlan, vlan);
    let again = world.attach("c2", device()).await.unwrap();
    assert_eq!(again.leases.len(), 1, "it serves as before");
    assert_eq!(world.leases().await.len(), 2);
}
