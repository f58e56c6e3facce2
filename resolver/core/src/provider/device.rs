//! What providers of whole devices have in common: a resource instead of uplinks.

use super::ProviderError;
use crate::{Class, Profile};

/// Refuses a class that names no resource, or uplinks besides.
pub(super) fn check(provider: &'static str, class: &Class) -> Result<(), ProviderError> {
    if class.resource_name.is_none() {
        return Err(ProviderError::Missing {
            provider,
            field: "resourceName",
            remedy: "name the resource that the nodes' device plugin offers (vendor.com/pool)",
        });
    }
    if !class.uplinks.is_empty() {
        return Err(ProviderError::Unsupported {
            provider,
            field: "uplinks",
            remedy: "remove them: the device plugin knows which devices belong to resourceName",
        });
    }
    Ok(())
}

/// Devices are on the fabric's wire, and nothing on the host is a gateway there.
pub(super) const fn profile() -> Profile {
    Profile {
        gateway_by_default: false,
        routed: false,
        own_segment: false,
        addresses: true,
        exclusive: Vec::new(),
    }
}
