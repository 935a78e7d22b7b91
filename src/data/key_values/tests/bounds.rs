//! Input that is out of bounds: wrong clocks, maps that are too large, and more maps than there is room for.

use super::{
    super::{Exchange, OwnerMap, map::MAX_MAP},
    trials::{cluster, delete, key_values, map_at, run_until_true, secs, set, value_at},
};
use crate::{
    data::Endpoint,
    sim::World,
    swim::{Account, Config, Time},
    wire::data::{DataMessage, KeyValue, KeyValueDelta},
};

fn stamp_at(world: &World, host: usize, owner: &str) -> u64 {
    map_at(world, host, owner).and_then(|map| map.get("k")).map_or(0, |entry| entry.stamp.as_u64())
}

/// The stamp of the last broadcast of an origin.
fn last_stamp(world: &World, host: usize, origin: &str) -> u64 {
    let mut of_origin = world.received(host).iter().filter(|got| *got.origin == *origin);
    of_origin.next_back().expect("it has come").stamp.as_u64()
}

fn data_syncs(world: &World) -> u64 {
    world.up().map(|host| world.metrics(host).data_syncs).sum()
}

/// Checks that the cluster does not sync any more.
fn comes_to_rest(world: &mut World) {
    world.run_for(secs(40));
    let before = data_syncs(world);
    world.run_for(secs(120));
    assert_eq!(data_syncs(world), before, "seed {}", world.seed());
}

#[test]
fn a_node_whose_clock_is_wrong_has_all_keys_and_all_have_its_own() {
    for (seed, hours) in [(20, -24), (21, 24), (22, -1), (23, 1)] {
        let mut world = cluster(seed, 5, Config::lan);
        set(&mut world, 0, "k", b"before");
        world.run_for(secs(10));
        world.restart_with_clock_off(2, hours * 3_600_000);
        world.run_until("its return", secs(60), |world| world.all_see(5));
        (0..5).for_each(|host| _ = set(&mut world, host, "k", b"v"));
        run_until_true(&mut world, secs(20));
        // Each member bounds the stamp that it orders by; it passes on the owner's stamp.
        let (right, wrong) = (stamp_at(&world, 0, "n0"), stamp_at(&world, 2, "n2"));
        assert_eq!(stamp_at(&world, 4, "n0"), right);
        let ahead = stamp_at(&world, 0, "n2").saturating_sub(right) >> 16;
        assert!(if hours > 0 { ahead.abs_diff(600_000) < 1000 } else { stamp_at(&world, 0, "n2") == wrong });
        world.restart(4);
        run_until_true(&mut world, secs(30));
        comes_to_rest(&mut world);
        for host in world.up() {
            // A member whose clock is behind finds the clocks of others ahead.
            let is_ahead = if hours > 0 { host != 2 } else { host == 2 };
            assert_eq!(world.metrics(host).implausible_entries > 0, is_ahead, "n{host}, {hours} hours");
        }
    }
}

#[test]
fn a_node_whose_machine_was_suspended_has_all_keys() {
    let mut world = cluster(24, 5, Config::lan);
    world.jump_clock(2, secs(7200));
    world.restart(2);
    world.run_until("its return", secs(60), |world| world.all_see(5));
    world.suspend(2, secs(3600));
    world.run_for(secs(3601));
    world.run_until("its second return", secs(60), |world| world.all_see(5));
    (0..5).for_each(|host| _ = set(&mut world, host, "k", b"v"));
    run_until_true(&mut world, secs(20));
    assert_eq!(delete(&mut world, 0, "k"), Some(2));
    run_until_true(&mut world, secs(20));
    comes_to_rest(&mut world);
}

/// Makes host 0 hear that n1 set a key.
fn tell(world: &mut World, version: u64, stamp: u64, value: &[u8]) {
    let (owner, key) = (world.node(1).own_life(), version.to_string());
    let said =
        KeyValue { owner: "n1", epoch: owner.epoch, version, step: 1, stamp, flags: 0, key: &key, value };
    world.drive_with(0, |endpoint, now| endpoint.key_values.on_change(now, &endpoint.node, &owner, &said));
}

#[test]
fn the_greatest_stamp_counts_as_ten_minutes_ahead_and_an_own_stamp_follows_it() {
    let mut world = cluster(10, 3, Config::lan);
    tell(&mut world, 1, u64::MAX, b"v");
    let now = world.epoch();
    let ahead = |stamp: u64| (stamp >> 16).abs_diff(now + 600_000);
    let told = map_at(&world, 0, "n1").and_then(|map| map.get("1")).expect("it is taken in").stamp.as_u64();
    assert!(ahead(told) < 10_000, "{}", ahead(told));
    set(&mut world, 0, "k", b"v");
    assert_eq!(stamp_at(&world, 0, "n0"), told + 1);
}

