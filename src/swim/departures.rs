//! Departed members: failed or left, and remembered as tombstones once they are no longer listed.
//!
//! The identity of a departed member is kept for `forget_after`, so that no old update brings it back.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    claimant::Claimant,
    event::Event,
    member::{Identity, MemberId, MemberState, Removed},
    node::Node,
    self_claims::Accusation,
    time::Time,
    timers::Timer,
    updates::Urgency,
    verdict::Origin,
};
use crate::wire::message::{self, Departed, Failed, Left};

/// A claim that a member departed.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClaimedDeparture<'a> {
    pub(super) identity: Identity,
    /// Failed or left.
    pub(super) state: MemberState,
    pub(super) origin: Origin,
    /// The claimant, if it is not the member itself.
    pub(super) claimant: Option<Claimant>,
    /// Another member's table holds it.
    pub(super) in_table: bool,
    /// The member that removed it, if it did not leave by itself.
    pub(super) removed: Option<message::Removed<'a>>,
}

impl ClaimedDeparture<'_> {
    pub(super) fn of_failure(identity: Identity, origin: Origin) -> Self {
        Self { identity, state: MemberState::Failed, origin, claimant: None, in_table: false, removed: None }
    }
}

impl Node {
    pub(super) fn on_failed(&mut self, claim: &Failed<'_>, claimant: Claimant) {
        let identity = Identity { epoch: claim.epoch, incarnation: claim.incarnation };
        self.repeat_left(claim.name, identity);
        let departure = ClaimedDeparture {
            claimant: Some(claimant),
            ..ClaimedDeparture::of_failure(identity, Origin::Others)
        };
        self.apply_departure(claim.name, &departure, Duration::ZERO);
    }

    pub(super) fn on_left(&mut self, claim: &Left<'_>, by_itself: bool, claimant: Claimant) {
        let identity = Identity { epoch: claim.epoch, incarnation: claim.incarnation };
        let origin = if by_itself { Origin::Member } else { Origin::Others };
        let state = MemberState::Left;
        let (claimant, removed) = (Some(claimant), claim.removed);
        let departure = ClaimedDeparture { identity, state, origin, claimant, in_table: false, removed };
        self.apply_departure(claim.name, &departure, Duration::ZERO);
    }

    /// A departed member in a table (push/pull).
    pub(super) fn on_departed(&mut self, claim: &Departed<'_>, by_itself: bool, claimant: Claimant) {
        let identity = Identity { epoch: claim.epoch, incarnation: claim.incarnation };
        let state = if claim.left { MemberState::Left } else { MemberState::Failed };
        let origin = if by_itself && claim.left { Origin::Member } else { Origin::Others };
        let (claimant, removed) = (Some(claimant), claim.removed);
        let departure = ClaimedDeparture { identity, state, origin, claimant, in_table: true, removed };
        self.apply_departure(claim.name, &departure, Duration::from_secs(claim.age_secs));
    }

    /// An accusation of a member that left, in that epoch: the accuser has missed the update, whatever incarnation others had it
    /// list, so the update is queued again.
    pub(super) fn repeat_left(&mut self, name: &str, accused: Identity) {
        let Some(id) = self.table.find(name).filter(|id| *id != MemberId::SELF) else { return };
        let record = self.table.get(id);
        let left = record.state == MemberState::Left && !record.tombstone;
        let same = accused.epoch == record.identity.epoch && self.is_plausible(Some(id), accused);
        if left && same && !self.updates.contains(id) {
            self.spread(id, Urgency::Urgent);
        }
    }

    fn apply_departure(&mut self, name: &str, departure: &ClaimedDeparture<'_>, age: Duration) {
        let ClaimedDeparture { identity, state, .. } = *departure;
        if name == &*self.name {
            return self.on_own_accusation(identity, Accusation::Departed);
        }
        let known = self.table.find(name);
        let told = known.filter(|_| departure.origin == Origin::Others);
        if told.is_some_and(|id| !self.apply_hearsay(id, departure)) {
            return;
        }
        let wins = known.is_none_or(|id| {
            let record = self.table.get(id);
            (identity, state) > (record.identity, record.state)
        });
        if let (Some(id), false) = (known, wins) {
            let removed = departure.removed.filter(|_| state == MemberState::Left);
            return self.note_removal(id, identity, removed, departure.origin, departure.in_table);
        }
        if !self.check_plausible(known, identity) || age >= self.config.forget_after {
            return;
        }
        let since = Time::from_origin(self.now.since_origin().saturating_sub(age));
        match known {
            Some(id) => self.depart(id, departure, since),
            None if self.has_room_for_mark(name) => self.insert_tombstone(name, departure, since),
            None => self.metrics.refused_members += 1,
        }
    }

    /// A known member departed, or a greater claim about a departed one arrived.
    pub(super) fn depart(&mut self, id: MemberId, departure: &ClaimedDeparture<'_>, since: Time) {
        self.take_departure(id, departure, since);
        self.make_room_for_departed();
    }

