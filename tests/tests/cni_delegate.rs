//! Delegates that fail, hang, die, print garbage or are missing; and the undoing of what ran.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use knap_tests::{Action, Behaviour, Call, Host, Sandbox, Script, Wire, eventually, thin_config};
use rstest::rstest;
use serde_json::{Value, json};

/// Runs an ADD in which a delegate acts like this.
fn add_with(host: &Host, pod: &Sandbox, culprit: &str, action: Action) -> knap_tests::Answer {
    host.delegates.install_as(culprit, &Script::default().on("ADD", &[action]));
    Call::add("c1", pod, &thin_config("shop/blue", "1.0.0")).run(host)
}

#[rstest]
#[case::first("first", &["ADD first", "DEL first"])]
#[case::second("second", &["ADD first", "ADD second", "DEL second", "DEL first"])]
#[case::third("third", &["ADD first", "ADD second", "ADD third", "DEL third", "DEL second", "DEL first"])]
fn a_failing_one_keeps_its_code_and_all_that_ran_is_undone(
    #[case] culprit: &str,
    #[case] steps: &[&str],
    #[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str,
) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let script = Script::default().on("ADD", &[Action::Error(117, "the cable is cut".into())]);
    host.delegates.install_as(culprit, &script);
    let error = Call::add("c1", &pod, &thin_config("shop/blue", version)).run(&host).error();
    assert_eq!(error.code, 117);
    assert_eq!(error.cni_version, version);
    assert!(error.msg.contains(culprit) && error.msg.contains("the cable is cut"), "{error:?}");
    assert_eq!(host.delegates.steps(), steps);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn undoing_gives_each_what_its_add_had() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    add_with(&host, &pod, "third", Action::Error(117, "the cable is cut".into())).error();
    for delegate in ["first", "second"] {
        let add = host.delegates.the(&format!("ADD {delegate}"));
        let del = host.delegates.the(&format!("DEL {delegate}"));
        assert_eq!(del.stdin["ipam"], add.stdin["ipam"]);
        assert_eq!(del.stdin["runtimeConfig"], add.stdin["runtimeConfig"]);
        assert_eq!(del.env("CNI_NETNS"), add.env("CNI_NETNS"));
    }
}

#[test]
fn a_code_that_lets_runtimes_skip_their_cleanup_is_not_passed_on() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let error = add_with(&host, &pod, "second", Action::Error(3, "never heard of it".into())).error();
    assert_ne!(error.code, 3, "{error:?}");
    assert!(error.msg.contains("never heard of it"), "{error:?}");
    host.assert_nothing_left("shop/blue");
}

#[rstest]
#[case::text(Action::Print("all is well".into(), 0))]
#[case::half(Action::Print("{\"cniVersion\": \"1.0.0\", ".into(), 0))]
#[case::nothing(Action::Print(String::new(), 0))]
#[case::a_list(Action::Print("[]".into(), 0))]
#[case::a_number(Action::Print("7".into(), 0))]
#[case::two(Action::Print("{\"cniVersion\": \"1.0.0\"} {}".into(), 0))]
#[case::wrong_shape(Action::Result(json!({ "cniVersion": "1.0.0", "ips": "10.0.0.1/24" })))]
#[case::text_and_a_status(Action::Print("Segmentation fault".into(), 139))]
#[case::only_a_status(Action::Print(String::new(), 3))]
#[case::a_signal(Action::Die)]
#[case::no_end(Action::Flood)]
fn garbage_is_no_result(#[case] action: Action) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    add_with(&host, &pod, "second", action).fails(102, &["second"]);
    assert_eq!(host.delegates.steps(), ["ADD first", "ADD second", "DEL second", "DEL first"]);
    host.assert_nothing_left("shop/blue");
}

#[rstest]
fn a_missing_one_is_named_and_nothing_stays(#[values("first", "second", "third")] missing: &str) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    host.delegates.uninstall(missing);
    let answer = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host);
    answer.fails(101, &[missing, host.delegates.bin().to_str().unwrap()]);
    let steps = host.delegates.steps();
    let added = steps.iter().filter(|step| step.starts_with("ADD")).count();
    assert_eq!(steps.len(), 2 * added, "each that ran is undone: {steps:?}");
    host.assert_nothing_left("shop/blue");
}

