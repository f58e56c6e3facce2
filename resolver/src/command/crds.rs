//! `knap-resolver crds`: the CustomResourceDefinitions, as YAML for `kubectl apply -f -`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// All of Knap's kinds.
pub fn crds() -> Vec<CustomResourceDefinition> {
    knap_api::definitions()
}

/// What each begins with.
const HEADER: &str = "# Made by `knap-resolver crds` from resolver/api. Change that instead.";

/// One YAML stream of all CRDs.
pub fn yaml() -> Result<String, serde_saphyr::ser::Error> {
    let documents = crds().iter().map(document).collect::<Result<Vec<_>, _>>()?;
    Ok(documents.iter().map(|document| format!("---\n{document}")).collect())
}

fn document(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    Ok(format!("{HEADER}\n{}", serde_saphyr::to_string(crd)?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The generated files are part of the repository, so that a change of a kind shows in its review.
    #[test]
    fn the_files_under_deploy_are_the_generated_ones() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
        let update = std::env::var_os("UPDATE").is_some();
        for crd in crds() {
            let file = folder.join(format!("{}.yaml", crd.spec.names.plural));
            let generated = document(&crd).unwrap();
            if update {
                std::fs::write(&file, &generated).unwrap();
            }
            let found = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(
                found == generated,
                "{} is not what the kinds in resolver/api say. If the change is wanted, run: \
                 UPDATE=1 cargo test -p knap-resolver crds",
                file.display()
            );
        }
    }

    #[test]
    fn the_stream_reads_back() {
        let read: Vec<CustomResourceDefinition> = serde_saphyr::from_multiple(&yaml().unwrap()).unwrap();
        assert_eq!(read, crds());
    }
}
