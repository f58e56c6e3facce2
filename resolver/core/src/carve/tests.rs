use proptest::prelude::*;

use super::*;
use crate::Layout;

fn cidr(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn pool(whole: &str, length: u8, shared: bool, gateway: &str) -> Result<Pool, PoolError> {
    Pool::new(cidr(whole), length, Vec::new(), shared, gateway.parse()?)
}

#[test]
fn the_first_unit_with_room() {
    let exclude = vec!["10.64.0.0/24".parse().unwrap(), "10.64.2.7-10.64.3.1".parse().unwrap()];
    let pool = Pool::new(cidr("10.64.0.0/12"), 24, exclude, false, GatewayPolicy::First).unwrap();
    assert_eq!(carve(&pool, &[]), Some(cidr("10.64.1.0/24")));
    assert_eq!(carve(&pool, &[cidr("10.64.1.128/25")]), Some(cidr("10.64.4.0/24")));
    assert_eq!(carve(&pool, &[cidr("10.64.0.0/13"), cidr("fd00::/8")]), Some(cidr("10.72.0.0/24")));
    assert_eq!(carve(&pool, &[cidr("10.0.0.0/8")]), None);
    let subnet = pool.subnet(cidr("10.64.1.0/24"), false);
    assert_eq!(subnet, Subnet::new(cidr("10.64.1.0/24"), "10.64.1.1".parse().ok(), None));
}

#[test]
fn a_taken_half_is_jumped_past_whole() {
    // Four billion units, the first two billion taken one way or the other: no walk over them would end.
    let pool = pool("fd00:64::/32", 64, false, "None").unwrap();
    assert_eq!(carve(&pool, &[cidr("fd00:64::/33")]), Some(cidr("fd00:64:8000::/64")));
    let mut taken: Vec<IpNetwork> =
        (0..10_000).map(|unit| cidr(&format!("fd00:64:0:{unit:x}::/64"))).collect();
    taken.reverse();
    assert_eq!(carve(&pool, &taken), Some(cidr("fd00:64:0:2710::/64")));
    assert_eq!(carve(&pool, &[cidr("fd00:64::/32")]), None);
}

#[test]
fn slices_share_the_parents_gateway() {
    let pool = pool("192.0.2.0/24", 28, true, "192.0.2.1").unwrap();
    let slice = carve(&pool, &[cidr("192.0.2.0/28")]).unwrap();
    let expected = Subnet::new(cidr("192.0.2.16/28"), "192.0.2.1".parse().ok(), Some(cidr("192.0.2.0/24")));
    assert_eq!(pool.subnet(slice, false), expected);
}

#[test]
fn units_of_one_address_skip_those_nobody_can_have() {
    let pool = pool("192.0.2.0/30", 32, true, "First").unwrap();
    assert_eq!(carve(&pool, &[]), Some(cidr("192.0.2.2/32")));
    assert_eq!(carve(&pool, &[cidr("192.0.2.2/32")]), None);
}

#[test]
fn a_gateway_never_takes_the_only_address_nor_lies_elsewhere() {
    let pool = Pool::new(cidr("10.0.0.0/24"), 32, Vec::new(), false, GatewayPolicy::ProviderDefault).unwrap();
    assert_eq!(pool.subnet(cidr("10.0.0.7/32"), true).gateway, None);
    let pool = Pool::new(cidr("10.0.0.0/24"), 31, Vec::new(), false, GatewayPolicy::ProviderDefault).unwrap();
    assert_eq!(pool.subnet(cidr("10.0.0.6/31"), true).gateway, "10.0.0.6".parse().ok());
    // What a Network asks for need not be a unit.
    let whole = self::pool("10.0.0.0/24", 24, false, "10.0.0.254").unwrap();
    assert_eq!(whole.subnet(cidr("10.0.0.0/28"), true).gateway, None);
    assert_eq!(whole.subnet(cidr("10.0.0.240/28"), false).gateway, "10.0.0.254".parse().ok());
}

#[test]
fn what_cannot_serve_is_refused() {
    let refusal =
        |whole, length, shared, gateway| pool(whole, length, shared, gateway).unwrap_err().to_string();
    assert!(refusal("10.0.0.0/24", 23, false, "None").contains("choose 24 to 32"));
    assert!(refusal("10.0.0.0/24", 33, false, "None").contains("choose 24 to 32"));
    assert!(refusal("10.0.0.9/24", 28, false, "None").contains("write 10.0.0.0/24"));
    assert!(refusal("10.0.0.0/24", 28, true, "10.0.1.1").contains("no host address of 10.0.0.0/24"));
    assert!(refusal("10.0.0.0/24", 28, true, "fd00::1").contains("no host address of 10.0.0.0/24"));
    assert!(refusal("10.0.0.0/24", 28, true, "10.0.0.255").contains("no host address of 10.0.0.0/24"));
    assert!(refusal("10.0.0.0/24", 28, false, "10.0.0.1").contains("one subnet only"));
    assert!(refusal("10.0.0.0/24", 32, false, "First").contains("say None"));
    assert!(refusal("10.0.0.0/24", 28, true, "first").contains("\"first\" is none of First, None"));
    assert!(pool("10.0.0.0/24", 24, false, "10.0.0.254").is_ok());
}

fn prefixes() -> impl Strategy<Value = Vec<IpNetwork>> {
    // Inside the pool, around it, and of the other family.
    let prefix = (0u8..3, 0u8..=255, 22u8..=32).prop_map(|(third, host, length)| {
        let address = IpNetwork::new([10, 0, third, host].into(), length).unwrap();
        if third == 2 && host > 250 { cidr("fd00::/64") } else { address }
    });
    prop::collection::vec(prefix, 0..12)
}

fn policy() -> impl Strategy<Value = GatewayPolicy> {
    let address = (1u8..255).prop_map(|host| GatewayPolicy::Address([10, 0, 1, host].into()));
    prop_oneof![
        Just(GatewayPolicy::ProviderDefault),
        Just(GatewayPolicy::First),
        Just(GatewayPolicy::None),
        address
    ]
}

proptest! {
    #[test]
    fn it_is_what_trying_each_unit_finds(
        length in 24u8..=32,
        taken in prefixes(),
        excluded in (0u8..=255, 0u8..40),
        shared: bool,
        gateway in policy(),
        by_default: bool,
    ) {
        let (first, last) = (excluded.0, excluded.0.saturating_add(excluded.1));
        let exclude: AddressRange = format!("10.0.1.{first}-10.0.1.{last}").parse().unwrap();
        let Ok(pool) = Pool::new(cidr("10.0.1.0/24"), length, vec![exclude], shared, gateway) else {
            return Ok(());
        };
        let capacity = |unit: IpNetwork, by_default| {
            Layout::new(vec![pool.subnet(unit, by_default)], Vec::new()).unwrap().capacity()
        };
        let naive = (0..256u16).step_by(1 << (32 - length)).find_map(|host| {
            let unit = IpNetwork::new([10, 0, 1, host as u8].into(), length).unwrap();
            let range = AddressRange::from(unit);
            let free = !exclude.overlaps(&range) && !taken.iter().any(|taken| range.overlaps(&(*taken).into()));
            // Whether there is a gateway by default is not known yet: a unit must be of use either way.
            (free && capacity(unit, true) > 0).then_some(unit)
        });
        let carved = carve(&pool, &taken);
        prop_assert_eq!(carved, naive);
        if let Some(unit) = carved {
            prop_assert!(capacity(unit, by_default) > 0);
        }
    }
}
