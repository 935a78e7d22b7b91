//! What a node remembers of the asks of others, so that it takes in each once and answers a repeated one as before.
//!
//! A sender's numbers ascend. Of the present life of each sender the highest are remembered; of one that is not remembered
//! and no greater than the highest that was forgotten, nothing is certain.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use super::status::{Answer, Status};
use crate::swim::{Life, Time};

/// Asks that are remembered of one sender: more than it has under way.
const MAX_PER_SENDER: usize = 256;
/// Senders.
const MAX_SENDERS: usize = 1024;
/// What was silent for so long is forgotten if others need the room: none of its datagrams is still under way.
const IDLE: Duration = Duration::from_secs(60);
/// How long an answer is kept for a sender that did not get it,
const KEEP: Duration = Duration::from_secs(60);
/// how many bytes of them all,
const MAX_KEPT_BYTES: usize = 16 << 20;
/// and how many answers with bytes.
const MAX_KEPT: usize = 1 << 16;

/// In each life, a member's asks are counted from this many times its epoch on. Epochs that are believed are below 2⁴³, and
/// no life has a million asks in each millisecond.
const IDS_PER_EPOCH: u64 = 1 << 20;
/// The most asks of a life. A life that begins within so many asks, a quarter of an hour, after one that lied about its numbers
/// may have to wait for that time.
const IDS_PER_LIFE: u64 = 1 << 40;

/// The numbers that the asks of a life may have.
pub(super) fn ids_of(epoch: u64) -> Range<u64> {
    let first = epoch.saturating_mul(IDS_PER_EPOCH);
    first..first.saturating_add(IDS_PER_LIFE)
}

/// What became of an ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// It waits for the application, for the sender until then.
    Pending(Time),
    Answered(Answer),
}

/// Whether an ask is to be taken in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    New,
    /// It was seen before.
    Seen(Entry),
    /// Nothing is certain.
    TooOld,
    /// There is no room to remember it.
    NoRoom,
}

#[derive(Debug, Default)]
struct Sender {
    /// Which life of it.
    epoch: u64,
    heard: Time,
    /// The highest number that is remembered no longer.
    forgotten: u64,
    asks: BTreeMap<u64, Entry>,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    senders: BTreeMap<Arc<str>, Sender>,
    /// By when they were heard.
    by_time: BTreeSet<(Time, Arc<str>)>,
    /// Answers that hold bytes, the oldest first.
    kept: VecDeque<(Time, Arc<str>, u64)>,
    kept_bytes: usize,
}

impl Memory {
    /// What is known of an ask.
    pub(super) fn look(&self, from: &Life, id: u64) -> Known {
        let sender = self.senders.get(&from.name).filter(|sender| sender.epoch == from.epoch);
        let Some(sender) = sender else { return Known::New };
        match sender.asks.get(&id) {
            Some(entry) => Known::Seen(entry.clone()),
            None if id <= sender.forgotten => Known::TooOld,
            None => Known::New,
        }
    }

    /// The same for one that is to be taken in: makes room for it.
    pub(super) fn admit(&mut self, now: Time, from: &Life, id: u64) -> Known {
        let name = &from.name;
        match self.senders.get(name).map(|sender| sender.epoch) {
            Some(known) if known < from.epoch => self.begin_life(from),
            Some(known) if known > from.epoch => self.forget(name),
            _ => {}
        }
        if !self.senders.contains_key(name) {
            if !self.make_room(now) {
                return Known::NoRoom;
            }
            self.senders.insert(Arc::clone(name), Sender { epoch: from.epoch, ..Sender::default() });
        }
        let Some(sender) = self.senders.get_mut(name) else { return Known::NoRoom };
        self.by_time.remove(&(sender.heard, Arc::clone(name)));
        sender.heard = now;
        self.by_time.insert((now, Arc::clone(name)));
        let known = self.look(from, id);
        if known == Known::New && !self.forget_oldest(now, name, id) { Known::NoRoom } else { known }
    }

    /// A sender has begun another life. Perhaps it has sent in it before this node knew: such asks were seen.
    fn begin_life(&mut self, of: &Life) {
        let Some(sender) = self.senders.get_mut(&of.name) else { return };
        sender.epoch = of.epoch;
        let seen = sender.asks.split_off(&ids_of(of.epoch).start);
        let past = std::mem::replace(&mut sender.asks, seen);
        self.kept_bytes -= past.values().map(bytes).sum::<usize>();
    }

