use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use super::super::{Planned, run};
use crate::cli::{OutputFormat, PlanArgs};

const CLASSES: &str = r#"
apiVersion: knap.github.com/v1alpha1
kind: NetworkClass
metadata: {name: fabric-a}
spec:
  provider: sriov
  fabric: dc-a
  resourceName: vendor.com/pool
  segments: {vlans: ["100-101"]}
  features: {isolation: true, hardwareAcceleration: true}
  subnets: [{cidr: 10.64.0.0/16, prefixLength: 24}]
---
apiVersion: knap.github.com/v1alpha1
kind: NetworkClass
metadata: {name: plain, annotations: {knap.github.com/is-default-class: "true"}}
spec:
  provider: bridge
  allowRequestedSubnets: true
  subnets: [{cidr: 10.80.0.0/16, prefixLength: 24}]
"#;

struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (file, text) in files {
            std::fs::write(folder.file(file), text).unwrap();
        }
        folder
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn plan(&self, file: &str, output: OutputFormat) -> Result<Planned, String> {
        let args = PlanArgs {
            files: vec![self.file(file)],
            manifests: Some(self.0.path().to_owned()),
            kubeconfig: None,
            cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap()],
            node: None,
            output,
        };
        run(&args).map_err(|error| error.to_string())
    }

    fn json(&self, file: &str) -> (Value, bool) {
        let planned = self.plan(file, OutputFormat::Json).unwrap();
        (serde_json::from_str(&planned.text).unwrap(), planned.refused)
    }
}

fn network(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: knap.github.com/v1alpha1\nkind: Network\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {spec}\n"
    )
}

#[test]
fn a_network_is_planned_as_it_would_be_served() {
    let fast = network("fast", "{requires: {hardwareAcceleration: true}}");
    let folder = Folder::new(&[("classes.yaml", CLASSES), ("new.yaml", &fast)]);
    let (plan, refused) = folder.json("new.yaml");
    assert!(!refused, "{plan:#}");
    let network = &plan["networks"][0];
    assert_eq!(network["network"], "shop/fast");
    assert_eq!(network["class"], "fabric-a");
    assert_eq!(network["because"], "it offers all of spec.requires");
    assert_eq!(network["segment"]["vlan"], 100);
    assert_eq!(network["subnets"][0]["cidr"], "10.64.0.0/24");
    let plugin = &network["example"]["plugins"][0];
    assert_eq!((&plugin["type"], &plugin["vlan"]), (&"sriov".into(), &100.into()), "{plan:#}");
    assert_eq!(network["example"]["needsDevice"], true);
}

#[test]
fn the_default_class_and_the_built_in_one_are_told_apart() {
    let both = network("plain", "{}") + &network("bare", "{provider: bridge}");
    let folder = Folder::new(&[("classes.yaml", CLASSES), ("new.yaml", &both)]);
    let text = folder.plan("new.yaml", OutputFormat::Text).unwrap().text;
    assert!(text.contains("class     plain (it is the default)"), "{text}");
    assert!(text.contains("class     plain (spec.provider is bridge)"), "{text}");
    assert!(text.contains("subnet    10.80.0.0/24, gateway 10.80.0.1, room for 253 attachments"), "{text}");
    assert!(text.contains("host link kn"), "{text}");

    let folder = Folder::new(&[("new.yaml", &network("bare", "{provider: bridge}"))]);
    let text = folder.plan("new.yaml", OutputFormat::Text).unwrap().text;
    assert!(text.contains("built in; spec.provider is bridge"), "{text}");
}

#[test]
fn a_conflict_names_the_other_network() {
    let old = network("blue", "{class: plain, subnets: [10.80.0.0/24]}");
    let new =
        network("red", "{class: plain, subnets: [10.80.0.128/25]}") + &network("green", "{class: plain}");
    let folder = Folder::new(&[("classes.yaml", CLASSES), ("old.yaml", &old), ("new.yaml", &new)]);
    let (plan, refused) = folder.json("new.yaml");
    assert!(refused);
    let red = &plan["networks"][0]["refused"];
    assert_eq!(red["reason"], "Conflict", "{plan:#}");
    let message = red["message"].as_str().unwrap();
    assert!(message.contains("shop/blue") && message.contains("10.80.0.0/24"), "{message}");
    assert_eq!(plan["networks"][1]["refused"], Value::Null);
}