#[rstest]
#[case::alone(Action::Hang)]
#[case::with_a_child(Action::HangWithChild)]
fn a_hanging_one_is_killed_at_the_deadline_and_undone(#[case] action: Action) {
    let host = Host::recorded();
    // Killed after 20 s; five are for the undoing.
    host.write_node_file(&json!({ "addTimeoutSeconds": 25 }));
    let pod = host.pod("web-0");
    let begin = Instant::now();
    add_with(&host, &pod, "second", action).fails(11, &["second"]);
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(19), "it had its time: {took:?}");
    assert!(took < Duration::from_secs(50), "{took:?}");
    assert_eq!(host.delegates.steps(), ["ADD first", "ADD second", "DEL second", "DEL first"]);
    host.assert_nothing_left("shop/blue");
}

#[test]
fn the_deadline_is_the_whole_adds_and_not_each_delegates() {
    let host = Host::recorded();
    // Delegates have 20 s, of which ten are left to the third.
    host.write_node_file(&json!({ "addTimeoutSeconds": 25 }));
    let pod = host.pod("web-0");
    for (delegate, action) in
        [("first", Action::Slow(5000)), ("second", Action::Slow(5000)), ("third", Action::Hang)]
    {
        host.delegates.install_as(delegate, &Script::default().on("ADD", &[action]));
    }
    let begin = Instant::now();
    Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).fails(11, &["third"]);
    // With 20 s of its own the third would end after 30.
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    host.assert_nothing_left("shop/blue");
}

#[test]
fn one_that_hangs_in_the_undoing_too_leaves_an_entry_that_del_finishes() {
    let host = Host::recorded();
    // Killed after 12 s, and in the undoing once three more are over.
    host.write_node_file(&json!({ "addTimeoutSeconds": 15 }));
    let pod = host.pod("web-0");
    let script = Script::default().on("ADD", &[Action::Hang]).on("DEL", &[Action::Hang, Action::Succeed]);
    host.delegates.install_as("second", &script);
    let config = thin_config("shop/blue", "1.0.0");
    let begin = Instant::now();
    Call::add("c1", &pod, &config).run(&host).fails(11, &["second"]);
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
    assert_eq!(host.ledger.state("c1", "net1").as_deref(), Some("adding"));
    assert_eq!(host.resolver.leases("shop/blue").len(), 1, "the address is not free yet");
    Call::del("c1", &pod, &config).run(&host).quiet();
    let steps = host.delegates.steps();
    assert!(steps.ends_with(&["DEL third".into(), "DEL second".into(), "DEL first".into()]), "{steps:?}");
    host.assert_nothing_left("shop/blue");
}

#[rstest]
fn where_the_undoing_fails_the_first_error_counts_and_del_finishes(
    #[values("first", "second")] culprit: &str,
) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let stuck = [Action::Error(118, "the cable is stuck".into()), Action::Succeed];
    let mut script = Script::default().on("DEL", &stuck);
    if culprit == "second" {
        script = script.on("ADD", &[Action::Error(117, "the cable is cut".into())]);
    } else {
        let cut = Script::default().on("ADD", &[Action::Error(117, "the cable is cut".into())]);
        host.delegates.install_as("second", &cut);
    }
    host.delegates.install_as(culprit, &script);
    let config = thin_config("shop/blue", "1.0.0");
    Call::add("c1", &pod, &config).run(&host).fails(117, &["second", "the cable is cut"]);
    assert_eq!(host.delegates.steps(), ["ADD first", "ADD second", "DEL second", "DEL first"]);
    assert_eq!(host.ledger.entries(), ["c1@net1.json"]);
    assert_eq!(host.resolver.leases("shop/blue").len(), 1, "the address is not free yet");
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn cni_path_is_searched_in_order_for_a_regular_file() {
    let mut host = Host::recorded();
    let more = host.folder().join("more");
    fs::create_dir_all(&more).unwrap();
    // In the first folder a directory of that name, in the second the program.
    fs::rename(host.delegates.bin().join("second"), more.join("second")).unwrap();
    fs::create_dir(host.delegates.bin().join("second")).unwrap();
    // Of two programs, the first folder's.
    fs::write(more.join("first"), "#!/bin/sh\nexit 9\n").unwrap();
    fs::set_permissions(more.join("first"), fs::Permissions::from_mode(0o755)).unwrap();
    host.add_cni_folder(&more);
    let pod = host.pod("web-0");
    Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).result();
    assert_eq!(host.delegates.steps(), ["ADD first", "ADD second", "ADD third"]);
}

