//! Random configurations: every one that [`Config::validate`] accepts must run.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use super::{check::Violation, host::addr, search::panicked, world::World};
use crate::swim::Config;

const NODES: usize = 5;
/// Steps between two faults: since intervals reach from milliseconds to hours, time is not a useful measure.
const STEPS: usize = 3000;
/// The longest time between two faults, for configurations in which little happens.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Draws each field independently; `None` if the configuration is refused.
#[must_use]
pub fn draw(seed: u64) -> Option<Config> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut config = Config::lan("n");
    draw_times(&mut config, &mut rng);
    draw_counts(&mut config, &mut rng);
    // Most configurations would be refused because of these fields alone.
    if rng.u32(..10) > 0 {
        config.probe_timeout = config.probe_timeout.min(config.probe_interval / 2);
        config.forget_after = config.forget_after.max(config.reap_failed_after).max(config.reap_left_after);
        config.forget_after = config.forget_after.max(config.longest_suspicion());
    }
    config.validate().is_ok().then_some(config)
}

/// From a millisecond to hours, each power of two equally likely.
fn draw_times(config: &mut Config, rng: &mut fastrand::Rng) {
    for time in [
        &mut config.probe_interval,
        &mut config.probe_timeout,
        &mut config.gossip_interval,
        &mut config.gossip_to_failed,
        &mut config.sync_interval,
        &mut config.reconnect_max_delay,
        &mut config.seed_max_delay,
        &mut config.leave_timeout,
        &mut config.reap_failed_after,
        &mut config.reap_left_after,
        &mut config.forget_after,
        &mut config.stream_timeout,
    ] {
        let most = 1 << rng.u32(..25);
        *time = Duration::from_millis(rng.u64(1..=most));
    }
}

/// Each count is its least value, its greatest, small or any.
fn draw_counts(config: &mut Config, rng: &mut fastrand::Rng) {
    for (count, least, most) in [
        (&mut config.health_max, 1, 1000),
        (&mut config.suspicion_mult, 1, 1000),
        (&mut config.suspicion_max_mult, 1, 1000),
        (&mut config.suspicion_confirmations, 0, 7),
        (&mut config.verifiers, 0, 64),
        (&mut config.retransmit_mult, 1, 100),
    ] {
        *count = draw_count(rng, least, most) as u32;
    }
    for (count, least, most) in [
        (&mut config.indirect_probes, 0, 8),
        (&mut config.gossip_fanout, 1, 64),
        (&mut config.max_datagram, 1000, 65_000),
        (&mut config.max_members, 1, 1 << 24),
        (&mut config.max_departed, 1, 1 << 24),
        (&mut config.max_reconnects, 1, 1 << 20),
        (&mut config.history, 0, 1 << 12),
    ] {
        *count = draw_count(rng, least, most) as usize;
    }
    for switch in [
        &mut config.stream_fallback,
        &mut config.lha_probe,
        &mut config.nacks,
        &mut config.lha_suspicion,
        &mut config.buddy,
        &mut config.notice_stalls,
    ] {
        *switch = rng.u32(..4) > 0;
    }
}

fn draw_count(rng: &mut fastrand::Rng, least: u64, most: u64) -> u64 {
    match rng.u32(..6) {
        0 => least,
        1 => most,
        2 | 3 => rng.u64(least..=most.min(least + 8)),
        _ => rng.u64(least..=most),
    }
}

/// Runs the configuration of a seed, if it is accepted, in a small cluster, through a partition, a crash, a leave and a
/// restart: no panic, no bound exceeded, and the events lead to the members.
///
/// # Errors
/// The broken promise.
pub fn try_config(seed: u64) -> Result<(), Violation> {
    let Some(config) = draw(seed) else { return Ok(()) };
    catch_unwind(AssertUnwindSafe(|| play(seed, &config))).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn play(seed: u64, config: &Config) -> Result<(), Violation> {
    let mut world = World::new(seed);
    world.start_cluster(NODES, |name| Config { name, ..config.clone() });
    let everywhere: Vec<_> = (0..NODES).map(addr).collect();
    world.hosts.iter_mut().for_each(|host| host.seeds.clone_from(&everywhere));
    if let Some(checker) = &mut world.checker {
        // A node that waits one millisecond for an answer accuses every member.
        checker.be_lenient();
    }
    world.try_run_steps(STEPS, LONGEST)?;
    world.net.isolate([0, 1]);
    world.try_run_steps(STEPS, LONGEST)?;
    world.net.heal();
    world.try_run_steps(STEPS, LONGEST)?;
    world.crash(2);
    world.leave_and_stop(3);
    world.try_run_steps(STEPS, LONGEST)?;
    world.restart(2);
    world.join(2, 1, &everywhere);
    world.try_run_steps(STEPS, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_configuration_runs() {
        for seed in crate::sim::tests::seeds(400) {
            let outcome = try_config(seed);
            assert!(outcome.is_ok(), "seed {seed}: {outcome:?} with {:#?}", draw(seed));
        }
    }

    #[test]
    fn most_drawn_configurations_are_accepted_and_they_differ() {
        let drawn: Vec<_> = (0..200).filter_map(draw).collect();
        assert!(drawn.len() > 150, "{}", drawn.len());
        let shortest = drawn.iter().filter(|config| config.probe_interval < Duration::from_millis(20));
        let longest = drawn.iter().filter(|config| config.probe_interval > Duration::from_secs(600));
        assert!(shortest.count() > 5 && longest.count() > 5);
    }
}
