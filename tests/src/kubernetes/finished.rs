//! Many Networks and leases, written in finished form: as they would be if a resolver had served them for months.

use futures::{StreamExt, stream};
use knap_api::{Network, NetworkAttachmentDefinition, NetworkLease, Reservation};
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{KubernetesApi, Objects, condition};

/// How many at once.
const WRITERS: usize = 64;

/// What to write.
#[derive(Debug, Clone, Copy)]
pub struct Finished {
    /// `shop/net-0` and on, each with a /24 of its own.
    pub networks: usize,
    /// Leases of each of them, 200 at most.
    pub leases_each: usize,
}

/// One of each kind as a resolver makes them.
struct Model {
    /// The first of codes that are not the model's own, nor 58xx.
    codes: u32,
    network: Value,
    reservations: Vec<Value>,
    /// None where the API server has no such kind.
    definition: Option<Value>,
    lease: Value,
}

impl KubernetesApi {
    /// Writes them in namespace `shop`, which is made; a resolver makes the model and ends.
    pub async fn load_finished(&self, finished: Finished) {
        let objects = self.objects().await;
        let model = &self.model(&objects).await;
        let objects = &objects;
        let networks = stream::iter(0..finished.networks);
        networks
            .for_each_concurrent(WRITERS, |number| write(objects, model, number, finished.leases_each))
            .await;
    }

    async fn model(&self, objects: &Objects) -> Model {
        let mut replica = self.start_replica().await;
        objects.namespace("shop", &[]).await;
        let subnets = json!([{ "cidr": "100.64.0.0/10", "prefixLength": 24 }]);
        objects.class("many", json!({ "provider": "bridge", "subnets": subnets })).await;
        objects.network("shop/model", json!({ "class": "many" })).await;
        objects.ready("shop/model").await;
        let reply = replica.attached("n1", "model", json!({ "network": "shop/model" })).await;
        let lease = objects.leases().await.pop().expect("a lease");
        replica.release("n1", "model", &reply.leases).await.expect("an answer");
        // A finished status has counted the nodes too, and says who finds the Network.
        let finished = async || {
            let network = objects.get_network("shop/model").await?;
            let nodes = network.status.as_ref()?.nodes.as_ref()?;
            (nodes.total > 0 && condition(&network, "Published").is_some()).then_some(network)
        };
        let network = objects.eventually("the nodes are counted", finished).await;
        let definitions = objects.in_namespace::<NetworkAttachmentDefinition>("shop");
        let definition = definitions.get_opt("model").await.expect("an answer");
        let reservations = objects.reservations().await;
        replica.stop().await;
        let status = network.status.as_ref().expect("its status");
        let code = status.segment.as_ref().and_then(|segment| segment.mac_code.as_deref()).expect("its code");
        let code = u32::from_str_radix(code, 16).expect("hex");
        Model {
            codes: if code < 0x8000 { 0x9000 } else { 0x1000 },
            network: plain(&network),
            reservations: reservations.iter().map(plain).collect(),
            definition: definition.as_ref().map(plain),
            lease: plain(&lease),
        }
    }
}

