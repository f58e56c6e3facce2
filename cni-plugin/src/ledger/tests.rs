use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use knap_protocol::{LedgerState, PodRef};
use tempfile::TempDir;

use super::*;
use crate::fixture::{as_root_in_namespaces, at_once, key, small_disk};

fn ledger() -> (TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("state")).unwrap();
    (folder, ledger)
}

fn of_pod(key: &AttachmentKey, uid: &str) -> Entry {
    let pod = PodRef { namespace: "shop".to_owned(), name: "web-0".to_owned(), uid: Some(uid.to_owned()) };
    Entry { pod: Some(pod), ..entry_for_tests(key) }
}

fn now<'a>(ledger: &'a Ledger, key: &AttachmentKey) -> LockedAttachment<'a> {
    ledger.lock(key, Instant::now()).unwrap()
}

/// Every file below the state folder, so that a test can say that nothing is left.
fn files(ledger: &Ledger) -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<String>) {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            found.push(path.to_str().unwrap().to_owned());
            if path.is_dir() {
                walk(&path, found);
            }
        }
    }
    let mut found = Vec::new();
    let folders = [&ledger.attachments, &ledger.releasing, &ledger.corrupt, &ledger.locks, &ledger.pods];
    folders.into_iter().for_each(|folder| walk(folder, &mut found));
    // The folders that marks are spread over stay.
    found.retain(|path| Path::new(path).parent() != Some(&ledger.pods));
    found
}

#[test]
fn an_entry_is_written_read_and_removed() {
    let (_folder, ledger) = ledger();
    for key in
        [key("c1", "net1"), key("c1", "a@b %".replace(' ', "é").as_str()), key(&"c".repeat(253), "net1")]
    {
        let mut attachment = now(&ledger, &key);
        assert_eq!(attachment.read().unwrap(), None);
        let intent = of_pod(&key, "uid-1");
        attachment.write(&intent, Durability::Cached).unwrap();
        let decided = Entry { leases: vec!["shop.blue-5".to_owned()], ..intent };
        attachment.write(&decided, Durability::Synced).unwrap();
        drop(attachment);

        assert_eq!(ledger.keys().unwrap(), std::slice::from_ref(&key));
        assert_eq!(ledger.of_pod("uid-1").unwrap(), std::slice::from_ref(&key));
        assert_eq!(ledger.peek(&key).unwrap(), Some(decided.clone()));
        let mut attachment = now(&ledger, &key);
        assert_eq!(attachment.read().unwrap(), Some(decided));
        attachment.remove().unwrap();
        attachment.remove().unwrap();
        drop(attachment);
        assert_eq!(files(&ledger), Vec::<String>::new());
    }
}

#[test]
fn only_root_can_look_inside() {
    let (folder, ledger) = ledger();
    let key = key("c1", "net1");
    let mut attachment = now(&ledger, &key);
    attachment.write(&of_pod(&key, "uid-1"), Durability::Cached).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("state")), 0o700);
    assert_eq!(mode(&ledger.attachments), 0o700);
    assert_eq!(mode(&ledger.attachments.join("c1@net1.json")), 0o600);
}

#[test]
fn a_lock_excludes_others_and_says_who_waits_for_what() {
    let (_folder, ledger) = ledger();
    let key = key("c1", "net1");
    let held = now(&ledger, &key);
    let deadline = Instant::now() + Duration::from_millis(30);
    let error = ledger.lock(&key, deadline).unwrap_err();
    assert!(Instant::now() >= deadline);
    assert!(matches!(error, LedgerError::Busy { .. }) && error.to_string().contains("c1/net1"), "{error}");
    drop(held);
    now(&ledger, &key);
    assert_eq!(files(&ledger), Vec::<String>::new());
}

