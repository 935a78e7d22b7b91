//! In steady state the core allocates nothing: pings, updates, rounds and packets use existing memory.
//!
//! Each test warms a node up, then counts the allocations of at least a thousand rounds.

use std::{net::SocketAddr, time::Duration};

use allocation_counter::measure;
use syncswim::swim::{Node, Time};

#[path = "../benches/support/rig.rs"]
mod rig;

use rig::{Acquaintance, BEGIN, Datagram, NEVER, Net};

const MEMBERS: u32 = 500;
const ROUNDS: u64 = 1_000;
/// A packet with more bytes than this is full of updates.
const FULL: usize = 1_300;

/// A ping to node 0, alone in its packet, from each of the first two members.
fn pings(members: &[Acquaintance]) -> [Datagram; 2] {
    let ping = rig::ping();
    [&members[1], &members[0]].map(|member| ping.said_by(&member.introduction))
}

/// Updates about the members, which the first of them sends to node 0 later.
fn updates(members: &[Acquaintance]) -> Vec<Datagram> {
    members.iter().map(|member| member.tagged.said_by(&members[0].introduction)).collect()
}

/// Node 0, which has already passed on that there are many members, and now has an update about each in its queue.
fn node_with_a_long_queue(members: &[Acquaintance]) -> Node {
    let mut config = rig::passive(0);
    // So many transmissions that the queue lasts for a thousand rounds.
    config.retransmit_mult = 100;
    let (mut node, mut buffer) = (rig::node(0, config), Vec::new());
    members.iter().for_each(|member| member.meet(&mut node, &mut buffer));
    tell_all(&mut node, &mut buffer);
    hear(&mut node, &updates(members));
    assert_eq!(node.metrics().queued_updates, u64::from(MEMBERS));
    node
}

/// Sends all updates in rounds of gossip.
fn tell_all(node: &mut Node, buffer: &mut Vec<u8>) {
    while node.metrics().queued_updates > 0 {
        node.handle_timeout(node.poll_timeout().expect("a round follows while there are updates"));
        rig::drain(node, buffer);
    }
}

/// Answers a thousand pings, from two members because neither is sent updates about itself. Returns how many packets it
/// filled and how many it used. Updates behind acks do not count as transmissions.
fn answer_all(node: &mut Node, pings: &[Datagram; 2], buffer: &mut Vec<u8>) -> (u64, u64) {
    let (mut full, mut acks) = (0, 0);
    for ping in pings.iter().cycle().take(ROUNDS as usize) {
        assert_eq!(answer(node, ping, buffer), Some(ping.from));
        full += u64::from(buffer.len() > FULL);
        acks += 1;
    }
    (full, acks)
}

/// Takes in a member's claims about others.
fn hear(node: &mut Node, claims: &[Datagram]) {
    claims.iter().for_each(|claim| claim.deliver(node, BEGIN));
    while node.poll_output().is_some() {}
    assert_eq!(node.metrics().dropped_unverified, 0);
}

/// Handles a datagram as a driver does.
fn answer(node: &mut Node, datagram: &Datagram, buffer: &mut Vec<u8>) -> Option<SocketAddr> {
    datagram.deliver(node, BEGIN);
    let to = node.poll_transmit(buffer).map(|to| to.addr);
    assert_eq!(node.poll_transmit(buffer), None);
    assert_eq!(node.poll_output(), None);
    to
}

#[track_caller]
fn assert_none(what: &str, act: impl FnOnce()) {
    let counted = measure(act);
    assert_eq!(counted.count_total, 0, "{what} allocated {} bytes", counted.bytes_total);
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(Box::new(1)))).count_total, 1);
}

#[test]
fn a_ping_is_answered_without_allocating() {
    let (members, mut buffer) = (rig::acquaintances(MEMBERS), Vec::new());
    let (pings, mut node) = (pings(&members), node_with_a_long_queue(&members));
    let mut told = (0, 0);
    answer(&mut node, &pings[0], &mut buffer);
    assert_none("an ack with updates", || told = answer_all(&mut node, &pings, &mut buffer));
    let (full, acks) = told;
    assert!(acks >= ROUNDS && full > acks * 9 / 10, "{full} of {acks} acks were full of updates");
    tell_all(&mut node, &mut buffer);
    assert_none("an ack without updates", || {
        for ping in pings.iter().cycle().take(ROUNDS as usize) {
            assert_eq!(answer(&mut node, ping, &mut buffer), Some(ping.from));
            assert!(buffer.len() < 40);
        }
    });
}

#[test]
fn a_gossip_round_does_not_allocate() {
    let mut node = node_with_a_long_queue(&rig::acquaintances(MEMBERS));
    let mut buffer = Vec::new();
    let (mut rounds, mut packets) = (0, 0);
    let mut now = BEGIN;
    let mut round = |node: &mut Node| {
        now = node.poll_timeout().expect("a round follows while there are updates");
        node.handle_timeout(now);
        while let Some(to) = node.poll_transmit(&mut buffer) {
            assert_ne!(to.addr, rig::addr(0));
            packets += 1;
        }
        rounds += 1;
    };
    round(&mut node);
    assert_none("a gossip round", || {
        while node.metrics().queued_updates > 0 {
            round(&mut node);
        }
    });
    assert!(rounds >= ROUNDS && packets > 2 * rounds, "{packets} packets in {rounds} rounds");
}

