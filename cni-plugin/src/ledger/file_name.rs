//! Names of the ledger's files: safe for every container ID and interface name, and readable where short enough.

use std::fmt::Write;

use knap_protocol::AttachmentKey;

/// Ends every entry's file name.
pub(super) const SUFFIX: &str = ".json";

/// Longest stem. A file name has 255 bytes at most, and this leaves room for what is added to a stem: an
/// attempt of 64 bytes, a time and a suffix, or a pod's UID by the same rule.
const LONGEST: usize = 120;

/// How much of a name that is too long stays readable before its hash.
const READABLE: usize = 80;

/// The stem of an attachment's files, `<containerID>@<ifname>`.
///
/// Bytes outside `[A-Za-z0-9_.-]` are percent-encoded. What is too long keeps its beginning and ends in `~` and a
/// hash, and then only the file's content tells the key.
pub(crate) fn stem(key: &AttachmentKey) -> String {
    shorten(format!("{}@{}", escaped(key.container_id.as_str()), escaped(key.ifname.as_str())))
}

/// A file name for any text, by the same rules.
pub(crate) fn of_text(text: &str) -> String {
    shorten(escaped(text))
}

/// The key that a stem spells out; `None` for one that ends in a hash, and for what is no stem at all.
pub(crate) fn key(stem: &str) -> Option<AttachmentKey> {
    let (container_id, ifname) = stem.split_once('@')?;
    let key = AttachmentKey {
        container_id: unescaped(container_id)?.try_into().ok()?,
        ifname: unescaped(ifname)?.try_into().ok()?,
    };
    // Only the one spelling that we write counts: two files must never claim one key.
    (self::stem(&key) == stem).then_some(key)
}

/// Whether the stem ends in a hash, so that its key is told by the content alone.
pub(super) fn is_hashed(stem: &str) -> bool {
    stem.contains('~')
}

fn shorten(name: String) -> String {
    if name.len() <= LONGEST {
        return name;
    }
    let readable: String = name.chars().take(READABLE).filter(|&c| c != '@').collect();
    format!("{readable}~{:032x}", fnv1a(name.as_bytes()))
}

/// Percent-encodes what is not safe in a file name.
pub(crate) fn escaped(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for (position, byte) in text.bytes().enumerate() {
        let plain =
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || (byte == b'.' && position > 0);
        if plain {
            name.push(char::from(byte));
        } else {
            // A leading dot too: such names are temporary files, or folders.
            let _ = write!(name, "%{byte:02X}");
        }
    }
    name
}

/// The text that was percent-encoded.
pub(crate) fn unescaped(escaped: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// FNV-1a of 128 bits: names outlive the build that made them, and the standard library's hashes promise nothing
/// across its versions. It need not resist anybody: runtimes, not tenants, choose container IDs.
pub(crate) fn fnv1a(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(BASIS, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attachment(container_id: &str, ifname: &str) -> AttachmentKey {
        AttachmentKey { container_id: container_id.parse().unwrap(), ifname: ifname.parse().unwrap() }
    }

    #[test]
    fn usual_names_are_readable() {
        assert_eq!(stem(&attachment("0f3a", "net1")), "0f3a@net1");
        assert_eq!(stem(&attachment("0f3a", "a@b%c~")), "0f3a@a%40b%25c%7E");
        assert_eq!(stem(&attachment("0f3a", ".hidden")), "0f3a@%2Ehidden");
        assert_eq!(of_text("../../etc"), "%2E.%2F..%2Fetc");
    }

    #[test]
    fn the_hash_is_fnv1a() {
        // Published test vectors.
        assert_eq!(fnv1a(b""), 0x6c62272e07bb014262b821756295c58d);
        assert_eq!(fnv1a(b"a"), 0xd228cb696f1a8caf78912b704e4a8964);
    }

    #[test]
    fn long_names_differ_by_their_hash() {
        let (one, two) = (attachment(&"c".repeat(253), "net1"), attachment(&"c".repeat(253), "net2"));
        assert!(stem(&one).len() <= LONGEST && is_hashed(&stem(&one)));
        assert_ne!(stem(&one), stem(&two));
        assert_eq!(key(&stem(&one)), None);
    }

    #[test]
    fn only_our_own_spelling_is_a_key() {
        for wrong in ["0f3a", "@net1", "0f3a@", "0f3a@a%4", "0f3a@a%40%", "0f3a@%6eet1", "0f3a@a@b", "a~b@c"]
        {
            assert_eq!(key(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn every_allowed_key_has_a_safe_name_and_short_ones_tell_it(
            container_id in "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,252}",
            ifname in "[^/:\\s\\p{C}]{1,15}",
        ) {
            prop_assume!(ifname.len() <= 15 && ifname != "." && ifname != "..");
            let key = attachment(&container_id, &ifname);
            let stem = stem(&key);
            prop_assert!(stem.len() <= LONGEST);
            prop_assert!(stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-@%~".contains(&b)));
            if is_hashed(&stem) {
                prop_assert_eq!(super::key(&stem), None);
            } else {
                prop_assert_eq!(super::key(&stem), Some(key));
            }
        }
    }
}
