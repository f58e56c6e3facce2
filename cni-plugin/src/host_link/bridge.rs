//! A bridge: one broadcast domain on the node, with or without a way out.

use std::io;

use knap_protocol::{HostLink, InterfaceName};

use super::mark::{Mark, describe};
use super::{HostLinkError, kernel};
use crate::fault;
use crate::netlink::{Link, LinkChange, Netlink};

/// Makes the bridge, or brings the existing one into the shape that is wanted. The caller holds the link's lock; that
/// other software makes links too is why nothing is taken for granted between two requests.
pub(super) fn ensure(netlink: &mut Netlink, wanted: &HostLink, mark: &Mark) -> Result<(), HostLinkError> {
    let name = &wanted.name;
    let found = match netlink.link(name).map_err(kernel("look up", name))? {
        Some(found) => found,
        None => create(netlink, name, mark)?,
    };
    if !mark.is_on(&found) || found.kind.as_deref() != Some("bridge") {
        return Err(HostLinkError::Foreign { name: name.clone(), found: describe(&found) });
    }
    let change = LinkChange {
        alias: found.alias.is_none().then(|| mark.alias.clone()),
        mtu: wanted.mtu.filter(|&mtu| mtu != found.mtu),
        up: !found.up,
        master: None,
    };
    if change != LinkChange::default() {
        netlink.change(found.index, &change).map_err(kernel("set up bridge", name))?;
    }
    fault::point("host-link.marked");
    match &wanted.uplink {
        Some(uplink) => ensure_port(netlink, name, &found, uplink),
        None => Ok(()),
    }
}

/// Its address is set when it is made: a bridge without one of its own takes the lowest of its ports', and changes it as
/// they come and go, under the feet of everybody who has it in an ARP cache.
fn create(netlink: &mut Netlink, name: &InterfaceName, mark: &Mark) -> Result<Link, HostLinkError> {
    match netlink.create_bridge(name, mark.address) {
        // Somebody was faster; whose it is will be seen.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => created.map_err(kernel("make bridge", name))?,
    }
    fault::point("host-link.created");
    let created = netlink.link(name).map_err(kernel("look up", name))?;
    let gone = || kernel("look up", name)(io::Error::other("it was removed as soon as it was made"));
    created.ok_or_else(gone)
}

fn ensure_port(
    netlink: &mut Netlink,
    name: &InterfaceName,
    bridge: &Link,
    uplink: &InterfaceName,
) -> Result<(), HostLinkError> {
    let found = netlink.link(uplink).map_err(kernel("look up", uplink))?;
    let Some(found) = found else {
        return Err(HostLinkError::NoUplink { name: name.clone(), uplink: uplink.clone() });
    };
    match found.master {
        Some(master) if master == bridge.index => Ok(()),
        Some(master) => {
            let holder = netlink.link_at(master).map_err(kernel("look up the master of", uplink))?;
            let master = holder.map_or_else(|| format!("link {master}"), |link| link.name);
            Err(HostLinkError::UplinkTaken { name: name.clone(), uplink: uplink.clone(), master })
        }
        None => {
            // IP stops on what becomes a port: the node must not be cut off.
            let address = netlink.address(found.index).map_err(kernel("look up addresses of", uplink))?;
            if let Some(address) = address {
                let (name, uplink) = (name.clone(), uplink.clone());
                return Err(HostLinkError::UplinkAddressed { name, uplink, address });
            }
            let change = LinkChange { master: Some(bridge.index), ..LinkChange::default() };
            netlink.change(found.index, &change).map_err(kernel("make a port of the uplink", uplink))
        }
    }
}
