//! The kubelet tries again and again: what of that is worth a write. Pure.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use knap_protocol::{NetworkName, ProblemKind};
use tokio::time::Instant;

use super::pod::Failures;
use crate::attach::FailedAttachment;

/// Between writes about the same thing, after the second one, which makes a series of it.
pub(super) const PAUSE: Duration = Duration::from_secs(60);
/// When it is no longer the same thing.
const OVER: Duration = Duration::from_secs(600);
/// Series that are kept at most.
const MOST: usize = 4096;

/// A pod, by its UID, on a Network, for a reason.
type Key = (String, NetworkName, ProblemKind);

/// All series that run.
#[derive(Debug, Default)]
pub(super) struct AllSeries {
    running: HashMap<Key, Series>,
}

#[derive(Debug)]
struct Series {
    last: FailedAttachment,
    when: Timestamp,
    /// Failures that have not been written.
    pending: u32,
    writes: u32,
    written: Instant,
}

impl Series {
    fn written(&mut self, now: Instant) -> Failures {
        self.writes = self.writes.saturating_add(1);
        self.written = now;
        Failures { last: self.last.clone(), when: self.when, count: std::mem::take(&mut self.pending) }
    }
}

impl AllSeries {
    /// A failure, and what is to be written now that it is known.
    pub(super) fn take(
        &mut self,
        failed: FailedAttachment,
        when: Timestamp,
        now: Instant,
    ) -> Option<Failures> {
        let key = (failed.pod.uid.clone().unwrap_or_default(), failed.network.clone(), failed.kind);
        if !self.running.contains_key(&key) {
            self.make_room();
        }
        let new = Series { last: failed.clone(), when, pending: 0, writes: 0, written: now };
        let series = self.running.entry(key).or_insert(new);
        (series.last, series.when) = (failed, when);
        series.pending = series.pending.saturating_add(1);
        (series.writes < 2 || series.written + PAUSE <= now).then(|| series.written(now))
    }

    /// What has waited long enough. To be called now and then.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Failures> {
        self.running.retain(|_, series| series.pending > 0 || series.written + OVER > now);
        let due = self.running.values_mut();
        let due = due.filter(|series| series.pending > 0 && series.written + PAUSE <= now);
        due.map(|series| series.written(now)).collect()
    }

    /// The one that was written longest ago is given up.
    fn make_room(&mut self) {
        if self.running.len() < MOST {
            return;
        }
        let oldest = self.running.iter().min_by_key(|(_, series)| series.written).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            self.running.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::failed;
    use super::*;

    fn take(all: &mut AllSeries, failed: FailedAttachment, now: Instant) -> Option<u32> {
        all.take(failed, Timestamp::UNIX_EPOCH, now).map(|failures| failures.count)
    }

    #[test]
    fn the_first_two_are_told_at_once_and_the_rest_once_a_minute() {
        let (mut all, begin) = (AllSeries::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let same = || failed("web-0", "it is full");
        assert_eq!(take(&mut all, same(), at(0)), Some(1));
        assert_eq!(take(&mut all, same(), at(10)), Some(1));
        assert_eq!(take(&mut all, same(), at(20)), None);
        assert_eq!(take(&mut all, failed("web-0", "it is still full"), at(30)), None, "whatever the words");
        assert_eq!(take(&mut all, failed("web-1", "it is full"), at(30)), Some(1));
        assert!(all.due(at(69)).is_empty());
        let due = all.due(at(70));
        assert_eq!((due.len(), due[0].count, due[0].last.text.as_str()), (1, 2, "it is still full"));
        assert!(all.due(at(200)).is_empty(), "nothing new");
        assert_eq!(take(&mut all, same(), at(201)), Some(1));
        assert!(all.due(at(900)).is_empty() && all.running.is_empty());
        assert_eq!(take(&mut all, same(), at(901)), Some(1));
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let (mut all, begin) = (AllSeries::default(), Instant::now());
        for number in 0..=MOST {
            let now = begin + Duration::from_millis(number as u64);
            assert_eq!(take(&mut all, failed(&format!("p{number}"), ""), now), Some(1));
        }
        assert_eq!(all.running.len(), MOST);
        assert!(!all.running.keys().any(|(uid, ..)| uid == "u-p0"), "the oldest is gone");
    }
}
