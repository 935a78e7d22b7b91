//! Which datagrams were seen already: a window per sender, for as long as one of its datagrams may be fresh.

use std::collections::HashMap;

use super::Session;

/// How far the clocks of two nodes may differ, and how long a datagram may be under way, in milliseconds.
pub(super) const FRESH_MS: u64 = 30_000;
/// Senders heard of within the last minute; datagrams of more are dropped. Only holders of a key can fill it.
const MAX_SESSIONS: usize = 1 << 16;
/// Datagrams of one sender that may overtake another.
const WIDTH: u64 = 128;

#[derive(Debug, Default)]
pub(super) struct Replays {
    windows: HashMap<Session, Window>,
    swept: u64,
}

#[derive(Debug)]
struct Window {
    highest: u64,
    /// Bit n: `highest − n` was seen.
    seen: u128,
    /// By our clock, in milliseconds.
    heard: u64,
}

impl Replays {
    /// Says whether a genuine datagram is new, and remembers it.
    pub(super) fn admit(&mut self, session: Session, count: u64, now: u64) -> bool {
        self.sweep(now);
        if let Some(window) = self.windows.get_mut(&session) {
            return window.admit(count, now);
        }
        if self.windows.len() >= MAX_SESSIONS {
            return false;
        }
        self.windows.insert(session, Window { highest: count, seen: 1, heard: now });
        true
    }

    /// Forgets senders whose last datagram has become stale, also if their clock is ahead of ours.
    fn sweep(&mut self, now: u64) {
        // Also when the clock was set back.
        if now.abs_diff(self.swept) >= FRESH_MS {
            self.swept = now;
            self.windows.retain(|_, window| now.saturating_sub(window.heard) <= 2 * FRESH_MS);
        }
    }
}

impl Window {
    fn admit(&mut self, count: u64, now: u64) -> bool {
        if count > self.highest {
            let by = count - self.highest;
            self.seen = if by < WIDTH { self.seen << by | 1 } else { 1 };
            self.highest = count;
        } else {
            let behind = self.highest - count;
            if behind >= WIDTH || self.seen >> behind & 1 == 1 {
                return false;
            }
            self.seen |= 1 << behind;
        }
        self.heard = self.heard.max(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_is_admitted_once_in_whatever_order_within_the_window() {
        let mut replays = Replays::default();
        let mut admit = |count| replays.admit([1; 16], count, 1000);
        let counts = [5, 3, 9, 4, 200, 73, 74, 400];
        let first: Vec<bool> = counts.into_iter().map(&mut admit).collect();
        assert_eq!(first, [true, true, true, true, true, true, true, true]);
        assert!(counts.into_iter().all(|count| !admit(count)), "none of them twice");
        assert!(!admit(400 - 128), "behind the window nobody can tell");
        assert!(admit(400 - 127));
    }

    #[test]
    fn a_random_history_matches_a_set_that_forgets_nothing() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut replays, mut seen) = (Replays::default(), std::collections::HashSet::new());
        let mut highest = 0;
        for _ in 0..10_000 {
            let count = (highest + random.u64(..40)).saturating_sub(random.u64(..160));
            let expected = (highest - highest.min(count)) < WIDTH && seen.insert(count);
            highest = highest.max(count);
            if seen.len() == 1 && !expected {
                continue;
            }
            assert_eq!(replays.admit([0; 16], count, 0), expected, "{count} behind {highest}");
        }
    }

    #[test]
    fn silent_senders_are_forgotten_once_all_of_theirs_is_stale_and_no_sooner() {
        let mut replays = Replays::default();
        assert!(replays.admit([1; 16], 1, 100_000));
        assert!(replays.admit([2; 16], 1, 100_000 + 2 * FRESH_MS));
        assert_eq!(replays.windows.len(), 2);
        assert!(replays.admit([3; 16], 1, 100_001 + 3 * FRESH_MS));
        assert_eq!(replays.windows.len(), 2);
    }

    #[test]
    fn the_number_of_senders_is_bounded() {
        let mut replays = Replays::default();
        let session = |i: usize| {
            let mut session = [0; 16];
            session[..8].copy_from_slice(&i.to_le_bytes());
            session
        };
        assert!((0..MAX_SESSIONS).all(|i| replays.admit(session(i), 0, 0)));
        assert!(!replays.admit(session(MAX_SESSIONS), 0, 0));
    }
}
