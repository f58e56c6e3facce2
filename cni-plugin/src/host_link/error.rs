//! What can go wrong with a host link, in words for whoever administers the node.

use std::io;
use std::net::IpAddr;

use knap_protocol::InterfaceName;

use crate::boot::BootError;
use crate::ledger::LedgerError;

/// A host link can't be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum HostLinkError {
    /// A kind that this version of the plugin does not know.
    #[error(
        "host link {name}: this version of knap can't make links of kind {kind:?}; upgrade the plugin on this node, \
         or use a class without it"
    )]
    UnknownKind {
        /// The link.
        name: InterfaceName,
        /// What it should be.
        kind: String,
    },
    /// A link of that name belongs to somebody else.
    #[error(
        "host link {name} exists and is not this network's ({found}); knap touches only links that it made: rename \
         or remove that link, then try again"
    )]
    Foreign {
        /// The link.
        name: InterfaceName,
        /// What it is instead.
        found: String,
    },
    /// The owner can't stand in a file name or in a link's alias.
    #[error("host link {name}: owner {owner:?} is not a UID: letters, digits and '-', 64 at most")]
    Owner {
        /// The link.
        name: InterfaceName,
        /// The owner given.
        owner: String,
    },
    /// The link that should become a port is not there.
    #[error(
        "host link {name}: its uplink {uplink} does not exist on this node; correct the class's uplinks or their \
         node selectors"
    )]
    NoUplink {
        /// The link.
        name: InterfaceName,
        /// The missing one.
        uplink: InterfaceName,
    },
    /// The link that should become a port is one of another link.
    #[error(
        "host link {name}: its uplink {uplink} is already a port of {master}; two networks can't share one uplink \
         by bridges of their own"
    )]
    UplinkTaken {
        /// The link.
        name: InterfaceName,
        /// The uplink.
        uplink: InterfaceName,
        /// Whose port it is.
        master: String,
    },
    /// The link that should become a port has an address, maybe the node's own.
    #[error(
        "host link {name}: its uplink {uplink} has address {address}, which would not work on a port of a bridge; take \
         the address away from {uplink}, name another interface in the class's uplinks, or use provider macvlan, which \
         leaves the interface as it is"
    )]
    UplinkAddressed {
        /// The link.
        name: InterfaceName,
        /// The uplink.
        uplink: InterfaceName,
        /// Its address.
        address: IpAddr,
    },
    /// The kernel refuses.
    #[error("can't {action} {name}: {source}")]
    Kernel {
        /// What was being done.
        action: &'static str,
        /// To which link.
        name: InterfaceName,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Without the boot's ID the link can't be marked.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The record of users can't be kept.
    #[error(transparent)]
    Record(#[from] LedgerError),
}
