//! Who waits for whom, and how much there is at once.

use std::future::Future;
use std::io;

use futures::future::join_all;
use futures::stream;
use tokio::time::{Instant, sleep};

use super::*;
use crate::http::{BODY_LIMIT, OF_NODES};

const FREE: usize = OF_NODES.free;

/// A body that is there after a while.
fn after(pause: Duration, bytes: Bytes) -> Body {
    Body::from_stream(stream::once(async move {
        sleep(pause).await;
        Ok::<_, io::Error>(bytes)
    }))
}

/// One that never comes.
fn never() -> Body {
    Body::from_stream(stream::pending::<Result<Bytes, io::Error>>())
}

/// Reads a body of this length; its room goes at once.
fn read(
    bodies: &Bodies<usize>,
    sender: usize,
    length: usize,
    body: Body,
) -> impl Future<Output = Result<usize, BodyError>> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_LENGTH, length.into());
    async move { bodies.read(sender, &headers, body, BODY_LIMIT).await.map(|(bytes, _)| bytes.len()) }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_nodes_that_tell_their_ledgers_at_once_wait_a_little_and_in_order() {
    const LEDGER: usize = 30 << 10;
    let (bodies, pause) = (Arc::new(Bodies::new(OF_NODES)), Duration::from_millis(50));
    let ledger = Bytes::from_static(&[b'x'; LEDGER]);
    let begin = Instant::now();
    let reading = (0..1000).map(|node| {
        let (bodies, ledger) = (Arc::clone(&bodies), after(pause, ledger.clone()));
        tokio::spawn(async move { (read(&bodies, node, LEDGER, ledger).await.unwrap(), begin.elapsed()) })
    });
    let read: Vec<_> = join_all(reading).await.into_iter().map(Result::unwrap).collect();
    assert!(read.iter().all(|(length, _)| *length == LEDGER));
    assert!(read.is_sorted_by_key(|(_, took)| *took), "who came first is read first");
    let rounds = (1000 * LEDGER).div_ceil(OF_NODES.whole);
    assert!(begin.elapsed() <= pause * u32::try_from(rounds).unwrap() + pause, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_sender_holds_its_share_and_nothing_of_others() {
    let bodies = Bodies::new(OF_NODES);
    let stalled = join_all((0..10).map(|_| read(&bodies, 1, BODY_LIMIT, never())));
    let others = async {
        tokio::task::yield_now().await;
        let begin = Instant::now();
        for (sender, length) in [(1, FREE), (2, FREE), (2, FREE + 1), (2, BODY_LIMIT)] {
            let body = Body::from(vec![0; length]);
            assert_eq!(read(&bodies, sender, length, body).await.unwrap(), length);
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
    };
    let (stalled, ()) = tokio::join!(stalled, others);
    let slow = stalled.iter().filter(|read| matches!(read, Err(BodyError::Slow(_)))).count();
    let busy = stalled.iter().filter(|read| matches!(read, Err(BodyError::Busy))).count();
    assert_eq!((slow, busy), (1, 9), "one was heard at a time");
}

#[tokio::test(start_paused = true)]
async fn all_senders_together_have_no_more_than_the_whole_and_give_it_back() {
    let bodies = Bodies::new(OF_NODES);
    let most = OF_NODES.whole / BODY_LIMIT;
    let stalled = join_all((0..20).map(|sender| read(&bodies, sender, BODY_LIMIT, never()))).await;
    let slow = stalled.iter().filter(|read| matches!(read, Err(BodyError::Slow(_)))).count();
    assert_eq!(slow, most, "{stalled:?}");
    assert_eq!(bodies.whole.available_permits(), OF_NODES.whole);
    assert_eq!(read(&bodies, 99, BODY_LIMIT, Body::from(vec![0; BODY_LIMIT])).await.unwrap(), BODY_LIMIT);
    assert_eq!(bodies.shares.lock().len(), 1, "who sends no more is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_body_has_its_room_until_it_is_answered_and_is_no_longer_than_it_says() {
    let bodies = Bodies::new(OF_NODES);
    let unannounced = bodies.read(1, &HeaderMap::new(), Body::from("short"), 5).await.unwrap();
    assert_eq!((&unannounced.0[..], bodies.whole.available_permits()), (&b"short"[..], OF_NODES.whole));
    let large = vec![0; FREE + 1];
    let held = bodies.read(1, &HeaderMap::new(), Body::from(large), BODY_LIMIT).await.unwrap();
    assert_eq!(bodies.whole.available_permits(), OF_NODES.whole - BODY_LIMIT);
    drop(held);
    assert_eq!(bodies.whole.available_permits(), OF_NODES.whole);
    for length in [4, BODY_LIMIT + 1] {
        let longer = read(&bodies, 1, length, Body::from("short")).await;
        assert!(matches!(longer, Err(BodyError::TooLarge(_))), "{longer:?}");
    }
    let longer = bodies.read(1, &HeaderMap::new(), Body::from("shorts"), 5).await;
    assert!(matches!(longer, Err(BodyError::TooLarge(5))), "{longer:?}");
    let broken = Body::from_stream(stream::once(async { Err::<Bytes, _>(io::Error::other("gone")) }));
    let broken = read(&bodies, 1, 5, broken).await.unwrap_err();
    assert!(broken.to_string().contains("gone"), "{broken}");
}
