//! Hearsay: which departures this node does not take from others at once.
//!
//! Who makes departures up, faster than the member refutes them or of lives to come, would keep it away from all. This node's
//! own probe decides instead, as long as the member did not miss the last one.

use super::{
    flap::MEMORY,
    member::{Identity, MemberId, MemberState},
    node::Node,
    rules::{Rule, holds},
    updates::Urgency,
};

impl Node {
    /// A member is alive by this identity that was said to have departed so.
    pub(super) fn note_refuted(&mut self, id: MemberId, departure: MemberState, by: Identity) {
        let now = self.now;
        self.table.update(id, &mut self.rng, |record| record.refuted.note(departure, by, now));
    }

    /// Others say that a member departed: says whether that is not believed, or as a suspicion only.
    pub(super) fn discount_hearsay(
        &mut self,
        name: &str,
        identity: Identity,
        departure: MemberState,
    ) -> bool {
        let known = self.table.find(name).filter(|id| *id != MemberId::SELF && holds(Rule::Departures));
        let Some(id) = known else { return false };
        let record = self.table.get(id);
        let memory = self.config.probe_interval.saturating_mul(MEMORY);
        let refuted = record.refuted.twice(departure).is_some_and(|first| self.now.since(first) < memory);
        if !record.state.is_live() {
            // It would be ahead of the next refutation.
            return refuted && identity > record.identity;
        }
        if record.contact.silent || identity < record.identity {
            return false;
        }
        if identity.epoch > record.identity.epoch {
            // Perhaps it was restarted and is gone.
            if self.check_plausible(Some(id), identity) {
                self.table.rings.probe_next(id);
            }
            return true;
        }
        let suspected = refuted && self.suspectable(name, identity).is_some();
        if suspected {
            self.table.rings.probe_next(id);
            self.suspect_on_hearsay(id, identity);
        }
        suspected
    }

    /// A departure of which others tell counts as a suspicion, for which no confirmation is waited for.
    pub(super) fn suspect_on_hearsay(&mut self, id: MemberId, identity: Identity) {
        if self.raise_suspicion(id, identity) {
            self.spread(id, Urgency::Urgent);
        }
        self.hasten_suspicion(id);
    }
}
