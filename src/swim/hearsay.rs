//! Hearsay: what another member's claim that a member departed is worth.
//!
//! Such a claim is checked against this node's own last probe, as long as the member did not miss it. Otherwise an attacker
//! could keep a healthy member out by claiming departures faster than it can refute them, or in epochs that it has not
//! reached.

use std::sync::Arc;

use super::{
    departures::ClaimedDeparture,
    flap::MEMORY,
    member::{Identity, MemberId, MemberState, Record},
    node::Node,
    rules::{Rule, holds},
    updates::Urgency,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearsay {
    /// As much as the member's own word.
    Counts,
    /// The member is suspected.
    IsSuspicion,
    /// This node's next probe decides.
    IsProbed,
    /// The claimant accuses the member.
    IsAccusation,
    IsNothing,
}

impl Node {
    /// A member that was claimed to have departed is alive by this identity.
    pub(super) fn note_refuted(&mut self, id: MemberId, departure: MemberState, by: Identity) {
        let now = self.now;
        let note = |record: &mut Record| record.refuted.get_or_insert_default().note(departure, by, now);
        self.table.update(id, &mut self.rng, note);
    }

    fn weigh_hearsay(&self, id: MemberId, departure: &ClaimedDeparture<'_>) -> Hearsay {
        let ClaimedDeparture { identity, state, .. } = *departure;
        if !holds(Rule::Departures) {
            return Hearsay::Counts;
        }
        let record = self.table.get(id);
        let memory = self.config.probe_interval.saturating_mul(MEMORY);
        let refuted = record.refuted.as_deref();
        let is_doubted = refuted.is_some_and(|refuted| refuted.is_doubted(state, self.now, memory));
        let (is_silent, is_raised) = (record.contact.silent, identity > record.identity);
        if !record.state.is_live() {
            // A greater one would be ahead of the next refutation.
            return if is_doubted && is_raised { Hearsay::IsNothing } else { Hearsay::Counts };
        }
        if identity < record.identity {
            return match identity.epoch == record.identity.epoch {
                _ if record.is_accused_under(identity) => Hearsay::IsAccusation,
                // Perhaps it did depart, and another node has raised its incarnation since then.
                true => Hearsay::IsProbed,
                false => Hearsay::IsNothing,
            };
        }
        if identity.epoch != record.identity.epoch {
            // Perhaps it was restarted and is gone.
            return if is_silent { Hearsay::Counts } else { Hearsay::IsProbed };
        }
        // In a table, a failure may be one for a partition's sake.
        let is_mild = departure.in_table && state == MemberState::Failed || is_doubted && !is_silent;
        if is_mild { Hearsay::IsSuspicion } else { Hearsay::Counts }
    }

    /// Others claim that a member departed: applies what that is worth as hearsay. Returns whether the claim counts in full.
    pub(super) fn apply_hearsay(&mut self, id: MemberId, departure: &ClaimedDeparture<'_>) -> bool {
        match self.weigh_hearsay(id, departure) {
            Hearsay::Counts => return true,
            Hearsay::IsNothing => {}
            // A table may name many.
            Hearsay::IsProbed if departure.in_table => {}
            Hearsay::IsProbed => {
                if self.check_plausible(Some(id), departure.identity) {
                    self.table.probe_next(id);
                }
            }
            Hearsay::IsAccusation => self.on_accusation_of_past(id, departure),
            Hearsay::IsSuspicion => self.suspect_on_hearsay(id, departure),
        }
        false
    }

    /// A departure that is claimed under a lesser identity than the listed one counts as an accusation by the claimant.
    /// Otherwise a third node could raise the identity at this node alone, and no other could then confirm what this node
    /// finds.
    fn on_accusation_of_past(&mut self, id: MemberId, departure: &ClaimedDeparture<'_>) {
        let mut changed = self.raise_suspicion(id, self.table.get(id).identity);
        let accuser = departure.claimant.and_then(|claimant| claimant.id);
        if let Some(accuser) =
            accuser.filter(|accuser| *accuser != id && self.table.get(*accuser).state.is_live())
        {
            let accuser = Arc::clone(&self.table.get(accuser).name);
            changed |= self.add_accuser(id, &accuser);
            // The member's own leave: not a removal, which it may have refuted since then, nor that of a past life.
            let left = departure.state == MemberState::Left && departure.removed.is_none();
            let is_present = departure.identity.epoch == self.table.get(id).identity.epoch;
            if let Some(suspicion) = self.table.suspicion_mut(id) {
                suspicion.said_left |= left && is_present;
            }
        }
        if changed {
            self.spread(id, Urgency::Urgent);
        }
    }

    /// The suspicion does not wait for confirmations. Members that a table lists as failed may be many, so none of these is
    /// probed out of turn.
    fn suspect_on_hearsay(&mut self, id: MemberId, departure: &ClaimedDeparture<'_>) {
        if !self.check_plausible(Some(id), departure.identity) {
            return;
        }
        if !departure.in_table {
            self.table.probe_next(id);
        }
        if self.raise_suspicion(id, departure.identity) {
            self.spread(id, Urgency::Urgent);
        }
        self.hasten_suspicion(id, departure.state == MemberState::Left);
    }
}
