//! A process whose sends block (Lifeguard §V-D): each of its loops gets as far as its next send, while timers that
//! send nothing run on.
//!
//! Only the simulator has such processes, to reproduce the paper. In this library's driver one thread sends and has the
//! clock: it would stop as a whole, and notice.

use super::{
    entry::{BlockedLoop, Input},
    node::Node,
    time::Time,
    timers::Timer,
};

/// The loops that wait in a send.
#[derive(Debug, Default)]
pub(crate) struct BlockedIo(Vec<Timer>);

impl BlockedIo {
    pub(super) fn of(loops: &[BlockedLoop]) -> Self {
        Self(loops.iter().map(|blocked| blocked.0).collect())
    }

    fn holds(&self, timer: Timer) -> bool {
        sending_loop(timer).is_some_and(|sender| self.0.contains(&sender))
    }
}

/// Which loop a timer drives on to a send, named by the timer that begins it.
fn sending_loop(timer: Timer) -> Option<Timer> {
    match timer {
        Timer::Probe | Timer::Indirect | Timer::Bare => Some(Timer::Probe),
        Timer::Gossip
        | Timer::Sync
        | Timer::Reconnect
        | Timer::Seeds
        | Timer::Leave
        | Timer::Conflict
        | Timer::Rejoin => Some(timer),
        Timer::Nack(_) | Timer::Suspicion(_) | Timer::Reap(_) | Timer::Stream(_) | Timer::Race => None,
    }
}

impl Node {
    /// [`poll_timeout`](Self::poll_timeout) of such a process.
    pub(crate) fn poll_timeout_blocked(&self, blocked: &BlockedIo) -> Option<Time> {
        self.timers.next_of(|timer| !blocked.holds(timer)).map(|(at, _)| at)
    }

    /// [`handle_timeout`](Self::handle_timeout) of such a process.
    pub(crate) fn handle_timeout_blocked(&mut self, now: Time, blocked: &mut BlockedIo) {
        self.given(now, || Input::TimeoutBlocked(blocked.0.iter().copied().map(BlockedLoop).collect()));
        self.advance(now);
        while let Some((_, timer)) =
            self.timers.next_of(|timer| !blocked.holds(timer)).filter(|(at, _)| *at <= now)
        {
            self.timers.cancel(timer);
            blocked.0.extend(sending_loop(timer));
            self.fire(timer);
        }
    }
}
