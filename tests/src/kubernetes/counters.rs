//! The API server's own count of the requests that it has answered.

use std::collections::BTreeMap;

use super::KubernetesApi;

/// Requests by verb, resource and HTTP status, `("POST", "networkleases", "201")`, as `apiserver_request_total` has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<(String, String, String), u64>);

impl KubernetesApi {
    /// As of now.
    pub async fn counters(&self) -> Counters {
        let request = http::Request::get("/metrics").body(Vec::new()).expect("a request");
        let text = self.client().await.request_text(request).await.expect("the API server's metrics");
        Counters::read(&text)
    }
}

impl Counters {
    fn read(text: &str) -> Self {
        let mut counts = BTreeMap::new();
        for line in text.lines() {
            let Some((labels, count)) =
                line.strip_prefix("apiserver_request_total{").and_then(|rest| rest.split_once("} "))
            else {
                continue;
            };
            let label = |name: &str| {
                let value = labels.split(',').find_map(|pair| pair.strip_prefix(&format!("{name}=\"")));
                value.unwrap_or_default().trim_end_matches('"').to_owned()
            };
            let count: f64 = count.parse().expect("a count");
            *counts.entry((label("verb"), label("resource"), label("code"))).or_default() += count as u64;
        }
        Self(counts)
    }

    /// How many requests of this verb on this resource there were.
    pub fn count(&self, verb: &str, resource: &str) -> u64 {
        self.of(verb, resource, "")
    }

    /// How many of them did what they asked for.
    pub fn done(&self, verb: &str, resource: &str) -> u64 {
        self.of(verb, resource, "2")
    }

    fn of(&self, verb: &str, resource: &str, code: &str) -> u64 {
        let these = self.0.iter().filter(|((of_verb, of_resource, of_code), _)| {
            of_verb == verb && of_resource == resource && of_code.starts_with(code)
        });
        these.map(|(_, count)| count).sum()
    }

    /// What has come since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let new = self
            .0
            .iter()
            .map(|(key, count)| (key.clone(), count - before.0.get(key).copied().unwrap_or_default()));
        Self(new.filter(|(_, count)| *count > 0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_over_what_nobody_asks_for() {
        let text = "# HELP apiserver_request_total x\n\
            apiserver_request_total{code=\"201\",resource=\"networkleases\",verb=\"POST\"} 3\n\
            apiserver_request_total{code=\"409\",resource=\"networkleases\",verb=\"POST\"} 2\n\
            apiserver_request_total{code=\"200\",resource=\"networks\",verb=\"GET\"} 1e+06\n";
        let counters = Counters::read(text);
        assert_eq!(counters.count("POST", "networkleases"), 5);
        assert_eq!(counters.done("POST", "networkleases"), 3);
        assert_eq!(counters.count("GET", "networks"), 1_000_000);
        assert_eq!(counters.since(&counters), Counters::default());
    }
}
