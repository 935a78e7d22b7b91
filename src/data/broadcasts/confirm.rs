//! Confirmations: which members have a broadcast, for its origin; and the Confirms that this node still has to send.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};

use super::{
    Broadcasts, TooMany,
    item::{CONFIRM, Item},
};
use crate::{
    data::shares::Shares,
    swim::{Account, Life, Node, Time},
    wire::{data::Confirm, hash},
};

/// The number of members that confirm; if there are more, those with the lowest hashes.
pub(super) const SAMPLE: u64 = 256;
/// Broadcasts that wait for confirmations at the same time.
pub(super) const MAX_OPEN: usize = 64;
/// How many origins may have waiting Confirms, of which an account has its [share](Shares::has_room), and how many Confirms
/// each. A broadcast beyond that is not confirmed until the origin asks.
const MAX_PENDING: (usize, usize) = (512, 16);
/// How many datagrams of Confirms may be sent in answer to datagrams that arrived before.
const MAX_CREDIT: usize = 8;
/// Confirmations are spread over this time at most, so that they do not arrive all at once.
const SPREAD: Duration = Duration::from_millis(100);
/// After half of its time a broadcast is sent directly to the members that have not confirmed it, and again in steps of this
/// fraction of the time.
const STEPS: u32 = 32;
const HALF: u32 = STEPS / 2;
/// From this step on the broadcast goes by stream as well.
const BY_STREAM: u32 = STEPS / 4 * 3;
/// One such stream takes at most this part of the time that is left, if so many members wait for one.
const LEFT_BY_EACH: usize = 4;
/// How long a Confirm waits for a packet to a member that datagrams do not reach.
const RIDE: Duration = Duration::from_secs(10);

/// Why a member did not confirm a broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unconfirmed {
    /// No confirmation arrived in time, though the broadcast was sent to that member directly.
    Silent,
    /// The member failed meanwhile, or was restarted.
    Failed,
    /// The member left meanwhile.
    Left,
    /// This node left before a confirmation arrived.
    Abandoned,
}

/// One word.
impl fmt::Display for Unconfirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Silent => "silent",
            Self::Failed => "failed",
            Self::Left => "left",
            Self::Abandoned => "abandoned",
        })
    }
}

/// Which members have a broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    /// The members that confirmed it, each with the time that it took.
    pub(crate) reached: Vec<(Arc<str>, Duration)>,
    pub(crate) missing: Vec<(Life, Unconfirmed)>,
    /// How many members received it, or confirmed it, only after it was sent to them directly.
    pub(crate) repaired: usize,
}

/// A broadcast of this node that waits for confirmations.
#[derive(Debug)]
struct Open {
    item: Arc<Item>,
    began: Time,
    timeout: Duration,
    /// The step of the caller's time at which work is due next.
    step: u32,
    waits: BTreeMap<Arc<str>, u64>,
    /// Those of them that are to get it by stream as well: datagrams do not seem to reach them.
    by_stream: BTreeSet<Arc<str>>,
    outcome: Outcome,
    /// The waiting caller; its channel has room for the outcome.
    caller: Sender<Outcome>,
}

impl Open {
    fn next(&self) -> Time {
        self.began + self.timeout.mul_f64(f64::from(self.step) / f64::from(STEPS))
    }

    fn ends(&self) -> Time {
        self.began + self.timeout
    }

    fn settle(&mut self, name: &str, why: Unconfirmed) {
        self.by_stream.remove(name);
        if let Some((name, epoch)) = self.waits.remove_entry(name) {
            self.outcome.missing.push((Life { name, epoch }, why));
        }
    }

    fn report(self) {
        // A caller that is gone does not matter.
        let _ = self.caller.try_send(self.outcome);
    }

    fn settle_all(&mut self, why: &Unconfirmed) {
        let waits = std::mem::take(&mut self.waits).into_iter();
        self.outcome.missing.extend(waits.map(|(name, epoch)| (Life { name, epoch }, why.clone())));
    }
}

/// A broadcast for a member that has not confirmed it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resend {
    pub(super) to: Life,
    pub(super) item: Arc<Item>,
}

