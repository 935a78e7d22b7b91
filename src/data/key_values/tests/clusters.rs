//! Clusters whose members set keys: which members see them, when, and at what cost.

use std::time::Duration;

use super::{
    super::{NotSet, Part, map::MAX_MAP},
    trials::{
        Observer, cluster, delete, key_values, map_at, millis, run_until_true, secs, set, start_another,
        try_set, value_at, views_are_true,
    },
};
use crate::{
    sim::{World, addr},
    swim::Config,
    wire::data::{KeyValue, MAX_VALUE},
};

/// Bytes of all datagrams and streams so far.
fn bytes(world: &World) -> u64 {
    let sent: u64 = world.up().map(|host| world.node(host).metrics().bytes_sent).sum();
    sent + world.stream_bytes()
}

#[test]
fn a_key_reaches_all_and_so_does_its_deletion() {
    let mut world = cluster(1, 5, Config::lan);
    assert_eq!(set(&mut world, 2, "role", b"db"), 1);
    assert!(value_at(&world, 2, "n2", "role").is_some(), "its owner sees it at once");
    let took = run_until_true(&mut world, secs(5));
    assert!(took < millis(500), "{took:?}");
    assert_eq!(value_at(&world, 4, "n2", "role"), Some(b"db".to_vec()));
    assert_eq!((set(&mut world, 2, "role", b"web"), delete(&mut world, 2, "role")), (2, Some(3)));
    assert_eq!(delete(&mut world, 2, "role"), None, "there is nothing to delete");
    run_until_true(&mut world, secs(5));
    assert_eq!(value_at(&world, 4, "n2", "role"), None);
    Observer::compare(&world);
}

#[test]
fn of_two_members_the_one_that_hears_of_a_key_passes_it_on_to_nobody() {
    let mut world = cluster(1, 2, Config::lan);
    set(&mut world, 0, "role", b"db");
    run_until_true(&mut world, secs(5));
    world.run_for(secs(10));
    assert_eq!([0, 1].map(|host| world.metrics(host).queued_entries), [0; 2]);
}

#[test]
fn a_value_that_fits_in_no_datagram_is_fetched() {
    let mut world = cluster(2, 20, Config::lan);
    let value: Vec<u8> = (0..MAX_VALUE).map(|i| i as u8).collect();
    set(&mut world, 7, "large", &value);
    let took = run_until_true(&mut world, secs(20));
    assert!(took < secs(2), "{took:?}");
    assert_eq!(value_at(&world, 3, "n7", "large"), Some(value));
}

#[test]
fn bounds_are_errors_of_the_caller_and_change_nothing() {
    let mut world = cluster(3, 2, Config::lan);
    let too_large = |part, size| Err(NotSet::TooLarge(part, size));
    let (value, key) = (vec![7; MAX_VALUE + 1], "k".repeat(65));
    assert_eq!(try_set(&mut world, 0, "k", Some(&value)), too_large(Part::Value, 15_361));
    assert_eq!(try_set(&mut world, 0, &key, Some(b"")), too_large(Part::Key, 65));
    for bad in ["", "a\nb"] {
        assert_eq!(try_set(&mut world, 0, bad, Some(b"")), Err(NotSet::BadKey));
    }
    for i in 0..4 {
        set(&mut world, 0, &format!("k{i}"), &value[..MAX_VALUE - 2]);
    }
    let last = MAX_MAP - 4 * MAX_VALUE;
    assert_eq!(try_set(&mut world, 0, "last", Some(&value[..last])), too_large(Part::Map, MAX_MAP + 4));
    for i in 4..64 {
        set(&mut world, 0, "n", &[i]);
    }
    assert_eq!(try_set(&mut world, 0, "n", Some(b"65")), Err(NotSet::Busy));
    world.run_for(millis(100));
    assert_eq!(set(&mut world, 0, "n", b"65"), 65);
    run_until_true(&mut world, secs(5));
}

#[test]
fn a_new_node_of_64_has_all_of_64_kib_each_within_two_seconds_of_its_join() {
    let mut world = cluster(4, 63, Config::lan);
    for host in 0..63 {
        for i in 0..5 {
            set(&mut world, host, &format!("k{i}"), &vec![host as u8; MAX_MAP / 5 - 4]);
        }
    }
    run_until_true(&mut world, secs(120));
    world.run_for(secs(10));
    let new = start_another(&mut world, Config::lan("new"));
    world.run_until("its join", secs(10), |world| !world.hosts[new].joins.is_empty());
    let took = world.run_until("all maps", secs(20), views_are_true);
    println!("a new node of 64 has 4 MiB of key-values {took:?} after its join");
    assert!(took <= secs(2), "{took:?}");
}

