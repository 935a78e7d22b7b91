//! Decides when an address that look-ups no longer return has left. Absence from one answer is not enough.
//!
//! A name server may return only a part of all addresses, a different part each time, and several servers may know different
//! parts. So an address has left only when several complete look-ups in a row missed it, or its time to live is over. If the
//! answers were seen to *rotate*, its absence must also be too unlikely to be chance: if each answer were a random choice of
//! `n` of `k` known addresses, one address would be missed `m` times in a row with the probability `(1 - n/k)^m`.
//!
//! Answers rotate if an address that was missed comes back, or if one answer both lacks known addresses and has new
//! ones. The latter is also what a deployment looks like that replaces all addresses. So the earlier answers decide:
//! after a long row of answers that lacked nothing they are taken to be *whole*, and new addresses beside missing ones
//! are replacements, until an address that was missed comes back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// For this many complete look-ups after a rotation was seen, answers count as rotating. After as many in a row that lacked no
/// known address, answers count as whole.
const ROTATION_MEMORY: u32 = 20;
/// The most addresses that count as present. Beyond it, the addresses that were missed most often leave.
const MAX_PRESENT: usize = 4096;
/// The probability below which an absence does not count as chance.
const UNLIKELY: f64 = 1e-6;

/// When an address that is no longer returned has left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// The number of consecutive complete look-ups without the address.
    pub(super) misses: u32,
    pub(super) ttl: Ttl,
}

/// The time after which an address that no look-up returned has left, if that comes before the misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ttl {
    Unlimited,
    Fixed(Duration),
    /// The time to live of the address's record.
    #[cfg_attr(
        not(feature = "dns-client"),
        allow(dead_code, reason = "only the DNS client of this crate knows it")
    )]
    OfRecord,
}

#[derive(Debug)]
pub(super) struct Presence {
    rule: Rule,
    present: BTreeMap<String, Seen>,
    /// The addresses that left at the last complete look-up.
    vanished: BTreeSet<String>,
    /// Complete look-ups since the answers were last seen to rotate.
    since_rotation: u32,
    /// Complete look-ups since an answer lacked a known address.
    since_lack: u32,
    /// Whether each answer is taken to hold all addresses.
    are_whole: bool,
}

#[derive(Debug)]
struct Seen {
    last: Instant,
    ttl: Option<Duration>,
    misses: u32,
    /// The probability of this many consecutive misses, if each answer were a random choice.
    probability: f64,
}

/// The effect of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) active: Vec<String>,
    pub(super) left: Vec<String>,
    pub(super) removed: Vec<String>,
}

impl Presence {
    pub(super) fn new(rule: Rule) -> Self {
        Self {
            rule,
            present: BTreeMap::new(),
            vanished: BTreeSet::new(),
            since_rotation: ROTATION_MEMORY,
            since_lack: 0,
            are_whole: false,
        }
    }

    /// Takes in an answer with the times to live of its records. An answer that may not be complete only adds
    /// addresses.
    pub(super) fn update(
        &mut self,
        answer: &BTreeMap<String, Option<Duration>>,
        is_complete: bool,
        now: Instant,
    ) -> Changes {
        let lacks_some = self.present.keys().any(|peer| !answer.contains_key(peer));
        let (mut brings_new, mut comes_back) = (false, false);
        for (peer, ttl) in answer {
            let seen = Seen { last: now, ttl: *ttl, misses: 0, probability: 1.0 };
            let before = self.present.insert(peer.clone(), seen);
            comes_back |= self.vanished.remove(peer) || before.as_ref().is_some_and(|seen| seen.misses > 0);
            brings_new |= before.is_none();
        }
        let active = answer.keys().cloned().collect();
        if !is_complete {
            return Changes { active, ..Changes::default() };
        }
        self.since_lack = if lacks_some { 0 } else { self.since_lack.saturating_add(1) };
        self.are_whole = !comes_back && (self.are_whole || self.since_lack >= ROTATION_MEMORY);
        let rotates = comes_back || brings_new && lacks_some && !self.are_whole;
        self.since_rotation = if rotates { 0 } else { self.since_rotation.saturating_add(1) };
        let removed = std::mem::take(&mut self.vanished).into_iter().collect();
        let left = self.miss(answer, now);
        self.vanished = left.iter().cloned().collect();
        Changes { active, left, removed }
    }

