//! Stamps: a hybrid logical clock, which orders values and broadcasts of different members. The order follows causes as far
//! as members heard of each other.
//!
//! A stamp is the wall clock in milliseconds, times 2¹⁶, raised above every stamp that was received. A stamp too far ahead
//! of this node's clock counts as at most that far ahead of its arrival, so no member can push the order into the future;
//! members may then disagree which of two such values is later. The value itself always counts: a member whose clock is
//! wrong, or stood still while its machine was suspended, still gets all values.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::swim::Time;

/// How far ahead of this node's clock a stamp counts.
const AHEAD: Duration = Duration::from_secs(600);

/// The time at which a value was set or a broadcast sent, in an order that follows causes: after a member has received a
/// stamp, it gives greater ones. It is not a wall-clock time, since the clocks of members differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Stamp(pub(crate) u64);

impl Stamp {
    /// Milliseconds since 1970 by its member's clock, times 65,536, or more if its member had heard of a greater one.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// Milliseconds since 1970 and a count within the millisecond, as `1700000000000.3`.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// Makes stamps, and bounds those of others. Copies share what was heard: all kinds of data have one clock.
#[derive(Debug, Clone)]
pub(super) struct Stamps {
    /// The wall clock at the start, in milliseconds since 1970, and the `Time` of that moment.
    epoch: u64,
    start: Time,
    /// One thread at a time has the copies.
    latest: Arc<AtomicU64>,
}

impl Stamps {
    pub(super) fn new(epoch: u64, start: Time) -> Self {
        Self { epoch, start, latest: Arc::default() }
    }

    /// A stamp for a new value or broadcast.
    pub(super) fn next(&mut self, now: Time) -> u64 {
        let next = self.of(now, Duration::ZERO).max(self.latest.load(Relaxed).saturating_add(1));
        self.latest.store(next, Relaxed);
        next
    }

    /// Processes a stamp, and returns the one that counts here.
    pub(super) fn on_stamp(&mut self, now: Time, stamp: u64) -> u64 {
        let counts = stamp.min(self.of(now, AHEAD));
        self.latest.fetch_max(counts, Relaxed);
        counts
    }

    fn of(&self, now: Time, ahead: Duration) -> u64 {
        let elapsed = (now.since(self.start) + ahead).as_millis();
        let millis = self.epoch.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX));
        millis.saturating_mul(1 << 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::from_origin(Duration::from_secs(7));

    #[test]
    fn a_stamp_is_the_time_of_day_and_above_all_that_were_heard() {
        let mut stamps = Stamps::new(1_700_000_000_000, START);
        let first = stamps.next(START + Duration::from_millis(5));
        assert_eq!(first, 1_700_000_000_005 << 16);
        assert_eq!(stamps.next(START + Duration::from_millis(5)), first + 1);
        assert_eq!(stamps.on_stamp(START, first + 9), first + 9);
        assert_eq!(stamps.next(START), first + 10);
    }

    #[test]
    fn a_stamp_that_is_more_than_ten_minutes_ahead_counts_as_ten_minutes_ahead() {
        let mut stamps = Stamps::new(1000, START);
        let last = (1000 + 600_000) << 16;
        assert_eq!([last, last + 1, u64::MAX].map(|stamp| stamps.on_stamp(START, stamp)), [last; 3]);
        assert_eq!(stamps.next(START), last + 1);
        let second = Duration::from_secs(1);
        assert_eq!(stamps.on_stamp(START + second, u64::MAX), last + (1000 << 16));
        assert_eq!(Stamps::new(u64::MAX, START).on_stamp(START, u64::MAX), u64::MAX, "nothing overflows");
    }
}
