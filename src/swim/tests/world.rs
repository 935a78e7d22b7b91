//! What these tests need from the simulator.

use std::time::Duration;

use super::super::{Config, Time};
use crate::sim::{Fault, search::Schedule};
pub(super) use crate::sim::{Latency, World, addr};

/// Long enough after the origin that the age of every departure can be told.
pub(super) const ORIGIN: Time = Time::from_origin(Duration::from_secs(400 * 24 * 3600));

pub(super) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A world of `n` LAN nodes named n0, n1 …, all of them joined through the first and converged.
pub(super) fn converged(seed: u64, n: usize) -> World {
    converged_with(seed, n, |_| {})
}

pub(super) fn converged_with(seed: u64, n: usize, tune: impl Fn(&mut Config)) -> World {
    println!("seed {seed}");
    let mut world = World::new(seed);
    world.start_cluster(n, |name| {
        let mut config = Config::lan(name);
        tune(&mut config);
        config
    });
    world.run_until("convergence", secs(60), |world| world.all_see(n));
    // The last update runs out.
    world.run_for(secs(5));
    world
}

/// Cuts both directions between two groups.
pub(super) fn partition(world: &mut World, left: &[usize], right: &[usize]) {
    for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))) {
        world.net.cut.extend([(a, b), (b, a)]);
    }
}

/// Checks that every promise is kept under a schedule, whose faults come so many milliseconds after one another.
#[track_caller]
pub(super) fn holds<const N: usize>(
    seed: u64,
    nodes: usize,
    config: fn(String) -> Config,
    faults: [(u64, Fault); N],
) {
    let faults = faults.into_iter().map(|(after, fault)| (millis(after), fault)).collect();
    let schedule = Schedule { seed, nodes, faults };
    assert_eq!(schedule.run(config), Ok(()));
}
