//! Nodes: what they have, which of their boots may attach, and what becomes of a dead boot's leases (design: fencing).

mod controller;
mod counters;
mod due;
mod eligible;
mod fences;
mod free;
mod inventory;
mod record;

pub use controller::{Nodes, Rules};
pub use counters::Counters;
pub(crate) use due::{DueNodes, Pace};
pub(crate) use eligible::{Eligibility, equipment_at};
pub(crate) use fences::lift;
pub use inventory::{InventoryError, put_inventory};
pub(crate) use record::boots_of;
pub use record::{RecordError, begin_boot};

#[cfg(test)]
mod tests;
