//! The phases of a node's life. Only this file changes `phase`.
//!
//! ```text
//! Starting ─ go_live ─▶ Live ─ yield_name ─▶ Displaced
//!   │                    │ ◀─── resume ─────── │
//!   └───── withdraw ─────┴────── withdraw ─────┴─▶ Leaving ─ leave_ended ─▶ Left
//! ```

use serde::{Deserialize, Serialize};

use super::{
    event::Event,
    member::{MemberId, MemberState},
    node::Node,
    timers::Timer,
    verdict::Origin,
};

/// The phase of a node's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// No other node was told of this one yet.
    Starting,
    /// A member among others.
    Live,
    /// Another live node holds the name: this one probes for its own view. It announces nothing, and tells a suspicion to the
    /// suspect alone.
    Displaced,
    /// Members are being told that this node leaves.
    Leaving,
    /// They were told.
    Left,
}

impl Node {
    /// Whether it probes others. A displaced node does so for its own view, and passes no update on.
    pub(super) fn watches(&self) -> bool {
        matches!(self.phase, Phase::Live | Phase::Displaced)
    }

    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving | Phase::Left)
    }

    /// Whether it is a member like any: live, and not *away* (`flap.rs`).
    pub(super) fn takes_part(&self) -> bool {
        self.phase == Phase::Live && !self.flaps.is_held()
    }

    /// Whether its own record is told to others.
    pub(super) fn shows_itself(&self) -> bool {
        match self.phase {
            Phase::Starting | Phase::Displaced => false,
            Phase::Live => self.takes_part(),
            Phase::Leaving | Phase::Left => !self.leave.silent,
        }
    }

    /// Becomes a member: past lives of the name are known by now.
    pub(super) fn go_live(&mut self) {
        if self.phase != Phase::Starting {
            return;
        }
        self.phase = Phase::Live;
        self.reach.begin(self.now);
        let offset = self.config.probe_interval.mul_f64(self.rng.f64());
        self.set_timer(Timer::Probe, offset);
        self.schedule_first_syncs();
        self.schedule_reconnect();
        self.announce();
    }

    /// Yields the name to another live holder.
    pub(super) fn yield_name(&mut self) {
        self.phase = Phase::Displaced;
        self.flaps.drop_held();
        self.timers.cancel(Timer::Reconnect);
        self.updates.clear();
    }

    pub(super) fn resume(&mut self) {
        self.phase = Phase::Live;
        self.reach.begin(self.now);
        self.conflict.settle();
        self.timers.cancel(Timer::Conflict);
        for (timer, interval) in
            [(Timer::Probe, self.config.probe_interval), (Timer::Sync, self.scaled_sync_interval())]
        {
            if !self.timers.is_set(timer) {
                self.set_timer(timer, interval);
            }
        }
        self.schedule_reconnect();
    }

    /// Begins to leave: every message about this node, also in an exchange under way, says Left from now on.
    pub(super) fn withdraw(&mut self) {
        self.phase = Phase::Leaving;
        let now = self.now;
        self.table
            .update(MemberId::SELF, &mut self.rng, |own| (own.state, own.since) = (MemberState::Left, now));
        self.emit_member(|member| Event::Left { member, origin: Origin::Own }, MemberId::SELF);
        let timers =
            [Timer::Probe, Timer::Indirect, Timer::Sync, Timer::Reconnect, Timer::Seeds, Timer::Rejoin];
        for timer in timers {
            self.timers.cancel(timer);
        }
        self.advance_joins();
    }

    /// The leave was answered, or is given up.
    pub(super) fn leave_ended(&mut self) {
        self.phase = Phase::Left;
    }
}
