//! Errors about one object, with its kind and name in them.

use super::database::ReadError;
use super::writer::WriteError;
use crate::store::{Kind, ObjectName, StoreError};

/// The object that a call is about.
pub(super) struct Subject<'a> {
    kind: String,
    name: &'a ObjectName,
}

impl<'a> Subject<'a> {
    pub(super) fn of<K: Kind>(name: &'a ObjectName) -> Self {
        Self { kind: K::kind(&()).into_owned(), name }
    }

    pub(super) const fn name(&self) -> &ObjectName {
        self.name
    }

    pub(super) fn not_found(&self) -> StoreError {
        StoreError::NotFound { kind: self.kind.clone(), name: self.name.clone() }
    }

    pub(super) fn changed(&self) -> StoreError {
        StoreError::Changed { kind: self.kind.clone(), name: self.name.clone() }
    }

    pub(super) fn refused(&self, reason: &str) -> StoreError {
        StoreError::Refused { kind: self.kind.clone(), name: self.name.clone(), reason: reason.to_owned() }
    }

    pub(super) fn unread(&self, verb: &str, error: ReadError) -> StoreError {
        StoreError::Unavailable { action: self.action(verb), source: Box::new(error) }
    }

    pub(super) fn unwritten(&self, verb: &str, error: WriteError) -> StoreError {
        match error {
            WriteError::AlreadyExists => {
                StoreError::AlreadyExists { kind: self.kind.clone(), name: self.name.clone() }
            }
            WriteError::NotFound => self.not_found(),
            WriteError::Changed => self.changed(),
            WriteError::File(_) | WriteError::Closed => {
                StoreError::Unavailable { action: self.action(verb), source: Box::new(error) }
            }
        }
    }

    fn action(&self, verb: &str) -> String {
        format!("{verb} {} {}", self.kind, self.name)
    }
}
