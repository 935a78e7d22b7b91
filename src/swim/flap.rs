//! Flap damping: a member that keeps failing and coming back stays away until it is well.
//!
//! Whoever hears badly now and then is declared failed, learns of it, refutes, and is declared failed again; to
//! all others it comes and goes for ever (Rapid, Figure 9). So a node that was declared failed twice, *and*
//! sees itself that something is wrong, refutes only after its own probes have gone well for a while. Its own
//! view decides, so an accusation that somebody made up is refuted at once, however often it comes.

use std::time::Duration;

use super::{
    member::{Identity, MemberId},
    node::Node,
    time::Time,
    timers::Timer,
};

/// Probe intervals without trouble of our own, after which we come back.
const STEADY: u32 = 60;
/// Probe intervals after which a verdict against us is forgotten.
const MEMORY: u32 = 600;

#[derive(Debug, Default)]
pub(super) struct Flaps {
    /// The last verdict against us and when we heard of it. We may have outgrown it: a refutation that came
    /// too late counts as a return.
    verdict: Option<(Identity, Time)>,
    /// When a probe of ours last failed and it was not the target's fault, or we were held up.
    trouble: Option<Time>,
    /// While we stay away: what we have to supersede when we come back.
    held: Option<Identity>,
}

impl Flaps {
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn note_trouble(&mut self, now: Time) {
        self.trouble = Some(now);
    }
}

impl Node {
    /// Others declared us failed, or did so to an earlier word of ours. The second time, we stay away.
    pub(super) fn note_verdict(&mut self, accused: Identity) {
        let before = self.flaps.verdict;
        if self.flaps.is_held() || before.is_some_and(|(identity, _)| accused <= identity) {
            return;
        }
        self.flaps.verdict = Some((accused, self.now));
        let again = before.is_some_and(|(_, at)| self.now.since(at) < self.intervals(MEMORY));
        if let Some(steady_at) = self.steady_at().filter(|_| again) {
            self.flaps.held = Some(accused);
            self.metrics.flaps_damped += 1;
            self.timers.set(Timer::Return, steady_at);
        }
    }

    /// Whether we keep silent about an accusation, for now.
    pub(super) fn stays_away(&mut self, accused: Identity) -> bool {
        if let Some(held) = &mut self.flaps.held {
            *held = (*held).max(accused);
        }
        self.flaps.is_held()
    }

    /// The time to come back has come, unless there was trouble meanwhile.
    pub(super) fn come_back(&mut self) {
        if let Some(steady_at) = self.steady_at() {
            self.timers.set(Timer::Return, steady_at);
        } else if let Some(held) = self.flaps.held.take() {
            self.refute(held.max(self.table.get(MemberId::SELF).identity));
        }
    }

    /// When our last trouble will be long enough ago, if it is not.
    fn steady_at(&self) -> Option<Time> {
        let steady_at = self.flaps.trouble? + self.intervals(STEADY);
        (steady_at > self.now).then_some(steady_at)
    }

    fn intervals(&self, n: u32) -> Duration {
        self.config.probe_interval.saturating_mul(n)
    }
}
