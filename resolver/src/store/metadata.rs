//! Names and labels that the API server would refuse are refused here too, so that nothing works on one store only.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// What the API server would not take.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MetadataError {
    #[error(
        "metadata.name {0:?} is not a DNS subdomain: lower-case letters, digits, '-' and '.', beginning and ending \
         with a letter or digit, 253 characters at most"
    )]
    Name(String),
    #[error(
        "metadata.namespace {0:?} is not a DNS label: lower-case letters, digits and '-', 63 characters at most"
    )]
    Namespace(String),
    #[error("the label key {0:?} is not [prefix/]name with a name of 63 characters at most")]
    LabelKey(String),
    #[error(
        "the label {key} has the value {value:?}, which is not letters, digits, '-', '_' and '.', 63 characters at most"
    )]
    LabelValue { key: String, value: String },
}

pub(crate) fn check(meta: &ObjectMeta) -> Result<(), MetadataError> {
    let name = meta.name.as_deref().unwrap_or_default();
    if !is_subdomain(name) {
        return Err(MetadataError::Name(name.to_owned()));
    }
    if let Some(namespace) = meta.namespace.as_deref().filter(|namespace| !is_label(namespace)) {
        return Err(MetadataError::Namespace(namespace.to_owned()));
    }
    for (key, value) in meta.labels.iter().flatten() {
        if !is_label_key(key) {
            return Err(MetadataError::LabelKey(key.clone()));
        }
        if !value.is_empty() && !is_qualified(value) {
            return Err(MetadataError::LabelValue { key: key.clone(), value: value.clone() });
        }
    }
    Ok(())
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_part)
}

fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_dns_part(text)
}

fn is_dns_part(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bounded(text, word, |byte| word(byte) || byte == b'-')
}

fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_qualified(name),
        None => is_qualified(key),
    }
}

fn is_qualified(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric();
    text.len() <= 63 && bounded(text, word, |byte| word(byte) || matches!(byte, b'-' | b'_' | b'.'))
}

/// Not empty, `end` at both ends, `inner` between.
fn bounded(text: &str, end: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(&end)
        && bytes.last().copied().is_some_and(&end)
        && bytes.iter().copied().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> ObjectMeta {
        ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
    }

    #[test]
    fn names_are_dns_subdomains() {
        for right in ["a", "shop.blue-5", "subnet-cluster-0a400700-24", &"a".repeat(253)] {
            assert_eq!(check(&named(right)), Ok(()), "{right:?}");
        }
        for wrong in ["", "A", "-a", "a-", "a..b", "a_b", "a/b", ".a", &"a".repeat(254)] {
            assert_eq!(check(&named(wrong)), Err(MetadataError::Name(wrong.to_owned())));
        }
    }

    #[test]
    fn labels_follow_kubernetes() {
        let labelled = |key: &str, value: &str| {
            let labels = [(key.to_owned(), value.to_owned())].into();
            check(&ObjectMeta { labels: Some(labels), ..named("a") })
        };
        assert_eq!(labelled("knap.github.com/h-0f", ""), Ok(()));
        assert_eq!(labelled("rack", "A_1.b"), Ok(()));
        assert!(labelled("a/b/c", "x").is_err());
        assert!(labelled("rack", "-a").is_err());
        assert!(labelled("rack", &"a".repeat(64)).is_err());
    }
}
