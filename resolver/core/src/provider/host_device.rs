//! Provider `host-device`: a device moved into the sandbox, by CNI's host-device plugin.
//!
//! The device plugin chooses the device and Multus passes it at run time. The host-device plugin sets no hardware
//! address; where the lease's is wanted, the tuning plugin follows it. (Older ones take the link down for that, and
//! with it go its routes and IPv6 addresses.)

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::parameter::{self, Parameter};
use super::{Attachment, JsonObject, LeaseFacts, NodeFacts, Provider, ProviderError, device, ipam};
use crate::{Class, Grant, MacSource, NetworkIntent, Plan, Profile};

const NAME: &str = "host-device";

/// The plugin that sets a hardware address.
const TUNING: &str = "tuning";
const MAC: &str = "mac";
const FROM_LEASE: &str = "lease";

/// `mac`: `device` (where absent) leaves the hardware address as it is, as devices without a netdev need; `lease`
/// sets the one of the lease.
const PARAMETERS: [Parameter; 1] = [Parameter::word(MAC, &["device", FROM_LEASE])];

/// See the module.
#[derive(Debug)]
pub(super) struct HostDevice;

impl Provider for HostDevice {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self, class: &Class) -> Result<(), ProviderError> {
        parameter::check(NAME, &PARAMETERS, &class.parameters)?;
        device::check(NAME, class)?;
        if class.segments.is_some() {
            return Err(ProviderError::Unsupported {
                provider: NAME,
                field: "segments",
                remedy: "remove it: the switch port decides; for VLANs of its own use provider sriov",
            });
        }
        Ok(())
    }

    fn profile(&self, _class: &Class) -> Profile {
        device::profile()
    }

    fn delegates(&self, class: &Class) -> BTreeSet<String> {
        let tuning = (mac_source(&class.parameters) == MacSource::Lease).then_some(TUNING);
        [NAME].into_iter().chain(tuning).map(str::to_owned).collect()
    }

    fn plan(&self, network: &NetworkIntent, class: &Class, grant: &Grant) -> Result<Plan, ProviderError> {
        let mut plan = Plan::of(network, class, grant)?;
        plan.needs_device = true;
        plan.mac = mac_source(&class.parameters);
        Ok(plan)
    }

    fn configs(
        &self,
        plan: &Plan,
        _node: &NodeFacts,
        lease: &LeaseFacts,
    ) -> Result<Attachment, ProviderError> {
        parameter::check(NAME, &PARAMETERS, &plan.parameters)?;
        let mut plugins = vec![ipam::delegate(NAME, &["deviceID"], plan, lease)?];
        if plan.mac == MacSource::Lease {
            let tuning = json!({ "type": TUNING, "capabilities": { "mac": true } });
            plugins.extend(tuning.as_object().cloned());
        }
        Ok(Attachment { plugins, host_links: Vec::new(), mtu: None })
    }
}

fn mac_source(parameters: &JsonObject) -> MacSource {
    match parameters.get(MAC).and_then(Value::as_str) {
        Some(FROM_LEASE) => MacSource::Lease,
        _ => MacSource::Device,
    }
}
