//! Ports on loopback that stay free while a server that uses one is restarted.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Below those that the kernel gives to outgoing connections.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Those that were given out: whoever has one may not listen on it yet, or not just now.
static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port that nobody listens on, and that this process has not given out before.
pub(super) fn free() -> u16 {
    let mut given = GIVEN.lock().expect("no panic under the lock");
    let given = given.get_or_insert_default();
    loop {
        let random = RandomState::new().build_hasher().finish() % u64::from(COUNT);
        let port = FIRST + u16::try_from(random).expect("less than the count of ports");
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
}
