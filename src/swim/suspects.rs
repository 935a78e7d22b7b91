//! Suspects: their suspicions, confirmations and timeouts.

use std::sync::Arc;

use super::{
    departures::ClaimedDeparture,
    event::Event,
    flap::LONGEST,
    history::Observation,
    member::{Identity, MemberId, MemberState, Record},
    node::Node,
    rules::{Rule, holds},
    self_claims::Accusation,
    suspicion::{Suspicion, confirmations},
    timers::Timer,
    updates::Urgency,
    verdict::{Accuser, Origin},
};
use crate::wire::message::Suspect;

impl Node {
    pub(super) fn on_suspect(&mut self, claim: &Suspect<'_>) {
        let identity = Identity { epoch: claim.epoch, incarnation: claim.incarnation };
        if claim.name == &*self.name {
            return self.on_own_accusation(identity, Accusation::Suspect);
        }
        let Some((id, concerns)) = self.accused(claim.name, identity) else {
            return self.repeat_left(claim.name, identity);
        };
        let mut changed = concerns && self.raise_suspicion(id, identity);
        if changed {
            self.check_next(id);
        }
        for accuser in claim.accusers.iter() {
            // Only members' accusations count: anybody can make up names.
            if let Some(accuser) = self.table.find_live(accuser).filter(|accuser| *accuser != id) {
                let accuser = Arc::clone(&self.table.get(accuser).name);
                changed |= self.add_accuser(id, &accuser);
            }
        }
        if changed {
            self.spread(id, Urgency::Urgent);
        }
    }

    /// This node's own probe of a member, under this epoch, failed. The bounds for claims of others do not apply. `nacks` are
    /// the marks of the relays that had no answer either: where most members are suspected, too few are left to probe each
    /// several times, and a nack counts as a confirmation.
    pub(super) fn accuse(&mut self, name: &str, epoch: u64, nacks: &[u32]) {
        let Some(id) = self.table.find(name) else { return };
        let Record { identity, state, .. } = *self.table.get(id);
        if !state.is_live() || identity.epoch != epoch {
            return;
        }
        let mut changed = self.raise_suspicion(id, identity);
        let own = Arc::clone(&self.name);
        changed |= self.add_accuser(id, &own);
        let confirm = if self.table.most_are_suspected() { nacks } else { &[] };
        for relay in confirm {
            if let Some(relay) = self.table.find_mark(*relay, |record| record.state.is_live()) {
                let relay = Arc::clone(&self.table.get(relay).name);
                changed |= self.add_accuser(id, &relay);
            }
        }
        if changed {
            self.spread(id, Urgency::Urgent);
        } else if self.accuses_alone(id) {
            self.sync_with_anybody();
        }
    }

    /// Whether this node alone accuses a member, though others are there. They may know that it left or failed, and gossip to
    /// this node no more, nor hear it; tables get through by stream.
    fn accuses_alone(&self, id: MemberId) -> bool {
        let suspicion = self.table.get(id).suspicion.as_deref();
        suspicion.is_some_and(Suspicion::has_one_accuser) && !self.table.most_are_suspected()
    }

    /// The live member that an accusation counts against, and whether it concerns the listed identity or a later one of that
    /// epoch. (An epoch that is not in the table has no address yet: the next push/pull brings it.)
    fn accused(&mut self, name: &str, identity: Identity) -> Option<(MemberId, bool)> {
        let id = self.table.find(name)?;
        let record = self.table.get(id);
        let is_present = identity >= record.identity && identity.epoch == record.identity.epoch;
        let counts = record.state == MemberState::Suspect && !is_present && record.is_accused_under(identity);
        let concerns = record.state.is_live() && is_present && self.check_plausible(Some(id), identity);
        (concerns || counts).then_some((id, concerns))
    }

    /// Suspects a member, unless it already is a suspect under this identity. Returns whether that changed anything.
    pub(super) fn raise_suspicion(&mut self, id: MemberId, identity: Identity) -> bool {
        let record = self.table.get(id);
        let was_alive = record.state == MemberState::Alive;
        if !was_alive && record.identity == identity {
            return false;
        }
        if self.goes_on(record) {
            self.table.update(id, &mut self.rng, |record| record.identity = identity);
            return true;
        }
        let (live, able) = (self.table.live(), self.table.able() + usize::from(!was_alive));
        let most = self.table.most_are_suspected();
        let mut suspicion = Suspicion::in_cluster(&self.config, self.now, live, able, most);
        // A greater identity that others claim refutes nothing.
        suspicion.said_left = record.suspicion.as_deref().is_some_and(|before| before.said_left);
        let (now, deadline) = (self.now, suspicion.deadline());
        self.table.update(id, &mut self.rng, |record| {
            (record.state, record.identity) = (MemberState::Suspect, identity);
            if was_alive {
                record.since = now;
            }
            record.suspicion = Some(Box::new(suspicion));
        });
        self.set_timer_at(Timer::Suspicion(id), deadline);
        self.metrics.suspicions += 1;
        self.remember(id, Observation::Suspected);
        if was_alive {
            self.emit_member(|member| Event::Suspected { member }, id);
        }
        true
    }

