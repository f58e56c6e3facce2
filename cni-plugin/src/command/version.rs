//! VERSION: which versions are served. Needs nothing but standard input, and not even that.

use serde_json::{Value, json};

use super::Answer;
use crate::config;
use crate::failure::Failure;
use crate::version::CniVersion;

pub(super) fn run(input: &[u8]) -> Result<Answer, Failure> {
    let asked = if input.trim_ascii().is_empty() { None } else { Some(config::decode(input)?) };
    let asked = asked.as_ref().and_then(|object| object.get("cniVersion")).and_then(Value::as_str);
    let version = asked.and_then(CniVersion::parse).unwrap_or(CniVersion::LATEST);
    let answer = json!({
        "cniVersion": version.as_str(),
        "supportedVersions": CniVersion::ALL.map(CniVersion::as_str),
    });
    Ok(Answer::result(answer.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::served(br#"{"cniVersion": "0.4.0"}"#, "0.4.0")]
    #[case::nothing(b"", "1.1.0")]
    #[case::of_the_future(br#"{"cniVersion": "9.0.0"}"#, "1.1.0")]
    fn it_echoes_what_it_serves(#[case] input: &[u8], #[case] expected: &str) {
        let answer: Value = serde_json::from_str(&run(input).unwrap().stdout).unwrap();
        assert_eq!(answer["cniVersion"], json!(expected));
        assert_eq!(answer["supportedVersions"], json!(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]));
    }
}
