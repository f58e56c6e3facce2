//! What nodes know a resolver by: an authority in a ConfigMap, a certificate that is renewed while they call.

use std::collections::{BTreeSet, HashSet};
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use knap_tests::kubernetes::trust::{NAMESPACE, published, these};
use knap_tests::{Call, Host, KubernetesApi, Replica, thin_config};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use ureq::tls::TlsConfig;

async fn start() -> KubernetesApi {
    let api = KubernetesApi::start().await;
    api.install_crds().await;
    api
}

const PEM_END: &str = "-----END CERTIFICATE-----\n";

/// A client that keeps its connections.
fn agent(tls: TlsConfig) -> ureq::Agent {
    let config = ureq::Agent::config_builder().proxy(None).tls_config(tls);
    config.timeout_global(Some(Duration::from_secs(10))).build().into()
}

fn asked(agent: &ureq::Agent, replica: &Replica) -> Result<u16, String> {
    let answer = agent.get(format!("{}/healthz", replica.endpoint())).call();
    answer.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn replicas_share_one_authority_and_strangers_are_not_trusted() {
    let api = start().await;
    let mut replicas = api.start_replicas(2).await;
    let client = api.client().await;
    let trusted = published(&client).await.unwrap();
    assert_eq!(trusted.matches("BEGIN CERTIFICATE").count(), 1, "{trusted}");
    for replica in &replicas {
        assert_eq!(asked(&agent(these(&trusted)), replica), Ok(200));
        let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        asked(&agent(these(&stranger.cert.pem())), replica).unwrap_err();
        let plain = replica.endpoint().replace("https", "http");
        ureq::get(format!("{plain}/healthz")).call().unwrap_err();
    }
    for replica in &mut replicas {
        replica.stop().await;
        assert!(!replica.log().contains("PRIVATE KEY"));
    }
}

#[tokio::test]
async fn a_replica_that_comes_later_adds_its_name() {
    let api = start().await;
    let first = api.start_replica().await;
    let mut second = api.replica(&["--tls-name=knap.example", "--tls-name=192.0.2.7"]);
    second.start();
    second.wait_ready().await;
    let secrets = Api::<Secret>::namespaced(api.client().await, NAMESPACE);
    let held = secrets.get("knap-certificates").await.unwrap().data.unwrap();
    let held: serde_json::Value = serde_json::from_slice(&held["certificates.json"].0).unwrap();
    let names: BTreeSet<&str> =
        held["serving"]["names"].as_array().unwrap().iter().flat_map(|n| n.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["127.0.0.1", "192.0.2.7", "::1", "knap.example", "localhost"]));
    let trusted = published(&api.client().await).await.unwrap();
    for replica in [&first, &second] {
        assert_eq!(asked(&agent(these(&trusted)), replica), Ok(200));
    }
}

#[tokio::test]
async fn the_plugin_attaches_over_tls() {
    let api = start().await;
    let replica = api.start_replica().await;
    let objects = api.objects().await;
    objects.namespace("shop", &[]).await;
    let plugins = json!([{"type": "first", "ipam": {"type": "knap"}}]);
    objects
        .class(
            "recorded",
            json!({"provider": "cni", "parameters": {"plugins": plugins},
        "subnets": [{"cidr": "10.64.0.0/16", "prefixLength": 24}]}),
        )
        .await;
    objects.network("shop/blue", json!({"class": "recorded"})).await;
    objects.ready("shop/blue").await;

    let mut access = replica.access("n1").await;
    let host = Host::in_cluster(&access);
    host.delegates.install("first");
    let (pod, config) = (host.pod("web-0"), thin_config("shop/blue", "1.0.0"));
    let made = objects.pod("shop/web-0", "n1").await.metadata.uid.unwrap();
    let added = Call::add("c1", &pod, &config).pod("shop", "web-0", &made).run(&host);
    assert_eq!(added.addresses().len(), 1);
    assert_eq!(objects.leases().await.len(), 1);
    Call::del("c1", &pod, &config).run(&host).quiet();
    objects.until_released_by(&host).await;

    // Another authority's file: nothing is said to whom it can't be sure of, and the message names the file.
    let stranger = host.folder().join("stranger.crt");
    let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&stranger, certificate.cert.pem()).unwrap();
    access["caFile"] = json!(stranger);
    host.write_node_file(&json!({"resolver": access, "addTimeoutSeconds": 3}));
    Call::add("c2", &pod, &config)
        .run(&host)
        .fails(11, &["can't trust the resolver at https://127.0.0.1", "stranger.crt", "knap-ca"]);
    assert!(objects.leases().await.is_empty());
}

