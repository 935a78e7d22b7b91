//! Which datagrams were seen already: a window per sender, for as long as one of its datagrams may be accepted.
//!
//! Nothing here depends on a clock of this node. A sender is forgotten when all that it sent bears a time more than
//! [`SPAN_MS`] before the newest time that any accepted datagram bears, and from then on what bears such a time is
//! refused from any sender. So no datagram is accepted twice, however the clock is set.

use std::collections::HashMap;

use super::Session;

/// How far the clocks of two nodes may differ, and how long a datagram may be under way, in milliseconds.
pub(super) const FRESH_MS: u64 = 30_000;
/// From the oldest to the newest time that can be fresh together.
const SPAN_MS: u64 = 2 * FRESH_MS;
/// Senders heard from within the last minute; datagrams of more are dropped. Only holders of a key can fill it.
const MAX_SESSIONS: usize = 1 << 16;
/// Datagrams of one sender that may overtake another.
const WIDTH: u64 = 128;

/// Whether a genuine datagram is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    New,
    /// It was seen, or is too far behind the window to tell; or there are too many senders.
    Seen,
    /// Its sender may have been forgotten since.
    Old,
}

#[derive(Debug, Default)]
pub(super) struct Replays {
    windows: HashMap<Session, Window>,
    /// The newest time that an accepted datagram bears, in milliseconds since 1970.
    newest: u64,
    /// The value of `newest` when senders were last forgotten.
    swept: u64,
}

#[derive(Debug)]
struct Window {
    highest: u64,
    /// Bit n: `highest − n` was seen.
    seen: u128,
    /// The newest time of its datagrams.
    newest: u64,
}

impl Replays {
    /// Judges a genuine datagram that bears the time `sent`, and remembers it if it is new.
    pub(super) fn admit(&mut self, session: Session, count: u64, sent: u64) -> Admission {
        if is_past(sent, self.newest) {
            return Admission::Old;
        }
        self.newest = self.newest.max(sent);
        self.sweep();
        if let Some(window) = self.windows.get_mut(&session) {
            return window.admit(count, sent);
        }
        if self.windows.len() >= MAX_SESSIONS {
            return Admission::Seen;
        }
        self.windows.insert(session, Window { highest: count, seen: 1, newest: sent });
        Admission::New
    }

    /// Forgets senders from which nothing can be accepted again.
    fn sweep(&mut self) {
        if self.newest - self.swept >= FRESH_MS {
            self.swept = self.newest;
            self.windows.retain(|_, window| !is_past(window.newest, self.newest));
        }
    }
}

/// Whether nothing of that time is accepted any more.
fn is_past(sent: u64, newest: u64) -> bool {
    newest.saturating_sub(sent) > SPAN_MS
}

impl Window {
    fn admit(&mut self, count: u64, sent: u64) -> Admission {
        if count > self.highest {
            let by = count - self.highest;
            self.seen = if by < WIDTH { self.seen << by | 1 } else { 1 };
            self.highest = count;
        } else {
            let behind = self.highest - count;
            if behind >= WIDTH || self.seen >> behind & 1 == 1 {
                return Admission::Seen;
            }
            self.seen |= 1 << behind;
        }
        self.newest = self.newest.max(sent);
        Admission::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    #[test]
    fn each_count_within_the_window_is_admitted_once_in_any_order() {
        let mut replays = Replays::default();
        let mut admit = |count| replays.admit([1; 16], count, NOW) == Admission::New;
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
            let admitted = replays.admit([0; 16], count, NOW) == Admission::New;
            assert_eq!(admitted, expected, "{count} behind {highest}");
        }
    }

    #[test]
    fn no_datagram_is_admitted_twice_at_any_time_although_senders_are_forgotten() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut replays, mut admitted) = (Replays::default(), std::collections::HashSet::new());
        let (mut time, mut most) = (NOW, 0);
        for _ in 0..50_000 {
            time += random.u64(..2_000);
            // Of any age: replayed by an attacker that recorded everything.
            let sent = time - random.u64(..200_000).saturating_sub(100_000);
            let session = [random.u8(..50); 16];
            let datagram = (session, random.u64(..100), sent);
            if replays.admit(session, datagram.1, sent) == Admission::New {
                assert!(admitted.insert(datagram), "{datagram:?} again");
            }
            if let Some(&(session, count, sent)) = admitted.iter().next() {
                assert_ne!(replays.admit(session, count, sent), Admission::New);
            }
            most = most.max(replays.windows.len());
        }
        assert!(replays.windows.len() < most, "senders are forgotten");
    }

    #[test]
    fn silent_senders_are_forgotten_once_nothing_of_theirs_is_accepted_and_no_sooner() {
        let mut replays = Replays::default();
        assert_eq!(replays.admit([1; 16], 1, NOW), Admission::New);
        assert_eq!(replays.admit([2; 16], 1, NOW + SPAN_MS), Admission::New);
        assert_eq!(replays.windows.len(), 2);
        assert_eq!(replays.admit([1; 16], 1, NOW), Admission::Seen);
        assert_eq!(replays.admit([3; 16], 1, NOW + SPAN_MS + FRESH_MS), Admission::New);
        assert_eq!(replays.windows.len(), 2);
        assert_eq!(replays.admit([1; 16], 1, NOW), Admission::Old);
        assert_eq!(replays.admit([4; 16], 1, NOW + FRESH_MS), Admission::New, "as old as may be");
    }

    #[test]
    fn the_number_of_senders_is_bounded() {
        let mut replays = Replays::default();
        let session = |i: usize| {
            let mut session = [0; 16];
            session[..8].copy_from_slice(&i.to_le_bytes());
            session
        };
        assert!((0..MAX_SESSIONS).all(|i| replays.admit(session(i), 0, NOW) == Admission::New));
        assert_eq!(replays.admit(session(MAX_SESSIONS), 0, NOW), Admission::Seen);
        assert_eq!(replays.windows.len(), MAX_SESSIONS);
        assert_eq!(
            replays.admit(session(MAX_SESSIONS), 0, NOW + SPAN_MS + 1),
            Admission::New,
            "as time goes on"
        );
    }
}
