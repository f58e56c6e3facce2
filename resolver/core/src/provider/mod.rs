//! Providers: a Network and its class become a plan; a plan, a node and a lease become CNI configurations.
//!
//! Two pure functions behind one trait, one file per built-in provider.

mod attachment;
mod bridge;
mod cni;
mod device;
mod error;
mod host_device;
mod ipam;
mod macvlan;
mod parameter;
mod sriov;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Debug;

use ipnetwork::IpNetwork;

pub use attachment::{Attachment, AttachmentError, HostLink, HostLinkKind};
pub(crate) use bridge::NAME as BRIDGE;
pub use error::ProviderError;

use crate::{Class, Grant, Labels, Mac, NetworkIntent, Plan, Profile, Uplink};

/// A JSON object whose keys are not ours to know: a CNI configuration, a provider's parameters.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;

/// One way to make Networks.
pub trait Provider: Debug + Send + Sync {
    /// The name that classes call it by.
    fn name(&self) -> &'static str;

    /// Whether a class of this provider can work as it is written.
    fn validate(&self, class: &Class) -> Result<(), ProviderError>;

    /// What it makes of a valid class, as far as reservations depend on it.
    fn profile(&self, class: &Class) -> Profile;

    /// The CNI plugins that a node must have for it; IPAM by DHCP not counted.
    fn delegates(&self, _class: &Class) -> BTreeSet<String> {
        [self.name().to_owned()].into()
    }

    /// What a Network becomes, once everything that it needs is reserved.
    fn plan(&self, network: &NetworkIntent, class: &Class, grant: &Grant) -> Result<Plan, ProviderError>;

    /// What to run for one attachment; callers take it from [`Provider::attachment`].
    fn configs(&self, plan: &Plan, node: &NodeFacts, lease: &LeaseFacts)
    -> Result<Attachment, ProviderError>;

    /// What to run for one attachment, checked as strictly as if somebody else had made it.
    fn attachment(
        &self,
        plan: &Plan,
        node: &NodeFacts,
        lease: &LeaseFacts,
    ) -> Result<Attachment, ProviderError> {
        let attachment = self.configs(plan, node, lease)?;
        attachment.check()?;
        Ok(attachment)
    }
}

/// Where an attachment is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// The node's name.
    pub name: String,
    /// Its labels; where they are unknown nothing is filtered by label, so that the first uplink serves.
    pub labels: Option<Labels>,
}

/// What an attachment got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseFacts {
    /// Each with the prefix length that the interface carries; empty without Managed addresses.
    pub addresses: Vec<IpNetwork>,
    /// Absent where the plan's [`crate::MacSource`] is the device.
    pub mac: Option<Mac>,
}

/// Those that are built in.
static BUILT_IN: [&dyn Provider; 5] =
    [&bridge::Bridge, &macvlan::Macvlan, &sriov::Sriov, &host_device::HostDevice, &cni::Cni];

/// A built-in provider by its name.
pub fn provider(name: &str) -> Option<&'static dyn Provider> {
    BUILT_IN.into_iter().find(|provider| provider.name() == name)
}

/// The names of the built-in providers.
pub fn names() -> [&'static str; 5] {
    BUILT_IN.map(Provider::name)
}

/// The uplink of a node: the first that matches.
fn uplink_of<'a>(plan: &'a Plan, node: &NodeFacts) -> Result<&'a Uplink, ProviderError> {
    plan.uplinks
        .iter()
        .find(|uplink| uplink.serves(node.labels.as_ref()))
        .ok_or_else(|| ProviderError::NoUplink { class: plan.class.clone(), node: node.name.clone() })
}
