//! How many connections one peer may hold: nobody keeps nodes from their turn by holding all there can be.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::{Ready, ready};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tower::Layer;

/// Of one address. An API server has as many connections as reviews under way, which are some hundreds at most; a node as many as it
/// starts interfaces at once.
const MOST: usize = 1024;

/// Accepts connections, but no more than [`MOST`] of one address at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct Peers {
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Peers {
    /// A place among those of its address.
    pub(super) fn place(&self, peer: IpAddr) -> io::Result<Place> {
        let mut held = self.held.lock();
        let count = held.entry(peer).or_default();
        if *count == MOST {
            return Err(io::Error::other(format!("it has {MOST} connections already")));
        }
        *count += 1;
        Ok(Place { peers: self.clone(), peer })
    }
}

/// The place of a connection, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    peers: Peers,
    peer: IpAddr,
}

impl Place {
    /// The address that it is counted by.
    pub(super) const fn peer(&self) -> IpAddr {
        self.peer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut held) = self.peers.held.lock().entry(self.peer) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }
}

impl<S> Accept<TcpStream, S> for Peers {
    type Stream = TcpStream;
    /// What answers a connection has its place: both end together.
    type Service = AddExtension<S, Arc<Place>>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        // Answers are small and waited for.
        let accepted = stream.set_nodelay(true).and_then(|()| stream.peer_addr());
        let place = accepted.and_then(|peer| self.place(peer.ip().to_canonical()));
        ready(place.map(|place| (stream, Extension(Arc::new(place)).layer(service))))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::extract::Request;
    use tower::ServiceExt;

    use super::*;

    #[test]
    fn one_that_holds_all_its_places_keeps_no_other_out() {
        let peers = Peers::default();
        let [greedy, other] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let mut places: Vec<Place> = (0..MOST).map(|_| peers.place(greedy).unwrap()).collect();
        assert!(peers.place(greedy).unwrap_err().to_string().contains("1024"));
        assert!(peers.place(other).is_ok());
        places.pop();
        assert!(peers.place(greedy).is_ok());
        drop(places);
        assert!(peers.held.lock().is_empty());
    }

    #[tokio::test]
    async fn a_place_is_held_until_its_connection_ends() {
        let peers = Peers::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let told = async |Extension(place): Extension<Arc<Place>>| place.peer().to_string();
        let router = axum::Router::<()>::new().fallback(told);
        let (_stream, service) = peers.accept(stream, router).await.unwrap();
        let request = service.clone();
        let answer = service.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(to_bytes(answer.into_body(), 100).await.unwrap(), "127.0.0.1", "who answers knows it");
        assert_eq!(peers.held.lock().values().sum::<usize>(), 1, "it answers still");
        drop(request);
        assert!(peers.held.lock().is_empty());
    }
}
