//! How the programs under test are found.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds all that the tiers run.
pub const BUILD: &str = "cargo build --workspace --features \
    knap-cni/fault-points,knap-installer/fault-points,knap-resolver/fault-points";

/// The CNI plugin, built with fault points.
pub fn knap() -> PathBuf {
    program("knap")
}

/// Makes a plugin of another version in a folder: without symbols, so that it is soon copied, and with a name at its end, which
/// the kernel does not load.
pub fn another_knap(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    strip(&knap(), &path);
    let mut file = File::options().append(true).open(&path).expect("a stripped plugin");
    file.write_all(name.as_bytes()).expect("a name at a plugin's end");
    path
}

/// Copies a program without its symbols.
///
/// # Panics
/// If there is no `strip`, which comes with every C compiler.
pub fn strip(program: &Path, to: &Path) {
    let stripped = Command::new("strip").arg("-o").arg(to).arg(program).output();
    let stripped = stripped.expect("strip of binutils, which comes with every C compiler");
    assert!(stripped.status.success(), "strip: {}", String::from_utf8_lossy(&stripped.stderr));
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
