//! Slots: the one number that gives an attachment its addresses and its MAC.

use std::fmt;

/// An offset into a Network's subnets, the same in every family, and the last three bytes of a MAC (design: a slot
/// is an offset).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// How many slots a Network has at most: the three bytes that a MAC has for them.
    pub const COUNT: u32 = 1 << 24;

    /// The slot of this number; none from `COUNT` on.
    pub const fn new(number: u32) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The number, less than `COUNT`.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_fits_three_bytes() {
        assert_eq!(Slot::new(Slot::COUNT - 1).map(Slot::get), Some(0xff_ffff));
        assert_eq!(Slot::new(Slot::COUNT), None);
        assert_eq!(Slot::new(300).unwrap().to_string(), "300");
    }
}
