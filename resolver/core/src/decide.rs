//! Which class and provider serve a Network, and what must be reserved for it: the first of the pure steps that the
//! controllers, `plan -f` and admission share.

use std::borrow::Cow;

use crate::provider::{self, Provider, ProviderError, provider};
use crate::{Class, IntentError, Labels, Needs, NeedsError, NetworkIntent, SelectionError, select_class};

#[cfg(test)]
mod tests;

/// A Network's class and provider, and what must be reserved for it.
#[derive(Debug, Clone)]
pub struct Decision<'a> {
    /// The class that serves it.
    pub class: Cow<'a, Class>,
    /// The class's provider.
    pub provider: &'static dyn Provider,
    /// What must be reserved before there can be a plan.
    pub needs: Needs,
}

/// Why there can be no plan for a Network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecideError {
    /// The Network contradicts itself.
    #[error(transparent)]
    Intent(#[from] IntentError),
    /// No class serves it.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The class names a provider that is not there.
    #[error(
        "NetworkClass {class:?} has provider {provider:?}, which does not exist (built in: {}): correct spec.provider",
        provider::names().join(", ")
    )]
    UnknownProvider {
        /// The class.
        class: String,
        /// Its provider.
        provider: String,
    },
    /// The class can't work as it is written.
    #[error("NetworkClass {class:?}: {source}")]
    Class {
        /// The class.
        class: String,
        /// What its provider says.
        source: Box<ProviderError>,
    },
    /// The class can't give what the Network needs.
    #[error(transparent)]
    Needs(#[from] NeedsError),
}

/// Checks a Network, selects its class, and says what must be reserved for it.
pub fn decide<'a>(
    network: &NetworkIntent,
    classes: impl IntoIterator<Item = &'a Class>,
    namespace_labels: Option<&Labels>,
) -> Result<Decision<'a>, DecideError> {
    network.check()?;
    let class = select_class(network, classes, namespace_labels)?;
    let provider = provider(&class.provider).ok_or_else(|| DecideError::UnknownProvider {
        class: class.name.clone(),
        provider: class.provider.clone(),
    })?;
    provider
        .validate(&class)
        .map_err(|source| DecideError::Class { class: class.name.clone(), source: Box::new(source) })?;
    let needs = Needs::of(network, &class, provider.profile(&class))?;
    Ok(Decision { class, provider, needs })
}