#[test]
fn one_changed_key_reaches_64_nodes_within_half_a_second_at_three_kilobytes_per_node() {
    let mut world = cluster(5, 64, Config::lan);
    for host in 0..64 {
        set(&mut world, host, "config", &[host as u8; 100]);
    }
    run_until_true(&mut world, secs(20));
    world.run_for(secs(20));
    let idle_before = bytes(&world);
    world.run_for(secs(2));
    let (idle, before) = (bytes(&world) - idle_before, bytes(&world));
    set(&mut world, 9, "config", &[7; 100]);
    let took = run_until_true(&mut world, secs(5));
    world.run_for(secs(2) - took);
    let cost = (bytes(&world) - before).saturating_sub(idle) / 64;
    println!("one changed key of 100 bytes reached 64 nodes after {took:?} at {cost} bytes per node");
    assert!(took <= millis(500) && cost <= 3000, "{took:?} {cost}");
}

#[test]
fn with_nothing_set_not_a_byte_is_sent_and_with_everything_at_rest_nothing_but_digests() {
    let run = |keys: bool| {
        let mut world = cluster(6, 8, Config::lan);
        if keys {
            set(&mut world, 3, "k", b"v");
            run_until_true(&mut world, secs(5));
        }
        world.run_for(secs(90) - millis(world.now().since_origin().as_millis() as u64 % 1000));
        let acks = |world: &World| world.up().map(|host| world.node(host).metrics().probes).sum::<u64>();
        let (before, probes) = (bytes(&world), acks(&world));
        world.run_for(secs(30));
        let syncs = key_values(&world, 0);
        assert!(!syncs.is_waiting());
        (bytes(&world) - before, acks(&world) - probes)
    };
    let ((without, probes), (with, _)) = (run(false), run(true));
    let digests = with.saturating_sub(without);
    assert!(digests <= (probes + 8) * 18, "{digests} bytes more for {probes} probes");
    assert!(digests >= probes * 9, "{digests} bytes more for {probes} probes");
}

#[test]
fn a_restart_empties_the_map_before_anything_of_the_new_life_shows() {
    let mut world = cluster(7, 4, Config::lan);
    let mut observer = Observer::default();
    set(&mut world, 2, "old", b"1");
    run_until_true(&mut world, secs(5));
    world.restart(2);
    set(&mut world, 2, "new", b"1");
    for _ in 0..3000 {
        world.run_for(millis(1));
        observer.look(&world);
        for host in [0, 1, 3] {
            let both = ["old", "new"].map(|key| value_at(&world, host, "n2", key).is_some());
            assert_ne!(both, [true; 2]);
        }
    }
    run_until_true(&mut world, secs(10));
    assert_eq!(value_at(&world, 0, "n2", "old"), None);
}

#[test]
fn the_map_of_a_failed_member_stays_until_the_member_is_reaped_and_goes_to_newcomers() {
    let short = |name: String| {
        let mut config = Config::lan(name);
        config.reap_failed_after = secs(60);
        config
    };
    let mut world = cluster(8, 4, short);
    set(&mut world, 3, "k", b"v");
    run_until_true(&mut world, secs(5));
    world.crash(3);
    world.run_until("the failure", secs(40), |world| world.all_see(3));
    let new = start_another(&mut world, short("new".into()));
    set(&mut world, 1, "k", b"v");
    world.run_until("the joiner's maps", secs(20), |world| value_at(world, new, "n1", "k").is_some());
    assert_eq!(value_at(&world, 0, "n3", "k"), Some(b"v".to_vec()));
    world.run_for(secs(61));
    assert!(map_at(&world, 0, "n3").is_none() && key_values(&world, 0).bytes() == 2);
}

