//! The host's links that could be an uplink, from sysfs.

use std::fs;
use std::path::{Path, PathBuf};

use knap_protocol::{InterfaceName, NodeInterface, SriovCapability};

/// Types of links (if_arp.h) that could be an uplink: Ethernet, InfiniBand.
const TYPES: [&str; 2] = ["1", "32"];

/// Kinds of virtual links that never are: overlays, and what stands on another link inside a pod or a machine.
const NO_UPLINKS: [&str; 6] = ["geneve", "ipvlan", "macsec", "macvtap", "vxlan", "wwan"];

/// How network plugins and hypervisors name the host's ends of their pairs. A pair that a node has as its own wire, as
/// nodes in containers do, has another name.
const ENDS_OF_PAIRS: [&str; 9] = ["azv", "cali", "cni", "eni", "gke", "kn", "lxc", "nk", "veth"];

/// All of them, sorted by name. What can't be read is as if it were not there: links come and go meanwhile.
pub(super) fn survey(sysfs: &Path) -> Vec<NodeInterface> {
    let entries = fs::read_dir(sysfs.join("class/net")).into_iter().flatten().flatten();
    let mut links: Vec<NodeInterface> = entries
        .filter_map(|entry| {
            let name = entry.file_name().to_str()?.parse().ok()?;
            Link { folder: entry.path(), name }.interface()
        })
        .collect();
    links.sort_by(|one, other| one.name.cmp(&other.name));
    links
}

/// One link's folder in sysfs.
struct Link {
    folder: PathBuf,
    name: InterfaceName,
}

impl Link {
    fn interface(self) -> Option<NodeInterface> {
        if !TYPES.contains(&self.text("type")?.as_str()) {
            return None;
        }
        let device = self.folder.join("device");
        let driver = if device.exists() { self.driver_of_device(&device)? } else { self.kind_of_virtual()? };
        Some(NodeInterface {
            driver,
            mac: self.text("address").filter(|mac| !mac.is_empty()),
            speed_mbps: self.text("speed").and_then(|speed| speed.parse().ok()).filter(|speed| *speed > 0),
            mtu: self.text("mtu")?.parse().ok()?,
            up: self.text("carrier").as_deref() == Some("1"),
            pci_address: pci_address(&device),
            sriov: sriov(&device),
            name: self.name,
        })
    }

    /// None for a virtual function, which is there to be given away. The driver itself may be unknown.
    fn driver_of_device(&self, device: &Path) -> Option<Option<String>> {
        if device.join("physfn").exists() {
            return None;
        }
        let driver = fs::read_link(device.join("driver")).ok();
        Some(driver.and_then(|driver| Some(driver.file_name()?.to_str()?.to_owned())))
    }

    /// None for one that can't be an uplink. The kind itself may be unknown: the kernel tells it of some only.
    fn kind_of_virtual(&self) -> Option<Option<String>> {
        let uevent = self.text("uevent").unwrap_or_default();
        let kind = uevent.lines().find_map(|line| line.strip_prefix("DEVTYPE="));
        let name = self.name.as_str();
        let is_ours = self.text("ifalias").is_some_and(|alias| alias.starts_with("knap:"));
        let is_tap = self.folder.join("tun_flags").exists();
        let is_end_of_pair = || {
            self.folder.join("brport").exists() || ENDS_OF_PAIRS.iter().any(|prefix| name.starts_with(prefix))
        };
        match kind {
            _ if is_ours || is_tap => None,
            Some(kind) if NO_UPLINKS.contains(&kind) => None,
            Some(kind) => Some(Some(kind.to_owned())),
            None if is_end_of_pair() => None,
            None => Some(None),
        }
    }

    /// An attribute; none where the kernel has none, or refuses to tell it while the link is down.
    fn text(&self, attribute: &str) -> Option<String> {
        Some(fs::read_to_string(self.folder.join(attribute)).ok()?.trim().to_owned())
    }
}

/// The address of the nearest PCI device above: a virtio link's own device is not on that bus.
fn pci_address(device: &Path) -> Option<String> {
    let device = fs::canonicalize(device).ok()?;
    device.ancestors().find_map(|folder| {
        let name = folder.file_name()?.to_str()?;
        is_pci_address(name).then(|| name.to_owned())
    })
}

/// `0000:3b:00.0`
fn is_pci_address(name: &str) -> bool {
    let hexadecimal =
        |text: &str, length| text.len() == length && text.chars().all(|c| c.is_ascii_hexdigit());
    let parts: Vec<&str> = name.split([':', '.']).collect();
    matches!(parts[..], [domain, bus, device, function]
        if domain.len() >= 4 && hexadecimal(domain, domain.len())
            && hexadecimal(bus, 2) && hexadecimal(device, 2) && hexadecimal(function, 1)
            && name.ends_with(&format!(".{function}")))
}

fn sriov(device: &Path) -> Option<SriovCapability> {
    let number = |attribute| fs::read_to_string(device.join(attribute)).ok()?.trim().parse::<u32>().ok();
    let total_vfs = number("sriov_totalvfs").filter(|total| *total > 0)?;
    Some(SriovCapability { total_vfs, vfs: number("sriov_numvfs").unwrap_or(0) })
}

#[cfg(test)]
mod tests;
