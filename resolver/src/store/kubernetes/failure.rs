//! What the API server's answers mean for the one object that a call is about.

use kube::core::Status;

use super::call::CallError;
use crate::store::{Kind, ObjectName, StoreError};

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Read,
    Create,
    Update,
    Apply,
    Delete,
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Apply => "apply",
            Self::Delete => "delete",
        }
    }
}

/// One call about one object.
pub(super) struct Subject<'a> {
    verb: Verb,
    kind: String,
    name: &'a ObjectName,
    not_served: fn() -> CallError,
}

#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    AlreadyExists,
    NotFound,
    Changed,
    /// It has not happened, and the same call again would not do better.
    Refused,
    /// The kind itself is unknown.
    NotServed,
    /// It may have happened or not.
    Unknown,
}

impl<'a> Subject<'a> {
    pub(super) fn new<K: Kind>(verb: Verb, name: &'a ObjectName) -> Self {
        Self { verb, kind: K::kind(&()).into_owned(), name, not_served: CallError::not_served::<K> }
    }

    pub(super) const fn name(&self) -> &ObjectName {
        self.name
    }

    pub(super) fn not_found(&self) -> StoreError {
        StoreError::NotFound { kind: self.kind.clone(), name: self.name.clone() }
    }

    pub(super) fn refused(&self, reason: &str) -> StoreError {
        StoreError::Refused { kind: self.kind.clone(), name: self.name.clone(), reason: reason.to_owned() }
    }

    pub(super) fn failed(&self, error: CallError) -> StoreError {
        let CallError::Client(kube::Error::Api(status)) = &error else { return self.unavailable(error) };
        match meaning(self.verb, self.name, status) {
            Meaning::AlreadyExists => {
                StoreError::AlreadyExists { kind: self.kind.clone(), name: self.name.clone() }
            }
            Meaning::NotFound => self.not_found(),
            Meaning::Changed => StoreError::Changed { kind: self.kind.clone(), name: self.name.clone() },
            Meaning::Refused => self.refused(&status.message),
            Meaning::NotServed => self.unavailable((self.not_served)()),
            Meaning::Unknown => self.unavailable(error),
        }
    }

    fn unavailable(&self, error: CallError) -> StoreError {
        let action = format!("{} {} {}", self.verb.name(), self.kind, self.name);
        StoreError::Unavailable { action, source: Box::new(error) }
    }
}

fn meaning(verb: Verb, name: &ObjectName, status: &Status) -> Meaning {
    let about = status.details.as_ref().map_or("", |details| details.name.as_str());
    match (status.code, status.reason.as_str()) {
        // Its namespace is missing.
        (404, "NotFound") if verb == Verb::Apply && !about.is_empty() => Meaning::Refused,
        (404, "NotFound") if verb != Verb::Create && about == name.name => Meaning::NotFound,
        // Its namespace is missing.
        (404, "NotFound") if verb == Verb::Create && !about.is_empty() => Meaning::Refused,
        (404, _) => Meaning::NotServed,
        (409, "AlreadyExists") if verb == Verb::Create => Meaning::AlreadyExists,
        (409, "Conflict") if matches!(verb, Verb::Update | Verb::Apply | Verb::Delete) => Meaning::Changed,
        (400 | 403 | 405 | 406 | 413 | 415 | 422, _) => Meaning::Refused,
        _ => Meaning::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::response::StatusDetails;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::lost_a_race(Verb::Create, 409, "AlreadyExists", "blue", Meaning::AlreadyExists)]
    #[case::quota_in_flux(Verb::Create, 409, "Conflict", "quota", Meaning::Unknown)]
    #[case::no_namespace(Verb::Create, 404, "NotFound", "shop", Meaning::Refused)]
    #[case::terminating_namespace(Verb::Create, 403, "Forbidden", "blue", Meaning::Refused)]
    #[case::nowhere_to_apply(Verb::Apply, 404, "NotFound", "shop", Meaning::Refused)]
    #[case::others_fields(Verb::Apply, 409, "Conflict", "blue", Meaning::Changed)]
    #[case::stale(Verb::Update, 409, "Conflict", "blue", Meaning::Changed)]
    #[case::another(Verb::Delete, 409, "Conflict", "blue", Meaning::Changed)]
    #[case::gone(Verb::Delete, 404, "NotFound", "blue", Meaning::NotFound)]
    #[case::gone(Verb::Read, 404, "NotFound", "blue", Meaning::NotFound)]
    #[case::no_crd(Verb::Read, 404, "Failed to parse error data", "", Meaning::NotServed)]
    #[case::no_crd(Verb::Create, 404, "NotFound", "", Meaning::NotServed)]
    #[case::nonsense(Verb::Create, 422, "Invalid", "blue", Meaning::Refused)]
    #[case::token_expired(Verb::Create, 401, "Unauthorized", "", Meaning::Unknown)]
    #[case::busy(Verb::Create, 429, "TooManyRequests", "", Meaning::Unknown)]
    #[case::etcd_slow(Verb::Create, 500, "InternalError", "", Meaning::Unknown)]
    #[case::etcd_slower(Verb::Update, 504, "Timeout", "blue", Meaning::Unknown)]
    fn answers_mean(
        #[case] verb: Verb,
        #[case] code: u16,
        #[case] reason: &str,
        #[case] about: &str,
        #[case] expected: Meaning,
    ) {
        let details = StatusDetails {
            name: about.to_owned(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        };
        let status = Status::failure("words", reason).with_code(code).with_details(details);
        assert_eq!(meaning(verb, &ObjectName::namespaced("shop", "blue"), &status), expected);
    }
}
