//! Broadcasts that are to be passed on: a transmit-limited queue of its own, which gets the room that updates leave in each
//! packet.
//!
//! The item that has waited longest is offered the whole room first, because a large item would never fit behind others.
//! Half of the remaining room goes to the least-sent items, the rest in order of waiting. So every item has its turn within
//! as many packets as the queue has items, whatever is queued meanwhile. An item that is larger than the room left by
//! updates goes to the back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::item::Item;
use crate::data::shares::Shares;

/// The most broadcasts that wait. In a full queue, the account with the most gives up the one that was sent most often.
pub(super) const MAX_QUEUED: usize = 512;
/// After this many items that the packet cannot use, this part of it counts as full.
const MAX_MISSES: usize = 8;

/// The result of offering an item to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// It was taken; this much room is left.
    Taken(usize),
    /// The recipient has it already.
    Passed,
    /// It does not fit.
    NoRoom,
    /// No other member needs it: it counts as sent.
    Needless,
}

#[derive(Debug)]
struct Waiting {
    sent: u32,
    item: Arc<Item>,
}

/// Items by their last turn: when they were queued, or offered to a packet.
#[derive(Debug, Default)]
pub(super) struct Queue {
    by_turn: BTreeMap<u64, Waiting>,
    /// The turns by the number of transmissions.
    by_sent: BTreeSet<(u32, u64)>,
    turns: u64,
    shares: Shares,
    /// The items that were offered to a packet, with the results.
    offered: Vec<(u64, Offer)>,
}

impl Queue {
    /// Queues a broadcast. Returns whether another one was dropped for it.
    pub(super) fn push(&mut self, item: Arc<Item>) -> bool {
        let full = self.len() == MAX_QUEUED;
        if full && let Some(turn) = self.most_sent_of_largest() {
            self.take(turn);
        }
        self.put(Waiting { sent: 0, item });
        full
    }

    /// The turn of the item that was sent most often, of the account with the most; of several, the first turn.
    fn most_sent_of_largest(&self) -> Option<u64> {
        let largest = self.shares.largest(|size| size.0);
        let of_largest = self.by_turn.iter().rev().filter(|(_, waiting)| waiting.item.account == largest);
        of_largest.max_by_key(|(_, waiting)| waiting.sent).map(|(turn, _)| *turn)
    }

