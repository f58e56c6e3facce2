//! Which nodes a controller has to look at: those that changed, and from time to time all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};

use crate::store::ObjectName;
use crate::view::{Change, View};

/// How a controller looks at nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How often it looks at all of them, whatever changed.
    pub(crate) look: Duration,
    /// How long changes are gathered.
    pub(crate) gather: Duration,
    /// Which nodes there are for it.
    pub(crate) all: fn(&View) -> Vec<ObjectName>,
}

/// The nodes that are due, one set after the other.
#[derive(Debug)]
pub(crate) struct DueNodes {
    view: Arc<View>,
    pace: Pace,
    changes: mpsc::UnboundedReceiver<Change>,
    look: Interval,
}

impl DueNodes {
    /// From when the view is complete. All are due first.
    pub(crate) async fn of(view: &Arc<View>, pace: Pace) -> Self {
        let changes = view.changes();
        view.current().await;
        let mut look = tokio::time::interval(pace.look);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { view: Arc::clone(view), pace, changes, look }
    }

    /// Waits until some are due; none is ever again where nobody tells of changes any more.
    pub(crate) async fn next(&mut self) -> Option<BTreeSet<String>> {
        let mut due = BTreeSet::new();
        while due.is_empty() {
            tokio::select! {
                change = self.changes.recv() => self.add(&mut due, change?),
                _ = self.look.tick() => self.add(&mut due, Change::Everything),
            }
        }
        tokio::time::sleep(self.pace.gather).await;
        while let Ok(change) = self.changes.try_recv() {
            self.add(&mut due, change);
        }
        Some(due)
    }

    fn add(&self, due: &mut BTreeSet<String>, change: Change) {
        match change {
            Change::Node(node) => drop(due.insert(node)),
            Change::Everything => due.extend((self.pace.all)(&self.view).into_iter().map(|name| name.name)),
            _ => {}
        }
    }
}
