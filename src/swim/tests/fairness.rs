//! Shares: one member, or an outsider with one address, leaves room for all others.

use std::net::SocketAddr;

use super::{
    super::{Account, Output, StreamFailure, StreamId, StreamKind, StreamStep},
    bench::{Bench, alive, failed, packet_from, packet_of},
    world::{addr, millis, secs},
};
use crate::{
    data::{Endpoint, Topics, messages::Unread},
    wire::{
        data::{Broadcast, DataDigest, DataEnd, DataHello},
        hash,
        message::{End, Hello, PingReq},
        packet::{self, Header},
    },
};

/// An address of the host of `addr(50)`, whose ports are free.
fn port(port: u16) -> SocketAddr {
    (addr(50).ip(), port).into()
}

/// Adds `members` members of that host, `p0`, `p1` …, all of which have answered.
fn settle_there(bench: &mut Bench, members: u16) {
    for i in 0..members {
        let name = format!("p{i}");
        bench.receive(&alive(&name, 0, port(1000 + i)));
        bench.meet(&name);
    }
    bench.node.updates.clear();
    bench.events();
    bench.sent();
}

/// How many questions the node wants to ask.
fn questions(bench: &mut Bench) -> usize {
    let outputs = std::iter::from_fn(|| bench.node.poll_output());
    let asks = |output: &Output| matches!(output, Output::OpenStream { kind: StreamKind::Question, .. });
    outputs.filter(asks).count()
}

/// A peer opens a stream under a live member's name, and claims that the member lives elsewhere.
fn call_as(bench: &mut Bench, from: SocketAddr, name: &str) {
    let stream = bench.node.accept_stream(bench.now, from).expect("there is room");
    let hello = packet_of(&Hello { name, digest: 0, removals: 0 });
    for packet in [hello, packet_of(&alive(name, 7, from)), packet_of(&End {})] {
        bench.node.handle_frame(bench.now, stream, &packet);
        let mut frame = Vec::new();
        while bench.node.poll_stream(bench.now, stream, &mut frame) == StreamStep::Send {}
    }
}

/// One host lists names at silent addresses, and passes on broadcasts in these names.
#[test]
fn broadcasts_of_members_that_have_not_answered_count_for_all_of_these_together() {
    let mut bench = Bench::new(3);
    for i in 0..40 {
        bench.receive(&alive(&format!("x{i}"), 0, addr(100 + i)));
    }
    let (mut endpoint, now) = (Endpoint::new(bench.node), bench.now);
    let inbox = endpoint.open_inbox(Topics::all()).expect("there is room");
    let from = endpoint.node.known_life("m1").expect("it is a member").0;
    let mut say = |origin: &str, seq| {
        let said =
            Broadcast { origin, epoch: from.epoch, seq, stamp: 1, flags: 0, topic: "t", payload: b"x" };
        endpoint.broadcasts.on_broadcast(now, &endpoint.node, &from, &said);
        endpoint.hand_out();
    };
    for i in 0..40 {
        (1..=1100).for_each(|seq| say(&format!("x{i}"), seq));
    }
    say("m2", 1);
    let read = std::iter::from_fn(|| inbox.try_recv().ok()).filter_map(Unread::into_message);
    let of = read.map(|item| item.from.name).collect::<Vec<_>>();
    assert!(of.contains(&"m2".into()), "no room among {}", of.len());
    // A member counts for a host once it has answered there.
    let node = &endpoint.node;
    assert_eq!(["x7", "me"].map(|name| node.account_of_said(name)), [Some(Account::UNMET), None]);
    assert_eq!(node.account_of_said("m2"), node.account_of_member("m2"));
}

/// One host lists names at silent addresses and calls under them.
#[test]
fn a_node_that_calls_under_others_names_leaves_room_for_other_questions() {
    let mut bench = Bench::new(3);
    for i in 0..40 {
        bench.receive(&alive(&format!("x{i}"), 0, addr(100 + i)));
    }
    bench.events();
    for i in 0..38 {
        call_as(&mut bench, port(1000 + i), &format!("x{i}"));
    }
    assert_eq!(questions(&mut bench), 1, "one for each host that calls");
    call_as(&mut bench, addr(60), "x38");
    assert_eq!(questions(&mut bench), 1, "a restart elsewhere is asked about");
}

