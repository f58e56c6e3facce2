//! The store on a real Kubernetes API: the suite that every store must pass, and what only this one has to show.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Node};
use knap_api::{Network, NetworkSpec, Reservation, ReservationSpec, ReservedFor};
use knap_resolver::store::kubernetes::KubernetesStore;
use knap_resolver::store::{Kind, Labels, ObjectName, Preconditions, Store, StoreError, WatchEvent};
use knap_tests::{ADMIN, GENEROUS, KubernetesApi, NOBODY};
use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

async fn open() -> (KubernetesStore, Arc<KubernetesApi>) {
    let api = KubernetesApi::shared().await;
    (store(&api, ADMIN).await, api)
}

async fn store(api: &KubernetesApi, user: &str) -> KubernetesStore {
    KubernetesStore::new(api.config(user).await).unwrap()
}

knap_resolver::store_suite!(open());

fn reservation(name: &str, scope: Option<&str>) -> Reservation {
    let network = ReservedFor { namespace: "shop".into(), name: "blue".into(), uid: "u-1".into() };
    let scope = scope.map(str::to_owned);
    Reservation::new(name, ReservationSpec { network, cidr: None, scope, routed: false, lease: None })
}

#[tokio::test]
async fn two_stores_race_and_each_name_has_one_winner() {
    const NAMES: usize = 100;
    let (first, api) = open().await;
    let second = store(&api, ADMIN).await;
    let create = async |store: &KubernetesStore| {
        let mut won = 0;
        for index in 0..NAMES {
            match store.create(&reservation(&format!("raced-{index}"), None)).await {
                Ok(_) => won += 1,
                Err(StoreError::AlreadyExists { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        won
    };
    let (of_first, of_second): (usize, usize) = tokio::join!(create(&first), create(&second));
    assert_eq!(of_first + of_second, NAMES);

    let delete = async |store: &KubernetesStore| {
        let mut won = 0;
        for index in 0..NAMES {
            let name = ObjectName::cluster(format!("raced-{index}"));
            match store.delete::<Reservation>(&name, &Preconditions::default()).await {
                Ok(()) => won += 1,
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        won
    };
    let (of_first, of_second): (usize, usize) = tokio::join!(delete(&first), delete(&second));
    assert_eq!(of_first + of_second, NAMES);
}

#[tokio::test]
async fn namespaces_and_nodes_are_kinds_like_others() {
    let (store, _api) = open().await;
    let name = ObjectName::cluster("default");
    let mut namespace = store.get::<Namespace>(&name).await.unwrap().unwrap();
    namespace.labels_mut().insert("team".into(), "shop".into());
    let labelled = store.update(&namespace).await.unwrap();
    let team: Labels = [("team".to_owned(), Some("shop".to_owned()))].into();
    assert_eq!(names(&store.list::<Namespace>(&team).await.unwrap()), ["default"]);
    assert!(matches!(store.update(&namespace).await, Err(StoreError::Changed { .. })));
    let mut blind = labelled;
    blind.metadata.resource_version = None;
    assert!(
        matches!(store.update(&blind).await, Err(StoreError::Refused { .. })),
        "never overwritten blindly"
    );

    let mut node = Node::default();
    node.metadata.name = Some("n1".into());
    store.create(&node).await.unwrap();
    assert_eq!(names(&store.list::<Node>(&Labels::new()).await.unwrap()), ["n1"]);
    store.delete::<Node>(&ObjectName::cluster("n1"), &Preconditions::default()).await.unwrap();
}

#[tokio::test]
async fn a_missing_namespace_is_named() {
    let (store, _api) = open().await;
    let mut network = Network::new("blue", NetworkSpec::default());
    network.metadata.namespace = Some("nowhere".into());
    let refused = store.create(&network).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused:?}");
    assert!(refused.to_string().contains(r#"namespaces "nowhere" not found"#), "{refused}");
}

#[tokio::test]
async fn names_that_are_no_names_do_not_exist() {
    let (store, _api) = open().await;
    for name in ["", "a/b", "..", "a?b=c", "A"] {
        let name = ObjectName::cluster(name);
        assert!(store.get::<Reservation>(&name).await.unwrap().is_none(), "{name}");
        let deleted = store.delete::<Reservation>(&name, &Preconditions::default()).await;
        assert!(matches!(deleted, Err(StoreError::NotFound { .. })), "{name}: {deleted:?}");
    }
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let (_, api) = open().await;
    let store = store(&api, NOBODY).await;
    let created = store.create(&reservation("forbidden", None)).await.unwrap_err();
    assert!(matches!(created, StoreError::Refused { .. }), "{created:?}");
    assert!(
        created.to_string().contains(r#"User "nobody" cannot create resource "reservations""#),
        "{created}"
    );
    let listed = store.list::<Reservation>(&Labels::new()).await.unwrap_err();
    assert!(matches!(listed, StoreError::Unavailable { .. }), "{listed:?}");
    let cause = std::error::Error::source(&listed).unwrap().to_string();
    assert!(cause.contains(r#"User "nobody" cannot list resource "reservations""#), "{cause}");
}

/// Reservations as somebody else understands them: some have no scope, and can't be read so.
#[derive(CustomResource, Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[kube(group = "knap.github.com", version = "v1alpha1", kind = "ScopedReservation", plural = "reservations")]
struct ScopedReservationSpec {
    scope: String,
}

#[tokio::test]
async fn an_object_that_can_not_be_understood_hides_no_other() {
    let (store, _api) = open().await;
    store.create(&reservation("scopeless", None)).await.unwrap();
    store.create(&reservation("scoped", Some("dc-a"))).await.unwrap();
    let mut watch = store.watch::<ScopedReservation>();
    let mut told = Vec::new();
    let deadline = tokio::time::timeout(GENEROUS, async {
        loop {
            match watch.next().await.unwrap() {
                WatchEvent::Restarted => told.clear(),
                WatchEvent::Current => return,
                WatchEvent::Existing(object) => told.push(object.name_any()),
                _ => {}
            }
        }
    });
    deadline.await.unwrap();
    assert!(told.contains(&"scoped".to_owned()) && !told.contains(&"scopeless".to_owned()), "{told:?}");
    let listed = store.list::<ScopedReservation>(&Labels::new()).await;
    assert!(matches!(listed, Err(StoreError::Unavailable { .. })), "a list is whole, or none");
}

fn names<K: Kind>(objects: &[K]) -> Vec<String> {
    objects.iter().map(ResourceExt::name_any).collect()
}
