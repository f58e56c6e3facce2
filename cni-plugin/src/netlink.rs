//! stub
use knap_protocol::InterfaceName;
use std::io;
pub(crate) struct Netlink;
pub(crate) struct Link;
impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self)
    }
    pub(crate) fn link(&self, _name: &InterfaceName) -> io::Result<Option<Link>> {
        Ok(None)
    }
}
