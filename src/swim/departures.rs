//! Departed members: failed or left, and remembered as tombstones once they are no longer listed.
//!
//! The identity of a departed member is kept for `forget_after`, so that no old update brings it back.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    event::{Event, Origin},
    history::Observation,
    member::{Identity, MemberId, MemberState},
    node::Node,
    self_claims::Accusation,
    time::Time,
    timers::Timer,
    updates::Urgency,
};
use crate::wire::message::{Departed, Failed, Left};

/// Members that are told of their departure; the first makes room.
const MAX_LATELY_DEPARTED: usize = 1024;

impl Node {
    pub(super) fn on_failed(&mut self, claim: &Failed<'_>) {
        let identity = Identity { epoch: claim.epoch, incarnation: claim.incarnation };
        self.repeat_left(claim.name, identity);
        self.apply_departure(claim.name, identity, MemberState::Failed, Duration::ZERO, Origin::Others);
    }

    pub(super) fn on_left(&mut self, claim: &Left<'_>, by_itself: bool) {
        let identity = Identity { epoch: claim.epoch, incarnation: claim.incarnation };
        let by = if by_itself { Origin::Member } else { Origin::Others };
        self.apply_departure(claim.name, identity, MemberState::Left, Duration::ZERO, by);
    }

    /// A departed member in a table (push/pull). It may have failed for a partition's sake, so it is suspected first and may
    /// refute. The other node has waited for confirmations already: this one does not.
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
        let age = Duration::from_secs(claim.age_secs);
        self.apply_departure(claim.name, identity, state, age, Origin::Others);
    }

    /// An accusation of a member that left: the accuser has missed the update, so it is queued again.
    pub(super) fn repeat_left(&mut self, name: &str, accused: Identity) {
        let Some(id) = self.table.find(name).filter(|id| *id != MemberId::SELF) else { return };
        let record = self.table.get(id);
        let left = record.state == MemberState::Left && !record.tombstone;
        let same = accused.epoch == record.identity.epoch && accused <= record.identity;
        if left && same && !self.updates.contains(id) {
            self.spread(id, Urgency::Urgent);
        }
    }

    fn apply_departure(
        &mut self,
        name: &str,
        identity: Identity,
        state: MemberState,
        age: Duration,
        by: Origin,
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
            Some(id) => self.depart(id, identity, state, since, by),
            None if self.has_room_for_mark(name) => self.insert_tombstone(name, identity, state, since),
            None => self.metrics.refused_members += 1,
        }
    }

    /// A known member departed, or a greater claim about a departed one arrived.
    pub(super) fn depart(
        &mut self,
        id: MemberId,
        identity: Identity,
        state: MemberState,
        since: Time,
        by: Origin,
    ) {
        self.timers.cancel(Timer::Suspicion(id));
        let record = self.table.get(id);
        let old = record.state;
        let verdict = (state == MemberState::Failed).then(|| record.verdict(&self.name, self.now, by));
        let since = match old {
            _ if old.is_live() => self.now,
            _ if old == state => record.since,
            _ => since,
        };
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
            // It is tried as before, if it is.
            MemberState::Failed => {}
            _ => self.reconnects.forget(&name),
        }
        // A member that did not say so itself is told, so that it can refute.
        if old.is_live() && by != Origin::Member && !self.lately_departed.contains(&id) {
            if self.lately_departed.len() == MAX_LATELY_DEPARTED {
                self.lately_departed.remove(0);
                self.metrics.evicted_verdicts += 1;
            }
            self.lately_departed.push(id);
        }
        if old != state {
            let is_failure = state == MemberState::Failed;
            self.remember(id, if is_failure { Observation::Failed { by } } else { Observation::Left { by } });
        }
        if old != state && shown {
            let event = |member| match verdict {
                Some(verdict) => Event::Failed { member, verdict },
                None => Event::Left { member, by },
            };
            self.emit_member(event, id);
        }
        self.schedule_reap(id);
        self.spread(id, Urgency::Urgent);
        self.make_room_for_departed();
    }

    /// Remembers the departure of an unknown member, so that no older update lists it as alive.
    fn insert_tombstone(&mut self, name: &str, identity: Identity, state: MemberState, since: Time) {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut record = self.record(name, nowhere, state, identity);
        (record.since, record.tombstone) = (since, true);
        let id = self.table.insert(record, &mut self.rng);
        self.schedule_reap(id);
        self.make_room_for_departed();
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

    /// A departed member becomes a tombstone, which is no longer listed; later it is forgotten.
    pub(super) fn reap(&mut self, id: MemberId) {
        let record = self.table.get(id);
        let forgotten = self.now.since(record.since) >= self.config.forget_after;
        if !record.tombstone {
            self.emit_member(|member| Event::Reaped { member }, id);
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
                self.emit_member(|member| Event::Reaped { member }, id);
            }
            self.forget(id);
        }
    }

    pub(super) fn forget(&mut self, id: MemberId) {
        self.timers.cancel(Timer::Reap(id));
        self.updates.remove(id);
        self.carrier.forget(&self.table.get(id).name);
        self.lately_departed.retain(|departed| *departed != id);
        self.table.forget(id);
    }

    pub(super) fn forget_old_departures(&mut self) {
        let (table, now, keep) = (&self.table, self.now, self.config.gossip_to_failed);
        self.lately_departed.retain(|id| {
            let record = table.get(*id);
            !record.state.is_live() && now.since(record.since) < keep
        });
    }
}
