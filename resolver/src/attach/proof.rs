//! That a pod is the node's that asks for it, where there is somebody to tell.

use std::borrow::Cow;
use std::sync::Arc;

use knap_protocol::AttachRequest;
use tokio::time::{Instant, sleep};

use super::Attacher;
use super::lease::Asker;
use super::make::REPEAT;
use super::refusal::Refusal;
use crate::identity::Pods;
use crate::store::Store;

impl<S: Store> Attacher<S> {
    /// From now on a node is believed only about pods that run on it. Without this, as on a single host, whoever asks may say
    /// for which pod.
    #[must_use]
    pub fn asking(self, pods: Arc<Pods<S>>) -> Self {
        Self { pods: Some(pods), ..self }
    }

    /// The request, for a pod that is proven to run on the node, with the UID by which it is known there.
    pub(super) async fn proven<'a>(
        &self,
        asker: Asker<'_>,
        request: &'a AttachRequest,
        deadline: Instant,
    ) -> Result<Cow<'a, AttachRequest>, Refusal> {
        let Some(pods) = &self.pods else { return Ok(Cow::Borrowed(request)) };
        loop {
            match pods.proven(asker.node, request).await {
                Ok(pod) if request.pod.as_ref() == Some(&pod) => return Ok(Cow::Borrowed(request)),
                Ok(pod) => return Ok(Cow::Owned(AttachRequest { pod: Some(pod), ..request.clone() })),
                // An API server that is restarted is back in seconds.
                Err(error) if error.is_unread() && Instant::now() + REPEAT * 2 < deadline => {
                    sleep(REPEAT).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
