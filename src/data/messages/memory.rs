//! A node's memory of the asks of others, so that it takes in each once and answers a repeated one as before.
//!
//! As in sessions of NFS 4.1 (RFC 8881, section 2.10.6), each ask that a sender has under way has a slot of its own, and the
//! numbers of a slot ascend. So a node remembers only the last ask of each slot, with its answer. A later ask in a slot
//! means that the sender no longer awaits the earlier one; an earlier ask is a late duplicate. However many other asks come
//! meanwhile, an ask that is under way is not forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    ask::MAX_WITHIN,
    status::{Answer, Status},
};
use crate::{
    data::shares::Shares,
    swim::{Account, Life, Time},
};

/// The most slots of all senders. A sender has at most 256, and an account no more than are free.
const MAX_SLOTS: usize = 1 << 17;
/// This long after the time of all asks of a sender is over, none of its datagrams is still under way.
const IDLE: Duration = Duration::from_secs(60);
/// How long an answer is kept for its sender, which may not have received it.
const KEEP: Duration = Duration::from_secs(60);
/// The most bytes of all answers that are kept.
const MAX_KEPT_BYTES: usize = 16 << 20;

/// Identifies an ask of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskId {
    pub(crate) slot: u8,
    /// The life of the sender.
    pub(crate) epoch: u64,
    /// The ask's number in that life.
    pub(crate) number: u64,
}

/// The state of an ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// The request waits for the application, and its sender waits until then.
    Pending(Time),
    Answered(Answer),
}

/// Whether an ask is new.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    New,
    /// It was seen before.
    Seen(Entry),
    /// The sender has begun a later ask in its slot.
    Over,
    /// There is no room to remember it.
    NoRoom,
}

#[derive(Debug)]
struct Slot {
    /// The last ask of the slot.
    epoch: u64,
    number: u64,
    entry: Entry,
    /// When its answer was noted, if the answer has a payload.
    kept: Option<Time>,
}

#[derive(Debug, Default)]
struct Sender {
    account: Option<Account>,
    /// The latest time at which the sender may repeat one of its asks.
    until: Time,
    slots: Vec<Option<Slot>>,
}

/// Since when an answer is kept, its sender, and its slot.
type Place = (Time, Arc<str>, u8);

#[derive(Debug, Default)]
pub(super) struct Memory {
    senders: BTreeMap<Arc<str>, Sender>,
    /// Senders by the time after which they may be forgotten.
    by_time: BTreeSet<(Time, Arc<str>)>,
    /// Slots whose answers have a payload, the oldest first, with the account that each counts for; and the same by account.
    kept: BTreeMap<Place, Option<Account>>,
    kept_of: BTreeMap<Option<Account>, BTreeSet<Place>>,
    /// The slots, and the bytes of the kept answers.
    shares: Shares,
}

impl Memory {
    /// The state of an ask.
    pub(super) fn look(&self, from: &Life, id: AskId) -> Known {
        let last = self.senders.get(&from.name).and_then(|sender| sender.slots.get(usize::from(id.slot)));
        // No life comes after the present one: a later epoch in the slot was a lie.
        let last = last.and_then(Option::as_ref).filter(|last| last.epoch <= from.epoch);
        match last.map(|last| ((last.epoch, last.number), &last.entry)) {
            Some((last, entry)) if last == (id.epoch, id.number) => Known::Seen(entry.clone()),
            Some((last, _)) if last > (id.epoch, id.number) => Known::Over,
            _ => Known::New,
        }
    }

    /// The state of an ask that is to be taken in, and whose sender waits for this long. Makes room for it.
    pub(super) fn admit(
        &mut self,
        now: Time,
        from: &Life,
        account: Option<Account>,
        id: AskId,
        within: Duration,
    ) -> Known {
        let wanted = usize::from(id.slot) + 1;
        self.count_for(&from.name, account);
        let has = self.senders.get(&from.name).map_or(0, |sender| sender.slots.len());
        let more = wanted.saturating_sub(has);
        while more > 0 && !self.shares.has_room(account, (more, 0), (MAX_SLOTS, usize::MAX)) {
            if !self.forget_idle(now, &from.name) {
                return Known::NoRoom;
            }
        }
        let sender = self.senders.entry(Arc::clone(&from.name)).or_default();
        self.by_time.remove(&(sender.until, Arc::clone(&from.name)));
        sender.until = sender.until.max(now + within.min(MAX_WITHIN) + IDLE);
        self.by_time.insert((sender.until, Arc::clone(&from.name)));
        sender.account = account;
        sender.slots.resize_with(has.max(wanted), || None);
        self.shares.add(account, (more, 0));
        self.look(from, id)
    }

