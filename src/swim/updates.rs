//! The transmit-limited queue (SWIM §4.1): which updates go into the next packet.
//!
//! An update is always the present state of a member, so the queue holds member ids, not messages: a newer update about a
//! member replaces the older by nature, and nothing stale is ever sent. The layer above queues its own in the same way, by
//! numbers.
//! Each item sits in a list per number of transmissions, and in one of all by their last turn. Filling a packet: the item
//! that has waited longest goes first, whatever its size; the least-sent items take half of the remaining room; the
//! longest-waiting take the rest. A renewed item goes to the back of those that wait. So an attacker that keeps creating
//! updates delays any other update by at most as many packets as the queue has items. Urgent updates (Suspect, Failed, Left,
//! own refutations) enter their list at the front, the rest at the back. A packet looks at no more items than fit, plus a few
//! misses, however long the queue is.

use serde::{Deserialize, Serialize};

use super::member::MemberId;

/// After this many items of a part that do not fit, the part counts as full.
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

/// The neighbours in a list.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Link {
    prev: u32,
    next: u32,
}

const UNLINKED: Link = Link { prev: NONE, next: NONE };

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct List {
    head: u32,
    tail: u32,
}

const EMPTY: List = List { head: NONE, tail: NONE };

/// The lists that an update is in.
const BY_TRANSMISSIONS: usize = 0;
const BY_TURN: usize = 1;

/// The place of a subject.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Place {
    links: [Link; 2],
    /// Number of transmissions so far; `NONE` outside of the queue.
    sent: u32,
    /// It is in the packet that is being filled.
    drawn: bool,
}

const OUTSIDE: Place = Place { links: [UNLINKED; 2], sent: NONE, drawn: false };

/// The subject of an update, as a number: a small one, since each takes a place in an array.
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

/// The room in a packet.
struct Room {
    left: usize,
    /// The room that is reserved for the next list.
    keeps: usize,
    /// Updates that did not fit.
    misses: usize,
}

impl Room {
    fn is_full(&self) -> bool {
        self.left < MIN_UPDATE || self.left <= self.keeps || self.misses == MAX_MISSES
    }
}

/// Doubly linked lists through one array indexed by subject: every operation is O(1) and, once the array
/// has its size, none allocates.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UpdateQueue<S> {
    places: Vec<Place>,
    /// One for each number of transmissions.
    lists: Vec<List>,
    /// First the one whose last turn is longest ago.
    turns: List,
    len: usize,
    drawn: Vec<S>,
}

impl<S> Default for UpdateQueue<S> {
    fn default() -> Self {
        Self { places: Vec::new(), lists: Vec::new(), turns: EMPTY, len: 0, drawn: Vec::new() }
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
        let at = id.number();
        if self.places.len() <= at as usize {
            self.places.resize(at as usize + 1, OUTSIDE);
        }
        self.link_transmitted(at, 0, urgency);
        link(&mut self.places, BY_TURN, &mut self.turns, at, Urgency::Routine);
        self.len += 1;
    }

    /// Drops the update about a member.
    pub(crate) fn remove(&mut self, id: S) {
        if self.contains(id) {
            self.unlink_transmitted(id.number());
            self.end(id.number());
        }
    }

    pub(crate) fn contains(&self, id: S) -> bool {
        self.places.get(id.number() as usize).is_some_and(|place| place.sent != NONE)
    }

    /// The subjects of the queued updates.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn subjects(&self) -> impl Iterator<Item = S> {
        (0..self.places.len() as u32).map(S::of).filter(|subject| self.contains(*subject))
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn clear(&mut self) {
        self.places.fill(OUTSIDE);
        self.lists.clear();
        (self.turns, self.len) = (EMPTY, 0);
    }

