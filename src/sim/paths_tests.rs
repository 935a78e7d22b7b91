//! Rules for hosts that send from other addresses than those where they are reached, or that are hard to reach.

use std::time::Duration;

use super::*;
use crate::{
    Tags,
    sim::{Fault, Side, World, tests::cluster},
    swim::{Config, Event, MemberState, ReachProblem},
};

const N: usize = 5;

fn told(world: &World, name: &str, is: fn(&Event) -> bool) -> usize {
    let about = |event: &Event| is(event) && event.member().is_some_and(|member| *member.name == *name);
    world.hosts.iter().filter(|host| host.events.iter().any(|(_, event)| about(event))).count()
}

fn failed(event: &Event) -> bool {
    matches!(event, Event::Failed { .. })
}

fn left(event: &Event) -> bool {
    matches!(event, Event::Left { .. })
}

/// A cluster whose second host is set up by `prepare` before it starts.
fn with_second(prepare: impl Fn(&mut World)) -> World {
    let mut world = World::new(2);
    prepare(&mut world);
    world.start_cluster(N, Config::lan);
    world
}

fn ways() -> [fn(&mut World); 3] {
    [
        |world| world.map_source(1, Nat::FullCone, 0),
        |world| world.map_source(1, Nat::AddressRestricted, 0),
        |world| world.add_second_address(1),
    ]
}

#[test]
fn a_node_that_sends_from_elsewhere_is_a_member_like_any_other() {
    for way in ways() {
        let mut world = with_second(way);
        let took = world.run_until("one view", Duration::from_secs(5), |world| world.all_see(N));
        assert!(took < Duration::from_secs(3), "{took:?}");
        world.run_for(Duration::from_secs(60));
        let tags = Tags::new([("role", "db")]).unwrap();
        world.with(1, |node, now| node.set_tags(now, tags));
        world.run_until("its tags", Duration::from_secs(2), World::views_are_true);
        world.run_for(Duration::from_secs(600));
        assert_eq!(
            told(&world, "n1", failed) + told(&world, "n1", |e| matches!(e, Event::Suspected { .. })),
            0
        );
        world.leave_and_stop(1);
        world.run_for(Duration::from_secs(2));
        assert_eq!((told(&world, "n1", left), told(&world, "n1", failed)), (N, 0));
    }
}

#[test]
fn a_translator_that_takes_another_binding_causes_no_failure() {
    let mut world = with_second(ways()[1]);
    world.run_until("one view", Duration::from_secs(5), |world| world.all_see(N));
    for binding in 1..60 {
        world.map_source(1, Nat::AddressRestricted, binding);
        world.run_for(Duration::from_millis(2_300));
    }
    assert_eq!(told(&world, "n1", failed), 0);
}

/// Whether a packet gets from one address to another, which belongs to a mapped host.
#[test]
fn a_translator_lets_in_packets_by_its_kind_and_only_after_one_was_sent() {
    let (own, other, third) = (addr(1), addr(2), addr(3));
    let mut rng = fastrand::Rng::with_seed(1);
    for (nat, third_passes) in [(Nat::FullCone, true), (Nat::AddressRestricted, false)] {
        let mut paths = Paths::default();
        paths.map(1, nat, 0);
        let mapped = further_addr(1, MAPPED, 0);
        assert_eq!(paths.host_at(mapped), Some(1));
        let now = Time::ZERO + REMEMBERED;
        assert!(!paths.admits(1, own, other, mapped, now), "nothing was sent yet");
        assert_eq!(paths.source(1, own, other, now, &mut rng), mapped);
        assert!(paths.admits(1, own, other, mapped, now) && paths.admits(1, own, third, own, now));
        assert_eq!(paths.admits(1, own, third, mapped, now), third_passes);
        assert!(!paths.admits(1, own, other, mapped, now + REMEMBERED), "it is forgotten");
        assert!(!paths.admits_stream(1, own, mapped) && paths.admits_stream(1, own, own));
        // Another binding is another address, and no host has the old one.
        paths.map(1, nat, 1);
        assert_eq!(paths.host_at(mapped), None);
    }
}

#[test]
fn a_node_that_has_two_addresses_sends_from_either_and_is_reached_at_both() {
    let (own, other, now) = (addr(1), addr(2), Time::ZERO);
    let mut rng = fastrand::Rng::with_seed(1);
    let mut paths = Paths::default();
    paths.add_second(1);
    let second = further_addr(1, SECOND, 0);
    let from: Vec<_> = (0..20).map(|_| paths.source(1, own, other, now, &mut rng)).collect();
    assert!(from.contains(&own) && from.contains(&second));
    for to in [own, second] {
        assert!(paths.admits(1, own, other, to, now) && paths.admits_stream(1, own, to));
    }
}

