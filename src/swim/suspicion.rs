//! Suspicion: its timeout is the shorter the more members accuse the suspect (Lifeguard §IV-B, LHA-Suspicion).
//!
//! ```text
//! T(c) = max(min, max − (max − min) · ln(c + 1) / ln(k + 1))      rounded down to milliseconds
//! min  = mult · max(1, log10 n) · probe interval,   max = max_mult · min
//! ```
//!
//! `c` counts the independent accusers behind the first. With k = 0 the time is `min`, as in SWIM §4.2; where too few
//! members are left, suspects not counted, for k accusers behind the first it is twice that.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    config::Config,
    time::Time,
    verdict::{Accuser, Origin, Verdict},
};
use crate::wire::message::MAX_ACCUSERS;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Suspicion {
    started: Time,
    min: Duration,
    max: Duration,
    k: u32,
    accusers: Vec<Arc<str>>,
    put_off: bool,
    /// Others said that the suspect left: if it does not refute that, it did.
    pub(super) said_left: bool,
}

impl Suspicion {
    pub(super) fn new(started: Time, min: Duration, max: Duration, k: u32) -> Self {
        Self { started, min, max, k, accusers: Vec::new(), put_off: false, said_left: false }
    }

    /// The suspicion that `config` asks for in a cluster of `n` live members, of which `able`, the suspect among them, are
    /// not suspected of anything else: only these can confirm it. Perhaps `most` are suspected.
    pub(super) fn in_cluster(config: &Config, started: Time, n: usize, able: usize, most: bool) -> Self {
        let k = confirmations(config, able, most);
        let min = min_timeout(config.suspicion_mult, config.probe_interval, n);
        // An accusation that no member can confirm has twice the timeout.
        let min =
            if config.lha_suspicion && k == 0 && config.suspicion_confirmations > 0 { min * 2 } else { min };
        Self::new(started, min, min.saturating_mul(config.suspicion_max_mult), k)
    }

    /// Adds an accuser. Returns whether that changes anything: it is a new one, and can still shorten the wait.
    pub(super) fn accuse(&mut self, accuser: &Arc<str>) -> bool {
        let room = self.accusers.len() <= self.k as usize && self.accusers.len() < MAX_ACCUSERS;
        let changed = room && !self.accusers.contains(accuser);
        if changed {
            self.accusers.push(Arc::clone(accuser));
        }
        changed
    }

    /// Fewer members can confirm by now, since many are suspected; one confirmation at least is waited for.
    pub(super) fn expect_at_most(&mut self, confirmations: u32) {
        self.k = self.k.min(confirmations.max(1));
    }

    /// No confirmation is waited for any more: it ends the least timeout from now, unless it would have sooner.
    pub(super) fn hasten(&mut self, now: Time) {
        let ends = self.deadline().min(now + self.min);
        (self.k, self.started, self.min) = (0, now, ends.since(now));
    }

    /// Extends an unconfirmed suspicion by its full timeout, once, and again as long as this node is `troubled`. Returns
    /// whether it did. The only accuser may have bad connectivity and may have reached no other member, not even the
    /// suspect. There is no extension where too few members are `able` to confirm, this node included.
    pub(super) fn put_off(&mut self, now: Time, able: usize, troubled: bool) -> bool {
        let alone = self.is_unconfirmed() && able > self.k as usize;
        let first = !std::mem::replace(&mut self.put_off, true);
        let extended = alone && (first || troubled);
        if extended {
            self.started = now;
        }
        extended
    }

    /// No member has confirmed it, though others could.
    pub(super) fn is_unconfirmed(&self) -> bool {
        self.k > 0 && self.has_one_accuser()
    }

    pub(super) fn has_one_accuser(&self) -> bool {
        self.accusers.len() <= 1
    }

    /// The evidence, as the verdict falls on a member that was suspected at `since`.
    pub(super) fn verdict(&self, own: &str, since: Time, now: Time, origin: Origin) -> Verdict {
        let accusers = self.accusers.iter().map(|accuser| Accuser::of(accuser, own)).collect();
        Verdict { origin, accusers, suspected: Some(since), waited: now.since(since) }
    }

    /// Whether a member has been suspected for twice as long as an unconfirmed suspicion takes.
    pub(super) fn is_overdue(&self, suspected: Duration) -> bool {
        suspected >= self.max.saturating_mul(2)
    }

    pub(super) fn accusers(&self) -> impl Iterator<Item = &str> {
        self.accusers.iter().map(AsRef::as_ref)
    }

    /// When the suspect is declared failed, or left if others said so, unless it refutes.
    pub(super) fn deadline(&self) -> Time {
        let confirmations = self.accusers.len().saturating_sub(1);
        self.started + timeout(self.min, self.max, self.k, confirmations as u32)
    }

    /// Time in which this node could not listen does not count.
    pub(super) fn extend(&mut self, by: Duration) {
        self.started = self.started + by;
    }
}

fn timeout(min: Duration, max: Duration, k: u32, confirmations: u32) -> Duration {
    if k == 0 {
        return min;
    }
    let share = f64::from(confirmations + 1).ln() / f64::from(k + 1).ln();
    let seconds = max.as_secs_f64() - share * (max.as_secs_f64() - min.as_secs_f64());
    Duration::from_millis((seconds.max(0.0) * 1000.0 + 1e-6) as u64).max(min)
}

/// `mult · max(1, log10 n) · interval`, the logarithm cut to thousandths.
fn min_timeout(mult: u32, interval: Duration, n: usize) -> Duration {
    let scale = (n.max(1) as f64).log10().max(1.0);
    let thousandths = (scale * 1000.0) as u32;
    interval.saturating_mul(mult).saturating_mul(thousandths) / 1000
}

