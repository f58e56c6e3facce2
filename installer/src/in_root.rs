//! The hidden subcommand by which programs of the host are run: chrooted into the host's root, where their paths, their
//! libraries and the tools they call are what they are on the host.
//!
//! A process of its own, since a program can't change the root between fork and exec without unsafe code.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

/// How long a program whose file is still open for writing somewhere is tried again.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

/// The exit status where the program was not run, as of `chroot` and shells: what then is on standard error is not its own.
pub(crate) const NOT_RUN: i32 = 126;

/// Becomes the program, or ends with the reason why not.
pub(crate) fn exec(root: &Path, program: &Path, arguments: &[OsString]) -> ! {
    let error = match enter(root) {
        Ok(()) => become_it(program, arguments),
        Err(error) => error,
    };
    // The status says it too.
    let _ = writeln!(io::stderr(), "{error:#}");
    std::process::exit(NOT_RUN)
}

fn enter(root: &Path) -> anyhow::Result<()> {
    nix::unistd::chroot(root)
        .with_context(|| format!("can't enter {}: it needs CAP_SYS_CHROOT", root.display()))?;
    std::env::set_current_dir("/").context("can't change to the host's root folder")
}

fn become_it(program: &Path, arguments: &[OsString]) -> anyhow::Error {
    let begun = Instant::now();
    loop {
        let error = Command::new(program).args(arguments).exec();
        if error.kind() != io::ErrorKind::ExecutableFileBusy || begun.elapsed() > BUSY_PATIENCE {
            return anyhow::Error::new(error).context(format!("can't run {} on the host", program.display()));
        }
        thread::sleep(Duration::from_millis(5));
    }
}
