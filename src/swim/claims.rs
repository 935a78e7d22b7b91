//! What a claim about another member changes.
//!
//! One rule decides all: a claim wins if (epoch, incarnation, state) is greater than what the table holds,
//! compared in that order, with alive < suspect < failed < left. Equal claims change nothing, except that one
//! more accuser may shorten a suspicion. So news may arrive in any order, twice or never, and tables still
//! converge.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    event::Event,
    member::{Identity, MemberId, MemberState, Record},
    node::Node,
    self_claims::Accusation,
    time::Time,
    timers::Timer,
    updates::Urgency,
    validation::Sender,
};
use crate::wire::{
    Tags, hash,
    message::{Alive, Departed, Failed, Left, Message},
};

const YEAR: u64 = 365 * 24 * 3600 * 1000;
/// The latest epoch that a node takes from its clock: the year 2100, in milliseconds since 1970.
const LATEST_START: u64 = 4_102_444_800_000;
/// The latest epoch that others are believed about a member, 25 years on: the same for every node and every claim,
/// whatever its clock says. But the one that is held can always be superseded.
const LATEST: u64 = LATEST_START + 25 * YEAR;
/// The latest epoch that a member itself is believed.
const LATEST_OWN: u64 = 1 << 62;
/// How far ahead of the incarnation that we know of a life another may be: far more than a member refutes between two
/// exchanges.
const INCARNATION_AHEAD: u64 = 1 << 20;
/// The highest incarnation of a life that we hear of for the first time. A refutation from there on begins a new epoch.
const LAST_INCARNATION: u64 = 1 << 40;

/// Live members that may claim one address: more than one only while a process is replaced by another of another name.
const MAX_AT_ADDR: usize = 4;
/// Records whose names have the same mark.
const MAX_OF_MARK: usize = 4;
/// Those that are told of their departure; the first makes room.
const MAX_LATELY_DEPARTED: usize = 1024;

/// The epoch that a node begins with. Clocks beyond the bound tell lives apart no more, chance does: a life must not begin
/// as one that has said good-bye.
pub(super) fn first_epoch(clock: u64, rng: &mut fastrand::Rng) -> u64 {
    if clock < LATEST_START { clock } else { LATEST_START + rng.u64(..YEAR) }
}

/// What a member says next, so that it supersedes a claim about it. Where not everybody might follow its
/// incarnation so far, it begins the next epoch, which all can who took the claim.
pub(super) fn superseding(ours: Identity, claimed: Identity) -> Identity {
    let Identity { epoch, incarnation } = claimed;
    let jumps = epoch == ours.epoch && incarnation > ours.incarnation.saturating_add(INCARNATION_AHEAD / 2);
    if jumps || incarnation >= LAST_INCARNATION {
        Identity { epoch: epoch.saturating_add(1), incarnation: 0 }
    } else {
        Identity { epoch, incarnation: incarnation + 1 }
    }
}

impl Node {
    pub(super) fn on_alive(&mut self, claim: &Alive<'_>, by_itself: bool) {
        if !self.config.allows(claim.addr.ip()) && claim.addr != self.table.get(MemberId::SELF).addr {
            self.metrics.dropped_not_allowed += 1;
            return;
        }
        let identity = Identity { epoch: claim.epoch, incarnation: claim.incarnation };
        if claim.name == &*self.name {
            return self.on_own_alive(identity, claim.addr, claim.tags);
        }
        let known = self.table.find(claim.name);
        if let Some(id) = known.filter(|id| self.is_contested(*id, claim)) {
            // Which of the two is there, only it can say: suspected, it does.
            if self.raise_suspicion(id, identity) {
                self.spread(id, Urgency::Urgent);
            }
            return;
        }
        if known.is_some_and(|id| identity <= self.table.get(id).identity)
            || !self.check_plausible(known, identity, by_itself)
        {
            return;
        }
        let Ok(tags) = Tags::from_encoded(claim.tags) else {
            self.metrics.dropped_malformed += 1;
            return;
        };
        match known {
            Some(id) if !by_itself && self.knows_better(id) => self.doubt_return(id, claim),
            Some(id) if self.table.get(id).addr != claim.addr && !self.has_room_at(claim.addr) => {
                self.metrics.refused_members += 1;
            }
            Some(id) if self.table.get(id).state.is_live() => self.renew(id, identity, claim.addr, tags),
            _ if !self.has_room_at(claim.addr)
                || known.is_none() && !self.has_room_for_mark(claim.name)
                || !self.make_room_for_live(known) =>
            {
                self.metrics.refused_members += 1;
            }
            Some(id) => self.revive(id, identity, claim.addr, tags),
            None => {
                let mut record = self.record(claim.name, claim.addr, MemberState::Alive, identity);
                record.tags = tags;
                let id = self.table.insert(record, &mut self.rng);
                self.emit_member(Event::Joined, id);
                self.spread(id, Urgency::Routine);
            }
        }
    }

