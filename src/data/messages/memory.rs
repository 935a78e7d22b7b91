//! What a node remembers of the asks of others, so that it takes in each once and answers a repeated one as before.
//!
//! A sender's numbers ascend over all of its lives. Of each sender the highest are remembered; of one that is not remembered
//! and no greater than the highest that was forgotten, nothing is certain.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::status::{Answer, Status};
use crate::swim::Time;

/// Asks that are remembered of one sender: more than it has under way.
const MAX_PER_SENDER: usize = 256;
/// Senders.
const MAX_SENDERS: usize = 1024;
/// What was silent for so long is forgotten if others need the room: none of its datagrams is still under way.
const IDLE: Duration = Duration::from_secs(60);
/// How long an answer is kept for a sender that did not get it,
const KEEP: Duration = Duration::from_secs(60);
/// and how many bytes of them all.
const MAX_KEPT_BYTES: usize = 16 << 20;

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
    pub(super) fn look(&self, from: &str, id: u64) -> Known {
        let Some(sender) = self.senders.get(from) else { return Known::New };
        match sender.asks.get(&id) {
            Some(entry) => Known::Seen(entry.clone()),
            None if id <= sender.forgotten => Known::TooOld,
            None => Known::New,
        }
    }

    /// The same for one that is to be taken in: makes room for it.
    pub(super) fn admit(&mut self, now: Time, from: &Arc<str>, id: u64) -> Known {
        if !self.senders.contains_key(from) {
            if !self.make_room(now) {
                return Known::NoRoom;
            }
            self.senders.insert(Arc::clone(from), Sender::default());
        }
        let Some(sender) = self.senders.get_mut(from) else { return Known::NoRoom };
        self.by_time.remove(&(sender.heard, Arc::clone(from)));
        sender.heard = now;
        self.by_time.insert((now, Arc::clone(from)));
        let known = self.look(from, id);
        if known == Known::New && !self.forget_oldest(from, id) { Known::NoRoom } else { known }
    }

    fn make_room(&mut self, now: Time) -> bool {
        if self.senders.len() < MAX_SENDERS {
            return true;
        }
        let Some((heard, name)) = self.by_time.first().cloned() else { return false };
        let waits = |entry: &Entry| matches!(entry, Entry::Pending(until) if *until > now);
        let is_idle = now.since(heard) >= IDLE;
        if !is_idle || self.senders.get(&name).is_some_and(|sender| sender.asks.values().any(waits)) {
            return false;
        }
        self.by_time.pop_first();
        if let Some(sender) = self.senders.remove(&name) {
            self.kept_bytes -= sender.asks.values().map(bytes).sum::<usize>();
        }
        true
    }

    /// Makes room for one more ask of a sender: the oldest that is answered goes.
    fn forget_oldest(&mut self, from: &str, id: u64) -> bool {
        let Some(sender) = self.senders.get_mut(from) else { return false };
        if sender.asks.len() < MAX_PER_SENDER {
            return true;
        }
        let answered = |(_, entry): &(&u64, &Entry)| matches!(entry, Entry::Answered(_));
        let Some(oldest) = sender.asks.iter().find(answered).map(|(id, _)| *id) else { return false };
        if oldest > id {
            // It is the oldest itself.
            return false;
        }
        self.kept_bytes -= sender.asks.remove(&oldest).as_ref().map_or(0, bytes);
        sender.forgotten = sender.forgotten.max(oldest);
        true
    }

    /// Remembers what becomes of an ask that was admitted.
    pub(super) fn note(&mut self, now: Time, from: &Arc<str>, id: u64, entry: Entry) {
        let Some(sender) = self.senders.get_mut(from) else { return };
        let len = bytes(&entry);
        let before = sender.asks.insert(id, entry).as_ref().map_or(0, bytes);
        self.kept_bytes = self.kept_bytes + len - before;
        if len > 0 {
            self.kept.push_back((now, Arc::clone(from), id));
        }
        while self.kept_bytes > MAX_KEPT_BYTES && self.drop_oldest_answer() {}
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
        if let Some(entry) = entry {
            self.kept_bytes -= bytes(entry);
            *entry = Entry::Answered(Status::Forgotten.into());
        }
        true
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

    fn at(secs: u64) -> Time {
        Time::from_origin(Duration::from_secs(secs))
    }

    #[test]
    fn what_was_seen_is_never_new_again() {
        let (mut memory, from) = (Memory::default(), Arc::from("a"));
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
        let (mut memory, from) = (Memory::default(), Arc::from("a"));
        assert_eq!(memory.admit(at(1), &from, 1), Known::New);
        memory.note(at(1), &from, 1, Entry::Pending(at(99)));
        for id in 2..1000 {
            assert_eq!(memory.admit(at(1), &from, id), Known::New);
            memory.note(at(1), &from, id, Entry::Answered(Status::Taken.into()));
        }
        assert_eq!(memory.look("a", 1), Known::Seen(Entry::Pending(at(99))));
        assert_eq!(memory.look("a", 2), Known::TooOld);
    }

    #[test]
    fn bytes_of_answers_are_bounded_and_kept_for_a_while() {
        let (mut memory, from) = (Memory::default(), Arc::from("a"));
        for id in 1..=20 {
            memory.admit(at(id), &from, id);
            memory.note(at(id), &from, id, answered(1 << 20));
        }
        assert_eq!(memory.kept_bytes, MAX_KEPT_BYTES);
        assert_eq!(memory.look("a", 4), Known::Seen(Entry::Answered(Status::Forgotten.into())));
        assert_eq!(memory.look("a", 5), Known::Seen(answered(1 << 20)));
        memory.expire(at(70));
        assert_eq!((memory.kept_bytes, memory.kept.len()), (10 << 20, 10));
    }

    proptest::proptest! {
        #[test]
        fn in_any_order_each_ask_is_new_once_at_most(ids in proptest::collection::vec(1..600_u64, 1..2000)) {
            let (mut memory, from, mut taken) = (Memory::default(), Arc::from("a"), BTreeSet::new());
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
            assert_eq!(memory.admit(at(1), &i.to_string().into(), 1), Known::New);
        }
        assert_eq!(memory.admit(at(60), &"x".into(), 1), Known::NoRoom);
        assert_eq!(memory.admit(at(61), &"x".into(), 1), Known::New);
        assert_eq!(memory.senders.len(), MAX_SENDERS);
        assert_eq!(memory.by_time.len(), MAX_SENDERS);
    }
}