    /// Counts a miss for each address that the answer lacks. Returns the addresses that have left because of it.
    fn miss(&mut self, answer: &BTreeMap<String, Option<Duration>>, now: Instant) -> Vec<String> {
        let share = answer.len() as f64 / self.present.len().max(1) as f64;
        let mut left = Vec::new();
        for (peer, seen) in self.present.iter_mut().filter(|(peer, _)| !answer.contains_key(*peer)) {
            seen.misses = seen.misses.saturating_add(1);
            seen.probability *= 1.0 - share;
            // With a limit of one miss, every answer counts as complete.
            let may_be_chance =
                self.rule.misses > 1 && self.since_rotation < ROTATION_MEMORY && seen.probability > UNLIKELY;
            if !may_be_chance && self.rule.ends(seen, now) {
                left.push(peer.clone());
            }
        }
        left.iter().for_each(|peer| _ = self.present.remove(peer));
        self.make_room(&mut left);
        left
    }

    /// Bounds the memory if name servers return new addresses all the time: the addresses that were missed most often leave.
    fn make_room(&mut self, left: &mut Vec<String>) {
        while self.present.len() > MAX_PRESENT {
            let missed = self.present.iter().filter(|(_, seen)| seen.misses > 0);
            let most = missed.max_by_key(|(_, seen)| seen.misses).map(|(peer, _)| peer.clone());
            let Some(peer) = most else { return };
            self.present.remove(&peer);
            left.push(peer);
        }
    }
}

impl Rule {
    fn ends(self, seen: &Seen, now: Instant) -> bool {
        let ttl = match self.ttl {
            Ttl::Unlimited => None,
            Ttl::Fixed(ttl) => Some(ttl),
            Ttl::OfRecord => seen.ttl,
        };
        let is_over = |ttl| now.saturating_duration_since(seen.last) >= ttl;
        seen.misses >= self.misses || ttl.is_some_and(is_over)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "some time to count from")]
mod tests {
    use super::*;

    /// Look-ups every 30 s, and the addresses that left because of them.
    struct Scenario {
        presence: Presence,
        now: Instant,
        active: BTreeSet<String>,
        left: Vec<String>,
    }

    impl Scenario {
        fn new(misses: u32, ttl: Ttl) -> Self {
            let presence = Presence::new(Rule { misses, ttl });
            Self { presence, now: Instant::now(), active: BTreeSet::new(), left: Vec::new() }
        }

        fn look_up(&mut self, answer: &str, is_complete: bool) {
            let ttl = Some(Duration::from_secs(60));
            let answer = answer.split_whitespace().map(|peer| (peer.into(), ttl)).collect();
            let changes = self.presence.update(&answer, is_complete, self.now);
            self.active.extend(changes.active);
            changes.left.iter().for_each(|peer| _ = self.active.remove(peer));
            self.left.extend(changes.left);
            self.now += Duration::from_secs(30);
        }
    }

    #[test]
    fn answers_that_are_always_new_do_not_fill_the_memory() {
        let mut scenario = Scenario::new(3, Ttl::Unlimited);
        for at in 0..20 {
            let answer: Vec<_> = (0..1000).map(|i| format!("10.{at}.{}.{}", i / 256, i % 256)).collect();
            scenario.look_up(&answer.join(" "), true);
            assert!(scenario.presence.present.len() <= MAX_PRESENT);
        }
        assert_eq!(scenario.active.len(), MAX_PRESENT, "those that were missed most have left");
    }

    #[test]
    fn a_peer_leaves_after_so_many_look_ups_without_it() {
        for misses in 1..6 {
            let mut scenario = Scenario::new(misses, Ttl::Unlimited);
            scenario.look_up("a b c", true);
            for at in 1..=misses {
                assert_eq!(scenario.left.len(), 0, "{at} of {misses}");
                scenario.look_up("a b", true);
            }
            assert_eq!(scenario.left, ["c"], "{misses}");
        }
    }

    #[test]
    fn answers_that_may_be_incomplete_remove_no_peer_and_do_not_count() {
        let mut scenario = Scenario::new(3, Ttl::Fixed(Duration::from_secs(1)));
        scenario.look_up("a b c", true);
        (0..50).for_each(|_| scenario.look_up("a d", false));
        assert!(scenario.left.is_empty() && scenario.active.len() == 4);
    }

    #[test]
    fn a_peer_leaves_when_its_time_is_over_however_few_the_misses() {
        for ttl in [Ttl::Fixed(Duration::from_secs(60)), Ttl::OfRecord] {
            let mut scenario = Scenario::new(100, ttl);
            scenario.look_up("a b", true);
            scenario.look_up("a", true);
            assert_eq!(scenario.left.len(), 0);
            scenario.look_up("a", true);
            assert_eq!(scenario.left, ["b"]);
        }
    }

