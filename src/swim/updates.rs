//! The transmit-limited queue (SWIM §4.1): which updates go into the next packet.
//!
//! An update is always the present state of a member, so the queue holds member ids, not messages: a newer update about a
//! member replaces the older by nature, nothing is encoded twice, and nothing stale is ever sent. The layer above queues its
//! own in the same way, by numbers.
//! Each item sits in a list per number of transmissions; packets are filled from the least-sent list up.
//! Urgent updates (Suspect, Failed, Left, own refutations) enter at the front, the rest at the back.
//! A packet looks at no more items than fit, plus a few misses, however long the queue is.

use serde::{Deserialize, Serialize};

use super::member::MemberId;

/// After this many items that do not fit, a packet counts as full.
const MAX_MISSES: usize = 8;
/// No update is shorter than this many bytes: tag, length, a name of one letter, epoch and incarnation.
const MIN_UPDATE: usize = 6;

/// How often each update is sent: `mult · ⌈log10(n + 1)⌉`.
pub(crate) fn transmit_limit(mult: u32, n: usize) -> u32 {
    // ⌈log10(n + 1)⌉ is the number of decimal digits of n, without floating point.
    let digits = n.checked_ilog10().map_or(0, |log| log + 1);
    mult.saturating_mul(digits)
}

const NONE: u32 = u32::MAX;

/// A link of the list that a member's update is in.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Link {
    prev: u32,
    next: u32,
    /// Number of transmissions so far; `NONE` outside of the queue.
    sent: u32,
}

const UNLINKED: Link = Link { prev: NONE, next: NONE, sent: NONE };

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct List {
    head: u32,
    tail: u32,
}

/// What an update is about, by a number: small ones, as each takes a place in an array.
pub(crate) trait Subject: Copy {
    fn of(number: u32) -> Self;
    fn number(self) -> u32;
}

impl Subject for MemberId {
    fn of(number: u32) -> Self {
        Self(number)
    }

    fn number(self) -> u32 {
        self.0
    }
}

/// Doubly linked lists through one array indexed by subject: every operation is O(1) and, once the array
/// has its size, none allocates.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UpdateQueue<S> {
    links: Vec<Link>,
    lists: Vec<List>,
    len: usize,
    drawn: Vec<S>,
}

