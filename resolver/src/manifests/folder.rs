//! The folder itself: applied once before anything is served, then followed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::BrokenManifest;
use super::apply::{Outcome, Wanted};
use super::contents::{Contents, Owners};
use super::scan::{self, Files};
use crate::store::{ObjectName, Store, StoreError};

/// Files are read when nothing has happened for this long: an editor's save is several steps.
const SETTLE: Duration = Duration::from_millis(100);
/// Files that keep changing are read at least this often.
const PATIENCE: Duration = Duration::from_millis(500);
/// An object that has gone from its file is removed when it is still gone after this long: what is being
/// saved is for a moment empty, or not there.
const SECOND_LOOK: Duration = Duration::from_millis(300);
/// Looks without being told, where the kernel tells.
const RESCAN: Duration = Duration::from_secs(5);
/// Looks where the kernel does not tell, or when something is left to be done.
const QUICK_RESCAN: Duration = Duration::from_millis(500);

/// Why the folder could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder is not there, or not readable.
    #[error("can't read the manifest folder {path}: give an existing folder with --manifests")]
    Read {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The store is away.
    #[error("can't apply the manifest folder {path}")]
    Store {
        /// The folder.
        path: PathBuf,
        /// The store's words.
        #[source]
        source: StoreError,
    },
}

/// A folder of manifests.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    broken: watch::Sender<Vec<BrokenManifest>>,
    /// What was applied last, whole: the same files need no second look.
    applied: Option<Files>,
    orphans: BTreeSet<(&'static str, ObjectName)>,
}

impl Folder {
    /// A folder that is not read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), broken: watch::Sender::default(), applied: None, orphans: BTreeSet::new() }
    }

    /// The files that could not be taken, as of the last look.
    pub fn broken(&self) -> watch::Receiver<Vec<BrokenManifest>> {
        self.broken.subscribe()
    }

    /// Brings the store to what the files say. One that can't be understood is noted in [`Folder::broken`], and what
    /// it said before stays.
    pub async fn apply_once<S: Store>(&mut self, store: &S) -> Result<(), FolderError> {
        self.look(store).await?;
        if !self.orphans.is_empty() {
            sleep(SECOND_LOOK).await;
            self.look(store).await?;
        }
        Ok(())
    }

    /// Follows the folder for as long as it is polled. Trouble is logged and tried again.
    pub async fn watch<S: Store>(mut self, store: S) {
        let (changed, mut changes) = tokio::sync::mpsc::channel(1);
        let watcher = follow(&self.path, changed);
        if let Err(error) = &watcher {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the kernel does not report changes of the manifest folder; looking often");
        }
        loop {
            let left = self.applied.is_none() || !self.orphans.is_empty();
            let pause = if left || watcher.is_err() { QUICK_RESCAN } else { RESCAN };
            if let Ok(Some(())) = timeout(pause, changes.recv()).await {
                settle(&mut changes).await;
            }
            if let Err(error) = self.apply_once(&store).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "what is served stays as it was");
            }
        }
    }

    async fn look<S: Store>(&mut self, store: &S) -> Result<(), FolderError> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || scan::files(&path)).await;
        let files = read
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| FolderError::Read { path: self.path.clone(), source })?;
        if self.applied.as_ref() == Some(&files) {
            return Ok(());
        }
        self.applied = None;
        let (outcome, broken) = apply(&files, store, &self.orphans)
            .await
            .map_err(|source| FolderError::Store { path: self.path.clone(), source })?;
        self.report(broken);
        if outcome.orphans.is_empty() && !outcome.waiting {
            self.applied = Some(files);
        }
        self.orphans = outcome.orphans;
        Ok(())
    }

    /// Tells of files that broke and of those that were mended, once each.
    fn report(&self, broken: Vec<BrokenManifest>) {
        let before = self.broken.borrow().clone();
        for manifest in broken.iter().filter(|manifest| !before.contains(manifest)) {
            let BrokenManifest { file, reason } = manifest;
            tracing::error!(file, "broken manifest, what it said before keeps serving: {reason}");
        }
        for manifest in before.iter().filter(|old| !broken.iter().any(|new| new.file == old.file)) {
            tracing::info!(file = manifest.file, "this manifest is no longer broken");
        }
        if before != broken {
            self.broken.send_replace(broken);
        }
    }
}

async fn apply<S: Store>(
    files: &Files,
    store: &S,
    orphans: &BTreeSet<(&'static str, ObjectName)>,
) -> Result<(Outcome, Vec<BrokenManifest>), StoreError> {
    let owners = Owners::read(store).await?;
    let wanted = Wanted::new(Contents::of(files, &owners));
    let outcome = wanted.apply(store, orphans).await?;
    let mut broken = wanted.broken;
    broken.extend(outcome.refused.iter().cloned());
    broken.sort_by(|one, other| one.file.cmp(&other.file));
    Ok((outcome, broken))
}

/// Asks the kernel to tell of changes. They are told as long as the watcher is kept.
fn follow(path: &Path, changed: tokio::sync::mpsc::Sender<()>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading the files is an event too, and ours.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            // One that waits to be taken is enough.
            let _ = changed.try_send(());
        }
    })?;
    watcher.watch(path, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

async fn settle(changes: &mut tokio::sync::mpsc::Receiver<()>) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && matches!(timeout(SETTLE, changes.recv()).await, Ok(Some(()))) {}
}