#[test]
fn one_that_is_just_being_written_is_tried_again() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let busy = File::options().append(true).open(host.delegates.bin().join("second")).unwrap();
    let mut add = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).spawn(&host);
    eventually("delegates are run", || (!host.delegates.all_calls().is_empty()).then_some(()));
    // How long it stays busy is what is tested; nothing is waited for.
    std::thread::sleep(Duration::from_millis(500));
    drop(busy);
    assert!(add.wait().unwrap().success());
    assert_eq!(host.delegates.steps(), ["ADD first", "ADD second", "ADD third"]);
}

#[test]
fn one_that_stays_busy_is_a_clear_error() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let path = host.delegates.bin().join("second");
    let busy = File::options().append(true).open(&path).unwrap();
    let begin = Instant::now();
    let error = Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).error();
    assert!(begin.elapsed() >= Duration::from_secs(4), "{:?}", begin.elapsed());
    assert!(error.msg.contains("second") && error.msg.contains("open for writing"), "{error:?}");
    drop(busy);
    Call::del("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[rstest]
#[case::path("../second")]
#[case::absolute("/bin/true")]
#[case::ourselves("knap")]
#[case::multus("multus")]
#[case::empty("")]
#[case::parent("..")]
fn a_type_that_is_no_delegate_is_refused_before_anything_runs(#[case] kind: &str) {
    let host = Host::recorded();
    let wire = Wire::tap(&host);
    let pod = host.pod("web-0");
    let reply =
        json!({ "id": "d-1", "leases": ["shop.blue-5"], "plugins": [{ "type": "first" }, { "type": kind }] });
    wire.on("PUT", Behaviour::Answer(200, "application/json", reply.to_string()));
    wire.on("DELETE", Behaviour::Answer(204, "application/json", String::new()));
    Call::add("c1", &pod, &thin_config("shop/blue", "1.0.0")).run(&host).fails(7, &[kind]);
    assert_eq!(host.delegates.steps(), Vec::<String>::new());
    assert!(wire.the("DELETE").path.contains("lease=shop.blue-5"));
    assert_eq!(host.ledger.traces(), Vec::<String>::new());
}

#[rstest]
#[case::null("null")]
#[case::version_left_out("{\"interfaces\": [{\"name\": \"net1\"}], \"ips\": [], \"dns\": {}}")]
fn a_sparse_result_is_one(#[case] text: &str, #[values("0.3.1", "0.4.0", "1.0.0", "1.1.0")] version: &str) {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let script = Script::default().on("ADD", &[Action::Print(text.to_owned(), 0)]);
    host.delegates.install_as("third", &script);
    let config = thin_config("shop/blue", version);
    let result = Call::add("c1", &pod, &config).run(&host).result();
    assert_eq!(result["cniVersion"], json!(version));
    let interfaces = result["interfaces"].as_array().map_or(0, Vec::len);
    assert_eq!(interfaces, usize::from(text != "null"), "{result}");
    Call::del("c1", &pod, &config).run(&host).quiet();
    let given = host.delegates.the("DEL first").stdin["prevResult"].clone();
    assert_eq!(given["interfaces"].as_array().map_or(0, Vec::len), interfaces, "{given}");
    host.assert_nothing_left("shop/blue");
}

#[test]
fn a_del_that_prints_is_taken_for_what_its_status_says() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let config = thin_config("shop/blue", "1.0.0");
    let chatty = Script::default().on("DEL", &[Action::Print("{}".into(), 0)]);
    host.delegates.install_as("second", &chatty);
    Call::add("c1", &pod, &config).run(&host).result();
    Call::del("c1", &pod, &config).run(&host).quiet();
    host.assert_nothing_left("shop/blue");
}

#[test]
fn the_result_of_the_last_one_is_ours() {
    let host = Host::recorded();
    let pod = host.pod("web-0");
    let mine = json!({
        "cniVersion": "1.0.0", "interfaces": [{ "name": "net1", "mac": "02:00:00:00:00:09", "sandbox": "/x" }],
        "ips": [{ "address": "10.9.9.9/24", "interface": 0 }], "routes": [{ "dst": "0.0.0.0/0" }], "dns": {},
    });
    let answer = add_with(&host, &pod, "third", Action::Result(mine.clone()));
    let result: Value = answer.result();
    for key in ["interfaces", "ips", "routes"] {
        assert_eq!(result[key], mine[key]);
    }
}
