//! What the API server notes of resolvers' requests, and whether it refused one for want of a right.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::KubernetesApi;
use super::roles;

/// What is noted. Not leases: without a right on them nothing at all would be attached, and a measurement should not measure notes.
pub(super) fn policy() -> Value {
    let leases = json!([{ "group": "knap.github.com", "resources": ["networkleases"] }]);
    json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [
            { "level": "None", "resources": leases },
            { "level": "Metadata", "users": [roles::account()] },
            { "level": "None" },
        ],
    })
}

/// The notes of one life of an API server.
#[derive(Debug)]
pub(super) struct Audit {
    path: PathBuf,
    /// Before this it refused whatever it was asked: it did not know the roles yet.
    from: Option<usize>,
}

impl Audit {
    pub(super) fn of_life(folder: &Path, number: usize) -> Self {
        Self { path: folder.join(format!("audit-{number}.log")), from: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn counts_from_here(&mut self) {
        self.from = Some(self.text().len());
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.path).unwrap_or_default()).into_owned()
    }

    /// What was asked, and whether it was refused for want of a right.
    fn asked(&self) -> Vec<(String, bool)> {
        let Some(from) = self.from else { return Vec::new() };
        let text = self.text();
        // A line that a killed API server did not finish is none, nor one that had begun before.
        let lines = text.get(from..).unwrap_or_default().lines();
        lines.filter_map(|line| serde_json::from_str(line).ok()).map(|event| named(&event)).collect()
    }
}

fn named(event: &Value) -> (String, bool) {
    let object = &event["objectRef"];
    let words = match object["resource"].as_str() {
        Some(_) => vec![&event["verb"], &object["resource"], &object["subresource"]],
        None => vec![&event["verb"], &event["requestURI"]],
    };
    let words: Vec<_> = words.into_iter().filter_map(Value::as_str).collect();
    (words.join(" "), event["annotations"]["authorization.k8s.io/decision"] == "forbid")
}

impl KubernetesApi {
    /// What resolvers have asked of this API server, leases apart, as `create events`; and whether it was ever refused for want of a
    /// right.
    pub fn asked_by_resolvers(&self) -> BTreeMap<String, bool> {
        let mut asked = BTreeMap::new();
        for (what, refused) in self.server.audits().iter().flat_map(Audit::asked) {
            *asked.entry(what).or_insert(false) |= refused;
        }
        asked
    }
}

impl Drop for KubernetesApi {
    fn drop(&mut self) {
        let asked = self.asked_by_resolvers();
        let refused: Vec<_> = asked.iter().filter(|(_, refused)| **refused).map(|(what, _)| what).collect();
        assert!(
            refused.is_empty() || std::thread::panicking(),
            "the chart does not give the resolver all rights that it needs: {refused:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(verb: &str, decision: &str) -> String {
        let annotations = json!({ "authorization.k8s.io/decision": decision });
        let object = json!({ "resource": "nodes", "subresource": "status" });
        // A namespace that ends answers 403 too.
        let status = json!({ "code": 403 });
        let event = json!({ "verb": verb, "objectRef": object, "responseStatus": status, "annotations": annotations });
        format!("{event}\n")
    }

    #[test]
    fn a_refusal_for_want_of_a_right_is_told_from_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut audit = Audit::of_life(folder.path(), 0);
        let before = event("list", "forbid");
        fs::write(audit.path(), &before).expect("a log");
        assert_eq!(audit.asked(), []);
        audit.counts_from_here();
        let after = event("get", "forbid") + &event("patch", "allow") + "{\"verb\":";
        fs::write(audit.path(), before + &after).expect("a log");
        let expected = [("get nodes status".to_owned(), true), ("patch nodes status".to_owned(), false)];
        assert_eq!(audit.asked(), expected);
    }
}
