//! The time of sealed datagrams: the wall clock; but once a peer has confirmed it, the time never goes back.
//!
//! The system has a wall clock, which can be set, and a steady clock, which cannot be set and does not tell the date. Until
//! a datagram is accepted the time is the wall clock. An accepted datagram confirms that a peer's clock agrees with it, and
//! from then on the time is the greater of the wall clock and *the confirmed time plus what the steady clock has counted
//! since*. So
//!
//! - a wall clock that is set back changes nothing: recordings do not become fresh, and datagrams still pass both ways;
//! - one that is set forward is followed, also after a sleep that the steady clock did not count; if that was wrong,
//!   nothing is accepted meanwhile, and it is followed back;
//! - one that was wrong at the start, so that nothing was accepted, may be put right in either direction.
//!
//! The count runs slower than the clock by 1/2048. A clock that runs fast and is set back a little each day would
//! otherwise leave this node ahead by the sum of it.

/// Both clocks of the system, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// Since 1970, as far as the system knows.
    pub(crate) wall: u64,
    /// Since any moment of this process.
    pub(crate) steady: u64,
}

/// The count runs slower by this fraction.
const SLOWER: u64 = 2048;

#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// The latest reading whose wall clock agreed with a peer's.
    confirmed: Option<Reading>,
}

impl Clock {
    /// Milliseconds since 1970.
    pub(crate) fn now(&self, at: Reading) -> u64 {
        self.confirmed.map_or(at.wall, |then| {
            let since = at.steady.saturating_sub(then.steady);
            at.wall.max(then.wall.saturating_add(since - since / SLOWER))
        })
    }

    /// A peer's clock agrees with this node's.
    pub(crate) fn confirm(&mut self, at: Reading) {
        // Where the wall clock is behind, it was the count that agreed, and the count goes on.
        if at.wall >= self.now(at) {
            self.confirmed = Some(at);
        }
    }

    /// Whether a peer's clock ever agreed with this node's.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000;
    const HOUR: u64 = 3_600_000;

    /// After some time has passed, with the wall clock off by some amount.
    fn after(passed: u64, off: i64) -> Reading {
        Reading { wall: (START + passed).saturating_add_signed(off), steady: passed }
    }

    #[test]
    fn until_a_peer_agrees_the_wall_clock_is_followed_both_ways() {
        let clock = Clock::default();
        assert_eq!(clock.now(after(0, 3_600_000)), START + HOUR);
        assert_eq!(clock.now(after(10, 0)), START + 10);
        assert_eq!(clock.now(after(20, -3_600_000)), START + 20 - HOUR);
    }

    #[test]
    fn a_clock_that_was_right_is_not_followed_back() {
        let mut clock = Clock::default();
        clock.confirm(after(1000, 0));
        assert_eq!(clock.now(after(1000, -3_600_000)), START + 1000);
        let later = clock.now(after(HOUR, -3_600_000));
        assert!((START + HOUR - 2000..START + HOUR).contains(&later), "it counts on: {later}");
        clock.confirm(after(HOUR, -3_600_000));
        assert_eq!(clock.now(after(HOUR, -3_600_000)), later);
        assert_eq!(clock.now(after(2 * HOUR, 0)), START + 2 * HOUR, "put right");
    }

    #[test]
    fn a_step_forward_is_followed_and_taken_back_if_no_peer_agreed() {
        let mut clock = Clock::default();
        clock.confirm(after(0, 0));
        assert_eq!(clock.now(after(10, 3_600_000)), START + 10 + HOUR);
        assert_eq!(clock.now(after(20, 0)), START + 20);
        // The same after a sleep, which the peers confirm.
        clock.confirm(after(30, 3_600_000));
        assert_eq!(clock.now(after(40, 0)), START + 40 + HOUR);
    }

    #[test]
    fn small_steps_back_do_not_add_up() {
        let (mut clock, mut off) = (Clock::default(), 0);
        for hour in 0..1000 {
            off -= 1000;
            let at = after(hour * HOUR, off);
            clock.confirm(at);
            assert!(clock.now(at) - at.wall <= 1000, "after {hour} hours: {}", clock.now(at) - at.wall);
        }
    }
}
