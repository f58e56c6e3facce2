//! Attachments over the embedded store, with one replica or several.

mod asserted;
mod boots;
mod costs;
mod life;
mod lost;
mod races;
mod refusals;
mod requests;
mod sticky;

use serde_json::json;

use crate::testing::World;

/// A class `racks`, whose uplink is on the nodes of rack a alone.
async fn class_of_rack_a(world: &World) {
    let class = json!({
        "provider": "macvlan", "subnets": [{"cidr": "10.9.0.0/24", "prefixLength": 24}],
        "uplinks": [{"interface": "up0", "nodeSelector": {"matchLabels": {"rack": "a"}}}]
    });
    world.class("racks", class).await;
}
