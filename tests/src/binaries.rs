//! How the programs under test are found.

use std::path::{Path, PathBuf};

/// Builds all that the tiers run.
pub const BUILD: &str = "cargo build --workspace --features knap-cni/fault-points,knap-resolver/fault-points";

/// The CNI plugin, built with fault points.
pub fn knap() -> PathBuf {
    program("knap")
}

/// The resolver, built with fault points.
pub fn knap_resolver() -> PathBuf {
    program("knap-resolver")
}

/// The node agent.
pub fn knap_installer() -> PathBuf {
    program("knap-installer")
}

/// The fake delegate.
pub fn recording_delegate() -> PathBuf {
    of_tests("recording-delegate")
}

/// A binary of this crate: cargo builds it together with the test that runs.
///
/// # Panics
/// With the command that builds it, if it is not there.
pub fn of_tests(name: &str) -> PathBuf {
    let built_with_test = beside_test().join(name);
    if built_with_test.is_file() { built_with_test } else { program(name) }
}

/// Finds a program in `KNAP_BIN_DIR`, or else beside the running test.
///
/// # Panics
/// With the command that builds it, if it is not there.
pub fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("KNAP_BIN_DIR").map_or_else(beside_test, PathBuf::from);
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is missing: build it with `{BUILD}`, or name the folder that has it in KNAP_BIN_DIR",
        path.display()
    );
    path
}

/// `target/debug` for a test that runs as `target/debug/deps/<test>`.
fn beside_test() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    let folder = test.parent().unwrap_or(Path::new("/"));
    if folder.ends_with("deps") { folder.parent().unwrap_or(folder).to_owned() } else { folder.to_owned() }
}
