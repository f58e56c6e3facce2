//! What has to be made anew, and when.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::issue::{self, IssueError};
use super::material::{Authority, Material, Serving};
use super::terms::Terms;

/// What there should be now, if that is not what there is.
pub(super) fn renewed(
    current: Option<&Material>,
    names: &BTreeSet<String>,
    terms: &Terms,
    now: Timestamp,
) -> Result<Option<Material>, IssueError> {
    let mut authorities: Vec<Authority> = current
        .map(|current| {
            current.authorities.iter().filter(|authority| !authority.term.is_over(now)).cloned().collect()
        })
        .unwrap_or_default();
    let lasting = authorities.last().is_some_and(|newest| newest.key.is_some() && !newest.term.runs_out(now));
    if !lasting {
        authorities.push(issue::authority(terms, now)?);
    }
    let signer = signer(&authorities, terms, now);
    let serving = match (authorities.get(signer), current.map(|current| &current.serving)) {
        (Some(signer), Some(serving)) if is_good(serving, signer, names, now) => serving.clone(),
        (Some(signer), before) => issue::serving(signer, &all_names(names, before, now), terms, now)?,
        (None, _) => return Ok(None),
    };
    for outdated in authorities.iter_mut().take(signer) {
        outdated.key = None;
    }
    let next = Material { authorities, serving };
    Ok((current != Some(&next)).then_some(next))
}

/// The youngest that nodes have had time to learn of; where there is none, the oldest that can sign.
fn signer(authorities: &[Authority], terms: &Terms, now: Timestamp) -> usize {
    let is_known =
        |authority: &Authority| authority.key.is_some() && authority.term.made + terms.overlap <= now;
    let known = authorities.iter().rposition(is_known);
    known.or_else(|| authorities.iter().position(|authority| authority.key.is_some())).unwrap_or_default()
}

fn is_good(serving: &Serving, signer: &Authority, names: &BTreeSet<String>, now: Timestamp) -> bool {
    serving.authority == signer.name && serving.names.is_superset(names) && !serving.term.runs_out(now)
}

/// Replicas of two versions may want different names: a certificate that only lacks some keeps what it has, or they would
/// take turns for ever.
fn all_names(wanted: &BTreeSet<String>, before: Option<&Serving>, now: Timestamp) -> BTreeSet<String> {
    match before {
        Some(before) if !before.term.runs_out(now) => wanted | &before.names,
        _ => wanted.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// What is there after so many days of a look each day, beginning with `material`.
    fn days(
        mut material: Option<Material>,
        begin: Timestamp,
        days: u32,
        each: impl Fn(&Material, Timestamp),
    ) -> Material {
        for day in 0..days {
            let now = begin + DAY * day;
            if let Some(next) = renewed(material.as_ref(), &names(&["a"]), &Terms::default(), now).unwrap() {
                material = Some(next);
            }
            each(material.as_ref().unwrap(), now);
        }
        material.unwrap()
    }

    #[test]
    fn nothing_is_made_anew_while_all_is_good() {
        let now = Timestamp::UNIX_EPOCH;
        let made = renewed(None, &names(&["a", "10.0.0.1"]), &Terms::default(), now).unwrap().unwrap();
        assert_eq!(made.authorities.len(), 1);
        assert_eq!(renewed(Some(&made), &names(&["a"]), &Terms::default(), now + DAY * 59).unwrap(), None);
    }

    #[test]
    fn another_name_is_added_to_those_there_are() {
        let now = Timestamp::UNIX_EPOCH;
        let made = renewed(None, &names(&["a"]), &Terms::default(), now).unwrap().unwrap();
        let both = renewed(Some(&made), &names(&["b"]), &Terms::default(), now).unwrap().unwrap();
        assert_eq!(both.serving.names, names(&["a", "b"]));
        assert_eq!(both.authorities, made.authorities);
        // What nobody asks for any more is left out when its time comes.
        let later = renewed(Some(&both), &names(&["b"]), &Terms::default(), now + DAY * 61).unwrap().unwrap();
        assert_eq!(later.serving.names, names(&["b"]));
    }

    #[test]
    fn what_is_served_is_always_valid_and_signed_by_one_known_for_a_week() {
        let begin = Timestamp::UNIX_EPOCH;
        let last = days(None, begin, 1500, |material, now| {
            let Material { authorities, serving } = material;
            assert!(!serving.term.is_over(now + DAY * 29), "{now}: {serving:?}");
            let signer =
                authorities.iter().position(|authority| authority.name == serving.authority).unwrap();
            let signer_term = authorities[signer].term;
            assert!(serving.term.expires <= signer_term.expires);
            let is_first = signer_term.made == begin;
            assert!(
                is_first || serving.term.made.duration_since(signer_term.made).as_secs() >= 7 * 24 * 3600
            );
            assert!(
                authorities.iter().take(signer).all(|older| older.key.is_none()),
                "keys that are not needed"
            );
            assert!(authorities.iter().all(|authority| !authority.term.is_over(now)));
        });
        assert_eq!(last.authorities.len(), 2, "the fourth, which signs, and the third");
    }

    #[test]
    fn what_ran_out_long_ago_begins_anew() {
        let begin = Timestamp::UNIX_EPOCH;
        let made = renewed(None, &names(&["a"]), &Terms::default(), begin).unwrap().unwrap();
        let now = begin + DAY * 2000;
        let anew = renewed(Some(&made), &names(&["a"]), &Terms::default(), now).unwrap().unwrap();
        assert_eq!(anew.authorities.len(), 1);
        assert!(!anew.serving.term.is_over(now));
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        renewed(None, &names(&["not ascii: ü"]), &Terms::default(), Timestamp::UNIX_EPOCH).unwrap_err();
    }

    #[test]
    fn keys_are_not_shown() {
        let made = renewed(None, &names(&["a"]), &Terms::default(), Timestamp::UNIX_EPOCH).unwrap().unwrap();
        assert!(!format!("{made:?}").contains("PRIVATE KEY"));
    }
}
