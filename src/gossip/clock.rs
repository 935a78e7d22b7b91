//! The clocks of the driver: the steady one that the core is driven by, and the wall clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::swim::Time;

/// The core's time starts at this value, so that every departure, however old, has a time on this clock.
const ORIGIN: Duration = Duration::from_secs(20_000 * 3600);

/// The steady clock that gives the core its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

#[expect(clippy::disallowed_methods, reason = "this is the driver's clock")]
impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(&self) -> Time {
        Time::from_origin(ORIGIN + Instant::now().saturating_duration_since(self.0))
    }
}

/// The wall clock, in nanoseconds since 1970, for recordings.
#[expect(clippy::disallowed_methods, reason = "a recording tells when it was made")]
pub(super) fn wall_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// The wall clock, in milliseconds since 1970: the epoch of a node that starts now.
#[expect(clippy::disallowed_methods, reason = "the driver tells the core which life this is")]
pub(super) fn wall_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_units_of_the_wall_clock_tell_the_same_time() {
        let before = wall_millis();
        let nanos = wall_nanos();
        assert!((before..=wall_millis()).contains(&(nanos / 1_000_000)));
    }
}
