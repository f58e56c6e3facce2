use std::future::ready;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{EmbeddedStore, OpenError};
use crate::store::suite;

fn file() -> (PathBuf, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (folder.path().join("state"), folder)
}

fn open() -> (EmbeddedStore, TempDir) {
    let (path, folder) = file();
    (EmbeddedStore::open(&path).unwrap(), folder)
}

crate::store_suite!(ready(open()));

#[tokio::test]
async fn what_was_answered_outlives_the_process() {
    let (path, _folder) = file();
    suite::what_was_answered_outlives_the_process(async || EmbeddedStore::open(&path).unwrap()).await;
}

#[test]
fn a_state_file_has_one_user() {
    let (path, _folder) = file();
    let _first = EmbeddedStore::open(&path).unwrap();
    let second = EmbeddedStore::open(&path).err().unwrap();
    assert!(matches!(second, OpenError::InUse { .. }), "{second:?}");
    assert!(second.to_string().contains("--state"), "{second}");
}

#[test]
fn what_is_no_state_file_is_refused_and_left_alone() {
    let (path, _folder) = file();
    std::fs::write(&path, "kind: Network\n").unwrap();
    let refused = EmbeddedStore::open(&path).err().unwrap();
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "kind: Network\n");

    std::fs::remove_file(&path).unwrap();
    let other = redb::Database::create(&path).unwrap();
    let transaction = other.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<&str, u64>::new("theirs")).unwrap();
    transaction.commit().unwrap();
    drop(other);
    let refused = EmbeddedStore::open(&path).err().unwrap();
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_damaged_state_file_is_refused() {
    let (path, _folder) = file();
    suite::what_was_answered_outlives_the_process(async || EmbeddedStore::open(&path).unwrap()).await;
    let whole = std::fs::read(&path).unwrap();

    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let truncated = EmbeddedStore::open(&path).err().unwrap();
    assert!(matches!(truncated, OpenError::Damaged { .. }), "{truncated:?}");

    let text = b"NetworkLease";
    let mut altered = whole;
    let places: Vec<_> = (0..altered.len()).filter(|at| altered[*at..].starts_with(text)).collect();
    assert!(!places.is_empty());
    for place in places {
        altered[place] = b'X';
    }
    std::fs::write(&path, &altered).unwrap();
    let refused = EmbeddedStore::open(&path).err().unwrap();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
}

#[test]
fn a_missing_folder_is_named() {
    let refused = EmbeddedStore::open("/nonexistent/state".as_ref()).err().unwrap();
    assert!(refused.to_string().contains("/nonexistent/state"), "{refused}");
}
