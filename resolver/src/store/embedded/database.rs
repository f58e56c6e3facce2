//! The state file: which tables it has, how it is opened, and consistent reads of it.

use std::io::Read;
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{ReadOnlyTable, ReadableDatabase, TableDefinition, TableHandle};

use super::record::{Key, Stored};

/// (plural, namespace or empty, name) -> the object, as `record` writes it.
pub(super) const OBJECTS: TableDefinition<'_, ObjectKey, &[u8]> = TableDefinition::new("objects");
/// (plural, label, value, namespace or empty, name): every label of every object, so that a list by label reads
/// no more than it returns.
pub(super) const LABELS: TableDefinition<'_, LabelKey, ()> = TableDefinition::new("labels");
/// Numbers about the file itself.
pub(super) const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
/// In `FACTS`: the store-wide counter that resourceVersions come from.
pub(super) const VERSION: &str = "version";
/// In `FACTS`: the layout of this file.
const FORMAT: &str = "format";
/// The layout that this program writes.
const CURRENT_FORMAT: u64 = 1;

type ObjectKey = (&'static str, &'static str, &'static str);
type LabelKey = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// What every redb file begins with.
const MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1A, 0x0A, 0xA9, 0x0D, 0x0A];

/// The kernel caches the file too; this is what the process itself pays for.
const CACHE_BYTES: usize = 4 << 20;

/// Why a state file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No such folder, no permission, no space.
    #[error("can't open the state file {path}; its folder must exist and be writable")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "the state file {path} is in use by another knap-resolver: stop that one, or give this one its own file with --state"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Not made by this program.
    #[error(
        "{path} is not a state file of knap-resolver: give another path with --state; it was left as it is"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Made by this program, and broken since.
    #[error(
        "the state file {path} is damaged: restore it from a backup, or move it away to start without any lease \
         (nodes then assert their running attachments again)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        #[source]
        source: redb::Error,
    },
    /// It was there when this process began.
    #[error(
        "the state file {path} is gone, or empty: bring back the file system that it was on; to begin without any lease, restart \
         knap-resolver (nodes then assert their running attachments again)"
    )]
    Lost {
        /// The file.
        path: PathBuf,
    },
    /// Made by a later version of this program.
    #[error(
        "the state file {path} has format {found}, this knap-resolver knows formats up to {known}: use the version that wrote it"
    )]
    Later {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// Ours.
        known: u64,
    },
}

/// Why an open state file did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the state file is closed after an error and could not be opened again yet")]
    Closed,
    #[error("the state file can't be read")]
    File(#[from] redb::Error),
    #[error("the thread that reads the state file ended early")]
    Thread(#[from] tokio::task::JoinError),
    #[error("what is stored is not what this version writes")]
    Content(#[from] serde_json::Error),
}

/// The state file, open or waiting to be opened again: redb refuses everything after an I/O error (a full disk)
/// until its file is opened anew.
pub(super) struct Database {
    /// None in memory.
    path: Option<PathBuf>,
    file: RwLock<Option<redb::Database>>,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let file = open_file(path, true)?;
        Ok(Self { path: Some(path.to_owned()), file: RwLock::new(Some(file)) })
    }

    /// A database that is gone with the process.
    pub(super) fn in_memory() -> Result<Self, OpenError> {
        let path = Path::new("(in memory)");
        let mut builder = redb::Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let file =
            builder.create_with_backend(InMemoryBackend::new()).map_err(|error| refusal(path, error))?;
        prepare(path, &file)?;
        Ok(Self { path: None, file: RwLock::new(Some(file)) })
    }

    /// Begins a consistent read of all that is committed.
    pub(super) fn snapshot(&self) -> Result<Snapshot, ReadError> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        let file = file.as_ref().ok_or(ReadError::Closed)?;
        Ok(Snapshot::begin(file)?)
    }

    /// Runs the one writer's transaction; the file is opened again first if it had to be closed.
    pub(super) fn write<T>(
        &self,
        transaction: impl FnOnce(&redb::Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        file.as_ref().ok_or(redb::Error::PreviousIo).and_then(transaction)
    }

    /// Closes the file; what is in memory stays. Readers that are under way see their reads fail, and so do all until it is opened again.
    pub(super) fn close(&self) {
        if self.path.is_none() {
            return;
        }
        let closed = self.file.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(closed);
    }

    /// Opens the file again after [`Database::close`].
    pub(super) fn reopen(&self) -> Result<(), OpenError> {
        // Not under the lock: checking a large file takes a while, and readers must not hang for it.
        let file = match &self.path {
            Some(path) => open_file(path, false)?,
            None => return Ok(()),
        };
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }
}

/// A file that is not there, or empty, is a new one where it `may_be_new`.
fn open_file(path: &Path, may_be_new: bool) -> Result<redb::Database, OpenError> {
    let lost = || OpenError::Lost { path: path.to_owned() };
    let io = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound if !may_be_new => lost(),
        _ => OpenError::Io { path: path.to_owned(), source },
    };
    let mut file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(may_be_new)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    let mut start = Vec::with_capacity(MAGIC.len());
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start).map_err(io)?;
    if start.is_empty() && !may_be_new {
        return Err(lost());
    }
    if !start.is_empty() && start != MAGIC {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let mut builder = redb::Database::builder();
    // Leases are locks: a file that was altered must be refused, not half believed.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    let opened = FileBackend::new(file).and_then(|file| builder.create_with_backend(file));
    let database = opened.map_err(|error| refusal(path, error))?;
    prepare(path, &database)?;
    Ok(database)
}