#[test]
fn a_node_that_forges_a_version_of_an_owner_is_superseded_by_it() {
    let mut world = cluster(9, 5, Config::lan);
    set(&mut world, 1, "k", b"true");
    run_until_true(&mut world, secs(5));
    let epoch = world.node(1).local().identity.epoch;
    for version in [5, 1 << 62, u64::MAX] {
        let said =
            KeyValue { owner: "n1", epoch, version, step: 1, stamp: 0, flags: 0, key: "k", value: b"false" };
        let liar = world.node(2).own_life();
        for host in [0, 3, 4] {
            world.drive_with(host, |endpoint, now| {
                endpoint.key_values.on_change(now, &endpoint.node, &liar, &said);
            });
        }
        let is_believed = value_at(&world, 0, "n1", "k") == Some(b"false".to_vec());
        assert_eq!(is_believed, version <= 1 << 62, "{version}");
        run_until_true(&mut world, secs(60));
        assert_eq!(value_at(&world, 0, "n1", "k"), Some(b"true".to_vec()), "{version}");
    }
    set(&mut world, 1, "k", b"still true");
    run_until_true(&mut world, secs(60));
}

/// Each claim is just near enough to the known version to be believed; the owner hears only of the last one.
#[test]
fn a_node_that_forges_versions_step_by_step_is_superseded_as_well() {
    let mut world = cluster(9, 5, Config::lan);
    set(&mut world, 1, "k", b"true");
    run_until_true(&mut world, secs(5));
    let epoch = world.node(1).local().identity.epoch;
    for step in 0..20 {
        let known = key_values(&world, 0).map_of("n1", epoch).map_or(0, |map| map.version);
        let version = (1 << 62).max(known + (1 << 20));
        let said =
            KeyValue { owner: "n1", epoch, version, step: 1, stamp: 0, flags: 0, key: "k", value: b"false" };
        let liar = world.node(2).own_life();
        for host in [0, 3, 4] {
            world.drive_with(host, |endpoint, now| {
                endpoint.key_values.on_change(now, &endpoint.node, &liar, &said);
            });
        }
        assert_eq!(value_at(&world, 0, "n1", "k"), Some(b"false".to_vec()), "{step}");
        if step % 4 == 0 {
            run_until_true(&mut world, secs(60));
            assert_eq!(value_at(&world, 0, "n1", "k"), Some(b"true".to_vec()), "{step}");
        }
    }
    set(&mut world, 1, "k", b"still true");
    run_until_true(&mut world, secs(60));
    assert_eq!(value_at(&world, 0, "n1", "k"), Some(b"still true".to_vec()));
}

#[test]
fn changes_without_end_are_repaired_too() {
    let mut world = cluster(12, 6, Config::lan);
    world.net.lose(0.2);
    for round in 0..300_u32 {
        for host in 0..6 {
            set(&mut world, host, &format!("k{}", round % 5), &round.to_le_bytes());
        }
        world.run_for(millis(100));
    }
    for (host, owner) in (0..36).map(|pair| (pair / 6, pair % 6)) {
        let owner = format!("n{owner}");
        for key in 0..5 {
            let value = value_at(&world, host, &owner, &format!("k{key}")).expect("it was set");
            let round = u32::from_le_bytes(value.try_into().unwrap());
            assert!(round > 270, "{owner} at host {host}: {round}");
        }
        let known = map_at(&world, host, &owner).map_or(0, |map| map.version);
        // The median over twenty seeds of the least `known` in a world is 245; this seed has one of the lowest.
        assert!(known > 120, "{owner} at host {host}: all is known up to {known} of 300");
    }
    world.net.heal();
    run_until_true(&mut world, secs(10));
}

#[test]
fn with_the_last_map_its_deadlines_end() {
    let mut world = cluster(14, 2, |name| {
        let mut config = Config::lan(name);
        (config.forget_after, config.reap_failed_after, config.reap_left_after) =
            (secs(60), secs(1), secs(1));
        config
    });
    set(&mut world, 1, "k", b"v");
    delete(&mut world, 1, "k");
    run_until_true(&mut world, secs(5));
    world.crash(1);
    world.run_for(secs(100));
    assert!(key_values(&world, 0).owners.len() == 0 && key_values(&world, 0).poll_timeout().is_none());
}

#[test]
fn a_node_alone_keeps_its_keys_for_later_members() {
    let mut world = World::new(13);
    world.start(Config::lan("n0"), addr(0), vec![]);
    set(&mut world, 0, "k", b"v");
    world.run_for(secs(2));
    assert!(!key_values(&world, 0).is_waiting());
    world.start(Config::lan("n1"), addr(1), vec![addr(0)]);
    let took = run_until_true(&mut world, Duration::from_secs(10));
    assert!(took < secs(3), "{took:?}");
}
