//! Which keys there should be, and which of them signs.
//!
//! A key that was made by a clock that is ahead is a key like any other, and no reason to wait with the next until then.

use k8s_openapi::jiff::Timestamp;

use super::keys::{Key, Keys, NoRandomness};
use super::terms::Terms;

/// What there should be now, if that is not what there is.
pub(super) fn rotated(
    current: Option<&Keys>,
    terms: &Terms,
    now: Timestamp,
) -> Result<Option<Keys>, NoRandomness> {
    let mut keys = current.map(|current| current.keys.clone()).unwrap_or_default();
    let newest = keys.iter().rfind(|key| key.made <= now + terms.overlap);
    if newest.is_none_or(|newest| newest.made + terms.key <= now) {
        keys.push(Key::random(now)?);
    }
    // A key has signed for the last time when the one after it began to.
    let is_over = |next: &Key| next.made + terms.overlap + terms.token + terms.overlap <= now;
    let over = keys.iter().rposition(is_over).unwrap_or_default();
    keys.drain(..over);
    let next = Keys { keys };
    Ok((current != Some(&next)).then_some(next))
}

/// The youngest that every replica has had time to learn of; where there is none, the oldest.
pub(super) fn signer<'a>(keys: &'a Keys, terms: &Terms, now: Timestamp) -> Option<&'a Key> {
    let known = keys.keys.iter().rfind(|key| key.made + terms.overlap <= now);
    known.or_else(|| keys.keys.first())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_token_can_be_verified_as_long_as_it_lives_whenever_it_was_signed() {
        let (terms, begin) = (Terms::default(), Timestamp::UNIX_EPOCH);
        let mut keys: Option<Keys> = None;
        let mut signed: Vec<(Timestamp, String)> = Vec::new();
        let mut used = std::collections::BTreeSet::new();
        for hour in 0..2400_u32 {
            let now = begin + HOUR * hour;
            if let Some(next) = rotated(keys.as_ref(), &terms, now).unwrap() {
                keys = Some(next);
            }
            let keys = keys.as_ref().unwrap();
            assert!(keys.keys.len() <= 2, "{now}: {keys:?}");
            let key = signer(keys, &terms, now).unwrap();
            let is_first = key.made == begin;
            assert!(is_first || key.made + terms.overlap <= now, "it was there before it signs");
            used.insert(key.id.clone());
            signed.push((now, key.id.clone()));
            signed.retain(|(when, _)| *when + terms.token >= now);
            for (when, id) in &signed {
                assert!(keys.keys.iter().any(|key| key.id == *id), "{when}, seen at {now}");
            }
        }
        assert_eq!(used.len(), 4, "one in thirty days");
    }

    #[test]
    fn nothing_changes_without_need() {
        let (terms, now) = (Terms::default(), Timestamp::UNIX_EPOCH);
        let made = rotated(None, &terms, now).unwrap().unwrap();
        assert_eq!(rotated(Some(&made), &terms, now + HOUR * 719).unwrap(), None);
        assert!(rotated(Some(&Keys { keys: Vec::new() }), &terms, now).unwrap().is_some());
        assert!(signer(&Keys { keys: Vec::new() }, &terms, now).is_none());
    }

    #[test]
    fn what_nobody_looked_after_for_long_is_good_again() {
        let (terms, now) = (Terms::default(), Timestamp::UNIX_EPOCH);
        let made = rotated(None, &terms, now).unwrap().unwrap();
        let later = now + HOUR * 20_000;
        let next = rotated(Some(&made), &terms, later).unwrap().unwrap();
        assert_eq!(
            (next.keys.len(), &next.keys[0]),
            (2, &made.keys[0]),
            "it signs until the new one is known"
        );
        assert_eq!(signer(&next, &terms, later), Some(&made.keys[0]));
    }

    #[test]
    fn a_key_made_by_a_clock_that_was_ahead_does_not_stay_the_last() {
        let (terms, begin) = (Terms::default(), Timestamp::UNIX_EPOCH);
        let ahead = Key::random(begin + HOUR * 90_000).unwrap();
        let mut keys = Keys { keys: vec![Key::random(begin).unwrap(), ahead.clone()] };
        let mut used = std::collections::BTreeSet::new();
        for hour in 0..2400_u32 {
            let now = begin + HOUR * hour;
            if let Some(next) = rotated(Some(&keys), &terms, now).unwrap() {
                keys = next;
            }
            assert!(keys.keys.len() <= 3, "{now}: {keys:?}");
            used.insert(signer(&keys, &terms, now).unwrap().id.clone());
        }
        assert_eq!(used.len(), 4, "one in thirty days");
        assert!(!keys.keys.contains(&ahead), "it goes with those before it");
    }

    #[test]
    fn secrets_are_not_shown() {
        let made = rotated(None, &Terms::default(), Timestamp::UNIX_EPOCH).unwrap().unwrap();
        let json = serde_json::to_value(&made).unwrap();
        let secret = json["keys"][0]["secret"].as_str().unwrap();
        assert_eq!(secret.len(), 44);
        assert!(!format!("{made:?}").contains(secret));
        let damaged = json.to_string().replace(secret, "c2VjcmV0");
        let error = serde_json::from_str::<Keys>(&damaged).unwrap_err().to_string();
        assert!(!error.contains("c2VjcmV0") && error.contains("32 bytes"), "{error}");
    }
}
