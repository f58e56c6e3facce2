//! The few questions and orders about links that the plugin has for the kernel, by synchronous rtnetlink.
//!
//! Requests are built by `netlink-packet-route`. Replies are read attribute by attribute instead: decoding all of
//! them would fail on any attribute whose shape a newer kernel has changed, for the sake of ones that nobody asked.

use std::io;
use std::net::IpAddr;

use knap_protocol::InterfaceName;
use netlink_packet_core::{
    DecodeError, ErrorBuffer, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkMessage, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkInfo, LinkMessage,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;

/// Larger than any description of one link without its statistics and virtual functions; of many things the kernel sends
/// no more at once.
const LARGEST_REPLY: usize = 32 * 1024;

/// Bytes of `struct ifinfomsg`, which attributes follow.
const LINK_HEADER: usize = 16;

/// How often a list is asked for that changes while it is told.
const DUMPS: usize = 20;
/// Of linux/netlink.h: the list has changed while it was told, and may lack something.
const NLM_F_DUMP_INTR: u16 = 0x10;
/// Bytes of `struct ifaddrmsg`, which attributes follow.
const ADDRESS_HEADER: usize = 8;

/// The hardware address of an Ethernet-like link.
pub(crate) type MacBytes = [u8; 6];

/// A link, as far as the plugin cares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// `bridge`, `veth`, …; none for physical ones.
    pub(crate) kind: Option<String>,
    pub(crate) alias: Option<String>,
    pub(crate) address: Vec<u8>,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    /// Index of the link whose port it is.
    pub(crate) master: Option<u32>,
}

/// What to change of a link, all in one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LinkChange {
    pub(crate) alias: Option<String>,
    pub(crate) mtu: Option<u32>,
    pub(crate) up: bool,
    pub(crate) master: Option<u32>,
}

