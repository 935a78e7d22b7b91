//! Flap damping: a member that keeps failing and coming back stays away until it is well.
//!
//! Whoever hears badly now and then is declared failed, learns of it, refutes, and is declared failed again; to
//! all others it comes and goes for ever (Rapid, Figure 9). So a node that was declared failed, is accused again,
//! *and* sees itself that something is wrong, refutes only after its own probes have gone well for a while. Its own
//! view decides, so an accusation that somebody made up is refuted at once, however often it comes.

use std::{collections::VecDeque, sync::Arc};

use super::{
    member::{Identity, Member, MemberId},
    node::Node,
    time::Time,
};

/// Probe rounds without trouble of our own, after which we come back.
const STEADY: u32 = 60;
/// Probe intervals after which a verdict against us is forgotten.
const MEMORY: u32 = 600;
/// Probe intervals after which we come back whatever trouble there is: it can be brought about by who holds most of our
/// relays.
const LONGEST: u32 = 1000;
/// Members that are yet to be told of a verdict; the first makes room.
const MAX_UNTOLD: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Flaps {
    /// The last verdict against us and when we heard of it. We may have outgrown it: a refutation that came
    /// too late counts as a return.
    verdict: Option<(Identity, Time)>,
    /// When a probe of ours last failed and it was not the target's fault, or we were held up.
    trouble: Option<Time>,
    /// While we stay away: what we have to supersede when we come back.
    held: Option<Identity>,
    held_since: Time,
    /// Verdicts on others that were refuted as they fell, to be told with the next probe.
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
    /// Others declared us failed, or did so to an earlier word of ours.
    pub(super) fn note_verdict(&mut self, accused: Identity) {
        self.hold_if_flapping(accused);
        let memory = self.config.probe_interval.saturating_mul(MEMORY);
        let replaced = |(identity, at)| accused > identity || self.now.since(at) >= memory;
        if self.flaps.verdict.is_none_or(replaced) {
            self.flaps.verdict = Some((accused, self.now));
        }
    }

    /// Whether we keep silent about an accusation, for now.
    pub(super) fn hold_refutation(&mut self, accused: Identity) -> bool {
        self.hold_if_flapping(accused);
        if let Some(held) = &mut self.flaps.held {
            *held = (*held).max(accused);
        }
        self.flaps.is_held()
    }

    /// Who is accused anew after a verdict, and has trouble of its own, stays away.
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

    /// A member is back from the dead under the same epoch: it refuted, but may not know that the verdict had
    /// fallen. A few of us probe it next and tell it, so that it can count; so many that hardly ever none does.
    pub(super) fn tell_verdict(&mut self, id: MemberId, past: &Member) {
        if self.volunteer(self.config.verifiers.saturating_mul(2)) {
            if self.flaps.untold.len() == MAX_UNTOLD {
                self.flaps.untold.pop_front();
            }
            self.flaps.untold.push_back((Arc::clone(&past.name), past.identity));
            self.table.probe_next(id);
        }
    }

    /// Once we are well again, we come back.
    pub(super) fn come_back_if_steady(&mut self) {
        let longest = self.config.probe_interval.saturating_mul(LONGEST);
        let steady = self.is_steady() || self.now.since(self.flaps.held_since) >= longest;
        if let Some(held) = self.flaps.held.take_if(|_| steady) {
            self.reach.begin(self.now);
            self.refute(held.max(self.table.get(MemberId::SELF).identity));
        }
    }

    /// Whether our last trouble is long ago, in rounds of the length that our health calls for.
    fn is_steady(&self) -> bool {
        let rounds = self.health.scale(self.config.probe_interval).saturating_mul(STEADY);
        self.flaps.trouble.is_none_or(|at| self.now.since(at) >= rounds)
    }
}
