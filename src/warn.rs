//! Warnings that repeat: the first at once, then less and less often, with how many were left out.

use std::{
    fmt,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// The time between the first two warnings of one kind; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Kinds that are kept in mind. Once there are so many, all others count as one kind: many that take turns are told of as
/// seldom as one.
const MAX_KINDS: usize = 64;
const OTHERS: &str = "others";

/// Keeps warnings of one kind from filling the log. No lock is held while one is written.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    told: Mutex<Vec<Told>>,
}

#[derive(Debug)]
struct Told {
    kind: String,
    at: Instant,
    pause: Duration,
    left_out: u64,
}

impl Told {
    /// Whether it was silent for so long that the next would be news.
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= self.pause.saturating_mul(2)
    }
}

impl Throttle {
    /// Logs a warning unless one of this kind was logged lately: within the last minute, then two, four, up to an hour.
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
        let is_known = all.iter().any(|told| told.kind == kind);
        if !is_known && all.len() >= MAX_KINDS {
            all.retain(|told| !told.is_over(now));
        }
        let kind = if is_known || all.len() < MAX_KINDS { kind } else { OTHERS };
        let Some(told) = all.iter_mut().find(|told| told.kind == kind) else {
            all.push(Told { kind: kind.into(), at: now, pause: FIRST_PAUSE, left_out: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(told.at) < told.pause {
            told.left_out += 1;
            return None;
        }
        told.pause = if told.is_over(now) { FIRST_PAUSE } else { (told.pause * 2).min(LONGEST_PAUSE) };
        told.at = now;
        Some(std::mem::take(&mut told.left_out))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "some time to count from")]
mod tests {
    use super::*;

    #[test]
    fn a_warning_that_repeats_is_told_less_and_less_often_and_the_rest_is_counted() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let told: Vec<_> = (0..7 * 3600)
            .filter_map(|at| Some((at, throttle.admit("accept", start + Duration::from_secs(at))?)))
            .map(|(at, left_out)| (at / 60, left_out))
            .collect();
        let expected = [(0, 0), (1, 59), (3, 119), (7, 239), (15, 479), (31, 959), (63, 1919), (123, 3599)];
        assert_eq!(told[..8], expected);
        assert_eq!(throttle.admit("seeds", start), Some(0), "another kind");
        throttle.forget("accept");
        assert_eq!(throttle.admit("accept", start), Some(0));
        // After a long silence it is news.
        let later = start + Duration::from_secs(300);
        assert_eq!((throttle.admit("accept", later), throttle.admit("accept", later)), (Some(0), None));
        assert_eq!(throttle.admit("accept", later + FIRST_PAUSE), Some(1));
    }

    #[test]
    fn kinds_are_bounded_and_many_that_take_turns_are_told_as_seldom_as_one() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let told = |at: u64| {
            let now = start + Duration::from_secs(at);
            (0..1_000).filter(|kind| throttle.admit(&kind.to_string(), now).is_some()).count()
        };
        assert_eq!(told(0), MAX_KINDS + 1);
        assert_eq!((1..60).map(told).sum::<usize>(), 0);
        assert_eq!(throttle.told.lock().len(), MAX_KINDS + 1);
        assert!(told(60) <= MAX_KINDS + 1);
        // Those that were silent for long make room.
        assert_eq!(throttle.admit("new", start + Duration::from_secs(10_000)), Some(0));
        assert!(throttle.told.lock().len() <= MAX_KINDS);
    }
}
