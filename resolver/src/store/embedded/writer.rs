//! The one writer. A thread of its own collects the writes that wait, runs them in order in one transaction, makes it
//! durable with one sync, and then answers all of them.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use redb::ReadableTable;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::database::{Database, FACTS, LABELS, OBJECTS, VERSION};
use super::record::{Content, Key, Stored};

/// Writes that one transaction takes at most: bounds what a crash costs those who wait, and its memory.
const BATCH: usize = 512;
/// Writes that may wait; beyond these, callers wait to hand theirs over.
const QUEUE: usize = 1024;
/// Between attempts to open a file that failed.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// A change of one object. What it replaces or deletes must still have the version that its caller read, so that
/// every decision made on that reading holds; `labels` are those that were read with it.
pub(super) enum Write {
    Create { key: Key, content: Content },
    Replace { key: Key, version: u64, labels: Vec<(String, String)>, content: Content },
    Delete { key: Key, version: u64, labels: Vec<(String, String)> },
}

/// Why a write was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum WriteError {
    #[error("there is an object of that name")]
    AlreadyExists,
    #[error("there is no object of that name")]
    NotFound,
    #[error("the object has changed")]
    Changed,
    #[error("the state file can't be written")]
    File(#[source] Arc<redb::Error>),
    #[error("the store is shutting down")]
    Closed,
}

/// What became of an object, in the order of versions.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Applied {
        key: Key,
        stored: Stored,
    },
    Deleted {
        key: Key,
        stored: Stored,
    },
    /// The file was opened again: anything may have changed.
    Reopened,
}

type Answer = oneshot::Sender<Result<u64, WriteError>>;
type Changes = broadcast::Sender<Arc<Change>>;

struct Job {
    write: Write,
    answer: Answer,
}

/// The way to the writer's thread, which ends with it.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(database: Arc<Database>, changes: Changes) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let run = move || Loop { database, changes }.run(queue);
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(run)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Durable when it returns: the version that the write got.
    pub(super) async fn write(&self, write: Write) -> Result<u64, WriteError> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(WriteError::Closed)?;
        jobs.send(Job { write, answer }).await.map_err(|_| WriteError::Closed)?;
        answered.await.map_err(|_| WriteError::Closed)?
    }
}

impl Drop for Writer {
    /// Lets what was handed over become durable: one transaction, as a rule.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer ended abnormally");
        }
    }
}

struct Loop {
    database: Arc<Database>,
    changes: Changes,
}

/// A write that its transaction took, and the change that it makes once committed.
type Outcome = Result<(u64, Change), WriteError>;

impl Loop {
    fn run(self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(job) = queue.try_recv()
            {
                batch.push(job);
            }
            if let Err(error) = self.commit(batch) {
                self.recover(&mut queue, &error);
            }
        }
    }

    fn commit(&self, batch: Vec<Job>) -> Result<(), Arc<redb::Error>> {
        let (writes, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|job| (job.write, job.answer)).unzip();
        match self.database.write(|file| transact(file, writes)) {
            Ok(outcomes) => {
                for (outcome, answer) in outcomes.into_iter().zip(answers) {
                    self.tell(outcome, answer);
                }
                Ok(())
            }
            Err(error) => {
                let error = Arc::new(error);
                for answer in answers {
                    refuse(answer, &error);
                }
                Err(error)
            }
        }
    }

    /// Opens the file anew, as often as it takes: a disk may be full for a while. Who wants to write meanwhile is
    /// refused, not kept waiting.
    fn recover(&self, queue: &mut mpsc::Receiver<Job>, cause: &Arc<redb::Error>) {
        tracing::error!(error = cause.as_ref() as &dyn std::error::Error, "can't write the state file");
        self.database.close();
        while let Err(error) = self.database.reopen() {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "nothing can be read or written; trying again"
            );
            std::thread::sleep(REOPEN_PAUSE);
            while let Ok(job) = queue.try_recv() {
                refuse(job.answer, cause);
            }
            if queue.is_closed() {
                return;
            }
        }
        tracing::info!("the state file is open again");
        // Without watchers nobody is told.
        let _ = self.changes.send(Arc::new(Change::Reopened));
    }

    fn tell(&self, outcome: Outcome, answer: Answer) {
        let result = outcome.map(|(version, change)| {
            // Without watchers nobody is told.
            let _ = self.changes.send(Arc::new(change));
            version
        });
        let _ = answer.send(result);
    }
}

