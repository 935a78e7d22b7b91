//! Who has left, of those that a look-up does not name any more: absent is not gone.
//!
//! A name server may give a part of all addresses, another one each time, and several servers may know different parts. So
//! an address is *gone* only when it was missed by several complete look-ups in a row (or its time to live is over), and if
//! the answers were seen to *rotate*, only when that cannot be chance: if answers of `n` of `k` known addresses were drawn by
//! lot, an address would be missed `m` times in a row with the probability `(1 - n/k)^m`.
//!
//! Answers rotate if an address that was missed comes back, or one answer both lacks known addresses and brings new ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Look-ups for which it is remembered that answers were seen to rotate.
const MEMORY: u32 = 20;
/// Addresses that are present at most.
const MAX_PRESENT: usize = 4096;
/// The probability at which absence is no longer chance.
const UNLIKELY: f64 = 1e-6;

/// When an address that is not named any more has left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// So many complete look-ups without it are enough.
    pub(super) misses: u32,
    pub(super) ttl: Ttl,
}

/// How long an address stays that is not named any more, if that is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ttl {
    Unlimited,
    Fixed(Duration),
    /// What its record says.
    #[cfg_attr(not(feature = "dns-client"), allow(dead_code, reason = "only our own look-ups know it"))]
    OfRecord,
}

#[derive(Debug)]
pub(super) struct Presence {
    rule: Rule,
    present: BTreeMap<String, Seen>,
    /// Gone since the last complete look-up.
    vanished: BTreeSet<String>,
    /// Complete look-ups since the answers were seen to rotate.
    calm: u32,
}

#[derive(Debug)]
struct Seen {
    last: Instant,
    ttl: Option<Duration>,
    misses: u32,
    /// Of so many misses, if answers were drawn by lot.
    probability: f64,
}

/// What a look-up changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) active: Vec<String>,
    pub(super) left: Vec<String>,
    pub(super) removed: Vec<String>,
}

