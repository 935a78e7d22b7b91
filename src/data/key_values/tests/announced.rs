//! Long values that a member announces and never gives.

use super::trials::{cluster, key_values, run_until_true, secs, set, value_at};
use crate::{data::key_values::map::ELSEWHERE, sim::World, swim::Config, wire::data::KeyValue};

/// Has a host hear from the second one that the first has set a key to a value that is too long for a datagram. Returns
/// whether it is to be fetched.
fn announce(world: &mut World, host: usize, version: u64) -> bool {
    let (owner, from) = (world.node(0).own_life(), world.node(1).own_life());
    let (epoch, flags) = (owner.epoch, ELSEWHERE);
    let said = KeyValue { owner: "n0", epoch, version, step: 0, stamp: 1, flags, key: "k", value: &[] };
    world.drive_with(host, |endpoint, now| {
        endpoint.key_values.on_change(now, &endpoint.node, &from, &said);
        endpoint.key_values.poll_fetch(|_| true).is_some()
    })
}

#[test]
fn a_version_that_never_comes_keeps_no_other_from_being_passed_on() {
    let mut world = cluster(30, 20, Config::lan);
    // More often than it is fetched.
    (2..20).for_each(|host| (0..20).for_each(|_| _ = announce(&mut world, host, 1000)));
    set(&mut world, 0, "k", &[7; 5000]);
    let took = run_until_true(&mut world, secs(60));
    assert!(took < secs(1), "{took:?}");
    assert_eq!(value_at(&world, 19, "n0", "k"), Some(vec![7; 5000]));
}

#[test]
fn what_never_comes_is_fetched_a_few_times_and_then_dropped_and_counted() {
    let mut world = cluster(31, 3, Config::lan);
    let fetched = (0..100).filter(|i| announce(&mut world, 2, 1000 + i)).count();
    assert_eq!(fetched, 16);
    world.run_for(secs(50));
    let counted = |world: &World| world.metrics(2).implausible_entries;
    assert_eq!((announce(&mut world, 2, 2000), counted(&world)), (false, 0));
    world.run_for(secs(20));
    assert_eq!((counted(&world), key_values(&world, 2).audit()), (1, Ok(())));
    // What is announced and known by then, or replaced, does not count.
    assert!(announce(&mut world, 2, 1));
    set(&mut world, 0, "k", b"v");
    world.run_for(secs(90));
    assert_eq!(counted(&world), 1);
}
