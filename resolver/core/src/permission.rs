//! Which namespaces' pods may attach to a Network.

use crate::{Class, Labels, NetworkIntent, NetworkRef};

/// A pod's namespace that may not use a Network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPermitted {
    /// The Network is its namespace's own.
    #[error(
        "Network {network} is not shared with namespace {namespace:?}: use a Network of that namespace, \
         or have its owner set spec.sharedWith"
    )]
    NotShared {
        /// The Network.
        network: NetworkRef,
        /// The pod's namespace.
        namespace: String,
    },
    /// The Network asks to be shared, and its class forbids that.
    #[error(
        "Network {network} can't be shared with namespace {namespace:?}, since its NetworkClass {class:?} does not \
         allow sharing: have the administrator set spec.allowSharing there"
    )]
    SharingForbidden {
        /// The Network.
        network: NetworkRef,
        /// The pod's namespace.
        namespace: String,
        /// The Network's class.
        class: String,
    },
    /// The Network is shared, with others.
    #[error(
        "Network {network} is shared with other namespaces, but not with {namespace:?}, whose labels its \
         spec.sharedWith.namespaceSelector does not select"
    )]
    NotSelected {
        /// The Network.
        network: NetworkRef,
        /// The pod's namespace.
        namespace: String,
    },
}

/// Whether pods of a namespace may attach to a Network: its own may, and those that it is shared with where the
/// class allows sharing. `labels` are that namespace's; without them nothing is filtered by label.
pub fn may_attach(
    network: &NetworkIntent,
    class: &Class,
    pod_namespace: &str,
    labels: Option<&Labels>,
) -> Result<(), NotPermitted> {
    let (owner, namespace) = (&network.owner, pod_namespace.to_owned());
    if owner.namespace == namespace {
        return Ok(());
    }
    let Some(shared_with) = &network.shared_with else {
        return Err(NotPermitted::NotShared { network: owner.clone(), namespace });
    };
    if !class.allow_sharing {
        return Err(NotPermitted::SharingForbidden {
            network: owner.clone(),
            namespace,
            class: class.name.clone(),
        });
    }
    if shared_with.admits(labels) {
        Ok(())
    } else {
        Err(NotPermitted::NotSelected { network: owner.clone(), namespace })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::fixture::{class, labels, network, selector};

    #[rstest]
    #[case::own("shop", None, false, None)]
    #[case::private("web", None, true, Some("is not shared with namespace \"web\""))]
    #[case::forbidden("web", Some(&[][..]), false, Some("NetworkClass \"fabric-a\" does not allow sharing"))]
    #[case::with_all("web", Some(&[][..]), true, None)]
    #[case::with_it("web", Some(&[("team", "web")][..]), true, None)]
    #[case::with_others("web", Some(&[("team", "net")][..]), true, Some("but not with \"web\""))]
    fn pods_attach_to_their_own_networks_and_to_those_shared_with_them(
        #[case] namespace: &str,
        #[case] shared_with: Option<&[(&str, &str)]>,
        #[case] allow_sharing: bool,
        #[case] refusal: Option<&str>,
    ) {
        let network = NetworkIntent { shared_with: shared_with.map(selector), ..network() };
        let class = Class { allow_sharing, ..class("bridge", json!({})) };
        let answer = may_attach(&network, &class, namespace, Some(&labels(&[("team", "web")])));
        match refusal {
            None => assert_eq!(answer, Ok(())),
            Some(why) => {
                let error = answer.unwrap_err().to_string();
                assert!(error.contains("Network shop/blue") && error.contains(why), "{error}");
            }
        }
    }

    #[test]
    fn without_labels_a_shared_network_is_open() {
        let network = NetworkIntent { shared_with: Some(selector(&[("team", "net")])), ..network() };
        let class = Class { allow_sharing: true, ..class("bridge", json!({})) };
        assert_eq!(may_attach(&network, &class, "web", None), Ok(()));
    }
}
