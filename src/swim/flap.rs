//! Flap damping: a node that keeps being declared failed delays its refutation until its own probes go well.
//!
//! A node with bad reception is declared failed, learns of it, refutes, and is declared failed again: every other node
//! sees it flap (Rapid, Figure 9). So a node that was declared failed, is accused again, *and* has trouble of its own
//! refutes only after its own probes have gone well for a while. Until then it is *away*. An accusation that somebody made
//! up is refuted at once, however often it comes, for the node's own probes decide.

use std::{collections::VecDeque, sync::Arc};

use super::{
    member::{Identity, Member, MemberId},
    node::Node,
    time::Time,
};

/// Probe rounds without trouble after which an away node refutes.
const STEADY: u32 = 60;
/// Probe intervals after which a verdict against this node is forgotten.
const MEMORY: u32 = 600;
/// Probe intervals after which it refutes in any case: an attacker that holds most of its relays can cause trouble.
const LONGEST: u32 = 1000;
/// Members that are yet to be told of a verdict; the first makes room.
const MAX_UNTOLD: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Flaps {
    /// The last verdict against this node and when it was heard. Also one about an older identity: its refutation came too
    /// late.
    verdict: Option<(Identity, Time)>,
    /// When this node last had trouble: a probe failed that was not the target's fault, or a stall.
    trouble: Option<Time>,
    /// While away: the identity that the refutation has to supersede.
    held: Option<Identity>,
    held_since: Time,
    /// Verdicts on others that were refuted at the same time, to be told with the next probe.
    untold: VecDeque<(Arc<str>, Identity)>,
}

impl Flaps {
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn note_trouble(&mut self, now: Time) {
        self.trouble = Some(now);
    }

    /// The verdict that a member is yet to be told of.
    pub(super) fn take_verdict(&mut self, name: &str) -> Option<Identity> {
        let at = self.untold.iter().position(|(untold, _)| &**untold == name)?;
        self.untold.remove(at).map(|(_, identity)| identity)
    }
}

impl Node {
    /// Other members declared this node failed, perhaps under an older identity.
    pub(super) fn note_verdict(&mut self, accused: Identity) {
        self.hold_if_flapping(accused);
        let memory = self.config.probe_interval.saturating_mul(MEMORY);
        let replaced = |(identity, at)| accused > identity || self.now.since(at) >= memory;
        if self.flaps.verdict.is_none_or(replaced) {
            self.flaps.verdict = Some((accused, self.now));
        }
    }

    /// Holds the refutation of an accusation back if this node flaps; says whether it does.
    pub(super) fn hold_refutation(&mut self, accused: Identity) -> bool {
        self.hold_if_flapping(accused);
        if let Some(held) = &mut self.flaps.held {
            *held = (*held).max(accused);
        }
        self.flaps.is_held()
    }

    /// Away begins: accused again after a verdict, with trouble of its own.
    fn hold_if_flapping(&mut self, accused: Identity) {
        let memory = self.config.probe_interval.saturating_mul(MEMORY);
        let again = self
            .flaps
            .verdict
            .is_some_and(|(identity, at)| accused > identity && self.now.since(at) < memory);
        if again && !self.is_steady() && !self.flaps.is_held() {
            (self.flaps.held, self.flaps.held_since) = (Some(accused), self.now);
            self.updates.remove(MemberId::SELF);
            self.metrics.flaps_damped += 1;
        }
    }

    /// A failed member has refuted under the same epoch, but may not know that the verdict had fallen. A few random members
    /// probe it next and tell it, for its own flap damping; enough that hardly ever none does.
    pub(super) fn tell_verdict(&mut self, id: MemberId, past: &Member) {
        if self.volunteer(self.config.verifiers.saturating_mul(2)) {
            if self.flaps.untold.len() == MAX_UNTOLD {
                self.flaps.untold.pop_front();
            }
            self.flaps.untold.push_back((Arc::clone(&past.name), past.identity));
            self.table.probe_next(id);
        }
    }

    /// Refutes what was held back, once this node is well.
    pub(super) fn come_back_if_steady(&mut self) {
        let longest = self.config.probe_interval.saturating_mul(LONGEST);
        let steady = self.is_steady() || self.now.since(self.flaps.held_since) >= longest;
        if let Some(held) = self.flaps.held.take_if(|_| steady) {
            self.reach.begin(self.now);
            self.refute(held.max(self.table.get(MemberId::SELF).identity));
        }
    }

    /// Whether the last trouble is long ago, in probe rounds that awareness stretches.
    fn is_steady(&self) -> bool {
        let rounds = self.health.scale(self.config.probe_interval).saturating_mul(STEADY);
        self.flaps.trouble.is_none_or(|at| self.now.since(at) >= rounds)
    }
}
