use std::path::{Path, PathBuf};
use std::time::Duration;

use knap_api::{Network, NetworkClass};
use kube::ResourceExt;
use tempfile::TempDir;
use tokio::time::Instant;

use super::{FILE_ANNOTATION, Folder};
use crate::store::embedded::EmbeddedStore;
use crate::store::{Kind, Labels, ObjectName, Preconditions, Store};

struct World {
    folder: PathBuf,
    store: EmbeddedStore,
    _kept: TempDir,
}

/// In which a save in steps must be whole again: no longer than it takes until a second look.
const STEPS: Duration = Duration::from_millis(300);

impl World {
    fn new() -> Self {
        let kept = tempfile::tempdir().unwrap();
        let folder = kept.path().join("manifests");
        std::fs::create_dir(&folder).unwrap();
        Self { folder, store: EmbeddedStore::in_memory().unwrap(), _kept: kept }
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.join(file), text).unwrap();
    }

    fn remove(&self, file: &str) {
        std::fs::remove_file(self.folder.join(file)).unwrap();
    }

    async fn networks(&self) -> Vec<String> {
        names::<Network>(&self.store).await
    }

    async fn network(&self, name: &str) -> Network {
        let name = ObjectName::namespaced("shop", name);
        self.store.get(&name).await.unwrap().unwrap()
    }

    /// Waits until the Networks are these, and says how long that took.
    async fn until(&self, networks: &[&str]) -> Duration {
        let start = Instant::now();
        while self.networks().await != networks {
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", self.networks().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        start.elapsed()
    }
}

async fn names<K: Kind>(store: &EmbeddedStore) -> Vec<String> {
    store.list::<K>(&Labels::new()).await.unwrap().iter().map(ResourceExt::name_any).collect()
}

fn network(name: &str, provider: &str) -> String {
    format!(
        "---\napiVersion: knap.github.com/v1alpha1\nkind: Network\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{provider: {provider}}}\n"
    )
}

const CLASS: &str = "apiVersion: knap.github.com/v1alpha1\nkind: NetworkClass\nmetadata: {name: fabric-a}\n\
                     spec: {provider: bridge}\n";

