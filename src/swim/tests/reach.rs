//! How a node learns how others see it.

use super::{
    super::{Config, Event, JoinProblem, ReachProblem},
    bench::{Bench, messages},
    world::{World, addr, converged, secs},
};
use crate::{
    sim::{Fault, Nat, forge},
    wire::message::{Ack, Message, Ping, Seen},
};

fn problems(world: &World, host: usize) -> Vec<&Event> {
    let is =
        |event: &Event| matches!(event, Event::ReachabilityLost { .. } | Event::ReachabilityRestored { .. });
    world.hosts[host].events.iter().map(|(_, event)| event).filter(|event| is(event)).collect()
}

fn is_unreached(event: &Event, at: usize) -> bool {
    matches!(event, Event::ReachabilityLost { problem: ReachProblem::Unreachable { addr: there, .. } } if *there == addr(at))
}

/// The answer to a ping of m1, from an address, with these messages behind it.
fn answer_to(
    bench: &mut Bench,
    from: std::net::SocketAddr,
    token: u32,
    behind: &[Message<'_>],
) -> Vec<String> {
    let said = [&[Message::Ping(Ping { seq: 5, target: "me" })], behind].concat();
    bench.node.handle_datagram(bench.now, from, &forge::proven_packet("m1", token, &said));
    let mut answers = Vec::new();
    for (_, packet) in bench.sent() {
        messages(&packet, |message| answers.push(format!("{message:?}")));
    }
    answers
}

#[test]
fn only_a_node_that_pings_from_elsewhere_is_told_its_observed_address() {
    let mut bench = Bench::new(1);
    let token = bench.node.token_for("m1", addr(1));
    let tells = |answers: &[String]| answers.iter().any(|answer| answer.starts_with("Seen"));
    assert!(!tells(&answer_to(&mut bench, addr(1), token, &[])), "it comes from where it says");
    let answers = answer_to(&mut bench, addr(70), token, &[]);
    assert!(answers.contains(&format!("{:?}", Message::Seen(Seen { addr: addr(70) }))), "{answers:?}");
    assert!(!tells(&answer_to(&mut bench, addr(70), 0, &[])), "that would be more than it sent");
}

#[test]
fn only_members_that_proved_themselves_tell_where_we_are_seen() {
    let mut bench = Bench::new(2);
    let told = |bench: &mut Bench, token: u32| {
        let seen = [Message::Ack(Ack { seq: 5 }), Message::Seen(Seen { addr: addr(70) })];
        bench.node.handle_datagram(bench.now, addr(9), &forge::proven_packet("m1", token, &seen));
        bench.node.observed_addr()
    };
    assert_eq!(told(&mut bench, 0), None);
    let token = bench.node.token_for("m1", addr(1));
    assert_eq!(told(&mut bench, token), Some(addr(70)));
    assert_eq!(bench.node.metrics().address_differs, 1);
    assert_eq!(bench.node.local().addr, addr(0), "it decides nothing");
    bench.now = bench.now + secs(600);
    bench.node.handle_timeout(bench.now);
    assert_eq!(
        (bench.node.observed_addr(), bench.node.metrics().address_differs),
        (None, 0),
        "it is long ago"
    );
}

#[test]
fn a_node_that_sends_through_a_translator_learns_its_address_and_has_no_problem() {
    let mut world = World::new(3);
    world.map_source(1, Nat::AddressRestricted, 0);
    world.start_cluster(5, Config::lan);
    world.run_for(secs(120));
    assert!(world.node(1).observed_addr().is_some());
    for host in 0..5 {
        assert_eq!(problems(&world, host), Vec::<&Event>::new(), "host {host}");
        assert!(host == 1 || world.node(host).observed_addr().is_none());
    }
}

#[test]
fn a_node_that_advertises_an_unreachable_address_is_told_and_its_join_fails() {
    for seed in 1..5 {
        let mut world = converged(seed, 5);
        // Otherwise the node's own packets would open its firewall for the answers.
        world.map_source(5, Nat::FullCone, 0);
        let odd = world.start(Config::lan("odd"), addr(5), vec![]);
        world.close(odd, true);
        world.hosts[odd].seeds = vec![addr(0)];
        world.with(odd, |node, now| node.seek_seeds(now));
        let took = world.run_until("the problem", secs(60), |world| {
            problems(world, odd).iter().any(|event| is_unreached(event, odd))
        });
        println!("told after {took:?}");
        world.run_for(secs(10));
        let failed = world.hosts[odd]
            .joins
            .iter()
            .filter(|result| **result == Err(JoinProblem::AddressUnreachable { addr: addr(odd) }));
        assert!(failed.count() >= 3, "{:?}", world.hosts[odd].joins);
        assert_eq!(world.node(odd).metrics().unreached, 1);
        for host in 0..5 {
            assert_eq!(problems(&world, host), Vec::<&Event>::new(), "host {host}");
        }
        Fault::Reachable(odd).apply(&mut world);
        world.run_until("one view", secs(120), |world| world.all_see(6));
        world.run_for(secs(70));
        assert!(matches!(problems(&world, odd).last(), Some(Event::ReachabilityRestored { .. })));
        assert_eq!(world.node(odd).metrics().unreached, 0);
        assert!(world.hosts[odd].joins.last().is_some_and(Result::is_ok));
    }
}

#[test]
fn a_healthy_cluster_has_no_problem_and_looks_for_none() {
    for (seed, n) in [(1, 2), (2, 3), (3, 12)] {
        let mut world = converged(seed, n);
        let before: u64 = (0..n).map(|host| world.node(host).metrics().syncs).sum();
        world.run_for(secs(300));
        let syncs = (0..n).map(|host| world.node(host).metrics().syncs).sum::<u64>() - before;
        // Both sides count an exchange; each member begins one in thirty seconds.
        assert!(syncs as usize <= 2 * 14 * n, "{syncs} exchanges of {n}");
        for host in 0..n {
            assert_eq!(problems(&world, host), Vec::<&Event>::new());
            let metrics = world.node(host).metrics();
            assert_eq!((metrics.carried_sent, metrics.carried_received), (0, 0));
        }
    }
}

#[test]
fn a_new_address_is_announced_and_ends_that_the_old_one_is_gone() {
    let mut bench = Bench::new(1);
    bench.node.set_address_present(bench.now, false);
    bench.events();
    let incarnation = bench.node.local().identity.incarnation;
    bench.node.set_addr(bench.now, addr(50));
    let own = bench.node.local();
    assert_eq!((own.addr, own.identity.incarnation), (addr(50), incarnation + 1));
    assert!(bench.has_news("me"));
    let told = bench.events();
    assert!(matches!(&told[..], [Event::Updated { .. }, Event::ReachabilityRestored { .. }]), "{told:?}");
    bench.node.set_addr(bench.now, addr(50));
    assert_eq!((bench.events(), bench.node.local().identity.incarnation), (vec![], incarnation + 1));
}

#[test]
fn an_address_that_is_gone_is_told_once_and_so_is_its_return() {
    let mut bench = Bench::new(1);
    let mut told = Vec::new();
    for present in [true, false, false, true, true] {
        bench.node.set_address_present(bench.now, present);
        told.push((bench.events(), bench.node.metrics().address_gone));
    }
    let problem = ReachProblem::AddressGone { addr: addr(0) };
    let lost = Event::ReachabilityLost { problem: problem.clone() };
    let restored = Event::ReachabilityRestored { problem };
    assert_eq!(told, [(vec![], 0), (vec![lost], 1), (vec![], 1), (vec![restored], 0), (vec![], 0)]);
}
