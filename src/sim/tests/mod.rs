//! Random schedules, one theme each: every promise is kept under any faults.

mod broadcasts;
mod confirmed;
mod messages;
mod restarts;

use std::{collections::BTreeMap, ops::Range, time::Duration};

use super::{
    Theme, World,
    judge::{Looks, SLOWED, Wrong},
    search::{Schedule, try_seed},
};
use crate::swim::{Config, Rule, without};

/// The first `wanted` seeds, at most as many as `SYNCSWIM_SEEDS` says, for runs that look for failures that any seed
/// shows.
pub(super) fn seeds(wanted: u64) -> Range<u64> {
    let most = std::env::var("SYNCSWIM_SEEDS").map(|most| most.parse().expect("SYNCSWIM_SEEDS is a number"));
    0..wanted.min(most.unwrap_or(wanted))
}

/// `n` LAN nodes that see each other.
pub(super) fn cluster(n: usize) -> World {
    let mut world = World::new(1);
    world.start_cluster(n, Config::lan);
    world.run_until("one view", Duration::from_secs(5), |world| world.all_see(n));
    world
}

/// Runs the first `wanted` seeds, and shows the shortest form of the first that breaks a promise.
#[track_caller]
fn keeps_every_promise(theme: Theme, wanted: u64) {
    for seed in seeds(wanted) {
        assert_eq!(try_seed(seed, theme), None, "seed {seed}");
    }
}

#[test]
fn after_any_accidents_every_promise_is_kept() {
    keeps_every_promise(Theme::Accidents, 600);
}

#[test]
fn after_late_timers_and_clocks_that_jump_every_promise_is_kept() {
    keeps_every_promise(Theme::Late, 300);
}

#[test]
fn every_promise_is_kept_under_random_calls_of_applications() {
    keeps_every_promise(Theme::Calls, 300);
}

#[test]
fn after_two_hosts_had_one_name_every_promise_is_kept() {
    keeps_every_promise(Theme::Conflicts, 300);
}

#[test]
fn with_clocks_that_are_wrong_every_promise_is_kept() {
    keeps_every_promise(Theme::Clocks, 300);
}

#[test]
fn whichever_way_hosts_reach_each_other_every_promise_is_kept() {
    keeps_every_promise(Theme::Paths, 300);
}

#[test]
fn after_an_attack_every_promise_is_kept() {
    keeps_every_promise(Theme::Attacks, 300);
}

#[test]
fn while_members_lie_healthy_ones_are_judged_and_every_promise_is_kept() {
    let (mut looks, mut broken) = (Looks::default(), vec![]);
    for seed in seeds(100) {
        let schedule = Schedule::draw(seed, Theme::Insiders);
        let (outcome, new) = schedule.looks(|name| Theme::Insiders.config(seed, name));
        looks += new;
        broken.extend(outcome.err().map(|violation| (seed, violation)));
    }
    println!("{looks:?}");
    assert!(broken.is_empty(), "by seed: {broken:?}");
    assert!(looks.judged * 3 > looks.all, "{looks:?}");
}

/// The promises that are broken in the first seeds of the theme without a rule, and in how many seeds.
fn broken_without(rule: Rule) -> BTreeMap<&'static str, usize> {
    let mut broken = BTreeMap::new();
    for seed in 0..40 {
        let schedule = Schedule::draw(seed, Theme::Insiders);
        let outcome = without(rule, || schedule.run(|name| Theme::Insiders.config(seed, name)));
        if let Err(violation) = outcome {
            *broken.entry(violation.rule).or_default() += 1;
        }
    }
    println!("without {rule:?}: {broken:?}");
    broken
}

#[test]
fn moves_that_are_believed_are_noticed() {
    assert!(broken_without(Rule::Moves).contains_key(Wrong::Elsewhere.rule()));
}

#[test]
fn accusations_that_slow_probes_further_are_noticed() {
    assert!(broken_without(Rule::Awareness).contains_key(SLOWED));
}

#[test]
fn without_seeds_restarts_and_power_cuts_keep_every_promise() {
    keeps_every_promise(Theme::Restarts, 300);
}

#[test]
fn after_everything_at_once_every_promise_is_kept() {
    keeps_every_promise(Theme::Everything, 300);
}
