//! A real kubectl on a test's API.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{ADMIN, KubernetesApi};
use crate::{GENEROUS, SELDOM, binaries};

/// What it printed.
#[derive(Debug, Clone)]
pub struct Printed {
    /// Whether it succeeded.
    pub success: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl KubernetesApi {
    /// Runs `kubectl` with these words and this standard input, as a user who may do everything.
    ///
    /// # Panics
    /// With what to do, where there is no kubectl.
    pub fn kubectl(&self, words: &str, input: &str) -> Printed {
        let program =
            std::env::var_os("KNAP_KUBECTL").map_or_else(|| PathBuf::from("kubectl"), PathBuf::from);
        assert!(
            !program.is_absolute() || program.is_file(),
            "{} is missing: export KNAP_KUBECTL=$(tests/setup/kubectl.sh)",
            program.display()
        );
        let mut command = Command::new(&program);
        command.arg("--kubeconfig").arg(self.kubeconfig(ADMIN)).args(words.split_whitespace());
        // Its cache of what the server knows is the test's own.
        command.env("HOME", self.folder.path());
        printed(command, input)
    }

    /// What `knap-resolver plan` prints of these objects, by the kubeconfig that kubectl would use.
    pub fn plan(&self, objects: &str) -> String {
        let printed = self.planned("", objects);
        assert!(printed.success, "{printed:?}");
        printed.out
    }

    /// The same with these further words, where objects may be refused.
    pub fn planned(&self, words: &str, objects: &str) -> Printed {
        let mut command = Command::new(binaries::knap_resolver());
        command.args(["plan", "-f", "-"]).args(words.split_whitespace());
        command.env("KUBECONFIG", self.kubeconfig(ADMIN));
        printed(command, objects)
    }

    /// The same, which must succeed; what it printed.
    pub fn kubectl_ok(&self, words: &str, input: &str) -> String {
        let printed = self.kubectl(words, input);
        assert!(printed.success, "kubectl {words}: {printed:?}");
        printed.out
    }

    /// Runs it again until what it prints is an answer; one that fails is none.
    ///
    /// # Panics
    /// With `what`, and what it printed last, if there is no answer within [`GENEROUS`].
    pub fn kubectl_until<T>(&self, what: &str, words: &str, answer: impl Fn(&str) -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            let printed = self.kubectl(words, "");
            if let Some(answer) = answer(&printed.out).filter(|_| printed.success) {
                return answer;
            }
            assert!(
                begin.elapsed() < GENEROUS,
                "waited {} s in vain: {what}; kubectl {words}: {printed:?}",
                GENEROUS.as_secs()
            );
            std::thread::sleep(SELDOM);
        }
    }
}

fn printed(mut command: Command, input: &str) -> Printed {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("its standard input");
    stdin.write_all(input.as_bytes()).expect("a program that reads");
    drop(stdin);
    let output = child.wait_with_output().expect("a program that ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Printed { success: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}
