//! Knap's decisions, pure: no cluster, no clock, no I/O. Others fetch, translate and store.

mod carve;
mod free_slots;
mod ip_family;
mod layout;
mod mac;
mod numbers;
mod overlap;
mod range;
pub mod reservation;
mod slot;
mod slot_ranges;
mod subnet;

pub use carve::{GatewayPolicy, Pool, PoolError, carve};
pub use free_slots::FreeSlots;
pub use ip_family::IpFamily;
pub use layout::{Layout, LayoutError, SlotError};
pub use mac::{Mac, MacCode, MacError};
pub use numbers::{NumberError, NumberKind, NumberRanges};
pub use overlap::{SubnetClaim, first_conflict};
pub use range::{AddressRange, RangeError};
pub use slot::Slot;
pub use slot_ranges::SlotRanges;
pub use subnet::{CidrError, Subnet, check_cidr, first_host};
