//! Extractors whose refusals are problem documents.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use knap_protocol::{AttachmentKey, ContainerId, InterfaceName, InvalidName, NodeName, ProblemKind};
use serde::de::DeserializeOwned;

use super::problem::Failure;

/// A JSON body, which has been read. Its media type is not looked at: there is no other.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, C: Send + Sync> FromRequest<C> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, context: &C) -> Result<Self, Failure> {
        let bytes = Bytes::from_request(request, context).await.map_err(|rejection: BytesRejection| {
            Failure::new(ProblemKind::BadRequest, rejection.body_text())
        })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            Failure::new(
                ProblemKind::BadRequest,
                format!("the request's body is not what this path takes: {error}"),
            )
        })
    }
}

/// Path parameters.
pub(super) struct Segments<T>(pub(super) T);

impl<T: DeserializeOwned + Send, C: Send + Sync> FromRequestParts<C> for Segments<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &C) -> Result<Self, Failure> {
        let Path(segments) =
            Path::from_request_parts(parts, context).await.map_err(|rejection: PathRejection| {
                Failure::new(ProblemKind::BadRequest, rejection.body_text())
            })?;
        Ok(Self(segments))
    }
}

/// Query parameters.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, C: Send + Sync> FromRequestParts<C> for Parameters<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &C) -> Result<Self, Failure> {
        let Query(parameters) =
            Query::from_request_parts(parts, context).await.map_err(|rejection: QueryRejection| {
                Failure::new(ProblemKind::BadRequest, rejection.body_text())
            })?;
        Ok(Self(parameters))
    }
}

/// The node and the attachment on it, as the path names them.
pub(super) struct OnNode {
    pub(super) node: NodeName,
    pub(super) key: AttachmentKey,
}

impl<C: Send + Sync> FromRequestParts<C> for OnNode {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &C) -> Result<Self, Failure> {
        let Segments((node, container, ifname)) =
            Segments::<(String, String, String)>::from_request_parts(parts, context).await?;
        let parsed = || -> Result<Self, InvalidName> {
            Ok(Self {
                node: NodeName::try_from(node)?,
                key: AttachmentKey {
                    container_id: ContainerId::try_from(container)?,
                    ifname: InterfaceName::try_from(ifname)?,
                },
            })
        };
        parsed().map_err(|invalid| Failure::new(ProblemKind::BadRequest, invalid.to_string()))
    }
}
