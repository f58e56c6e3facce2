//! What there is around the store where Networks are provisioned: those who attach by other means than asking the resolver,
//! and people who look at objects.

use std::future::Future;

use knap_api::Network;
use knap_core::{Class, NetworkIntent};

use super::news::News;
use crate::store::{ObjectName, StoreError};

/// A Network that is provisioned, to be made known.
pub struct Subject<'a> {
    /// As it is wished for.
    pub intent: &'a NetworkIntent,
    /// What serves it.
    pub class: &'a Class,
    /// The device plugin's resource, of which pods need a device.
    pub resource_name: Option<&'a str>,
}

/// How far a Network is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// By what it can be attached to, `shop/blue`; sorted.
    pub names: Vec<String>,
    /// Why it is not known everywhere where it should be.
    pub trouble: Option<Trouble>,
}

/// Why something could not be made known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// CamelCase, of a condition.
    pub reason: &'static str,
    /// What, and what to do.
    pub message: String,
}

/// What there is around the store.
pub trait Surroundings: Send + Sync + 'static {
    /// Makes a Network known as it is now. None where there is nobody, or where that can't be told yet.
    fn publish(
        &self,
        subject: &Subject<'_>,
    ) -> impl Future<Output = Result<Option<Published>, StoreError>> + Send;

    /// Has a Network that was made known, and is not served now, stay known as it was. `class` is the one that served it, where
    /// there still is one. None as above.
    fn keep(
        &self,
        network: &Network,
        class: Option<&Class>,
    ) -> impl Future<Output = Result<Option<Published>, StoreError>> + Send;

    /// Undoes that, for a Network that goes.
    fn withdraw(&self, network: &ObjectName) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Undoes it for all Networks that are gone.
    fn sweep(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Tells people about a Network. It may get lost.
    fn tell(&self, network: &Network, news: News);
}

/// A single host: whoever attaches names the Network, and the log is what people look at.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl Surroundings for Alone {
    async fn publish(&self, _: &Subject<'_>) -> Result<Option<Published>, StoreError> {
        Ok(None)
    }

    async fn keep(&self, _: &Network, _: Option<&Class>) -> Result<Option<Published>, StoreError> {
        Ok(None)
    }

    async fn withdraw(&self, _: &ObjectName) -> Result<(), StoreError> {
        Ok(())
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn tell(&self, _: &Network, _: News) {}
}