#[test]
fn a_key_that_is_set_after_a_broadcast_has_a_greater_stamp_and_the_other_way_round() {
    let mut world = cluster(11, 3, Config::lan);
    world.restart_with_clock_off(2, 60_000);
    world.run_until("its return", secs(60), |world| world.all_see(3));
    world.broadcast(2, "t", b"x").expect("it is within the rate");
    world.run_for(secs(2));
    let told = last_stamp(&world, 0, "n2");
    set(&mut world, 0, "k", b"v");
    assert!(stamp_at(&world, 0, "n0") > told, "its clock is a minute behind");
    world.broadcast(0, "t", b"y").expect("it is within the rate");
    world.run_for(secs(2));
    let told = last_stamp(&world, 1, "n0");
    assert!(told > stamp_at(&world, 0, "n0"));
}

#[test]
fn changes_beyond_an_owners_bounds_are_refused() {
    let mut world = cluster(10, 3, Config::lan);
    for version in 1..2000 {
        tell(&mut world, version, 1, &[7; 400]);
    }
    assert!(key_values(&world, 0).bytes() <= 2 * MAX_MAP && key_values(&world, 0).counted.refused > 0);
    // The same by stream, each delta within the bounds of one.
    let owner = world.node(2).own_life();
    for delta in 1..=5_u64 {
        world.drive_with(0, |endpoint, now| {
            let (part, node, mut exchange) = (&mut endpoint.key_values, &endpoint.node, Exchange::default());
            let (epoch, version) = (owner.epoch, delta * 100);
            let head = KeyValueDelta { owner: "n2", epoch, version, floor: 0 };
            part.on_section(now, node, &mut exchange, "n2", &DataMessage::KeyValueDelta(head));
            for version in version - 99..=version {
                let (key, value) = (&*version.to_string(), &[7; 1000][..]);
                let said = KeyValue { owner: "n2", epoch, version, step: 1, stamp: 1, flags: 0, key, value };
                part.on_section(now, node, &mut exchange, "n2", &DataMessage::KeyValue(said));
            }
            part.end_turn(now, node, &mut exchange);
        });
        let held = map_at(&world, 0, "n2").map_or(0, |map| map.len());
        assert_eq!((held, key_values(&world, 0).audit()), (100, Ok(())), "after {delta}");
    }
}

#[test]
fn a_full_table_keeps_the_values_that_it_holds_and_refuses_each_further_one_once() {
    let mut world = cluster(11, 4, Config::lan);
    world.drive_with(0, |endpoint, _| endpoint.key_values.most.1 = 2500);
    set(&mut world, 1, "k", &[7; 500]);
    set(&mut world, 2, "k", &[7; 500]);
    run_until_true(&mut world, secs(10));
    for key in ["a", "b", "c", "d", "e", "f"] {
        set(&mut world, 3, key, &[7; 400]);
    }
    world.run_for(secs(30));
    let has_small = |world: &World| ["n1", "n2"].iter().all(|owner| value_at(world, 0, owner, "k").is_some());
    let refused =
        |world: &World| (key_values(world, 0).bytes() <= 2500, key_values(world, 0).counted.refused);
    assert!(has_small(&world) && refused(&world).0 && refused(&world).1 > 0, "{:?}", refused(&world));
    let before = refused(&world);
    comes_to_rest(&mut world);
    assert_eq!(refused(&world), before, "nothing is told again");
    // A value that is no longer than the one before adds nothing.
    set(&mut world, 1, "k", &[8; 500]);
    world.run_for(secs(10));
    assert_eq!(value_at(&world, 0, "n1", "k"), Some(vec![8; 500]));
    for key in ["a", "b"] {
        delete(&mut world, 3, key);
    }
    world.run_for(secs(30));
    let another = refused(&world).1;
    assert!(another > before.1, "the map is as it was while there is no room for all that is new");
    delete(&mut world, 1, "k");
    delete(&mut world, 2, "k");
    run_until_true(&mut world, secs(60));
    assert!(refused(&world).0);
}

/// Names are free: those of one host get no more room than they leave free.
#[test]
fn many_owners_on_one_host_leave_room_for_the_keys_of_others() {
    let place = Account::from(1);
    let mut world = cluster(12, 3, Config::lan);
    world.drive_with(0, |endpoint, _| {
        let all = &mut endpoint.key_values;
        all.most.1 = 64 << 10;
        for i in 0..100 {
            let owner = format!("x{i}").into();
            all.ensure(&owner, 1, true, Some(place));
            all.grow(&owner, 1, (1, 1001), |map| _ = map.change("k", Some(&[7; 1000]), 1, Time::ZERO));
        }
        assert_eq!(all.bytes(), 33 * 1001, "half of the room");
    });
    set(&mut world, 1, "k", &[7; 500]);
    world.run_for(secs(10));
    assert_eq!(value_at(&world, 0, "n1", "k"), Some(vec![7; 500]));
}

