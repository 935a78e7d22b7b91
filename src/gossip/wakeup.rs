//! Decides whether the clock thread, which waits for datagrams, has to be woken, and whether it can be: an empty datagram to
//! the node's own socket wakes it.
//!
//! That datagram passes through the host's loopback interface, on whatever address the node listens. If that interface is
//! down, wake-ups are lost; while the last one did not arrive, the clock thread waits only 20 ms each time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// The longest wait for a datagram.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// The same while wake-ups are lost, so a call may be processed this late.
const WAIT_UNWAKEABLE: Duration = Duration::from_millis(20);

/// Whether a wake-up was asked for, and whether wake-ups are lost.
#[derive(Debug)]
pub(super) struct Wakeup {
    asked: AtomicBool,
    lost: AtomicBool,
}

impl Default for Wakeup {
    /// Wake-ups count as lost until the first has arrived.
    fn default() -> Self {
        Self { asked: AtomicBool::new(false), lost: AtomicBool::new(true) }
    }
}

impl Wakeup {
    /// Returns whether a wake-up is to be sent: not if one is under way.
    pub(super) fn ask(&self) -> bool {
        !self.asked.swap(true, Ordering::AcqRel)
    }

    /// Notes that the wake-up could not be sent, so that the next caller tries again.
    pub(super) fn not_sent(&self) {
        self.asked.store(false, Ordering::Release);
        self.lost.store(true, Ordering::Release);
    }

    /// Notes that the clock thread looks at the node from now on.
    pub(super) fn begin(&self) {
        self.asked.store(false, Ordering::Release);
    }

    pub(super) fn longest_wait(&self) -> Duration {
        if self.lost.load(Ordering::Acquire) { WAIT_UNWAKEABLE } else { MAX_WAIT }
    }

    pub(super) fn arrived(&self) {
        self.lost.store(false, Ordering::Release);
    }

    /// Notes that the wait ended without a datagram: if a wake-up was sent, it was lost.
    pub(super) fn timed_out(&self) {
        if self.asked.load(Ordering::Acquire) {
            self.lost.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_wake_ups_do_not_arrive_no_wait_is_long() {
        let wakes = Wakeup::default();
        assert_eq!(wakes.longest_wait(), WAIT_UNWAKEABLE, "nobody knows yet");
        wakes.arrived();
        assert_eq!(wakes.longest_wait(), MAX_WAIT);
        wakes.timed_out();
        assert_eq!(wakes.longest_wait(), MAX_WAIT, "nobody had sent one");
        assert!(wakes.ask() && !wakes.ask(), "one is enough");
        wakes.timed_out();
        assert_eq!(wakes.longest_wait(), WAIT_UNWAKEABLE, "it was lost");
        wakes.begin();
        assert!(wakes.ask());
        wakes.arrived();
        assert_eq!(wakes.longest_wait(), MAX_WAIT);
        wakes.not_sent();
        assert!(wakes.ask(), "the next one tries again");
        assert_eq!(wakes.longest_wait(), WAIT_UNWAKEABLE);
    }
}
