//! The store while its API server or etcd is killed, hangs, forgets, or does not know Knap's kinds yet. Each test has an
//! API of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use knap_api::{Reservation, ReservationSpec, ReservedFor};
use knap_protocol::NetworkView;
use knap_resolver::store::kubernetes::KubernetesStore;
use knap_resolver::store::{Labels, ObjectName, Preconditions, Store, StoreError, WatchEvent};
use knap_tests::{ADMIN, Cluster, Fate, GENEROUS, KubernetesApi};
use kube::ResourceExt;
use serde_json::json;

/// More than a call may take, and less than a test's patience.
const BOUNDED: Duration = Duration::from_secs(20);

async fn start() -> (KubernetesStore, KubernetesApi) {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    (store(&api).await, api)
}

async fn store(api: &KubernetesApi) -> KubernetesStore {
    KubernetesStore::new(api.config(ADMIN).await).unwrap()
}

fn reservation(name: &str) -> Reservation {
    let network = ReservedFor { namespace: "shop".into(), name: "blue".into(), uid: "u-1".into() };
    Reservation::new(name, ReservationSpec { network, cidr: None, scope: None, routed: false, lease: None })
}

async fn create(store: &KubernetesStore, name: &str) {
    store.create(&reservation(name)).await.unwrap();
}

async fn delete(store: &KubernetesStore, name: &str) {
    store.delete::<Reservation>(&ObjectName::cluster(name), &Preconditions::default()).await.unwrap();
}

/// What somebody knows who has only the watch.
struct View<W> {
    watch: W,
    objects: BTreeMap<String, Reservation>,
    current: bool,
    restarts: usize,
}

impl<W: Stream<Item = WatchEvent<Reservation>> + Unpin> View<W> {
    /// A view that is current.
    async fn of(watch: W) -> Self {
        let mut view = Self { watch, objects: BTreeMap::new(), current: false, restarts: 0 };
        view.wait(|view| view.current).await;
        view
    }

    async fn shows(&mut self, names: &[&str]) {
        self.wait(|view| view.current && view.objects.keys().eq(names)).await;
    }

    async fn wait(&mut self, until: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !until(self) {
            let left = GENEROUS.saturating_sub(begin.elapsed());
            let event = tokio::time::timeout(left, self.watch.next()).await;
            let event = event.unwrap_or_else(|_| panic!("stays at {:?}", self.objects.keys()));
            self.learn(event.expect("a watch never ends"));
        }
    }

