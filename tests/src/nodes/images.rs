//! Images of containers, made without a registry: of Debian's static busybox, and of Knap's own programs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What tests' pods run: a shell and what looks at the network. It sleeps until it is told to end.
pub(super) const BUSYBOX: &str = "docker.io/library/busybox:1.36";
/// What holds a pod's namespaces.
pub(super) const PAUSE: &str = "knap.test/pause:1";

/// Makes both of one program; the tars' paths.
pub(super) fn basic(busybox: &Path, folder: &Path) -> Vec<PathBuf> {
    let root = folder.join("busybox");
    fs::create_dir_all(root.join("bin")).expect("a folder for an image");
    fs::create_dir_all(root.join("tmp")).expect("a folder for an image");
    fs::copy(busybox, root.join("bin/busybox")).expect("busybox");
    for name in ["sh", "ip", "ping", "sleep", "cat", "ls", "wget", "httpd", "nslookup"] {
        symlink("busybox", root.join("bin").join(name)).expect("a name of busybox");
    }
    let sleep = "/bin/busybox sleep 2147483647";
    [("busybox", BUSYBOX), ("pause", PAUSE)]
        .map(|(name, reference)| pack(folder, name, reference, sleep, &root))
        .into()
}

/// Makes an image of built programs, with the libraries that they are linked with. What ships is static; a build for tests is not.
pub(super) fn of_programs(folder: &Path, reference: &str, programs: &[PathBuf]) -> PathBuf {
    let name = programs.first().and_then(|program| program.file_name()).expect("a program").to_string_lossy();
    let root = folder.join(format!("image-of-{name}"));
    fs::create_dir_all(&root).expect("a folder for an image");
    for program in programs {
        fs::copy(program, root.join(program.file_name().expect("a program's name"))).expect("a program");
        let listed = Command::new("ldd").arg(program).output().expect("ldd");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
            let inside = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(inside.parent().expect("a folder")).expect("a folder for libraries");
            fs::copy(library, inside).expect("a library");
        }
    }
    pack(folder, &name, reference, &format!("/{name}"), &root)
}

/// Makes an image of a folder.
fn pack(folder: &Path, name: &str, reference: &str, entrypoint: &str, root: &Path) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/image.sh");
    let tar = folder.join(format!("{name}.tar"));
    let layer = format!("{}={}", architecture(), root.display());
    let made = Command::new(&script).arg(&tar).args([reference, entrypoint, "0", &layer]).output();
    let made = made.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(made.status.success(), "image {reference}: {}", String::from_utf8_lossy(&made.stderr));
    tar
}

/// As images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
