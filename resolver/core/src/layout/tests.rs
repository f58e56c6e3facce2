use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn subnet(cidr: &str, gateway: Option<&str>, on_link: Option<&str>) -> Subnet {
    let gateway = gateway.map(|gateway| gateway.parse().unwrap());
    Subnet::new(cidr.parse().unwrap(), gateway, on_link.map(|on_link| on_link.parse().unwrap()))
}

fn layout(subnets: &[Subnet], reserved: &[&str]) -> Layout {
    let reserved = reserved.iter().map(|range| range.parse().unwrap()).collect();
    let mut layout = Layout::new(Vec::new(), reserved).unwrap();
    for subnet in subnets {
        layout.append(*subnet).unwrap();
    }
    layout
}

fn slot(number: u32) -> Slot {
    Slot::new(number).unwrap()
}

fn addresses(layout: &Layout, number: u32) -> Option<String> {
    let addresses = layout.addresses(slot(number))?;
    Some(addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

fn usable(layout: &Layout) -> Vec<std::ops::Range<u32>> {
    layout.usable_slots().iter().collect()
}

#[test]
fn one_slot_gives_an_address_in_each_family() {
    let layout = layout(
        &[
            subnet("10.64.7.0/24", Some("10.64.7.1"), None),
            subnet("fd00:64:7::/64", Some("fd00:64:7::1"), None),
            subnet("10.64.9.0/24", Some("10.64.9.1"), None),
        ],
        &[],
    );
    assert_eq!(addresses(&layout, 5).as_deref(), Some("10.64.7.5/24 fd00:64:7::5/64"));
    // Slot bases go per family: this is host 44 of the second /24 and host 300 of the /64.
    assert_eq!(addresses(&layout, 300).as_deref(), Some("10.64.9.44/24 fd00:64:7::12c/64"));
    assert_eq!(addresses(&layout, 512), None);
    assert_eq!(usable(&layout), [2..255, 258..511]);
    assert_eq!(layout.capacity(), 253 + 253);
    let capacities: Vec<u32> = layout.subnets().iter().map(|subnet| layout.capacity_of(subnet)).collect();
    assert_eq!(capacities, [253, 506, 253]);
    assert_eq!(layout.gateways().len(), 3);
}

#[test]
fn a_network_without_addresses_has_slots_for_macs() {
    let layout = Layout::without_addresses();
    assert_eq!(layout.addresses(slot(0)), None);
    assert_eq!(layout.addresses(slot(1)), Some(Vec::new()));
    assert_eq!(layout.capacity(), Slot::COUNT - 1);
    let error = layout.slot_of("10.0.0.1".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("10.0.0.1") && error.contains("none"), "{error}");
}

#[rstest]
#[case("10.0.0.0/24", None, vec![1..255])]
#[case("10.0.0.0/24", Some("10.0.0.9"), vec![1..9, 10..255])]
#[case("10.0.0.0/30", Some("10.0.0.1"), vec![2..3])]
#[case("10.0.0.0/31", None, vec![0..2])]
#[case("10.0.0.0/32", None, vec![0..1])]
#[case("10.0.0.0/8", None, vec![1..Slot::COUNT - 1])]
// Twice what slots can count.
#[case("10.0.0.0/7", None, vec![1..Slot::COUNT])]
#[case("fd00::/64", Some("fd00::1"), vec![2..Slot::COUNT])]
#[case("fd00::/126", None, vec![1..4])]
#[case("fd00::/127", None, vec![0..2])]
fn what_is_usable(
    #[case] cidr: &str,
    #[case] gateway: Option<&str>,
    #[case] expected: Vec<std::ops::Range<u32>>,
) {
    assert_eq!(usable(&layout(&[subnet(cidr, gateway, None)], &[])), expected);
}

#[test]
fn slices_leave_out_only_what_is_special_in_their_parent() {
    let slice = |cidr| subnet(cidr, Some("192.0.2.1"), Some("192.0.2.0/24"));
    let first = layout(&[slice("192.0.2.0/28")], &[]);
    assert_eq!(first.usable_slots(), &SlotRanges::from(2..16));
    let (second, last) = (layout(&[slice("192.0.2.16/28")], &[]), layout(&[slice("192.0.2.240/28")], &[]));
    assert_eq!(second.usable_slots(), &SlotRanges::from(0..16));
    assert_eq!(last.usable_slots(), &SlotRanges::from(0..15));
    assert_eq!(addresses(&second, 0).as_deref(), Some("192.0.2.16/24"));
    assert!(matches!(
        last.slot_of("192.0.2.255".parse().unwrap()),
        Err(SlotError::Broadcast { subnet, .. }) if subnet.prefix() == 24
    ));
    assert!(matches!(second.slot_of("192.0.2.1".parse().unwrap()), Err(SlotError::Outside { .. })));
}

#[test]
fn a_refusal_names_address_and_subnet() {
    let layout = layout(
        &[subnet("10.64.7.0/24", Some("10.64.7.1"), None), subnet("fd00:64:7::/64", None, None)],
        &["10.64.7.100-10.64.7.110", "192.168.0.0/16"],
    );
    let refusal = |address: &str| layout.slot_of(address.parse().unwrap()).unwrap_err().to_string();
    for (address, words) in [
        ("10.64.8.1", "no subnet of this Network (10.64.7.0/24, fd00:64:7::/64)"),
        ("10.64.7.1", "the gateway of subnet 10.64.7.0/24"),
        ("10.64.7.104", "reserved by this Network (10.64.7.100-10.64.7.110)"),
        ("10.64.7.0", "stands for the subnet 10.64.7.0/24 itself"),
        ("fd00:64:7::", "stands for the subnet fd00:64:7::/64 itself"),
        ("10.64.7.255", "the broadcast address of subnet 10.64.7.0/24"),
        ("fd00:64:7::100:0", "beyond the Network's 16777216 slots"),
    ] {
        let refusal = refusal(address);
        assert!(refusal.starts_with(address) && refusal.contains(words), "{refusal}");
    }
    assert_eq!(layout.slot_of("fd00:64:7::ff:ffff".parse().unwrap()), Ok(slot(0xff_ffff)));
    // The other family has no such slot: such a lease has one address, and is not proposed to anybody.
    assert_eq!(layout.addresses(slot(0xff_ffff)), None);
    assert_eq!(
        layout.address(slot(0xff_ffff), IpFamily::IPv6).map(|address| address.to_string()).as_deref(),
        Some("fd00:64:7::ff:ffff/64")
    );
}

#[test]
fn subnets_that_cannot_be_one_networks_are_refused() {
    let refusal = |subnets: &[Subnet]| Layout::new(subnets.to_vec(), Vec::new()).unwrap_err().to_string();
    let error = refusal(&[subnet("10.0.0.5/24", None, None)]);
    assert!(error.contains("write 10.0.0.0/24"), "{error}");
    for special in ["127.0.0.0/24", "224.0.0.0/24", "0.0.0.0/0", "fe80::/64", "::/0", "::ffff:10.0.0.0/120"] {
        let error = refusal(&[subnet(special, None, None)]);
        assert!(error.starts_with(special) && error.contains("overlaps"), "{error}");
    }
    for gateway in ["10.0.0.0", "10.0.0.255", "10.0.1.1", "fd00::1"] {
        let error = refusal(&[subnet("10.0.0.0/24", Some(gateway), None)]);
        assert!(error.contains(gateway) && error.contains("10.0.0.0/24"), "{error}");
    }
    let error = refusal(&[subnet("10.0.0.0/24", None, Some("10.0.0.0/28"))]);
    assert!(error.contains("no slice"), "{error}");
    let error = refusal(&[subnet("10.0.0.0/24", None, None), subnet("10.0.0.128/25", None, None)]);
    assert!(error.contains("10.0.0.0/24 and 10.0.0.128/25"), "{error}");
    let error = refusal(&[subnet("10.0.0.0/24", None, None), subnet("10.0.1.0/24", None, None)]);
    assert!(error.contains("slotBase"), "{error}");
}

#[test]
fn appending_shifts_nobody_and_ends_with_the_last_slot() {
    let mut layout = layout(&[subnet("10.0.0.0/24", None, None), subnet("fd00::/64", None, None)], &[]);
    let before = addresses(&layout, 7);
    let second = layout.append(subnet("10.9.0.0/16", None, None)).unwrap();
    assert_eq!((second.slot_base, second.slots()), (256, 256..256 + 65536));
    assert_eq!(addresses(&layout, 7), before);
    assert_eq!(layout.next_base(IpFamily::IPv4), 256 + 65536);
    let full = layout.clone();
    let error = layout.append(subnet("fd01::/64", None, None)).unwrap_err();
    assert!(matches!(error, LayoutError::NoSlotsLeft { .. }), "{error}");
    assert_eq!(layout, full);
}

/// Subnets small enough to look at every address: host part, length, gateway's offset, slice of a /24 (or /120).
fn small_subnets() -> impl Strategy<Value = Vec<Subnet>> {
    let small = (any::<bool>(), 2u8..9, 0u8..4, prop::option::of(0u32..300), any::<bool>());
    prop::collection::vec(small, 0..5).prop_map(|subnets| {
        subnets
            .into_iter()
            .enumerate()
            .filter_map(|(index, (v4, host_bits, part, gateway, slice))| {
                let family = if v4 { IpFamily::IPv4 } else { IpFamily::IPv6 };
                let base = crate::ip_family::number(if v4 {
                    [10, 0, index as u8, 0].into()
                } else {
                    [0xfd00, 0, 0, 0, 0, 0, index as u16, 0].into()
                });
                let length = family.bits() - (host_bits - 1);
                let offset = (u128::from(part) << (host_bits - 1)) % 256;
                let cidr = IpNetwork::new(family.address(base + offset)?, length).ok()?;
                let on_link =
                    slice.then(|| IpNetwork::new(family.address(base).unwrap(), family.bits() - 8).unwrap());
                let link = on_link.unwrap_or(cidr);
                let gateway = gateway
                    .and_then(|gateway| family.address(base + u128::from(gateway)))
                    .filter(|gateway| is_host(*gateway, link));
                Some(Subnet::new(cidr, gateway, on_link))
            })
            .collect()
    })
}

fn reserved() -> impl Strategy<Value = Vec<AddressRange>> {
    let range = (any::<bool>(), 0u8..5, 0u8..=255, 0u8..20).prop_map(|(v4, third, first, more)| {
        let last = first.saturating_add(more);
        let text = if v4 {
            format!("10.0.{third}.{first}-10.0.{third}.{last}")
        } else {
            format!("fd00::{third:x}:{first:x}-fd00::{third:x}:{last:x}")
        };
        text.parse().unwrap()
    });
    prop::collection::vec(range, 0..4)
}

proptest! {
    #[test]
    fn slots_and_addresses_are_what_counting_finds(subnets in small_subnets(), reserved in reserved()) {
        let mut layout = Layout::new(Vec::new(), reserved.clone()).unwrap();
        for subnet in subnets {
            layout.append(subnet).unwrap();
        }
        // Every address of every family in a row: its place is its slot.
        let rows: Vec<Vec<(IpAddr, Subnet)>> = IpFamily::ALL
            .into_iter()
            .map(|family| layout.of_family(family).flat_map(|s| s.cidr.iter().map(|ip| (ip, *s))).collect())
            .filter(|row: &Vec<_>| !row.is_empty())
            .collect();
        let free = |address: IpAddr, subnet: &Subnet| {
            is_host(address, subnet.link())
                && layout.subnets().iter().all(|subnet| subnet.gateway != Some(address))
                && !reserved.iter().any(|range| range.contains(address))
        };
        let mut capacity = 0;
        for number in 0..1500usize {
            let row: Option<Vec<_>> = rows.iter().map(|row| row.get(number)).collect();
            let expected = row
                .filter(|row| !row.is_empty() && row.iter().all(|(address, subnet)| free(*address, subnet)))
                .map(|row| row.iter().map(|(ip, s)| IpNetwork::new(*ip, s.link().prefix()).unwrap()).collect());
            capacity += u32::from(expected.is_some());
            let slot = slot(number as u32);
            prop_assert_eq!(layout.usable_slots().contains(slot), expected.is_some());
            prop_assert_eq!(layout.addresses(slot), expected);
        }
        prop_assert_eq!(layout.capacity(), capacity);
        for row in &rows {
            for (number, (address, subnet)) in row.iter().enumerate() {
                let implied = layout.slot_of(*address);
                if free(*address, subnet) {
                    prop_assert_eq!(implied, Ok(slot(number as u32)));
                } else {
                    prop_assert!(implied.is_err());
                }
            }
        }
    }
}
