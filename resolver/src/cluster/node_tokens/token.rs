//! A token: `knap1.<key>.<claims>.<signature>`, the last two in base64url (RFC 4648). The signature is HMAC-SHA256 over all
//! before it. There is one algorithm, so that none can be chosen by whoever shows a token.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k8s_openapi::jiff::Timestamp;
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::keys::Key;

/// Another form of token gets another.
const PREFIX: &str = "knap1.";

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The node that it is for.
    pub(crate) node: String,
    /// The UID of the Node object that there was then.
    pub(crate) uid: String,
    /// Not in whole seconds: whoever revokes means all that there are, those of this second too.
    pub(crate) issued: Timestamp,
    pub(crate) expires: Timestamp,
}

impl Claims {
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.expires <= now
    }
}

/// Whether whoever shows this believes it to be a node's token.
pub(crate) fn looks_like_one(token: &[u8]) -> bool {
    token.starts_with(PREFIX.as_bytes())
}

/// Signs claims.
pub(super) fn signed(claims: &Claims, key: &Key) -> Result<String, serde_json::Error> {
    let claims = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
    let message = format!("{PREFIX}{}.{claims}", key.id);
    let signature = hmac::sign(&key.secret.hmac(), message.as_bytes());
    Ok(format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

/// A token of this form, not verified yet.
pub(super) struct Shown<'a> {
    /// The key that it says it was signed by.
    pub(super) key: &'a str,
    message: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl<'a> Shown<'a> {
    /// None where it has another form.
    pub(super) fn parse(token: &'a [u8]) -> Option<Self> {
        let token = std::str::from_utf8(token).ok()?;
        let (message, signature) = token.rsplit_once('.')?;
        let (key, claims) = message.strip_prefix(PREFIX)?.split_once('.')?;
        (!claims.contains('.')).then_some(Self { key, message, claims, signature })
    }

    /// What it says, if this key signed it.
    pub(super) fn verified(&self, key: &Key) -> Option<Claims> {
        let signature = BASE64_URL_SAFE_NO_PAD.decode(self.signature).ok()?;
        hmac::verify(&key.secret.hmac(), self.message.as_bytes(), &signature).ok()?;
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(self.claims).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn claims() -> Claims {
        Claims { node: "n1".to_owned(), uid: "u1".to_owned(), issued: at(1_000), expires: at(2_000) }
    }

    fn key() -> Key {
        Key::random(Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn what_was_signed_is_read() {
        let key = key();
        let token = signed(&claims(), &key).unwrap();
        let shown = Shown::parse(token.as_bytes()).unwrap();
        assert_eq!((shown.key, shown.verified(&key)), (key.id.as_str(), Some(claims())));
        assert!(looks_like_one(token.as_bytes()));
    }

    #[test]
    fn any_other_byte_anywhere_makes_it_void() {
        let key = key();
        let token = signed(&claims(), &key).unwrap();
        for position in 0..token.len() {
            for bit in 0..7 {
                let mut bytes = token.clone().into_bytes();
                bytes[position] ^= 1 << bit;
                let read = Shown::parse(&bytes).and_then(|shown| shown.verified(&key));
                assert_eq!(read, None, "{}", String::from_utf8_lossy(&bytes));
            }
        }
        for end in 0..token.len() {
            let read = Shown::parse(&token.as_bytes()[..end]).and_then(|shown| shown.verified(&key));
            assert_eq!(read, None, "{end}");
        }
    }

    #[test]
    fn another_key_of_the_same_name_does_not_do() {
        let (own, mut other) = (key(), key());
        other.id.clone_from(&own.id);
        let token = signed(&claims(), &other).unwrap();
        assert_eq!(Shown::parse(token.as_bytes()).unwrap().verified(&own), None);
    }

    #[test]
    fn other_forms_are_told_apart() {
        for other in ["", "secret", "eyJh.eyJp.c2ln", "knap1.a.b", "knap1.a.b.c.d", "knap2.a.b.c"] {
            assert!(Shown::parse(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn it_lives_until_it_expires() {
        assert!(!claims().is_over(at(1_999)) && claims().is_over(at(2_000)));
    }
}
