//! The pace of gossip rounds for data alone: there are fewer than the protocol allows, so that updates of the membership
//! find credit for rounds of their own at once.

use std::time::Duration;

use crate::swim::Time;

/// Data may use four of five possible rounds.
const SHARE: f64 = 4.0 / 5.0;
/// Rounds that may come early: half of the rounds that the protocol has credit for.
const BURST: u32 = 5;

/// The generic cell rate algorithm. A packet with data that counts as a transmission counts as a round.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    paid_until: Time,
    last: Option<Time>,
}

impl Rounds {
    /// Data went out in packets that count as transmissions, at this time.
    pub(super) fn note(&mut self, now: Time, interval: Duration) {
        if self.last.replace(now) != Some(now) {
            self.paid_until = self.paid_until.max(now) + interval.div_f64(SHARE);
        }
    }

    /// When the next round may be.
    pub(super) fn next(&self, interval: Duration) -> Time {
        Time::from_origin(self.paid_until.since(Time::ZERO + interval * BURST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_rounds_come_early_and_on_average_four_in_five_intervals() {
        const INTERVAL: Duration = Duration::from_millis(200);
        let (mut rounds, begin) = (Rounds::default(), Time::from_origin(Duration::from_secs(9)));
        let count = |rounds: &mut Rounds, now: Time| {
            let may = rounds.next(INTERVAL) <= now;
            if may {
                (0..3).for_each(|_| rounds.note(now, INTERVAL));
            }
            usize::from(may)
        };
        let early: usize = (0..50).map(|at| count(&mut rounds, begin + Duration::from_millis(at))).sum();
        assert_eq!(early, BURST as usize);
        let later = (1..=100_000).map(|at| count(&mut rounds, begin + Duration::from_millis(50 + at))).sum();
        assert!((399_usize..=401).contains(&later), "{later} in 500 intervals");
    }
}
