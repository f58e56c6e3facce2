//! Reading a folder: which files are manifests, and what is in them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// A manifest has at most this many bytes: more than any real one, less than what could hurt.
const LARGEST: u64 = 16 << 20;

/// Every manifest file by its name, with its text or why it can't be read.
pub(super) type Files = BTreeMap<String, Result<String, String>>;

/// Whether a file of this name is a manifest: `*.yaml`, `*.yml` or `*.json`, and neither hidden nor an editor's.
pub fn is_manifest(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json")) && !name.starts_with(['.', '#', '~'])
}

/// Reads all manifests of a folder, not of its subfolders.
pub(super) fn files(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // Links are followed: a mounted ConfigMap is made of them.
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| is_manifest(name))
        else {
            continue;
        };
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                files.insert(name.to_owned(), read(&path, metadata.len()));
            }
            Ok(_) => {}
            Err(error) => {
                files.insert(name.to_owned(), Err(format!("can't be read: {error}")));
            }
        }
    }
    Ok(files)
}

fn read(path: &Path, size: u64) -> Result<String, String> {
    if size > LARGEST {
        return Err(format!("has {size} bytes, at most {LARGEST} are read"));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("can't be read: {error}"))?;
    String::from_utf8(bytes).map_err(|error| format!("is not UTF-8 text: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_leftovers_are_no_manifests() {
        for right in ["a.yaml", "a.yml", "a.json", "a.b.yaml"] {
            assert!(is_manifest(right), "{right}");
        }
        for wrong in [
            ".a.yaml",
            ".a.yaml.swp",
            "a.yaml~",
            "#a.yaml#",
            "a.yaml.bak",
            "4913",
            "yaml",
            ".#a.yaml",
            "~a.yaml",
        ] {
            assert!(!is_manifest(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_cant_be_read_is_named_and_the_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("good.yaml"), "a: 1").unwrap();
        std::fs::write(folder.path().join("bytes.yaml"), [0xff, 0xfe]).unwrap();
        std::fs::write(folder.path().join("readme.txt"), "text").unwrap();
        std::fs::create_dir(folder.path().join("sub.yaml")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link.yaml")).unwrap();
        let files = files(folder.path()).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["bytes.yaml", "good.yaml", "link.yaml"]);
        assert_eq!(files["good.yaml"], Ok("a: 1".to_owned()));
        assert!(files["bytes.yaml"].as_ref().unwrap_err().contains("UTF-8"));
        assert!(files["link.yaml"].as_ref().unwrap_err().contains("can't be read"));
    }
}
