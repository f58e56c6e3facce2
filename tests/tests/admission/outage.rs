//! Knap down: what has nothing to do with Knap goes on.

use std::time::{Duration, Instant};

use knap_tests::Objects;
use serde_json::{Value, json};

use crate::{PODS, asked};

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
    let (api, mut replica) = asked(&[]).await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    objects.service_account("shop").await;
    let_in(&objects).await;

    // It hangs: the API server waits as long as the webhook says, and not longer.
    replica.freeze();
    let hung = let_in(&objects).await;
    assert!((900..4000).contains(&hung.as_millis()), "{hung:?}");
    // Its kernel has taken connections that nobody answers.
    replica.thaw();
    replica.stop().await;
    // It refuses connections: nobody waits.
    let mut refused = Vec::new();
    for _ in 0..5 {
        refused.push(let_in(&objects).await);
    }
    assert!(refused.iter().any(|took| took.as_millis() < 500), "{refused:?}");
    println!("let in after {hung:?} where it hangs, {refused:?} where it is gone");
}