    /// Once a sender is at another host, its slots no longer count for the former one.
    fn count_for(&mut self, from: &Arc<str>, account: Option<Account>) {
        let Some(sender) = self.senders.get_mut(from).filter(|sender| sender.account != account) else {
            return;
        };
        let former = std::mem::replace(&mut sender.account, account);
        let mut size = (sender.slots.len(), 0);
        for (slot, last) in (0..=u8::MAX).zip(&sender.slots) {
            let Some((last, since)) = last.as_ref().and_then(|last| Some((last, last.kept?))) else {
                continue;
            };
            size.1 += bytes(&last.entry);
            let place = (since, Arc::clone(from), slot);
            if let Some(places) = self.kept_of.get_mut(&former) {
                places.remove(&place);
            }
            self.kept_of.entry(account).or_default().insert(place.clone());
            self.kept.insert(place, account);
        }
        if self.kept_of.get(&former).is_some_and(BTreeSet::is_empty) {
            self.kept_of.remove(&former);
        }
        self.shares.remove(former, size);
        self.shares.add(account, size);
    }

    /// Forgets the sender whose last ask ended the longest time ago, unless it is `but`.
    fn forget_idle(&mut self, now: Time, but: &str) -> bool {
        let idle = self.by_time.iter().take_while(|(until, _)| *until <= now);
        let Some(idle) = idle.map(|(_, name)| name).find(|name| ***name != *but).cloned() else {
            return false;
        };
        let Some(sender) = self.senders.remove(&idle) else { return false };
        self.by_time.remove(&(sender.until, Arc::clone(&idle)));
        self.shares.remove(sender.account, (sender.slots.len(), 0));
        for (slot, last) in (0..=u8::MAX).zip(sender.slots) {
            self.release(&idle, sender.account, slot, last.as_ref());
        }
        true
    }

    /// Drops the answer in a slot.
    fn release(&mut self, from: &Arc<str>, account: Option<Account>, slot: u8, last: Option<&Slot>) {
        if let Some((Slot { entry, .. }, since)) = last.and_then(|last| Some((last, last.kept?))) {
            self.shares.remove(account, (0, bytes(entry)));
            self.forget_place(&(since, Arc::clone(from), slot));
        }
    }

    fn forget_place(&mut self, place: &Place) {
        let Some(account) = self.kept.remove(place) else { return };
        if let Some(places) = self.kept_of.get_mut(&account) {
            places.remove(place);
            if places.is_empty() {
                self.kept_of.remove(&account);
            }
        }
    }

    /// Stores the state of an ask that was admitted.
    pub(super) fn note(&mut self, now: Time, from: &Life, id: AskId, entry: Entry) {
        let AskId { slot, epoch, number } = id;
        let len = bytes(&entry);
        let kept = (len > 0).then_some(now);
        let Some(sender) = self.senders.get_mut(&from.name) else { return };
        let account = sender.account;
        let Some(place) = sender.slots.get_mut(usize::from(slot)) else { return };
        let last = place.replace(Slot { epoch, number, entry, kept });
        self.release(&from.name, account, slot, last.as_ref());
        self.shares.add(account, (0, len));
        if let Some(since) = kept {
            let place = (since, Arc::clone(&from.name), slot);
            self.kept_of.entry(account).or_default().insert(place.clone());
            self.kept.insert(place, account);
        }
        while self.shares.all().1 > MAX_KEPT_BYTES {
            let largest = self.shares.largest(|size| size.1);
            let oldest = self.kept_of.get(&largest).and_then(BTreeSet::first).cloned();
            let Some(oldest) = oldest else { return };
            self.drop_answer(&oldest);
        }
    }

