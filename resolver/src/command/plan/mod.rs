//! `knap-resolver plan`: what Networks would become, and what they conflict with.
//!
//! No second opinion: the files are put into a store that lives in memory, and the same controller that serves
//! Networks provisions them there. So what is planned is what `serve` does with these objects, given the same start. What a
//! webhook would say about a class, it says here, too.

mod example;
mod found;
mod replica;
mod report;
#[cfg(test)]
mod tests;
mod world;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::cli::{OutputFormat, PlanArgs};
use crate::cluster::connect::{self, ConfigError};
use crate::cluster::own_networks;
use crate::manifests::{Contents, FolderError, Manifest, ManifestError, parse};
use crate::store::StoreError;
use crate::store::embedded::OpenError;
use crate::store::kubernetes::{ConnectError, KubernetesStore};

use self::found::Found;
use self::report::Report;
use self::world::World;

/// Why nothing could be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A file that is not there, or not readable.
    #[error("can't read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// A file that can't be understood.
    #[error("{path}: {source}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong in it. Part of the message, where its place belongs.
        source: Box<ManifestError>,
    },
    /// One object in two of the files.
    #[error("{object} is in {first} and in {second}: remove one of them")]
    Twice {
        /// `Network shop/blue`.
        object: String,
        /// A file.
        first: PathBuf,
        /// Another.
        second: PathBuf,
    },
    /// A file without anything to plan.
    #[error("there is no Network and no NetworkClass in {files}")]
    Nothing {
        /// The files.
        files: String,
    },
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The store in memory.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store in memory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// How to reach the cluster is not known.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What the kubeconfig says can't be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What is there already can't be read.
    #[error("can't read what {server} has; to plan without a cluster, name a folder by --manifests")]
    Cluster {
        /// The API server's URL.
        server: String,
        /// The cause.
        #[source]
        source: StoreError,
    },
    /// The controller is gone.
    #[error("the controller ended before it had looked at anything")]
    Ended,
    /// The controller did not come to an end with a Network.
    #[error("Network {0} was not decided within a minute")]
    Undecided(String),
    /// Threads can't be made.
    #[error("can't start the runtime")]
    Runtime(#[source] io::Error),
    /// The report can't be written as JSON.
    #[error("can't write the plan as JSON")]
    Json(#[from] serde_json::Error),
}

/// What to print, and whether something is refused.
#[derive(Debug)]
pub struct Planned {
    /// In the format that was asked for.
    pub text: String,
    /// Whether any Network or class of the files would not be served.
    pub refused: bool,
}

/// Plans the Networks of the files. Changes nothing.
pub fn run(args: &PlanArgs) -> Result<Planned, PlanError> {
    let mut subjects = Subjects::default();
    for path in &args.files {
        subjects.read(path)?;
    }
    if !subjects.manifests.iter().any(|(_, manifest)| is_planned(manifest)) {
        let files: Vec<_> = args.files.iter().map(|file| file.display().to_string()).collect();
        return Err(PlanError::Nothing { files: files.join(", ") });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = runtime.map_err(PlanError::Runtime)?.block_on(plan(subjects, args))?;
    let text = match args.output {
        OutputFormat::Text => report.to_string(),
        OutputFormat::Json => serde_json::to_string_pretty(&report)?,
    };
    Ok(Planned { text, refused: report.refused() })
}

async fn plan(subjects: Subjects, args: &PlanArgs) -> Result<Report, PlanError> {
    let subjects: Vec<_> = subjects.manifests.into_iter().map(|(_, manifest)| manifest).collect();
    let (mut found, broken) = match &args.manifests {
        Some(folder) => {
            let files: Vec<&Path> = args.files.iter().map(PathBuf::as_path).collect();
            let mut contents = Contents::read(folder, &files)?;
            let broken = std::mem::take(&mut contents.broken);
            (Found::in_folder(contents), broken)
        }
        None => (in_cluster(args.kubeconfig.as_deref(), &subjects).await?, Vec::new()),
    };
    found.cluster_networks.extend(own_networks::given(&args.cluster_cidrs));
    let world = World::of(found, &subjects).await?;
    world.report(&subjects, broken, args.node.as_deref()).await
}

/// What the cluster has that is meant; nothing where none is.
async fn in_cluster(kubeconfig: Option<&Path>, subjects: &[Manifest]) -> Result<Found, PlanError> {
    let config = match kubeconfig {
        Some(file) => Some(connect::given(file).await?),
        None => connect::current().await?,
    };
    let Some(config) = config else { return Ok(Found::default()) };
    let server = config.cluster_url.to_string();
    let store = KubernetesStore::new(config)?;
    // Who may not look at these is told of conflicts with Nodes' networks alone.
    let services = own_networks::of_services(&store.client()).await.unwrap_or_default();
    let found = Found::in_store(&store, subjects).await;
    let mut found = found.map_err(|source| PlanError::Cluster { server, source })?;
    found.cluster_networks = services;
    Ok(found)
}

fn key(manifest: &Manifest) -> (&'static str, crate::store::ObjectName) {
    (manifest.kind(), manifest.name())
}

const fn is_planned(manifest: &Manifest) -> bool {
    matches!(manifest, Manifest::Network(_) | Manifest::NetworkClass(_))
}

/// What is to be planned, with the files that it is in.
#[derive(Default)]
struct Subjects {
    manifests: Vec<(PathBuf, Manifest)>,
}

impl Subjects {
    fn read(&mut self, path: &Path) -> Result<(), PlanError> {
        let text = if path == Path::new("-") {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        } else {
            std::fs::read_to_string(path)
        };
        let text = text.map_err(|source| PlanError::Read { path: path.to_owned(), source })?;
        let manifests = parse(&text)
            .map_err(|source| PlanError::Manifest { path: path.to_owned(), source: Box::new(source) })?;
        for manifest in manifests {
            if let Some((first, _)) = self.manifests.iter().find(|(_, other)| key(other) == key(&manifest)) {
                let object = format!("{} {}", manifest.kind(), manifest.name());
                return Err(PlanError::Twice { object, first: first.clone(), second: path.to_owned() });
            }
            self.manifests.push((path.to_owned(), manifest));
        }
        Ok(())
    }
}