#[test]
fn networks_of_one_file_conflict_in_their_order() {
    let new = network("one", "{class: plain, subnets: [10.80.0.0/24]}")
        + &network("two", "{class: plain, subnets: [10.80.0.0/23]}");
    let folder = Folder::new(&[("classes.yaml", CLASSES), ("new.yaml", &new)]);
    let (plan, refused) = folder.json("new.yaml");
    assert!(refused);
    assert_eq!(plan["networks"][0]["refused"], Value::Null);
    assert!(plan["networks"][1]["refused"]["message"].as_str().unwrap().contains("shop/one"), "{plan:#}");
}

#[test]
fn a_file_of_the_folder_replaces_itself() {
    let blue = network("blue", "{class: plain, subnets: [10.80.0.0/24]}");
    let folder = Folder::new(&[("classes.yaml", CLASSES), ("blue.yaml", &blue)]);
    let (plan, refused) = folder.json("blue.yaml");
    assert!(!refused, "{plan:#}");
    assert_eq!(plan["networks"].as_array().unwrap().len(), 1);
}

#[test]
fn broken_files_of_the_folder_are_named_and_do_not_refuse() {
    let new = network("blue", "{class: plain}");
    let folder = Folder::new(&[("classes.yaml", CLASSES), ("broken.yaml", "kind: ["), ("new.yaml", &new)]);
    let planned = folder.plan("new.yaml", OutputFormat::Text).unwrap();
    assert!(!planned.refused);
    assert!(
        planned.text.contains("Broken manifest, left out of this plan: broken.yaml: invalid YAML"),
        "{}",
        planned.text
    );
}

#[test]
fn classes_are_checked() {
    let class = "apiVersion: knap.github.com/v1alpha1\nkind: NetworkClass\nmetadata: {name: odd}\n\
                 spec: {provider: bridge, subnets: [{cidr: 10.0.0.0/24, prefixLength: 8}]}\n";
    let folder = Folder::new(&[("new.yaml", class)]);
    let (plan, refused) = folder.json("new.yaml");
    assert!(refused);
    let message = plan["classes"][0]["refused"]["message"].as_str().unwrap();
    assert!(message.starts_with("NetworkClass odd: spec.subnets[0]: prefixLength 8"), "{message}");
}

#[test]
fn a_class_of_a_folder_is_held_against_it_as_by_a_webhook() {
    let class = |name: &str, more: &str| {
        format!(
            "---\napiVersion: knap.github.com/v1alpha1\nkind: NetworkClass\n\
             metadata: {{name: {name}, annotations: {{knap.github.com/is-default-class: \"true\"}}}}\nspec: {more}\n"
        )
    };
    let changes = class("plain", "{provider: bridge, subnets: [{cidr: 10.80.0.0/16, prefixLength: 24}]}")
        + &class("second", "{provider: bridge, subnets: [{cidr: 10.81.0.0/16, prefixLength: 24}]}")
        + &class("inside", "{provider: bridge, subnets: [{cidr: 10.244.7.0/24, prefixLength: 28}]}")
        + &class("around", "{provider: bridge, subnets: [{cidr: 10.240.0.0/12, prefixLength: 24}]}");
    let there = CLASSES.to_owned() + &network("blue", "{class: plain, subnets: [10.80.7.0/24]}");
    let folder = Folder::new(&[("there.yaml", &there), ("new.yaml", &changes)]);
    let (plan, refused) = folder.json("new.yaml");
    assert!(refused);
    let classes = plan["classes"].as_array().unwrap();
    let reasons: Vec<&Value> = classes.iter().map(|class| &class["refused"]["reason"]).collect();
    assert_eq!(
        reasons,
        [&Value::from("NetworksAffected"), &Value::Null, &"ClusterConflict".into(), &Value::Null],
        "{plan:#}"
    );
    let warnings = |index: usize| classes[index]["warnings"].as_array().map_or(0, Vec::len);
    assert_eq!([0, 1, 3].map(warnings), [0, 1, 2], "{plan:#}");
    let text = folder.plan("new.yaml", OutputFormat::Text).unwrap().text;
    for said in [
        "refused   NetworksAffected: Network shop/blue would",
        "warning   NetworkClass plain is marked as default too",
    ] {
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn what_can_not_be_planned_says_why() {
    let folder = Folder::new(&[("broken.yaml", "kind: ["), ("empty.yaml", "# nothing\n")]);
    let reason = |file| folder.plan(file, OutputFormat::Text).unwrap_err();
    assert!(reason("broken.yaml").contains("broken.yaml: invalid YAML"), "{}", reason("broken.yaml"));
    assert!(
        reason("empty.yaml").contains("there is no Network and no NetworkClass"),
        "{}",
        reason("empty.yaml")
    );
    assert!(reason("missing.yaml").contains("can't read"), "{}", reason("missing.yaml"));
}
