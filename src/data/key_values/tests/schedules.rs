//! Random schedules: keys are set and deleted while the network splits, loses and heals, and hosts restart and pause.

use std::time::Duration;

use super::trials::{Observer, cluster, millis, run_until_true, secs, try_set};
use crate::{sim::World, swim::Config};

/// How long deletions are remembered here; partitions last longer.
const FORGET: Duration = secs(50);
const LONG: Duration = FORGET.saturating_add(secs(40));

fn config(name: String) -> Config {
    let mut config = Config::lan(name);
    // Members stay listed as long as that; otherwise no deleted key could return.
    (config.forget_after, config.reap_failed_after, config.reap_left_after) = (FORGET, FORGET, FORGET);
    config
}

fn act(world: &mut World, rng: &mut fastrand::Rng, asleep: Option<usize>) {
    let hosts: Vec<_> = world.up().filter(|host| Some(*host) != asleep).collect();
    let Some(&host) = rng.choice(&hosts) else { return };
    let key = format!("k{}", rng.u8(..5));
    let value = vec![rng.u8(..); [1, 30, 600, 5000][rng.usize(..4)]];
    match rng.u8(..20) {
        0..10 => drop(try_set(world, host, &key, Some(&value))),
        10..16 => drop(try_set(world, host, &key, None)),
        16 => world.restart(host),
        17 => world.pause(host, millis(rng.u64(1..20_000))),
        _ => {}
    }
}

/// The network splits, loses packets and heals, with changes all the while; then all is quiet. Once it splits for longer
/// than deletions are remembered, and one process sleeps for longer than that and wakes with its old knowledge: the others
/// have forgotten the deletions by then.
fn run(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let n = rng.usize(2..6);
    let (mut world, mut observer) = (cluster(seed, n, config), Observer::default());
    let phases = rng.usize(1..4);
    let long = rng.usize(..phases);
    for phase in 0..phases {
        let mut asleep = None;
        match rng.u8(..3) {
            _ if phase == long => {
                world.net.isolate((0..n).filter(|host| *host == 0 || rng.bool()).collect::<Vec<_>>());
                let host = rng.usize(..n);
                world.pause(host, LONG);
                asleep = Some(host);
            }
            0 => world.net.isolate((0..n).filter(|_| rng.bool()).collect::<Vec<_>>()),
            1 => world.net.lose(rng.f64() / 3.0),
            _ => {}
        }
        let parts = rng.usize(1..30);
        let lasts = if phase == long { LONG } else { [secs(2), secs(20)][rng.usize(..2)] };
        for _ in 0..parts {
            act(&mut world, &mut rng, asleep);
            world.run_for(lasts / parts as u32);
            observer.look(&world);
        }
        world.net.heal();
        world.net.rejoin();
        for _ in 0..rng.usize(..20) {
            act(&mut world, &mut rng, None);
            world.run_for(millis(rng.u64(..500)));
            observer.look(&world);
        }
    }
    world.run_until("one view", secs(400), World::views_are_true);
    for _ in 0..40 {
        world.run_for(millis(500));
        observer.look(&world);
    }
    run_until_true(&mut world, secs(100));
    Observer::compare(&world);
}

/// As many schedules as `SYNCSWIM_SCHEDULES` says.
#[test]
fn views_become_true_under_any_schedule_and_no_deleted_key_returns() {
    let schedules = std::env::var("SYNCSWIM_SCHEDULES").map_or(200, |count| count.parse().expect("a number"));
    for seed in 0..schedules {
        let failed = std::panic::catch_unwind(|| run(seed)).is_err();
        assert!(!failed, "seed {seed}");
    }
}