/// Adds more owners that have not answered than there is room for, n1 the last of them.
fn fill_with_strangers(endpoint: &mut Endpoint) {
    let all = &mut endpoint.key_values;
    all.remove("n1");
    all.most.1 = 64 << 10;
    let epoch = endpoint.node.listed_life("n1").map_or(0, |(epoch, _)| epoch);
    for (owner, epoch) in (0..40).map(|i| (format!("x{i}"), 1)).chain([("n1".into(), epoch)]) {
        let owner = owner.into();
        all.ensure(&owner, epoch, true, Some(Account::UNMET));
        all.grow(&owner, 1, (1, 1001), |map| _ = map.change("k", Some(&[7; 1000]), 1, Time::ZERO));
    }
}

/// The host of an owner that has not answered is only claimed, so owners may claim any number of hosts.
#[test]
fn owners_that_have_not_answered_leave_room_and_count_for_themselves_once_they_have() {
    let mut world = cluster(13, 3, Config::lan);
    set(&mut world, 1, "k", &[7; 500]);
    world.drive_with(0, |endpoint, _| {
        fill_with_strangers(endpoint);
        let all = &endpoint.key_values;
        assert_eq!((all.bytes(), all.audit()), (33 * 1001, Ok(())), "half of the room");
    });
    world.run_for(secs(10));
    assert_eq!(value_at(&world, 0, "n1", "k"), Some(vec![7; 500]), "it has answered");
}

/// The number of owners that have answered does not show a change: another member may depart as one answers.
#[test]
fn an_owner_that_answers_as_another_member_leaves_counts_for_itself() {
    let mut world = cluster(13, 3, Config::lan);
    set(&mut world, 1, "k", &[7; 500]);
    // In the second round, as many have answered as at the last look.
    for _ in 0..2 {
        world.drive_with(0, |endpoint, _| fill_with_strangers(endpoint));
        world.run_for(secs(60));
        assert_eq!(value_at(&world, 0, "n1", "k"), Some(vec![7; 500]), "it has answered");
    }
}

/// A datagram holds many changes, and a copy of a map costs much more than one of them.
#[test]
fn no_change_copies_a_map_however_full_the_maps_are() {
    let mut world = cluster(25, 2, Config::lan);
    world.run_for(secs(5));
    let owner = world.node(1).own_life();
    let tell = |world: &mut World, version: u64, key: &str, value: &[u8]| {
        let said =
            KeyValue { owner: "n1", epoch: owner.epoch, version, step: 0, stamp: 0, flags: 0, key, value };
        world.drive_with(0, |endpoint, now| {
            endpoint.key_values.on_change(now, &endpoint.node, &owner, &said);
            endpoint.key_values.audit().unwrap();
        });
    };
    (0..1024).for_each(|i| tell(&mut world, 1000 + i, &i.to_string(), b"v"));
    let held = |world: &mut World| {
        let mut held = (0, 0, 0);
        world.drive_with(0, |endpoint, _| {
            let all = &endpoint.key_values;
            held = (all.map("n1").map_or(0, |map| map.len()), all.bytes(), all.counted.copied);
        });
        held
    };
    let full = held(&mut world);
    assert_eq!((full.0, full.2), (1024, 0));
    (0..50).for_each(|i| tell(&mut world, 5000 + i, &format!("more{i}"), b"v"));
    assert_eq!(held(&mut world), full, "it has no room for more keys");
    tell(&mut world, 6000, "7", b"w");
    assert_eq!(held(&mut world), full, "one that is held takes no more room");
    world.drive_with(0, |endpoint, _| endpoint.key_values.most.1 = 100);
    (0..50).for_each(|i| tell(&mut world, 7000 + i, &i.to_string(), b"large"));
    assert_eq!(held(&mut world), full, "there is no room for more bytes");
}

