//! When tables are exchanged, and the cost of an exchange.

use super::{
    super::{Config, Node, Output, Start, StreamFailure, StreamId, StreamKind, StreamStep},
    bench::{self, Bench, EPOCH, alive, messages, packet_of},
    world::{ORIGIN, addr, millis, secs},
};
use crate::wire::{
    Tags, hash,
    message::{Digest, End, Hello, Message, Ping, Same},
    packet::{Header, Writer},
};

/// A digest that differs from every table's.
const OTHER: Digest = Digest { digest: 12345 };

#[test]
fn the_digest_of_a_member_opens_an_exchange_and_an_unverified_peers_does_not() {
    let mut bench = Bench::new(2);
    bench.receive_from(addr(99), &OTHER);
    assert_eq!(bench.opened(), []);
    bench.receive_as(Some("m1"), addr(1), &OTHER);
    assert_eq!(bench.opened(), [], "it showed no token");
    bench.receive_from(addr(1), &OTHER);
    assert_eq!(bench.opened().len(), 1);
}

#[test]
fn equal_digests_open_nothing() {
    let mut bench = Bench::new(2);
    let digest = bench.node.settled_digest();
    bench.receive_from(addr(1), &Digest { digest });
    assert_eq!(bench.opened(), []);
}

#[test]
fn no_more_than_four_exchanges_of_our_own_are_under_way() {
    let mut bench = Bench::new(6);
    for i in 1..=6 {
        bench.receive_from(addr(i), &OTHER);
        // No member answers in the streams, and their time is not up yet.
        bench.now = bench.now + millis(1500);
    }
    assert_eq!((bench.opened().len(), bench.node.metrics().refused_streams), (4, 2));
}

/// A member that accepts exchanges and is silent would hold all of them.
#[test]
fn one_exchange_of_our_own_is_under_way_with_each_member() {
    let mut bench = Bench::new(3);
    for _ in 0..4 {
        bench.receive_from(addr(1), &OTHER);
        bench.now = bench.now + millis(1500);
    }
    bench.receive_from(addr(2), &OTHER);
    let opened: Vec<_> = bench.opened().into_iter().map(|(_, to)| to).collect();
    assert_eq!((opened, bench.node.metrics().refused_streams), (vec![addr(1), addr(2)], 0));
}

/// Runs an exchange that finds the tables equal.
fn find_equal(bench: &mut Bench, stream: StreamId) {
    let mut frame = Vec::new();
    assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
    bench.node.handle_frame(bench.now, stream, &packet_of(&Same {}));
}

/// A seed that is no member, or one under another address, is tried for as long as a node runs.
#[test]
fn a_node_that_joins_again_compares_tables_and_a_newcomer_gets_the_whole() {
    let start = Start { addr: addr(0), epoch: EPOCH, seed: 1, tags: Tags::default() };
    let newcomer = Bench { node: Node::new(Config::lan("me"), start, ORIGIN), now: ORIGIN };
    for (mut bench, compares) in [(Bench::new(2), true), (newcomer, false)] {
        bench.node.join(bench.now, 1, &[addr(99)]);
        let (stream, _) = bench.opened().pop().expect("it is opened");
        let (mut frame, mut told) = (Vec::new(), None);
        assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
        messages(&frame, |message| {
            if let Message::Hello(hello) = message {
                told = Some(hello.digest);
            }
        });
        assert_eq!(told, Some(if compares { bench.node.settled_digest() } else { 0 }));
        // A newcomer has offered nothing to compare, and needs a table.
        bench.node.handle_frame(bench.now, stream, &packet_of(&Same {}));
        let joined = Output::JoinDone { ticket: 1, result: Ok(1) };
        assert_eq!(std::iter::from_fn(|| bench.node.poll_output()).any(|output| output == joined), compares);
    }
}

/// How long the digests of a member are ignored after an exchange, in tenths of a second.
fn quiet_time(bench: &mut Bench) -> (u32, StreamId) {
    for tenths in 0.. {
        bench.receive_from(addr(1), &OTHER);
        if let Some((stream, _)) = bench.opened().pop() {
            return (tenths, stream);
        }
        bench.now = bench.now + millis(100);
    }
    unreachable!("it is not ignored for ever")
}

#[test]
fn exchanges_that_teach_nothing_are_put_off_twice_as_long_each_time_up_to_the_interval() {
    let mut bench = Bench::new(2);
    let mut waits = Vec::new();
    for _ in 0..9 {
        let (tenths, stream) = quiet_time(&mut bench);
        waits.push(tenths);
        find_equal(&mut bench, stream);
    }
    assert_eq!(waits, [0, 20, 20, 20, 40, 80, 160, 300, 300]);
}