    fn forget(&mut self, name: &Arc<str>) {
        if let Some(sender) = self.senders.remove(name) {
            self.by_time.remove(&(sender.heard, Arc::clone(name)));
            self.kept_bytes -= sender.asks.values().map(bytes).sum::<usize>();
        }
    }

    fn make_room(&mut self, now: Time) -> bool {
        if self.senders.len() < MAX_SENDERS {
            return true;
        }
        let Some((heard, name)) = self.by_time.first().cloned() else { return false };
        let is_idle = now.since(heard) >= IDLE;
        let waits = |sender: &Sender| sender.asks.values().any(|entry| !entry.is_over(now));
        if !is_idle || self.senders.get(&name).is_some_and(waits) {
            return false;
        }
        self.forget(&name);
        true
    }

    /// Makes room for one more ask of a sender: the oldest goes that is answered, or that its sender has given up.
    fn forget_oldest(&mut self, now: Time, from: &str, id: u64) -> bool {
        let Some(sender) = self.senders.get_mut(from) else { return false };
        if sender.asks.len() < MAX_PER_SENDER {
            return true;
        }
        let is_over = |(_, entry): &(&u64, &Entry)| entry.is_over(now);
        let Some(oldest) = sender.asks.iter().find(is_over).map(|(id, _)| *id) else { return false };
        if oldest > id {
            // It is the oldest itself.
            return false;
        }
        self.kept_bytes -= sender.asks.remove(&oldest).as_ref().map_or(0, bytes);
        sender.forgotten = sender.forgotten.max(oldest);
        true
    }

    /// Remembers what becomes of an ask that was admitted.
    pub(super) fn note(&mut self, now: Time, from: &Life, id: u64, entry: Entry) {
        let sender = self.senders.get_mut(&from.name).filter(|sender| sender.epoch == from.epoch);
        let Some(sender) = sender else { return };
        let len = bytes(&entry);
        let before = sender.asks.insert(id, entry).as_ref().map_or(0, bytes);
        self.kept_bytes = self.kept_bytes + len - before;
        if len > 0 {
            self.kept.push_back((now, Arc::clone(&from.name), id));
        }
        while (self.kept_bytes > MAX_KEPT_BYTES || self.kept.len() > MAX_KEPT) && self.drop_oldest_answer() {}
    }

    /// Lets answers go that nobody has asked for in time.
    pub(super) fn expire(&mut self, now: Time) {
        while self.kept.front().is_some_and(|(since, ..)| now.since(*since) >= KEEP) {
            self.drop_oldest_answer();
        }
    }

    fn drop_oldest_answer(&mut self) -> bool {
        let Some((_, from, id)) = self.kept.pop_front() else { return false };
        let entry = self.senders.get_mut(&from).and_then(|sender| sender.asks.get_mut(&id));
        // Of an earlier life, or forgotten meanwhile, nothing is kept.
        if let Some(entry) = entry.filter(|entry| bytes(entry) > 0) {
            self.kept_bytes -= bytes(entry);
            *entry = Entry::Answered(Status::Forgotten.into());
        }
        true
    }
}

impl Entry {
    /// Whether nobody waits for it any more.
    fn is_over(&self, now: Time) -> bool {
        matches!(self, Self::Answered(_)) || matches!(self, Self::Pending(until) if *until <= now)
    }
}