    /// Whether a live member says two things under one identity, two addresses or two sets of tags: two processes that never
    /// heard of each other took it, and neither claim would ever win.
    fn is_contested(&self, id: MemberId, claim: &Alive<'_>) -> bool {
        let record = self.table.get(id);
        record.state.is_live()
            && record.identity == Identity { epoch: claim.epoch, incarnation: claim.incarnation }
            && (record.addr != claim.addr || record.tags.encoded() != claim.tags)
    }

    /// Whether our own probes say that a member is gone, against somebody else's word that it is where it was. It will be
    /// heard when it speaks for itself, or answers.
    pub(super) fn knows_better(&self, id: MemberId) -> bool {
        let record = self.table.get(id);
        record.state != MemberState::Alive && record.contact.is_missed()
    }

    /// Somebody else says that it is there after all. Elsewhere it can be asked.
    fn doubt_return(&mut self, id: MemberId, claim: &Alive<'_>) {
        self.metrics.ignored_returns += 1;
        if self.table.get(id).addr != claim.addr {
            self.ask_whether_it_returned(claim);
        }
    }

    fn has_room_at(&self, addr: SocketAddr) -> bool {
        self.table.count_at_addr(addr, MAX_AT_ADDR) < MAX_AT_ADDR
    }

    /// Names can be chosen so that their marks are the same.
    fn has_room_for_mark(&self, name: &str) -> bool {
        self.table.count_mark(hash::member(name), MAX_OF_MARK) < MAX_OF_MARK
    }

    /// Whether one more may be listed. In a full table whoever never answered makes room, and a
    /// sixteenth of it is kept for those that return.
    fn make_room_for_live(&mut self, known: Option<MemberId>) -> bool {
        let returns = known.is_some_and(|id| self.table.get(id).contact.verified);
        let kept = if returns { 0 } else { self.config.max_members / 16 };
        if self.table.live() < self.config.max_members - kept {
            return true;
        }
        let Some(unverified) = self.table.any_unverified(&mut self.rng) else { return false };
        self.metrics.evicted_members += 1;
        self.evict(unverified);
        true
    }

    /// Takes a live member out of the table that never answered.
    fn evict(&mut self, id: MemberId) {
        self.timers.cancel(Timer::Suspicion(id));
        self.table.update(id, &mut self.rng, |record| {
            (record.state, record.suspicion) = (MemberState::Failed, None);
        });
        self.emit_member(Event::Reaped, id);
        self.forget(id);
    }

    /// Whether a sender says something of itself that is older than what we know: somebody else has spoken in its name.
    pub(super) fn is_outdated(&self, claim: &Message<'_>, sender: &Sender) -> bool {
        let (name, epoch, incarnation) = match claim {
            Message::Alive(claim) => (claim.name, claim.epoch, claim.incarnation),
            Message::Left(claim) => (claim.name, claim.epoch, claim.incarnation),
            _ => return false,
        };
        let record = self.id_of(sender).map(|id| self.table.get(id)).filter(|record| &*record.name == name);
        record.is_some_and(|record| Identity { epoch, incarnation } < record.identity)
    }

    /// A live member has a new word to say: other tags, another address, a refutation, or a new life.
    fn renew(&mut self, id: MemberId, identity: Identity, addr: SocketAddr, tags: Tags) {
        let old = self.table.get(id);
        let restarted = old.identity.epoch != identity.epoch;
        let changed = old.state != MemberState::Alive || old.addr != addr || old.tags != tags;
        if restarted {
            let failed = MemberState::Failed;
            let past = super::Member { state: failed, ..old.view() };
            self.emit(super::Output::Event(Event::Failed(past)));
        }
        self.settle(id, identity, addr, tags);
        if restarted {
            self.emit_member(Event::Joined, id);
        } else if changed {
            self.emit_member(Event::Updated, id);
        }
        self.spread(id, Urgency::Routine);
    }

