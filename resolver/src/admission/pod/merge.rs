//! Multus' annotation with what Knap's asks for. Pure.

use std::collections::HashMap;

use super::selection::{Selection, Selections};

/// Why both can't be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MergeError {
    #[error(
        "Network {network} is named more than once: give each attachment an interface of its own, {name}@<interface>"
    )]
    Twice { network: String, name: String },
    #[error(
        "{first} and {second} would both be interface {interface} of the pod: name other interfaces by @<interface>"
    )]
    Interface { first: String, second: String, interface: String },
}

/// What is wanted of one Network: under which names Multus may know it already, the one to write first.
pub(super) struct Wanted {
    /// `shop/blue`, for messages.
    pub(super) network: String,
    /// Namespaces and names of what leads to it.
    pub(super) known_as: Vec<(String, String)>,
    pub(super) selection: Selection,
}

/// Adds what is not there yet; the same again is the same.
pub(super) fn merge(
    there: &Selections,
    wanted: Vec<Wanted>,
    namespace: &str,
) -> Result<Selections, MergeError> {
    let mut merged = there.clone();
    let mut used = vec![false; merged.all.len()];
    for Wanted { network, known_as, selection } in wanted {
        let leads = |other: &Selection| {
            let other = (other.namespace.as_deref().unwrap_or(namespace), other.name.as_str());
            known_as.iter().any(|(namespace, name)| (namespace.as_str(), name.as_str()) == other)
        };
        let same =
            |other: &Selection| selection.interface.is_none() || selection.interface == other.interface;
        let found =
            merged.all.iter().zip(&used).position(|(other, used)| !used && leads(other) && same(other));
        if let Some(used) = found.and_then(|position| used.get_mut(position)) {
            *used = true;
            continue;
        }
        // One of them would get whatever interface is left: nobody could say which attachment is which.
        let unnamed = |other: &Selection| selection.interface.is_none() || other.interface.is_none();
        if merged.all.iter().any(|other| leads(other) && unnamed(other)) {
            return Err(MergeError::Twice { network, name: selection.name });
        }
        let (namespace, name) = known_as.into_iter().next().unwrap_or_default();
        merged.json |= !selection.more.is_empty();
        merged.all.push(Selection { namespace: Some(namespace), name, ..selection });
        used.push(true);
    }
    check_interfaces(&merged)?;
    Ok(merged)
}

/// Multus names what has no name after its place: net1, net2 and so on.
fn check_interfaces(merged: &Selections) -> Result<(), MergeError> {
    let mut taken: HashMap<String, &Selection> = HashMap::new();
    for (index, selection) in merged.all.iter().enumerate() {
        let interface = selection.interface.clone().unwrap_or_else(|| format!("net{}", index + 1));
        if let Some(first) = taken.insert(interface.clone(), selection) {
            let (first, second) = (first.name.clone(), selection.name.clone());
            return Err(MergeError::Interface { first, second, interface });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::selection::Names;
    use super::*;

    fn merged(there: &str, wanted: &str) -> Result<String, String> {
        let read = |text, names| Selections::read(text, names).unwrap();
        let wanted = read(wanted, Names::Networks).all.into_iter().map(|selection| {
            let namespace = selection.namespace.clone().unwrap_or_else(|| "shop".to_owned());
            Wanted {
                network: format!("{namespace}/{}", selection.name),
                known_as: vec![(namespace.clone(), selection.name.clone())],
                selection,
            }
        });
        let merged = merge(&read(there, Names::Definitions), wanted.collect(), "shop")
            .map_err(|error| error.to_string())?;
        let again = merge(&merged, Vec::new(), "shop").unwrap();
        assert_eq!(again, merged);
        Ok(merged.write())
    }

    #[rstest]
    #[case("", "blue", "shop/blue")]
    #[case("", "blue,web/red@net7", "shop/blue,web/red@net7")]
    #[case("raw", "blue", "raw,shop/blue")]
    #[case("raw,blue", "blue", "raw,blue")]
    #[case("shop/blue@net5", "blue", "shop/blue@net5")]
    #[case("shop/blue@a", "blue@a,blue@b", "shop/blue@a,shop/blue@b")]
    #[case(
        r#"[{"name":"raw","mac":"02:00:00:00:00:01"}]"#,
        "blue@a",
        r#"[{"mac":"02:00:00:00:00:01","name":"raw"},{"interface":"a","name":"blue","namespace":"shop"}]"#
    )]
    #[case(
        r#"[{"name":"macvlan.100"}]"#,
        "blue",
        r#"[{"name":"macvlan.100"},{"name":"blue","namespace":"shop"}]"#
    )]
    #[case(
        "raw",
        r#"[{"name":"blue","ips":["10.0.0.9"]}]"#,
        r#"[{"name":"raw"},{"ips":["10.0.0.9"],"name":"blue","namespace":"shop"}]"#
    )]
    #[case("", r#"[{"name":"blue"}]"#, "shop/blue")]
    fn what_is_there_stays_and_what_is_wanted_comes_once(
        #[case] there: &str,
        #[case] wanted: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(merged(there, wanted).as_deref(), Ok(expected));
        assert_eq!(merged(expected, wanted).as_deref(), Ok(expected), "the same again");
    }

    #[rstest]
    #[case("", "blue,blue", "shop/blue is named more than once")]
    #[case("", "blue,blue@a", "blue@<interface>")]
    #[case("blue", "blue@a", "more than once")]
    #[case("", "blue@a,red@a", "blue and red would both be interface a")]
    #[case("", "blue@net2,red", "blue and red would both be interface net2")]
    #[case("raw@net2", "red", "raw and red would both be interface net2")]
    fn what_collides_is_refused(#[case] there: &str, #[case] wanted: &str, #[case] why: &str) {
        let error = merged(there, wanted).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}
