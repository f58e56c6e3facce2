//! What has to be made anew, and when.
//!
//! A clock may be wrong. By what has not begun yet, no replica serves or signs: it makes another. Replicas whose clocks differ
//! come to rest all the same, for what the slowest makes has begun by all clocks, and nobody replaces that before it runs out.
//! So it is as long as clocks differ by less than two thirds of a certificate's time. No authority is taken away for that:
//! nodes may know it already, and who is right can't be told. One that begins for the slowest only after it signs for the
//! others, for they differ by more than its overlap, costs one more authority, and nodes the moment until they know it.

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
    let newest = authorities.iter().rfind(|authority| can_sign(authority, terms, now));
    if newest.is_none_or(|newest| newest.term.runs_out(now)) {
        authorities.push(issue::authority(terms, now)?);
    }
    let signer = signer(&authorities, terms, now);
    let serving = match (authorities.get(signer), current.map(|current| &current.serving)) {
        (Some(signer), Some(serving)) if is_good(serving, signer, names, terms, now) => serving.clone(),
        (Some(signer), before) => issue::serving(signer, &all_names(names, before, now), terms, now)?,
        (None, _) => return Ok(None),
    };
    for outdated in authorities.iter_mut().take(signer) {
        outdated.key = None;
    }
    let next = Material { authorities, serving };
    Ok((current != Some(&next)).then_some(next))
}

fn can_sign(authority: &Authority, terms: &Terms, now: Timestamp) -> bool {
    authority.key.is_some() && authority.term.has_begun(terms, now)
}

/// The youngest that nodes have had time to learn of; where there is none, the oldest that can sign.
fn signer(authorities: &[Authority], terms: &Terms, now: Timestamp) -> usize {
    let can_sign = |authority: &Authority| can_sign(authority, terms, now);
    let is_known = |authority: &Authority| authority.term.made + terms.overlap <= now;
    let known = authorities.iter().rposition(|authority| can_sign(authority) && is_known(authority));
    known.or_else(|| authorities.iter().position(can_sign)).unwrap_or_default()
}

fn is_good(
    serving: &Serving,
    signer: &Authority,
    names: &BTreeSet<String>,
    terms: &Terms,
    now: Timestamp,
) -> bool {
    serving.authority == signer.name
        && serving.names.is_superset(names)
        && serving.term.has_begun(terms, now)
        && !serving.term.runs_out(now)
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

    use rstest::rstest;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
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

    #[rstest]
    #[case::serving(70)]
    #[case::serving_and_authority(600)]
    #[case::everything(800)]
    fn what_a_clock_made_that_was_ahead_is_replaced_at_once(#[case] ahead: u32) {
        let begin = Timestamp::UNIX_EPOCH + DAY * 2000;
        let made = renewed(None, &names(&["a"]), &Terms::default(), begin).unwrap().unwrap();
        let (terms, names) = (Terms::default(), names(&["a"]));
        let jumped = renewed(Some(&made), &names, &terms, begin + DAY * ahead).unwrap().unwrap();
        assert!(!jumped.serving.term.has_begun(&terms, begin));
        let now = begin + DAY;
        let healed = renewed(Some(&jumped), &names, &terms, now).unwrap().unwrap();
        let signer = |authority: &&Authority| authority.name == healed.serving.authority;
        let signer = healed.authorities.iter().find(signer).unwrap();
        assert!(healed.serving.term.has_begun(&terms, now) && signer.term.has_begun(&terms, now));
        let is_known = *signer == made.authorities[0];
        assert!(is_known || ahead == 800, "where there is one that nodes know, it signs");
        assert_eq!(renewed(Some(&healed), &names, &terms, now).unwrap(), None);
        days(Some(healed), now, 1500, |material, now| {
            let signer = material.authorities.iter().find(|known| known.name == material.serving.authority);
            for term in [material.serving.term, signer.unwrap().term] {
                assert!(term.has_begun(&terms, now) && !term.is_over(now), "{now}: {material:?}");
            }
            assert!(material.authorities.len() <= 3, "{now}: {material:?}");
        });
    }

    #[rstest]
    #[case::within_what_is_backdated(HOUR / 2)]
    #[case::hours(HOUR * 3)]
    #[case::days(DAY * 6)]
    #[case::a_month(DAY * 30)]
    fn replicas_whose_clocks_differ_come_to_rest(#[case] behind: Duration) {
        let (terms, names) = (Terms::default(), names(&["a"]));
        let begin = Timestamp::UNIX_EPOCH + DAY * 2000;
        let mut material: Option<Material> = None;
        let (mut served, mut signed) = (BTreeSet::new(), BTreeSet::new());
        for day in 0..1500 {
            let now = begin + DAY * day;
            for clock in [now, now - behind, now] {
                if let Some(next) = renewed(material.as_ref(), &names, &terms, clock).unwrap() {
                    material = Some(next);
                }
            }
            for clock in [now, now - behind] {
                assert_eq!(renewed(material.as_ref(), &names, &terms, clock).unwrap(), None, "{clock}");
                let serving = &material.as_ref().unwrap().serving;
                assert!(serving.term.has_begun(&terms, clock) && !serving.term.is_over(clock), "{serving:?}");
                signed.insert(serving.authority.clone());
                served.insert(serving.certificate.clone());
            }
            assert!(material.as_ref().unwrap().authorities.len() <= 4, "{now}: {material:?}");
        }
        let (served, signed) = (served.len(), signed.len());
        assert!(served <= 60 && signed <= 5, "{served} certificates by {signed} authorities");
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
