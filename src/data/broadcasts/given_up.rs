//! Numbers of a life that count as known although they did not arrive, so that no member confirms a broadcast that its
//! readers did not receive.

/// How many ranges are remembered; the lowest ones are forgotten.
pub(super) const MAX_RANGES: usize = 16;

#[derive(Debug, Default)]
pub(super) struct GivenUp {
    /// The ranges in ascending order, with other numbers between them.
    ranges: Vec<(u64, u64)>,
    /// Up to this number, it is forgotten which broadcasts arrived.
    forgotten: u64,
}

impl GivenUp {
    /// Adds all numbers from the first to the last. The range may be empty.
    pub(super) fn add(&mut self, first: u64, last: u64) {
        let first = first.max(self.forgotten.saturating_add(1));
        if first > last {
            return;
        }
        let at = self.ranges.partition_point(|range| range.1 < first);
        self.ranges.insert(at, (first, last));
        self.ranges.dedup_by(|next, before| {
            let joins = next.0 <= before.1.saturating_add(1);
            before.1 = if joins { before.1.max(next.1) } else { before.1 };
            joins
        });
        if self.ranges.len() > MAX_RANGES {
            self.forgotten = self.ranges.remove(0).1;
        }
    }

    /// Whether the broadcast of a known number has arrived; `None` if that is forgotten.
    pub(super) fn has_come(&self, seq: u64) -> Option<bool> {
        (seq > self.forgotten).then(|| self.range_of(seq).is_none())
    }

    /// The broadcast of a number has arrived after all.
    pub(super) fn remove(&mut self, seq: u64) {
        if let Some(at) = self.range_of(seq) {
            let (first, last) = self.ranges.remove(at);
            self.add(first, seq.saturating_sub(1));
            self.add(seq.saturating_add(1), last);
        }
    }

    /// How many ranges are remembered.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    fn range_of(&self, seq: u64) -> Option<usize> {
        self.ranges.iter().position(|(first, last)| (*first..=*last).contains(&seq))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Broadcasts, CONFIRM, Delivery, item::CONFIRM_ANYWAY, tests},
        *,
    };
    use crate::{
        swim::{Life, Node, Time},
        wire::data::Broadcast,
    };

    #[test]
    fn numbers_are_remembered_until_they_come() {
        let mut given_up = GivenUp::default();
        given_up.add(5, 9);
        given_up.add(10, 12);
        given_up.add(3, 4);
        given_up.add(14, 14);
        given_up.add(7, 6);
        assert_eq!(given_up.ranges, [(3, 12), (14, 14)]);
        [14, 3, 8, 8, 40].into_iter().for_each(|seq| given_up.remove(seq));
        assert_eq!(given_up.ranges, [(4, 7), (9, 12)]);
        assert_eq!([0, 1, 3, 4, 8, 12, 99].map(|seq| given_up.has_come(seq)), {
            let (yes, no) = (Some(true), Some(false));
            [None, yes, yes, no, yes, no, yes]
        });
    }

    #[test]
    fn of_too_many_the_lowest_are_forgotten() {
        let mut given_up = GivenUp::default();
        (1..=20).for_each(|at| given_up.add(at * 10, at * 10 + 3));
        assert_eq!((given_up.len(), given_up.forgotten), (MAX_RANGES, 43));
        given_up.add(1, 50);
        assert_eq!([43, 44, 49, 54].map(|seq| given_up.has_come(seq)), {
            [None, Some(false), Some(false), Some(true)]
        });
        given_up.add(u64::MAX - 1, u64::MAX);
        given_up.remove(u64::MAX);
        assert_eq!(given_up.has_come(u64::MAX - 1), Some(false));
    }

    /// A node that has broadcasts 1 and 700 of a member: the numbers between them that do not fit into the window were given
    /// up.
    fn behind() -> (Node, Broadcasts) {
        let (node, mut all) = tests::alone();
        for seq in [1, 700] {
            all.learn(&node, tests::item("a", 1, seq), &tests::life("a", 1), false);
        }
        (node, all)
    }

    /// The deliveries when the origin sends a number directly, and whether the number is confirmed.
    fn asked(node: &Node, all: &mut Broadcasts, origin: &Life, seq: u64) -> (Vec<(u64, bool)>, bool) {
        while all.poll_delivery().is_some() {}
        let (name, flags) = (&*origin.name, CONFIRM | CONFIRM_ANYWAY);
        let message =
            Broadcast { origin: name, epoch: origin.epoch, seq, stamp: 0, flags, topic: "t", payload: b"x" };
        all.on_broadcast(Time::ZERO, node, origin, &message);
        let mut confirmed = false;
        all.pending_confirms.take(origin, |_, _| {
            confirmed = true;
            true
        });
        let item = |delivery| match delivery {
            Delivery::Item { item, late, .. } => Some((item.seq, late)),
            Delivery::Lost { .. } => None,
        };
        (std::iter::from_fn(|| all.poll_delivery()).filter_map(item).collect(), confirmed)
    }

    #[test]
    fn a_given_up_broadcast_is_read_before_it_is_confirmed() {
        let ((node, mut all), a) = (behind(), tests::life("a", 1));
        assert_eq!(asked(&node, &mut all, &a, 1), (vec![], true), "it came");
        assert_eq!(asked(&node, &mut all, &a, 100), (vec![(100, false)], true));
        assert_eq!(asked(&node, &mut all, &a, 100), (vec![], true), "it came meanwhile");
        assert_eq!(asked(&node, &mut all, &a, u64::MAX), (vec![], false), "it is not taken in");
        (0..MAX_RANGES as u64).for_each(|at| _ = asked(&node, &mut all, &a, 110 + 10 * at));
        assert_eq!(asked(&node, &mut all, &a, 50), (vec![], false), "nobody remembers");
        all.audit().unwrap();
    }
}
