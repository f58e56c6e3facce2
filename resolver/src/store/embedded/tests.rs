use std::future::ready;
use std::path::PathBuf;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tempfile::TempDir;

use super::{EmbeddedStore, OpenError};
use crate::store::{Labels, Store, StoreError, WatchEvent, suite};

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

/// As after an I/O error, which makes redb refuse everything until its file is opened anew.
#[tokio::test]
async fn a_file_that_failed_is_opened_again() {
    let (store, _folder) = open();
    let mut watch = store.watch::<Namespace>();
    while !matches!(watch.next().await, Some(WatchEvent::Current)) {}
    let namespace = |name: &str| {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        Namespace { metadata, ..Namespace::default() }
    };
    store.create(&namespace("before")).await.unwrap();
    store.shared.database.close();
    let refused = store.list::<Namespace>(&Labels::new()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused:?}");
    let refused = store.create(&namespace("during")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused:?}");
    while store.create(&namespace("after")).await.is_err() {}
    assert_eq!(store.list::<Namespace>(&Labels::new()).await.unwrap().len(), 2);
    while !matches!(watch.next().await, Some(WatchEvent::Restarted)) {}
}

/// As when the file system that it was on is gone.
#[tokio::test]
async fn a_file_that_was_there_is_not_made_anew() {
    let (path, _folder) = file();
    let store = EmbeddedStore::open(&path).unwrap();
    let database = &store.shared.database;
    let lost = |reopened: Result<(), OpenError>| {
        let refused = reopened.unwrap_err();
        assert!(matches!(refused, OpenError::Lost { .. }), "{refused:?}");
    };
    database.close();
    let aside = path.with_extension("aside");
    std::fs::rename(&path, &aside).unwrap();
    lost(database.reopen());
    assert!(!path.exists());
    std::fs::write(&path, "").unwrap();
    lost(database.reopen());
    std::fs::rename(&aside, &path).unwrap();
    database.reopen().unwrap();
}

#[test]
fn a_missing_folder_is_named() {
    let refused = EmbeddedStore::open("/nonexistent/state".as_ref()).err().unwrap();
    assert!(refused.to_string().contains("/nonexistent/state"), "{refused}");
}
