//! Who hears of attachments that failed, beside whoever asked for them.

use knap_protocol::{AttachRequest, NetworkName, NodeName, PodRef, ProblemKind};

use super::Attacher;
use super::lease::Asker;
use super::refusal::Refusal;
use crate::decision::DecisionId;
use crate::store::Store;

/// An attachment that failed, of a pod that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttachment {
    /// The decision.
    pub id: String,
    /// Where it was to be.
    pub node: NodeName,
    /// To what.
    pub network: NetworkName,
    /// For whom, with the UID by which the pod is known.
    pub pod: PodRef,
    /// What the caller hears, in a word.
    pub kind: ProblemKind,
    /// And in full.
    pub text: String,
}

/// Hears of attachments that failed. Nobody waits for it.
pub trait Witness: Send + Sync {
    /// One has failed.
    fn failed(&self, failed: FailedAttachment);
}

impl<S: Store> Attacher<S> {
    /// From now on somebody hears of failures, if their pods are proven.
    #[must_use]
    pub fn telling(self, witness: impl Witness + 'static) -> Self {
        Self { witness: Some(Box::new(witness)), ..self }
    }

    /// Tells of a failure. `proven` is the pod, where it came so far.
    pub(super) fn tell(
        &self,
        id: &DecisionId,
        asker: Asker<'_>,
        request: &AttachRequest,
        proven: Option<PodRef>,
        refusal: &Refusal,
    ) {
        let Some(witness) = &self.witness else { return };
        let reason = match refusal {
            Refusal::NotWithdrawn(reason) => reason,
            refusal => refusal,
        };
        let pod = match reason {
            // It was given up, and whoever gave it up knows.
            Refusal::Released(_) => None,
            Refusal::Identity(error) => error.pod(),
            _ => proven,
        };
        let Some(pod) = pod else { return };
        witness.failed(FailedAttachment {
            id: id.to_string(),
            node: asker.node.clone(),
            network: request.network.clone(),
            pod,
            kind: refusal.kind(),
            text: refusal.to_string(),
        });
    }
}
