//! The plan, for programs and for people.

use std::fmt;

use knap_api::{Network, NetworkClass, Segment, StatusSubnet};
use kube::ResourceExt;
use serde::{Serialize, Serializer};

use super::example::Example;
use crate::admission::{self, Verdict};
use crate::manifests::BrokenManifest;
use crate::provision::{READY, check_class, condition, display_name, is_ready};

/// What is planned.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) networks: Vec<NetworkPlan>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) classes: Vec<ClassPlan>,
    /// Files of the folder that can't be taken.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_texts")]
    pub(super) broken_manifests: Vec<BrokenManifest>,
}

fn as_texts<S: Serializer>(broken: &[BrokenManifest], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(broken.iter().map(ToString::to_string))
}

/// What would become of one Network.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NetworkPlan {
    pub(super) network: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<Refused>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) class: Option<String>,
    /// Whether no NetworkClass of that name is needed.
    pub(super) built_in: bool,
    /// Why this class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) because: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fabric: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) segment: Option<Segment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mtu: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) subnets: Vec<StatusSubnet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) example: Option<Example>,
}

/// Why something would not be served.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Refused {
    /// As in the Network's condition.
    pub(super) reason: String,
    pub(super) message: String,
}

/// Whether a class can serve, and does no harm.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ClassPlan {
    pub(super) class: String,
    pub(super) provider: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<Refused>,
    /// What else a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
}

impl Report {
    /// Whether anything that was to be planned would not be served.
    pub(super) fn refused(&self) -> bool {
        self.networks.iter().any(|network| network.refused.is_some())
            || self.classes.iter().any(|class| class.refused.is_some())
    }
}

impl NetworkPlan {
    /// As the controller wrote it into the status.
    pub(super) fn of(network: &Network) -> Self {
        let status = network.status.clone().unwrap_or_default();
        let refused = condition(network, READY).filter(|_| !is_ready(network));
        let refused =
            refused.map(|ready| Refused { reason: ready.reason.clone(), message: ready.message.clone() });
        Self {
            network: display_name(network),
            refused,
            because: status.class.as_ref().map(|_| because(network)),
            class: status.class,
            built_in: false,
            provider: status.provider,
            fabric: None,
            segment: status.segment,
            mtu: status.mtu,
            subnets: status.subnets,
            example: None,
        }
    }
}

/// By what the class was chosen, in the order in which it narrows the choice down.
fn because(network: &Network) -> String {
    let spec = &network.spec;
    let named = spec.class.as_ref().map(|_| "spec.class names it".to_owned());
    let provider = spec.provider.as_ref().map(|provider| format!("spec.provider is {provider}"));
    let features = spec.requires.as_ref().map(|_| "it offers all of spec.requires".to_owned());
    let reasons: Vec<_> = [named, provider, features].into_iter().flatten().collect();
    if reasons.is_empty() { "it is the default".to_owned() } else { reasons.join(", ") }
}

impl ClassPlan {
    /// By what a webhook says about it. That lets in what is no worse than before, and here it is asked what serves.
    pub(super) fn of(class: &NetworkClass, verdict: Verdict) -> Self {
        let Verdict { refused, mut warnings, .. } = verdict;
        let refused = refused.map(Refused::from).or_else(|| {
            let error = check_class(class).err()?;
            Some(Refused { reason: error.reason().to_owned(), message: error.to_string() })
        });
        warnings.retain(|warning| refused.as_ref().is_none_or(|refused| refused.message != *warning));
        Self { class: class.name_any(), provider: class.spec.provider.clone(), refused, warnings }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for class in &self.classes {
            writeln!(formatter, "{class}")?;
        }
        for network in &self.networks {
            writeln!(formatter, "{network}")?;
        }
        for broken in &self.broken_manifests {
            writeln!(formatter, "Broken manifest, left out of this plan: {broken}")?;
        }
        Ok(())
    }
}

/// One line of a report, its label in a column.
fn line(formatter: &mut fmt::Formatter<'_>, label: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(formatter, "  {label:<9} {value}")
}

impl fmt::Display for ClassPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "NetworkClass {}", self.class)?;
        line(formatter, "provider", &self.provider)?;
        self.refused.iter().try_for_each(|refused| line(formatter, "refused", refused))?;
        self.warnings.iter().try_for_each(|warning| line(formatter, "warning", warning))
    }
}

impl From<admission::Refused> for Refused {
    fn from(refused: admission::Refused) -> Self {
        Self { reason: refused.reason.to_owned(), message: refused.message }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.reason, self.message)
    }
}

impl fmt::Display for NetworkPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "Network {}", self.network)?;
        if let Some(refused) = &self.refused {
            return line(formatter, "refused", refused);
        }
        if let Some(class) = &self.class {
            let built_in = if self.built_in { "built in; " } else { "" };
            let because = self.because.as_deref().unwrap_or_default();
            line(formatter, "class", format_args!("{class} ({built_in}{because})"))?;
        }
        line(formatter, "provider", self.provider.as_deref().unwrap_or("none"))?;
        line(formatter, "segment", self.segment())?;
        if let Some(mtu) = self.mtu {
            line(formatter, "mtu", mtu)?;
        }
        if self.subnets.is_empty() {
            line(formatter, "subnets", "none: addresses are not Knap's")?;
        }
        for subnet in &self.subnets {
            let gateway = subnet.gateway.as_deref().unwrap_or("none");
            let StatusSubnet { cidr, capacity, .. } = subnet;
            line(
                formatter,
                "subnet",
                format_args!("{cidr}, gateway {gateway}, room for {capacity} attachments"),
            )?;
        }
        self.example.as_ref().map_or(Ok(()), |example| example.fmt(formatter))
    }
}

impl NetworkPlan {
    fn segment(&self) -> String {
        let segment = self.segment.clone().unwrap_or_default();
        let fabric = self.fabric.as_deref().unwrap_or_default();
        match segment {
            Segment { vlan: Some(vlan), .. } => format!("VLAN {vlan} on fabric {fabric}"),
            Segment { vni: Some(vni), .. } => format!("VXLAN {vni}"),
            Segment { bridge: Some(bridge), .. } => format!("bridge {bridge} on each node"),
            _ => format!("fabric {fabric}, not divided"),
        }
    }
}

impl fmt::Display for Example {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(formatter, "on node", format_args!("{}, for example", self.node))?;
        if let Some(refused) = &self.refused {
            return line(formatter, "", format_args!("nothing can be attached: {refused}"));
        }
        if !self.addresses.is_empty() {
            line(formatter, "", format_args!("addresses {}", self.addresses.join(", ")))?;
        }
        if let Some(mac) = &self.mac {
            line(formatter, "", format_args!("MAC {mac}"))?;
        }
        if self.needs_device {
            line(formatter, "", "the device that the pod was given")?;
        }
        for link in &self.host_links {
            let uplink =
                link.uplink.as_ref().map(|uplink| format!(" with port {uplink}")).unwrap_or_default();
            line(formatter, "", format_args!("host link {}{uplink}", link.name))?;
        }
        for plugin in &self.plugins {
            let plugin = serde_json::to_string_pretty(plugin).map_err(|_| fmt::Error)?;
            for text in plugin.lines() {
                line(formatter, "", text)?;
            }
        }
        Ok(())
    }
}