    /// A departed member is back.
    fn revive(&mut self, id: MemberId, identity: Identity, addr: SocketAddr, tags: Tags) {
        self.timers.cancel(Timer::Reap(id));
        let past = self.table.get(id).view();
        self.settle(id, identity, addr, tags);
        self.lately_departed.retain(|departed| *departed != id);
        if past.state == MemberState::Failed && past.identity.epoch == identity.epoch {
            self.tell_verdict(id, &past);
        }
        self.emit_member(Event::Joined, id);
        self.spread(id, Urgency::Routine);
    }

    fn settle(&mut self, id: MemberId, identity: Identity, addr: SocketAddr, tags: Tags) {
        let now = self.now;
        self.timers.cancel(Timer::Suspicion(id));
        self.table.update(id, &mut self.rng, |record| {
            if record.state != MemberState::Alive {
                record.since = now;
            }
            if record.identity.epoch != identity.epoch {
                record.contact.begin_anew();
            }
            record.state = MemberState::Alive;
            (record.identity, record.addr, record.tags) = (identity, addr, tags);
            (record.suspicion, record.tombstone) = (None, false);
        });
        self.reconnects.forget(&self.table.get(id).name);
    }

    pub(super) fn on_failed(&mut self, claim: &Failed<'_>) {
        let identity = Identity { epoch: claim.epoch, incarnation: claim.incarnation };
        self.repeat_left(claim.name, identity);
        self.apply_departure(claim.name, identity, MemberState::Failed, Duration::ZERO, false);
    }

    /// Who accuses a member that said good-bye has not heard of it: news may die out before all have it. It is news again.
    pub(super) fn repeat_left(&mut self, name: &str, accused: Identity) {
        let Some(id) = self.table.find(name).filter(|id| *id != MemberId::SELF) else { return };
        let record = self.table.get(id);
        let left = record.state == MemberState::Left && !record.tombstone;
        let same = accused.epoch == record.identity.epoch && accused <= record.identity;
        if left && same && !self.updates.contains(id) {
            self.spread(id, Urgency::Urgent);
        }
    }

    pub(super) fn on_left(&mut self, claim: &Left<'_>, by_itself: bool) {
        let identity = Identity { epoch: claim.epoch, incarnation: claim.incarnation };
        self.apply_departure(claim.name, identity, MemberState::Left, Duration::ZERO, by_itself);
    }

    /// From a sync. A failure told this way may be a partition's: the member gets a chance to refute. But
    /// the teller has waited for confirmations already, so we do not.
    pub(super) fn on_departed(&mut self, claim: &Departed<'_>) {
        let identity = Identity { epoch: claim.epoch, incarnation: claim.incarnation };
        let state = if claim.left { MemberState::Left } else { MemberState::Failed };
        if !claim.left
            && claim.name != &*self.name
            && let Some(id) = self.suspectable(claim.name, identity)
        {
            if self.raise_suspicion(id, identity) {
                self.spread(id, Urgency::Urgent);
            }
            self.hasten_suspicion(id);
            return;
        }
        self.apply_departure(claim.name, identity, state, Duration::from_secs(claim.age_secs), false);
    }

    fn apply_departure(
        &mut self,
        name: &str,
        identity: Identity,
        state: MemberState,
        age: Duration,
        by_itself: bool,
    ) {
        if name == &*self.name {
            return self.on_own_accusation(identity, Accusation::Departed);
        }
        let known = self.table.find(name);
        let wins = known.is_none_or(|id| {
            let record = self.table.get(id);
            (identity, state) > (record.identity, record.state)
        });
        if !wins || !self.check_plausible(known, identity, false) || age >= self.config.forget_after {
            return;
        }
        let since = Time::from_origin(self.now.since_origin().saturating_sub(age));
        match known {
            Some(id) => self.depart(id, identity, state, since, by_itself),
            None if self.has_room_for_mark(name) => self.insert_tombstone(name, identity, state, since),
            None => self.metrics.refused_members += 1,
        }
    }

