//! Links of a made-up sysfs.

use std::os::unix::fs::symlink;

use serde_json::json;

use super::*;

/// A sysfs with the attributes that the kernel shows.
struct Sysfs(tempfile::TempDir);

impl Sysfs {
    fn new() -> Self {
        let sysfs = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(sysfs.0.path().join("class/net")).unwrap();
        sysfs
    }

    /// A link with a folder below `devices/`, and these attributes besides the usual ones.
    fn link(&self, device: &str, name: &str, attributes: &[(&str, &str)]) -> PathBuf {
        let folder = self.0.path().join("devices").join(device).join("net").join(name);
        fs::create_dir_all(&folder).unwrap();
        let usual = [
            ("type", "1"),
            ("mtu", "1500"),
            ("address", "02:00:00:00:00:01"),
            ("carrier", "1"),
            ("uevent", ""),
        ];
        for (attribute, value) in usual.iter().chain(attributes) {
            fs::write(folder.join(attribute), format!("{value}\n")).unwrap();
        }
        symlink(&folder, self.0.path().join("class/net").join(name)).unwrap();
        folder
    }

    fn virtual_link(&self, name: &str, attributes: &[(&str, &str)]) -> PathBuf {
        self.link("virtual", name, attributes)
    }

    /// One with hardware: `device` leads to it, and that to its driver.
    fn hardware(&self, device: &str, name: &str, driver: &str, attributes: &[(&str, &str)]) -> PathBuf {
        let folder = self.link(device, name, attributes);
        let hardware = self.0.path().join("devices").join(device);
        symlink(&hardware, folder.join("device")).unwrap();
        let drivers = self.0.path().join("bus/pci/drivers").join(driver);
        fs::create_dir_all(&drivers).unwrap();
        symlink(drivers, hardware.join("driver")).unwrap();
        hardware
    }

    fn names(&self) -> Vec<String> {
        survey(self.0.path()).iter().map(|link| link.name.as_str().to_owned()).collect()
    }
}

#[test]
fn a_card_is_told_with_all_that_the_kernel_knows() {
    let sysfs = Sysfs::new();
    let card = sysfs.hardware(
        "pci0000:3a/0000:3a:00.0/0000:3b:00.0",
        "ens1f0",
        "ice",
        &[("speed", "25000"), ("mtu", "9000"), ("address", "3c:fd:fe:00:00:01")],
    );
    fs::write(card.join("sriov_totalvfs"), "128\n").unwrap();
    fs::write(card.join("sriov_numvfs"), "8\n").unwrap();
    // A virtual function is no uplink.
    let function = sysfs.hardware("pci0000:3a/0000:3a:00.0/0000:3b:01.0", "ens1f0v0", "iavf", &[]);
    symlink(&card, function.join("physfn")).unwrap();
    assert_eq!(
        serde_json::to_value(survey(sysfs.0.path())).unwrap(),
        json!([{
            "name": "ens1f0", "driver": "ice", "mac": "3c:fd:fe:00:00:01", "speedMbps": 25000, "mtu": 9000, "up": true,
            "pciAddress": "0000:3b:00.0", "sriov": {"totalVfs": 128, "vfs": 8},
        }])
    );
}

#[test]
fn what_a_driver_does_not_know_is_left_out() {
    let sysfs = Sysfs::new();
    // As virtio does: no speed while down, and its device is not the one on the bus.
    let link = sysfs.hardware("pci0000:00/0000:00:03.0/virtio2", "eth0", "virtio_net", &[("speed", "-1")]);
    fs::write(link.join("net/eth0/carrier"), "").unwrap();
    assert_eq!(
        serde_json::to_value(survey(sysfs.0.path())).unwrap(),
        json!([{
            "name": "eth0", "driver": "virtio_net", "mac": "02:00:00:00:00:01", "mtu": 1500, "up": false,
            "pciAddress": "0000:00:03.0",
        }])
    );
}

#[test]
fn of_virtual_links_those_are_told_that_could_be_uplinks() {
    let sysfs = Sysfs::new();
    for (name, kind) in
        [("bond0", "bond"), ("bond0.100", "vlan"), ("br-ex", "bridge"), ("flannel.1", "vxlan")]
    {
        sysfs.virtual_link(name, &[("uevent", &format!("DEVTYPE={kind}\nINTERFACE={name}"))]);
    }
    sysfs.virtual_link("lo", &[("type", "772")]);
    sysfs.virtual_link("tunl0", &[("type", "768")]);
    sysfs.virtual_link("tap7", &[("tun_flags", "0x1002")]);
    // Knap's own, of any kind.
    sysfs.virtual_link("kn1f2e", &[("ifalias", "knap:some-uid"), ("uevent", "DEVTYPE=bridge")]);
    // The host's ends of pods' pairs, by name or by their bridge; and a node's own wire, as in kind.
    sysfs.virtual_link("cali0123", &[]);
    sysfs.virtual_link("veth4711", &[]);
    let port = sysfs.virtual_link("other-end", &[]);
    fs::create_dir(port.join("brport")).unwrap();
    sysfs.virtual_link("eth0", &[]);
    assert_eq!(sysfs.names(), ["bond0", "bond0.100", "br-ex", "eth0"]);
    let kinds: Vec<_> = survey(sysfs.0.path()).into_iter().map(|link| link.driver).collect();
    assert_eq!(kinds, [Some("bond".to_owned()), Some("vlan".to_owned()), Some("bridge".to_owned()), None]);
}

#[test]
fn a_link_that_goes_meanwhile_is_no_error() {
    let sysfs = Sysfs::new();
    symlink("/nowhere", sysfs.0.path().join("class/net/gone0")).unwrap();
    assert_eq!(sysfs.names(), Vec::<String>::new());
    assert!(survey(Path::new("/nowhere")).is_empty());
}

#[test]
fn addresses_on_the_bus_are_known_by_their_shape() {
    for (name, expected) in [
        ("0000:3b:00.0", true),
        ("10000:e1:00.7", true),
        ("pci0000:00", false),
        ("virtio2", false),
        ("0000.3b:00:0", false),
    ] {
        assert_eq!(is_pci_address(name), expected, "{name}");
    }
}
