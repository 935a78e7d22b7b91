//! Clusters that restart without seeds, from their state files.

use std::time::Duration;

use super::super::{World, addr};
use crate::swim::{Config, MemberState};

const SECOND: Duration = Duration::from_secs(1);
/// The time within which a cluster forms again, as promised.
const TEN: Duration = Duration::from_secs(10);

/// A cluster whose nodes have state files, a minute after its start, without seeds.
fn cluster(seed: u64, n: usize, rejoin_after_leave: bool) -> World {
    let mut world = World::new(seed);
    world.keep_state(rejoin_after_leave);
    world.start_cluster(n, Config::lan);
    world.run_until("one view", TEN, |world| world.all_see(n));
    world.run_for(60 * SECOND);
    world.hosts.iter_mut().for_each(|host| host.seeds.clear());
    world
}

/// Starts all within a second.
fn start_all(world: &mut World, n: usize) {
    let mut order: Vec<_> = (0..n).collect();
    world.rng.shuffle(&mut order);
    for host in order {
        world.restart(host);
        world.run_for(SECOND / n as u32);
    }
}

#[test]
fn all_that_restart_at_once_without_seeds_are_one_cluster_within_ten_seconds() {
    for seed in super::seeds(30) {
        for n in [2, 3, 5, 10, 30, 100].into_iter().filter(|n| *n < 30 || seed < 3) {
            let mut world = cluster(seed, n, false);
            for host in 0..n {
                if seed % 2 == 0 { world.cut_power(host) } else { world.crash(host) }
            }
            world.run_for(SECOND);
            if seed % 3 == 0 {
                start_all(&mut world, n);
            } else {
                (0..n).for_each(|host| world.restart(host));
            }
            world.run_until("one cluster", TEN, |world| world.all_see(n));
        }
    }
}

#[test]
fn seeds_that_are_silent_are_not_waited_for() {
    for seed in super::seeds(30) {
        let mut world = cluster(seed, 10, false);
        (0..10).for_each(|host| world.crash(host));
        // The only seed is gone, and packets to it are lost.
        for host in 0..9 {
            world.hosts[host].seeds = vec![addr(9)];
        }
        world.restart(9);
        world.net.isolate([9]);
        (0..9).for_each(|host| world.restart(host));
        let all = |world: &World| (0..9).all(|host| world.node(host).live() == 9);
        world.run_until("one cluster of the others", TEN, all);
    }
}

#[test]
fn lost_packets_only_delay_a_restart_without_seeds() {
    for seed in super::seeds(10) {
        let mut world = cluster(seed, 20, false);
        world.net.lose(0.2);
        (0..20).for_each(|host| world.cut_power(host));
        (0..20).for_each(|host| world.restart(host));
        world.run_until("one cluster", 30 * SECOND, |world| world.all_see(20));
    }
}

/// Serf stores only alive members (serf#333): its two sides would never meet again.
#[test]
fn failed_members_are_remembered_too_so_that_a_partition_heals_after_both_sides_have_restarted() {
    for seed in super::seeds(20) {
        let mut world = cluster(seed, 6, false);
        world.net.isolate([0, 1, 2]);
        let split = |world: &World| (0..6).all(|host| world.node(host).live() == 3);
        world.run_until("two clusters of three", 60 * SECOND, split);
        world.run_for(5 * SECOND);
        (0..6).for_each(|host| world.restart(host));
        world.run_until("two clusters again", TEN, split);
        world.run_for(120 * SECOND);
        world.net.heal();
        world.run_until("one cluster", 30 * SECOND, |world| world.all_see(6));
    }
}

#[test]
fn a_node_that_left_rejoins_by_itself_only_if_it_is_configured_to() {
    for rejoins in [false, true] {
        let mut world = cluster(1, 4, rejoins);
        world.leave_and_stop(3);
        world.run_for(5 * SECOND);
        world.restart(3);
        world.run_for(60 * SECOND);
        let state = world.state(0, "n3");
        if rejoins {
            assert!(world.all_see(4));
        } else {
            assert_eq!((state, world.node(3).live()), (Some(MemberState::Left), 1));
            // The application may still join explicitly.
            world.join(3, 1, &[addr(1)]);
            world.run_until("one cluster", TEN, |world| world.all_see(4));
        }
    }
}

#[test]
fn a_clock_that_was_set_back_makes_no_life_older_than_the_one_before() {
    let mut world = cluster(1, 2, false);
    world.crash(1);
    let mut last = world.node(0).local().identity.epoch;
    for off in [0, -1_000, -100_000_000, -1_700_000_000_000] {
        world.run_for(2 * SECOND);
        world.restart_with_clock_off(0, off);
        // No other member is up: the node has its last epoch from its state file alone.
        let epoch = world.node(0).local().identity.epoch;
        assert!(epoch > last, "{epoch} after {last}, {off} ms off");
        last = epoch;
    }
}

#[test]
fn a_node_whose_file_is_lost_is_found_by_the_members_that_remember_it() {
    let mut world = cluster(1, 5, false);
    world.crash(2);
    world.run_until("it has failed", 60 * SECOND, |world| world.all_see(4));
    world.hosts[2].disk.remove();
    world.restart(2);
    world.run_until("one cluster", 60 * SECOND, |world| world.all_see(5));
}