    /// Offers updates to `put`, which returns the remaining room if the update fitted: first the one whose last turn is
    /// longest ago, then the least sent until half of the rest is taken, then those whose last turn is longest ago. An
    /// update that was put counts as sent once, and is done after `limit` times; without a limit it does not count.
    pub(crate) fn draw(&mut self, limit: Option<u32>, room: usize, mut put: impl FnMut(S) -> Option<usize>) {
        if self.is_empty() {
            return;
        }
        let mut room = Room { left: room, keeps: room.saturating_sub(1), misses: 0 };
        self.draw_list(BY_TURN, self.turns, &mut room, &mut put);
        if self.drawn.len() < self.len {
            room = Room { keeps: room.left / 2, misses: 0, ..room };
            for list in 0..self.lists.len() {
                self.draw_list(BY_TRANSMISSIONS, self.lists[list], &mut room, &mut put);
            }
        }
        if self.drawn.len() < self.len {
            room = Room { keeps: 0, misses: 0, ..room };
            self.draw_list(BY_TURN, self.turns, &mut room, &mut put);
        }
        let mut drawn = std::mem::take(&mut self.drawn);
        for id in drawn.drain(..) {
            self.places[id.number() as usize].drawn = false;
            if let Some(limit) = limit {
                self.count_transmission(id, limit);
            }
        }
        self.drawn = drawn;
    }

    /// Offers the updates of a list.
    fn draw_list(
        &mut self,
        which: usize,
        list: List,
        room: &mut Room,
        put: &mut impl FnMut(S) -> Option<usize>,
    ) {
        let mut at = list.head;
        while at != NONE && !room.is_full() {
            let place = &mut self.places[at as usize];
            let id = S::of(at);
            at = place.links[which].next;
            if place.drawn {
                continue;
            }
            match put(id) {
                Some(left) => {
                    room.left = left;
                    place.drawn = true;
                    self.drawn.push(id);
                }
                None => room.misses += 1,
            }
        }
    }

    /// Counts one transmission of a member's update, if there is one.
    pub(crate) fn count_transmission(&mut self, id: S, limit: u32) {
        if !self.contains(id) {
            return;
        }
        let sent = self.unlink_transmitted(id.number()) + 1;
        if sent < limit {
            self.link_transmitted(id.number(), sent, Urgency::Routine);
            unlink(&mut self.places, BY_TURN, &mut self.turns, id.number());
            link(&mut self.places, BY_TURN, &mut self.turns, id.number(), Urgency::Routine);
        } else {
            self.end(id.number());
        }
    }

    fn link_transmitted(&mut self, at: u32, sent: u32, urgency: Urgency) {
        if self.lists.len() <= sent as usize {
            self.lists.resize(sent as usize + 1, EMPTY);
        }
        self.places[at as usize].sent = sent;
        link(&mut self.places, BY_TRANSMISSIONS, &mut self.lists[sent as usize], at, urgency);
    }

    /// Returns how often it was sent.
    fn unlink_transmitted(&mut self, at: u32) -> u32 {
        let sent = self.places[at as usize].sent;
        unlink(&mut self.places, BY_TRANSMISSIONS, &mut self.lists[sent as usize], at);
        sent
    }

    /// Takes out what is in no list by transmissions any more.
    fn end(&mut self, at: u32) {
        unlink(&mut self.places, BY_TURN, &mut self.turns, at);
        self.places[at as usize].sent = NONE;
        self.len -= 1;
    }
}

/// Urgent is the front of a list.
fn link(places: &mut [Place], which: usize, list: &mut List, at: u32, urgency: Urgency) {
    let link = match urgency {
        Urgency::Urgent => Link { prev: NONE, next: list.head },
        Urgency::Routine => Link { prev: list.tail, next: NONE },
    };
    places[at as usize].links[which] = link;
    join(places, which, list, link.prev, at);
    join(places, which, list, at, link.next);
}

fn unlink(places: &mut [Place], which: usize, list: &mut List, at: u32) {
    let Link { prev, next } = std::mem::replace(&mut places[at as usize].links[which], UNLINKED);
    join(places, which, list, prev, next);
}