/// A socket to the kernel, in the network namespace of the thread that opened it.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The link of that name, where there is one.
    pub(crate) fn link(&mut self, name: &InterfaceName) -> io::Result<Option<Link>> {
        self.get(link_message(0, vec![LinkAttribute::IfName(name.to_string())]))
    }

    /// The link of that index, where there is one.
    pub(crate) fn link_at(&mut self, index: u32) -> io::Result<Option<Link>> {
        self.get(link_message(index, Vec::new()))
    }

    /// An address of a link that is not link-local, where there is one.
    pub(crate) fn address(&mut self, index: u32) -> io::Result<Option<IpAddr>> {
        let mut found = None;
        // The kernel tells those of all links, again where there was a change meanwhile.
        for _ in 0..DUMPS {
            let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
            let told = self.request(all, NLM_F_DUMP, |kind, payload| {
                if kind == libc::RTM_NEWADDR && found.is_none() {
                    found = parse_address(payload, index)?;
                }
                Ok(())
            });
            match told {
                Err(error) if error.kind() == io::ErrorKind::Interrupted && found.is_none() => {}
                told => return told.map(|()| found),
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// Makes a bridge; `AlreadyExists` if any link has the name.
    pub(crate) fn create_bridge(&mut self, name: &InterfaceName, address: MacBytes) -> io::Result<()> {
        let message = link_message(
            0,
            vec![
                LinkAttribute::IfName(name.to_string()),
                LinkAttribute::Address(address.to_vec()),
                LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
            ],
        );
        self.order(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Changes a link.
    pub(crate) fn change(&mut self, index: u32, change: &LinkChange) -> io::Result<()> {
        let mut message = link_message(index, Vec::new());
        message.attributes.extend(change.mtu.map(LinkAttribute::Mtu));
        message.attributes.extend(change.alias.clone().map(LinkAttribute::IfAlias));
        message.attributes.extend(change.master.map(LinkAttribute::Controller));
        if change.up {
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
        }
        self.order(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Removes a link; fine if it is gone already.
    pub(crate) fn delete(&mut self, index: u32) -> io::Result<()> {
        match self.order(RouteNetlinkMessage::DelLink(link_message(index, Vec::new())), 0) {
            Err(error) if is_no_device(&error) => Ok(()),
            done => done,
        }
    }

    /// Makes a pair of virtual Ethernet links, for tests.
    #[cfg(test)]
    pub(crate) fn create_veth(&mut self, name: &str, peer: &str, address: MacBytes) -> io::Result<()> {
        use netlink_packet_route::link::{InfoData, InfoVeth};

        let peer = link_message(0, vec![LinkAttribute::IfName(peer.to_owned())]);
        let message = link_message(
            0,
            vec![
                LinkAttribute::IfName(name.to_owned()),
                LinkAttribute::Address(address.to_vec()),
                LinkAttribute::LinkInfo(vec![
                    LinkInfo::Kind(InfoKind::Veth),
                    LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
                ]),
            ],
        );
        self.order(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Gives a link an address, for tests.
    #[cfg(test)]
    pub(crate) fn add_address(&mut self, index: u32, address: IpAddr) -> io::Result<()> {
        use netlink_packet_route::AddressFamily;
        use netlink_packet_route::address::AddressAttribute;

        let mut message = AddressMessage::default();
        message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.prefix_len = 24;
        message.header.index = index;
        message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        self.order(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    fn get(&mut self, mut message: LinkMessage) -> io::Result<Option<Link>> {
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let mut found = None;
        let asked = self.request(RouteNetlinkMessage::GetLink(message), 0, |kind, payload| {
            if kind == libc::RTM_NEWLINK {
                found = Some(parse_link(payload)?);
            }
            Ok(())
        });
        match asked {
            Err(error) if is_no_device(&error) => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok(found),
        }
    }

    fn order(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.request(message, flags, |_, _| Ok(()))
    }

    /// Sends one request and hands what comes back to `receive`, until the kernel acknowledges or refuses.
    fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut receive: impl FnMut(u16, &[u8]) -> Result<(), DecodeError>,
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        retried(|| self.socket.send(&bytes, 0))?;
        let mut interrupted = false;
        loop {
            let datagram = self.receive()?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let reply = NetlinkBuffer::new_checked(rest).map_err(malformed)?;
                if reply.sequence_number() == self.sequence {
                    interrupted |= reply.flags() & NLM_F_DUMP_INTR != 0;
                    match i32::from(reply.message_type()) {
                        libc::NLMSG_ERROR | libc::NLMSG_DONE if interrupted => {
                            return Err(io::ErrorKind::Interrupted.into());
                        }
                        libc::NLMSG_ERROR | libc::NLMSG_DONE => return verdict(reply.payload()),
                        _ => receive(reply.message_type(), reply.payload()).map_err(malformed)?,
                    }
                }
                let length = usize::try_from(reply.length()).unwrap_or(usize::MAX).next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }

    /// One datagram from the kernel.
    fn receive(&self) -> io::Result<Vec<u8>> {
        loop {
            let mut buffer = Vec::with_capacity(LARGEST_REPLY);
            let (length, sender) = retried(|| self.socket.recv_from(&mut buffer, libc::MSG_TRUNC))?;
            if length > buffer.len() {
                return Err(io::Error::other(format!("a netlink reply of {length} bytes was cut short")));
            }
            // Any process may write to the socket; only the kernel has port 0.
            if sender.port_number() == 0 {
                return Ok(buffer);
            }
        }
    }
}

fn link_message(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

fn parse_link(payload: &[u8]) -> Result<Link, DecodeError> {
    let header = LinkHeader::parse(payload)?;
    let mut link = Link { index: header.index, up: header.flags.contains(LinkFlags::Up), ..Link::default() };
    for attribute in NlasIterator::new(payload.get(LINK_HEADER..).unwrap_or_default()) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_ADDRESS => link.address = value.to_vec(),
            libc::IFLA_MTU => link.mtu = number(value)?,
            libc::IFLA_MASTER => link.master = Some(number(value)?),
            libc::IFLA_IFALIAS => link.alias = Some(text(value)),
            libc::IFLA_LINKINFO => link.kind = parse_kind(value)?,
            _ => {}
        }
    }
    Ok(link)
}

fn parse_kind(info: &[u8]) -> Result<Option<String>, DecodeError> {
    for attribute in NlasIterator::new(info) {
        let attribute = attribute?;
        if attribute.kind() == libc::IFLA_INFO_KIND {
            return Ok(Some(text(attribute.value())));
        }
    }
    Ok(None)
}

/// The address that is told, if it is of this link and not link-local.
fn parse_address(payload: &[u8], index: u32) -> Result<Option<IpAddr>, DecodeError> {
    let (header, attributes) = payload.split_at_checked(ADDRESS_HEADER).unwrap_or_default();
    let mut found = None;
    if number(header.get(4..).unwrap_or_default())? == index {
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute?;
            match attribute.kind() {
                libc::IFA_ADDRESS if found.is_none() => found = ip(attribute.value()),
                // Where both are told, the other may be a peer's.
                libc::IFA_LOCAL => found = ip(attribute.value()),
                _ => {}
            }
        }
    }
    Ok(found.filter(|address| !is_link_local(address)))
}

/// None of families other than IP.
fn ip(value: &[u8]) -> Option<IpAddr> {
    let ipv4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    ipv4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

fn number(value: &[u8]) -> Result<u32, DecodeError> {
    let bytes = value.try_into().map_err(|_| DecodeError::invalid_number(4, value.len()))?;
    Ok(u32::from_ne_bytes(bytes))
}

/// What an NLMSG_ERROR or the end of a list says: 0 acknowledges, else it is an error number with its sign turned.
fn verdict(payload: &[u8]) -> io::Result<()> {
    match ErrorBuffer::new_checked(payload).map_err(malformed)?.code() {
        None => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.get().wrapping_neg())),
    }
}

fn is_no_device(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
}

fn malformed(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