    pub(super) fn len(&self) -> usize {
        self.shares.all().0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all waiting broadcasts.
    pub(super) fn bytes(&self) -> usize {
        self.shares.all().1
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Offers broadcasts to a packet that has `room` bytes left. A taken one counts as sent once, and is done after `limit`
    /// times; without a limit the packet does not count, and all items keep their places.
    pub(super) fn draw(&mut self, limit: Option<u32>, room: usize, mut offer: impl FnMut(&Item) -> Offer) {
        let Some((first, waiting)) = self.by_turn.first_key_value() else { return };
        let (first, said) = (*first, offer(&waiting.item));
        let mut round =
            Round { offered: std::mem::take(&mut self.offered), left: room, counts: limit.is_some() };
        round.note(first, said);
        let half = round.left / 2;
        round.offer(&self.by_turn, self.by_sent.iter().map(|(_, turn)| *turn), half, &mut offer);
        round.offer(&self.by_turn, self.by_turn.keys().copied(), 0, &mut offer);
        let mut offered = round.offered;
        for (turn, said) in offered.drain(..) {
            // An item that found no room is next, with the whole room, unless it was first already.
            let stays = said == Offer::NoRoom && turn != first;
            if let Some(limit) = limit
                && !stays
                && let Some(mut waiting) = self.take(turn)
            {
                waiting.sent += u32::from(matches!(said, Offer::Taken(_) | Offer::Needless));
                if waiting.sent < limit {
                    self.put(waiting);
                }
            }
        }
        self.offered = offered;
    }

    /// Queues an item behind all others that were sent as often.
    fn put(&mut self, waiting: Waiting) {
        self.turns += 1;
        self.shares.add(waiting.item.account, (1, waiting.item.size()));
        self.by_sent.insert((waiting.sent, self.turns));
        self.by_turn.insert(self.turns, waiting);
    }

    fn take(&mut self, turn: u64) -> Option<Waiting> {
        let waiting = self.by_turn.remove(&turn)?;
        self.by_sent.remove(&(waiting.sent, turn));
        self.shares.remove(waiting.item.account, (1, waiting.item.size()));
        Some(waiting)
    }
}

/// The items that are offered to one packet.
struct Round {
    offered: Vec<(u64, Offer)>,
    left: usize,
    /// Whether the packet counts as a transmission. If not, it changes nothing: others may cause such packets as often as
    /// they like.
    counts: bool,
}

impl Round {
    fn note(&mut self, turn: u64, said: Offer) {
        if let Offer::Taken(room) = said {
            self.left = room;
        }
        self.offered.push((turn, said));
    }

    /// Offers items in this order that were not offered before, until no more than this much room is left.
    fn offer(
        &mut self,
        by_turn: &BTreeMap<u64, Waiting>,
        order: impl Iterator<Item = u64>,
        until: usize,
        offer: &mut impl FnMut(&Item) -> Offer,
    ) {
        self.offered.sort_unstable_by_key(|(turn, _)| *turn);
        let (before, mut misses) = (self.offered.len(), 0);
        for turn in order {
            if self.left <= until || misses == MAX_MISSES {
                return;
            }
            let was_offered = self.offered[..before].binary_search_by_key(&turn, |(other, _)| *other).is_ok();
            let Some(waiting) = by_turn.get(&turn).filter(|_| !was_offered) else { continue };
            let said = offer(&waiting.item);
            misses += match said {
                Offer::Taken(_) => 0,
                // Each item is needless only a few times in packets that count, since it counts as sent.
                Offer::Needless => usize::from(!self.counts),
                Offer::Passed | Offer::NoRoom => 1,
            };
            self.note(turn, said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::item, *};

    /// Draws a packet with this much room. Returns the origins and numbers in it.
    fn draw(queue: &mut Queue, limit: impl Into<Option<u32>>, room: usize) -> Vec<(String, u64)> {
        let mut drawn = Vec::new();
        queue.draw(limit.into(), room, |item| {
            if drawn.len() == room {
                return Offer::NoRoom;
            }
            drawn.push((item.origin.name.to_string(), item.seq));
            Offer::Taken(room - drawn.len())
        });
        drawn
    }

    fn seqs(drawn: Vec<(String, u64)>) -> Vec<u64> {
        drawn.into_iter().map(|(_, seq)| seq).collect()
    }

    #[test]
    fn each_item_is_sent_as_often_as_its_limit() {
        let mut queue = Queue::default();
        assert!((1..=3).all(|seq| !queue.push(item("a", 1, seq))));
        let mut sent = Vec::new();
        while !queue.is_empty() {
            sent.extend(seqs(draw(&mut queue, 3, 2)));
        }
        assert_eq!((sent.len(), queue.bytes(), &sent[..4]), (9, 0, &[1, 2, 3, 1][..]));
        assert!((1..=3).all(|seq| sent.iter().filter(|sent| **sent == seq).count() == 3));
    }

    #[test]
    fn half_of_a_packet_goes_to_the_least_sent() {
        let mut queue = Queue::default();
        (1..=20).for_each(|seq| _ = queue.push(item("a", 1, seq)));
        assert_eq!(seqs(draw(&mut queue, 9, 10)), Vec::from_iter(1..=10));
        (21..=23).for_each(|seq| _ = queue.push(item("a", 1, seq)));
        assert_eq!(seqs(draw(&mut queue, 9, 4)), [11, 12, 13, 14]);
        assert_eq!(seqs(draw(&mut queue, 9, 16)), [15, 16, 17, 18, 19, 20, 21, 22, 23, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn ever_new_items_keep_no_other_waiting() {
        let mut queue = Queue::default();
        queue.push(item("b", 1, 1));
        let mut packets = 0;
        let mut sent = 0;
        while sent < 4 {
            (0..30).for_each(|i| _ = queue.push(item(&format!("a{packets}-{i}"), 1, 1)));
            let drawn = draw(&mut queue, 4, 20);
            sent += drawn.iter().filter(|(origin, _)| origin == "b").count();
            packets += 1;
            assert!(packets < 4 * MAX_QUEUED / 10, "sent {sent} times");
        }
    }

    /// Draws a packet of which large items need more than half and others a tenth. Returns the drawn origins.
    fn draw_sizes(queue: &mut Queue, is_large: impl Fn(&Item) -> bool) -> Vec<String> {
        let (mut drawn, mut left) = (Vec::new(), 100);
        queue.draw(Some(9), left, |item| {
            let needs = if is_large(item) { 60 } else { 10 };
            if needs > left {
                return Offer::NoRoom;
            }
            left -= needs;
            drawn.push(item.origin.name.to_string());
            Offer::Taken(left)
        });
        drawn
    }

    #[test]
    fn a_large_item_has_its_turn_however_many_small_ones_come() {
        let mut queue = Queue::default();
        (1..=20).for_each(|seq| _ = queue.push(item("a", 1, seq)));
        queue.push(item("large", 1, 1));
        let mut packets = 0;
        let is_large = |item: &Item| &*item.origin.name == "large";
        loop {
            (0..20).for_each(|i| _ = queue.push(item(&format!("b{packets}-{i}"), 1, 1)));
            if draw_sizes(&mut queue, is_large).contains(&"large".into()) {
                break;
            }
            packets += 1;
            assert!(packets < MAX_QUEUED, "it waits for ever");
        }
    }

    #[test]
    fn large_items_at_the_head_keep_no_small_item_waiting() {
        let mut queue = Queue::default();
        (1..=8).for_each(|seq| _ = queue.push(item("large", 1, seq)));
        queue.push(item("small", 1, 1));
        let mut packets = 0;
        let is_large = |item: &Item| &*item.origin.name != "small";
        loop {
            (0..9).for_each(|i| _ = queue.push(item(&format!("b{packets}-{i}"), 1, 1)));
            if draw_sizes(&mut queue, is_large).contains(&"small".into()) {
                break;
            }
            packets += 1;
            assert!(packets < 20, "it waits for ever");
        }
    }

    /// Answers to pings carry queued items, so without this bound each ping could cause a pass over the whole queue.
    #[test]
    fn needless_items_cost_bounded_work_in_packets_that_do_not_count() {
        let mut queue = Queue::default();
        (1..=MAX_QUEUED as u64).for_each(|seq| _ = queue.push(item("a", 1, seq)));
        let mut offers = 0;
        let mut count = |limit, queue: &mut Queue| {
            offers = 0;
            queue.draw(limit, 1000, |_| {
                offers += 1;
                Offer::Needless
            });
            offers
        };
        assert_eq!(count(None, &mut queue), 1 + 2 * MAX_MISSES);
        assert_eq!((count(Some(1), &mut queue), queue.len()), (MAX_QUEUED, 0), "all are done at once");
    }

    #[test]
    fn a_packet_that_does_not_count_leaves_all_items_where_they_are() {
        let mut queue = Queue::default();
        (1..=20).for_each(|seq| _ = queue.push(item("a", 1, seq)));
        for _ in 0..9 {
            assert_eq!(seqs(draw(&mut queue, None, 2)), [1, 2]);
        }
        assert_eq!(seqs(draw(&mut queue, None, 99)), Vec::from_iter(1..=20));
        assert_eq!((draw(&mut queue, 1, 20).len(), queue.len()), (20, 0));
    }

    #[test]
    fn a_full_queue_drops_the_item_that_was_sent_most_often() {
        let mut queue = Queue::default();
        queue.push(item("a", 1, 1));
        draw(&mut queue, 9, 1);
        (2..=MAX_QUEUED as u64).for_each(|seq| assert!(!queue.push(item("a", 1, seq))));
        assert!(queue.push(item("b", 1, 1)));
        let left = draw(&mut queue, 1, 1000);
        assert_eq!((left.len(), queue.len(), queue.bytes()), (MAX_QUEUED, 0, 0));
        assert!(!left.contains(&("a".into(), 1)) && left.contains(&("b".into(), 1)));
    }

    #[test]
    fn many_names_on_one_host_evict_only_their_own_items() {
        let mut queue = Queue::default();
        queue.push(item("b", 1, 1));
        draw(&mut queue, 9, 1);
        (0..2000).for_each(|i| _ = queue.push(item(&format!("a{i}"), 1, 1)));
        assert!(draw(&mut queue, None, 1000).contains(&("b".into(), 1)) && queue.len() == MAX_QUEUED);
    }

    #[test]
    fn items_that_the_recipient_has_do_not_hold_others_back_for_long() {
        let mut queue = Queue::default();
        (1..=100).for_each(|seq| _ = queue.push(item("a", 1, seq)));
        queue.push(item("b", 1, 1));
        let mut packets = 0;
        let mut told = false;
        while !told {
            packets += 1;
            queue.draw(Some(4), 1000, |item| {
                told |= &*item.origin.name == "b";
                if told { Offer::Taken(0) } else { Offer::Passed }
            });
        }
        assert!(packets <= 13, "{packets}");
    }
}