impl Presence {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rule, present: BTreeMap::new(), vanished: BTreeSet::new(), calm: MEMORY }
    }

    /// Takes in an answer with the times to live of its records. One that may not be complete removes nobody.
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
        let rotates = comes_back || brings_new && lacks_some;
        self.calm = if rotates { 0 } else { self.calm.saturating_add(1) };
        let removed = std::mem::take(&mut self.vanished).into_iter().collect();
        let left = self.miss(answer, now);
        self.vanished = left.iter().cloned().collect();
        Changes { active, left, removed }
    }

    /// Counts the absence of those that an answer lacks; who is gone by it is present no longer.
    fn miss(&mut self, answer: &BTreeMap<String, Option<Duration>>, now: Instant) -> Vec<String> {
        let share = answer.len() as f64 / self.present.len().max(1) as f64;
        let mut gone = Vec::new();
        for (peer, seen) in self.present.iter_mut().filter(|(peer, _)| !answer.contains_key(*peer)) {
            seen.misses = seen.misses.saturating_add(1);
            seen.probability *= 1.0 - share;
            // Who counts the first miss cannot see answers rotate.
            let may_be_chance = self.rule.misses > 1 && self.calm < MEMORY && seen.probability > UNLIKELY;
            if !may_be_chance && self.rule.ends(seen, now) {
                gone.push(peer.clone());
            }
        }
        gone.iter().for_each(|peer| _ = self.present.remove(peer));
        self.make_room(&mut gone);
        gone
    }

    /// Name servers that give ever new addresses do not fill the memory: those that were missed most are gone.
    fn make_room(&mut self, gone: &mut Vec<String>) {
        while self.present.len() > MAX_PRESENT {
            let missed = self.present.iter().filter(|(_, seen)| seen.misses > 0);
            let most = missed.max_by_key(|(_, seen)| seen.misses).map(|(peer, _)| peer.clone());
            let Some(peer) = most else { return };
            self.present.remove(&peer);
            gone.push(peer);
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

    /// Look-ups every 30 s, and who left by them.
    struct Story {
        presence: Presence,
        now: Instant,
        active: BTreeSet<String>,
        left: Vec<String>,
    }

    impl Story {
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
        let mut story = Story::new(3, Ttl::Unlimited);
        for at in 0..20 {
            let answer: Vec<_> = (0..1000).map(|i| format!("10.{at}.{}.{}", i / 256, i % 256)).collect();
            story.look_up(&answer.join(" "), true);
            assert!(story.presence.present.len() <= MAX_PRESENT);
        }
        assert_eq!(story.active.len(), MAX_PRESENT, "those that were missed most have left");
    }

    #[test]
    fn a_peer_leaves_after_so_many_look_ups_without_it() {
        for misses in 1..6 {
            let mut story = Story::new(misses, Ttl::Unlimited);
            story.look_up("a b c", true);
            for at in 1..=misses {
                assert_eq!(story.left.len(), 0, "{at} of {misses}");
                story.look_up("a b", true);
            }
            assert_eq!(story.left, ["c"], "{misses}");
        }
    }

    #[test]
    fn answers_that_may_not_be_complete_remove_nobody_and_do_not_count() {
        let mut story = Story::new(3, Ttl::Fixed(Duration::from_secs(1)));
        story.look_up("a b c", true);
        (0..50).for_each(|_| story.look_up("a d", false));
        assert!(story.left.is_empty() && story.active.len() == 4);
    }

    #[test]
    fn a_peer_leaves_when_its_time_is_over_whatever_the_misses() {
        for ttl in [Ttl::Fixed(Duration::from_secs(60)), Ttl::OfRecord] {
            let mut story = Story::new(100, ttl);
            story.look_up("a b", true);
            story.look_up("a", true);
            assert_eq!(story.left.len(), 0);
            story.look_up("a", true);
            assert_eq!(story.left, ["b"]);
        }
    }

    #[test]
    fn of_name_servers_that_give_eight_of_fifteen_nobody_leaves() {
        let all: Vec<_> = (0..15).map(|at| format!("p{at}")).collect();
        for seed in 0..100 {
            for ttl in [Ttl::Unlimited, Ttl::OfRecord, Ttl::Fixed(Duration::from_secs(5))] {
                let (mut story, mut rng) = (Story::new(3, ttl), fastrand::Rng::with_seed(seed));
                for _ in 0..400 {
                    let mut some = all.clone();
                    rng.shuffle(&mut some);
                    story.look_up(&some[..8].join(" "), true);
                }
                assert_eq!((story.left.len(), story.active.len()), (0, 15), "{seed} {ttl:?}");
            }
        }
    }

    #[test]
    fn of_two_name_servers_with_different_halves_nobody_leaves_whoever_answers() {
        for seed in 0..100 {
            let (mut story, mut rng) = (Story::new(3, Ttl::OfRecord), fastrand::Rng::with_seed(seed));
            // At first one answers some times in a row.
            for at in 0..100 {
                let first = if at < 5 { at == 0 } else { rng.bool() };
                story.look_up(if first { "a b c d" } else { "e f g h" }, true);
            }
            assert_eq!((story.left.len(), story.active.len()), (0, 8), "{seed}");
        }
    }

    #[test]
    fn who_is_really_gone_leaves_though_the_answers_rotated_before() {
        let mut story = Story::new(3, Ttl::Unlimited);
        (0..10).for_each(|at| story.look_up(if at % 2 == 0 { "a b c" } else { "c d" }, true));
        assert_eq!(story.left.len(), 0);
        (0..MEMORY + 3).for_each(|_| story.look_up("a b c", true));
        assert_eq!(story.left, ["d"]);
        // A roll-out: one goes as another comes. Most of the rest being there, that is no lot.
        let mut story = Story::new(3, Ttl::Unlimited);
        story.look_up("a b c d e f g h", true);
        (0..8).for_each(|_| story.look_up("b c d e f g h i", true));
        assert_eq!(story.left, ["a"]);
    }

    #[test]
    fn who_left_is_removed_by_the_next_complete_look_up_unless_it_is_back() {
        let mut story = Story::new(1, Ttl::Unlimited);
        let mut look_up = |answer: &[&str], is_complete| {
            let answer = answer.iter().map(|peer| ((*peer).into(), None)).collect();
            let changes = story.presence.update(&answer, is_complete, story.now);
            (changes.left.join(" "), changes.removed.join(" "))
        };
        look_up(&["a", "b", "c"], true);
        assert_eq!(look_up(&["a"], true), ("b c".into(), String::new()));
        assert_eq!(look_up(&["a"], false), (String::new(), String::new()));
        assert_eq!(look_up(&["a", "b"], true), (String::new(), "c".into()));
    }
}