    /// A member we knew is gone, or more is heard of one that is.
    pub(super) fn depart(
        &mut self,
        id: MemberId,
        identity: Identity,
        state: MemberState,
        since: Time,
        by_itself: bool,
    ) {
        self.timers.cancel(Timer::Suspicion(id));
        let old = self.table.get(id).state;
        let since = if old.is_live() { self.now } else { since };
        self.table.update(id, &mut self.rng, |record| {
            (record.state, record.identity, record.since) = (state, identity, since);
            record.suspicion = None;
        });
        let record = self.table.get(id);
        let (name, addr, shown) = (Arc::clone(&record.name), record.addr, !record.tombstone);
        match state {
            MemberState::Failed if old.is_live() => {
                self.reconnect_later(id, name, addr);
            }
            // More is heard of its failure: it is tried as before.
            MemberState::Failed if old == MemberState::Failed => {}
            _ => self.reconnects.forget(&name),
        }
        // Whoever did not say so itself is told, so that it can refute.
        if old.is_live() && !by_itself && !self.lately_departed.contains(&id) {
            if self.lately_departed.len() == MAX_LATELY_DEPARTED {
                self.lately_departed.remove(0);
            }
            self.lately_departed.push(id);
        }
        if old != state && shown {
            self.emit_member(if state == MemberState::Left { Event::Left } else { Event::Failed }, id);
        }
        self.schedule_reap(id);
        self.spread(id, Urgency::Urgent);
        self.make_room_for_departed();
    }

    /// A departure of somebody we never met is remembered, so that older news cannot bring it to life.
    fn insert_tombstone(&mut self, name: &str, identity: Identity, state: MemberState, since: Time) {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut record = self.record(name, nowhere, state, identity);
        (record.since, record.tombstone) = (since, true);
        let id = self.table.insert(record, &mut self.rng);
        self.schedule_reap(id);
        self.make_room_for_departed();
    }

    fn record(&self, name: &str, addr: SocketAddr, state: MemberState, identity: Identity) -> Record {
        Record::new(Arc::from(name), addr, state, identity, self.now)
    }

    fn schedule_reap(&mut self, id: MemberId) {
        let record = self.table.get(id);
        let after = match record.state {
            _ if record.tombstone => self.config.forget_after,
            MemberState::Left => self.config.reap_left_after,
            _ => self.config.reap_failed_after,
        };
        self.timers.set(Timer::Reap(id), record.since + after);
    }

    /// First a departed member is listed no longer, later its identity is forgotten.
    pub(super) fn reap(&mut self, id: MemberId) {
        let record = self.table.get(id);
        let forgotten = self.now.since(record.since) >= self.config.forget_after;
        if !record.tombstone {
            self.emit_member(Event::Reaped, id);
            self.table.update(id, &mut self.rng, |record| record.tombstone = true);
            self.schedule_reap(id);
        }
        if forgotten {
            self.forget(id);
        }
    }

    fn make_room_for_departed(&mut self) {
        while self.table.departed() > self.config.max_departed {
            let Some(id) = self.table.first_to_forget() else { return };
            self.metrics.evicted_departed += 1;
            if !self.table.get(id).tombstone {
                self.emit_member(Event::Reaped, id);
            }
            self.forget(id);
        }
    }

    fn forget(&mut self, id: MemberId) {
        self.timers.cancel(Timer::Reap(id));
        self.updates.remove(id);
        self.carrier.forget(&self.table.get(id).name);
        self.lately_departed.retain(|departed| *departed != id);
        self.table.forget(id);
    }

    /// Whether an identity can be honest; if not, it is counted. The same bounds for every claim: whatever is believed
    /// of a member, that member can supersede, and be believed by all who believed it.
    pub(super) fn check_plausible(
        &mut self,
        known: Option<MemberId>,
        claimed: Identity,
        by_itself: bool,
    ) -> bool {
        let known = known.map(|id| self.table.get(id).identity);
        let latest = if by_itself { LATEST_OWN } else { LATEST };
        let latest = known.map_or(latest, |known| latest.max(known.epoch.saturating_add(1)));
        let highest = known
            .filter(|known| known.epoch == claimed.epoch)
            .map_or(LAST_INCARNATION, |known| known.incarnation.saturating_add(INCARNATION_AHEAD));
        let plausible = claimed.epoch <= latest && claimed.incarnation <= highest;
        self.metrics.dropped_implausible += u64::from(!plausible);
        plausible
    }
}
