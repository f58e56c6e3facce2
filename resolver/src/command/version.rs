//! `knap-resolver version`.

/// The one line that it prints.
pub fn line() -> String {
    format!("knap-resolver {}", env!("CARGO_PKG_VERSION"))
}
