//! Networks that were made known, and are not served any more.

use std::sync::Arc;
use std::time::Duration;

use knap_api::{Network, NetworkClass};
use knap_core::Class;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::oneshot;

use super::fabric;
use crate::provision::{News, Provisioner, Published, Rules, Subject, Surroundings, display_name};
use crate::store::{ObjectName, Preconditions, Store, StoreError};
use crate::testing::World;
use crate::view::View;

/// A Network to keep known, and the class that served it.
type Kept = (String, Option<String>);

/// Those around are asked to keep Networks known, and can't.
#[derive(Clone, Default)]
struct Forgetful(Arc<Mutex<Vec<Kept>>>);

impl Surroundings for Forgetful {
    async fn publish(&self, subject: &Subject<'_>) -> Result<Option<Published>, StoreError> {
        Ok(Some(Published { names: vec![subject.intent.owner.to_string()], trouble: None }))
    }

    async fn keep(&self, network: &Network, class: Option<&Class>) -> Result<Option<Published>, StoreError> {
        self.0.lock().push((display_name(network), class.map(|class| class.name.clone())));
        Err(StoreError::Unavailable { action: "apply".to_owned(), source: "no answer".into() })
    }

    async fn withdraw(&self, _: &ObjectName) -> Result<(), StoreError> {
        Ok(())
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn tell(&self, _: &Network, _: News) {}
}

impl Forgetful {
    async fn until_asked(&self, class: Option<&str>) {
        let wanted = ("shop/blue".to_owned(), class.map(str::to_owned));
        for _ in 0..2000 {
            if self.0.lock().contains(&wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not asked for {wanted:?}: {:?}", self.0.lock());
    }
}

#[tokio::test]
async fn who_was_served_stays_known_by_its_class_and_who_never_was_does_not() {
    let mut world = World::new().await;
    world.stop_controller().await;
    let around = Forgetful::default();
    let (view, mut tasks) = View::follow(&world.store);
    let provisioner = Provisioner::among(around.clone(), world.store.clone(), view, Rules::default());
    tasks.spawn(provisioner.run(oneshot::channel().0));
    world.class("fab", fabric(&json!({"allowRequestedSubnets": false}))).await;
    world.ready_network("shop/blue", json!({"class": "fab"})).await;
    world.network("shop/never", json!({"class": "fab", "subnets": ["10.64.9.0/24"]})).await;
    world.edit("shop/blue", |network| network.spec.subnets = vec!["10.64.9.0/24".to_owned()]).await;
    // That it can't be kept keeps nobody from being told why it is not served.
    for name in ["shop/blue", "shop/never"] {
        world.refusal(name, "NotOffered").await;
    }
    around.until_asked(Some("fab")).await;
    let status = world.get("shop/blue").await.unwrap().status.unwrap();
    assert_eq!(status.network_attachment_definitions, ["shop/blue"]);

    let fab = ObjectName::cluster("fab");
    world.store.delete::<NetworkClass>(&fab, &Preconditions::default()).await.unwrap();
    world.refusal("shop/blue", "NoClass").await;
    around.until_asked(None).await;
    assert!(around.0.lock().iter().all(|(name, _)| name == "shop/blue"));
}
