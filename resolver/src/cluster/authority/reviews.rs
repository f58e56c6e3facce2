//! What only the API server can tell: whose a token is, and what that user may do.

use std::future::Future;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};

use crate::metrics::Measured;
use crate::store::StoreError;
use crate::store::kubernetes::KubernetesStore;

/// Asks the API server.
pub(crate) trait Reviews: Send + Sync + 'static {
    /// Whose a token is, if it was made for this audience; without one, for the API server itself.
    fn whose(
        &self,
        token: &str,
        audience: Option<&str>,
    ) -> impl Future<Output = Result<TokenReviewStatus, StoreError>> + Send;

    /// Whether a user may `get` a path that is no resource's.
    fn may_get(
        &self,
        user: UserInfo,
        path: &str,
    ) -> impl Future<Output = Result<SubjectAccessReviewStatus, StoreError>> + Send;
}

impl Reviews for Measured<KubernetesStore> {
    async fn whose(&self, token: &str, audience: Option<&str>) -> Result<TokenReviewStatus, StoreError> {
        let spec = TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: audience.map(|audience| vec![audience.to_owned()]),
        };
        let answer = self.review(&TokenReview { spec, ..TokenReview::default() }).await?;
        Ok(answer.status.unwrap_or_default())
    }

    async fn may_get(&self, user: UserInfo, path: &str) -> Result<SubjectAccessReviewStatus, StoreError> {
        let spec = SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some(path.to_owned()),
                verb: Some("get".to_owned()),
            }),
            resource_attributes: None,
        };
        let answer = self.review(&SubjectAccessReview { spec, ..SubjectAccessReview::default() }).await?;
        Ok(answer.status.unwrap_or_default())
    }
}