/// The origin's side.
#[derive(Debug, Default)]
pub(super) struct Confirmations {
    /// By this node's epoch, which may rise, and the broadcast's number.
    open: BTreeMap<(u64, u64), Open>,
    closed: bool,
}

impl Confirmations {
    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= MAX_OPEN
    }

    pub(super) fn open(
        &mut self,
        now: Time,
        item: Arc<Item>,
        timeout: Duration,
        asked: Vec<Life>,
        caller: Sender<Outcome>,
    ) {
        if self.closed {
            // The caller notices the end when its channel is dropped.
            return;
        }
        let waits = asked.into_iter().map(|life| (life.name, life.epoch)).collect();
        let step = if item.is_large() { STEPS } else { HALF };
        let (by_stream, outcome) = (BTreeSet::new(), Outcome::default());
        let open = Open { began: now, timeout, step, waits, by_stream, outcome, caller, item };
        let id = (open.item.origin.epoch, open.item.seq);
        self.open.insert(id, open);
        self.close_if_settled(id);
    }

    /// A member has received a broadcast.
    pub(super) fn confirmed(&mut self, now: Time, by: &Life, epoch: u64, seq: u64) {
        let Some(open) = self.open.get_mut(&(epoch, seq)) else { return };
        if open.waits.get(&by.name) != Some(&by.epoch) {
            return;
        }
        open.waits.remove(&by.name);
        open.by_stream.remove(&by.name);
        open.outcome.reached.push((Arc::clone(&by.name), now.since(open.began)));
        open.outcome.repaired += usize::from(open.step > HALF && !open.item.is_large());
        self.close_if_settled((epoch, seq));
    }

    /// A member could not be sent a large broadcast, or did not accept it.
    pub(super) fn refused(&mut self, by: &Life, epoch: u64, seq: u64) {
        if let Some(open) = self.open.get_mut(&(epoch, seq))
            && open.waits.get(&by.name) == Some(&by.epoch)
        {
            open.settle(&by.name, Unconfirmed::Silent);
        }
        self.close_if_settled((epoch, seq));
    }

    /// The life of a member and all lives before it have ended. A later life may already be known.
    pub(super) fn gone(&mut self, name: &str, epoch: u64, why: Unconfirmed) {
        let ids: Vec<_> = self.open.keys().copied().collect();
        for id in ids {
            if let Some(open) = self.open.get_mut(&id)
                && open.waits.get(name).is_some_and(|waits| *waits <= epoch)
            {
                open.settle(name, why.clone());
            }
            self.close_if_settled(id);
        }
    }

    /// A life of a member has begun: those before it have ended.
    pub(super) fn joined(&mut self, life: &Life) {
        if let Some(before) = life.epoch.checked_sub(1) {
            self.gone(&life.name, before, Unconfirmed::Failed);
        }
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.open.values().map(Open::next).min()
    }

    /// Runs work that is due: after half of the time, the broadcast is sent directly, a few times, to members that have not
    /// confirmed it.
    pub(super) fn expire(&mut self, now: Time, resend: &mut VecDeque<Resend>) {
        let due: Vec<_> =
            self.open.iter().filter(|(_, open)| open.next() <= now).map(|(id, _)| *id).collect();
        for id in due {
            let Some(open) = self.open.get_mut(&id) else { continue };
            if now >= open.ends() {
                open.settle_all(&Unconfirmed::Silent);
            } else {
                let Open { waits, item, .. } = &*open;
                let waits = waits.iter().filter(|_| !item.is_large());
                resend.extend(waits.map(|(name, epoch)| Resend {
                    to: Life { name: Arc::clone(name), epoch: *epoch },
                    item: Arc::clone(item),
                }));
                if open.step == BY_STREAM {
                    open.by_stream = open.waits.keys().cloned().collect();
                }
                open.step += 1;
            }
            self.close_if_settled(id);
        }
    }

    /// The next member that is to get what it lacks by stream as well, of those with which a sync may begin, and how long that
    /// may take: one that is out of reach leaves time for three others.
    pub(super) fn poll_by_stream(
        &mut self,
        now: Time,
        may_begin: impl Fn(&Life) -> bool,
    ) -> Option<(Life, Duration)> {
        let life = self.open.values().filter(|open| now < open.ends()).find_map(|open| {
            let waits =
                |name: &Arc<str>| Some(Life { name: Arc::clone(name), epoch: *open.waits.get(name)? });
            open.by_stream.iter().filter_map(waits).find(&may_begin)
        })?;
        // It gets all that it lacks in one sync.
        let its = self.open.values_mut().filter(|open| open.by_stream.contains(&life.name));
        let limits = its.map(|open| {
            let limit = open.ends().since(now) / open.by_stream.len().min(LEFT_BY_EACH) as u32;
            open.by_stream.remove(&life.name);
            limit
        });
        let limit = limits.max()?;
        Some((life, limit))
    }

    /// This node leaves: callers are told what was confirmed until then.
    pub(super) fn abandon(&mut self) {
        for mut open in std::mem::take(&mut self.open).into_values() {
            open.settle_all(&Unconfirmed::Abandoned);
            open.report();
        }
    }

    /// The node ends: waiting callers notice it by their channel.
    pub(super) fn close(&mut self) {
        *self = Self { closed: true, ..Self::default() };
    }

    fn close_if_settled(&mut self, id: (u64, u64)) {
        if self.open.get(&id).is_some_and(|open| open.waits.is_empty())
            && let Some(open) = self.open.remove(&id)
        {
            open.report();
        }
    }
}