    #[test]
    fn no_peer_leaves_if_name_servers_return_eight_of_fifteen() {
        let all: Vec<_> = (0..15).map(|at| format!("p{at}")).collect();
        for seed in 0..100 {
            for ttl in [Ttl::Unlimited, Ttl::OfRecord, Ttl::Fixed(Duration::from_secs(5))] {
                let (mut scenario, mut rng) = (Scenario::new(3, ttl), fastrand::Rng::with_seed(seed));
                for _ in 0..400 {
                    let mut some = all.clone();
                    rng.shuffle(&mut some);
                    scenario.look_up(&some[..8].join(" "), true);
                }
                assert_eq!((scenario.left.len(), scenario.active.len()), (0, 15), "{seed} {ttl:?}");
            }
        }
    }

    #[test]
    fn no_peer_leaves_if_two_name_servers_know_different_halves() {
        for seed in 0..100 {
            let (mut scenario, mut rng) = (Scenario::new(3, Ttl::OfRecord), fastrand::Rng::with_seed(seed));
            // At first the same server answers five times in a row.
            for at in 0..100 {
                let first = if at < 5 { at == 0 } else { rng.bool() };
                scenario.look_up(if first { "a b c d" } else { "e f g h" }, true);
            }
            assert_eq!((scenario.left.len(), scenario.active.len()), (0, 8), "{seed}");
        }
    }

    #[test]
    fn an_address_that_is_really_gone_leaves_though_the_answers_rotated_before() {
        let mut scenario = Scenario::new(3, Ttl::Unlimited);
        (0..10).for_each(|at| scenario.look_up(if at % 2 == 0 { "a b c" } else { "c d" }, true));
        assert_eq!(scenario.left.len(), 0);
        (0..ROTATION_MEMORY + 3).for_each(|_| scenario.look_up("a b c", true));
        assert_eq!(scenario.left, ["d"]);
        // A roll-out replaces one address. As all others are in every answer, the answers are not random choices.
        let mut scenario = Scenario::new(3, Ttl::Unlimited);
        scenario.look_up("a b c d e f g h", true);
        (0..8).for_each(|_| scenario.look_up("b c d e f g h i", true));
        assert_eq!(scenario.left, ["a"]);
    }

    #[test]
    fn addresses_that_a_deployment_replaces_leave_as_others_do_if_no_answer_lacked_any_for_long() {
        for misses in 1..6 {
            let mut scenario = Scenario::new(misses, Ttl::Unlimited);
            (0..ROTATION_MEMORY).for_each(|_| scenario.look_up("a b c", true));
            // All addresses are replaced at once, then one by one.
            (0..misses).for_each(|_| scenario.look_up("d e f", true));
            assert_eq!(scenario.left, ["a", "b", "c"], "{misses}");
            for answer in ["e f g", "f g h"] {
                scenario.look_up(answer, true);
            }
            (0..misses).for_each(|_| scenario.look_up("g h i", true));
            assert_eq!(scenario.left, ["a", "b", "c", "d", "e", "f"], "{misses}");
        }
    }

    #[test]
    fn an_address_that_comes_back_shows_that_answers_are_not_whole() {
        let mut scenario = Scenario::new(3, Ttl::Unlimited);
        (0..ROTATION_MEMORY).for_each(|_| scenario.look_up("a b", true));
        for answer in ["c d", "a b", "c d", "c d", "c d", "c d", "c d"] {
            scenario.look_up(answer, true);
        }
        assert_eq!((scenario.left.len(), scenario.active.len()), (0, 4));
    }

    #[test]
    fn an_address_that_left_is_removed_by_the_next_complete_look_up_unless_it_is_back() {
        let mut scenario = Scenario::new(1, Ttl::Unlimited);
        let mut look_up = |answer: &[&str], is_complete| {
            let answer = answer.iter().map(|peer| ((*peer).into(), None)).collect();
            let changes = scenario.presence.update(&answer, is_complete, scenario.now);
            (changes.left.join(" "), changes.removed.join(" "))
        };
        look_up(&["a", "b", "c"], true);
        assert_eq!(look_up(&["a"], true), ("b c".into(), String::new()));
        assert_eq!(look_up(&["a"], false), (String::new(), String::new()));
        assert_eq!(look_up(&["a", "b"], true), (String::new(), "c".into()));
    }
}
