//! `knap-resolver webhooks`: the objects by which the API server asks the resolver, as YAML for `kubectl apply -f -`.

use crate::admission::RawPolicy;
use crate::cli::WebhooksArgs;
use crate::cluster::webhooks::{MatchConditions, ObjectsOf, WebhookObjects};

/// Both objects.
pub fn objects(args: &WebhooksArgs) -> [WebhookObjects; 2] {
    let of = match &args.url {
        Some(url) => ObjectsOf::Url(url.trim_end_matches('/').to_owned()),
        None => ObjectsOf::Service {
            namespace: args.service.namespace.clone(),
            name: args.service.name.clone(),
            port: args.port,
        },
    };
    let conditions =
        if args.without_match_conditions { MatchConditions::Unknown } else { MatchConditions::Known };
    WebhookObjects::new(&of, conditions, args.raw_attachments == RawPolicy::Refuse)
}

/// What the stream begins with. In its first document: where the stream is a part of another, nothing is a document of its own.
const HEADER: &str = "# Made by `knap-resolver webhooks`. Change that instead.";

/// One YAML stream of both.
pub fn yaml(args: &WebhooksArgs) -> Result<String, serde_saphyr::ser::Error> {
    let documents = objects(args).iter().map(serde_saphyr::to_string).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("---\n{HEADER}\n{}", documents.join("---\n")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn printed(line: &str) -> String {
        let Command::Webhooks(args) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
        yaml(&args).unwrap()
    }

    /// The generated file is part of the repository, so that a change shows in its review.
    #[test]
    fn the_file_under_deploy_is_the_generated_one() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/webhooks.yaml");
        let generated = printed("knap-resolver webhooks");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &generated).unwrap();
        }
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            found == generated,
            "{} is not what the resolver prints. If the change is wanted, run: UPDATE=1 cargo test -p knap-resolver webhooks",
            file.display()
        );
    }

    #[test]
    fn a_resolver_may_be_elsewhere() {
        let printed = printed(
            "knap-resolver webhooks --url https://10.0.0.1:4180/ --without-match-conditions --raw-attachments refuse",
        );
        assert!(printed.contains("url: https://10.0.0.1:4180/admission/pods"), "{printed}");
        assert!(!printed.contains("matchConditions") && printed.contains("failurePolicy: Fail"), "{printed}");
        let by_service = super::tests::printed("knap-resolver webhooks --service net/knap --port 8443");
        assert!(by_service.contains("namespace: net") && by_service.contains("port: 8443"), "{by_service}");
    }
}