    /// The same, which may leave one departed member too many.
    pub(super) fn take_departure(&mut self, id: MemberId, departure: &ClaimedDeparture<'_>, since: Time) {
        let ClaimedDeparture { identity, state, origin, removed, .. } = *departure;
        self.timers.cancel(Timer::Suspicion(id));
        let may_be_reaped = self.may_be_reaped(id, origin);
        let record = self.table.get(id);
        let old = record.state;
        let verdict = (state == MemberState::Failed).then(|| record.verdict(&self.name, self.now, origin));
        let since = match old {
            _ if old.is_live() => self.now,
            _ if old == state => record.since,
            // Whatever its age is said to be: whoever could make it older could have the member forgotten at once.
            _ => since.max(record.since),
        };
        self.table.update(id, &mut self.rng, |record| {
            if old.is_live() {
                record.refuted.get_or_insert_default().note_departure(identity);
            }
            (record.state, record.identity, record.since) = (state, identity, since);
            (record.suspicion, record.removed) = (None, removed.map(Removed::of).map(Box::new));
        });
        let record = self.table.get(id);
        let (name, shown) = (Arc::clone(&record.name), !record.tombstone);
        match state {
            MemberState::Failed if old != MemberState::Failed => self.reconnect_later(id),
            // It is tried as before, if it is.
            MemberState::Failed => {}
            _ => {
                let answered = !record.contact.may_be_made_up();
                self.note_left(&name, answered.then_some(record.addr), removed.is_some());
            }
        }
        // A member that did not say so itself is told, so that it can refute. One that never answered would not hear it, and may
        // be made up.
        let contact = self.table.get(id).contact;
        if origin == Origin::Member {
            self.lately_departed.remove(id);
        } else if old.is_live() && !contact.may_be_made_up() {
            let has_evicted = self.lately_departed.add(id, contact.met_on_host, self.now);
            self.metrics.evicted_verdicts += u64::from(has_evicted);
        }
        if old != state {
            self.remember_departure(id, origin);
        }
        if old != state && shown {
            let event = |member| match verdict {
                Some(verdict) => Event::Failed { member, verdict },
                None => Event::Left { member, origin },
            };
            self.emit_member(event, id);
        }
        self.doubt_saved(&name);
        match removed {
            Some(removed) if removed.reap && shown && may_be_reaped => self.make_tombstone(id),
            _ => self.schedule_reap(id),
        }
        self.spread(id, Urgency::Urgent);
    }

    /// Remembers the departure of an unknown member, so that no older update lists it as alive.
    fn insert_tombstone(&mut self, name: &str, departure: &ClaimedDeparture<'_>, since: Time) {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut record = self.record(name, nowhere, departure.state, departure.identity);
        // It may be a member of an earlier life.
        if departure.state == MemberState::Left {
            self.note_left(&record.name, None, departure.removed.is_some());
        }
        (record.since, record.tombstone) = (since, true);
        record.removed = departure.removed.map(Removed::of).map(Box::new);
        let id = self.table.insert(record, &mut self.rng);
        self.schedule_reap(id);
        self.make_room_for_departed();
    }

    pub(super) fn schedule_reap(&mut self, id: MemberId) {
        let record = self.table.get(id);
        let after = match record.state {
            _ if record.tombstone => self.config.forget_after,
            // It counts as left for that long; one that was live until then is told so meanwhile, and can refute.
            _ if record.is_to_be_reaped() => self.config.gossip_to_failed.min(self.config.reap_left_after),
            MemberState::Left => self.config.reap_left_after,
            _ => self.config.reap_failed_after,
        };
        self.set_timer_at(Timer::Reap(id), record.since + after);
    }

    /// A departed member becomes a tombstone, which is no longer listed; later it is forgotten.
    pub(super) fn reap(&mut self, id: MemberId) {
        let record = self.table.get(id);
        let forgotten = self.now.since(record.since) >= self.config.forget_after;
        if !record.tombstone {
            self.make_tombstone(id);
        }
        if forgotten {
            self.forget(id);
        }
    }

    pub(super) fn make_room_for_departed(&mut self) {
        while self.table.departed() > self.config.max_departed {
            let Some(id) = self.table.first_to_forget() else { return };
            self.evict_departed(id);
        }
    }

    pub(super) fn evict_departed(&mut self, id: MemberId) {
        self.metrics.evicted_departed += 1;
        if !self.table.get(id).tombstone {
            self.emit_member(|member| Event::Reaped { member }, id);
        }
        self.forget(id);
    }

    pub(super) fn forget(&mut self, id: MemberId) {
        self.timers.cancel(Timer::Reap(id));
        self.updates.remove(id);
        let name = &self.table.get(id).name;
        self.carrier.forget(name);
        self.reconnects.forget_left(name);
        self.flaps.note_told(name);
        self.lately_departed.remove(id);
        self.table.forget(id);
    }

    pub(super) fn forget_old_departures(&mut self) {
        self.lately_departed.remove_old(self.now, self.config.gossip_to_failed);
    }
}
