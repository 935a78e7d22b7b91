//! Partitions, lost updates, and determinism.

use super::{
    super::{Event, MemberState},
    world::{World, converged, millis, partition, secs},
};

#[test]
fn the_same_seed_gives_the_same_datagrams_and_another_seed_does_not() {
    let trace = |seed| {
        let mut world = converged(seed, 12);
        world.net.lose(0.05);
        world.crash(3);
        world.run_for(secs(30));
        (world.trace(), world.datagrams())
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

#[test]
fn a_partition_heals_by_itself() {
    for (seed, n) in [(1, 2), (2, 6), (3, 12), (4, 50)] {
        let mut world = converged(seed, n);
        let (left, right): (Vec<_>, Vec<_>) = (0..n).partition(|host| host % 2 == 0);
        // The partition heals without seeds.
        world.hosts.iter_mut().for_each(|host| host.seeds.clear());
        partition(&mut world, &left, &right);
        world.run_for(secs(120));
        let live = |host: usize| world.node(host).live();
        assert_eq!((live(0), live(1)), (left.len(), right.len()), "n {n}");
        world.net.cut.clear();
        let took = world.run_until("one view", secs(60), |world| world.all_see(n));
        println!("n {n}: one view {took:?} after the partition ended");
    }
}

#[test]
fn a_member_that_missed_all_updates_gets_them_by_the_digests_in_probes() {
    let mut world = converged(5, 10);
    partition(&mut world, &[9], &(0..9).collect::<Vec<_>>());
    // Too short for a lasting suspicion, long enough for the updates to run out.
    world.with(0, |node, now| node.set_tags(now, crate::Tags::new([("k", "v")]).unwrap()));
    world.run_for(millis(1500));
    world.net.cut.clear();
    world.run_until("the update everywhere", secs(10), |world| {
        world.up().all(|host| world.node(host).members().iter().any(|m| m.tags.get("k") == Some("v")))
    });
    let updates = |e: &Event| matches!(e, Event::Updated { member: m, .. } if &*m.name == "n0");
    assert_eq!(world.hosts[5].events.iter().filter(|(_, e)| updates(e)).count(), 1);
}

#[test]
fn of_tables_that_differ_a_little_only_the_differing_buckets_are_exchanged() {
    let n = 300;
    let mut world = converged(8, n);
    // No update of the change reaches host 9; only an exchange tells it.
    partition(&mut world, &[9], &(0..9).chain(10..n).collect::<Vec<_>>());
    world.with(0, |node, now| node.set_tags(now, crate::Tags::new([("k", "v")]).unwrap()));
    world.run_for(millis(2500));
    world.net.cut.clear();
    let before = (world.stream_bytes(), world.node(9).metrics());
    let knows = |world: &World| world.node(9).member("n0").is_some_and(|member| !member.tags.is_empty());
    assert!(!knows(&world));
    world.run_until("the update", secs(10), knows);
    world.run_for(millis(200));
    let (bytes, partial) =
        (world.stream_bytes() - before.0, world.node(9).metrics().syncs_partial - before.1.syncs_partial);
    println!("{bytes} bytes in {partial} exchanges");
    assert!(partial >= 1);
    // Digests of all buckets, and one or a few of 64 buckets, both ways; a table of 300 takes some 9,000 bytes.
    assert!(bytes < 3000 * partial, "{bytes} bytes in {partial} exchanges");
}

#[test]
fn equal_tables_are_not_exchanged() {
    let mut world = converged(6, 10);
    let counts = |world: &World| {
        let metrics: Vec<_> = world.up().map(|host| world.node(host).metrics()).collect();
        (metrics.iter().map(|m| m.syncs).sum::<u64>(), metrics.iter().map(|m| m.syncs_equal).sum::<u64>())
    };
    let before = counts(&world);
    world.run_for(secs(300));
    let after = counts(&world);
    let (syncs, equal) = (after.0 - before.0, after.1 - before.1);
    assert!(syncs > 50, "the periodic ones go on");
    assert_eq!(syncs, equal);
}

#[test]
fn one_way_silence_fails_only_the_member_that_receives_nothing() {
    let mut world = converged(7, 8);
    for other in 0..7 {
        world.net.cut.insert((other, 7));
    }
    world.run_for(secs(90));
    for host in 0..7 {
        assert_eq!(world.state(host, "n7"), Some(MemberState::Failed), "host {host}");
        let others = world.hosts[host]
            .events
            .iter()
            .any(|(_, e)| matches!(e, Event::Failed { member: m, .. } if &*m.name != "n7"));
        assert!(!others, "host {host}");
    }
    world.net.cut.clear();
    world.run_until("one view", secs(60), |world| world.all_see(8));
}