/// Authorities of 48 seconds, certificates of 18, and new authorities published for 8 before they sign.
const SHORT_LIVED: &str = "48,18,8";

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_and_no_request_is_lost() {
    let api = start().await;
    let mut replicas: Vec<Replica> =
        (0..2).map(|_| api.replica(&[]).with("KNAP_CERTIFICATE_SECONDS", SHORT_LIVED)).collect();
    replicas.iter_mut().for_each(Replica::start);
    for replica in &replicas {
        replica.wait_ready().await;
    }
    let client = api.client().await;
    let (mut authorities, mut requests, begin) = (HashSet::new(), 0, Instant::now());
    while authorities.len() < 3 {
        // A node looks at the ConfigMap now and then, which is enough: more often than a new authority waits.
        let trusted = published(&client).await.unwrap();
        authorities.extend(trusted.split_inclusive(PEM_END).map(str::to_owned));
        let new = || agent(these(&trusted));
        let (kept, until) = (new(), Instant::now() + Duration::from_secs(1));
        while Instant::now() < until {
            for replica in &replicas {
                assert_eq!(asked(&new(), replica), Ok(200), "a new connection after {requests}");
                assert_eq!(asked(&kept, replica), Ok(200), "a kept connection after {requests}");
                requests += 2;
            }
        }
        assert!(begin.elapsed() < knap_tests::GENEROUS, "{} authorities", authorities.len());
    }
    assert!(requests > 100, "{requests}");
}

#[tokio::test]
async fn a_damaged_secret_is_named_and_left_alone() {
    let api = start().await;
    let secrets = Api::<Secret>::namespaced(api.client().await, NAMESPACE);
    let damaged =
        json!({"metadata": {"name": "knap-certificates"}, "stringData": {"certificates.json": "{}"}});
    let damaged =
        secrets.create(&PostParams::default(), &serde_json::from_value(damaged).unwrap()).await.unwrap();
    let mut replica = api.replica(&[]);
    replica.start();
    let begin = Instant::now();
    loop {
        match replica.readyz().await {
            Err(reason) if reason.contains("Secret default/knap-certificates does not hold") => break,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Ok(()) => panic!("ready with a damaged Secret"),
        }
        assert!(begin.elapsed() < knap_tests::GENEROUS, "{}", replica.log());
    }
    let found = secrets.get("knap-certificates").await.unwrap();
    assert_eq!(found.metadata.resource_version, damaged.metadata.resource_version);
    secrets.delete("knap-certificates", &DeleteParams::default()).await.unwrap();
    replica.wait_ready().await;
}

#[tokio::test]
async fn a_config_map_changed_by_hand_is_put_right() {
    let api = start().await;
    let mut replica = api.replica(&[]).with("KNAP_CERTIFICATE_SECONDS", "2000,1000,100");
    replica.start();
    replica.wait_ready().await;
    let objects = api.objects().await;
    let maps = Api::<ConfigMap>::namespaced(objects.client.clone(), NAMESPACE);
    let trusted = published(&objects.client).await.unwrap();
    let mut map = maps.get("knap-ca").await.unwrap();
    map.data = Some([("ca.crt".to_owned(), String::new()), ("mine".to_owned(), "stays".to_owned())].into());
    maps.replace("knap-ca", &PostParams::default(), &map).await.unwrap();
    objects
        .eventually("the ConfigMap is put right", async || {
            (published(&objects.client).await.as_ref() == Some(&trusted)).then_some(())
        })
        .await;
    assert_eq!(maps.get("knap-ca").await.unwrap().data.unwrap()["mine"], "stays");
}

#[tokio::test]
async fn who_connects_and_says_nothing_is_dropped() {
    let api = start().await;
    let replica = api.start_replica().await;
    let address = replica.endpoint().replace("https://", "");
    let silent = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(knap_tests::GENEROUS)).unwrap();
        stream.read(&mut [0; 1])
    });
    let read = silent.await.unwrap();
    assert!(
        matches!(read, Ok(0)) || read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    );
}
