//! Running the installed plugin, as it is run on the host.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use super::node::Node;
use crate::program::{Program, ProgramError, Said};

/// Where delegates find the tools that they call: `iptables`, say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the plugin to its end.
pub(crate) fn call(
    node: &Node,
    arguments: &[&str],
    more: &[(&str, &OsStr)],
    stdin: &str,
    patience: Duration,
) -> Result<Said, ProgramError> {
    let root = node.paths.root();
    let (path, config, cni_path) = (node.paths.plugin().on_host(), node.paths.node_file(), cni_path(node));
    let usual = [("CNI_PATH", &*cni_path), ("KNAP_CONFIG", config.as_os_str()), ("PATH", OsStr::new(PATH))];
    let environment = [&usual, more].concat();
    Program { root: &root, path: &path, arguments, environment: &environment, stdin, patience }
        .run(node.signals.stopping())
}

/// The folders of delegates, as the runtime has them.
fn cni_path(node: &Node) -> OsString {
    let folders = [std::slice::from_ref(&node.paths.bin_dir), &node.settings.delegate_dirs].concat();
    // Only a colon in a folder's name could not be joined, and no runtime could use such a folder.
    std::env::join_paths(folders).unwrap_or_else(|_| node.paths.bin_dir.clone().into())
}
