//! Puts the plugin on a node, keeps it there as it should be, and takes all of it away again.
//!
//! Every step can be repeated: what is right already is left alone, what is wrong is put right.

mod agent;
pub mod cli;
mod fault;
mod file_stamp;
mod host_root;
mod in_root;
mod ledger;
mod lock;
mod node_file;
mod plugin_binary;
mod program;
mod replace;
mod uninstall;

use cli::{Arguments, Command, HostPaths, Install};
use lock::NodeLock;

/// Does what the arguments ask for.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let paths = &arguments.paths;
    match &arguments.command {
        Command::Install(settings) => install(paths, settings),
        Command::Agent(settings) => agent::run(paths, settings),
        Command::Rollback => rollback(paths),
        Command::Uninstall { force } => uninstall(paths, *force),
        Command::InRoot { root, program, arguments } => in_root::exec(root, program, arguments),
    }
}

fn install(paths: &HostPaths, settings: &Install) -> anyhow::Result<()> {
    let _lock = lock(paths)?;
    let binary = paths.plugin();
    binary.sweep();
    binary.make_folder()?;
    let outcome = binary.install(&settings.plugin.source()?)?;
    tracing::info!("{}: {outcome}", binary.on_host().display());
    let outcome = node_file::ensure(paths, &settings.node_file(paths), &node_file::grace)?;
    tracing::info!("{}: {outcome}", paths.node_file().display());
    Ok(())
}

fn rollback(paths: &HostPaths) -> anyhow::Result<()> {
    let _lock = lock(paths)?;
    let binary = paths.plugin();
    binary.rollback()?;
    tracing::info!("{}: the previous version is back", binary.on_host().display());
    Ok(())
}

fn uninstall(paths: &HostPaths, force: bool) -> anyhow::Result<()> {
    // Where its folder is missing, no agent runs.
    let lock = if paths.root().folder(&paths.config_dir).exists() { Some(lock(paths)?) } else { None };
    for removed in uninstall::remove_all(paths, force, &node_file::grace)? {
        tracing::info!("{}: removed", removed.display());
    }
    drop(lock);
    uninstall::remove_config_dir(paths)?;
    Ok(())
}

fn lock(paths: &HostPaths) -> Result<NodeLock, lock::LockError> {
    NodeLock::take(&paths.here(&paths.lock_file()), &lock::this_process())
}