    /// Drops answers that were not asked for in time.
    pub(super) fn expire(&mut self, now: Time) {
        while self.poll_timeout().is_some_and(|at| at <= now)
            && let Some((oldest, _)) = self.kept.first_key_value()
        {
            self.drop_answer(&oldest.clone());
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.kept.first_key_value().map(|((since, ..), _)| *since + KEEP)
    }

    /// Drops an answer, but remembers that the ask was answered.
    fn drop_answer(&mut self, place: &Place) {
        self.forget_place(place);
        let (_, from, slot) = place;
        if let Some(sender) = self.senders.get_mut(from)
            && let Some(Some(last)) = sender.slots.get_mut(usize::from(*slot))
        {
            self.shares.remove(sender.account, (0, bytes(&last.entry)));
            (last.entry, last.kept) = (Entry::Answered(Status::Expired.into()), None);
        }
    }

    /// Checks the sums and bounds.
    #[cfg(any(test, fuzzing))]
    pub(super) fn audit(&self) {
        let slots = || self.senders.values().flat_map(|sender| &sender.slots);
        let kept = || slots().flatten().filter(|last| last.kept.is_some());
        let kept_bytes = kept().map(|last| bytes(&last.entry)).sum::<usize>();
        assert_eq!((self.shares.all(), self.kept.len()), ((slots().count(), kept_bytes), kept().count()));
        assert_eq!(self.by_time.len(), self.senders.len());
        assert_eq!(self.kept_of.values().map(BTreeSet::len).sum::<usize>(), self.kept.len());
        assert!(self.kept_of.values().all(|places| !places.is_empty()));
        assert!(self.shares.all().0 <= MAX_SLOTS && kept_bytes <= MAX_KEPT_BYTES);
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

    const MINUTE: Duration = Duration::from_secs(60);

    fn answered(len: usize) -> Entry {
        Entry::Answered(Answer { status: Status::Answered, payload: vec![0; len].into() })
    }

    fn life(name: &str) -> Life {
        Life { name: name.into(), epoch: 7 }
    }

    fn ask(slot: u8, number: u64) -> AskId {
        AskId { slot, epoch: 7, number }
    }

    fn at(secs: u64) -> Time {
        Time::from_origin(Duration::from_secs(secs))
    }

    fn admit(memory: &mut Memory, at: Time, from: &Life, id: AskId) -> Known {
        let known = memory.admit(at, from, None, id, MINUTE);
        memory.audit();
        known
    }

    #[test]
    fn an_ask_that_comes_late_is_taken_in_however_many_others_came_before() {
        let (mut memory, from) = (Memory::default(), life("a"));
        for number in 2..=100_000 {
            assert_eq!(memory.admit(at(1), &from, None, ask(1, number), MINUTE), Known::New);
            memory.note(at(1), &from, ask(1, number), answered(1));
        }
        assert_eq!(admit(&mut memory, at(1), &from, ask(0, 1)), Known::New);
        memory.note(at(1), &from, ask(0, 1), answered(1));
        assert_eq!(admit(&mut memory, at(1), &from, ask(0, 1)), Known::Seen(answered(1)));
        assert_eq!(admit(&mut memory, at(1), &from, ask(1, 99_999)), Known::Over);
        assert_eq!(memory.shares.all().0, 2);
    }

    #[test]
    fn a_later_ask_of_a_slot_ends_the_one_before() {
        let (mut memory, from) = (Memory::default(), life("a"));
        admit(&mut memory, at(1), &from, ask(0, 1));
        memory.note(at(1), &from, ask(0, 1), Entry::Pending(at(9)));
        assert_eq!(admit(&mut memory, at(2), &from, ask(0, 2)), Known::New);
        memory.note(at(2), &from, ask(0, 2), answered(9));
        assert_eq!(memory.look(&from, ask(0, 1)), Known::Over);
    }

    #[test]
    fn a_later_life_goes_on_in_the_slots_and_a_forged_life_keeps_none_out() {
        let (mut memory, from) = (Memory::default(), life("a"));
        let lie = Life { epoch: 1 << 61, ..from.clone() };
        let id = AskId { slot: 0, epoch: lie.epoch, number: u64::MAX };
        assert_eq!(admit(&mut memory, at(1), &lie, id), Known::New);
        memory.note(at(1), &lie, id, answered(5));
        assert_eq!(admit(&mut memory, at(1), &from, ask(0, 9)), Known::New);
        memory.note(at(1), &from, ask(0, 9), answered(3));
        let next = Life { epoch: 8, ..from.clone() };
        assert_eq!(admit(&mut memory, at(1), &next, ask(0, 9)), Known::Seen(answered(3)));
        assert_eq!(admit(&mut memory, at(1), &next, AskId { slot: 0, epoch: 8, number: 1 }), Known::New);
        assert_eq!(admit(&mut memory, at(1), &next, ask(0, 8)), Known::Over, "a copy of an earlier life");
    }

    #[test]
    fn bytes_of_answers_are_bounded_and_kept_for_a_while() {
        let (mut memory, from) = (Memory::default(), life("a"));
        for slot in 1..=20 {
            admit(&mut memory, at(slot.into()), &from, ask(slot, 1));
            memory.note(at(slot.into()), &from, ask(slot, 1), answered(1 << 20));
        }
        memory.audit();
        assert_eq!(memory.shares.all().1, MAX_KEPT_BYTES);
        assert_eq!(memory.look(&from, ask(4, 1)), Known::Seen(Entry::Answered(Status::Expired.into())));
        assert_eq!(memory.look(&from, ask(5, 1)), Known::Seen(answered(1 << 20)));
        assert_eq!(memory.poll_timeout(), Some(at(65)));
        memory.expire(at(70));
        assert_eq!((memory.shares.all().1, memory.kept.len()), (10 << 20, 10));
        memory.audit();
    }

    #[test]
    fn many_names_on_one_host_leave_room_for_others_and_push_out_their_own_answers() {
        let (mut memory, day) = (Memory::default(), Duration::from_secs(86_400));
        let names: Vec<_> = (0..600).map(|i| life(&i.to_string())).collect();
        let is_new = |from: &&Life| memory.admit(at(1), from, Some(1.into()), ask(255, 1), day) == Known::New;
        assert_eq!(names.iter().filter(is_new).count(), MAX_SLOTS / 256 / 2);
        let other = life("other");
        assert_eq!(memory.admit(at(1), &other, Some(2.into()), ask(0, 1), MINUTE), Known::New);
        memory.note(at(1), &other, ask(0, 1), answered(1));
        names.iter().for_each(|from| memory.note(at(2), from, ask(255, 1), answered(1 << 20)));
        assert_eq!(memory.look(&other, ask(0, 1)), Known::Seen(answered(1)));
        memory.audit();
    }

    #[test]
    fn entries_of_a_sender_that_moves_count_for_its_former_host() {
        let (mut memory, day) = (Memory::default(), Duration::from_secs(86_400));
        let names: Vec<_> = (0..600).map(|i| life(&i.to_string())).collect();
        let mut admit = |at, from: &Life, host: u32| {
            memory.admit(at, from, Some(host.into()), ask(255, 1), day);
            memory.note(at, from, ask(255, 1), answered(1000));
            memory.audit();
        };
        names.iter().for_each(|from| admit(at(1), from, 1));
        let held = MAX_SLOTS / 256 / 2;
        names[..held].iter().for_each(|from| admit(at(2), from, 2));
        admit(at(3), &names[held], 1);
        assert_eq!(memory.shares.all().0, MAX_SLOTS / 2 + 256, "the first host has its share again");
        assert_eq!(memory.look(&names[7], ask(255, 1)), Known::Seen(answered(1000)));
    }

    /// A search through all answers would take minutes.
    #[test]
    fn the_entry_to_evict_is_found_at_once_among_any_number_of_older_answers() {
        let (mut memory, day) = (Memory::default(), Duration::from_secs(86_400));
        let all = |memory: &mut Memory, at: Time, host: u32, names: u32, entry: &Entry| {
            for name in 0..names {
                let from = life(&format!("{host}/{name}"));
                for slot in (0..=u8::MAX).rev() {
                    memory.admit(at, &from, Some(host.into()), ask(slot, 1), day);
                    memory.note(at, &from, ask(slot, 1), entry.clone());
                }
            }
        };
        all(&mut memory, at(1), 1, 255, &answered(1));
        all(&mut memory, at(2), 2, 127, &answered(1 << 20));
        memory.audit();
        assert_eq!(memory.look(&life("1/0"), ask(0, 1)), Known::Seen(answered(1)));
        let is_kept = |slot| memory.look(&life("2/99"), ask(slot, 1)) == Known::Seen(answered(1 << 20));
        assert_eq!((0..=u8::MAX).filter(|slot| is_kept(*slot)).count(), 15, "of the last sender");
    }

    #[test]
    fn every_member_of_the_largest_cluster_is_heard() {
        let mut memory = Memory::default();
        for i in 0..=65_536_u32 {
            let from = life(&i.to_string());
            assert_eq!(
                memory.admit(at(1), &from, Some(i.into()), ask(1, 1), MINUTE),
                if i < 65_536 { Known::New } else { Known::NoRoom }
            );
        }
        memory.audit();
        assert_eq!(admit(&mut memory, at(120), &life("x"), ask(0, 1)), Known::NoRoom);
        assert_eq!(admit(&mut memory, at(121), &life("x"), ask(0, 1)), Known::New, "no ask of others lives");
    }

    proptest::proptest! {
        #[test]
        fn in_any_order_each_ask_is_new_once_at_most(
            asks in proptest::collection::vec((0..4_u8, 1..60_u64, 6..8_u64, 0..5_usize), 1..2000),
        ) {
            let (mut memory, mut taken) = (Memory::default(), BTreeSet::new());
            let from = Life { epoch: 9, ..life("a") };
            for (slot, number, epoch, len) in asks {
                let id = AskId { slot, epoch, number };
                match memory.admit(at(1), &from, None, id, MINUTE) {
                    Known::New => {
                        proptest::prop_assert!(taken.insert((slot, epoch, number)));
                        memory.note(at(1), &from, id, if len == 0 { Entry::Pending(at(9)) } else { answered(len) });
                    }
                    Known::Seen(_) => proptest::prop_assert!(taken.contains(&(slot, epoch, number))),
                    Known::Over | Known::NoRoom => {}
                }
            }
            memory.audit();
        }
    }
}