fn reasons(folder: &Folder) -> Vec<String> {
    folder.broken().borrow().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn the_store_becomes_what_the_files_say() {
    let world = World::new();
    let mut folder = Folder::new(&world.folder);
    world.write("a.yaml", &(network("blue", "bridge") + &network("red", "bridge")));
    world.write("classes.yml", CLASS);
    folder.apply_once(&world.store).await.unwrap();
    assert_eq!(world.networks().await, ["blue", "red"]);
    assert_eq!(names::<NetworkClass>(&world.store).await, ["fabric-a"]);
    let before = world.network("blue").await;
    assert_eq!(before.annotations()[FILE_ANNOTATION], "a.yaml");

    world.write("a.yaml", &network("blue", "macvlan"));
    folder.apply_once(&world.store).await.unwrap();
    let after = world.network("blue").await;
    assert_eq!(after.uid(), before.uid(), "a change is no new Network");
    assert_eq!((after.metadata.generation, after.spec.provider.as_deref()), (Some(2), Some("macvlan")));
    assert_eq!(world.networks().await, ["blue"]);

    folder.apply_once(&world.store).await.unwrap();
    assert_eq!(world.network("blue").await, after, "nothing differs, nothing is written");
    std::fs::rename(world.folder.join("a.yaml"), world.folder.join("b.yaml")).unwrap();
    folder.apply_once(&world.store).await.unwrap();
    let moved = world.network("blue").await;
    assert_eq!((moved.uid(), moved.metadata.generation), (before.uid(), Some(2)));
    assert_eq!(moved.annotations()[FILE_ANNOTATION], "b.yaml");
}

#[tokio::test]
async fn a_broken_file_is_named_and_what_it_said_keeps_serving() {
    let world = World::new();
    let mut folder = Folder::new(&world.folder);
    world.write("a.yaml", &network("blue", "bridge"));
    world.write("b.yaml", "kind: [");
    folder.apply_once(&world.store).await.unwrap();
    assert_eq!(world.networks().await, ["blue"]);
    assert!(
        matches!(reasons(&folder).as_slice(), [one] if one.starts_with("b.yaml: invalid YAML")),
        "{folder:?}"
    );

    world.write("a.yaml", &network("blue", "NOT_A_NAME"));
    world.write("b.yaml", &network("red", "bridge"));
    // A resolver that starts with the file broken keeps to what the store remembers.
    let mut folder = Folder::new(&world.folder);
    folder.apply_once(&world.store).await.unwrap();
    assert_eq!(world.networks().await, ["blue", "red"]);
    assert_eq!(world.network("blue").await.spec.provider.as_deref(), Some("bridge"));
    let [reason] = reasons(&folder).try_into().unwrap();
    assert!(reason.starts_with("a.yaml: Network shop/blue: spec.provider is \"NOT_A_NAME\""), "{reason}");

    world.remove("a.yaml");
    folder.apply_once(&world.store).await.unwrap();
    assert_eq!(world.networks().await, ["red"]);
    assert!(reasons(&folder).is_empty());
}

#[tokio::test]
async fn an_object_belongs_to_the_file_that_it_is_served_from() {
    let world = World::new();
    let mut folder = Folder::new(&world.folder);
    world.write("b.yaml", &network("blue", "bridge"));
    folder.apply_once(&world.store).await.unwrap();
    world.write("a.yaml", &(network("blue", "macvlan") + &network("red", "bridge")));
    folder.apply_once(&world.store).await.unwrap();
    assert_eq!(world.networks().await, ["blue"]);
    assert_eq!(world.network("blue").await.spec.provider.as_deref(), Some("bridge"));
    assert_eq!(reasons(&folder), ["a.yaml: Network shop/blue is in b.yaml too: remove one of them"]);
    world.remove("b.yaml");
    folder.apply_once(&world.store).await.unwrap();
    assert_eq!(world.networks().await, ["blue", "red"]);
    assert_eq!(world.network("blue").await.spec.provider.as_deref(), Some("macvlan"));
}

#[tokio::test]
async fn an_object_stays_with_its_file_while_that_has_a_mistake() {
    let world = World::new();
    let mut folder = Folder::new(&world.folder);
    world.write("a.yaml", &network("blue", "bridge"));
    folder.apply_once(&world.store).await.unwrap();
    world.write("b.yaml", &network("blue", "macvlan"));
    world.write("a.yaml", "kind: Network\n  name: [");
    folder.apply_once(&world.store).await.unwrap();
    assert_eq!(world.network("blue").await.spec.provider.as_deref(), Some("bridge"));
    let broken = reasons(&folder);
    assert!(
        broken.len() == 2 && broken[1].contains("b.yaml: Network shop/blue is in a.yaml too"),
        "{broken:?}"
    );
    world.write("a.yaml", &network("blue", "host-device"));
    folder.apply_once(&world.store).await.unwrap();
    assert_eq!(world.network("blue").await.spec.provider.as_deref(), Some("host-device"));
}

#[tokio::test]
async fn what_did_not_come_from_the_folder_stays() {
    let world = World::new();
    let class = NetworkClass::new("by-hand", knap_api::NetworkClassSpec::default());
    world.store.create(&class).await.unwrap();
    Folder::new(&world.folder).apply_once(&world.store).await.unwrap();
    assert_eq!(names::<NetworkClass>(&world.store).await, ["by-hand"]);
}

#[tokio::test]
async fn finalizers_of_others_are_kept_and_waited_for() {
    let world = World::new();
    let mut folder = Folder::new(&world.folder);
    world.write("a.yaml", &network("blue", "bridge"));
    folder.apply_once(&world.store).await.unwrap();
    let mut held = world.network("blue").await;
    held.finalizers_mut().push("knap.github.com/test".into());
    let held = world.store.update(&held).await.unwrap();

    world.write("a.yaml", &network("blue", "macvlan"));
    folder.apply_once(&world.store).await.unwrap();
    assert_eq!(world.network("blue").await.finalizers(), held.finalizers());
    world.remove("a.yaml");
    folder.apply_once(&world.store).await.unwrap();
    assert!(world.network("blue").await.metadata.deletion_timestamp.is_some());

    world.write("a.yaml", &network("blue", "bridge"));
    folder.apply_once(&world.store).await.unwrap();
    let mut going = world.network("blue").await;
    assert!(going.metadata.deletion_timestamp.is_some(), "the new one waits for the old one to go");
    going.finalizers_mut().clear();
    world.store.update(&going).await.unwrap();
    folder.apply_once(&world.store).await.unwrap();
    let anew = world.network("blue").await;
    assert_ne!(anew.uid(), held.uid());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_folder_is_followed() {
    let world = World::new();
    let mut folder = Folder::new(&world.folder);
    folder.apply_once(&world.store).await.unwrap();
    let mut broken = folder.broken();
    let watching = tokio::spawn(folder.watch(world.store.clone()));
    // The kernel's watch is set up in the task; a file written before is found by the rescan.
    world.write("first.yaml", &network("first", "bridge"));
    world.until(&["first"]).await;

    let mut times = Vec::new();
    for _ in 0..5 {
        world.write("a.yaml", &network("blue", "bridge"));
        let created = world.until(&["blue", "first"]).await;
        world.write(".b.yaml.swp", &network("hidden", "bridge"));
        std::fs::write(world.folder.join(".b.new"), network("red", "bridge")).unwrap();
        std::fs::rename(world.folder.join(".b.new"), world.folder.join("b.yaml")).unwrap();
        let renamed = world.until(&["blue", "first", "red"]).await;
        world.remove("a.yaml");
        let removed = world.until(&["first", "red"]).await;
        world.remove("b.yaml");
        world.until(&["first"]).await;
        times.push([created, renamed, removed]);
    }
    for step in 0..3 {
        // Within a second, on a machine with nothing else to do; without the kernel's word it would be five. The best of five:
        // what else the machine does is not what is tested.
        assert!(times.iter().any(|took| took[step] < Duration::from_secs(4)), "{times:?}");
    }
    world.write("b.yaml", "kind: [");
    broken.wait_for(|broken| !broken.is_empty()).await.unwrap();
    watching.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_in_steps_removes_nothing() {
    let world = World::new();
    let mut folder = Folder::new(&world.folder);
    world.write("a.yaml", &network("blue", "bridge"));
    folder.apply_once(&world.store).await.unwrap();
    let watching = tokio::spawn(folder.watch(world.store.clone()));
    let mut rounds = 0;
    for _ in 0..20 {
        let before = world.network("blue").await;
        let begin = Instant::now();
        world.write("a.yaml", "");
        tokio::time::sleep(STEPS / 2).await;
        world.write("a.yaml", &(network("blue", "bridge") + &network("red", "bridge")));
        let was_quick = begin.elapsed() < STEPS;
        world.until(&["blue", "red"]).await;
        world.write("a.yaml", &network("blue", "bridge"));
        world.until(&["blue"]).await;
        // A round in which this test itself was late tells nothing.
        if was_quick {
            assert_eq!(world.network("blue").await.uid(), before.uid());
            rounds += 1;
        }
        if rounds == 3 {
            break;
        }
    }
    assert!(rounds > 0, "no save was quick");
    watching.abort();
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let world = World::new();
    let error = Folder::new(Path::new("/nonexistent")).apply_once(&world.store).await.unwrap_err();
    assert!(
        error.to_string().contains("/nonexistent") && error.to_string().contains("--manifests"),
        "{error}"
    );
}

#[tokio::test]
async fn an_object_deleted_behind_our_back_is_not_fatal() {
    let world = World::new();
    let mut folder = Folder::new(&world.folder);
    world.write("a.yaml", &network("blue", "bridge"));
    folder.apply_once(&world.store).await.unwrap();
    let name = ObjectName::namespaced("shop", "blue");
    world.store.delete::<Network>(&name, &Preconditions::default()).await.unwrap();
    world.write("a.yaml", &network("blue", "macvlan"));
    folder.apply_once(&world.store).await.unwrap();
    assert_eq!(world.networks().await, ["blue"]);
}
