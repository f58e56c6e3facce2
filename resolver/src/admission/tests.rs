//! Reviews over the embedded store, with a controller beside.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use knap_api::{Network, NetworkClass};
use serde_json::{Value, json};

use super::{Policy, Question, RawAttachments, Subject, Verdict, answer};
use crate::provision::Rules;
use crate::store::Store;
use crate::testing::{Replica, Troubled, World};
use crate::view::View;

/// Asks as the API server does.
async fn review(world: &World, subject: Subject, operation: &str, object: &Value, old: &Value) -> Verdict {
    review_by(world, &world.replica.view, subject, operation, object, old).await
}

/// The same, of the replica that has this view.
async fn review_by(
    world: &World,
    view: &Arc<View>,
    subject: Subject,
    operation: &str,
    object: &Value,
    old: &Value,
) -> Verdict {
    let body = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "r-1", "operation": operation, "namespace": "shop", "object": object, "oldObject": old}
    });
    let question = Question::read(body.to_string().as_bytes()).unwrap();
    let policy = Policy { rules: Rules { sticky: false }, raw_attachments: RawAttachments::default() };
    let read = policy.read(&world.store, view, subject, &question).await.unwrap();
    let verdict = policy.decide(view, subject, &question, &read).await;
    let answer = serde_json::to_value(answer(&question, &verdict)).unwrap();
    assert_eq!(answer["response"]["uid"], "r-1");
    assert_eq!(answer["response"]["allowed"], verdict.refused.is_none());
    verdict
}

fn network(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "knap.github.com/v1alpha1", "kind": "Network",
        "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
}

fn class(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "knap.github.com/v1alpha1", "kind": "NetworkClass", "metadata": {"name": name}, "spec": spec})
}

