//! Random schedules, one theme each: whatever happens, every promise is kept.

use super::{Theme, search::try_seed};

/// Runs so many seeds and shows the first that breaks a promise, in its shortest form.
#[track_caller]
fn keeps_every_promise(theme: Theme, seeds: u64) {
    for seed in 0..seeds {
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
fn whatever_applications_call_every_promise_is_kept() {
    keeps_every_promise(Theme::Calls, 300);
}

#[test]
fn after_two_hosts_had_one_name_every_promise_is_kept() {
    keeps_every_promise(Theme::Rivals, 300);
}

#[test]
fn with_clocks_that_are_wrong_every_promise_is_kept() {
    keeps_every_promise(Theme::Clocks, 300);
}

#[test]
fn after_an_attack_every_promise_is_kept() {
    keeps_every_promise(Theme::Attacks, 300);
}

#[test]
fn after_everything_at_once_every_promise_is_kept() {
    keeps_every_promise(Theme::Everything, 300);
}
