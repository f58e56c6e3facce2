//! Admission: what the API server asks before it takes an object (AdmissionReview, `admission.k8s.io/v1`).
//!
//! The files here decide, from the view and the object alone; `http` asks and answers. What is decided about Networks and
//! classes is what the controllers would decide, by the same code: see [`crate::provision`].

mod attachment;
mod class;
mod network;
mod pod;
mod raw;
mod read;
mod review;
mod verdict;

use std::sync::Arc;

pub(crate) use network::removed_in_use;
pub(crate) use pod::{interfaces_on, slipped};
pub(crate) use raw::RawAttachments;
pub use raw::RawPolicy;
pub(crate) use read::Read;
pub(crate) use review::{Answer, Question, ReviewError, answer};
use verdict::UNREADABLE;
pub(crate) use verdict::{Refused, Verdict};

use crate::provision::Rules;
use crate::store::{Store, StoreError};
use crate::view::View;

/// What can be asked about, each on a path of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A Network that is made or changed.
    Network,
    /// A NetworkClass that is made or changed.
    NetworkClass,
    /// A pod that names Networks.
    Pod,
    /// A pod that names what leads to Networks, and knows nothing of Knap.
    Launcher,
    /// A NetworkAttachmentDefinition that is made or changed.
    Attachment,
}

impl Subject {
    /// The webhook that asks: the last part of its path.
    pub(crate) const fn webhook(self) -> &'static str {
        match self {
            Self::Network => "networks",
            Self::NetworkClass => "networkclasses",
            Self::Pod => "pods",
            Self::Launcher => "launchers",
            Self::Attachment => "attachments",
        }
    }
}

/// How this cluster wants it.
#[derive(Debug, Clone)]
pub struct Policy {
    /// As the controllers have them.
    pub(crate) rules: Rules,
    /// What is done about definitions that are past Knap.
    pub(crate) raw_attachments: RawAttachments,
}

impl Policy {
    /// Whether this depends on which networks the cluster itself uses.
    pub(crate) fn minds_cluster_networks(subject: Subject, question: &Question) -> bool {
        matches!(subject, Subject::Network | Subject::NetworkClass)
            && !question.is_about_what_goes()
            && !question.leaves_spec_alone()
    }

    /// Reads what this can't be decided without: the view does not know it.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn read<S: Store>(
        &self,
        store: &S,
        view: &View,
        subject: Subject,
        question: &Question,
    ) -> Result<Read, StoreError> {
        match subject {
            Subject::Pod => Read::of_pod(store, view, question).await,
            Subject::Network => Read::of_network(store, view, question).await,
            Subject::NetworkClass => Read::of_class(store, view).await,
            Subject::Launcher | Subject::Attachment => Ok(Read::default()),
        }
    }

    /// Decides about one object; with what was read for that.
    pub(crate) async fn decide(
        &self,
        view: &Arc<View>,
        subject: Subject,
        question: &Question,
        read: &Read,
    ) -> Verdict {
        match subject {
            Subject::Pod => pod::decide(view, question, read),
            Subject::Launcher => pod::launcher(view, question),
            Subject::Attachment => attachment::decide(&self.raw_attachments, question),
            Subject::Network => network::decide(view, self.rules, question, read).await,
            Subject::NetworkClass => class::decide(view, self.rules, question, read).await,
        }
    }
}

#[cfg(test)]
mod tests;
