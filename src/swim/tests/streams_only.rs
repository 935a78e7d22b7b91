//! Clusters in which datagrams get lost and streams come through.

use super::{
    super::{Config, Event, MemberState, ReachProblem},
    bench::{Bench, EPOCH, alive, left, say},
    world::{World, addr, converged, millis, secs},
};
use crate::{
    Tags,
    wire::message::{Alive, Message},
};

/// A cluster in which no datagram arrives, from the start.
fn without_udp(seed: u64, n: usize) -> World {
    println!("seed {seed}");
    let mut world = World::new(seed);
    world.net.no_udp = true;
    world.start_cluster(n, Config::lan);
    let took = world.run_until("convergence", secs(60), |world| world.all_see(n));
    println!("{n} nodes converge in {took:?}");
    world.run_for(secs(10));
    world
}

fn lost(world: &World, host: usize) -> Vec<ReachProblem> {
    let lost = |(_, event): &(_, Event)| match event {
        Event::ReachabilityLost { problem } => Some(problem.clone()),
        _ => None,
    };
    world.hosts[host].events.iter().filter_map(lost).collect()
}

fn verdicts(world: &World) -> usize {
    let failed = |(_, event): &&(_, Event)| matches!(event, Event::Failed { .. });
    world.up().map(|host| world.hosts[host].events.iter().filter(failed).count()).sum()
}

#[test]
fn tags_and_joins_reach_all_views_within_seconds() {
    for (seed, n) in [(1, 3), (2, 8), (3, 30), (4, 70)] {
        let mut world = without_udp(seed, n);
        world.with(n - 1, |node, now| node.set_tags(now, Tags::new([("k", "v")]).unwrap()));
        let name = format!("n{}", n - 1);
        let took = world.run_until("tags", secs(5), |world| {
            world
                .up()
                .all(|host| world.node(host).member(&name).is_some_and(|m| m.tags.get("k") == Some("v")))
        });
        println!("{n} nodes: tags {took:?}");
        world.start(Config::lan("new"), addr(n), vec![addr(0)]);
        let took = world.run_until("a join", secs(5), |world| world.all_see(n + 1));
        println!("{n} nodes: join {took:?}");
        world.run_for(secs(5));
        assert_eq!(verdicts(&world), 0);
        world.crash(n);
        let took = world.run_until("a crash", secs(60), |world| world.all_see(n));
        println!("{n} nodes: crash {took:?}");
    }
}

#[test]
fn a_node_that_is_restarted_elsewhere_is_known_there_within_seconds() {
    for (seed, left) in [(1, false), (2, true)] {
        let mut world = without_udp(seed, 8);
        if left {
            world.with(5, |node, now| node.leave(now));
            world.run_for(secs(2));
        }
        world.crash(5);
        world.start(Config::lan("n5"), addr(77), vec![addr(0)]);
        let took = world.run_until("the new address everywhere", secs(5), |world| {
            world.up().all(|host| world.node(host).member("n5").is_some_and(|n5| n5.addr == addr(77)))
        });
        println!("left: {left}: {took:?}");
    }
}

#[test]
fn a_crash_is_found_as_fast_as_with_datagrams() {
    for (n, seeds) in [(5, 0..10), (20, 0..5)] {
        let took = |udp: bool| {
            let took = |seed| {
                let mut world = if udp { converged(seed, n) } else { without_udp(seed, n) };
                world.crash(n - 1);
                world.run_until("the crash", secs(60), |world| world.all_see(n - 1)).as_secs_f64()
            };
            let mut all: Vec<_> = seeds.clone().map(took).collect();
            all.sort_by(f64::total_cmp);
            println!("{n} nodes, datagrams: {udp}: {all:.1?}");
            all.iter().sum::<f64>() / all.len() as f64
        };
        let (with, without) = (took(true), took(false));
        assert!(without < with * 1.5, "{n} nodes: {without:.1} s, not {with:.1} s");
    }
}

#[test]
fn every_leave_is_seen_as_left() {
    for (seed, n) in [(1, 2), (2, 3), (3, 8), (4, 30)] {
        let mut world = without_udp(seed, n);
        for leaver in 1..n {
            let name = format!("n{leaver}");
            world.with(leaver, |node, now| node.leave(now));
            let took = world.run_until("the leave", secs(2), |world| world.hosts[leaver].left);
            println!("{n} nodes: {took:?}");
            world.crash(leaver);
            world.run_until("left everywhere", secs(5), |world| {
                world.up().all(|host| world.state(host, &name) == Some(MemberState::Left))
            });
        }
        assert_eq!(verdicts(&world), 0, "seed {seed}");
    }
}

