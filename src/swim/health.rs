//! Awareness (local health): how far this node trusts its own probes (Lifeguard §IV-A, LHA-Probe).
//!
//! A score from 0 (well) to `max - 1`. A probe that is answered lowers it by one, so does one that fails while a relay sends a
//! nack, and a suspicion that runs out. A probe that fails while all relays are silent raises it by the number of those that are
//! not suspected; a stall and a refutation of its own raise it, too. Probe interval and timeout are multiplied by `score + 1`,
//! so a node that is starved asks more slowly and waits longer. What can be brought about from outside counts less: a
//! refutation raises the score from 0 to 1 alone, and a probe of a member that has never answered does not raise it at all.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    rules::{Rule, holds},
    status::{Doubt, HealthDoubt},
    time::Time,
};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Health {
    score: u32,
    max: u32,
    /// Why the score rose last, and when.
    doubt: Option<Doubt>,
}

impl Health {
    /// `max` is the largest multiplier; 1 switches the whole idea off.
    pub(super) fn new(max: u32) -> Self {
        Self { score: 0, max, doubt: None }
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn set_max(&mut self, max: u32) {
        self.max = max;
        self.score = self.score.min(max.saturating_sub(1));
    }

    pub(super) fn score(&self) -> u32 {
        self.score
    }

    pub(super) fn doubt(&self) -> Option<&Doubt> {
        self.doubt.as_ref()
    }

    pub(super) fn improve(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    pub(super) fn degrade(&mut self, by: u32, why: HealthDoubt, now: Time) {
        let before = self.score;
        self.score = self.score.saturating_add(by).min(self.max.saturating_sub(1));
        if self.score > before {
            self.doubt = Some(Doubt { why, at: now });
        }
    }

    /// An accusation may be made up: it raises the score to 1 at most.
    pub(super) fn degrade_by_hearsay(&mut self, now: Time) {
        if self.score == 0 || !holds(Rule::Awareness) {
            self.degrade(1, HealthDoubt::Accused, now);
        }
    }

    pub(super) fn scale(&self, duration: Duration) -> Duration {
        duration.saturating_mul(self.score + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_stays_between_zero_and_the_limit() {
        let mut health = Health::new(8);
        health.improve();
        assert_eq!(health.score(), 0);
        health.degrade(100, HealthDoubt::Stall, Time::ZERO);
        assert_eq!(health.score(), 7);
        health.improve();
        assert_eq!(health.score(), 6);
    }

    #[test]
    fn what_others_say_halves_the_pace_at_most() {
        let mut health = Health::new(8);
        (0..10).for_each(|_| health.degrade_by_hearsay(Time::ZERO));
        assert_eq!(health.score(), 1);
        health.degrade(3, HealthDoubt::Stall, Time::ZERO);
        health.degrade_by_hearsay(Time::ZERO);
        assert_eq!(health.score(), 4);
    }

    #[test]
    fn durations_scale_by_score_plus_one() {
        let mut health = Health::new(8);
        assert_eq!(health.scale(Duration::from_secs(1)), Duration::from_secs(1));
        health.degrade(2, HealthDoubt::Stall, Time::ZERO);
        assert_eq!(health.scale(Duration::from_secs(1)), Duration::from_secs(3));
    }

    #[test]
    fn a_multiplier_of_one_switches_it_off() {
        let mut health = Health::new(1);
        health.degrade(5, HealthDoubt::Stall, Time::ZERO);
        assert_eq!(health.scale(Duration::from_secs(1)), Duration::from_secs(1));
    }
}
