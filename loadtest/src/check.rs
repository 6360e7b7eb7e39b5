//! Holds what one side hears against what the other one said: nothing lost, doubled, out of order,
//! or meant for somebody else.
//!
//! A sender counts its messages from 1. The receiver expects exactly the next number; a higher one
//! leaves the numbers between *missing*, and one of those is out of order when it comes. What is
//! missing at the end is lost, if it was acknowledged.

use std::collections::BTreeSet;

use crate::count::Counts;

/// What became of a message that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// For the first time.
    New,
    /// Once more.
    Again,
}

/// What a receiver has heard of one sender.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// The highest number heard.
    highest: u64,
    /// Lower ones that have not come.
    missing: BTreeSet<u64>,
    /// Sent again after a refusal, so they may come late.
    excused: BTreeSet<u64>,
}

impl Order {
    /// A message came.
    pub(crate) fn hear(&mut self, n: u64, counts: &mut Counts) -> Heard {
        if n > self.highest {
            self.missing.extend(self.highest + 1..n);
            self.highest = n;
        } else if self.missing.remove(&n) {
            if !self.excused.contains(&n) {
                counts.reordered += 1;
            }
        } else {
            counts.doubled += 1;
            return Heard::Again;
        }
        self.excused.remove(&n);
        counts.delivered += 1;
        Heard::New
    }

    /// The sender was told to send it again later: later ones may overtake it.
    pub(crate) fn excuse(&mut self, n: u64) {
        if n > self.highest || self.missing.contains(&n) {
            self.excused.insert(n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(numbers: &[u64], excused: &[u64]) -> Counts {
        let (mut order, mut counts) = (Order::default(), Counts::default());
        for n in excused {
            order.excuse(*n);
        }
        for n in numbers {
            order.hear(*n, &mut counts);
        }
        counts
    }

    #[test]
    fn every_kind_of_disorder_is_told_apart() {
        let clean = hear(&[1, 2, 3], &[]);
        assert_eq!((clean.delivered, clean.doubled, clean.reordered), (3, 0, 0));
        let doubled = hear(&[1, 2, 2, 1], &[]);
        assert_eq!((doubled.delivered, doubled.doubled), (2, 2));
        let reordered = hear(&[1, 3, 2], &[]);
        assert_eq!((reordered.delivered, reordered.reordered), (3, 1));
        assert_eq!(hear(&[1, 3, 2], &[2]).reordered, 0);
        assert_eq!(hear(&[1, 3, 2, 2], &[2]).doubled, 1);
    }
}
