//! Puts the plugin on a node: the binary, its node file, and nothing else; and takes all of it away again.
//!
//! Every step can be repeated: what is right already is left alone, what is wrong is put right.

pub mod cli;
mod node_file;
mod plugin_binary;
mod replace;
mod uninstall;

use cli::{Arguments, Command};
use plugin_binary::PluginBinary;

/// Does what the arguments ask for.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let binary = PluginBinary::in_folder(&arguments.paths.bin_dir);
    match &arguments.command {
        Command::Install(install) => {
            let outcome = binary.install(&install.source()?)?;
            tracing::info!("{}: {outcome}", binary.path().display());
            let path = arguments.paths.node_file();
            let outcome = node_file::ensure(&path, &install.node_file(&arguments.paths))?;
            tracing::info!("{}: {outcome}", path.display());
        }
        Command::Rollback => {
            binary.rollback()?;
            tracing::info!("{}: the previous version is back", binary.path().display());
        }
        Command::Uninstall { force } => {
            for removed in uninstall::remove_all(&binary, &arguments.paths, *force)? {
                tracing::info!("{}: removed", removed.display());
            }
        }
    }
    Ok(())
}