#[test]
fn an_exchange_that_teaches_something_brings_the_next_one_back() {
    let mut bench = Bench::new(2);
    for _ in 0..6 {
        let (_, stream) = quiet_time(&mut bench);
        find_equal(&mut bench, stream);
    }
    let (tenths, stream) = quiet_time(&mut bench);
    assert!(tenths > 100, "{tenths}");
    learn_from(&mut bench, stream, "m1", 1);
    // The pause that was set when the exchange began is over, and the next one is the shortest.
    let (_, stream) = quiet_time(&mut bench);
    find_equal(&mut bench, stream);
    let (tenths, _) = quiet_time(&mut bench);
    assert_eq!(tenths, 20);
}

/// A digest that never agrees puts off only its own member's exchanges.
#[test]
fn a_digest_that_never_agrees_does_not_block_exchanges_with_other_members() {
    let mut bench = Bench::new(3);
    for _ in 0..9 {
        let (_, stream) = quiet_time(&mut bench);
        find_equal(&mut bench, stream);
    }
    bench.now = bench.now + secs(1);
    bench.receive_from(addr(1), &OTHER);
    assert_eq!(bench.opened(), []);
    bench.receive_from(addr(2), &OTHER);
    assert_eq!(bench.opened().len(), 1, "of another member it counts");
}

/// A member that refuses exchanges, or lets them time out, gets no further ones for its digests.
#[test]
fn exchanges_that_fail_are_put_off_like_exchanges_that_teach_nothing() {
    let mut bench = Bench::new(2);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let (tenths, stream) = quiet_time(&mut bench);
        waits.push(tenths);
        bench.node.handle_stream_failure(bench.now, stream, StreamFailure::Refused);
    }
    assert!(waits.is_sorted() && waits[7] >= 300, "{waits:?}");
    // An exchange that this node did not try says nothing.
    let mut bench = Bench::new(2);
    for _ in 0..8 {
        let (tenths, stream) = quiet_time(&mut bench);
        assert!(tenths <= 20, "{tenths}");
        bench.node.handle_stream_failure(bench.now, stream, StreamFailure::NotTried);
    }
}

#[test]
fn a_digest_that_opens_no_exchange_does_not_delay_other_members() {
    let mut bench = Bench::new(3);
    bench.receive_from(addr(1), &OTHER);
    assert_eq!(bench.opened().len(), 1);
    // The member is silent in that exchange.
    bench.now = bench.now + millis(2500);
    bench.receive_from(addr(1), &OTHER).receive_from(addr(2), &OTHER);
    assert_eq!(bench.opened().into_iter().map(|(_, to)| to).collect::<Vec<_>>(), [addr(2)]);
}

/// Runs an exchange in which a member raises its own incarnation, so this node's table changes.
fn learn_from(bench: &mut Bench, stream: StreamId, name: &str, incarnation: u64) {
    let (mut frame, i) = (Vec::new(), name[1..].parse().expect("m1, m2 …"));
    assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
    bench.node.handle_frame(bench.now, stream, &packet_of(&alive(name, incarnation, addr(i))));
    bench.node.handle_frame(bench.now, stream, &packet_of(&End {}));
    while bench.node.poll_stream(bench.now, stream, &mut frame) == StreamStep::Send {}
    bench.node.handle_frame(bench.now, stream, &packet_of(&End {}));
    bench.node.updates.clear();
}

/// m1 has a change in each exchange, and sends its digest all the time; m2 sends one now and then.
#[test]
fn a_flood_of_digests_does_not_take_every_turn() {
    let mut bench = Bench::new(3);
    let mut begun = [0, 0];
    for hundredths in 0..2000 {
        bench.receive_from(addr(1), &OTHER);
        if hundredths % 30 == 0 {
            bench.receive_from(addr(2), &OTHER);
        }
        for (stream, to) in bench.opened() {
            let name = if to == addr(1) { "m1" } else { "m2" };
            begun[usize::from(to == addr(2))] += 1;
            learn_from(&mut bench, stream, name, hundredths + 1);
        }
        bench.now = bench.now + millis(10);
    }
    assert!(begun[1] >= 5, "{begun:?} in 20 seconds");
}

