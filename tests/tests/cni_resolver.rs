//! A resolver that is down, slow, refuses, lies, or dies between request and answer.

use std::time::{Duration, Instant};

use knap_tests::{Behaviour, Call, Host, Wire, eventually, thin_config};
use rstest::rstest;
use serde_json::json;

/// Calls the plugin until nothing is left, as a node that goes on working does.
fn settle(host: &Host) {
    eventually("an unanswered request is flushed after its deadline", || {
        host.reap();
        let clean = host.ledger.traces().is_empty() && host.resolver.leases("shop/blue").is_empty();
        clean.then_some(())
    });
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    host.assert_nothing_left("shop/blue");
}

#[rstest]
fn one_that_is_down_leaves_nothing_at_all(#[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    host.resolver.stop();
    let begin = Instant::now();
    let answer = Call::add("c1", &pod, &thin_config("shop/blue", version)).run(&host);
    answer.fails(11, &[&host.resolver.endpoint()]);
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    assert_eq!(host.ledger.traces(), Vec::<String>::new());
    host.resolver.start();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn one_that_does_not_answer_costs_ten_seconds_and_is_told_later() {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    wire.on("*", Behaviour::Hang);
    let begin = Instant::now();
    Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).fails(11, &[&wire.endpoint()]);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    wire.on("*", Behaviour::Forward);
    settle(&host);
}

#[test]
fn one_that_is_slow_is_waited_for() {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    wire.on("PUT", Behaviour::Slow(3000));
    Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).result();
    Call::del("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn one_whose_answers_are_lost_gives_its_lease_back() {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    wire.on("PUT", Behaviour::LoseAnswer);
    Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).fails(11, &[]);
    let attempts: Vec<_> = wire.exchanges().into_iter().filter(|exchange| exchange.method == "PUT").collect();
    assert!(attempts.iter().all(|put| put.body["attempt"] == attempts[0].body["attempt"]), "{attempts:?}");
    settle(&host);
}

#[test]
fn del_finishes_an_add_that_never_got_its_answer() {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    wire.on("PUT", Behaviour::LoseAnswer);
    wire.on("DELETE", Behaviour::Close);
    Call::add("c1", &pod, &config).run(&host).fails(11, &[]);
    wire.on("*", Behaviour::Forward);
    wire.on("PUT", Behaviour::Forward);
    wire.on("DELETE", Behaviour::Forward);
    Call::del("c1", &pod, &config).run(&host).quiet();
    settle(&host);
}

#[rstest]
#[case::received("attach-received")]
#[case::created("attach-created")]
#[case::checked("attach-checked")]
fn one_that_dies_before_its_answer_finds_its_lease_again(#[case] point: &str) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    host.resolver.stop();
    host.resolver.start_with(&[("KNAP_FAULT_POINT", point)]);
    host.resolver.wait_ready("shop/blue");
    Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).fails(11, &[]);
    host.resolver.wait_killed();
    host.resolver.start();
    settle(&host);
}

#[rstest]
#[case::received("release-received")]
#[case::deleted("release-deleted")]
fn one_that_dies_at_a_release_is_told_again(#[case] point: &str) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    host.resolver.stop();
    host.resolver.start_with(&[("KNAP_FAULT_POINT", point)]);
    host.resolver.wait_ready("shop/blue");
    Call::add("c1", &pod, &config).run(&host).result();
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.resolver.wait_killed();
    assert_eq!(host.ledger.tombstones().len(), 1);
    host.resolver.start();
    host.delegates.forget();
    settle(&host);
}

#[test]
fn a_lease_survives_the_resolvers_death() {
    let host = Host::recorded();
    let (pod, other) = (host.pod("web-0"), host.pod("web-1"));
    let config = thin_config("shop/blue", "1.0.0");
    let first = Call::add("c1", &pod, &config).run(&host).addresses();
    let before = host.resolver.attachments("shop/blue");
    host.resolver.kill();
    host.resolver.start();
    host.resolver.wait_ready("shop/blue");
    assert_eq!(host.resolver.attachments("shop/blue"), before);
    assert_ne!(Call::add("c2", &other, &config).run(&host).addresses(), first);
    for (container, pod) in [("c1", &pod), ("c2", &other)] {
        Call::del(container, pod, &config).run(&host).quiet();
    }
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_refused_token_names_node_and_file() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    let token = std::fs::read(host.resolver.token_file()).unwrap();
    let wrong = host.folder().join("wrong-token");
    std::fs::write(&wrong, "wrong").unwrap();
    let access = json!({ "endpoints": [host.resolver.endpoint()], "tokenFile": wrong });
    host.write_node_file(&json!({ "resolver": access }));
    Call::add("c1", &pod, &config).run(&host).fails(11, &["n1", wrong.to_str().unwrap()]);
    assert_eq!(host.ledger.traces(), Vec::<String>::new());
    // It is read at each call: it rotates.
    std::fs::write(&wrong, token).unwrap();
    Call::add("c1", &pod, &config).run(&host).result();
    std::fs::remove_file(&wrong).unwrap();
    let error = Call::add("c2", &host.pod("web-1"), &config).run(&host).error();
    assert!(error.msg.contains(wrong.to_str().unwrap()), "{error:?}");
    assert_eq!(host.ledger.entries(), ["c1@net1.json"]);
}