    fn learn(&mut self, event: WatchEvent<Reservation>) {
        match event {
            WatchEvent::Restarted => {
                self.objects.clear();
                self.restarts += 1;
                self.current = false;
            }
            WatchEvent::Current => self.current = true,
            WatchEvent::Existing(object) | WatchEvent::Applied(object) => {
                self.objects.insert(object.name_any(), object);
            }
            WatchEvent::Deleted(object) => {
                self.objects.remove(&object.name_any()).expect("the deletion of something known");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_outlives_the_api_server() {
    let (store, mut api) = start().await;
    create(&store, "before").await;
    let mut view = View::of(store.watch()).await;
    for _ in 0..2 {
        api.kill_server();
        api.restart_server().await;
        delete(&store, "before").await;
        create(&store, "after").await;
        view.shows(&["after"]).await;
        delete(&store, "after").await;
        create(&store, "before").await;
        view.shows(&["before"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_begins_anew_when_its_place_in_history_is_forgotten() {
    let (store, mut api) = start().await;
    create(&store, "gone").await;
    let mut view = View::of(store.watch()).await;
    view.shows(&["gone"]).await;
    // Nobody reads the watch meanwhile.
    api.kill_server();
    api.restart_server().await;
    delete(&store, "gone").await;
    for round in 0..50 {
        create(&store, &format!("new-{round}")).await;
        delete(&store, &format!("new-{round}")).await;
    }
    create(&store, "new").await;
    api.kill_server();
    api.compact();
    api.restart_server().await;
    view.shows(&["new"]).await;
    assert!(view.restarts > 1, "the deletion was told by a new beginning");
    create(&store, "newer").await;
    view.shows(&["new", "newer"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_outlives_etcd() {
    let (store, mut api) = start().await;
    let mut view = View::of(store.watch()).await;
    api.kill_etcd();
    assert_unavailable(&store).await;
    api.restart_etcd().await;
    // The API server's client of etcd for this kind is back a moment after the one that it looks by whether it is ready.
    let served = async || match store.create(&reservation("after")).await {
        Ok(_) | Err(StoreError::AlreadyExists { .. }) => Some(()),
        Err(StoreError::Unavailable { .. }) => None,
        Err(error) => panic!("{error:?}"),
    };
    api.objects().await.eventually("its kind is served again", served).await;
    view.shows(&["after"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_api_server_every_call_says_so_in_time() {
    let (store, mut api) = start().await;
    create(&store, "there").await;
    api.pause_server();
    assert_unavailable(&store).await;
    api.resume_server();
    api.kill_server();
    assert_unavailable(&store).await;
    api.restart_server().await;
    // What was tried meanwhile may have happened or not; it is settled by trying it again under the same name.
    let again = store.create(&reservation("tried")).await;
    assert!(matches!(again, Ok(_) | Err(StoreError::AlreadyExists { .. })), "{again:?}");
}

/// Creates `tried`, deletes `condemned`, reads: each is answered in time, and none of them as if it knew.
async fn assert_unavailable(store: &KubernetesStore) {
    let begin = Instant::now();
    let (tried, name) = (reservation("tried"), ObjectName::cluster("condemned"));
    let (none, all) = (Preconditions::default(), Labels::new());
    let (created, deleted, read, listed) = tokio::join!(
        store.create(&tried),
        store.delete::<Reservation>(&name, &none),
        store.get::<Reservation>(&name),
        async {
            tokio::time::timeout(BOUNDED * 2, store.list::<Reservation>(&all)).await.expect("a bounded list")
        },
    );
    assert!(begin.elapsed() < BOUNDED * 2, "{:?}", begin.elapsed());
    for error in [created.err(), deleted.err(), read.err(), listed.err()] {
        let error = error.expect("no success without an API server");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(
            error.to_string().contains("Reservation") || error.to_string().contains("reservations"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_definitions_are_named_and_waited_for() {
    let api = KubernetesApi::start().await;
    let store = store(&api).await;
    let watch = tokio::spawn({
        let watch = store.watch();
        async move { View::of(watch).await.current }
    });
    let name = ObjectName::cluster("blue");
    for error in [
        store.get::<Reservation>(&name).await.err(),
        store.create(&reservation("blue")).await.err(),
        store.list::<Reservation>(&Labels::new()).await.err(),
        store.delete::<Reservation>(&name, &Preconditions::default()).await.err(),
    ] {
        let error = error.expect("no answer about an unknown kind");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            cause.contains("reservations.knap.github.com") && cause.contains("apply Knap's CRDs"),
            "{cause}"
        );
    }
    api.install_crds().await;
    assert!(watch.await.unwrap(), "the watch begins as soon as it can");
    create(&store, "blue").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_on_a_dead_connection_is_begun_again() {
    let cluster = Cluster::shared().await;
    let objects = cluster.api.objects().await;
    let proxy = cluster.api.proxy().await;
    let mut replica = cluster.api.replica(&[&proxy.flag()]).with("KNAP_WATCH_SECONDS", "6,10");
    replica.start();
    replica.wait_ready().await;
    objects.namespace("silent", &[]).await;
    let knows = async |network: &str| {
        objects.network(network, json!({"provider": "bridge"})).await;
        objects.ready(network).await;
        let known = async || {
            let known: Vec<NetworkView> = replica.ask("GET", "/v1/networks", None).await?.json();
            known.iter().any(|known| known.network.to_string() == network).then_some(())
        };
        objects.eventually("the replica knows the Network", known).await;
    };
    knows("silent/before").await;
    assert!(!replica.log().contains("can't watch"), "a turn is no trouble");
    // Nobody says that they are dead: neither the API server's end of the turn comes through, nor one of TCP.
    proxy.silence();
    knows("silent/after").await;
    // By the connection's own silence: the watcher itself would begin again five seconds after a turn, and say nothing.
    replica.wait_logged("can't watch; trying again until it succeeds").await;
    replica.wait_logged("watching again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_answer_holds_up_neither_readiness_nor_networks_nor_certificates() {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    api.install_multus_crd().await;
    let (proxy, never) = (api.proxy().await, Fate::Late(GENEROUS * 60));
    let webhooks = "get validatingwebhookconfigurations";
    proxy.once(webhooks, never.clone());
    let mut replica = api.replica(&[&proxy.flag()]).with("KNAP_CERTIFICATE_SECONDS", "2000,1000,100");
    replica.start();
    replica.wait_ready().await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    objects.network("shop/blue", json!({"provider": "bridge"})).await;
    objects.network_with("shop/blue", "Published", "True", "").await;

    // The definitions seem to be away, and the API server does not say whether it still has the kind.
    let discovery = "list ";
    let asked = proxy.seen(discovery);
    proxy.on(discovery, never);
    proxy.on("patch network-attachment-definitions", Fate::Refused(503));
    objects.network("shop/red", json!({"provider": "bridge"})).await;
    objects.eventually("it asks", async || (proxy.seen(discovery) > asked).then_some(())).await;
    proxy.heal();
    objects.delete_network("shop/blue").await;
    objects.gone("shop/blue").await;
    objects.network_with("shop/red", "Published", "True", "").await;
    let again = async || (proxy.seen(webhooks) > 1).then_some(());
    objects.eventually("the webhooks are looked at again", again).await;
}