/// No member has found out yet that datagrams get lost.
#[test]
fn a_leave_is_heard_when_datagrams_have_just_ceased_to_come_through() {
    for (seed, n) in [(1, 2), (2, 8), (3, 30)] {
        let mut world = converged(seed, n);
        world.net.no_udp = true;
        world.with(n - 1, |node, now| node.leave(now));
        world.run_until("the leave", secs(2), |world| world.hosts[n - 1].left);
        world.crash(n - 1);
        let name = format!("n{}", n - 1);
        world.run_until("left everywhere", secs(20), |world| {
            world.up().all(|host| world.state(host, &name) == Some(MemberState::Left))
        });
        assert_eq!(verdicts(&world), 0, "seed {seed}");
    }
}

/// The members have met by streams alone: neither has the other's token.
#[test]
fn a_leave_is_heard_by_members_that_never_got_a_datagram() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        world.net.no_udp = true;
        world.start_cluster(2, Config::lan);
        world.run_until("convergence", secs(5), |world| world.all_see(2));
        world.with(1, |node, now| node.leave(now));
        world.run_until("the leave", secs(2), |world| world.hosts[1].left);
        world.crash(1);
        world.run_for(secs(1));
        assert_eq!(world.state(0, "n1"), Some(MemberState::Left), "seed {seed}");
    }
}

#[test]
fn a_pause_brings_no_false_verdict() {
    for seed in 0..10 {
        let mut world = without_udp(seed, 8);
        for host in 0..8 {
            world.pause(host, millis(2000));
            world.run_for(secs(6));
        }
        assert_eq!(verdicts(&world), 0, "seed {seed}");
        assert!(world.views_are_true(), "seed {seed}");
    }
}

#[test]
fn one_host_without_udp_is_named_by_the_others_and_hears_all() {
    let mut world = converged(5, 6);
    world.net.no_udp_into.insert(3);
    world.run_for(secs(60));
    for host in world.up() {
        let problems = lost(&world, host);
        println!("host {host}: {problems:?}");
        let names = |problem: &ReachProblem| match problem {
            ReachProblem::Datagrams { members, .. } => members.iter().any(|member| &**member == "n3"),
            _ => false,
        };
        assert!(problems.iter().all(|problem| host == 3 || names(problem)) && !problems.is_empty());
    }
}

/// With 30 % of all datagrams lost, no firewall is reported, though streams alone answer many a probe.
#[test]
fn loss_is_not_taken_for_a_firewall() {
    for (seed, n) in [(1, 2), (2, 3), (3, 8), (4, 20)] {
        println!("seed {seed}");
        let mut world = World::new(seed);
        world.net.datagram_loss = 0.3;
        world.start_cluster(n, Config::lan);
        world.run_for(secs(300));
        for host in world.up() {
            assert_eq!(lost(&world, host), [], "{n} nodes, host {host}");
            assert_eq!(world.node(host).metrics().streams_only_members, 0, "{n} nodes, host {host}");
        }
        assert!(world.up().any(|host| world.node(host).metrics().probes_saved_by_stream > 10));
    }
}

#[test]
fn a_firewall_is_told_within_a_quarter_of_a_minute() {
    for (seed, n) in [(1, 2), (2, 3), (3, 8)] {
        let mut world = converged(seed, n);
        world.net.no_udp = true;
        let took = world
            .run_until("all tell", secs(15), |world| world.up().all(|host| !lost(world, host).is_empty()));
        println!("{n} nodes: {took:?}");
    }
    // With a firewall before one host alone, that host finds it first.
    let mut world = converged(5, 6);
    world.net.no_udp_into.insert(3);
    let told = |world: &World, host: usize| !lost(world, host).is_empty();
    let took = world.run_until("that host tells", secs(15), |world| told(world, 3));
    println!("one of 6: it tells after {took:?}");
    let took = world.run_until("all tell", secs(15), |world| world.up().all(|host| told(world, host)));
    println!("one of 6: all tell {took:?} later");
}