    /// Whether a suspicion goes on as it was when it is raised under a greater identity: the suspect does not answer this node,
    /// or has been suspected for twice as long as a suspicion takes, has not been heard from since, and no refutation counted.
    /// Otherwise an attacker that keeps raising the identity of a dead member could put its verdict off for ever. The last
    /// two conditions protect a live member whose refutations come too late each time.
    fn goes_on(&self, record: &Record) -> bool {
        let suspected = self.now.since(record.since);
        let is_silent = record.contact.heard() <= Some(record.since);
        let goes_on = record.suspicion.as_deref().is_some_and(|suspicion| {
            record.contact.is_missed() || is_silent && suspicion.is_overdue(suspected)
        });
        goes_on && holds(Rule::Returns)
    }

    /// A few random members that learn of a suspicion probe the suspect next: they confirm it soon, or give it one more
    /// chance to refute.
    fn check_next(&mut self, id: MemberId) {
        if self.volunteer(self.config.verifiers) {
            self.table.probe_next(id);
        }
    }

    /// Draws whether this node is one of this many random members that can help.
    pub(super) fn volunteer(&mut self, few: u32) -> bool {
        let among = self.table.estimated_size().min(self.table.able());
        self.rng.usize(..among.max(1)) < few as usize
    }

    pub(super) fn add_accuser(&mut self, id: MemberId, accuser: &Arc<str>) -> bool {
        // The suspect itself is one of those that could be asked.
        let expected = confirmations(&self.config, self.table.able() + 1, self.table.most_are_suspected());
        let is_new = self.change_suspicion(id, |suspicion| {
            suspicion.expect_at_most(expected);
            suspicion.accuse(accuser)
        });
        if is_new {
            self.remember(id, Observation::Accused { by: Accuser::of(accuser, &self.name) });
        }
        is_new
    }

    pub(super) fn hasten_suspicion(&mut self, id: MemberId, said_left: bool) {
        let now = self.now;
        self.change_suspicion(id, |suspicion| {
            suspicion.hasten(now);
            suspicion.said_left |= said_left;
            true
        });
    }

    /// Changes a suspicion, if there is one, and moves its deadline along. Returns what `change` returns.
    fn change_suspicion(&mut self, id: MemberId, change: impl FnOnce(&mut Suspicion) -> bool) -> bool {
        let Some(suspicion) = self.table.suspicion_mut(id) else { return false };
        let before = suspicion.deadline();
        let changed = change(suspicion);
        let deadline = suspicion.deadline();
        if deadline != before {
            self.set_timer_at(Timer::Suspicion(id), deadline);
        }
        changed
    }

    pub(super) fn suspicion_ran_out(&mut self, id: MemberId) {
        let (now, able, since) = (self.now, self.table.able(), self.table.get(id).since);
        // Trouble can be caused from outside, so that it extends nothing for ever, nor until departures are forgotten.
        let longest = self.config.probe_interval.saturating_mul(LONGEST).min(self.config.forget_after / 2);
        let troubled = self.has_trouble() && !self.table.most_are_suspected() && now.since(since) < longest;
        // A leaving node declares no member failed.
        if self.is_leaving() {
            return;
        }
        if self.config.verifiers > 0
            && self.change_suspicion(id, |suspicion| suspicion.put_off(now, able, troubled))
        {
            self.table.probe_next(id);
            return self.spread(id, Urgency::Urgent);
        }
        let Record { identity, suspicion, .. } = self.table.get(id);
        let failure = ClaimedDeparture::of_failure(*identity, Origin::Own);
        let departure = match suspicion.as_deref().is_some_and(|suspicion| suspicion.said_left) {
            true => ClaimedDeparture { state: MemberState::Left, origin: Origin::Others, ..failure },
            false => failure,
        };
        // It was the suspect, not this node, that made the probe fail.
        self.health.improve();
        self.depart(id, &departure, self.now);
    }
}