/// Tables that never become equal are not exchanged all the time, whichever members send the digests.
#[test]
fn digests_of_many_that_never_agree_are_put_off_for_all() {
    let mut bench = Bench::new(40);
    let mut exchanges = 0;
    for _ in 0..10 {
        for i in 1..=40 {
            bench.receive_from(addr(i), &OTHER);
            for (stream, _) in bench.opened() {
                exchanges += 1;
                find_equal(&mut bench, stream);
            }
            bench.now = bench.now + secs(1);
        }
    }
    assert!(exchanges <= 60, "{exchanges} in 400 seconds");
}

#[test]
fn a_node_tells_its_digest_behind_an_ack_only_while_no_updates_are_under_way() {
    for updates in [false, true] {
        let mut bench = Bench::new(3);
        if updates {
            bench.receive(&alive("new", 0, addr(9)));
        }
        bench.receive(&Ping { seq: 1, target: "me" });
        let mut told = false;
        for (to, packet) in bench.sent() {
            assert_eq!(to, addr(1));
            messages(&packet, |message| told |= matches!(message, Message::Digest(_)));
        }
        assert_eq!(told, !updates);
    }
}

#[test]
fn a_node_swamped_with_updates_tells_its_digest_all_the_same() {
    for (members, tells) in [(400, false), (401, true)] {
        let mut bench = Bench::new(1);
        for i in 0..members {
            bench.receive(&alive(&format!("x{i}"), 0, addr(100 + i)));
        }
        assert_eq!(bench.node.settled_digest() != 0, tells, "updates of {members}");
    }
}

/// The largest frame, full of unknown sections.
fn largest_frame() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut frame = Writer::new(&mut bytes, Header::anonymous(hash::cluster("default")), 32 * 1024);
    let body = [0_u8; 16_000];
    while frame.push(0x7f, &&body[..]) {}
    frame.finish();
    bytes
}

#[test]
fn a_stream_that_never_ends_is_closed_after_64_mebibytes() {
    let mut bench = Bench::new(2);
    let stream = bench.node.accept_stream(bench.now, addr(1)).expect("there is room");
    bench.node.handle_frame(bench.now, stream, &packet_of(&Hello { name: "m1", digest: 0, removals: 0 }));
    let mut buffer = Vec::new();
    while bench.node.poll_stream(bench.now, stream, &mut buffer) == StreamStep::Send {}
    let frame = largest_frame();
    let most = (64 << 20) / frame.len();
    for taken in 0..=most {
        let step = bench.node.poll_stream(bench.now, stream, &mut buffer);
        assert_eq!(step, StreamStep::Receive, "after {taken} of {most} frames");
        bench.node.handle_frame(bench.now, stream, &frame);
    }
    assert_eq!(bench.node.poll_stream(bench.now, stream, &mut buffer), StreamStep::Close);
    assert_eq!(bench.node.metrics().refused_streams, 1);
}

#[test]
fn a_stream_that_is_idle_is_closed_when_its_time_is_up() {
    let mut bench = Bench::new(2);
    let stream = bench.node.accept_stream(bench.now, addr(1)).expect("there is room");
    let mut buffer = Vec::new();
    for (time, step) in [(9, StreamStep::Receive), (2, StreamStep::Close)] {
        bench.pass(secs(time));
        assert_eq!(bench.node.poll_stream(bench.now, stream, &mut buffer), step);
    }
}

/// Updates about nodes that start at the same time may miss a node.
#[test]
fn a_node_that_goes_live_in_a_small_cluster_exchanges_tables_a_few_times_soon() {
    for (others, exchanges) in [(3, 3), (63, 3), (64, 0)] {
        let start = Start { addr: addr(0), epoch: EPOCH, seed: 1, tags: Tags::default() };
        let mut node = Node::new(Config::lan("me"), start, ORIGIN);
        let names: Vec<_> = (1..=others).map(|i| format!("m{i}")).collect();
        for (i, name) in names.iter().enumerate() {
            bench::tell(&mut node, &Message::Alive(alive(name, 0, addr(i + 1))), addr(1));
        }
        node.go_live();
        let mut begun = 0;
        while let Some(at) = node.poll_timeout().filter(|at| *at < ORIGIN + secs(2)) {
            node.handle_timeout(at);
            while let Some(output) = node.poll_output() {
                if let Output::OpenStream { stream, kind: StreamKind::Exchange, .. } = output {
                    begun += 1;
                    node.handle_stream_failure(at, stream, StreamFailure::NotTried);
                }
            }
        }
        assert_eq!(begun, exchanges, "among {others}");
    }
}
