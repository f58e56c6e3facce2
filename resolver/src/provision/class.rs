//! Whether a class can serve at all, before any Network asks. Pure.

use knap_api::NetworkClass;
use knap_core::provider::{self, provider};
use knap_core::{Class, ProviderError};

use crate::translate::{self, TranslateError};

/// Why a class can serve nobody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClassError {
    /// Its spec can't be read.
    #[error(transparent)]
    Spec(#[from] TranslateError),
    /// Nobody knows how to provide it.
    #[error("there is no provider {provider:?} (built in: {}): correct spec.provider", provider::names().join(", "))]
    UnknownProvider {
        /// As written.
        provider: String,
    },
    /// Its provider can't work with it.
    #[error("NetworkClass {class:?}: {source}")]
    Provider {
        /// The class.
        class: String,
        /// What its provider says.
        source: ProviderError,
    },
}

impl ClassError {
    /// As in the conditions of a Network of such a class.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownProvider { .. } => "UnknownProvider",
            Self::Spec(_) | Self::Provider { .. } => "InvalidClass",
        }
    }
}

/// The class as it can serve.
pub(crate) fn check_class(class: &NetworkClass) -> Result<Class, ClassError> {
    let class = translate::class(class)?;
    let provider = provider(&class.provider)
        .ok_or_else(|| ClassError::UnknownProvider { provider: class.provider.clone() })?;
    let checked = provider.validate(&class);
    checked.map_err(|source| ClassError::Provider { class: class.name.clone(), source })?;
    Ok(class)
}