impl Broadcasts {
    /// [`broadcast`](Self::broadcast), with a report of the confirmations to a caller. Also returns the members that are
    /// asked to confirm.
    pub(crate) fn broadcast_confirmed(
        &mut self,
        now: Time,
        node: &Node,
        topic: &str,
        payload: &[u8],
        timeout: Duration,
        caller: Sender<Outcome>,
    ) -> Result<(Arc<Item>, Vec<Life>), TooMany> {
        if self.confirmations.is_full() {
            return Err(TooMany::Confirmed);
        }
        let item = self.broadcast(now, node, topic, payload, CONFIRM)?;
        let n = node.live();
        let mut asked = node.live_lives();
        asked.retain(|life| item.is_large() || is_sampled(&life.name, item.seq, n));
        self.confirmations.open(now, Arc::clone(&item), timeout, asked.clone(), caller);
        Ok((item, asked))
    }

    /// This node leaves: no confirmation is waited for any more.
    pub(in crate::data) fn abandon(&mut self) {
        self.confirmations.abandon();
    }

    /// A member has confirmed a broadcast of this node.
    pub(crate) fn on_confirm(&mut self, now: Time, from: &Life, confirm: Confirm) {
        self.confirmations.confirmed(now, from, confirm.epoch, confirm.seq);
    }
}

/// Whether a member is of the sample of `n` that confirms a broadcast.
pub(super) fn is_sampled(name: &str, seq: u64, n: usize) -> bool {
    let n = n as u64;
    n <= SAMPLE || hash::entry(name, seq, 0) <= u64::MAX / n * SAMPLE
}

/// The receivers' side: Confirms that wait for a packet to the origin.
#[derive(Debug, Default)]
pub(super) struct PendingConfirms {
    to: BTreeMap<Life, Pending>,
    /// The accounts of the origins.
    shares: Shares,
    next: Option<Time>,
    /// How many datagrams may be sent in answer to arrived ones: one datagram may hold broadcasts of many origins.
    may_send: usize,
}

#[derive(Debug)]
struct Pending {
    account: Option<Account>,
    due: Time,
    rides: bool,
    seqs: Vec<u64>,
}

impl PendingConfirms {
    /// Adds a confirmation, which is due after a time that depends on the size of the cluster, or at once.
    pub(super) fn add(&mut self, now: Time, to: &Life, account: Option<Account>, seq: u64, spread: Duration) {
        let due = now + spread;
        if !self.to.contains_key(to) {
            if !self.shares.has_room(account, (1, 0), (MAX_PENDING.0, usize::MAX)) {
                return;
            }
            self.shares.add(account, (1, 0));
        }
        let pending = self.to.entry(to.clone()).or_insert_with(|| Pending {
            account,
            due,
            rides: false,
            seqs: Vec::new(),
        });
        if !pending.seqs.contains(&seq) {
            if pending.seqs.len() == MAX_PENDING.1 {
                pending.seqs.remove(0);
            }
            pending.seqs.push(seq);
        }
        if pending.rides || due < pending.due {
            (pending.due, pending.rides) = (due, false);
        }
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.next
    }