#[test]
fn at_a_closed_address_answers_come_in_and_nothing_else() {
    let (own, other, third, now) = (addr(1), addr(2), addr(3), Time::ZERO);
    let mut rng = fastrand::Rng::with_seed(1);
    let mut paths = Paths::default();
    paths.close(1, true);
    assert_eq!(paths.source(1, own, other, now, &mut rng), own);
    assert!(paths.admits(1, own, other, own, now) && !paths.admits(1, own, third, own, now));
    assert!(!paths.admits_stream(1, own, own));
    // Answers do not reach the host behind a translator either.
    paths.map(1, Nat::FullCone, 0);
    paths.source(1, own, third, now, &mut rng);
    assert!(!paths.admits(1, own, third, own, now));
    paths.close(1, false);
    assert!(paths.admits(1, own, third, own, now));
}

#[test]
fn only_a_member_that_is_not_reached_may_be_declared_failed() {
    let mut world = cluster(N);
    Fault::Unreachable(1).apply(&mut world);
    Fault::Mapped(1, Nat::FullCone, 0).apply(&mut world);
    world.run_until("a verdict", Duration::from_secs(120), |world| told(world, "n1", failed) > 0);
    world.run_for(Duration::from_secs(300));
    let others = (0..N).filter(|host| *host != 1).map(|host| told(&world, &format!("n{host}"), failed));
    assert_eq!(others.sum::<usize>(), 0);
    let problem = |event: &Event| match event {
        Event::ReachabilityLost { problem: ReachProblem::Unreachable { addr: there, .. } } => {
            *there == addr(1)
        }
        _ => false,
    };
    let told_why = |world: &World| world.hosts[1].events.iter().any(|(_, event)| problem(event));
    assert!(told_why(&world), "it is told why");
    Fault::Reachable(1).apply(&mut world);
    world.run_until("one view", Duration::from_secs(120), World::views_are_true);
}

#[test]
fn a_host_whose_address_was_replaced_is_listed_at_the_new_one_once_it_is_started_anew() {
    let mut world = cluster(N);
    Fault::NewAddress(1, 0).apply(&mut world);
    world.run_until("a verdict", Duration::from_secs(120), |world| told(world, "n1", failed) == N - 1);
    world.crash(1);
    Fault::Restart(1).apply(&mut world);
    assert_eq!(world.hosts[1].addr, further_addr(1, MOVED, 0));
    world.run_until("one view", Duration::from_secs(5), World::views_are_true);
}

#[test]
fn a_node_that_follows_its_address_is_listed_there_whether_it_was_found_failed_or_not() {
    for patience in [0, 5, 120] {
        let mut world = cluster(N);
        Fault::NewAddress(1, 0).apply(&mut world);
        world.run_for(Duration::from_secs(patience));
        let before = told(&world, "n1", failed);
        world.follow_address(1);
        world.run_until("one view", Duration::from_secs(2), World::views_are_true);
        world.run_for(Duration::from_secs(60));
        let addr = further_addr(1, MOVED, 0);
        assert!((0..N).all(|host| world.node(host).members().iter().any(|member| member.addr == addr)));
        assert_eq!(told(&world, "n1", failed), before, "nobody accuses it any more after {patience} s");
    }
}

#[test]
fn without_datagrams_only_a_crashed_member_fails_and_a_leaver_has_left() {
    for side in [Side::All, Side::Into(1), Side::OutOf(1)] {
        let mut world = cluster(N);
        Fault::FilteredUdp(side).apply(&mut world);
        world.run_for(Duration::from_secs(600));
        assert_eq!((0..N).map(|host| told(&world, &format!("n{host}"), failed)).sum::<usize>(), 0);
        world.crash(2);
        let gone = |world: &World| {
            world.up().all(|host| world.state(host, "n2").is_none_or(|state| state == MemberState::Failed))
        };
        world.run_until("the verdict", Duration::from_secs(20), gone);
        world.restart(2);
        world.run_until("its return", Duration::from_secs(10), World::views_are_true);
        for leaver in [1, 3] {
            world.leave_and_stop(leaver);
            world.run_for(Duration::from_secs(10));
            let name = format!("n{leaver}");
            assert!(world.up().all(|host| world.state(host, &name) == Some(MemberState::Left)), "{side:?}");
        }
    }
}
