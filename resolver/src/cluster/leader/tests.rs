//! Leaders over one store in memory, with times that are short, and long for a busy machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::{Candidate, LEASE, Timing};
use crate::store::embedded::EmbeddedStore;
use crate::store::{ObjectName, Preconditions, Store};
use crate::testing::{Fate, Troubled, eventually};

const TIMING: Timing = Timing {
    duration: Duration::from_secs(3),
    deadline: Duration::from_secs(2),
    step: Duration::from_millis(50),
};

/// One replica; how many controllers it runs.
struct Replica {
    running: Arc<AtomicUsize>,
    leading: Gauge,
    stop: Option<oneshot::Sender<()>>,
    left: oneshot::Receiver<()>,
    task: JoinHandle<()>,
}

/// Counts one while it lives.
struct Controller(Arc<AtomicUsize>);

impl Drop for Controller {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Replica {
    fn start(store: &EmbeddedStore) -> Self {
        Self::timed(store, TIMING)
    }

    fn timed(store: &impl Store, timing: Timing) -> Self {
        let candidate = Candidate::new(store.clone(), "knap-system", timing);
        let leading = candidate.leading();
        let running = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = oneshot::channel();
        let counter = Arc::clone(&running);
        let controllers = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            let controller = Controller(Arc::clone(&counter));
            let mut tasks = JoinSet::new();
            tasks.spawn(async move {
                let _controller = controller;
                std::future::pending::<()>().await;
            });
            tasks
        };
        let stopped = async {
            let _ = stopped.await;
        };
        let (leave, left) = oneshot::channel();
        let task = tokio::spawn(candidate.run(stopped, leave, controllers));
        Self { running, leading, stop: Some(stop), left, task }
    }

    fn leads(&self) -> bool {
        self.running.load(Ordering::SeqCst) == 1
    }
}

fn name() -> ObjectName {
    ObjectName::namespaced("knap-system", LEASE)
}

/// How often the Lease was taken.
async fn transitions(store: &EmbeddedStore) -> Option<i32> {
    let lease: Lease = store.get(&name()).await.unwrap().unwrap();
    lease.spec.unwrap().lease_transitions
}

fn leaders(replicas: &[Replica]) -> usize {
    replicas.iter().filter(|replica| replica.leads()).count()
}

#[tokio::test]
async fn one_of_many_leads_for_as_long_as_it_renews() {
    let store = EmbeddedStore::in_memory().unwrap();
    let replicas: Vec<Replica> = (0..3).map(|_| Replica::start(&store)).collect();
    eventually("one leads", || leaders(&replicas) == 1).await;
    // Where the machine stands still for longer than the Lease lasts, it is looked at again.
    let mut stayed = false;
    for _ in 0..5 {
        let before = transitions(&store).await;
        tokio::time::sleep(TIMING.duration + TIMING.step * 10).await;
        stayed = transitions(&store).await == before;
        if stayed {
            break;
        }
    }
    assert!(stayed, "it stays the only one for as long as it renews");
    eventually("it leads, and says so", || {
        leaders(&replicas) == 1
            && replicas.iter().all(|replica| (replica.leading.get() == 1) == replica.leads())
    })
    .await;
}

#[tokio::test]
async fn who_stops_hands_over_and_is_not_waited_for() {
    // None of the others would come to it by itself before this test has failed.
    let (duration, deadline) = (Duration::from_secs(3600), Duration::from_secs(1800));
    let timing = Timing { duration, deadline, ..TIMING };
    let store = EmbeddedStore::in_memory().unwrap();
    let mut replicas: Vec<Replica> = (0..3).map(|_| Replica::timed(&store, timing)).collect();
    eventually("one leads", || leaders(&replicas) == 1).await;
    let first = replicas.iter().position(Replica::leads).unwrap();
    let mut stopped = replicas.remove(first);
    stopped.stop.take().unwrap().send(()).unwrap();
    eventually("the next leads", || leaders(&replicas) == 1 && !stopped.leads()).await;
    assert_eq!(stopped.leading.get(), 0);
}

#[tokio::test]
async fn a_lease_that_was_written_when_the_stop_came_is_given_back() {
    let timing = Timing { duration: Duration::from_secs(30), deadline: Duration::from_secs(20), ..TIMING };
    let timing = Timing { step: Duration::from_secs(1), ..timing };
    // Taken, and renewed: each time the stop comes before the answer.
    for verb in ["create", "update"] {
        let store = EmbeddedStore::in_memory().unwrap();
        let met = AtomicUsize::new(0);
        let troubled = Troubled::new(&store, move |call| {
            let meets = call.verb == verb && met.fetch_add(1, Ordering::SeqCst) == 0;
            std::future::ready(if meets { Fate::Silent } else { Fate::Served })
        });
        let mut replica = Replica::timed(&troubled, timing);
        let written = async || {
            let lease: Lease = store.get(&name()).await.unwrap()?;
            let spec = lease.spec?;
            (verb == "create" || spec.renew_time != spec.acquire_time).then_some(())
        };
        while written().await.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        replica.stop.take().unwrap().send(()).unwrap();
        replica.left.await.unwrap_err();
        let lease: Lease = store.get(&name()).await.unwrap().unwrap();
        assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some(""), "{verb}");
    }
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_passes_on() {
    let store = EmbeddedStore::in_memory().unwrap();
    let first = Replica::start(&store);
    eventually("the first leads", || first.leads()).await;
    let second = Replica::start(&store);
    first.task.abort();
    eventually("the second leads", || second.leads()).await;
    assert_eq!(transitions(&store).await, Some(2));
}

#[tokio::test]
async fn who_has_lost_the_lease_ends_its_controllers() {
    let store = EmbeddedStore::in_memory().unwrap();
    let replica = Replica::start(&store);
    eventually("it leads", || replica.leads()).await;
    loop {
        let mut lease: Lease = store.get(&name()).await.unwrap().unwrap();
        lease.spec.as_mut().unwrap().holder_identity = Some("somebody".to_owned());
        if store.update(&lease).await.is_ok() {
            break;
        }
    }
    eventually("it leads no more", || !replica.leads()).await;
    eventually("somebody does not renew, and it leads again", || replica.leads()).await;

    store.delete::<Lease>(&name(), &Preconditions::default()).await.unwrap();
    eventually("a deleted Lease is made anew", || replica.leads()).await;
}
