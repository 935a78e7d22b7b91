//! The core's time, which its driver provides.

use std::{fmt, ops::Add, time::Duration};

use serde::{Deserialize, Serialize};

/// A moment, counted from an origin that the driver chooses (usually the node's start).
///
/// Arithmetic saturates, after 584 years: no input can make it panic or wrap.
///
/// With `serde` it is written in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time {
    /// A `Duration` would take twice the space, in every record.
    nanos: u64,
}

const fn nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}

impl Time {
    /// The origin.
    pub const ZERO: Time = Time { nanos: 0 };

    /// The latest time that can be expressed, 584 years after the origin.
    pub const MAX: Time = Time { nanos: u64::MAX };

    /// The moment this long after the origin.
    #[must_use]
    pub const fn from_origin(elapsed: Duration) -> Self {
        Self { nanos: nanos(elapsed) }
    }

    /// How long after the origin this is.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// The same in nanoseconds.
    pub(super) const fn nanos(self) -> u64 {
        self.nanos
    }

    /// How long after `earlier` this is; zero if it is before.
    #[must_use]
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }

    /// The earlier of two deadlines, of which either may not be set.
    pub(crate) fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Whether this moment, from which something may happen again, has come. If so, the next one is an interval later.
    pub(crate) fn pass(&mut self, now: Time, interval: Duration) -> bool {
        let has_come = now >= *self;
        if has_come {
            *self = now + interval;
        }
        has_come
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, delay: Duration) -> Time {
        Time { nanos: self.nanos.saturating_add(nanos(delay)) }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.since_origin().as_secs_f64())
    }
}
