//! AdmissionReview, as far as it is read and written here. Only what is needed of it, so that what API servers of other
//! versions send beside that does no harm.

use k8s_openapi::ByteString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Verdict;

/// The version that is spoken.
const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// Characters of a message.
const LONGEST: usize = 1000;

/// Why a request is no review.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReviewError {
    /// Not JSON, or not of its shape.
    #[error("the request's body is no AdmissionReview: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Another kind or version.
    #[error("the request's body is a {api_version} {kind}, and must be an {API_VERSION} {KIND}")]
    Other {
        /// As sent.
        api_version: String,
        /// As sent.
        kind: String,
    },
    /// A review without a question, as answers are.
    #[error("the AdmissionReview has no request")]
    NoRequest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<Question>,
}

/// What is asked: may this object become that one, for this user?
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Question {
    /// The answer has to carry it.
    pub(crate) uid: String,
    /// CREATE, UPDATE, DELETE or CONNECT.
    #[serde(default)]
    pub(crate) operation: String,
    /// Empty for what has none, and for what has no name yet.
    #[serde(default)]
    pub(crate) namespace: Option<String>,
    /// `status`, say.
    #[serde(default)]
    pub(crate) sub_resource: Option<String>,
    /// Who asks the API server.
    #[serde(default)]
    pub(crate) user_info: UserInfo,
    /// As it would be.
    #[serde(default)]
    pub(crate) object: Value,
    /// As it is; null where it is not there.
    #[serde(default)]
    pub(crate) old_object: Value,
}

/// Who asks the API server.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct UserInfo {
    #[serde(default)]
    pub(super) username: String,
    #[serde(default)]
    pub(super) groups: Option<Vec<String>>,
}

impl Question {
    /// Reads a request's body.
    pub(crate) fn read(body: &[u8]) -> Result<Self, ReviewError> {
        let review: Review = serde_json::from_slice(body)?;
        if review.api_version != API_VERSION || review.kind != KIND {
            return Err(ReviewError::Other { api_version: review.api_version, kind: review.kind });
        }
        review.request.ok_or(ReviewError::NoRequest)
    }

    /// What would be asked, if somebody wrote this object; `old` is what is there.
    ///
    /// # Errors
    /// It can't be written as JSON.
    pub(crate) fn about<K: Serialize + kube::Resource>(
        old: Option<&K>,
        new: &K,
    ) -> Result<Self, serde_json::Error> {
        let operation = if old.is_some() { "UPDATE" } else { "CREATE" };
        Ok(Self {
            uid: String::new(),
            operation: operation.to_owned(),
            namespace: new.meta().namespace.clone(),
            sub_resource: None,
            user_info: UserInfo::default(),
            object: serde_json::to_value(new)?,
            old_object: old.map_or(Ok(Value::Null), serde_json::to_value)?,
        })
    }

    /// Whether the object is about to go. A Network or a class is not served from then on, whatever is written.
    pub(crate) fn is_about_what_goes(&self) -> bool {
        self.object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
    }

    /// Whether only a part of it is written that has its own rules, or nothing that is looked at is written at all: labels,
    /// annotations, finalizers.
    pub(crate) fn leaves_spec_alone(&self) -> bool {
        self.sub_resource.as_deref().is_some_and(|part| !part.is_empty())
            || !matches!(&*self.operation, "CREATE" | "UPDATE")
            || (self.operation == "UPDATE" && self.object.get("spec") == self.old_object.get("spec"))
    }

    /// The object, with the namespace that it will have. One that is being created has no time of its creation yet, though the
    /// API server has filled it in: it is later than all that are there, also than those of the same second.
    pub(crate) fn object<K: DeserializeOwned + kube::Resource>(&self) -> Result<K, String> {
        let mut object: K = K::deserialize(&self.object).map_err(|error| {
            format!(
                "the object can't be read: {error}: correct that field, or install the CRDs of this version"
            )
        })?;
        let namespace = self.namespace.clone().filter(|namespace| !namespace.is_empty());
        if object.meta().namespace.is_none() {
            object.meta_mut().namespace = namespace;
        }
        if self.operation == "CREATE" {
            object.meta_mut().creation_timestamp = None;
        }
        Ok(object)
    }

    /// The object as it is, if there is one that can still be read: older ones may have another shape.
    pub(crate) fn old_object<K: DeserializeOwned>(&self) -> Option<K> {
        K::deserialize(&self.old_object).ok()
    }
}

/// A review that answers one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Response,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    /// A JSON Patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<ByteString>,
}

/// The answer to a question.
pub(crate) fn answer(question: &Question, verdict: &Verdict) -> Answer {
    let allowed = verdict.refused.is_none();
    let status = verdict.refused.as_ref().map(|refused| {
        let message = shortened(&refused.message);
        json!({ "status": "Failure", "message": message, "reason": "Forbidden", "code": 403 })
    });
    let patch = Some(&verdict.patch).filter(|patch| allowed && !patch.is_empty());
    let patch = patch.map(|patch| ByteString(Value::Array(patch.clone()).to_string().into_bytes()));
    let response = Response {
        uid: question.uid.clone(),
        allowed,
        status,
        warnings: verdict.warnings.iter().map(|warning| shortened(warning)).collect(),
        patch_type: patch.as_ref().map(|_| "JSONPatch"),
        patch,
    };
    Answer { api_version: API_VERSION, kind: KIND, response }
}

/// A message repeats what somebody wrote, and that may be long.
fn shortened(message: &str) -> String {
    match message.char_indices().nth(LONGEST) {
        None => message.to_owned(),
        Some((end, _)) => format!("{}...", message.get(..end).unwrap_or_default()),
    }
}
