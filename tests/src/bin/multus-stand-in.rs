//! A CNI plugin that does what Multus does where no Multus is: see [`knap_tests::multus`].

use std::io::{Read, Write};
use std::process::ExitCode;

use knap_tests::multus;
use serde_json::json;

fn main() -> ExitCode {
    let mut stdin = String::new();
    let read = std::io::stdin().read_to_string(&mut stdin);
    let answer =
        read.map_err(anyhow::Error::from).and_then(|_| multus::run(&std::env::vars().collect(), &stdin));
    let (text, code) = match answer {
        Ok(Some(result)) => (result.to_string(), ExitCode::SUCCESS),
        Ok(None) => (String::new(), ExitCode::SUCCESS),
        Err(error) => {
            let words = json!({ "cniVersion": "0.3.1", "code": 999, "msg": format!("{error:#}") });
            (words.to_string(), ExitCode::FAILURE)
        }
    };
    let _ = std::io::stdout().write_all(text.as_bytes());
    code
}
