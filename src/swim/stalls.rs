//! Stalls: this node was held up, by a busy machine or a pause, and heard nothing meanwhile.

use std::time::Duration;

use super::{history::Observation, member::MemberId, node::Node, status::HealthDoubt, time::Time};

impl Node {
    /// How long the next timer is overdue, if it is far too long.
    pub(super) fn pause(&self, now: Time) -> Option<Duration> {
        let tolerated = (self.config.probe_interval / 4).max(Duration::from_millis(100));
        self.timers.next().map(|due| now.since(due)).filter(|pause| *pause > tolerated)
    }

    /// A timer that fires far too late shows a stall. Answers that did not arrive meanwhile accuse nobody: the verdict of
    /// the probe is discarded, and suspicions are extended by the pause.
    pub(super) fn notice_stall(&mut self, now: Time) {
        if !self.config.notice_stalls {
            return;
        }
        let Some(pause) = self.pause(now) else { return };
        self.metrics.stalls += 1;
        self.last_stall = pause;
        self.remember(MemberId::SELF, Observation::Stalled { pause });
        self.health.degrade(1, HealthDoubt::Stall, self.now);
        self.flaps.note_trouble(self.now);
        self.prober.discard_verdict();
        self.reach.begin(self.now);
        self.withdraw_questions();
        self.timers.extend_suspicions(pause);
        for at in 0..self.table.others() {
            let id = self.table.other(at);
            if let Some(suspicion) = self.table.suspicion_mut(id) {
                suspicion.extend(pause);
            }
        }
    }
}
