//! How much of a class one namespace may use.

use crate::{Class, NetworkRef};

/// When a Network was created, as an order: the second, then the UID, which no two share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seniority {
    /// `metadata.creationTimestamp`, Unix seconds.
    pub created: i64,
    /// `metadata.uid`.
    pub uid: String,
}

/// A namespace that has used up its share of a class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverQuota {
    /// Of Networks.
    #[error(
        "namespace {namespace:?} has its {limit} Networks of NetworkClass {class:?} already, all older than this one: \
         remove one, or have the administrator raise access.networksPerNamespace"
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

/// Whether a Network is among the oldest of its namespace and class, as many as the class allows. `others` are
/// the namespace's other Networks of that class; `mine` among them does no harm.
pub fn check_networks<'a>(
    network: &NetworkRef,
    mine: &Seniority,
    others: impl IntoIterator<Item = &'a Seniority>,
    class: &Class,
) -> Result<(), OverQuota> {
    let Some(limit) = class.access.networks_per_namespace else { return Ok(()) };
    let older = others.into_iter().filter(|other| *other < mine).count();
    if u64::try_from(older).unwrap_or(u64::MAX) < u64::from(limit) {
        return Ok(());
    }
    Err(OverQuota::Networks { namespace: network.namespace.clone(), class: class.name.clone(), limit })
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

    fn seniority(created: i64, uid: &str) -> Seniority {
        Seniority { created, uid: uid.into() }
    }

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
    fn the_oldest_networks_are_served(#[case] limit: Option<u32>, #[case] served: bool) {
        let mine = seniority(20, "m");
        // Two are older, one of them by its UID in the same second.
        let others =
            [seniority(30, "b"), seniority(20, "x"), mine.clone(), seniority(20, "a"), seniority(10, "z")];
        let answer = check_networks(&network().owner, &mine, &others, &limited(limit, None));
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
