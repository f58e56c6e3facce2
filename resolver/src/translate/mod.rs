//! From Kubernetes objects to the types of `knap-core`: every string is parsed once, here, and every error names the
//! object and the field.

mod class;
mod field;
mod network;
mod selector;

pub use self::class::class;
pub use self::field::{FieldError, TranslateError};
pub use self::network::{network, network_ref};
