//! Files that can't be read: put aside, and what can still be told from them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use knap_protocol::{AttachmentKey, Attempt, BootId, JsonObject, NetworkName};
use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, Visitor};

use super::{LedgerError, file, file_name, read};
use crate::netns::NetnsIdentity;

/// Between the name that a file had and what is added to it; [`file_name::SUFFIX`] and a dot.
const ASIDE: &str = ".json.";

/// A file that was put aside.
#[derive(Debug)]
pub struct CorruptFile {
    path: PathBuf,
    remains: Remains,
}

/// What a corrupt file still tells. Nothing of it is certain: before a release, see that the namespace or the
/// interface is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// Which attachment, from the file's name, or else from its content.
    pub key: Option<AttachmentKey>,
    /// Which ADD.
    pub attempt: Option<Attempt>,
    /// Which Network.
    pub network: Option<NetworkName>,
    /// Which boot; or one that was over when the file was there already.
    pub boot_id: Option<BootId>,
    /// Which leases.
    pub leases: Vec<String>,
    /// Which sandbox.
    pub netns: Option<NetnsIdentity>,
    /// It was a tombstone: nothing is left to undo here, only the resolver to be told.
    pub torn_down: bool,
}

impl CorruptFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it tells.
    pub fn remains(&self) -> &Remains {
        &self.remains
    }

    /// Removes it, when nothing more is to be gained from it.
    pub fn remove(self) -> Result<(), LedgerError> {
        file::remove(&self.path)
    }
}

/// Moves a file into `folder` and says so. Its new name keeps the old one, and a time, since a name may come again.
pub(super) fn put_aside(path: &Path, folder: &Path, reason: String) -> LedgerError {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let moved_to = folder.join(format!("{name}.{now}"));
    match fs::rename(path, &moved_to) {
        Ok(()) => LedgerError::Corrupt { path: path.to_owned(), moved_to, reason },
        Err(error) => LedgerError::io("put aside the corrupt file", path)(error),
    }
}

/// Notes on all entries and tombstones in the folder that this boot, which is over, had them already.
pub(super) fn mark_all(folder: &Path, over: &BootId) -> Result<(), LedgerError> {
    for name in file::names(folder)? {
        let path = folder.join(&name);
        if name_aside(&name).is_some_and(|(_, boot)| boot.is_none()) {
            let marked = folder.join(format!("{name}.{over}"));
            fs::rename(&path, marked).map_err(LedgerError::io("mark the corrupt file", &path))?;
        }
    }
    Ok(())
}

/// The name that a file had before it was put aside, without its suffix, and the boot that is marked on it:
/// `<name>.json.<time>[.<boot>]`. None for what was never ours.
pub(super) fn name_aside(name: &str) -> Option<(&str, Option<BootId>)> {
    let (name, aside) = name.rsplit_once(ASIDE)?;
    let boot = aside.split_once('.').and_then(|(_, boot)| boot.parse().ok());
    Some((name, boot))
}

/// All files in the folder.
pub(super) fn list(folder: &Path) -> Result<Vec<CorruptFile>, LedgerError> {
    let mut found = Vec::new();
    for name in file::names(folder)? {
        let path = folder.join(&name);
        if let Some(bytes) = read(&path)? {
            found.push(CorruptFile { remains: remains(&name, &bytes), path });
        }
    }
    Ok(found)
}

/// Reads what is readable. The name is trusted above the content: it came from us at another time.
fn remains(name: &str, bytes: &[u8]) -> Remains {
    let fields = readable_fields(bytes);
    let (stem, over) = name_aside(name).unwrap_or((name, None));
    // `<stem>[@<attempt>]`
    let (stem, attempt) = match stem.rsplit_once('@') {
        Some((rest, attempt)) if rest.contains('@') || file_name::is_hashed(rest) => {
            (rest, attempt.parse().ok())
        }
        _ => (stem, None),
    };
    Remains {
        key: file_name::key(stem).or_else(|| field(&fields, "key")),
        torn_down: attempt.is_some(),
        attempt: attempt.or_else(|| field(&fields, "attempt")),
        network: field(&fields, "network"),
        boot_id: field(&fields, "bootID").or(over),
        leases: field(&fields, "leases").unwrap_or_default(),
        netns: field(&fields, "netns"),
    }
}

fn field<T: DeserializeOwned>(fields: &JsonObject, name: &str) -> Option<T> {
    serde_json::from_value(fields.get(name)?.clone()).ok()
}

/// The fields of a JSON object up to where it stops being one.
fn readable_fields(bytes: &[u8]) -> JsonObject {
    struct Fields<'a>(&'a mut JsonObject);

    impl<'de> Visitor<'de> for Fields<'_> {
        type Value = ();

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some((name, value)) = map.next_entry()? {
                self.0.insert(name, value);
            }
            Ok(())
        }
    }

    impl<'de> DeserializeSeed<'de> for Fields<'_> {
        type Value = ();

        fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_map(self)
        }
    }

    let mut fields = JsonObject::new();
    // The error says where it stops; what came before is all there is.
    let _ = Fields(&mut fields).deserialize(&mut serde_json::Deserializer::from_slice(bytes));
    fields
}