    /// A datagram arrived, so this node may send one.
    pub(super) fn earn(&mut self) {
        self.may_send = (self.may_send + 1).min(MAX_CREDIT);
    }

    /// Whether a datagram may be sent in answer to one that arrived; counts it.
    pub(super) fn spend(&mut self) -> bool {
        let may = self.may_send > 0;
        self.may_send -= usize::from(may);
        may
    }

    /// Takes the confirmations for a member, each with its epoch then, while `put` fits them into a packet. The others wait
    /// for the next packet.
    pub(super) fn take(&mut self, to: &Life, mut put: impl FnMut(u64, u64) -> bool) {
        let first = Life { name: Arc::clone(&to.name), epoch: 0 };
        while let Some((life, pending)) = self.to.range_mut(&first..=to).next() {
            let fit = pending.seqs.iter().take_while(|seq| put(life.epoch, **seq)).count();
            pending.seqs.drain(..fit);
            if !pending.seqs.is_empty() {
                return;
            }
            let life = life.clone();
            self.remove(&life);
            self.look();
        }
    }

    fn remove(&mut self, to: &Life) -> Option<Pending> {
        let pending = self.to.remove(to)?;
        self.shares.remove(pending.account, (1, 0));
        Some(pending)
    }

    /// The next Confirm that is due, once. If it is not sent then, it waits for a packet that goes to the origin anyway.
    pub(super) fn due(&mut self, now: Time) -> Option<Life> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        let is_due = |(_, pending): &(&Life, &Pending)| pending.due <= now;
        let life = self.to.iter().find(is_due).map(|(life, _)| life.clone());
        if let Some(pending) = life.as_ref().and_then(|life| self.to.get_mut(life)) {
            if pending.rides {
                self.remove(&life?);
                self.look();
                return self.due(now);
            }
            (pending.due, pending.rides) = (now + RIDE, true);
        }
        self.look();
        life
    }

    fn look(&mut self) {
        self.next = self.to.values().map(|pending| pending.due).min();
    }
}

