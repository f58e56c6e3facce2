//! How much of a class one namespace may use.

use crate::{Class, NetworkRef};

/// A namespace that has used up its share of a class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverQuota {
    /// Of Networks.
    #[error(
        "namespace {namespace:?} has its {limit} Networks of NetworkClass {class:?} already: remove one, or have the \
         administrator raise access.networksPerNamespace"
    )]
    Networks {
        /// The Network's namespace.
        namespace: String,
        /// The class.
        class: String,
        /// How many it may have.
        limit: u32,
    },
    /// Of attachments.
    #[error(
        "namespace {namespace:?} has {held} attachments to Networks of NetworkClass {class:?}, and its limit is \
         {limit}: remove pods, or have the administrator raise access.attachmentsPerNamespace"
    )]
    Attachments {
        /// The pod's namespace.
        namespace: String,
        /// The class.
        class: String,
        /// How many it has.
        held: u64,
        /// How many it may have.
        limit: u32,
    },
}

/// Whether a namespace of which a class serves so many other Networks may have one more served.
pub fn check_networks(network: &NetworkRef, others: usize, class: &Class) -> Result<(), OverQuota> {
    match class.access.networks_per_namespace {
        Some(limit) if u64::try_from(others).unwrap_or(u64::MAX) >= u64::from(limit) => {
            Err(OverQuota::Networks {
                namespace: network.namespace.clone(),
                class: class.name.clone(),
                limit,
            })
        }
        _ => Ok(()),
    }
}

/// Whether a namespace that holds so many attachments to Networks of a class may have one more.
pub fn check_attachments(pod_namespace: &str, held: u64, class: &Class) -> Result<(), OverQuota> {
    match class.access.attachments_per_namespace {
        Some(limit) if held >= u64::from(limit) => Err(OverQuota::Attachments {
            namespace: pod_namespace.to_owned(),
            class: class.name.clone(),
            held,
            limit,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::fixture::{class, network};

    fn limited(networks: Option<u32>, attachments: Option<u32>) -> Class {
        let mut class = class("bridge", json!({}));
        class.access.networks_per_namespace = networks;
        class.access.attachments_per_namespace = attachments;
        class
    }

    #[rstest]
    #[case::no_limit(None, true)]
    #[case::third_of_three(Some(3), true)]
    #[case::third_of_two(Some(2), false)]
    #[case::none_at_all(Some(0), false)]
    fn networks_are_counted(#[case] limit: Option<u32>, #[case] served: bool) {
        let answer = check_networks(&network().owner, 2, &limited(limit, None));
        assert_eq!(answer.is_ok(), served, "{answer:?}");
        if let Err(error) = answer {
            assert!(error.to_string().contains("namespace \"shop\" has"), "{error}");
        }
    }

    #[rstest]
    #[case(None, 1_000_000, true)]
    #[case(Some(500), 499, true)]
    #[case(Some(500), 500, false)]
    #[case(Some(0), 0, false)]
    fn attachments_are_counted(#[case] limit: Option<u32>, #[case] held: u64, #[case] served: bool) {
        let answer = check_attachments("shop", held, &limited(None, limit));
        assert_eq!(answer.is_ok(), served, "{answer:?}");
    }
}