/// Names are free: relays are shared by host.
#[test]
fn the_names_of_one_host_take_no_relays_from_others() {
    let mut bench = Bench::new(3);
    settle_there(&mut bench, 300);
    for i in 0..300 {
        bench.receive_from(port(1000 + i), &PingReq { seq: 5, target: "m2", window_ms: 60_000 });
    }
    let refused = bench.node.metrics().refused_relays;
    assert_eq!((bench.node.relays.len(), refused), (256, 300 - 256));
    bench.sent();
    for member in [1, 3] {
        bench.receive_from(addr(member), &PingReq { seq: 6, target: "m2", window_ms: 500 });
    }
    assert_eq!((bench.sent().len(), bench.node.relays.len()), (2, 256), "both are relayed");
    bench.pass(secs(9));
    assert_eq!(bench.node.relays.len(), 0, "no probe takes longer");
}

/// Updates, relays and exchanges go to randomly drawn members, and names are free.
#[test]
fn members_of_other_hosts_are_drawn_beside_many_names_of_one_host() {
    let mut bench = Bench::new(4);
    settle_there(&mut bench, 60);
    let mut drawn = [0; 2];
    for _ in 0..1000 {
        let picks = bench.node.pick_alive(3, None);
        assert_eq!(picks.len(), 3);
        picks.iter().for_each(|(name, _)| drawn[usize::from(name.starts_with('m'))] += 1);
    }
    // Half of the draws are by host, and the other hosts have four of five.
    assert!(drawn[1] > 750 && drawn[0] > 1500, "{drawn:?}");
}

/// A host that accepts exchanges of tables and is silent.
#[test]
fn one_exchange_of_our_own_is_under_way_with_each_host() {
    let mut bench = Bench::new(3);
    settle_there(&mut bench, 4);
    let other = crate::wire::message::Digest { digest: 12345 };
    for i in 0..4 {
        bench.receive_from(port(1000 + i), &other);
        bench.now = bench.now + millis(2500);
    }
    assert_eq!(bench.opened().len(), 1);
    bench.receive_from(addr(1), &other);
    assert_eq!(bench.opened().len(), 1);
}

/// If all members are on one host, that host has all the places.
#[test]
fn members_of_the_only_host_have_an_exchange_each() {
    let mut bench = Bench::new(0);
    for i in 0..3 {
        let name = format!("p{i}");
        bench.sync(crate::wire::message::Message::Alive(alive(&name, 0, port(1000 + i))));
        bench.meet(&name);
    }
    bench.node.updates.clear();
    for i in 0..3 {
        bench.receive_from(port(1000 + i), &crate::wire::message::Digest { digest: 12345 });
        bench.now = bench.now + millis(1500);
    }
    assert_eq!(bench.opened().len(), 3);
}

/// A member opens a stream of the data layer. Returns whether the node takes it as one.
fn begins_data(bench: &mut Bench, from: SocketAddr) -> bool {
    let record = bench.node.table.get(bench.node.table.at_addr(from).expect("it is a member"));
    let hello = packet_from(record.mark, record.contact.given, &DataHello { broadcasts: 1, key_values: 1 });
    let stream = bench.node.accept_stream(bench.now, from).expect("there is room");
    bench.node.handle_frame(bench.now, stream, &hello);
    bench.node.data_stream(stream).is_some()
}

#[test]
fn the_names_of_one_host_leave_streams_of_data_to_others() {
    let mut bench = Bench::new(3);
    settle_there(&mut bench, 8);
    let begun = (0..32).filter(|i| begins_data(&mut bench, port(1000 + i % 8))).count();
    assert_eq!(begun, 4);
    assert!(begins_data(&mut bench, addr(1)) && begins_data(&mut bench, addr(2)));
}

/// A node with its data layer, and its members: m1 to m3, and p0 on the host of p1.
struct Syncs {
    endpoint: Endpoint,
    now: super::super::Time,
}

impl Syncs {
    fn new() -> Self {
        let mut bench = Bench::new(3);
        settle_there(&mut bench, 2);
        Self { endpoint: Endpoint::new(bench.node), now: bench.now }
    }

    /// A member sends digests that differ from this node's.
    fn tell(&mut self, name: &str, from: SocketAddr) {
        let token = self.endpoint.node.token_for(name, from);
        let digest = DataDigest { broadcasts: 1, key_values: 1 };
        let bytes = packet_from(hash::member(name), token, &digest);
        self.endpoint.handle_datagram(self.now, from, &bytes);
    }

    fn opened(&mut self) -> Vec<(StreamId, SocketAddr)> {
        let outputs = std::iter::from_fn(|| self.endpoint.poll_output());
        let data = |output| match output {
            Output::OpenStream { stream, addr, kind: StreamKind::Data, .. } => Some((stream, addr)),
            _ => None,
        };
        outputs.filter_map(data).collect()
    }
}