/// One Network and all that belongs to it. The first /24 and the first code may be the model's.
async fn write(objects: &Objects, model: &Model, number: usize, leases: usize) {
    let name = format!("net-{number}");
    let place = u32::try_from(number + 1).expect("a few");
    let subnet = std::net::Ipv4Addr::from(u32::from(std::net::Ipv4Addr::new(100, 64, 0, 0)) + place * 256);
    let [a, b, c, _] = subnet.octets();
    let code = format!("{:04x}", model.codes + place);
    let networks = objects.in_namespace::<Network>("shop");

    let mut wanted = model.network.clone();
    wanted["metadata"]["name"] = json!(name);
    let written = wanted["status"].take();
    let made = networks.create(&PostParams::default(), &from(wanted)).await.expect("a Network");
    let uid = made.uid().expect("its UID");
    for model in &model.reservations {
        let mut wanted = model.clone();
        wanted["spec"]["network"] = json!({ "namespace": "shop", "name": name, "uid": uid });
        wanted["metadata"]["labels"][knap_api::NETWORK_UID_LABEL] = json!(uid);
        let is_subnet = wanted["spec"]["cidr"].is_string();
        if is_subnet {
            wanted["spec"]["cidr"] = json!(format!("{subnet}/24"));
        }
        let prefix = if is_subnet {
            format!("subnet-cluster-{:08x}-24", subnet.to_bits())
        } else {
            format!("mac-{code}")
        };
        wanted["metadata"]["name"] = json!(prefix);
        let status = wanted["status"].take();
        let api = Api::<Reservation>::all(objects.client.clone());
        let mut made = api.create(&PostParams::default(), &from(wanted)).await.expect("a Reservation");
        if is_subnet {
            made.status = from(status);
            let name = made.name_any();
            api.replace_status(&name, &PostParams::default(), &made).await.expect("its status");
        }
    }
    if let Some(model) = &model.definition {
        write_definition(objects, model, &name, &uid).await;
    }
    let mut written = renamed(&written, &name);
    written["segment"]["macCode"] = json!(code);
    written["segment"]["bridge"] = json!(format!("kn{code}"));
    written["attachments"] = json!(leases);
    written["subnets"][0]["cidr"] = json!(format!("{subnet}/24"));
    written["subnets"][0]["gateway"] = json!(format!("{a}.{b}.{c}.1"));
    written["subnets"][0]["allocated"] = json!(leases);
    let capacity = &written["subnets"][0]["capacity"];
    written["summary"] = json!({ "subnets": format!("{subnet}/24"), "used": format!("{leases}/{capacity}") });
    let mut made = made;
    made.status = from(written);
    networks.replace_status(&name, &PostParams::default(), &made).await.expect("its status");

    let api = Api::<NetworkLease>::all(objects.client.clone());
    for slot in (2..).take(leases) {
        let (container, node) = (format!("held-{number}-{slot}"), format!("n{}", number % 100));
        let mut wanted = model.lease.clone();
        wanted["metadata"]["name"] = json!(format!("shop.{name}-{slot}"));
        wanted["spec"]["network"] = json!({ "namespace": "shop", "name": name, "uid": uid });
        wanted["spec"]["slot"] = json!(slot);
        wanted["spec"]["addresses"] = json!([format!("{a}.{b}.{c}.{slot}/24")]);
        let (high, low) = code.split_at(2);
        wanted["spec"]["mac"] = json!(format!("0a:{high}:{low}:00:00:{slot:02x}"));
        wanted["spec"]["holders"][0]["attempt"] = json!(container);
        wanted["spec"]["holders"][0]["containerID"] = json!(container);
        wanted["spec"]["holders"][0]["node"] = json!(node);
        let holder: knap_api::Holder = from(wanted["spec"]["holders"][0].clone());
        let label = knap_resolver::view::HolderHash::of_holder(&holder).label();
        wanted["metadata"]["labels"] = json!({
            knap_api::NETWORK_UID_LABEL: uid, knap_api::NETWORK_NAMESPACE_LABEL: "shop", label: "",
        });
        api.create(&PostParams::default(), &from(wanted)).await.expect("a lease");
    }
}

async fn write_definition(objects: &Objects, model: &Value, name: &str, uid: &str) {
    let mut wanted = renamed(model, name);
    let metadata = &mut wanted["metadata"];
    metadata["name"] = json!(name);
    metadata["labels"][knap_api::NETWORK_NAME_LABEL] = json!(name);
    metadata["labels"][knap_api::NETWORK_UID_LABEL] = json!(uid);
    metadata["ownerReferences"] = json!([{
        "apiVersion": "knap.github.com/v1alpha1", "kind": "Network", "name": name, "uid": uid, "controller": true,
    }]);
    let api = objects.in_namespace::<NetworkAttachmentDefinition>("shop");
    api.create(&PostParams::default(), &from(wanted)).await.expect("a definition");
}

/// What names the model, naming this one.
fn renamed(value: &Value, name: &str) -> Value {
    let text = value.to_string();
    let text = ["/", "."].iter().fold(text, |text, separator| {
        text.replace(&format!("shop{separator}model"), &format!("shop{separator}{name}"))
    });
    serde_json::from_str(&text).expect("JSON")
}

/// Without what the API server gave it.
fn plain(object: &impl serde::Serialize) -> Value {
    let mut object = serde_json::to_value(object).expect("JSON");
    let metadata = object["metadata"].as_object_mut().expect("its metadata");
    metadata.retain(|field, _| {
        matches!(field.as_str(), "name" | "namespace" | "labels" | "annotations" | "finalizers")
    });
    object
}

fn from<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of its kind")
}
