//! Hearsay: what another's word that a member departed is worth.
//!
//! Who makes departures up, faster than the member refutes them or of lives to come, would keep it away from all. This node's
//! own probe decides instead, as long as the member did not miss the last one.

use std::sync::Arc;

use super::{
    departures::Notice,
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
    /// Whoever says so accuses the member.
    IsAccusation,
    IsNothing,
}

impl Node {
    /// A member is alive by this identity that was said to have departed.
    pub(super) fn note_refuted(&mut self, id: MemberId, by: Identity) {
        let now = self.now;
        let note = |record: &mut Record| record.refuted.get_or_insert_default().note(by, now);
        self.table.update(id, &mut self.rng, note);
    }

    fn weigh_hearsay(&self, id: MemberId, notice: &Notice<'_>) -> Hearsay {
        let Notice { identity, state: departure, .. } = *notice;
        if !holds(Rule::Departures) {
            return Hearsay::Counts;
        }
        let record = self.table.get(id);
        let memory = self.config.probe_interval.saturating_mul(MEMORY);
        let refuted = record.refuted.as_deref();
        let is_doubted = refuted.is_some_and(|refuted| refuted.is_doubted(departure, self.now, memory));
        let (is_silent, is_raised) = (record.contact.silent, identity > record.identity);
        if !record.state.is_live() {
            // A greater one would be ahead of the next refutation.
            return if is_doubted && is_raised { Hearsay::IsNothing } else { Hearsay::Counts };
        }
        if identity.epoch != record.identity.epoch {
            // Of a life to come: perhaps it was restarted and is gone. Of a past one: that changes nothing.
            return if is_raised && !is_silent { Hearsay::IsProbed } else { Hearsay::Counts };
        }
        if identity < record.identity {
            // Perhaps it did depart, and somebody else has raised its identity since then.
            return if record.contact.missed_last() { Hearsay::IsAccusation } else { Hearsay::IsProbed };
        }
        // In a table, a failure may be one for a partition's sake.
        let is_mild = notice.in_table && departure == MemberState::Failed || is_doubted && !is_silent;
        if is_mild { Hearsay::IsSuspicion } else { Hearsay::Counts }
    }

    /// Others say that a member departed: does what that is worth, and says whether it is more than that.
    pub(super) fn believes_hearsay(&mut self, id: MemberId, notice: &Notice<'_>) -> bool {
        match self.weigh_hearsay(id, notice) {
            Hearsay::Counts => return true,
            Hearsay::IsNothing => {}
            // A table may name many.
            Hearsay::IsProbed if notice.in_table => {}
            Hearsay::IsProbed => {
                if self.check_plausible(Some(id), notice.identity) {
                    self.table.probe_next(id);
                }
            }
            Hearsay::IsAccusation => self.on_accusation_of_past(id, notice),
            Hearsay::IsSuspicion => self.suspect_on_hearsay(id, notice),
        }
        false
    }

    /// Whoever knows a member to have departed, under a lesser identity than it is listed by here, accuses it: else a third could keep
    /// all from confirming what this node finds, by an identity that only this node has heard of.
    fn on_accusation_of_past(&mut self, id: MemberId, notice: &Notice<'_>) {
        let mut changed = self.raise_suspicion(id, self.table.get(id).identity);
        let accuser = notice.teller.and_then(|teller| teller.id);
        if let Some(accuser) = accuser.filter(|accuser| *accuser != id) {
            let accuser = Arc::clone(&self.table.get(accuser).name);
            changed |= self.add_accuser(id, &accuser);
        }
        if changed {
            self.spread(id, Urgency::Urgent);
        }
    }

    /// No confirmation is waited for. Of those that failed by a table, which may be many, none is probed out of turn.
    fn suspect_on_hearsay(&mut self, id: MemberId, notice: &Notice<'_>) {
        if !self.check_plausible(Some(id), notice.identity) {
            return;
        }
        if !notice.in_table {
            self.table.probe_next(id);
        }
        if self.raise_suspicion(id, notice.identity) {
            self.spread(id, Urgency::Urgent);
        }
        self.hasten_suspicion(id);
    }
}
