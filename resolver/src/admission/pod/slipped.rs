//! Pods that ask for Networks, and were made without anybody having been asked about them. Multus knows nothing of these, so that
//! nothing ever fails; somebody has to say it. Pure.

use std::collections::BTreeMap;

use super::named::leads;
use super::selection::{Names, Selection, Selections};
use super::{MIRROR_ANNOTATION, MULTUS_ANNOTATION, NETWORKS_ANNOTATION};

/// What to say about a pod with these annotations; nothing where it is as it should be.
pub(crate) fn slipped(annotations: &BTreeMap<String, String>, namespace: &str) -> Option<String> {
    let asked = annotations.get(NETWORKS_ANNOTATION)?;
    let asked = match Selections::read(asked, Names::Networks) {
        Ok(asked) => asked.all,
        Err(why) => {
            return Some(format!(
                "the pod is attached to no Network: annotation {NETWORKS_ANNOTATION}: {why}"
            ));
        }
    };
    let there = annotations.get(MULTUS_ANNOTATION).map_or("", String::as_str);
    let there = Selections::read(there, Names::Definitions).unwrap_or_default().all;
    let leads = |there: &Selection, asked: &Selection| {
        leads(there, asked.namespace.as_deref().unwrap_or(namespace), &asked.name, namespace)
    };
    let missing = asked.iter().find(|asked| !there.iter().any(|there| leads(there, asked)))?;
    let network = format!("{}/{}", missing.namespace.as_deref().unwrap_or(namespace), missing.name);
    let what = if annotations.contains_key(MIRROR_ANNOTATION) {
        format!(
            "a static pod is never changed by a webhook: name the NetworkAttachmentDefinition {network} by \
             {MULTUS_ANNOTATION} in its file"
        )
    } else {
        "it was made while Knap did not answer the API server; delete it, so that its controller makes another".to_owned()
    };
    Some(format!(
        "the pod asks for Network {network} by {NETWORKS_ANNOTATION}, and Multus was not told: {what}"
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::asks_for_nothing(None, None, None)]
    #[case::asks_for_nothing_really(Some(""), None, None)]
    #[case::told(Some("blue,bank/red@a"), Some("shop/blue,bank/red@a"), None)]
    #[case::told_as_json(Some("blue"), Some(r#"[{"name": "blue"}]"#), None)]
    #[case::told_beside(Some("blue"), Some(r#"[{"name": "macvlan.100"}, {"name": "blue"}]"#), None)]
    #[case::projected(Some("bank/red"), Some("shop/bank--red"), None)]
    #[case::not_told(Some("blue"), None, Some("asks for Network shop/blue"))]
    #[case::half_told(Some("blue,bank/red"), Some("blue"), Some("asks for Network bank/red"))]
    #[case::told_nonsense(Some("blue"), Some("[{"), Some("Multus was not told"))]
    #[case::nonsense(Some("Blue"), None, Some("\"Blue\" is not [namespace/]name"))]
    fn who_asks_in_vain_hears_of_it(
        #[case] asked: Option<&str>,
        #[case] there: Option<&str>,
        #[case] why: Option<&str>,
    ) {
        let annotations = [(NETWORKS_ANNOTATION, asked), (MULTUS_ANNOTATION, there)];
        let annotations =
            annotations.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
        let mut annotations: BTreeMap<String, String> = annotations.collect();
        let said = slipped(&annotations, "shop");
        match why {
            None => assert_eq!(said, None),
            Some(why) => assert!(said.as_ref().is_some_and(|said| said.contains(why)), "{said:?}"),
        }
        annotations.insert(MIRROR_ANNOTATION.to_owned(), "x".to_owned());
        assert_eq!(slipped(&annotations, "shop").is_some(), why.is_some());
    }
}