#[test]
fn a_problem_that_ends_and_comes_again_is_reported_once_in_a_while() {
    let mut bench = Bench::new(3);
    let name = std::sync::Arc::from("m1");
    let fail = |bench: &mut Bench| {
        (0..7).for_each(|_| bench.node.saved_by_stream(&name));
        bench.events().iter().filter(|event| matches!(event, Event::ReachabilityLost { .. })).count()
    };
    assert_eq!(fail(&mut bench), 1);
    for _ in 0..3 {
        bench.node.reached_by_datagram(Some("m1"));
        let restored = bench.events();
        assert!(restored.len() <= 1, "{restored:?}");
        assert_eq!(fail(&mut bench), 0, "it was told a moment ago");
    }
    bench.now = bench.now + secs(60);
    bench.node.now = bench.now;
    assert_eq!(fail(&mut bench), 1);
}

#[test]
fn the_members_that_are_reported_are_those_that_datagrams_do_not_reach_now() {
    let reported = |bench: &mut Bench| {
        let last = bench.events().into_iter().filter_map(|event| match event {
            Event::ReachabilityLost { problem: ReachProblem::Datagrams { members, .. } } => Some(members),
            _ => None,
        });
        last.last().map(|members| members.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let fail = |bench: &mut Bench, name: &str| (0..7).for_each(|_| bench.node.saved_by_stream(&name.into()));
    let mut bench = Bench::new(4);
    fail(&mut bench, "m1");
    assert_eq!(reported(&mut bench), Some(vec!["m1".to_owned()]));
    fail(&mut bench, "m2");
    bench.node.reached_by_datagram(Some("m1"));
    assert_eq!(reported(&mut bench), None, "a report came a moment ago");
    bench.node.now = bench.node.now + secs(60);
    bench.now = bench.node.now;
    fail(&mut bench, "m2");
    assert_eq!(reported(&mut bench), Some(vec!["m2".to_owned()]));
}

#[test]
fn what_streams_alone_answer_elsewhere_makes_no_member_certain_that_is_in_doubt() {
    let departs = Message::Left(left("m1", 0));
    let restarts = Message::Alive(Alive { epoch: EPOCH + 1, ..alive("m1", 0, addr(1)) });
    for said in [departs, restarts] {
        let mut bench = Bench::new(3);
        let fail = |bench: &mut Bench, name: &str| {
            (0..7).for_each(|_| bench.node.saved_by_stream(&name.into()));
            bench.node.carrier.streams_only().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(fail(&mut bench, "m1"), ["m1"]);
        assert_eq!(fail(&mut bench, "m3"), ["m1", "m3"]);
        say(&mut bench, "m1", addr(1), &[said]);
        assert_eq!(fail(&mut bench, "m3"), ["m3"]);
    }
}

#[test]
fn a_report_ends_with_the_last_member_that_datagrams_do_not_reach() {
    let mut bench = Bench::new(2);
    (0..7).for_each(|_| bench.node.saved_by_stream(&"m1".into()));
    bench.events();
    say(&mut bench, "m1", addr(1), &[Message::Left(left("m1", 0))]);
    let restored = |event: &Event| matches!(event, Event::ReachabilityRestored { .. });
    assert!(bench.events().iter().any(restored));
}

/// A host with a second address or behind a mapped port, into which no datagram comes: others see its streams come from
/// another address than the advertised one.
#[test]
fn a_caller_from_another_address_is_listed_though_no_datagram_reaches_it() {
    for (seed, n) in [(1, 2), (2, 6)] {
        println!("seed {seed}");
        let mut world = World::new(seed);
        world.start_cluster(n - 1, Config::lan);
        world.net.no_udp_into.insert(n - 1);
        world.map_source(n - 1, crate::sim::Nat::FullCone, 0);
        world.start(Config::lan("odd"), addr(n - 1), vec![addr(0)]);
        let took = world.run_until("one view", secs(5), |world| world.all_see(n));
        println!("{n} nodes: {took:?}");
        world.run_for(secs(60));
        assert!(world.views_are_true() && verdicts(&world) == 0);
        world.with(n - 1, |node, now| node.leave(now));
        world.run_until("the leave", secs(2), |world| world.hosts[n - 1].left);
        world.crash(n - 1);
        world.run_until("left everywhere", secs(5), |world| {
            world.up().all(|host| world.state(host, "odd") == Some(MemberState::Left))
        });
        // It comes back after a crash, when the others hold it failed.
        world.restart(n - 1);
        world.run_until("it is back", secs(10), |world| world.all_see(n));
        world.crash(n - 1);
        world.run_until("it failed", secs(60), |world| {
            world.up().all(|host| world.state(host, "odd") == Some(MemberState::Failed))
        });
        world.restart(n - 1);
        world.run_until("it is back again", secs(10), |world| world.all_see(n));
    }
}
