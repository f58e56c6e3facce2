//! Subnets that a Network gives up while attachments have addresses of them.

use ipnetwork::IpNetwork;

use crate::{Slot, Subnet};

/// A subnet that can't be given up yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "spec.subnets: {subnet} can't be removed while {attachments} attachments have addresses of it: put it back, or remove \
     those attachments first; to give out no more of it, add it to spec.reserved"
)]
pub struct RemovedInUse {
    /// The subnet.
    pub subnet: IpNetwork,
    /// How many have an address of it.
    pub attachments: usize,
}

/// Whether a change of the requested subnets takes one away that attachments use. `granted` is what the Network has, and
/// `held` are the slots of its leases.
pub fn check_removal(
    before: &[IpNetwork],
    after: &[IpNetwork],
    granted: &[Subnet],
    held: &[Slot],
) -> Result<(), RemovedInUse> {
    let removed =
        granted.iter().filter(|subnet| before.contains(&subnet.cidr) && !after.contains(&subnet.cidr));
    for subnet in removed {
        let slots = subnet.slots();
        let attachments = held.iter().filter(|slot| slots.contains(&slot.get())).count();
        if attachments > 0 {
            return Err(RemovedInUse { subnet: subnet.cidr, attachments });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::fixture::prefix;

    #[rstest]
    #[case::kept(&["10.0.0.0/24", "10.0.1.0/24"], &[5], None)]
    #[case::other_removed(&["10.0.0.0/24"], &[5], None)]
    #[case::used_removed(&["10.0.1.0/24"], &[5, 9], Some("10.0.0.0/24 can't be removed while 2 attachments"))]
    #[case::all_removed(&[], &[300], Some("10.0.1.0/24"))]
    #[case::nothing_attached(&[], &[], None)]
    fn a_subnet_stays_while_it_is_used(
        #[case] after: &[&str],
        #[case] held: &[u32],
        #[case] why: Option<&str>,
    ) {
        let subnets = |cidrs: &[&str]| cidrs.iter().map(|cidr| prefix(cidr)).collect::<Vec<_>>();
        let granted = [("10.0.0.0/24", 0), ("10.0.1.0/24", 256), ("10.0.2.0/24", 512)]
            .map(|(cidr, slot_base)| Subnet { slot_base, ..Subnet::new(prefix(cidr), None, None) });
        let held: Vec<Slot> = held.iter().map(|slot| Slot::new(*slot).unwrap()).collect();
        // The third was carved, and never asked for.
        let before = subnets(&["10.0.0.0/24", "10.0.1.0/24"]);
        let answer = check_removal(&before, &subnets(after), &granted, &held);
        match why {
            None => assert_eq!(answer, Ok(())),
            Some(why) => assert!(answer.clone().unwrap_err().to_string().contains(why), "{answer:?}"),
        }
    }
}