#[test]
fn a_lock_file_that_is_removed_under_those_who_wait_still_excludes() {
    let (_folder, ledger) = ledger();
    let key = key("c1", "net1");
    let counter = ledger.attachments.join("counter");
    fs::write(&counter, "0").unwrap();
    at_once(8, |_| {
        for _ in 0..50 {
            let _held = ledger.lock(&key, Instant::now() + Duration::from_secs(60)).unwrap();
            let count: u32 = fs::read_to_string(&counter).unwrap().parse().unwrap();
            fs::write(&counter, (count + 1).to_string()).unwrap();
        }
    });
    assert_eq!(fs::read_to_string(&counter).unwrap(), "400");
    fs::remove_file(&counter).unwrap();
    assert_eq!(files(&ledger), Vec::<String>::new());
}

#[test]
fn a_tombstone_is_the_entry_moved() {
    let (_folder, ledger) = ledger();
    let key = key("c1", "net1");
    let entry = of_pod(&key, "uid-1");
    let mut attachment = now(&ledger, &key);
    attachment.write(&entry, Durability::Synced).unwrap();
    attachment.to_tombstone(&entry).unwrap();
    assert_eq!(attachment.read().unwrap(), None);
    drop(attachment);
    assert!(ledger.of_pod("uid-1").unwrap().is_empty());

    let waiting: Vec<Tombstone> = ledger.tombstones().unwrap().map(Result::unwrap).collect();
    assert_eq!(waiting.len(), 1);
    let released = Entry { state: LedgerState::Releasing, ..entry };
    for tombstone in waiting {
        assert_eq!(tombstone.entry(), &released);
        tombstone.remove().unwrap();
    }
    assert_eq!(files(&ledger), Vec::<String>::new());
}

#[test]
fn a_tombstone_keeps_what_the_entry_did_not_yet_say() {
    let (_folder, ledger) = ledger();
    let key = key(&"c".repeat(253), "net1");
    let entry = entry_for_tests(&key);
    let mut attachment = now(&ledger, &key);
    attachment.write(&entry, Durability::Cached).unwrap();
    let answered = Entry { leases: vec!["shop.blue-5".to_owned()], ..entry.clone() };
    attachment.to_tombstone(&answered).unwrap();
    // A second ADD of the same name, undone as well: both wait.
    let again = Entry { attempt: "second".parse().unwrap(), ..entry };
    attachment.to_tombstone(&again).unwrap();
    let mut leases: Vec<_> =
        ledger.tombstones().unwrap().map(|t| t.unwrap().entry().leases.clone()).collect();
    leases.sort();
    assert_eq!(leases, [vec![], vec!["shop.blue-5".to_owned()]]);
    assert!(ledger.keys().unwrap().is_empty());
}

#[test]
fn a_corrupt_entry_is_put_aside_and_tells_what_it_can() {
    let (_folder, ledger) = ledger();
    let (key, other) = (key("c1", "net1"), key("c2", "net1"));
    let whole = serde_json::to_vec(&of_pod(&key, "uid-1")).unwrap();
    let file = ledger.attachments.join("c1@net1.json");
    let cut_after = |field: &[u8]| {
        let at = whole.windows(field.len()).position(|window| window == field).unwrap();
        whole[..at].to_vec()
    };
    for (bytes, attempt_known) in [
        (b"".to_vec(), false),
        (b"not json".to_vec(), false),
        (b"{\"key\": 7}".to_vec(), false),
        (cut_after(b"\"state\""), true),
    ] {
        fs::write(&file, &bytes).unwrap();
        assert!(matches!(ledger.peek(&key), Err(LedgerError::Undecodable { .. })));
        let mut attachment = now(&ledger, &key);
        let error = attachment.read().unwrap_err();
        let LedgerError::Corrupt { moved_to, .. } = &error else { panic!("{error}") };
        assert!(error.to_string().contains(moved_to.to_str().unwrap()), "{error}");
        assert_eq!(fs::read(moved_to).unwrap(), bytes);
        assert_eq!(attachment.read().unwrap(), None);
        let mut aside = ledger.corrupt().unwrap();
        let aside = aside.pop().unwrap();
        assert_eq!(aside.remains().key.as_ref(), Some(&key));
        assert_eq!(aside.remains().attempt.is_some(), attempt_known);
        assert_eq!(aside.remains().boot_id.is_some(), attempt_known);
        assert!(!aside.remains().torn_down);
        aside.remove().unwrap();
    }

    fs::write(ledger.attachments.join("c2@net1.json"), &whole).unwrap();
    let error = now(&ledger, &other).read().unwrap_err().to_string();
    assert!(error.contains("about attachment c1/net1"), "{error}");
}

