//! Knap down: what has nothing to do with Knap goes on.

use std::time::{Duration, Instant};

use k8s_openapi::api::events::v1::Event;
use knap_tests::Objects;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::{PODS, asked_as_deployed};

fn pod(annotations: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-", "annotations": annotations},
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "i"}]}})
}

/// How long it takes to let in a pod that asks for nothing.
async fn let_in(objects: &Objects) -> Duration {
    let begin = Instant::now();
    let written = objects.would_create(PODS, &pod(&json!({}))).await;
    assert_eq!(written.status, 201, "{written:?}");
    begin.elapsed()
}

#[tokio::test]
async fn pods_that_ask_for_nothing_are_let_in_while_knap_is_down() {
    let (api, mut replica) = asked_as_deployed(&[]).await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    objects.service_account("shop").await;
    let_in(&objects).await;

    // It hangs: the API server waits as long as the webhook says, and not longer.
    replica.freeze();
    let mut hung = Vec::new();
    for _ in 0..3 {
        hung.push(let_in(&objects).await);
    }
    assert!(hung.iter().all(|took| took.as_millis() >= 900), "{hung:?}");
    assert!(hung.iter().any(|took| took.as_millis() < 4000), "{hung:?}");
    // Its kernel has taken connections that nobody answers.
    replica.thaw();
    replica.stop().await;
    // It refuses connections: nobody waits.
    let mut refused = Vec::new();
    for _ in 0..5 {
        refused.push(let_in(&objects).await);
    }
    assert!(refused.iter().any(|took| took.as_millis() < 500), "{refused:?}");
    // Who asks for a Network is let in too, on this old API server, and attached to none: the next resolver says so.
    let asking = pod(&json!({"knap.github.com/networks": "blue"}));
    let written = objects.send("POST", PODS, &asking).await;
    assert_eq!(written.status, 201, "{written:?}");
    let name = written.body["metadata"]["name"].as_str().unwrap();
    replica.start();
    replica.wait_ready().await;
    let told = objects
        .eventually("an Event on the pod", async || {
            let events = objects.in_namespace::<Event>("shop").list(&ListParams::default()).await.unwrap();
            let about =
                |event: &Event| event.regarding.as_ref().and_then(|pod| pod.name.as_deref()) == Some(name);
            events.items.into_iter().find(about)
        })
        .await;
    assert_eq!((told.reason.as_deref(), told.type_.as_deref()), (Some("NetworksIgnored"), Some("Warning")));
    assert!(told.note.as_ref().is_some_and(|note| note.contains("Network shop/blue")), "{told:?}");
    println!("let in after {hung:?} where it hangs, {refused:?} where it is gone");
}