fn refusal(path: &Path, error: redb::DatabaseError) -> OpenError {
    use redb::DatabaseError::{DatabaseAlreadyOpen, LockProtocolMismatch, Storage};
    let path = path.to_owned();
    match error {
        DatabaseAlreadyOpen | LockProtocolMismatch => OpenError::InUse { path },
        Storage(redb::StorageError::Io(source)) => OpenError::Io { path, source },
        other => OpenError::Damaged { path, source: other.into() },
    }
}

/// Makes the tables of a new file, and checks that those of an old one are ours.
fn prepare(path: &Path, database: &redb::Database) -> Result<(), OpenError> {
    let damaged = |source: redb::Error| OpenError::Damaged { path: path.to_owned(), source };
    let read = || -> Result<(bool, Option<u64>), redb::Error> {
        let transaction = database.begin_read()?;
        let tables: Vec<String> = transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
        if !tables.iter().any(|table| table == FACTS.name()) {
            return Ok((tables.is_empty(), None));
        }
        let format = transaction.open_table(FACTS)?.get(FORMAT)?.map(|format| format.value());
        Ok((false, format))
    };
    match read().map_err(damaged)? {
        (true, _) => initialize(database).map_err(damaged),
        (false, Some(CURRENT_FORMAT)) => Ok(()),
        (false, Some(found)) => Err(OpenError::Later { path: path.to_owned(), found, known: CURRENT_FORMAT }),
        (false, None) => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

fn initialize(database: &redb::Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(OBJECTS)?;
        transaction.open_table(LABELS)?;
        let mut facts = transaction.open_table(FACTS)?;
        facts.insert(FORMAT, CURRENT_FORMAT)?;
        facts.insert(VERSION, 0)?;
    }
    transaction.commit()?;
    Ok(())
}

/// One consistent view of the file, for as long as it is kept.
pub(super) struct Snapshot {
    objects: ReadOnlyTable<ObjectKey, &'static [u8]>,
    labels: ReadOnlyTable<LabelKey, ()>,
    version: u64,
}

impl Snapshot {
    fn begin(file: &redb::Database) -> Result<Self, redb::Error> {
        let transaction = file.begin_read()?;
        let version = transaction.open_table(FACTS)?.get(VERSION)?.map_or(0, |version| version.value());
        Ok(Self {
            objects: transaction.open_table(OBJECTS)?,
            labels: transaction.open_table(LABELS)?,
            version,
        })
    }

    /// The store-wide version of this view: it holds every change up to this one, and none after.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Stored>, redb::Error> {
        Ok(self.objects.get(key.parts())?.map(|value| Stored::from_bytes(value.value())))
    }

    /// At most `limit` objects of a kind, in the order of their names, after `after`.
    pub(super) fn page(
        &self,
        plural: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Stored)>, redb::Error> {
        let from = match after {
            Some(key) => Bound::Excluded(key.parts()),
            None => Bound::Included((plural, "", "")),
        };
        let mut page = Vec::new();
        for item in self.objects.range::<(&str, &str, &str)>((from, Bound::Unbounded))?.take(limit) {
            let (key, value) = item?;
            let (found, namespace, name) = key.value();
            if found != plural {
                break;
            }
            page.push((Key::new(found, namespace, name), Stored::from_bytes(value.value())));
        }
        Ok(page)
    }

    /// Names of the objects of a kind that carry a label, whatever its value where none is given.
    pub(super) fn labelled(
        &self,
        plural: &str,
        label: &str,
        wanted: Option<&str>,
    ) -> Result<Vec<Key>, redb::Error> {
        let from = (plural, label, wanted.unwrap_or_default(), "", "");
        let mut keys = Vec::new();
        for item in self.labels.range::<(&str, &str, &str, &str, &str)>(from..)? {
            let (key, _) = item?;
            let (found, name, value, namespace, object) = key.value();
            if found != plural || name != label || wanted.is_some_and(|wanted| wanted != value) {
                break;
            }
            keys.push(Key::new(found, namespace, object));
        }
        Ok(keys)
    }
}