fn bytes(entry: &Entry) -> usize {
    match entry {
        Entry::Pending(_) => 0,
        Entry::Answered(answer) => answer.payload.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(len: usize) -> Entry {
        Entry::Answered(Answer { status: Status::Answered, payload: vec![0; len].into() })
    }

    fn life(name: &str) -> Life {
        Life { name: name.into(), epoch: 7 }
    }

    fn at(secs: u64) -> Time {
        Time::from_origin(Duration::from_secs(secs))
    }

    #[test]
    fn what_was_seen_is_never_new_again() {
        let (mut memory, from) = (Memory::default(), life("a"));
        for id in (1..=2000).filter(|id| id % 3 > 0) {
            assert_eq!(memory.admit(at(1), &from, id), Known::New);
            memory.note(at(1), &from, id, answered(1));
        }
        for id in 1..=2000 {
            let known = memory.admit(at(1), &from, id);
            assert!(known != Known::New || id % 3 == 0, "{id}: {known:?}");
        }
        assert_eq!(memory.admit(at(1), &from, 1998), Known::New);
    }

    #[test]
    fn what_waits_for_the_application_is_not_forgotten() {
        let (mut memory, from) = (Memory::default(), life("a"));
        assert_eq!(memory.admit(at(1), &from, 1), Known::New);
        memory.note(at(1), &from, 1, Entry::Pending(at(99)));
        for id in 2..1000 {
            assert_eq!(memory.admit(at(1), &from, id), Known::New);
            memory.note(at(1), &from, id, Entry::Answered(Status::Taken.into()));
        }
        assert_eq!(memory.look(&from, 1), Known::Seen(Entry::Pending(at(99))));
        assert_eq!(memory.look(&from, 2), Known::TooOld);
    }

    #[test]
    fn requests_that_are_answered_too_late_keep_nobody_out() {
        let (mut memory, from) = (Memory::default(), life("a"));
        for id in 1..=1000 {
            assert_eq!(memory.admit(at(id), &from, id), Known::New);
            memory.note(at(id), &from, id, Entry::Pending(at(id + 1)));
        }
        assert_eq!(memory.senders["a"].asks.len(), MAX_PER_SENDER);
    }

    #[test]
    fn another_life_of_a_sender_begins_anew_and_what_it_kept_is_freed() {
        let (mut memory, from) = (Memory::default(), life("a"));
        for id in u64::MAX - 300..=u64::MAX {
            memory.admit(at(1), &from, id);
            memory.note(at(1), &from, id, answered(9));
        }
        let next = Life { epoch: 3, ..from.clone() };
        assert_eq!(memory.admit(at(2), &next, 1), Known::New);
        assert_eq!((memory.kept_bytes, memory.by_time.len()), (0, 1));
        memory.note(at(2), &next, 1, answered(9));
        memory.expire(at(61));
        assert_eq!(memory.look(&next, 1), Known::Seen(answered(9)), "not of that life");
    }

    #[test]
    fn what_a_life_sent_before_it_was_known_is_seen_still() {
        let mut memory = Memory::default();
        let (past, present) = (life("a"), Life { epoch: 8, ..life("a") });
        let id = ids_of(8).start + 1;
        assert_eq!(memory.admit(at(1), &past, id), Known::New);
        memory.note(at(1), &past, id, answered(1));
        assert_eq!(memory.admit(at(1), &past, id - 2), Known::New);
        memory.note(at(1), &past, id - 2, answered(1));
        assert_eq!(memory.admit(at(2), &present, id), Known::Seen(answered(1)));
        assert_eq!((memory.kept_bytes, memory.senders["a"].asks.len()), (1, 1));
    }

    #[test]
    fn bytes_of_answers_are_bounded_and_kept_for_a_while() {
        let (mut memory, from) = (Memory::default(), life("a"));
        for id in 1..=20 {
            memory.admit(at(id), &from, id);
            memory.note(at(id), &from, id, answered(1 << 20));
        }
        assert_eq!(memory.kept_bytes, MAX_KEPT_BYTES);
        assert_eq!(memory.look(&from, 4), Known::Seen(Entry::Answered(Status::Forgotten.into())));
        assert_eq!(memory.look(&from, 5), Known::Seen(answered(1 << 20)));
        memory.expire(at(70));
        assert_eq!((memory.kept_bytes, memory.kept.len()), (10 << 20, 10));
    }

    proptest::proptest! {
        #[test]
        fn in_any_order_each_ask_is_new_once_at_most(ids in proptest::collection::vec(1..600_u64, 1..2000)) {
            let (mut memory, from, mut taken) = (Memory::default(), life("a"), BTreeSet::new());
            for id in ids {
                match memory.admit(at(1), &from, id) {
                    Known::New => {
                        proptest::prop_assert!(taken.insert(id));
                        let entry = if id % 7 == 0 { Entry::Pending(at(9)) } else { answered(1) };
                        memory.note(at(1), &from, id, entry);
                    }
                    Known::Seen(_) => proptest::prop_assert!(taken.contains(&id)),
                    Known::TooOld | Known::NoRoom => {}
                }
            }
            proptest::prop_assert!(memory.senders["a"].asks.len() <= MAX_PER_SENDER);
        }
    }

    #[test]
    fn a_sender_that_was_silent_for_a_minute_makes_room_for_another() {
        let mut memory = Memory::default();
        for i in 0..MAX_SENDERS {
            assert_eq!(memory.admit(at(1), &life(&i.to_string()), 1), Known::New);
        }
        assert_eq!(memory.admit(at(60), &life("x"), 1), Known::NoRoom);
        assert_eq!(memory.admit(at(61), &life("x"), 1), Known::New);
        assert_eq!(memory.senders.len(), MAX_SENDERS);
        assert_eq!(memory.by_time.len(), MAX_SENDERS);
    }
}
