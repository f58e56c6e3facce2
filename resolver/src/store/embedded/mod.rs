//! The embedded store: one redb file, for a resolver without Kubernetes. Behaves as the API server does where it
//! matters: exact creates, compare-and-swap by resourceVersion, generations, finalizers, watches that lose nothing.

mod database;
mod record;
mod subject;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

use std::path::Path;
use std::sync::Arc;

use futures::Stream;
use tokio::sync::broadcast;

use self::database::{Database, ReadError, Snapshot};
use self::record::{Body, Key, Stored};
use self::subject::Subject;
use self::writer::{Change, Write, WriteError, Writer};
use super::{Kind, Labels, ObjectName, Preconditions, Store, StoreError, WatchEvent, metadata};

pub use self::database::OpenError;

/// Changes that a watcher may be behind before it begins anew.
const CHANGES: usize = 4096;

/// Objects in one file. Clones share it; it is closed with the last of them.
#[derive(Clone)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
}

struct Shared {
    // First, so that it is dropped first: the writer still needs the others for what was handed to it.
    writer: Writer,
    database: Arc<Database>,
    changes: broadcast::Sender<Arc<Change>>,
}

impl EmbeddedStore {
    /// Opens the state file, or makes it, for this process alone.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::start(Database::open(path)?).map_err(|source| OpenError::Io { path: path.to_owned(), source })
    }

    /// A store that nothing is left of, to try things out in.
    pub fn in_memory() -> Result<Self, OpenError> {
        Self::start(Database::in_memory()?)
            .map_err(|source| OpenError::Io { path: "(in memory)".into(), source })
    }

    fn start(database: Database) -> std::io::Result<Self> {
        let database = Arc::new(database);
        let (changes, _) = broadcast::channel(CHANGES);
        let writer = Writer::start(database.clone(), changes.clone())?;
        Ok(Self { shared: Arc::new(Shared { writer, database, changes }) })
    }

    fn read<K: Kind>(&self, name: &ObjectName) -> Result<Option<Stored>, ReadError> {
        Ok(self.shared.database.snapshot()?.get(&Key::of::<K>(name))?)
    }

    /// Reads what `object` is to replace, and refuses if it is not what its maker read.
    fn current<K: Kind>(&self, object: &K, subject: &Subject<'_>) -> Result<(Stored, Body), StoreError> {
        let found = self.read::<K>(subject.name()).map_err(|error| subject.unread("update", error))?;
        let found = found.ok_or_else(|| subject.not_found())?;
        let body = found.body().map_err(|error| subject.unread("update", error.into()))?;
        let meta = object.meta();
        let Some(version) = &meta.resource_version else {
            return Err(subject.refused("metadata.resourceVersion must be the one that was read"));
        };
        let other = meta.uid.as_deref().is_some_and(|uid| body.uid() != Some(uid));
        if other || *version != found.version.to_string() {
            return Err(subject.changed());
        }
        Ok((found, body))
    }

    /// Writes `next` over what was read; the last finalizer of a deleted object takes the object with it.
    async fn replace<K: Kind>(
        &self,
        subject: &Subject<'_>,
        (stored, body): (Stored, Body),
        next: Body,
    ) -> Result<K, StoreError> {
        let stored = if next == body {
            stored
        } else {
            let (key, version, labels) = (Key::of::<K>(subject.name()), stored.version, body.labels());
            let content = next.content().map_err(|error| subject.refused(&error.to_string()))?;
            let json = content.json.clone();
            let write = if next.is_deleted() && !next.has_finalizers() {
                Write::Delete { key, version, labels }
            } else {
                Write::Replace { key, version, labels, content }
            };
            let written = self.shared.writer.write(write).await;
            Stored { version: written.map_err(|error| subject.unwritten("update", error))?, json }
        };
        stored.decode().map_err(|error| subject.unread("update", error.into()))
    }
}

impl Store for EmbeddedStore {
    async fn get<K: Kind>(&self, name: &ObjectName) -> Result<Option<K>, StoreError> {
        let found =
            self.read::<K>(name).and_then(|found| Ok(found.map(|stored| stored.decode()).transpose()?));
        found.map_err(|error| Subject::of::<K>(name).unread("read", error))
    }

    async fn list<K: Kind>(&self, labels: &Labels) -> Result<Vec<K>, StoreError> {
        let (database, wanted) = (self.shared.database.clone(), labels.clone());
        let listed = tokio::task::spawn_blocking(move || list(&database.snapshot()?, &wanted)).await;
        listed.unwrap_or_else(|error| Err(error.into())).map_err(|error| StoreError::Unavailable {
            action: format!("list {}", K::plural(&())),
            source: Box::new(error),
        })
    }

