//! Broadcasts that are to be passed on: a transmit-limited queue of its own, which gets what updates leave of each packet.

use std::{collections::VecDeque, sync::Arc};

use super::item::Item;
use crate::data::shares::Shares;

/// Broadcasts that wait to be passed on; of the account that has most of them the one that was sent most often makes room.
pub(super) const MAX_QUEUED: usize = 512;
/// After this many items that are not for a packet, it counts as full.
const MAX_MISSES: usize = 8;

/// What became of an item that was offered to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    Taken,
    /// It does not fit, or the recipient has it.
    Passed,
    /// There is nobody else to tell: it counts as sent.
    Needless,
}

/// A list for each number of transmissions; packets are filled from the least-sent list up.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lists: Vec<VecDeque<Arc<Item>>>,
    shares: Shares,
    drawn: Vec<(usize, Arc<Item>)>,
}

impl Queue {
    /// Queues a broadcast, and says whether another is dropped for it.
    pub(super) fn push(&mut self, item: Arc<Item>) -> bool {
        let full = self.len() == MAX_QUEUED;
        if full {
            let largest = self.shares.largest(|size| size.0);
            let most_sent = self.lists.iter_mut().rev().find_map(|list| {
                let at = list.iter().position(|item| item.account == largest)?;
                list.remove(at)
            });
            most_sent.iter().for_each(|item| self.forget(item));
        }
        self.shares.add(item.account, (1, item.size()));
        self.put(0, item);
        full
    }

    pub(super) fn len(&self) -> usize {
        self.shares.all().0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all that wait.
    pub(super) fn bytes(&self) -> usize {
        self.shares.all().1
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Offers broadcasts, least-sent first. What was taken counts as sent once, and is done after `limit` times; without a
    /// limit it does not count, and all keep their places.
    pub(super) fn draw(&mut self, limit: Option<u32>, mut offer: impl FnMut(&Item) -> Offer) {
        let mut misses = 0;
        let Some(limit) = limit else {
            let mut is_last = |item| {
                misses += usize::from(offer(item) == Offer::Passed);
                misses == MAX_MISSES
            };
            self.lists.iter().flatten().any(|item| is_last(item));
            return;
        };
        'lists: for sent in 0..self.lists.len() {
            for _ in 0..self.lists[sent].len() {
                if misses == MAX_MISSES {
                    break 'lists;
                }
                let Some(item) = self.lists[sent].pop_front() else { break };
                if offer(&item) == Offer::Passed {
                    misses += 1;
                    self.lists[sent].push_back(item);
                } else {
                    self.drawn.push((sent + 1, item));
                }
            }
        }
        let mut drawn = std::mem::take(&mut self.drawn);
        for (sent, item) in drawn.drain(..) {
            if sent < limit as usize {
                self.put(sent, item);
            } else {
                self.forget(&item);
            }
        }
        self.drawn = drawn;
    }

    fn put(&mut self, sent: usize, item: Arc<Item>) {
        if self.lists.len() <= sent {
            self.lists.resize_with(sent + 1, VecDeque::new);
        }
        self.lists[sent].push_back(item);
    }

    fn forget(&mut self, item: &Item) {
        self.shares.remove(item.account, (1, item.size()));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::item, *};

    #[test]
    fn each_is_sent_as_often_as_it_may_be_the_least_sent_first() {
        let mut queue = Queue::default();
        assert!((1..=3).all(|seq| !queue.push(item("a", 1, seq))));
        let mut sent = Vec::new();
        while !queue.is_empty() {
            let mut room = 2;
            queue.draw(Some(3), |item| {
                if room == 0 {
                    return Offer::Passed;
                }
                room -= 1;
                sent.push(item.seq);
                Offer::Taken
            });
        }
        assert_eq!((sent.len(), queue.bytes(), &sent[..4]), (9, 0, &[1, 2, 3, 1][..]));
        assert!((1..=3).all(|seq| sent.iter().filter(|sent| **sent == seq).count() == 3));
    }

    #[test]
    fn what_does_not_count_as_a_transmission_leaves_all_where_it_is() {
        let mut queue = Queue::default();
        (1..=20).for_each(|seq| _ = queue.push(item("a", 1, seq)));
        let drawn = |queue: &mut Queue, limit, fits| {
            let mut seqs = Vec::new();
            queue.draw(limit, |item| {
                if seqs.len() == fits {
                    return Offer::Passed;
                }
                seqs.push(item.seq);
                Offer::Taken
            });
            seqs
        };
        for _ in 0..9 {
            assert_eq!(drawn(&mut queue, None, 2), [1, 2]);
        }
        assert_eq!(drawn(&mut queue, None, 99), Vec::from_iter(1..=20));
        assert_eq!((drawn(&mut queue, Some(1), 20).len(), queue.len()), (20, 0));
    }

    #[test]
    fn a_full_queue_drops_what_was_sent_most_often() {
        let mut queue = Queue::default();
        queue.push(item("a", 1, 1));
        queue.draw(Some(9), |_| Offer::Taken);
        (2..=MAX_QUEUED as u64).for_each(|seq| assert!(!queue.push(item("a", 1, seq))));
        assert!(queue.push(item("b", 1, 1)));
        let mut left = Vec::new();
        for _ in 0..100 {
            queue.draw(Some(1), |item| {
                left.push((item.origin.name.to_string(), item.seq));
                Offer::Taken
            });
        }
        assert_eq!((left.len(), queue.len(), queue.bytes()), (MAX_QUEUED, 0, 0));
        assert!(!left.contains(&("a".into(), 1)) && left.contains(&("b".into(), 1)));
    }

    #[test]
    fn many_names_on_one_host_push_out_what_is_theirs() {
        let mut queue = Queue::default();
        queue.push(item("b", 1, 1));
        queue.draw(Some(9), |_| Offer::Taken);
        (0..2000).for_each(|i| _ = queue.push(item(&format!("a{i}"), 1, 1)));
        let mut is_left = false;
        queue.draw(None, |item| {
            is_left |= *item.origin.name == *"b";
            Offer::Taken
        });
        assert!(is_left && queue.len() == MAX_QUEUED);
    }

    #[test]
    fn what_the_recipient_has_keeps_nothing_else_out_for_long() {
        let mut queue = Queue::default();
        (1..=100).for_each(|seq| _ = queue.push(item("a", 1, seq)));
        queue.push(item("b", 1, 1));
        let mut packets = 0;
        let mut told = false;
        while !told {
            packets += 1;
            queue.draw(Some(4), |item| {
                told |= &*item.origin.name == "b";
                if told { Offer::Taken } else { Offer::Passed }
            });
        }
        assert!(packets <= 13, "{packets}");
    }
}
