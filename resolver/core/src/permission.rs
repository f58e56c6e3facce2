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
