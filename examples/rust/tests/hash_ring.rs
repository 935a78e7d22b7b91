//! Testing a program on top of a membership: a hash ring on each node of a simulated cluster, under crashes, restarts and
//! partitions, in virtual time. A failure prints its seed, which repeats it.

#[path = "../hash_ring.rs"]
mod hash_ring;

use std::{collections::BTreeSet, time::Duration};

use hash_ring::{Fence, Ring};
use syncswim::{Membership, sim::World, swim::Config};

const NODES: usize = 7;
const MINUTE: Duration = Duration::from_secs(60);

fn keys() -> Vec<String> {
    (0..500).map(|key| format!("key-{key}")).collect()
}

fn converged(seed: u64) -> World {
    let mut world = World::new(seed);
    world.start_cluster(NODES, Config::lan);
    world.run_until("all see all", MINUTE, |world| world.all_see(NODES));
    world
}

fn rings(world: &mut World) -> Vec<Ring> {
    let up: Vec<_> = world.up().collect();
    let mut rings: Vec<_> = up.into_iter().map(|host| Ring::new(world.membership(host).watch())).collect();
    rings.iter_mut().for_each(Ring::update);
    rings
}

fn assert_agreed(rings: &[Ring], seed: u64) {
    for key in keys() {
        let owners: BTreeSet<_> = rings.iter().map(|ring| ring.owners(&key, 3)).collect();
        assert_eq!(owners.len(), 1, "seed {seed}: {key} has {owners:?}");
    }
}

#[test]
fn all_agree_after_a_crash_and_only_keys_of_the_crashed_have_moved() {
    for seed in 0..10 {
        let mut world = converged(seed);
        let mut watched = rings(&mut world);
        assert_agreed(&watched, seed);
        let before = watched[0].peers().clone();
        world.crash(3);
        world.run_for(MINUTE);
        watched.remove(3);
        watched.iter_mut().for_each(Ring::update);
        assert_agreed(&watched, seed);
        let keys = keys();
        let moved = watched[0].moved(&before, keys.iter().map(String::as_str));
        assert!(!moved.is_empty(), "seed {seed}");
        for (key, from, to) in moved {
            assert_eq!(from.as_deref(), Some("n3"), "seed {seed}: {key} went from a live peer to {to:?}");
        }
    }
}

#[test]
fn during_a_partition_each_side_owns_all_keys_and_after_it_all_agree_again() {
    for seed in 0..10 {
        let mut world = converged(seed);
        let mut watched = rings(&mut world);
        world.net.isolate([0, 1]);
        world.run_for(MINUTE * 2);
        watched.iter_mut().for_each(Ring::update);
        let sides: Vec<_> = watched.iter().map(|ring| ring.peers().len()).collect();
        assert_eq!(sides, [2, 2, 5, 5, 5, 5, 5], "seed {seed}: two owners at once are possible");
        world.net.rejoin();
        world.run_for(MINUTE * 2);
        watched.iter_mut().for_each(Ring::update);
        assert_agreed(&watched, seed);
        assert_eq!(watched[0].peers().len(), NODES, "seed {seed}");
    }
}

#[test]
fn a_fence_of_an_earlier_life_does_not_pass() {
    let mut world = converged(3);
    let fence = |world: &World| {
        let epoch = world.node(0).member("n1").expect("it is listed").identity.epoch;
        Fence { name: "n1".into(), epoch }
    };
    let first = fence(&world);
    world.crash(1);
    world.run_for(MINUTE);
    world.restart(1);
    world.run_for(MINUTE);
    let second = fence(&world);
    assert!(second.passes([&first]) && second.passes([&second]) && !first.passes([&second]));
}

#[test]
fn the_hash_is_the_same_for_ever() {
    let membership = Membership::new();
    membership.add(["a:1", "b:1", "c:1"]);
    let mut ring = Ring::new(membership.watch());
    ring.update();
    let owners: Vec<_> = ["x", "y", "z", "käse", ""].iter().map(|key| &**ring.owner(key).unwrap()).collect();
    assert_eq!(owners, ["c:1", "b:1", "c:1", "b:1", "c:1"]);
}