/// The time over which this many members spread their confirmations.
pub(super) fn spread(n: usize) -> Duration {
    (SPREAD / SAMPLE as u32).saturating_mul(n.min(SAMPLE as usize) as u32)
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{TryRecvError, bounded};

    use super::{
        super::tests::{item, life},
        *,
    };

    const BEGIN: Time = Time::from_origin(Duration::from_secs(100));
    const LIMIT: Duration = Duration::from_secs(4);

    #[test]
    fn a_confirmed_broadcast_ends_with_the_last_confirmation() {
        let (mut confirmations, (caller, told)) = (Confirmations::default(), bounded(1));
        let asked = vec![life("a", 1), life("b", 1), life("c", 2)];
        confirmations.open(BEGIN, item("me", 1, 1), LIMIT, asked, caller);
        let after = BEGIN + Duration::from_millis(5);
        confirmations.confirmed(after, &life("a", 1), 1, 1);
        confirmations.confirmed(after, &life("a", 1), 1, 1);
        confirmations.confirmed(after, &life("b", 9), 1, 1);
        confirmations.confirmed(after, &life("b", 1), 2, 1);
        confirmations.joined(&life("c", 3));
        assert!(told.is_empty());
        confirmations.confirmed(after, &life("b", 1), 1, 1);
        let outcome = told.try_recv().unwrap();
        let five = Duration::from_millis(5);
        assert_eq!((outcome.repaired, confirmations.next()), (0, None));
        assert_eq!(outcome.reached, [("a".into(), five), ("b".into(), five)]);
        assert!(matches!(&outcome.missing[..], [(life, Unconfirmed::Failed)] if *life.name == *"c"));
    }

    #[test]
    fn a_silent_member_is_sent_the_broadcast_directly_then_by_stream_and_then_named() {
        let (mut confirmations, mut resend) = (Confirmations::default(), VecDeque::new());
        let (caller, told) = bounded(1);
        confirmations.open(BEGIN, item("me", 1, 1), LIMIT, vec![life("a", 1), life("b", 1)], caller);
        let mut step = |step: u32| {
            let now = BEGIN + LIMIT / STEPS * step;
            assert_eq!(confirmations.next(), Some(now));
            confirmations.expire(now, &mut resend);
            assert_eq!(confirmations.poll_by_stream(now, |_| false), None, "no sync may begin");
            let by_stream = confirmations.poll_by_stream(now, |_| true);
            assert_eq!(by_stream, (step == BY_STREAM).then(|| (life("b", 1), LIMIT / 4)));
            if step == HALF {
                confirmations.confirmed(now, &life("a", 1), 1, 1);
            }
            resend.drain(..).count()
        };
        let sent: Vec<_> = (HALF..=STEPS).map(&mut step).collect();
        assert_eq!((sent[0], sent[STEPS as usize / 2]), (2, 0));
        assert!(sent[1..STEPS as usize / 2].iter().all(|count| *count == 1), "{sent:?}");
        let outcome = told.try_recv().unwrap();
        assert_eq!(outcome.repaired, 1);
        assert!(matches!(&outcome.missing[..], [(life, Unconfirmed::Silent)] if *life.name == *"b"));
    }

    #[test]
    fn a_member_gets_all_that_it_lacks_in_one_stream_and_nothing_that_it_has_confirmed_meanwhile() {
        let (mut confirmations, (caller, _told)) = (Confirmations::default(), bounded(2));
        // The second one has eight times as long left when it is time for both.
        let now = BEGIN + LIMIT * 8;
        for (seq, limit) in [(1, LIMIT), (2, LIMIT * 8)] {
            let asked = vec![life("a", 1), life("b", 1), life("c", 1)];
            let began = BEGIN + (LIMIT * 8 - limit * 3 / 4);
            confirmations.open(began, item("me", 1, seq), limit, asked, caller.clone());
        }
        (HALF..=BY_STREAM).for_each(|_| confirmations.expire(now, &mut VecDeque::new()));
        (1..=2).for_each(|seq| confirmations.confirmed(now, &life("a", 1), 1, seq));
        let mut next = || confirmations.poll_by_stream(now, |life| *life.name != *"b");
        assert_eq!(
            [next(), next()],
            [Some((life("c", 1), LIMIT)), None],
            "two wait for two seconds of the other"
        );
        let free = confirmations.poll_by_stream(now, |_| true).map(|(life, _)| life);
        assert_eq!(free, Some(life("b", 1)), "once a sync with it may begin");
    }

    #[test]
    fn a_broadcast_without_recipients_is_answered_at_once() {
        let (mut confirmations, (caller, told)) = (Confirmations::default(), bounded(1));
        confirmations.open(BEGIN, item("me", 1, 1), LIMIT, Vec::new(), caller);
        assert_eq!(told.try_recv(), Ok(Outcome::default()));
    }

    /// A caller may arrive between the end and the time at which it notices the end.
    #[test]
    fn a_caller_that_comes_after_the_end_is_disconnected_at_once() {
        let (mut confirmations, (caller, told)) = (Confirmations::default(), bounded(1));
        confirmations.close();
        confirmations.open(BEGIN, item("me", 1, 1), LIMIT, vec![life("a", 1)], caller);
        assert_eq!((told.try_recv(), confirmations.next()), (Err(TryRecvError::Disconnected), None));
    }

    /// A restart causes two events, and a caller may arrive before both.
    #[test]
    fn the_end_of_an_earlier_life_says_nothing_of_the_present_one() {
        let (mut confirmations, (caller, told)) = (Confirmations::default(), bounded(1));
        confirmations.open(BEGIN, item("me", 1, 1), LIMIT, vec![life("a", 2)], caller);
        confirmations.gone("a", 1, Unconfirmed::Failed);
        confirmations.joined(&life("a", 1));
        confirmations.joined(&life("a", 2));
        assert!(told.is_empty());
        confirmations.confirmed(BEGIN, &life("a", 2), 1, 1);
        assert!(told.try_recv().unwrap().missing.is_empty());
    }

    #[test]
    fn the_same_number_of_two_lives_is_two_broadcasts() {
        let (mut confirmations, (first, first_told)) = (Confirmations::default(), bounded(1));
        let (second, second_told) = bounded(1);
        confirmations.open(BEGIN, item("me", 1, 1), LIMIT, vec![life("a", 1)], first);
        confirmations.open(BEGIN, item("me", 2, 1), LIMIT, vec![life("a", 1)], second);
        confirmations.confirmed(BEGIN, &life("a", 1), 1, 1);
        assert_eq!((first_told.try_recv().unwrap().reached.len(), second_told.is_empty()), (1, true));
    }

    #[test]
    fn of_a_large_cluster_about_256_confirm() {
        for n in [256, 300, 1_000, 10_000, 65_000] {
            let sampled = (0..n).filter(|i| is_sampled(&format!("node-{i}"), 7, n)).count();
            assert!(sampled.abs_diff(256) < 60, "{sampled} of {n}");
        }
        let of =
            |seq| (0..1_000).filter(|i| is_sampled(&format!("node-{i}"), seq, 1_000)).collect::<Vec<_>>();
        assert_ne!(of(1), of(2), "others each time");
    }

    /// A packet with room for so many.
    fn take(pending: &mut PendingConfirms, to: &Life, room: usize) -> Vec<u64> {
        let mut taken = Vec::new();
        pending.take(to, |_, seq| {
            let fits = taken.len() < room;
            taken.extend(fits.then_some(seq));
            fits
        });
        taken
    }

    /// Confirms that do not fit wait for the next packet.
    #[test]
    fn confirms_that_wait_are_bounded_and_go_once() {
        let mut pending = PendingConfirms::default();
        for origin in 0..1_000 {
            (0..50).for_each(|seq| pending.add(BEGIN, &life("o", origin), Some(1.into()), seq, SPREAD));
        }
        assert_eq!((pending.to.len(), pending.due(BEGIN)), (MAX_PENDING.0 / 2, None));
        let now = BEGIN + SPREAD;
        let first = pending.due(now).unwrap();
        assert_eq!([3, 99, 99].map(|room| take(&mut pending, &first, room).len()), [3, MAX_PENDING.1 - 3, 0]);
        while pending.due(now).is_some() {}
        assert_eq!(pending.next(), Some(now + RIDE));
        assert_eq!((pending.due(now + RIDE), pending.to.len()), (None, 0), "nothing went there");
        assert_eq!(pending.shares.all(), (0, 0));
    }

    #[test]
    fn names_of_one_host_leave_room_for_confirms_to_other_hosts() {
        let mut pending = PendingConfirms::default();
        (0..1_000).for_each(|origin| pending.add(BEGIN, &life("o", origin), Some(1.into()), 1, SPREAD));
        let other = life("b", 1);
        pending.add(BEGIN, &other, Some(2.into()), 1, SPREAD);
        assert_eq!((pending.to.len(), take(&mut pending, &other, 99)), (MAX_PENDING.0 / 2 + 1, vec![1]));
    }

    /// The first one found no datagram to the origin, as it did not earn one.
    #[test]
    fn a_confirm_that_waits_for_a_packet_is_not_dropped_for_a_later_one() {
        let (mut pending, origin) = (PendingConfirms::default(), life("a", 1));
        let second = Duration::from_secs(1);
        for (at, seq) in [(BEGIN, 1), (BEGIN + second, 2)] {
            pending.add(at, &origin, None, seq, Duration::ZERO);
            assert_eq!(pending.due(at), Some(origin.clone()));
        }
        pending.add(BEGIN + second + (RIDE - SPREAD / 2), &origin, None, 3, SPREAD);
        assert_eq!(pending.due(BEGIN + second + RIDE), None);
        let mut confirmed = Vec::new();
        pending.take(&origin, |_, seq| {
            confirmed.push(seq);
            true
        });
        assert_eq!(confirmed, [1, 2, 3]);
    }
}