/// Makes `next` follow `prev`, where `NONE` stands for the list's end.
fn join(places: &mut [Place], which: usize, list: &mut List, prev: u32, next: u32) {
    match prev {
        NONE => list.head = next,
        prev => places[prev as usize].links[which].next = next,
    }
    match next {
        NONE => list.tail = prev,
        next => places[next as usize].links[which].prev = prev,
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
    fn behind_the_longest_waiting_update_come_the_least_sent_and_urgent_ones_before_routine() {
        let mut queue = UpdateQueue::default();
        queue.push(MemberId(1), Urgency::Routine);
        assert_eq!(draw_all(&mut queue, 9, 1), [1]);
        queue.push(MemberId(2), Urgency::Routine);
        queue.push(MemberId(3), Urgency::Routine);
        queue.push(MemberId(4), Urgency::Urgent);
        assert_eq!(draw_all(&mut queue, 9, 8), [1, 4, 2, 3]);
    }

    #[test]
    fn what_is_renewed_all_the_time_keeps_no_other_waiting() {
        let mut queue = UpdateQueue::default();
        queue.push(MemberId(100), Urgency::Urgent);
        for round in 0..4 {
            (0..50).for_each(|i| queue.push(MemberId(i), Urgency::Urgent));
            let drawn = draw_all(&mut queue, 4, 10);
            assert_eq!(drawn.iter().filter(|id| **id == 100).count(), 1, "round {round}: {drawn:?}");
        }
        assert!(!queue.contains(MemberId(100)), "it was sent four times");
    }

    #[test]
    fn half_of_a_packet_goes_to_the_least_sent() {
        let mut queue = UpdateQueue::default();
        (0..20).for_each(|i| queue.push(MemberId(i), Urgency::Routine));
        assert_eq!(draw_all(&mut queue, 9, 10), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        (10..20).for_each(|i| queue.remove(MemberId(i)));
        (20..30).for_each(|i| queue.push(MemberId(i), Urgency::Urgent));
        assert_eq!(draw_all(&mut queue, 9, 10), [0, 29, 28, 27, 26, 25, 1, 2, 3, 4]);
    }

    #[test]
    fn large_updates_keep_no_small_one_behind_them_waiting() {
        let mut queue = UpdateQueue::default();
        (0..=MAX_MISSES as u32).for_each(|i| queue.push(MemberId(i), Urgency::Routine));
        let small = MemberId(MAX_MISSES as u32);
        let mut was_drawn = false;
        for _ in 0..10 {
            (50..100).for_each(|i| queue.push(MemberId(i), Urgency::Urgent));
            let mut left = 1400;
            queue.draw(Some(12), left, |id| {
                let size = if id.0 < small.0 { 800 } else { 50 };
                let fits = size <= left;
                left -= if fits { size } else { 0 };
                was_drawn |= fits && id == small;
                fits.then_some(left)
            });
        }
        assert!(was_drawn);
    }

    /// However many were queued before it and are yet to be sent many times, and however many come meanwhile.
    #[test]
    fn whatever_waits_has_a_turn_in_each_pass_of_the_queue() {
        let mut queue = UpdateQueue::default();
        (0..=40).for_each(|i| queue.push(MemberId(i), Urgency::Routine));
        let mut rounds = 0..;
        let sent = |queue: &mut UpdateQueue<_>| {
            (50..100).for_each(|i| queue.push(MemberId(i), Urgency::Urgent));
            draw_all(queue, 12, 10).contains(&40)
        };
        let first = rounds.find(|_| sent(&mut queue));
        let second = rounds.find(|_| sent(&mut queue));
        assert!(first <= Some(9) && second <= Some(32), "{first:?} {second:?}");
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
        assert_eq!(looked, 3 * MAX_MISSES, "of the first, the least sent and those that wait longest");
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
