//! When each metric counts.

use super::{
    super::{Config, Event, MemberState},
    bench::{Bench, alive, failed, left, messages, suspect},
    world::{addr, converged, millis, secs},
};
use crate::wire::message::{Ack, Message};

/// Waits for the next ping of a probe round and returns its destination and number.
fn next_ping(bench: &mut Bench) -> (std::net::SocketAddr, u32) {
    loop {
        bench.now = bench.node.poll_timeout().expect("it probes");
        bench.node.handle_timeout(bench.now);
        let mut pings = Vec::new();
        for (to, packet) in bench.sent() {
            messages(&packet, |message| {
                if let Message::Ping(ping) = message {
                    pings.push((to, ping.seq));
                }
            });
        }
        if let [ping] = pings[..] {
            return ping;
        }
    }
}

#[test]
fn members_are_counted_by_state_and_each_change_is_counted_once() {
    let mut bench = Bench::new(4);
    let before = bench.node.metrics();
    assert_eq!((before.member_joins, before.alive_members, before.live_members), (4, 5, 5));
    bench.receive(&suspect("m2", 0, &["m1"])).receive(&suspect("m2", 0, &["m3"]));
    bench.receive(&failed("m3", 0)).receive(&failed("m3", 0)).receive(&left("m4", 0));
    let metrics = bench.node.metrics();
    let by_state =
        (metrics.alive_members, metrics.suspect_members, metrics.failed_members, metrics.left_members);
    assert_eq!(by_state, (2, 1, 1, 1));
    assert_eq!((metrics.member_failures, metrics.member_leaves, metrics.member_refutations), (1, 1, 0));
    bench.receive_from(addr(2), &alive("m2", 1, addr(2)));
    bench.sync(Message::Alive(alive("m3", 1, addr(3))));
    let metrics = bench.node.metrics();
    assert_eq!((metrics.member_refutations, metrics.member_joins), (1, 5));
    assert_eq!((metrics.alive_members, metrics.suspect_members, metrics.failed_members), (4, 0, 0));
}

#[test]
fn tags_that_change_are_no_refutation() {
    let mut bench = Bench::new(2);
    bench.receive(&alive("m1", 1, addr(1)));
    assert_eq!(bench.node.metrics().member_refutations, 0);
}

#[test]
fn a_departed_member_that_is_listed_no_longer_is_in_no_state() {
    let mut config = Config::lan("me");
    config.reap_failed_after = secs(10);
    let mut bench = Bench::with(config, 5);
    bench.receive(&failed("m3", 0));
    assert_eq!(bench.node.metrics().failed_members, 1);
    bench.now = bench.now + secs(11);
    bench.node.handle_timeout(bench.now);
    let metrics = bench.node.metrics();
    assert_eq!((metrics.failed_members, metrics.departed_members), (0, 1));
}

#[test]
fn accusations_of_this_node_are_counted_unless_they_are_outdated() {
    let mut bench = Bench::new(3);
    bench.receive(&suspect("me", 0, &["m1"]));
    bench.receive(&suspect("me", 0, &["m2"]));
    let metrics = bench.node.metrics();
    assert_eq!((metrics.own_suspicions, metrics.refutations), (1, 1));
    let own = bench.node.local();
    assert_eq!(own.identity.incarnation, 1);
}

#[test]
fn a_node_that_has_left_counts_itself_as_left() {
    let mut bench = Bench::new(2);
    bench.node.leave(bench.now);
    bench.pass(secs(5));
    let metrics = bench.node.metrics();
    assert_eq!((metrics.alive_members, metrics.left_members), (2, 1));
    assert_eq!(bench.node.local().state, MemberState::Left);
    assert_eq!(metrics.member_leaves, 0, "others are counted");
}

#[test]
fn the_round_trip_is_from_the_ping_to_the_members_own_answer_by_datagram() {
    let mut config = Config::lan("me");
    config.stream_fallback = false;
    let mut bench = Bench::with(config, 1);
    let (to, seq) = next_ping(&mut bench);
    bench.now = bench.now + millis(7);
    let ack = Ack { seq };
    // An answer of another peer does not count, nor a repeated one.
    bench.receive_as(Some("stranger"), addr(9), &ack);
    assert_eq!(bench.node.metrics().probe_round_trip.count(), 0);
    bench.receive_from(to, &ack);
    bench.now = bench.now + millis(5);
    bench.receive_from(to, &ack);
    let round_trip = bench.node.metrics().probe_round_trip;
    assert_eq!((round_trip.count(), round_trip.sum()), (1, millis(7)));
}

#[test]
fn every_answered_probe_of_a_healthy_cluster_is_measured() {
    let mut world = converged(3, 8);
    world.run_for(secs(20));
    for host in world.up() {
        let metrics = world.node(host).metrics();
        let answered = metrics.probes - metrics.probes_failed;
        // One probe may be under way.
        assert!(metrics.probe_round_trip.count() + 1 >= answered, "{metrics:?}");
        assert!(metrics.probe_round_trip.sum() > millis(0));
    }
}

#[test]
fn seeds_and_joins_that_find_no_room_are_counted() {
    let mut bench = Bench::new(0);
    let addrs: Vec<_> =
        (1..=1_100u16).map(|port| std::net::SocketAddr::from(([10, 9, 9, 9], port))).collect();
    bench.node.join(bench.now, 0, &addrs);
    assert_eq!(bench.node.metrics().dropped_seeds, 1_100 - 1_024);
    (1..100).for_each(|ticket| bench.node.join(bench.now, ticket, &addrs[..1]));
    assert_eq!(bench.node.metrics().refused_joins, 100 - 64);
}

#[test]
fn a_conflict_about_this_nodes_name_is_counted() {
    let mut bench = Bench::new(2);
    assert_eq!(bench.node.metrics().conflicts, 0);
    bench.node.confirm_conflict(bench.node.local().identity, addr(50));
    assert!(matches!(&bench.events()[..], [Event::Conflict { .. }]));
    assert_eq!(bench.node.metrics().conflicts, 1);
}
