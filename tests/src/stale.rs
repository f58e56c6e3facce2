//! What a run left behind that was killed before its fixtures could clean up.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const PREFIX: &str = "knap-test-";

/// A folder for one host, named after this process. The first call removes those of processes that are no more.
pub(crate) fn fresh_folder() -> TempDir {
    static SWEEP: Once = Once::new();
    SWEEP.call_once(|| {
        stale_folders()
            .iter()
            .for_each(|folder| eprintln!("removing {}, left by a run that was killed", folder.display()));
        sweep();
    });
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir().expect("a folder for the test")
}

/// Removes what processes left that are no more.
pub fn sweep() {
    stale_folders().iter().for_each(|folder| remove(folder));
}

/// Has this process's own things removed when it has ended, however that happens: for what all its tests share, and none drops.
#[cfg(feature = "api")]
pub(crate) fn sweep_at_end() {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};
    use std::sync::OnceLock;

    /// Its standard input is closed by the kernel.
    static SWEEPER: OnceLock<Child> = OnceLock::new();
    SWEEPER.get_or_init(|| {
        let mut sweeper = Command::new(crate::binaries::of_tests("sweep-at-end"));
        // Interrupting the test from a terminal ends the test alone.
        sweeper.process_group(0).stdin(Stdio::piped()).spawn().expect("sweep-at-end")
    });
}

fn stale_folders() -> Vec<PathBuf> {
    let folders = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    folders.map(|folder| folder.path()).filter(|folder| is_stale(folder)).collect()
}

fn is_stale(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).map(|(owner, _)| owner);
    // A process that has ended and that nobody has waited for is still listed, but runs no program.
    let runs = |owner: &str| fs::read_link(Path::new("/proc").join(owner).join("exe")).is_ok();
    owner.is_some_and(|owner| owner.parse::<u32>().is_ok() && !runs(owner))
}

/// Ends the processes that work in a folder, unmounts what is mounted in it, and removes it.
fn remove(folder: &Path) {
    let inside = format!("{}/", folder.display());
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let number = process.file_name().to_string_lossy().parse::<i32>();
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        if let Ok(number) = number
            && String::from_utf8_lossy(&command).contains(&inside)
        {
            let _ = kill(Pid::from_raw(number), Signal::SIGKILL);
        }
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for mount in
        mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|path| path.starts_with(&inside))
    {
        let _ = umount2(mount, MntFlags::MNT_DETACH);
    }
    #[cfg(feature = "api")]
    crate::nodes::remove_cgroups(&folder.file_name().unwrap_or_default().to_string_lossy());
    let _ = fs::remove_dir_all(folder);
}
