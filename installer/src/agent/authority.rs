//! The authorities that the plugin trusts: a copy of what Kubernetes mounts into our pod, which changes when they do.
//!
//! A file that can't be used never replaces one that can, and neither does one by which the resolver can't prove itself
//! while it still can by the one before.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use knap_client::Cause;

use super::board::Problem;
use super::node::Node;
use crate::replace::{Outcome, keep, keep_mode};

/// How long the resolver may take to prove itself.
const PATIENCE: Duration = Duration::from_secs(4);
/// Of the copy: the plugin is root's, and nobody need be kept from it.
const MODE: u32 = 0o644;

/// What a file of authorities is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Proof {
    /// The resolver has proved itself by it.
    Given,
    /// Whoever answers there has not.
    Refused,
    /// Nobody answers.
    Unknown,
    /// It holds no certificates.
    Unusable(String),
}

/// Keeps the copy; says what is wrong with it.
pub(crate) fn look(node: &Node) -> Vec<Problem> {
    let Some(ca_file) = node.ca_file() else {
        let missing = "the resolver is called over TLS, and no --ca-bundle says whom to trust";
        return if node.uses_tls() { vec![Problem::blocks("NoAuthority", missing)] } else { Vec::new() };
    };
    match &node.settings.ca_bundle {
        None => Vec::new(),
        Some(bundle) => copy(bundle, &ca_file, |file| proof(node, file)),
    }
}

fn copy(bundle: &Path, kept: &Path, proof: impl Fn(&Path) -> Proof) -> Vec<Problem> {
    let has_kept = kept.exists();
    let unusable = |reason: String| {
        let message = format!(
            "can't use the authorities in {}: {reason}; compare with the ConfigMap knap-ca",
            bundle.display()
        );
        if has_kept {
            Problem::noted("AuthorityUnusable", message)
        } else {
            Problem::blocks("NoAuthority", message)
        }
    };
    let new = match fs::read(bundle) {
        Ok(new) => new,
        Err(error) => return vec![unusable(error.to_string())],
    };
    if fs::read(kept).is_ok_and(|present| present == new) {
        return match keep_mode(kept, MODE) {
            Ok(()) => Vec::new(),
            Err(error) => vec![Problem::noted("AuthorityNotWritten", error.to_string())],
        };
    }
    match proof(bundle) {
        Proof::Unusable(reason) => return vec![unusable(reason)],
        Proof::Unknown if has_kept => {
            tracing::debug!("the authorities have changed; copied as soon as the resolver answers");
            return Vec::new();
        }
        Proof::Refused if has_kept && proof(kept) == Proof::Given => {
            let message = format!(
                "the resolver can't prove itself by {}, and can by {}, which is kept: compare with the ConfigMap knap-ca",
                bundle.display(),
                kept.display()
            );
            return vec![Problem::blocks("AuthorityWrong", message)];
        }
        Proof::Given | Proof::Unknown | Proof::Refused => {}
    }
    match keep(kept, &new, MODE) {
        Ok(Outcome::Unchanged) => Vec::new(),
        Ok(Outcome::Written) => {
            tracing::info!("{}: written", kept.display());
            Vec::new()
        }
        Err(error) => vec![Problem::blocks("AuthorityNotWritten", error.to_string())],
    }
}

/// Asks the resolver how it is, trusting these authorities only.
fn proof(node: &Node, authorities: &Path) -> Proof {
    let resolver = node.resolver_by(node.here(&node.file.resolver.token_file), Some(authorities.to_owned()));
    match resolver.status(Instant::now() + PATIENCE).map_err(|error| error.cause) {
        Ok(_) | Err(Cause::Garbage { .. } | Cause::Refused { .. } | Cause::Credential { .. }) => Proof::Given,
        Err(Cause::Untrusted { .. }) => Proof::Refused,
        Err(Cause::Authority { reason, .. }) => Proof::Unusable(reason),
        Err(Cause::Unreachable { .. } | Cause::NoAnswer { .. } | Cause::Token { .. }) => Proof::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        fn with(bundle: &str, kept: Option<&str>) -> Self {
            let files = Self(tempfile::tempdir().unwrap());
            fs::write(files.0.path().join("bundle"), bundle).unwrap();
            if let Some(kept) = kept {
                fs::write(files.0.path().join("kept"), kept).unwrap();
            }
            files
        }

        /// What is kept afterwards, and what is said; a file's proof is chosen by its content.
        fn copy(&self, proof: impl Fn(&str) -> Proof) -> (String, String) {
            let path = |name| self.0.path().join(name);
            let said = copy(&path("bundle"), &path("kept"), |file| proof(&fs::read_to_string(file).unwrap()));
            (fs::read_to_string(path("kept")).unwrap_or_default(), format!("{said:?}"))
        }
    }

    fn only(good: &'static str) -> impl Fn(&str) -> Proof {
        move |content| if content == good { Proof::Given } else { Proof::Refused }
    }

    #[test]
    fn a_new_one_by_which_the_resolver_proves_itself_is_copied() {
        assert_eq!(Files::with("new", Some("old")).copy(only("new")), ("new".to_owned(), "[]".to_owned()));
        assert_eq!(Files::with("new", None).copy(|_| Proof::Unknown).0, "new", "the first, in any case");
        assert_eq!(Files::with("new", None).copy(|_| Proof::Refused).0, "new");
        // By neither: then the mounted one is as good, and it is what an administrator has chosen.
        assert_eq!(Files::with("new", Some("old")).copy(only("other")).0, "new");
    }

    #[test]
    fn one_that_works_is_not_replaced_by_one_that_does_not() {
        let (kept, said) = Files::with("wrong", Some("old")).copy(only("old"));
        assert!(kept == "old" && said.contains("AuthorityWrong"), "{kept} {said}");
        let (kept, said) = Files::with("", Some("old")).copy(|_| Proof::Unusable("empty".to_owned()));
        assert!(
            kept == "old" && said.contains("AuthorityUnusable") && said.contains("Noted"),
            "{kept} {said}"
        );
        let (kept, said) = Files::with("new", Some("old")).copy(|_| Proof::Unknown);
        assert_eq!((kept.as_str(), said.as_str()), ("old", "[]"));
    }

    #[test]
    fn its_mode_is_put_right() {
        let files = Files::with("same", Some("same"));
        let kept = files.0.path().join("kept");
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(files.copy(|_| Proof::Unknown).1, "[]");
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o7777, MODE);
    }

    #[test]
    fn without_any_the_agent_is_not_ready() {
        let (kept, said) = Files::with("", None).copy(|_| Proof::Unusable("empty".to_owned()));
        assert!(kept.is_empty() && said.contains("NoAuthority") && said.contains("Blocks"), "{kept} {said}");
    }
}