/// A class of macvlan that lets Networks name their subnets.
fn fabric(more: &Value) -> Value {
    let mut spec = json!({
        "provider": "macvlan", "fabric": "dc-a", "uplinks": [{"interface": "up0"}], "allowRequestedSubnets": true,
        "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// The class `fab`, and `shop/blue` on 10.64.0.0/24 of it.
async fn served() -> World {
    let world = World::new().await;
    world.class("fab", fabric(&json!({}))).await;
    world.ready_network("shop/blue", json!({"class": "fab", "subnets": ["10.64.0.0/24"]})).await;
    world
}

fn refusal(verdict: &Verdict) -> &str {
    let refused = verdict.refused.as_ref().unwrap_or_else(|| panic!("not refused: {verdict:?}"));
    &refused.message
}

#[tokio::test]
async fn what_conflicts_is_refused_with_a_way_out() {
    let world = served().await;
    let ask = async |spec: Value| {
        review(&world, Subject::Network, "CREATE", &network("red", &spec), &Value::Null).await
    };
    assert_eq!(ask(json!({"class": "fab"})).await, Verdict::allowed());
    let verdict = ask(json!({"class": "fab", "subnets": ["10.64.0.128/25"]})).await;
    let why = "Network shop/red would not be served: subnet 10.64.0.128/25 conflicts with 10.64.0.0/24, which belongs to \
               Network shop/blue: change spec.subnets (10.64.1.0/25 is free); if that Network goes, this one will be \
               served by itself";
    assert_eq!(refusal(&verdict), why);
    let verdict = ask(json!({"class": "none"})).await;
    assert!(
        verdict.refused.is_none() && verdict.warnings[0].contains("\"none\" does not exist"),
        "{verdict:?}"
    );
    // Nothing has happened.
    assert_eq!(world.reservations().await.len(), 2);
}

/// The clock of an API server shows seconds: in one of them, UIDs tell nothing of who came first.
#[tokio::test]
async fn what_is_made_in_the_same_second_is_later() {
    let world = World::new().await;
    world.class("few", fabric(&json!({"access": {"networksPerNamespace": 1}}))).await;
    let blue = world.ready_network("shop/blue", json!({"class": "few"})).await;
    let few = world.replica.view.classes.all().remove(0);
    let mut red = network("red", &json!({"class": "few"}));
    let mut another = class("another", &fabric(&json!({"fabric": "dc-b"})));
    for (object, there) in [(&mut red, &blue.metadata), (&mut another, &few.metadata)] {
        object["metadata"]["creationTimestamp"] = json!(there.creation_timestamp);
        object["metadata"]["uid"] = json!("0");
    }
    let verdict = review(&world, Subject::Network, "CREATE", &red, &Value::Null).await;
    assert!(refusal(&verdict).contains("has its 1 Networks of NetworkClass \"few\" already"), "{verdict:?}");
    let verdict = review(&world, Subject::NetworkClass, "CREATE", &another, &Value::Null).await;
    assert!(refusal(&verdict).contains("of NetworkClass \"few\" already"), "{verdict:?}");
    // As the controller has it, too, of what is there.
    let changed = review(&world, Subject::Network, "UPDATE", &red, &network("red", &json!({}))).await;
    assert!(refusal(&changed).contains("has its 1 Networks"), "{changed:?}");
}

#[tokio::test]
async fn the_trial_says_what_the_controller_says() {
    let world = served().await;
    world.class("tiny", fabric(&json!({"subnets": [{"cidr": "10.65.0.0/24", "prefixLength": 24}]}))).await;
    world.class("one", fabric(&json!({"access": {"networksPerNamespace": 0}}))).await;
    world.class("other", fabric(&json!({"fabric": "dc-b"}))).await;
    let cases = [
        json!({"class": "fab"}),
        json!({"class": "fab", "subnets": ["10.64.0.0/24"]}),
        json!({"class": "fab", "subnets": ["10.65.0.0/24"]}),
        json!({"class": "fab", "subnets": ["10.64.9.1/24"]}),
        json!({"class": "fab", "requires": {"isolation": true}}),
        json!({"class": "fab", "ipam": "None", "reserved": ["10.64.0.1"]}),
        json!({"class": "fab", "addressPolicy": "Sticky"}),
        json!({"class": "fab", "routes": [{"destination": "10.0.0.0/8", "gateway": "10.99.0.1"}]}),
        json!({"class": "tiny"}),
        json!({"class": "tiny"}),
        json!({"class": "one"}),
        json!({"class": "other"}),
        json!({"class": "none"}),
        json!({"provider": "bridge"}),
        json!({"provider": "sriov"}),
        json!({}),
    ];
    for (index, spec) in cases.into_iter().enumerate() {
        let name = format!("n{index}");
        let verdict = review(&world, Subject::Network, "CREATE", &network(&name, &spec), &Value::Null).await;
        let said = verdict.refused.map(|refused| refused.message).or(verdict.warnings.into_iter().next());
        let name = format!("shop/{name}");
        world.network(&name, spec.clone()).await;
        let decided = |network: &Network| crate::provision::condition(network, "Ready").is_some();
        let network = world.until(&name, "decided", decided).await;
        let ready = crate::provision::condition(&network, "Ready").unwrap();
        if crate::provision::is_ready(&network) {
            assert_eq!(said, None, "{spec}");
            world.until_ready(&name).await;
        } else {
            let expected = format!("Network {name} would not be served: {}", ready.message);
            assert_eq!(said, Some(expected), "{spec}");
        }
    }
}

#[tokio::test]
async fn what_attachments_use_stays() {
    let world = served().await;
    world.attach("c1", json!({})).await.unwrap();
    let old = serde_json::to_value(world.get("shop/blue").await.unwrap()).unwrap();
    crate::testing::eventually("the lease is seen", || {
        let name = "shop/blue".parse().unwrap();
        world.replica.view.leases.slots_of(&name, old["metadata"]["uid"].as_str().unwrap()).len() == 1
    })
    .await;
    let ask = async |spec: Value| {
        let mut new = old.clone();
        new["spec"] = spec;
        review(&world, Subject::Network, "UPDATE", &new, &old).await
    };
    let same = ask(old["spec"].clone()).await;
    assert_eq!(same, Verdict::allowed());
    let more = ask(json!({"class": "fab", "subnets": ["10.64.5.0/24", "10.64.0.0/24"]})).await;
    assert_eq!(more, Verdict::allowed());
    let fewer = ask(json!({"class": "fab", "subnets": ["10.64.5.0/24"]})).await;
    assert!(refusal(&fewer).contains("10.64.0.0/24 can't be removed while 1 attachments"), "{fewer:?}");
    world.class("next", fabric(&json!({}))).await;
    crate::testing::eventually("the class is seen", || world.replica.view.classes.len() == 2).await;
    let moved = ask(json!({"class": "next", "subnets": ["10.64.0.0/24"]})).await;
    let refused = refusal(&moved);
    assert!(refused.contains("the class can't change while 1 attachments run"), "{refused}");
    let layer_two = ask(json!({"class": "fab", "ipam": "None"})).await;
    assert!(refusal(&layer_two).contains("10.64.0.0/24 can't be removed"), "{layer_two:?}");
    // It is going, and its finalizer is taken off.
    let mut going = old.clone();
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    going["spec"] = json!({"class": "next"});
    let verdict = review(&world, Subject::Network, "UPDATE", &going, &old).await;
    assert_eq!(verdict, Verdict::allowed());
    let deleted = review(&world, Subject::Network, "DELETE", &Value::Null, &old).await;
    assert_eq!(deleted, Verdict::allowed());
}

/// Its view may be behind the deletion: then only the API server knows whether there is one of that name.
#[tokio::test]
async fn a_namesake_in_the_picture_vouches_for_nothing() {
    let world = World::new().await;
    let two = json!({"access": {"networksPerNamespace": 2}, "subnets": [{"cidr": "10.64.0.0/23", "prefixLength": 24}]});
    world.class("fab", fabric(&two)).await;
    for (name, subnet) in [("shop/blue", "10.64.0.0/24"), ("shop/red", "10.64.1.0/24")] {
        world.ready_network(name, json!({"class": "fab", "subnets": [subnet]})).await;
    }
    let behind = Replica::over(&Troubled::held_back(&world.store)).await;
    world.remove("shop/blue").await;
    let ask = async |view: &Arc<View>, subnet: &str| {
        let object = network("blue", &json!({"class": "fab", "subnets": [subnet]}));
        review_by(&world, view, Subject::Network, "CREATE", &object, &Value::Null).await
    };
    let verdict = ask(&behind.view, "10.64.1.0/24").await;
    assert!(refusal(&verdict).contains("belongs to Network shop/red"), "{verdict:?}");
    // In its place there is room, as there is for what it had.
    assert_eq!(ask(&behind.view, "10.64.0.0/24").await, Verdict::allowed());

    world.ready_network("shop/blue", json!({"class": "fab", "subnets": ["10.64.0.0/24"]})).await;
    world.attach("c1", json!({})).await.unwrap();
    let used = Replica::over(&Troubled::held_back(&world.store)).await;
    let verdict = ask(&used.view, "10.64.0.0/24").await;
    assert!(
        verdict.refused.is_none() && verdict.warnings[0].contains("still has attachments"),
        "{verdict:?}"
    );
}

#[tokio::test]
async fn who_changes_something_else_is_not_to_blame() {
    let world = served().await;
    world.network("shop/red", json!({"class": "fab", "subnets": ["10.64.0.0/25"]})).await;
    world.refusal("shop/red", "Conflict").await;
    let old = serde_json::to_value(world.get("shop/red").await.unwrap()).unwrap();
    let mut new = old.clone();
    new["spec"]["dns"] = json!({"nameservers": ["10.64.0.2"]});
    let verdict = review(&world, Subject::Network, "UPDATE", &new, &old).await;
    assert!(verdict.refused.is_none() && verdict.warnings[0].contains("shop/blue"), "{verdict:?}");
    new["spec"]["subnets"] = json!(["10.64.0.0/26"]);
    let verdict = review(&world, Subject::Network, "UPDATE", &new, &old).await;
    assert!(refusal(&verdict).contains("10.64.0.0/26"), "{verdict:?}");
}

#[tokio::test]
async fn a_class_keeps_what_its_networks_need() {
    let world = served().await;
    world.attach("c1", json!({})).await.unwrap();
    let old = class("fab", &fabric(&json!({})));
    let ask =
        async |spec: Value| review(&world, Subject::NetworkClass, "UPDATE", &class("fab", &spec), &old).await;
    assert_eq!(ask(fabric(&json!({"features": {"mtu": 9000}}))).await, Verdict::allowed());
    for (change, why) in [
        (json!({"allowRequestedSubnets": false}), "does not allow requested subnets"),
        (json!({"subnets": [{"cidr": "10.70.0.0/16", "prefixLength": 24}]}), "outside of the address space"),
        (json!({"provider": "bridge"}), "the provider can't change while 1 attachments run (it was macvlan"),
        (json!({"uplinks": []}), "provider macvlan needs uplinks"),
        (json!({"provider": "acme"}), "there is no provider \"acme\""),
        (json!({"subnets": [{"cidr": "10.70.0.0/16", "prefixLength": 8}]}), "prefixLength 8"),
    ] {
        let verdict = ask(fabric(&change)).await;
        assert!(refusal(&verdict).contains(why), "{change}: {verdict:?}");
    }
    let other = class("other", &fabric(&json!({"fabric": "dc-b"})));
    let verdict = review(&world, Subject::NetworkClass, "CREATE", &other, &Value::Null).await;
    assert!(refusal(&verdict).contains("set spec.fabric: dc-a"), "{verdict:?}");
}

#[tokio::test]
async fn a_bridges_port_is_not_shared_with_macvlan() {
    let world = served().await;
    let port = |more: Value| {
        let mut spec = fabric(&json!({"provider": "bridge"}));
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let why = "NetworkClass \"port\" uses interface up0 of every node by provider bridge, which NetworkClass \"fab\" uses by \
               provider macvlan already, and a bridge's port is nobody else's: use another interface, or one provider for both";
    let created = class("port", &port(json!({})));
    let verdict = review(&world, Subject::NetworkClass, "CREATE", &created, &Value::Null).await;
    assert_eq!(refusal(&verdict), why);
    let elsewhere = class("port", &port(json!({"uplinks": [{"interface": "up1"}]})));
    let verdict = review(&world, Subject::NetworkClass, "CREATE", &elsewhere, &Value::Null).await;
    assert_eq!(verdict, Verdict::allowed());

    world.class("port", port(json!({"uplinks": [{"interface": "up1"}]}))).await;
    world.ready_network("shop/red", json!({"class": "port"})).await;
    let verdict = review(&world, Subject::NetworkClass, "UPDATE", &created, &elsewhere).await;
    assert_eq!(refusal(&verdict), why);
    // The earlier one may not drive it out either.
    let mut classes = world.replica.view.classes.all();
    classes.retain(|class| class.metadata.name.as_deref() == Some("fab"));
    let old = serde_json::to_value(&*classes[0]).unwrap();
    let mut new = old.clone();
    new["spec"]["uplinks"] = json!([{"interface": "up1"}]);
    let verdict = review(&world, Subject::NetworkClass, "UPDATE", &new, &old).await;
    let driven_out =
        "Network shop/red would not be served any more: NetworkClass \"port\" uses interface up1";
    assert!(refusal(&verdict).starts_with(driven_out), "{verdict:?}");

    // Where nobody asked, its Networks say so.
    world.edit_class("port", port(json!({}))).await;
    assert_eq!(world.refusal("shop/red", "InvalidClass").await, why);
    world.edit_class("fab", fabric(&json!({"uplinks": [{"interface": "up1"}]}))).await;
    world.until_ready("shop/red").await;
}

#[tokio::test]
async fn the_clusters_own_networks_are_left_alone() {
    let world = World::new().await;
    let node = json!({
        "metadata": {"name": "n1"}, "spec": {"podCIDR": "10.64.0.0/23"},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.64.3.9"}]}
    });
    let node: Node = serde_json::from_value(node).unwrap();
    let mut created = world.store.create(&node).await.unwrap();
    created.status = node.status;
    world.store.update_status(&created).await.unwrap();
    crate::testing::eventually("the node is seen", || {
        let known = world.replica.view.cluster_networks();
        known.conflict("10.64.3.0/24".parse().unwrap(), &[], || None).is_some()
    })
    .await;
    let spec = fabric(&json!({}));
    let verdict = review(&world, Subject::NetworkClass, "CREATE", &class("fab", &spec), &Value::Null).await;
    assert!(
        verdict.warnings[0].contains("of 10.64.0.0/16, 10.64.0.0/23 is left out, the pod network of node n1"),
        "{verdict:?}"
    );
    let inside = fabric(&json!({"subnets": [{"cidr": "10.64.1.0/24", "prefixLength": 28}]}));
    let verdict = review(&world, Subject::NetworkClass, "CREATE", &class("fab", &inside), &Value::Null).await;
    assert!(refusal(&verdict).contains("the pod network of node n1"), "{verdict:?}");

    world.class("fab", spec).await;
    let carved = world.ready_network("shop/carved", json!({"class": "fab"})).await;
    assert_eq!(carved.status.unwrap().subnets[0].cidr, "10.64.2.0/24");
    let pods = json!({"class": "fab", "subnets": ["10.64.1.0/24"]});
    let verdict = review(&world, Subject::Network, "CREATE", &network("pods", &pods), &Value::Null).await;
    assert!(refusal(&verdict).contains("overlaps 10.64.0.0/23, the pod network of node n1"), "{verdict:?}");
    world.network("shop/pods", pods).await;
    let message = world.refusal("shop/pods", "ClusterConflict").await;
    assert!(message.contains("(10.64.4.0/24 is free)"), "{message}");
    let beside = json!({"class": "fab", "subnets": ["10.64.3.0/24"]});
    let verdict = review(&world, Subject::Network, "CREATE", &network("beside", &beside), &Value::Null).await;
    assert!(refusal(&verdict).contains("holds 10.64.3.9, an address of node n1"), "{verdict:?}");
    let reserving = json!({"class": "fab", "subnets": ["10.64.3.0/24"], "reserved": ["10.64.3.0/28"]});
    world.ready_network("shop/beside", reserving).await;
}

#[test]
fn older_and_stranger_shapes_are_read() {
    let question = |object: Value| {
        let body = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "more": 1,
            "request": {"uid": "r", "operation": "CREATE", "object": object, "kind": {"group": "x"}}
        });
        Question::read(body.to_string().as_bytes()).unwrap()
    };
    question(json!({"metadata": {"name": "a"}, "spec": {}})).object::<Network>().unwrap();
    let error =
        question(json!({"metadata": {"name": "a"}, "spec": {"subnet": 1}})).object::<Network>().unwrap_err();
    assert!(error.contains("subnet"), "{error}");
    question(json!(null)).object::<NetworkClass>().unwrap_err();
    for body in
        ["", "[]", "{}", "null", r#"{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}"#]
    {
        Question::read(body.as_bytes()).unwrap_err();
    }
    let answered =
        r#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": "r"}}"#;
    assert!(Question::read(answered.as_bytes()).unwrap_err().to_string().contains("no request"));
}

#[tokio::test]
async fn a_class_keeps_its_networks_apart() {
    let bridges = |more: Value| {
        let mut spec = json!({
            "provider": "bridge", "addressScope": "Segment", "parameters": {"isGateway": false},
            "allowRequestedSubnets": true, "subnets": [{"cidr": "10.64.0.0/23", "prefixLength": 24}]
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let world = World::new().await;
    world.class("own", bridges(json!({}))).await;
    for name in ["shop/a", "shop/b"] {
        world.ready_network(name, json!({"class": "own"})).await;
    }
    let old = class("own", &bridges(json!({})));
    let ask =
        async |spec: Value| review(&world, Subject::NetworkClass, "UPDATE", &class("own", &spec), &old).await;
    let (routed, unique) =
        (bridges(json!({"parameters": {"isGateway": true}})), bridges(json!({"addressScope": "Cluster"})));
    // One of them would move, and there is just room enough.
    for spec in [&routed, &unique] {
        assert_eq!(ask(spec.clone()).await, Verdict::allowed());
    }
    for name in ["shop/a", "shop/b"] {
        world.edit(name, |network| network.spec.subnets = vec!["10.64.0.0/24".to_owned()]).await;
        world.until_ready(name).await;
    }
    for (spec, network) in [(&routed, "shop/b"), (&unique, "shop/a")] {
        let verdict = ask(spec.clone()).await;
        let why = refusal(&verdict);
        assert!(
            why.contains(&format!("Network {network} would not")) && why.contains("conflicts with"),
            "{why}"
        );
    }
    world.edit("shop/b", |network| network.spec.subnets = vec!["10.64.1.0/24".to_owned()]).await;
    world.until_ready("shop/b").await;
    world.attach("c1", json!({"network": "shop/b"})).await.unwrap();
    crate::testing::eventually("the lease is seen", || {
        let known = world.replica.view.network(&"shop/b".parse().unwrap());
        known.is_some_and(|known| {
            world.replica.view.leases.count_of_uid(known.metadata.uid.as_deref().unwrap()) == 1
        })
    })
    .await;
    for (spec, what) in [(&routed, "whether hosts route its subnets"), (&unique, "the address scope")] {
        let verdict = ask(spec.clone()).await;
        let why = refusal(&verdict);
        assert!(why.contains("Network shop/b would not be served any more") && why.contains(what), "{why}");
    }
}
