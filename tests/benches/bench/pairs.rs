//! Knap against what it replaces: (a) `bridge` with `host-local`, run directly; (b) `knap`, resolver, `bridge` with
//! Knap's addresses. In turn, in one run, on one machine; each pair on a fresh sandbox made before the clock starts.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use knap_tests::{Host, Sandbox, class, delegates, network, thin_config};
use serde::Serialize;
use serde_json::{Value, json};

use crate::statistics::Spread;

/// Rounds before the clock counts: file caches, the delegates' versions, the resolver's first allocations.
const WARM_UP: usize = 20;
/// Rounds of what the first pod on a node costs.
const FIRST_ROUNDS: usize = 40;

/// Both sides' milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Pairs {
    pub(crate) count: usize,
    pub(crate) direct: Side,
    pub(crate) knap: Side,
    /// Knap where the pod is its Network's first and last on the node, so that the bridge is made and removed too.
    pub(crate) knap_first_on_node: Side,
}

#[derive(Debug, Serialize)]
pub(crate) struct Side {
    pub(crate) add: Spread,
    pub(crate) del: Spread,
}

/// One side: what to run, with which configuration.
struct Plugin<'a> {
    program: PathBuf,
    config: Value,
    host: &'a Host,
}

pub(crate) fn measure(count: usize) -> Pairs {
    let subnets = json!([{ "cidr": "10.64.0.0/12", "prefixLength": 16 }]);
    let class = class(json!({ "provider": "bridge", "subnets": subnets }));
    let host = Host::on_disk().serving_real(&[class, network("shop/blue", &json!({}))], &["shop/blue"]);
    host.write_node_file(&json!({ "log": { "level": "info" } }));
    let direct =
        Plugin { program: delegates().join("bridge"), config: direct_config(host.folder()), host: &host };
    let knap = Plugin {
        program: host.delegates.bin().join("knap"),
        config: thin_config("shop/blue", "1.0.0"),
        host: &host,
    };
    // All that follows runs in the host's network namespace, so that no `nsenter` is measured.
    host.machine().enter(|| {
        let first = rounds(&[&knap], FIRST_ROUNDS).pop().expect("one side");
        // A node has other pods: both bridges are there, and stay.
        let residents = [host.pod("resident-direct"), host.pod("resident-knap")];
        direct.run("ADD", "resident-direct", &residents[0]);
        knap.run("ADD", "resident-knap", &residents[1]);
        rounds(&[&direct, &knap], WARM_UP);
        let mut sides = rounds(&[&direct, &knap], count).into_iter();
        let pairs = Pairs {
            count,
            direct: sides.next().expect("the direct side"),
            knap: sides.next().expect("Knap's side"),
            knap_first_on_node: first,
        };
        direct.run("DEL", "resident-direct", &residents[0]);
        knap.run("DEL", "resident-knap", &residents[1]);
        pairs
    })
}

fn direct_config(folder: &Path) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "direct", "type": "bridge", "bridge": "br-direct", "isGateway": true,
        "ipam": {
            "type": "host-local", "dataDir": folder.join("host-local"), "ranges": [[{ "subnet": "10.128.0.0/16" }]],
        },
    })
}

/// Each side's pair once in every round.
fn rounds(plugins: &[&Plugin<'_>], count: usize) -> Vec<Side> {
    let mut runs = vec![(Vec::new(), Vec::new()); plugins.len()];
    for round in 0..count {
        for (plugin, (adds, dels)) in plugins.iter().zip(&mut runs) {
            let container = format!("bench-{round}");
            let sandbox = plugin.host.pod(&container);
            adds.push(plugin.run("ADD", &container, &sandbox));
            dels.push(plugin.run("DEL", &container, &sandbox));
        }
    }
    runs.into_iter().map(|(adds, dels)| Side { add: Spread::of(adds), del: Spread::of(dels) }).collect()
}

impl Plugin<'_> {
    /// Runs one command, from its start to its end.
    fn run(&self, verb: &str, container: &str, sandbox: &Sandbox) -> Duration {
        let stdin = self.config.to_string();
        let cni_path = std::env::join_paths([self.host.delegates.bin(), delegates()]).expect("CNI_PATH");
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("KNAP_CONFIG", self.host.node_file())
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", sandbox.path())
            .env("CNI_IFNAME", "net1")
            .env("CNI_PATH", cni_path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let begin = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        child.stdin.take().expect("its standard input").write_all(stdin.as_bytes()).expect("a configuration");
        let output = child.wait_with_output().expect("wait");
        let elapsed = begin.elapsed();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{verb} of {}: {said}", self.program.display());
        elapsed
    }
}
