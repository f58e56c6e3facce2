//! Class: an administrator's NetworkClass whose every string has been parsed.

use ipnetwork::{IpNetwork, Ipv4Network};
use serde::{Deserialize, Serialize};

use crate::provider::JsonObject;
use crate::{Features, GatewayPolicy, LabelSelector, Labels, NumberRanges, Pool};

/// Where the built-in classes' subnets come from: 100.96.0.0/12, a part of the shared address space of RFC 6598.
const BUILT_IN_SPACE: (std::net::Ipv4Addr, u8) = (std::net::Ipv4Addr::new(100, 96, 0, 0), 12);
/// Length of a subnet of the built-in classes.
const BUILT_IN_SUBNET: u8 = 24;

/// A way to provide Networks.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// `metadata.name`.
    pub name: String,
    /// Whether it is marked as the class of Networks that name none.
    pub is_default: bool,
    /// A provider's name; one that is not built in serves nobody.
    pub provider: String,
    /// The wire. Classes on one fabric share its numbers.
    pub fabric: String,
    /// The provider's own settings, validated by it.
    pub parameters: JsonObject,
    /// What it offers; see [`Class::offered`].
    pub features: Features,
    /// Interfaces of the nodes: first match wins.
    pub uplinks: Vec<Uplink>,
    /// The device plugin's resource, instead of uplinks.
    pub resource_name: Option<String>,
    /// Numbers, of which each Network gets one.
    pub segments: Option<Segments>,
    /// Address space, in the order in which it is carved.
    pub subnets: Vec<Pool>,
    /// Within what addresses are unique.
    pub address_scope: AddressScope,
    /// Whether a Network may name its subnets.
    pub allow_requested_subnets: bool,
    /// Whether a Network may be shared with other namespaces.
    pub allow_sharing: bool,
    /// Who may use it, and how much.
    pub access: Access,
}

/// An interface of the nodes that match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Uplink {
    /// Nodes; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// The interface's name on them.
    pub interface: String,
}

impl Uplink {
    /// Whether this is the uplink of a node. Without labels nothing is filtered by label.
    pub fn serves(&self, node_labels: Option<&Labels>) -> bool {
        self.node_selector.as_ref().is_none_or(|selector| selector.admits(node_labels))
    }
}

/// What separates the broadcast domains of one fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segments {
    /// VLANs, 802.1Q.
    Vlans(NumberRanges),
    /// VXLANs between the nodes.
    Vxlan {
        /// The network identifiers.
        vnis: NumberRanges,
        /// UDP.
        port: u16,
    },
}

/// Within what addresses must be unique.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AddressScope {
    /// In the cluster.
    #[default]
    Cluster,
    /// On the segment: isolated Networks may use the same addresses.
    Segment,
}

/// Who may use a class, and how much. The default is everybody, without limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Namespaces; all where absent.
    pub namespace_selector: Option<LabelSelector>,
    /// Networks of this class in one namespace.
    pub networks_per_namespace: Option<u32>,
    /// Attachments to Networks of this class in one namespace.
    pub attachments_per_namespace: Option<u32>,
}

impl Access {
    /// Whether Networks of a namespace may use the class. Without labels nothing is filtered by label.
    pub fn admits(&self, namespace_labels: Option<&Labels>) -> bool {
        self.namespace_selector.as_ref().is_none_or(|selector| selector.admits(namespace_labels))
    }
}

impl Class {
    /// A class of this provider with nothing else said.
    pub fn new(name: impl Into<String>, provider: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            fabric: name.clone(),
            name,
            is_default: false,
            provider: provider.into(),
            parameters: JsonObject::new(),
            features: Features::default(),
            uplinks: Vec::new(),
            resource_name: None,
            segments: None,
            subnets: Vec::new(),
            address_scope: AddressScope::default(),
            allow_requested_subnets: false,
            allow_sharing: false,
            access: Access::default(),
        }
    }

    /// What the class offers: its features, with the families of its address space where it names none.
    pub fn offered(&self) -> Features {
        let mut features = self.features.clone();
        if features.ip_families.is_empty() {
            features.ip_families = self.subnets.iter().map(Pool::family).collect();
        }
        features
    }
}

/// The class that serves a provider of which an administrator has made none: only `bridge` needs nothing that
/// just an administrator knows, a bridge of its own on each node with a subnet from 100.96.0.0/12.
pub fn built_in_class(provider: &str) -> Option<Class> {
    if provider != crate::provider::BRIDGE {
        return None;
    }
    let (network, length) = BUILT_IN_SPACE;
    let cidr = IpNetwork::V4(Ipv4Network::new(network, length).ok()?);
    let pool = Pool::new(cidr, BUILT_IN_SUBNET, Vec::new(), false, GatewayPolicy::ProviderDefault).ok()?;
    let mut class = Class::new(format!("built-in-{provider}"), provider);
    class.features.isolation = true;
    class.subnets = vec![pool];
    Some(class)
}
