//! No command at all: says what this is.

use super::Answer;
use crate::version::CniVersion;

pub(super) fn run() -> Answer {
    let stderr = format!(
        "knap {}: a CNI plugin that attaches pods to the Networks of Knap; CNI {}.\n\
         A container runtime or Multus runs it, with CNI_COMMAND set. By hand: `knap reap` tears down what is dead.\n",
        env!("CARGO_PKG_VERSION"),
        CniVersion::list()
    );
    Answer { stdout: String::new(), stderr, success: true }
}