#[test]
fn an_update_that_is_known_is_passed_over_without_allocating() {
    let members = rig::acquaintances(MEMBERS);
    let (mut node, updates) = (node_with_a_long_queue(&members), updates(&members));
    assert_none("a known alive", || {
        for update in updates.iter().cycle().take(2 * ROUNDS as usize) {
            update.deliver(&mut node, BEGIN);
        }
    });
    assert_eq!(node.poll_output(), None);
    assert_eq!(node.metrics().dropped_unverified, 0);
}

#[test]
fn a_packet_of_suspicions_is_written_without_allocating() {
    let mut config = rig::lan(0);
    (config.sync_interval, config.stream_fallback, config.health_max) = (NEVER, false, 1);
    // No verdict falls, and hardly any update is sent before the count begins.
    (config.suspicion_mult, config.retransmit_mult, config.gossip_interval) = (1_000, 100, NEVER);
    let (mut node, mut buffer, mut now) = (rig::node(0, config), Vec::new(), BEGIN);
    let members = rig::acquaintances(MEMBERS);
    let pings = pings(&members);
    rig::connect(&mut rig::node(1, rig::lan(1)), &mut node, BEGIN);
    members.iter().for_each(|member| member.meet(&mut node, &mut buffer));
    // No member answers.
    while node.metrics().suspicions < u64::from(MEMBERS) {
        now = node.poll_timeout().expect("probes go on");
        node.handle_timeout(now);
        rig::drain(&mut node, &mut buffer);
    }
    let mut full = 0;
    assert_none("an ack with suspicions", || {
        for ping in pings.iter().cycle().take(ROUNDS as usize) {
            ping.deliver(&mut node, now);
            assert_eq!(node.poll_transmit(&mut buffer).map(|to| to.addr), Some(ping.from));
            full += u64::from(buffer.len() > FULL);
        }
    });
    assert_eq!(full, ROUNDS);
}

/// Repeats everything about a member that is suspected, then failed, and about one that left.
#[test]
fn an_accusation_or_departure_that_is_known_is_passed_over_without_allocating() {
    let mut net = Net::converged((0..8).map(rig::lan));
    let departed = |net: &Net| net.nodes[0].metrics().departed_members;
    // By then each node has probed each.
    net.run_for(Duration::from_secs(8));
    net.crash(7);
    net.run_until(|net| net.nodes[..7].iter().all(|node| node.metrics().suspicions > 0));
    net.run_for(Duration::from_millis(500));
    assert_eq!(departed(&net), 0);
    repeat_gossip(&mut net, "a known suspicion");
    let now = net.now;
    net.nodes[6].leave(now);
    net.run_until(|net| net.nodes[..6].iter().all(|node| node.metrics().departed_members == 2));
    net.run_for(Duration::from_secs(2));
    repeat_gossip(&mut net, "a known departure");
}

/// Repeats to node 0 the gossip of all others.
fn repeat_gossip(net: &mut Net, what: &str) {
    let gossip = net.gossip_retold_to(0);
    assert!(!gossip.is_empty());
    let (node, now) = (&mut net.nodes[0], net.now);
    let unverified = node.metrics().dropped_unverified;
    assert_none(what, || {
        for datagram in gossip.iter().cycle().take(gossip.len().max(ROUNDS as usize)) {
            datagram.deliver(node, now);
        }
    });
    assert_eq!(node.poll_output(), None);
    assert_eq!(node.metrics().dropped_unverified, unverified);
}

#[test]
fn a_probe_round_does_not_allocate() {
    let config = |number| {
        let mut config = rig::lan(number);
        config.sync_interval = NEVER;
        config
    };
    // Among so few, each member is probed every few rounds. A member that is not probed for a while opens a stream, to check
    // whether others list it.
    let mut net = Net::converged((0..3).map(config));
    let (mut buffer, mut reply) = (Vec::new(), Vec::new());
    let mut probe_rounds = |net: &mut Net, rounds: u64| {
        let (mut acks, mut elsewhere) = (0, 0);
        while acks < rounds {
            net.now = net.nodes.iter().filter_map(Node::poll_timeout).min().expect("probes go on");
            let now = net.now;
            for i in 0..net.nodes.len() {
                net.nodes[i].handle_timeout(now);
                acks += pass_on(net, i, now, &mut buffer, &mut reply);
                elsewhere += u64::from(net.nodes[i].poll_output().is_some());
            }
        }
        elsewhere
    };
    // Members that have just gone live exchange tables a few times.
    probe_rounds(&mut net, 1_000);
    assert_none("a probe round", || assert_eq!(probe_rounds(&mut net, 20 * ROUNDS), 0));
    assert!(net.nodes.iter().all(|node| node.metrics().probes_failed == 0));
}

/// Delivers a node's datagrams, and the answers that arrive at once. Returns the number of answers.
fn pass_on(net: &mut Net, i: usize, now: Time, buffer: &mut Vec<u8>, reply: &mut Vec<u8>) -> u64 {
    let mut replies = 0;
    let from = rig::addr(i as u32);
    while let Some(to) = net.nodes[i].poll_transmit(buffer) {
        let target = (0..).map(rig::addr).position(|addr| addr == to.addr).expect("it goes to a member");
        net.nodes[target].handle_datagram(now, from, buffer);
        while let Some(back) = net.nodes[target].poll_transmit(reply) {
            assert_eq!(back.addr, from);
            net.nodes[i].handle_datagram(now, to.addr, reply);
            replies += 1;
        }
    }
    replies
}
