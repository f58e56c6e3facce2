//! What is kept of the objects of one kind, as a watch last told them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::store::{Kind, ObjectName, WatchEvent};

/// All objects of a kind, shared and never changed in place: who holds one keeps a consistent picture of it.
#[derive(Debug)]
pub struct Table<V> {
    objects: RwLock<HashMap<ObjectName, Arc<V>>>,
    changed: watch::Sender<()>,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { objects: RwLock::new(HashMap::new()), changed: watch::Sender::new(()) }
    }
}

impl<V> Table<V> {
    /// One object, as last told.
    pub fn get(&self, name: &ObjectName) -> Option<Arc<V>> {
        self.objects.read().get(name).cloned()
    }

    /// All objects, in no order.
    pub fn all(&self) -> Vec<Arc<V>> {
        self.objects.read().values().cloned().collect()
    }

    /// All objects with their names, in no order.
    pub fn entries(&self) -> Vec<(ObjectName, Arc<V>)> {
        self.objects.read().iter().map(|(name, value)| (name.clone(), Arc::clone(value))).collect()
    }

    /// What `select` makes of objects, in no order.
    pub fn select<T>(&self, select: impl Fn(&ObjectName, &Arc<V>) -> Option<T>) -> Vec<T> {
        self.objects.read().iter().filter_map(|(name, value)| select(name, value)).collect()
    }

    /// The names of all objects, in no order.
    pub fn names(&self) -> Vec<ObjectName> {
        self.objects.read().keys().cloned().collect()
    }

    /// Looks now, and again at every change, until something is found.
    pub async fn until<T>(&self, find: impl Fn(&Self) -> Option<T>) -> T {
        let mut changes = self.changed.subscribe();
        loop {
            if let Some(found) = find(self) {
                return found;
            }
            // The sender lives as long as `self`: the wait can't fail.
            let _ = changes.changed().await;
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.objects.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.read().is_empty()
    }

    /// What is there now, and what was there before.
    fn put(&self, name: ObjectName, value: V) -> (Arc<V>, Option<Arc<V>>) {
        let value = Arc::new(value);
        let before = self.objects.write().insert(name, Arc::clone(&value));
        self.changed.send_replace(());
        (value, before)
    }

    fn remove(&self, name: &ObjectName) -> Option<Arc<V>> {
        let removed = self.objects.write().remove(name);
        self.changed.send_replace(());
        removed
    }

    /// Puts a whole new picture in place.
    fn replace(&self, fresh: HashMap<ObjectName, Arc<V>>) {
        *self.objects.write() = fresh;
        self.changed.send_replace(());
    }
}

/// Feeds a table from a watch. What the watch tells after a restart is gathered aside, so that readers never see a
/// half-filled table.
pub(super) struct Feed<'table, K, V> {
    table: &'table Table<V>,
    keep: fn(K) -> V,
    gathered: Option<HashMap<ObjectName, Arc<V>>>,
}

/// What an event did to the table.
pub(super) enum Fed<V> {
    /// Nothing to see yet.
    Nothing,
    /// The table holds all there is.
    Current,
    /// This object is there; what it was before, if it is not new.
    Applied(ObjectName, Arc<V>, Option<Arc<V>>),
    /// This object is gone; its last state.
    Deleted(ObjectName, Arc<V>),
}

impl<'table, K: Kind, V> Feed<'table, K, V> {
    /// `keep` makes of an object what is worth its memory.
    pub(super) fn new(table: &'table Table<V>, keep: fn(K) -> V) -> Self {
        Self { table, keep, gathered: None }
    }

    pub(super) fn take(&mut self, event: WatchEvent<K>) -> Fed<V> {
        match event {
            WatchEvent::Restarted => {
                self.gathered = Some(HashMap::new());
                Fed::Nothing
            }
            WatchEvent::Existing(object) => {
                let (name, value) = self.kept(object);
                if let Some(gathered) = &mut self.gathered {
                    gathered.insert(name, Arc::new(value));
                }
                Fed::Nothing
            }
            WatchEvent::Current => {
                self.table.replace(self.gathered.take().unwrap_or_default());
                Fed::Current
            }
            WatchEvent::Applied(object) => {
                let (name, value) = self.kept(object);
                let (value, before) = self.table.put(name.clone(), value);
                Fed::Applied(name, value, before)
            }
            WatchEvent::Deleted(object) => {
                let (name, value) = self.kept(object);
                let last = self.table.remove(&name).unwrap_or_else(|| Arc::new(value));
                Fed::Deleted(name, last)
            }
        }
    }

    fn kept(&self, object: K) -> (ObjectName, V) {
        (ObjectName::of(&object), (self.keep)(object))
    }
}