/// Each of a host's many small maps changes a little; a larger map of another host is told all the same.
#[test]
fn small_maps_that_change_all_the_time_keep_no_larger_one_from_being_told() {
    use crate::{
        data::key_values::KeyValues,
        sim::{addr, forge},
        wire::{
            data::{KeyValueBuckets, KeyValueHead},
            frame::MAX_FRAME,
            message::{Alive, Message},
            packet::{self, Header, Writer},
        },
    };
    let mut world = cluster(14, 3, Config::lan);
    set(&mut world, 1, "k", &[7; 15_000]);
    run_until_true(&mut world, secs(10));
    let names: Vec<_> = (0..1100).map(|i| format!("x{i}")).collect();
    let (mut told, mut bytes) = (false, 0);
    world.drive_with(0, |endpoint, now| {
        let token = endpoint.node.token_for("n1", addr(1));
        for (at, names) in names.chunks(100).enumerate() {
            let home = |i: usize| ([10, 9, 9, 9], (1000 + 100 * at + i) as u16).into();
            let claim = |(i, name): (usize, &String)| {
                let addr: std::net::SocketAddr = home(i);
                (name.clone(), addr)
            };
            let claims: Vec<_> = names.iter().enumerate().map(claim).collect();
            let said: Vec<_> = claims
                .iter()
                .map(|(name, addr)| {
                    Message::Alive(Alive { name, epoch: 1, incarnation: 0, addr: *addr, tags: &[] })
                })
                .collect();
            endpoint.handle_datagram(now, addr(1), &forge::proven_packet("n1", token, &said));
        }
        let (all, node, mut exchange) = (&mut endpoint.key_values, &endpoint.node, Exchange::default());
        let digests = [0; 512];
        let buckets = DataMessage::KeyValueBuckets(KeyValueBuckets { digests: &digests });
        assert!(all.on_section(now, node, &mut exchange, "n2", &buckets));
        for name in &names {
            assert!(node.listed_life(name).is_some(), "{name} is listed");
            let owner = (&**name).into();
            all.ensure(&owner, 1, true, Some(Account::from(1)));
            all.grow(&owner, 1, (1, 4001), |map| _ = map.change("a", Some(&[7; 4000]), 1, Time::ZERO));
            all.grow(&owner, 2, (1, 2), |map| _ = map.change("b", Some(&[7]), 1, Time::ZERO));
            let head = DataMessage::KeyValueHead(KeyValueHead { owner: name, epoch: 1, version: 1 });
            assert!(all.on_section(now, node, &mut exchange, "n2", &head));
        }
        all.begin_turn(&mut exchange, 2, false);
        let (mut frame, mut is_all) = (Vec::new(), false);
        while !is_all {
            let header = Header { cluster: 0, sender: 0, token: 0 };
            let mut packet = Writer::new(&mut frame, header, MAX_FRAME);
            is_all = KeyValues::say(&mut exchange, &mut packet);
            packet.finish();
            bytes += frame.len();
            for message in packet::sections(&frame).filter_map(|section| section.ok()?.data_message().ok()?) {
                told |= matches!(message, DataMessage::KeyValueDelta(delta) if delta.owner == "n1");
            }
        }
    });
    assert!(told, "{bytes} bytes are told, and not those of n1");
}

/// A deleted key takes a place, though it has no bytes.
#[test]
fn of_more_keys_than_there_is_room_for_the_rest_is_refused_deleted_or_not() {
    let mut world = cluster(14, 3, Config::lan);
    world.drive_with(0, |endpoint, _| {
        let all = &mut endpoint.key_values;
        all.most.0 = 1000;
        for (deletes, name) in [(true, "x"), (false, "y")] {
            for i in 0..20 {
                let owner = format!("{name}{i}").into();
                all.ensure(&owner, 1, true, Some(Account::from(1)));
                all.grow(&owner, 100, (100, 0), |map| {
                    for key in 0..100 {
                        map.change(&key.to_string(), Some(&[]), 1, Time::ZERO);
                        if deletes {
                            map.change(&key.to_string(), None, 1, Time::ZERO);
                        }
                    }
                });
            }
        }
        assert_eq!((all.shares.all().0, all.audit()), (500, Ok(())), "half of the room");
        (0..20).for_each(|i| all.remove(&format!("x{i}")));
        assert_eq!((all.short_at, all.retries), (None, 1), "what was refused may be told again");
    });
}

#[test]
fn to_plan_a_turn_no_more_than_a_few_changes_of_each_map_are_looked_at() {
    let mut map = OwnerMap::new(1);
    let value = [7; 10];
    (0..100).for_each(|key| _ = map.change(&format!("{key:02}"), Some(&value), 1, Time::ZERO));
    assert_eq!((map.bytes_above(0), map.bytes_above(90), map.bytes_above(100)), (1200, 120, 0));
    assert_eq!(map.bytes_above(50), 1200, "of many, those of the whole map are a bound");
    (0..100).for_each(|key| _ = map.change(&format!("{key:02}"), None, 1, Time::ZERO));
    assert_eq!((map.bytes_above(190), map.size()), (20, (100, 0)), "of deletions the keys");
}
