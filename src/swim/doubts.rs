//! Doubts: which departures this node does not take from others at once.
//!
//! Who makes departures up, faster than the member refutes them or of lives to come, would keep it away from all. This node's
//! own probe decides instead, as long as the member did not miss the last one.

use serde::{Deserialize, Serialize};

use super::{
    flap::MEMORY,
    member::{Identity, MemberId, MemberState},
    node::Node,
    time::Time,
    updates::Urgency,
};

/// When a member last refuted two departures of each kind, the later one first; `Time::ZERO` for none.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Refuted {
    failed: [Time; 2],
    left: [Time; 2],
}

impl Refuted {
    fn of(&mut self, departure: MemberState) -> &mut [Time; 2] {
        if departure == MemberState::Left { &mut self.left } else { &mut self.failed }
    }
}

impl Node {
    /// A member says that it is alive that was said to have departed so.
    pub(super) fn note_refuted(&mut self, id: MemberId, departure: MemberState) {
        let now = self.now;
        self.table.update(id, &mut self.rng, |record| {
            let refuted = record.refuted.of(departure);
            *refuted = [now, refuted[0]];
        });
    }

    /// Whether a member refuted two departures of a kind lately.
    fn refuted_two(&self, id: MemberId, departure: MemberState) -> bool {
        let mut refuted = self.table.get(id).refuted;
        let [_, first] = *refuted.of(departure);
        first != Time::ZERO && self.now.since(first) < self.config.probe_interval.saturating_mul(MEMORY)
    }

    /// Others say that a member departed, which this node doubts; says whether that was all.
    pub(super) fn doubt(&mut self, name: &str, identity: Identity, departure: MemberState) -> bool {
        let Some(id) = self.table.find(name).filter(|id| *id != MemberId::SELF) else { return false };
        let record = self.table.get(id);
        let refuted = self.refuted_two(id, departure);
        if !record.state.is_live() {
            // It would be ahead of the next refutation.
            return refuted && identity > record.identity;
        }
        if record.contact.silent || identity < record.identity {
            return false;
        }
        if identity.epoch > record.identity.epoch {
            // It may be where it was in another life, of which nobody has told.
            self.table.rings.probe_next(id);
            return true;
        }
        if refuted && let Some(id) = self.suspectable(name, identity) {
            self.suspect_instead(id, identity);
            return true;
        }
        false
    }

    /// A departure of which others tell counts as a suspicion, for which no confirmation is waited for: the suspect is probed
    /// next.
    pub(super) fn suspect_instead(&mut self, id: MemberId, identity: Identity) {
        if self.raise_suspicion(id, identity) {
            self.table.rings.probe_next(id);
            self.spread(id, Urgency::Urgent);
        }
        self.hasten_suspicion(id);
    }
}
