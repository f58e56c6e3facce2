//! What each built-in provider makes, to the letter, and what it refuses.

mod bridge;
mod devices;
mod macvlan;

use serde_json::Value;

use super::{NodeFacts, ProviderError, provider};
use crate::fixture::*;
use crate::{Class, Dns, GatewayPolicy, IpamMode, Labels, MacSource, NetworkIntent, Route, Uplink};

fn with_pools(mut class: Class, pools: &[(&str, u8)]) -> Class {
    class.subnets = pools.iter().map(|(cidr, length)| pool(cidr, *length)).collect();
    class
}

fn with_resource(mut class: Class) -> Class {
    class.resource_name = Some("vendor.com/pool".into());
    class
}

fn layer_2() -> NetworkIntent {
    NetworkIntent { ipam: IpamMode::None, ..network() }
}

fn message(result: Result<Value, String>) -> String {
    result.expect_err("should be refused")
}