    async fn position<K: Kind>(&self) -> Result<u64, StoreError> {
        match self.shared.database.snapshot() {
            Ok(snapshot) => Ok(snapshot.version()),
            Err(error) => Err(StoreError::Unavailable {
                action: format!("look for changes of {}", K::plural(&())),
                source: Box::new(error),
            }),
        }
    }

    fn watch<K: Kind>(&self) -> impl Stream<Item = WatchEvent<K>> + Send + Unpin + 'static {
        watch::watch(self.shared.clone())
    }

    async fn create<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        let name = ObjectName::of(object);
        let subject = Subject::of::<K>(&name);
        metadata::check(object.meta()).map_err(|reason| subject.refused(&reason.to_string()))?;
        let content = Body::created(object).and_then(|body| body.content());
        let content = content.map_err(|error| subject.refused(&error.to_string()))?;
        let json = content.json.clone();
        let written = self.shared.writer.write(Write::Create { key: Key::of::<K>(&name), content }).await;
        let version = written.map_err(|error| subject.unwritten("create", error))?;
        Stored { version, json }.decode().map_err(|error| subject.unread("create", error.into()))
    }

    async fn update<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        let name = ObjectName::of(object);
        let subject = Subject::of::<K>(&name);
        metadata::check(object.meta()).map_err(|reason| subject.refused(&reason.to_string()))?;
        let current = self.current(object, &subject)?;
        let next = current.1.updated(object).map_err(|error| subject.refused(&error.to_string()))?;
        self.replace(&subject, current, next).await
    }

    async fn update_status<K: Kind>(&self, object: &K) -> Result<K, StoreError> {
        let name = ObjectName::of(object);
        let subject = Subject::of::<K>(&name);
        let current = self.current(object, &subject)?;
        let next = current.1.with_status(object).map_err(|error| subject.refused(&error.to_string()))?;
        self.replace(&subject, current, next).await
    }

    async fn delete<K: Kind>(&self, name: &ObjectName, wanted: &Preconditions) -> Result<(), StoreError> {
        let subject = Subject::of::<K>(name);
        loop {
            let found = self.read::<K>(name).map_err(|error| subject.unread("delete", error))?;
            let stored = found.ok_or_else(|| subject.not_found())?;
            let body = stored.body().map_err(|error| subject.unread("delete", error.into()))?;
            if !holds(wanted, &stored, &body) {
                return Err(subject.changed());
            }
            let Some(write) = deletion(Key::of::<K>(name), &stored, &body)
                .map_err(|error| subject.unread("delete", error.into()))?
            else {
                return Ok(());
            };
            match self.shared.writer.write(write).await {
                Ok(_) => return Ok(()),
                // Somebody else wrote in between: the preconditions are judged again on what is there now.
                Err(WriteError::Changed) => {}
                Err(error) => return Err(subject.unwritten("delete", error)),
            }
        }
    }
}

fn holds(wanted: &Preconditions, stored: &Stored, body: &Body) -> bool {
    let version = stored.version.to_string();
    wanted.uid.as_deref().is_none_or(|uid| body.uid() == Some(uid))
        && wanted.resource_version.as_ref().is_none_or(|wanted| *wanted == version)
}

/// What a delete writes: with finalizers, only the wish; none where that was written before.
fn deletion(key: Key, stored: &Stored, body: &Body) -> Result<Option<Write>, serde_json::Error> {
    let (version, labels) = (stored.version, body.labels());
    Ok(if !body.has_finalizers() {
        Some(Write::Delete { key, version, labels })
    } else if body.is_deleted() {
        None
    } else {
        Some(Write::Replace { key, version, labels, content: body.deleted()?.content()? })
    })
}

fn list<K: Kind>(snapshot: &Snapshot, labels: &Labels) -> Result<Vec<K>, ReadError> {
    let plural = K::plural(&());
    let mut objects = Vec::new();
    let Some((first, value)) = labels.first_key_value() else {
        let mut after = None;
        loop {
            let page = snapshot.page(&plural, after.as_ref(), LIST_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(objects) };
            after = Some(last.clone());
            for (_, stored) in &page {
                objects.push(stored.decode()?);
            }
        }
    };
    for key in snapshot.labelled(&plural, first, value.as_deref())? {
        let Some(stored) = snapshot.get(&key)? else { continue };
        let object: K = stored.decode()?;
        if carries(&object, labels) {
            objects.push(object);
        }
    }
    Ok(objects)
}

/// Records read at a time by a list of a whole kind.
const LIST_PAGE: usize = 256;

fn carries<K: Kind>(object: &K, wanted: &Labels) -> bool {
    let labels = object.meta().labels.as_ref();
    wanted.iter().all(|(label, value)| {
        let found = labels.and_then(|labels| labels.get(label));
        found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
    })
}