#[test]
fn what_can_not_be_read_when_a_boot_begins_is_of_one_before() {
    let (_folder, ledger) = ledger();
    let boot = |number: u8| format!("boot-{number}").parse::<knap_protocol::BootId>().unwrap();
    let torn = |name: &str| fs::write(ledger.attachments.join(name), "").unwrap();
    let told = |name: &str| {
        let aside = ledger.corrupt().unwrap();
        let of_name =
            |file: &&CorruptFile| file.path().file_name().unwrap().to_str().unwrap().starts_with(name);
        aside.iter().find(of_name).map(|file| file.remains().boot_id.clone())
    };
    torn("c0@net1.json");
    ledger.enter(&boot(1)).unwrap();
    assert_eq!(told("c0"), None, "without a mark, it may be of this boot");
    now(&ledger, &key("c0", "net1")).read().unwrap_err();
    assert_eq!(told("c0"), Some(None));

    now(&ledger, &key("c1", "net1")).write(&entry_for_tests(&key("c1", "net1")), Durability::Cached).unwrap();
    for name in ["c2@net1.json", &format!("{}~{:032x}.json", "c".repeat(80), 7), "README"] {
        torn(name);
    }
    ledger.enter(&boot(1)).unwrap();
    assert_eq!(told("c2"), None, "this boot goes on");
    ledger.enter(&boot(2)).unwrap();
    for name in ["c0", "c2", "ccc"] {
        assert_eq!(told(name), Some(Some(boot(1))), "{name}");
    }
    assert_eq!(told("README"), Some(None), "never ours");
    assert_eq!(names(&ledger.attachments).unwrap(), ["c1@net1.json"]);

    torn("c3@net1.json");
    now(&ledger, &key("c3", "net1")).read().unwrap_err();
    assert_eq!(told("c3"), Some(None));
    ledger.enter(&boot(3)).unwrap();
    assert_eq!((told("c3"), told("c2")), (Some(Some(boot(2))), Some(Some(boot(1)))));
    assert!(names(&ledger.locks).unwrap().is_empty());
}

#[test]
fn attempts_say_which_ledger_made_them() {
    let boot = "boot-1".parse().unwrap();
    let ((_folder, mine), (_other_folder, other)) = (ledger(), ledger());
    let unnamed = mine.new_attempt().unwrap();
    for ledger in [&mine, &other] {
        ledger.enter(&boot).unwrap();
        ledger.enter(&boot).unwrap();
    }
    let named = [mine.new_attempt().unwrap(), mine.new_attempt().unwrap()];
    assert_ne!(named[0], named[1]);
    for attempt in &named {
        assert!(mine.may_have_made(attempt).unwrap() && !other.may_have_made(attempt).unwrap(), "{attempt}");
    }
    assert!(mine.may_have_made(&unnamed).unwrap() && other.may_have_made(&unnamed).unwrap(), "{unnamed}");
    // Nobody knows any more, and it had a name.
    fs::write(mine.folder.join("id"), "").unwrap();
    assert!(!mine.may_have_made(&named[0]).unwrap());
    assert!(mine.may_have_made(&mine.new_attempt().unwrap()).unwrap());
}

#[test]
fn a_corrupt_tombstone_still_names_its_attempt() {
    let (_folder, ledger) = ledger();
    fs::write(ledger.releasing.join("c1@net1@a-1.json"), "{").unwrap();
    let results: Vec<_> = ledger.tombstones().unwrap().collect();
    assert!(matches!(results.as_slice(), [Err(LedgerError::Corrupt { .. })]));
    assert_eq!(ledger.tombstones().unwrap().count(), 0);
    let aside = ledger.corrupt().unwrap();
    let [file] = aside.as_slice() else { panic!("{aside:?}") };
    assert_eq!(file.remains().key, Some(key("c1", "net1")));
    assert_eq!(file.remains().attempt.as_ref().map(knap_protocol::Attempt::as_str), Some("a-1"));
    assert!(file.remains().torn_down);
}