/// How many confirmations to wait for: none where too few members could give them; one where `most` are suspected, for then
/// each has many suspects to check.
pub(super) fn confirmations(config: &Config, able: usize, most: bool) -> u32 {
    let k = config.suspicion_confirmations;
    if !config.lha_suspicion || able.saturating_sub(2) < k as usize {
        return 0;
    }
    if most { k.min(1) } else { k }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    /// The vectors of memberlist's own suite: k = 3, 2 s to 30 s.
    #[test]
    fn each_confirmation_shortens_the_wait_as_lifeguard_prescribes() {
        let expected = [30_000, 16_000, 7_810, 2_000];
        for (c, millis) in expected.into_iter().enumerate() {
            assert_eq!(timeout(secs(2), secs(30), 3, c as u32), Duration::from_millis(millis), "c = {c}");
        }
    }

    #[test]
    fn the_dogpile_table_holds() {
        let (min, max) = (Duration::from_millis(500), secs(1));
        let expected = [1000, 750, 603, 500].map(Duration::from_millis);
        for (c, expected) in expected.into_iter().enumerate() {
            let got = timeout(min, max, 3, c as u32);
            assert!(got.abs_diff(expected) <= Duration::from_millis(1), "c = {c}: {got:?}");
        }
    }

    #[test]
    fn fractions_of_the_span_left_after_each_confirmation() {
        // Lifeguard §IV-B: K = 3 leaves 1, 0.5, 0.2075, 0 of (max − min).
        for (c, left) in [(0, 1.0), (1, 0.5), (2, 0.2075), (3, 0.0)] {
            let t = timeout(secs(10), secs(60), 3, c).as_secs_f64();
            assert!(((t - 10.0) / 50.0 - left).abs() < 1e-3, "c = {c}: {t}");
        }
    }

    #[test]
    fn the_minimum_grows_with_the_logarithm_of_the_cluster() {
        for (n, millis) in [(1, 4000), (10, 4000), (100, 8000), (128, 8428), (1000, 12_000), (10_000, 16_000)]
        {
            assert_eq!(min_timeout(4, secs(1), n), Duration::from_millis(millis), "n = {n}");
        }
    }

    #[test]
    fn without_enough_members_to_confirm_it_fires_at_twice_the_minimum() {
        let config = Config::lan("n");
        for (n, k) in
            [(1, 0), (4, 0), (5, config.suspicion_confirmations), (100, config.suspicion_confirmations)]
        {
            assert_eq!(confirmations(&config, n, false), k, "n = {n}");
        }
        let suspicion = |n, able| Suspicion::in_cluster(&config, Time::ZERO, n, able, 2 * able < n);
        assert_eq!(suspicion(4, 4).deadline(), Time::ZERO + secs(4));
        assert_eq!(suspicion(5, 5).deadline(), Time::ZERO + secs(24));
        assert_eq!(suspicion(10, 4).deadline(), Time::ZERO + secs(4), "suspects confirm nothing");
    }

    #[test]
    fn the_first_accuser_and_repeats_do_not_count_and_more_than_k_are_ignored() {
        let mut suspicion = Suspicion::new(Time::ZERO, secs(2), secs(30), 2);
        let names: Vec<Arc<str>> = ["a", "b", "c", "d"].map(Arc::from).to_vec();
        assert!(suspicion.accuse(&names[0]));
        assert_eq!(suspicion.deadline(), Time::ZERO + secs(30));
        assert!(!suspicion.accuse(&names[0]));
        assert!(suspicion.accuse(&names[1]));
        assert!(suspicion.accuse(&names[2]));
        assert_eq!(suspicion.deadline(), Time::ZERO + secs(2));
        assert!(!suspicion.accuse(&names[3]));
    }

    #[test]
    fn a_lone_accuser_extends_its_suspicion_once_and_while_it_is_troubled() {
        let names: Vec<Arc<str>> = ["a", "b"].map(Arc::from).to_vec();
        let alone = |k| {
            let mut suspicion = Suspicion::new(Time::ZERO, secs(2), secs(30), k);
            suspicion.accuse(&names[0]);
            suspicion
        };
        let mut suspicion = alone(3);
        assert!(suspicion.put_off(Time::ZERO + secs(30), 4, false));
        assert_eq!(suspicion.deadline(), Time::ZERO + secs(60));
        assert!(suspicion.put_off(Time::ZERO + secs(60), 5, true));
        assert_eq!(suspicion.deadline(), Time::ZERO + secs(90));
        assert!(!suspicion.put_off(Time::ZERO + secs(90), 5, false), "a dead member is found out in the end");
        let mut confirmed = alone(3);
        confirmed.accuse(&names[1]);
        assert!(!confirmed.put_off(Time::ZERO + secs(16), 5, true));
        assert!(!alone(0).put_off(Time::ZERO + secs(2), 5, true), "nobody could confirm it");
        assert!(!alone(3).put_off(Time::ZERO + secs(30), 3, true), "nobody is left who could");
    }

    #[test]
    fn a_hastened_suspicion_is_not_extended_however_late_it_was_hastened() {
        for at in [0, 1, 29] {
            let mut suspicion = Suspicion::new(Time::ZERO, secs(2), secs(30), 3);
            suspicion.hasten(Time::ZERO + secs(at));
            assert_eq!(suspicion.deadline(), Time::ZERO + secs(at + 2).min(secs(30)));
            assert!(!suspicion.put_off(suspicion.deadline(), 5, true), "hastened after {at} s");
        }
    }

    #[test]
    fn a_pause_of_ours_puts_the_verdict_off() {
        let mut suspicion = Suspicion::new(Time::ZERO, secs(2), secs(30), 0);
        suspicion.extend(secs(5));
        assert_eq!(suspicion.deadline(), Time::ZERO + secs(7));
    }
}
