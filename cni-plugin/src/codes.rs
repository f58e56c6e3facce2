//! The CNI codes of the modules that know nothing of CNI errors.

use knap_client::ResolverError;
use knap_protocol::CniCode;

use crate::boot::BootError;
use crate::failure::Failure;
use crate::host_link::HostLinkError;
use crate::ledger::LedgerError;
use crate::netns::NetnsError;
use crate::release::ReleaseError;

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        let code = if matches!(error, LedgerError::Busy { .. }) { CniCode::TRY_AGAIN } else { CniCode::IO };
        Self::new(code, error.to_string())
    }
}

impl From<NetnsError> for Failure {
    fn from(error: NetnsError) -> Self {
        Self::new(CniCode::NETNS, error.to_string())
    }
}

impl From<BootError> for Failure {
    fn from(error: BootError) -> Self {
        Self::new(CniCode::IO, error.to_string())
    }
}

impl From<ResolverError> for Failure {
    fn from(error: ResolverError) -> Self {
        Self::new(error.cause.code(), error.to_string())
    }
}

impl From<ReleaseError> for Failure {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::Resolver(error) => error.into(),
            ReleaseError::Ledger(error) => error.into(),
        }
    }
}

impl From<HostLinkError> for Failure {
    fn from(error: HostLinkError) -> Self {
        match error {
            HostLinkError::Record(error) => error.into(),
            HostLinkError::Boot(error) => error.into(),
            HostLinkError::Kernel { .. } => Self::new(CniCode::IO, error.to_string()),
            // What the class says does not fit this node or this version.
            other => Self::new(CniCode::INVALID_CONFIG, other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_link_that_this_node_can_not_mark_is_a_failure_of_its_io() {
        let unreadable =
            BootError::Read { path: "/proc/boot_id".into(), source: io::ErrorKind::NotFound.into() };
        assert_eq!(Failure::from(HostLinkError::Boot(unreadable)).code, CniCode::IO);
        let unknown = HostLinkError::UnknownKind { name: "kn1".parse().unwrap(), kind: "tunnel".to_owned() };
        assert_eq!(Failure::from(unknown).code, CniCode::INVALID_CONFIG);
    }
}
