//! NetworkAttachmentDefinitions that people write by hand: those that attach to the hosts' links themselves are past every
//! reservation of Knap's (design: invariant 6).

use std::collections::BTreeSet;

use knap_api::NetworkAttachmentDefinition;
use serde_json::Value;

use super::{Question, RawAttachments, UNREADABLE, Verdict};

/// Plugins that put a pod on a link of its host, or run others that may. Chained ones (tuning, portmap) and those of other
/// networks with an IPAM of their own (ovn-k8s-cni-overlay, calico) are not among them, nor is knap.
const RAW: [&str; 17] = [
    "accelerated-bridge",
    "bond",
    "bridge",
    "cnv-bridge",
    "host-device",
    "ib-sriov",
    "ib-sriov-cni",
    "ipoib",
    "ipvlan",
    "macvlan",
    "macvtap",
    "multus",
    "ovs",
    "ptp",
    "sriov",
    "tap",
    "vlan",
];

/// What a definition's configuration is, in Knap's eyes.
#[derive(Debug, PartialEq, Eq)]
enum Config {
    /// Nothing on links of the hosts.
    Harmless,
    /// By these plugins.
    Raw(BTreeSet<&'static str>),
    /// What Multus may read otherwise.
    Unreadable,
}

/// One that is about to go is no exception: Multus attaches by it for as long as a finalizer of anybody's keeps it.
pub(super) fn decide(policy: &RawAttachments, question: &Question) -> Verdict {
    if question.leaves_spec_alone() || policy.allows(&question.user_info) {
        return Verdict::allowed();
    }
    let definition: NetworkAttachmentDefinition = match question.object() {
        Ok(definition) => definition,
        Err(why) => return Verdict::refused(UNREADABLE, why),
    };
    let (reason, how) = match Config::of(definition.spec.config.as_deref().unwrap_or_default()) {
        Config::Harmless => return Verdict::allowed(),
        Config::Raw(plugins) => {
            let plugins = plugins.into_iter().collect::<Vec<_>>().join(" and ");
            ("RawAttachment", format!("attaches by {plugins}, past Knap"))
        }
        Config::Unreadable => {
            let how = "has a configuration that is no JSON, so that nobody can say how it attaches";
            (UNREADABLE, how.to_owned())
        }
    };
    let name = definition.metadata.name.unwrap_or_default();
    let message = format!(
        "NetworkAttachmentDefinition {}/{name} {how}: the VLANs and addresses that it uses may be somebody else's; make a \
         Network (kind Network of knap.github.com) instead, or have an administrator make this one",
        definition.metadata.namespace.unwrap_or_default()
    );
    if policy.refuses() { Verdict::refused(reason, message) } else { Verdict::warning(message) }
}

impl Config {
    /// An empty one is in a file on the nodes, which is an administrator's.
    fn of(text: &str) -> Self {
        if text.trim().is_empty() {
            return Self::Harmless;
        }
        let Ok(config) = serde_json::from_str::<Value>(text) else { return Self::Unreadable };
        let mut found = BTreeSet::new();
        gather(&config, &mut found);
        if found.is_empty() { Self::Harmless } else { Self::Raw(found) }
    }
}

/// Plugins run plugins, so all of it counts. Go reads `Type` as `type`; so all spellings count.
fn gather(config: &Value, found: &mut BTreeSet<&'static str>) {
    match config {
        Value::Object(fields) => {
            let types = fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case("type"));
            let types = types.filter_map(|(_, value)| value.as_str());
            found.extend(types.filter_map(|named| RAW.into_iter().find(|raw| *raw == named)));
            fields.values().for_each(|value| gather(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| gather(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::admission::RawPolicy;

    #[rstest]
    #[case::empty("", Config::Harmless)]
    #[case::thin(r#"{"type": "knap", "network": "shop/blue"}"#, Config::Harmless)]
    #[case::other_network(r#"{"type": "ovn-k8s-cni-overlay", "topology": "layer2"}"#, Config::Harmless)]
    #[case::ipam_is_no_link(r#"{"type": "tuning", "ipam": {"type": "static"}}"#, Config::Harmless)]
    #[case::raw(r#"{"type": "macvlan", "master": "eth1"}"#, Config::Raw(["macvlan"].into()))]
    #[case::list(r#"{"plugins": [{"type": "knap"}, {"type": "bridge"}, {"type": "vlan"}]}"#,
        Config::Raw(["bridge", "vlan"].into()))]
    #[case::as_go_reads_it(r#"{"type": "knap", "TYPE": "ipvlan"}"#, Config::Raw(["ipvlan"].into()))]
    #[case::by_another(r#"{"type": "x", "delegates": [{"type": "host-device"}]}"#, Config::Raw(["host-device"].into()))]
    #[case::tap(r#"{"type": "tap", "bridge": "br0"}"#, Config::Raw(["tap"].into()))]
    #[case::no_json("{type: macvlan}", Config::Unreadable)]
    #[case::half_a_character(r#"{"type": "macvlan", "x": "\ud800"}"#, Config::Unreadable)]
    fn what_attaches_to_links_of_the_host_is_found(#[case] config: &str, #[case] expected: Config) {
        assert_eq!(Config::of(config), expected);
    }

    fn asked(policy: RawPolicy, user: &str, group: &str) -> Verdict {
        let object = json!({"metadata": {"name": "raw", "namespace": "shop"}, "spec": {"config": "{\"type\": \"bridge\"}"}});
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "r", "operation": "CREATE", "object": object,
                "userInfo": {"username": user, "groups": [group]}}
        });
        let question = Question::read(review.to_string().as_bytes()).unwrap();
        decide(&RawAttachments::new(policy, &["sriov-operator".to_owned()]), &question)
    }

    #[test]
    fn one_that_a_finalizer_keeps_while_it_goes_is_judged_like_any_other() {
        let going = |finalizers: &[&str], config: &str| {
            json!({"metadata": {"name": "raw", "namespace": "shop", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "finalizers": finalizers}, "spec": {"config": config}})
        };
        let update = |new: Value| {
            let review = json!({
                "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "request": {"uid": "r", "operation": "UPDATE", "object": new,
                    "oldObject": going(&["x/y"], r#"{"type": "knap"}"#)}
            });
            let question = Question::read(review.to_string().as_bytes()).unwrap();
            decide(&RawAttachments::new(RawPolicy::Refuse, &[]), &question)
        };
        let changed = update(going(&["x/y"], r#"{"type": "macvlan"}"#));
        assert!(changed.refused.is_some_and(|refused| refused.message.contains("macvlan")));
        assert_eq!(update(going(&[], r#"{"type": "knap"}"#)), Verdict::allowed());
    }

    #[test]
    fn it_is_a_matter_of_policy_and_of_who_asks() {
        let tenant = |policy| asked(policy, "jane", "shop-team");
        assert_eq!(tenant(RawPolicy::Allow), Verdict::allowed());
        let warned = tenant(RawPolicy::Warn);
        assert!(
            warned.refused.is_none() && warned.warnings[0].contains("shop/raw attaches by bridge, past Knap")
        );
        assert!(tenant(RawPolicy::Refuse).refused.unwrap().message.contains("kind Network"));
        for (user, group) in [
            ("root", "system:masters"),
            ("system:serviceaccount:kube-system:x", "system:serviceaccounts:kube-system"),
            ("sriov-operator", ""),
            ("x", "sriov-operator"),
        ] {
            assert_eq!(asked(RawPolicy::Refuse, user, group), Verdict::allowed(), "{user} {group}");
        }
        assert!(asked(RawPolicy::Refuse, "x", "system:serviceaccounts:shop").refused.is_some());
    }
}