fn refuse(answer: Answer, error: &Arc<redb::Error>) {
    // Who no longer waits needs no answer.
    let _ = answer.send(Err(WriteError::File(Arc::clone(error))));
}

fn transact(file: &redb::Database, writes: Vec<Write>) -> Result<Vec<Outcome>, redb::Error> {
    let transaction = file.begin_write()?;
    let outcomes = {
        let mut tables = Tables {
            objects: transaction.open_table(OBJECTS)?,
            labels: transaction.open_table(LABELS)?,
            version: 0,
        };
        let mut facts = transaction.open_table(FACTS)?;
        tables.version = facts.get(VERSION)?.map_or(0, |version| version.value());
        let outcomes = writes.into_iter().map(|write| tables.apply(write)).collect::<Result<Vec<_>, _>>()?;
        facts.insert(VERSION, tables.version)?;
        outcomes
    };
    if outcomes.iter().any(Result::is_ok) {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(outcomes)
}

type ObjectTable<'t> = redb::Table<'t, (&'static str, &'static str, &'static str), &'static [u8]>;
type LabelTable<'t> =
    redb::Table<'t, (&'static str, &'static str, &'static str, &'static str, &'static str), ()>;

struct Tables<'t> {
    objects: ObjectTable<'t>,
    labels: LabelTable<'t>,
    version: u64,
}

impl Tables<'_> {
    fn apply(&mut self, write: Write) -> Result<Outcome, redb::Error> {
        match write {
            Write::Create { key, content } => {
                if self.objects.get(key.parts())?.is_some() {
                    return Ok(Err(WriteError::AlreadyExists));
                }
                self.put(key, content).map(Ok)
            }
            Write::Replace { key, version, labels, content } => match self.read(&key, version)? {
                Ok(_) => {
                    self.unlabel(&key, &labels)?;
                    self.put(key, content).map(Ok)
                }
                Err(error) => Ok(Err(error)),
            },
            Write::Delete { key, version, labels } => match self.read(&key, version)? {
                Ok(mut stored) => {
                    self.unlabel(&key, &labels)?;
                    self.objects.remove(key.parts())?;
                    self.version += 1;
                    stored.version = self.version;
                    Ok(Ok((self.version, Change::Deleted { key, stored })))
                }
                Err(error) => Ok(Err(error)),
            },
        }
    }

    /// The object, if its version is still the given one.
    fn read(&self, key: &Key, version: u64) -> Result<Result<Stored, WriteError>, redb::Error> {
        let stored = self.objects.get(key.parts())?.map(|value| Stored::from_bytes(value.value()));
        Ok(match stored {
            None => Err(WriteError::NotFound),
            Some(stored) if stored.version != version => Err(WriteError::Changed),
            Some(stored) => Ok(stored),
        })
    }

    fn put(&mut self, key: Key, content: Content) -> Result<(u64, Change), redb::Error> {
        self.version += 1;
        let bytes = Stored::to_bytes(self.version, &content.json);
        self.objects.insert(key.parts(), bytes.as_slice())?;
        let (plural, namespace, name) = key.parts();
        for (label, value) in &content.labels {
            self.labels.insert((plural, label.as_str(), value.as_str(), namespace, name), ())?;
        }
        let stored = Stored { version: self.version, json: content.json };
        Ok((self.version, Change::Applied { key, stored }))
    }

    fn unlabel(&mut self, key: &Key, labels: &[(String, String)]) -> Result<(), redb::Error> {
        let (plural, namespace, name) = key.parts();
        for (label, value) in labels {
            self.labels.remove((plural, label.as_str(), value.as_str(), namespace, name))?;
        }
        Ok(())
    }
}
