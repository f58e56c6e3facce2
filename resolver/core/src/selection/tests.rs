use rstest::rstest;
use serde_json::json;

use super::*;
use crate::IpFamily;
use crate::fixture::{class, labels, network, pool, selector};

/// Four classes: `own` of bridge, `plain` and `wire` (default) of macvlan, and `cards` of sriov, which is only for
/// namespaces of team=net.
fn classes() -> Vec<Class> {
    let named = |name: &str, provider| Class { name: name.into(), ..class(provider, json!({})) };
    let mut own = named("own", "bridge");
    own.subnets = vec![pool("10.64.0.0/12", 24)];
    let mut wire = named("wire", "macvlan");
    wire.is_default = true;
    wire.features = Features { external: true, mtu: Some(9000), ..Features::default() };
    let mut cards = named("cards", "sriov");
    cards.features = Features { hardware_acceleration: true, isolation: true, ..Features::default() };
    cards.access.namespace_selector = Some(selector(&[("team", "net")]));
    vec![own, wire, named("plain", "macvlan"), cards]
}

fn asks(class: Option<&str>, provider: Option<&str>, requires: Option<Features>) -> NetworkIntent {
    NetworkIntent { class: class.map(Into::into), provider: provider.map(Into::into), requires, ..network() }
}

fn select(network: &NetworkIntent, classes: &[Class], labels: Option<&Labels>) -> Result<String, String> {
    select_class(network, classes, labels).map(|class| class.name.clone()).map_err(|error| error.to_string())
}

fn nothing() -> Features {
    Features::default()
}

fn isolated() -> Features {
    Features { isolation: true, ..nothing() }
}

fn jumbo() -> Features {
    Features { mtu: Some(9000), ..nothing() }
}

#[rstest]
#[case::nothing(asks(None, None, None), "wire")]
#[case::class(asks(Some("own"), None, None), "own")]
#[case::provider_default_first(asks(None, Some("macvlan"), None), "wire")]
#[case::provider(asks(None, Some("bridge"), None), "own")]
#[case::class_and_provider(asks(Some("plain"), Some("macvlan"), None), "plain")]
#[case::all_three(asks(Some("wire"), Some("macvlan"), Some(jumbo())), "wire")]
#[case::nothing_required(asks(None, None, Some(nothing())), "wire")]
#[case::features_by_default_first(asks(None, None, Some(Features { mtu: Some(1400), ..nothing() })), "wire")]
#[case::features(asks(None, None, Some(isolated())), "cards")]
#[case::family(asks(None, None, Some(Features { ip_families: [IpFamily::IPv4].into(), ..nothing() })), "own")]
fn a_network_gets_the_class_that_meets_all_its_constraints(
    #[case] network: NetworkIntent,
    #[case] expected: &str,
) {
    let mut classes = classes();
    assert_eq!(select(&network, &classes, None).as_deref(), Ok(expected));
    classes.reverse();
    assert_eq!(select(&network, &classes, None).as_deref(), Ok(expected), "whatever their order");
}

#[rstest]
#[case::class(
    asks(Some("wier"), None, None),
    "NetworkClass \"wier\" does not exist (classes: wire, cards, own, plain)"
)]
#[case::contradiction(
    asks(Some("own"), Some("macvlan"), None),
    "spec.class \"own\" has provider \"bridge\", but spec.provider asks for \"macvlan\""
)]
#[case::features_of_the_class(
    asks(Some("own"), None, Some(Features { hardware_acceleration: true, ..jumbo() })),
    "NetworkClass \"own\" does not offer hardwareAcceleration, mtu 9000 (it has 1500)"
)]
#[case::features_of_the_provider(
    asks(None, Some("macvlan"), Some(isolated())),
    "no NetworkClass fits: wire does not offer isolation; plain does not offer isolation"
)]
#[case::features_of_its_one_class(
    asks(None, Some("bridge"), Some(jumbo())),
    "NetworkClass \"own\" does not offer mtu 9000"
)]
#[case::provider(
    asks(None, Some("host-device"), None),
    "no NetworkClass has provider \"host-device\" (classes: wire, cards, own, plain)"
)]
#[case::class_of_others(
    asks(Some("cards"), None, None),
    "NetworkClass \"cards\" may not be used in namespace \"shop\""
)]
#[case::features_for_others(
    asks(None, None, Some(isolated())),
    "cards may not be used in this namespace; own does not offer isolation"
)]
fn a_refusal_names_the_classes_and_what_is_missing(#[case] network: NetworkIntent, #[case] why: &str) {
    let error = select(&network, &classes(), Some(&labels(&[("team", "web")]))).unwrap_err();
    assert!(error.contains(why), "{error}");
}

#[test]
fn access_is_by_the_namespaces_labels_where_they_are_known() {
    let network = asks(Some("cards"), None, None);
    assert!(select(&network, &classes(), Some(&labels(&[("team", "net")]))).is_ok());
    assert!(select(&network, &classes(), Some(&Labels::new())).is_err());
    assert!(select(&network, &classes(), None).is_ok(), "without labels nothing is filtered");
}

#[test]
fn there_is_one_default_class_or_none() {
    let error = select(&network(), &[], None).unwrap_err();
    assert!(error.contains("no NetworkClass is marked as default (there are no classes)"), "{error}");
    let empty = asks(None, None, Some(nothing()));
    assert_eq!(select(&empty, &[], None), Err(error), "to require nothing is to say nothing");
    let mut classes = classes();
    for class in &mut classes {
        class.is_default = class.provider == "macvlan";
    }
    let error = select(&network(), &classes, None).unwrap_err();
    assert!(error.contains("several NetworkClasses are marked as default (plain, wire)"), "{error}");
    let by_provider = asks(None, Some("macvlan"), None);
    assert_eq!(select(&by_provider, &classes, None).as_deref(), Ok("plain"), "by name among the marked");
}

#[test]
fn a_provider_without_class_has_a_built_in_one_if_it_needs_no_knowledge() {
    let bridge = asks(None, Some("bridge"), None);
    let class = select_class(&bridge, &[], None).unwrap();
    assert_eq!((class.name.as_str(), class.provider.as_str()), ("built-in-bridge", "bridge"));
    assert_eq!(class.subnets, [pool("100.96.0.0/12", 24)]);
    let isolated = asks(None, Some("bridge"), Some(isolated()));
    assert!(select(&isolated, &[], None).is_ok());
    let external = asks(None, Some("bridge"), Some(Features { external: true, ..nothing() }));
    let error = select(&external, &[], None).unwrap_err();
    assert!(error.contains("\"built-in-bridge\" does not offer external"), "{error}");
    for provider in ["macvlan", "sriov", "host-device", "cni", "acme"] {
        let error = select(&asks(None, Some(provider), None), &[], None).unwrap_err();
        assert!(error.contains("(there are no classes): correct spec.provider, or have a class"), "{error}");
    }
}

#[test]
fn a_class_of_the_provider_that_does_not_fit_is_not_replaced_by_the_built_in_one() {
    let mut own = classes().remove(0);
    own.access.namespace_selector = Some(selector(&[("team", "net")]));
    let error = select(&asks(None, Some("bridge"), None), &[own], Some(&Labels::new())).unwrap_err();
    assert!(error.contains("\"own\" may not be used in namespace \"shop\""), "{error}");
}