#[rstest]
#[case::forbidden(403, 7)]
#[case::unauthorized(401, 11)]
fn a_refusal_of_the_node_names_it(#[case] status: u16, #[case] code: u32) {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let problem = json!({
        "type": "about:blank", "title": "not authorized", "status": status, "detail": "this token is for another node",
        "id": "d-1", "cniCode": code, "retryable": false,
    });
    wire.on("PUT", Behaviour::Answer(status, "application/problem+json", problem.to_string()));
    let file = host.resolver.token_file();
    let answer = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host);
    answer.fails(code, &["n1", file.to_str().unwrap(), "this token is for another node"]);
    assert_eq!(host.ledger.traces(), Vec::<String>::new());
}

#[rstest]
#[case::server_error(500, "text/html", "<h1>sorry</h1>", 11)]
#[case::bad_gateway(502, "text/plain", "", 11)]
#[case::unavailable(503, "text/plain", "later", 11)]
#[case::half_a_reply(200, "application/json", "{\"id\": \"d-1\", \"lea", 11)]
#[case::another_reply(200, "application/json", "{\"hello\": true}", 11)]
#[case::a_portal(200, "text/html", "<h1>log in</h1>", 11)]
fn an_answer_that_is_none_leaves_nothing(
    #[case] status: u16,
    #[case] media_type: &'static str,
    #[case] text: &str,
    #[case] code: u32,
) {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    wire.on("PUT", Behaviour::Answer(status, media_type, text.to_owned()));
    Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).fails(code, &[&wire.endpoint()]);
    settle(&host);
}

#[test]
fn a_problem_document_is_quoted_with_its_code_and_decision() {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let problem = json!({
        "type": "about:blank", "title": "over quota", "status": 429, "id": "d-4711", "cniCode": 7, "retryable": false,
        "detail": "namespace shop has all of its 2 attachments; remove one or ask for more",
    });
    wire.on("PUT", Behaviour::Answer(429, "application/problem+json", problem.to_string()));
    let error = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0"))
        .run(&host)
        .fails(7, &["namespace shop has all of its 2 attachments"]);
    assert!(format!("{} {}", error.msg, error.details).contains("d-4711"), "{error:?}");
    assert_eq!(host.ledger.traces(), Vec::<String>::new());
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
}

#[test]
fn unknown_fields_of_a_reply_are_ignored() {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let reply = json!({ "id": "d-1", "leases": ["shop.blue-5"], "plugins": [{ "type": "first" }], "weather": "fine" });
    wire.on("PUT", Behaviour::Answer(200, "application/json", reply.to_string()));
    Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).result();
    assert_eq!(host.delegates.steps(), ["ADD first"]);
}

#[rstest]
#[case::unknown_kind(json!({ "kind": "vxlan", "name": "kn1f2e", "owner": "u-1" }), "vxlan")]
#[case::bad_name(json!({ "kind": "bridge", "name": "../../etc/x", "owner": "u-1" }), "../../etc/x")]
fn a_host_link_that_this_version_can_not_make_is_refused(
    #[case] link: serde_json::Value,
    #[case] word: &str,
) {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let reply = json!({ "id": "d-1", "leases": ["shop.blue-5"], "plugins": [{ "type": "first" }], "hostLinks": [link] });
    wire.on("PUT", Behaviour::Answer(200, "application/json", reply.to_string()));
    let error = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).error();
    assert!(error.msg.contains(word), "{error:?}");
    settle(&host);
}

#[test]
fn one_whose_log_nobody_reads_answers_all_the_same() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    host.resolver.stop();
    let _unread = host.resolver.start_unread();
    Call::add("c1", &pod, &config).run(&host).result();
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
    host.resolver.stop();
}

#[test]
fn one_that_is_told_to_end_has_ended_within_five_seconds() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    let took = |number: usize| {
        Call::add(&format!("c{number}"), &pod, &config).run(&host).result();
        let begin = Instant::now();
        host.resolver.stop();
        let took = begin.elapsed();
        host.resolver.start();
        took
    };
    // The best of three: what else the machine does is not what is tested.
    let times: Vec<Duration> = (0..3).map(took).collect();
    assert!(times.iter().any(|time| *time < Duration::from_secs(5)), "{times:?}");
}

#[test]
fn one_may_have_as_many_connections_as_the_machine_allows() {
    let host = Host::recorded();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", host.resolver.pid())).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let files: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(files[0], files[1], "soft and hard limit");
}

#[test]
fn the_next_endpoint_is_tried() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let access = json!({
        "endpoints": ["http://127.0.0.1:9", "http://127.0.0.1:10", host.resolver.endpoint()],
        "tokenFile": host.resolver.token_file(),
    });
    host.write_node_file(&json!({ "resolver": access }));
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).result();
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn an_endpoint_that_hangs_does_not_use_up_the_time_of_the_next() {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    wire.on("*", Behaviour::Hang);
    let pod = host.pod("web-0");
    let access = json!({
        "endpoints": [wire.endpoint(), host.resolver.endpoint()],
        "tokenFile": host.resolver.token_file(),
    });
    host.write_node_file(&json!({ "resolver": access }));
    let begin = Instant::now();
    Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).result();
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}
