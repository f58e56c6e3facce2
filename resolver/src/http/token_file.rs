//! The bearer token of a single host: a file that only its owner may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use futures::future::{BoxFuture, FutureExt, ready};
use knap_protocol::NodeCredentials;
use parking_lot::Mutex;

use super::auth::{Authority, Denied};

/// Why a token file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It can't be read, or made.
    #[error("can't use the token file {path}: make sure that its folder exists and that it is readable", path = .path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Anybody could take an empty token for good.
    #[error("the token file {path} is empty: write a token into it, or remove it and it will be made anew", path = .path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
}

/// A token file, read again whenever it changes.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    read: Mutex<Option<ReadToken>>,
}

#[derive(Debug)]
struct ReadToken {
    version: FileVersion,
    token: Vec<u8>,
}

/// What changes when a file is written or replaced: device, inode, size, and time of change in nanoseconds.
type FileVersion = (u64, u64, u64, i64, i64);

impl TokenFile {
    /// Opens the file; makes it with random content, for its owner alone, where it is missing.
    pub fn open(path: &Path) -> Result<Self, TokenFileError> {
        let file = Self { path: path.to_owned(), read: Mutex::new(None) };
        match make(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(TokenFileError::Unusable { path: path.to_owned(), source: error });
            }
            _ => {}
        }
        file.matches(b"")?;
        Ok(file)
    }

    /// Whether this is the token, in a time that does not tell how much of it is right.
    pub fn matches(&self, given: &[u8]) -> Result<bool, TokenFileError> {
        let unusable = |source| TokenFileError::Unusable { path: self.path.clone(), source };
        let mut file = File::open(&self.path).map_err(unusable)?;
        let version = version_of(&file).map_err(unusable)?;
        let mut read = self.read.lock();
        if read.as_ref().is_none_or(|read| read.version != version) {
            let mut text = String::new();
            file.read_to_string(&mut text).map_err(unusable)?;
            *read = Some(ReadToken { version, token: text.trim().as_bytes().to_vec() });
        }
        match read.as_ref() {
            Some(ReadToken { token, .. }) if !token.is_empty() => Ok(same(token, given)),
            _ => Err(TokenFileError::Empty { path: self.path.clone() }),
        }
    }
}

impl TokenFile {
    /// Whoever may read the file may do all.
    fn admit(&self, token: &[u8]) -> Result<(), Denied> {
        match self.matches(token) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Denied::unauthorized(
                if token.is_empty() { "no_token" } else { "wrong_token" },
                "the request does not carry the resolver's token: send Authorization: Bearer with the content of the \
                 token file",
            )),
            Err(error) => {
                tracing::error!(%error, "can't check the token of a request");
                Err(Denied::unavailable("unavailable", error.to_string()))
            }
        }
    }
}

impl Authority for TokenFile {
    fn admit_node<'a>(&'a self, token: &'a [u8], _node: &'a str) -> BoxFuture<'a, Result<(), Denied>> {
        ready(self.admit(token)).boxed()
    }

    fn admit_reader<'a>(&'a self, token: &'a [u8], _path: &'a str) -> BoxFuture<'a, Result<(), Denied>> {
        ready(self.admit(token)).boxed()
    }

    fn exchange<'a>(
        &'a self,
        token: &'a [u8],
        _node: &'a str,
    ) -> BoxFuture<'a, Result<NodeCredentials, Denied>> {
        let none = Denied::forbidden(
            "single_host",
            "there is nothing to exchange on a single host: the content of the token file is the credential",
        );
        ready(self.admit(token).and(Err(none))).boxed()
    }
}

/// Makes the file whole or not at all: nobody ever reads half a token.
fn make(path: &Path) -> io::Result<()> {
    let mut random = [0_u8; 32];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(token.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let linked = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    linked
}

fn version_of(file: &File) -> io::Result<FileVersion> {
    let meta = file.metadata()?;
    Ok((meta.dev(), meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec()))
}

/// Compares in a time that depends on the length alone.
fn same(left: &[u8], right: &[u8]) -> bool {
    let difference = left.iter().zip(right).fold(0, |difference, (left, right)| difference | (left ^ right));
    left.len() == right.len() && std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_missing_file_is_made_for_its_owner_alone_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = TokenFile::open(&path).unwrap();
        let token = fs::read_to_string(&path).unwrap();
        assert_eq!(token.trim().len(), 64);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(file.matches(token.trim().as_bytes()).unwrap());
        assert!(!file.matches(b"").unwrap());
        assert!(!file.matches(&token.as_bytes()[..10]).unwrap());
        TokenFile::open(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), token);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "one").unwrap();
        let file = TokenFile::open(&path).unwrap();
        assert!(file.matches(b"one").unwrap());
        fs::write(&path, "two\n").unwrap();
        assert!(file.matches(b"two").unwrap() && !file.matches(b"one").unwrap());
        fs::write(&path, "\n").unwrap();
        assert!(matches!(file.matches(b""), Err(TokenFileError::Empty { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(file.matches(b"two"), Err(TokenFileError::Unusable { .. })));
    }
}