#[test]
fn a_sweep_removes_what_the_killed_left_and_nothing_else() {
    let (_folder, ledger) = ledger();
    let (kept, busy) = (key("c1", "net1"), key("c2", "net1"));
    now(&ledger, &kept).write(&of_pod(&kept, "uid-1"), Durability::Cached).unwrap();
    let before = files(&ledger);

    fs::write(ledger.attachments.join(".c3@net1.json.tmp"), "half").unwrap();
    fs::write(ledger.releasing.join(".c3@net1@a-1.json.tmp"), "half").unwrap();
    fs::write(ledger.locks.join("c3@net1.lock"), "").unwrap();
    pods::add(&ledger.pods, &"uid".repeat(99), "c3@net1").unwrap();
    fs::write(ledger.attachments.join("stray"), "").unwrap();
    let held = now(&ledger, &busy);
    fs::write(ledger.attachments.join(".c2@net1.json.tmp"), "being written").unwrap();

    let errors = ledger.sweep();
    assert!(matches!(errors.as_slice(), [LedgerError::Corrupt { .. }]), "{errors:?}");
    assert!(ledger.attachments.join(".c2@net1.json.tmp").exists());
    drop(held);
    assert!(ledger.sweep().is_empty());
    for aside in ledger.corrupt().unwrap() {
        assert_eq!(aside.remains().key, None);
        aside.remove().unwrap();
    }
    assert_eq!(files(&ledger), before);
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing() {
    as_root_in_namespaces(|| {
        let folder = tempfile::tempdir().unwrap();
        small_disk(folder.path(), 64 * 1024);
        let ledger = Ledger::open(folder.path()).unwrap();
        let (key, other) = (key("c1", "net1"), key("c2", "net1"));
        let entry = of_pod(&key, "uid-1");
        let mut attachment = now(&ledger, &key);
        attachment.write(&entry, Durability::Synced).unwrap();
        // All of the rest of the disk; the error is the point.
        let _ = fs::write(folder.path().join("filler"), vec![0; 128 * 1024]);

        let error = now(&ledger, &other).write(&entry_for_tests(&other), Durability::Synced).unwrap_err();
        assert!(matches!(error, LedgerError::Full { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("c2@net1.json") && text.contains("free space"), "{text}");
        assert_eq!(names(&ledger.attachments).unwrap(), ["c1@net1.json"]);
        assert!(file::temp_names(&ledger.attachments).unwrap().is_empty());

        // Teardown works without room, also of what the entry could not be told any more.
        let answered = Entry { leases: vec!["shop.blue-5".to_owned()], ..entry };
        assert!(attachment.write(&answered, Durability::Synced).is_err());
        attachment.to_tombstone(&answered).unwrap();
        drop(attachment);
        assert!(ledger.keys().unwrap().is_empty());
        for tombstone in ledger.tombstones().unwrap() {
            tombstone.unwrap().remove().unwrap();
        }
        assert_eq!(files(&ledger), Vec::<String>::new());
    });
}

#[test]
fn a_pods_entries_are_found_among_many() {
    let (_folder, ledger) = ledger();
    let sandbox = |number: usize| key(&format!("{number:064}"), "net1");
    for number in 0..1000 {
        let key = sandbox(number);
        let entry = of_pod(&key, &format!("uid-{}", number % 500));
        now(&ledger, &key).write(&entry, Durability::Cached).unwrap();
    }
    let mut found = ledger.of_pod("uid-77").unwrap();
    found.sort();
    assert_eq!(found, [sandbox(77), sandbox(577)]);
    assert_eq!(ledger.of_pod("uid-7").unwrap().len(), 2);
    assert!(ledger.of_pod("uid-").unwrap().is_empty());
    assert_eq!(ledger.keys().unwrap().len(), 1000);
}