impl<S> Default for UpdateQueue<S> {
    fn default() -> Self {
        Self { links: Vec::new(), lists: Vec::new(), len: 0, drawn: Vec::new() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    Urgent,
    Routine,
}

impl<S: Subject> UpdateQueue<S> {
    /// Queues an update about a member, in place of an older one.
    pub(crate) fn push(&mut self, id: S, urgency: Urgency) {
        self.remove(id);
        if self.links.len() <= id.number() as usize {
            self.links.resize(id.number() as usize + 1, UNLINKED);
        }
        self.link(id.number(), 0, urgency);
        self.len += 1;
    }

    /// Drops the update about a member.
    pub(crate) fn remove(&mut self, id: S) {
        if self.contains(id) {
            self.unlink(id.number());
            self.len -= 1;
        }
    }

    pub(crate) fn contains(&self, id: S) -> bool {
        self.links.get(id.number() as usize).is_some_and(|link| link.sent != NONE)
    }

    /// What there are updates about.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn subjects(&self) -> impl Iterator<Item = S> {
        (0..self.links.len() as u32).map(S::of).filter(|subject| self.contains(*subject))
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn clear(&mut self) {
        self.links.fill(UNLINKED);
        self.lists.clear();
        self.len = 0;
    }

    /// Offers updates, least-sent first, to `put`, which says whether it fitted and how much room is left.
    /// What was put counts as sent once, and is done after `limit` times; without a limit it does not count.
    pub(crate) fn draw(
        &mut self,
        limit: Option<u32>,
        mut room: usize,
        mut put: impl FnMut(S) -> Option<usize>,
    ) {
        let mut misses = 0;
        let mut drawn = std::mem::take(&mut self.drawn);
        'lists: for list in 0..self.lists.len() {
            let mut at = self.lists[list].head;
            while at != NONE {
                if room < MIN_UPDATE || misses == MAX_MISSES {
                    break 'lists;
                }
                let id = S::of(at);
                at = self.links[id.number() as usize].next;
                match put(id) {
                    Some(left) => {
                        room = left;
                        drawn.push(id);
                    }
                    None => misses += 1,
                }
            }
        }
        for id in drawn.drain(..) {
            if let Some(limit) = limit {
                self.count_transmission(id, limit);
            }
        }
        self.drawn = drawn;
    }

    /// Counts one transmission of a member's update, if there is one.
    pub(crate) fn count_transmission(&mut self, id: S, limit: u32) {
        if !self.contains(id) {
            return;
        }
        let sent = self.unlink(id.number()) + 1;
        if sent < limit {
            self.link(id.number(), sent, Urgency::Routine);
        } else {
            self.len -= 1;
        }
    }

    fn link(&mut self, at: u32, sent: u32, urgency: Urgency) {
        let list = sent as usize;
        if self.lists.len() <= list {
            self.lists.resize(list + 1, List { head: NONE, tail: NONE });
        }
        let ends = self.lists[list];
        let link = match urgency {
            Urgency::Urgent => Link { prev: NONE, next: ends.head, sent },
            Urgency::Routine => Link { prev: ends.tail, next: NONE, sent },
        };
        self.links[at as usize] = link;
        self.join(list, link.prev, at);
        self.join(list, at, link.next);
    }

    fn unlink(&mut self, at: u32) -> u32 {
        let Link { prev, next, sent } = std::mem::replace(&mut self.links[at as usize], UNLINKED);
        self.join(sent as usize, prev, next);
        sent
    }

    /// Makes `next` follow `prev`, where `NONE` stands for the list's end.
    fn join(&mut self, list: usize, prev: u32, next: u32) {
        match prev {
            NONE => self.lists[list].head = next,
            prev => self.links[prev as usize].next = next,
        }
        match next {
            NONE => self.lists[list].tail = prev,
            next => self.links[next as usize].prev = prev,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw_all(queue: &mut UpdateQueue<MemberId>, limit: u32, fits: usize) -> Vec<u32> {
        let mut got = Vec::new();
        queue.draw(Some(limit), fits * MIN_UPDATE, |id| {
            (got.len() < fits).then(|| {
                got.push(id.0);
                (fits - got.len()) * MIN_UPDATE
            })
        });
        got
    }

    #[test]
    fn the_transmit_limit_follows_memberlists_table() {
        for (mult, n, limit) in [
            (3, 0, 0),
            (3, 1, 3),
            (3, 99, 6),
            (1, 10, 2),
            (4, 10, 8),
            (4, 100, 12),
            (4, 999, 12),
            (4, 1000, 16),
        ] {
            assert_eq!(transmit_limit(mult, n), limit, "mult {mult}, n {n}");
        }
    }

    #[test]
    fn an_update_is_sent_exactly_limit_times() {
        let mut queue = UpdateQueue::default();
        queue.push(MemberId(3), Urgency::Routine);
        for _ in 0..3 {
            assert_eq!(draw_all(&mut queue, 3, 10), [3]);
        }
        assert!(queue.is_empty());
        assert_eq!(draw_all(&mut queue, 3, 10), []);
    }

    #[test]
    fn the_least_sent_goes_first_and_urgent_updates_before_routine() {
        let mut queue = UpdateQueue::default();
        queue.push(MemberId(1), Urgency::Routine);
        assert_eq!(draw_all(&mut queue, 9, 1), [1]);
        queue.push(MemberId(2), Urgency::Routine);
        queue.push(MemberId(3), Urgency::Routine);
        queue.push(MemberId(4), Urgency::Urgent);
        assert_eq!(draw_all(&mut queue, 9, 4), [4, 2, 3, 1]);
    }

    #[test]
    fn a_newer_update_replaces_the_older_and_starts_afresh() {
        let mut queue = UpdateQueue::default();
        queue.push(MemberId(1), Urgency::Routine);
        draw_all(&mut queue, 2, 1);
        queue.push(MemberId(1), Urgency::Routine);
        assert_eq!(queue.len(), 1);
        assert_eq!(draw_all(&mut queue, 2, 1), [1]);
        assert_eq!(draw_all(&mut queue, 2, 1), [1]);
        assert!(queue.is_empty());
    }

    #[test]
    fn nothing_goes_twice_into_one_packet() {
        let mut queue = UpdateQueue::default();
        (0..5).for_each(|i| queue.push(MemberId(i), Urgency::Routine));
        assert_eq!(draw_all(&mut queue, 9, 100), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_packet_gives_up_after_a_few_items_that_do_not_fit() {
        let mut queue = UpdateQueue::default();
        (0..10_000).for_each(|i| queue.push(MemberId(i), Urgency::Routine));
        let mut looked = 0;
        queue.draw(Some(9), 1400, |_| {
            looked += 1;
            None
        });
        assert_eq!(looked, MAX_MISSES);
    }

    #[test]
    fn removal_from_anywhere_keeps_the_rest_in_order() {
        for gone in 0..4 {
            let mut queue = UpdateQueue::default();
            (0..4).for_each(|i| queue.push(MemberId(i), Urgency::Routine));
            queue.remove(MemberId(gone));
            let expected: Vec<u32> = (0..4).filter(|i| *i != gone).collect();
            assert_eq!(draw_all(&mut queue, 9, 10), expected);
        }
    }
}