#[test]
fn one_sync_of_data_is_under_way_with_each_host() {
    let mut syncs = Syncs::new();
    for _ in 0..4 {
        syncs.tell("p0", port(1000));
        syncs.tell("p1", port(1001));
        syncs.now = syncs.now + millis(1500);
    }
    assert_eq!(syncs.opened().len(), 1);
    syncs.tell("m2", addr(2));
    assert_eq!(syncs.opened().len(), 1);
}

#[test]
fn syncs_of_data_that_fail_count_against_their_member() {
    let mut syncs = Syncs::new();
    let mut failed = 0;
    for _ in 0..600 {
        syncs.tell("m1", addr(1));
        for (stream, _) in syncs.opened() {
            failed += 1;
            syncs.endpoint.handle_stream_failure(syncs.now, stream, StreamFailure::TimedOut);
        }
        syncs.now = syncs.now + millis(100);
    }
    assert!(failed < 40, "{failed} in a minute");
}

/// A member claims new addresses for members that failed by this node's own probes.
#[test]
fn a_node_that_says_that_members_returned_leaves_room_for_other_questions() {
    let mut bench = Bench::new(40);
    for i in 2..=40 {
        let name = format!("m{i}");
        let id = bench.node.table.find(&name).expect("it is a member");
        (0..3).for_each(|_| bench.node.table.contact_mut(id).miss());
        bench.receive(&failed(&name, 0));
    }
    bench.events();
    for home in 100..110 {
        bench.receive(&alive("m2", 1, addr(home)));
    }
    assert_eq!(questions(&mut bench), 1, "one for each name");
    for i in 3..=40 {
        bench.receive(&alive(&format!("m{i}"), 1, addr(110 + i)));
    }
    assert_eq!(questions(&mut bench), 1, "two in all");
    let own = bench.node.local().identity.incarnation;
    bench.receive(&alive("me", own + 7, addr(99)));
    assert_eq!(questions(&mut bench), 1, "whether somebody has this node's name is asked all the same");
}

/// Another member claims that others returned, to the host where a failed member was restarted.
#[test]
fn a_member_that_returns_is_asked_whatever_others_say_of_its_host() {
    let mut bench = Bench::new(6);
    for name in ["m3", "m4", "m5"] {
        let id = bench.node.table.find(name).expect("it is a member");
        (0..3).for_each(|_| bench.node.table.contact_mut(id).miss());
        bench.receive(&failed(name, 0));
    }
    bench.events();
    for (name, host) in [("m3", 61), ("m4", 60)] {
        bench.receive(&alive(name, 1, (addr(host).ip(), 9).into()));
        assert_eq!(questions(&mut bench), 1);
    }
    bench.sent();
    call_as(&mut bench, addr(60), "m5");
    assert!(bench.asked_at(addr(60)).iter().any(|target| target == "m5"));
}

/// Names that never answered are not told of their departure: gossip goes to members.
#[test]
fn made_up_departures_take_no_rounds_of_gossip() {
    let mut bench = Bench::new(4);
    for i in 0..1024 {
        let name = format!("x{i}");
        bench.receive(&alive(&name, 0, addr(100 + i))).receive(&failed(&name, 0));
    }
    bench.receive(&failed("m4", 0));
    assert_eq!(bench.node.lately_departed.len(), 1, "m4 has answered, and is told");
}

/// A frame holds more ends of a turn than the number of a turn can count.
#[test]
fn a_turn_that_is_ended_again_and_again_ends_the_sync() {
    let mut syncs = Syncs::new();
    syncs.tell("m1", addr(1));
    let [(stream, _)] = syncs.opened()[..] else { panic!("one is opened") };
    let (now, mut buffer) = (syncs.now, Vec::new());
    let frame = |hello: bool, ends: usize| {
        let header = Header { cluster: hash::cluster("default"), sender: hash::member("m1"), token: 0 };
        let mut bytes = Vec::new();
        let mut writer = packet::Writer::new(&mut bytes, header, 1400);
        assert!(!hello || writer.message(&DataHello { broadcasts: 1, key_values: 1 }));
        (0..ends).for_each(|_| assert!(writer.message(&DataEnd {})));
        writer.finish();
        bytes
    };
    syncs.endpoint.stream_began(now, stream);
    while syncs.endpoint.poll_stream(now, stream, &mut buffer) == StreamStep::Send {}
    syncs.endpoint.handle_frame(now, stream, &frame(true, 1));
    while syncs.endpoint.poll_stream(now, stream, &mut buffer) == StreamStep::Send {}
    syncs.endpoint.handle_frame(now, stream, &frame(false, 253));
    assert_eq!(syncs.endpoint.poll_stream(now, stream, &mut buffer), StreamStep::Close);
}
