//! Warnings that repeat: the first at once, then one a minute, with how many were left out.

use std::{
    fmt,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// The time between two warnings of one kind.
const PAUSE: Duration = Duration::from_secs(60);
/// Kinds that are kept in mind; the one that was told of longest ago makes room.
const MAX_KINDS: usize = 64;

/// Keeps warnings of one kind from filling the log. No lock is held while one is written.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    told: Mutex<Vec<Told>>,
}

#[derive(Debug)]
struct Told {
    kind: String,
    at: Instant,
    left_out: u64,
}

impl Throttle {
    /// Logs a warning unless one of this kind was logged within the last minute.
    #[expect(clippy::disallowed_methods, reason = "the log's time, not the protocol's")]
    pub(crate) fn warn(&self, kind: &str, message: fmt::Arguments<'_>) {
        match self.admit(kind, Instant::now()) {
            Some(0) => log::warn!("{message}"),
            Some(left_out) => log::warn!("{message} ({left_out} more like this since the last warning)"),
            None => {}
        }
    }

    /// What was bad is good again: the next warning of this kind is news.
    pub(crate) fn forget(&self, kind: &str) {
        self.told.lock().retain(|told| told.kind != kind);
    }

    /// How many were left out since the last one, if another is due.
    fn admit(&self, kind: &str, now: Instant) -> Option<u64> {
        let mut all = self.told.lock();
        if let Some(told) = all.iter_mut().find(|told| told.kind == kind) {
            if now.saturating_duration_since(told.at) < PAUSE {
                told.left_out += 1;
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.left_out));
        }
        if all.len() >= MAX_KINDS
            && let Some(oldest) = (0..all.len()).min_by_key(|at| all[*at].at)
        {
            all.swap_remove(oldest);
        }
        all.push(Told { kind: kind.into(), at: now, left_out: 0 });
        Some(0)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "some time to count from")]
mod tests {
    use super::*;

    #[test]
    fn of_a_warning_that_repeats_one_a_minute_is_told_and_the_rest_is_counted() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let told: Vec<_> = (0..795)
            .filter_map(|at| Some((at, throttle.admit("accept", start + Duration::from_millis(at * 200))?)))
            .collect();
        assert_eq!(told, [(0, 0), (300, 299), (600, 299)]);
        assert_eq!(throttle.admit("seeds", start), Some(0), "another kind");
        throttle.forget("accept");
        assert_eq!(throttle.admit("accept", start), Some(0));
    }

    #[test]
    fn kinds_are_bounded() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for at in 0..1_000 {
            assert_eq!(throttle.admit(&at.to_string(), start + Duration::from_millis(at)), Some(0));
        }
        assert_eq!(throttle.told.lock().len(), MAX_KINDS);
        assert_eq!(throttle.admit("999", start + Duration::from_secs(1)), None);
    }
}
