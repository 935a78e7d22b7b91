//! Datagrams in streams: what unverified peers can cause by them, and nodes whose datagrams reach no member.

use std::{net::SocketAddr, sync::Arc};

use super::{
    super::{Config, Output, StreamFailure, StreamId, StreamStep, updates::Urgency},
    bench::{Bench, EPOCH, alive, gone, packet_from, packet_of},
    world::{addr, millis},
};
use crate::{
    sim::forge,
    wire::{
        hash,
        message::{Ack, Alive, Carried, Hello, Message, NewToken, Ping, PingReq, Retry},
        packet,
    },
};

/// Takes in a message by stream in place of a datagram.
fn carry(bench: &mut Bench, from: SocketAddr, name: &str, token: u32, said: Message<'_>) {
    let stream = bench.node.accept_stream(bench.now, from).expect("there is room");
    let frame = forge::proven_packet(name, token, &[Message::Carried(Carried {}), said]);
    bench.node.handle_frame(bench.now, stream, &frame);
    let mut answer = Vec::new();
    while bench.node.poll_stream(bench.now, stream, &mut answer) == StreamStep::Send {}
    bench.node.handle_stream_failure(bench.now, stream, StreamFailure::Rejected);
}

/// A node opens a stream in this name, and says no more.
fn call(bench: &mut Bench, from: SocketAddr, name: &str) {
    let caller = bench.node.accept_stream(bench.now, from).expect("there is room");
    let hello = Hello { name, digest: 0, removals: 0 };
    bench.node.handle_frame(bench.now, caller, &packet_of(&hello));
    bench.node.handle_stream_failure(bench.now, caller, StreamFailure::TimedOut);
}

/// A node that takes its datagrams for lost.
fn mute(members: usize) -> Bench {
    let mut bench = Bench::new(members);
    for _ in 0..2 {
        bench.node.saved_by_stream(&Arc::from("m1"));
    }
    bench.opened();
    bench.sent();
    bench
}

fn ping() -> Message<'static> {
    Message::Ping(Ping { seq: 5, target: "me" })
}

#[test]
fn a_node_that_answered_by_stream_alone_is_probed_once_more_at_once() {
    let mut bench = Bench::new(20);
    let (name, rng) = (Arc::from("m7"), &mut fastrand::Rng::with_seed(1));
    let member = bench.node.table.find(&name);
    for time in 1..=7 {
        bench.node.saved_by_stream(&name);
        let next = bench.node.table.next_to_probe(bench.now, rng);
        assert_eq!(next == member, time < 7, "by the seventh time it is no chance");
        bench.node.table.next_to_probe(bench.now, rng);
    }
}

/// Datagrams may reach it in its next life or place, or be filtered as before.
#[test]
fn a_member_that_departs_or_moves_or_is_restarted_is_reached_by_streams_and_not_reported() {
    let moved = alive("m2", 1, addr(9));
    let restarted = Alive { epoch: EPOCH + 1, ..alive("m2", 0, addr(2)) };
    for said in [gone("m2", 1, true, 0), Message::Alive(moved), Message::Alive(restarted)] {
        let mut bench = Bench::new(20);
        (0..7).for_each(|_| bench.node.saved_by_stream(&Arc::from("m2")));
        assert_eq!(bench.node.metrics().streams_only_members, 1);
        let m2 = bench.node.table.find("m2").expect("it is a member");
        bench.node.table.contact_mut(m2).silent = true;
        bench.sync(said);
        assert_eq!(bench.node.metrics().streams_only_members, 0);
        assert!(bench.node.carrier.carries_to("m2"));
        assert_eq!(bench.node.carrier.saved("m2"), 0, "what was counted is of its last life or place");
    }
}

#[test]
fn a_request_by_stream_is_never_answered_by_datagram() {
    let mut bench = Bench::new(3);
    let token = bench.node.token_for("m1", addr(1));
    let request = Message::PingReq(PingReq { seq: 5, target: "m2", window_ms: 500 });
    carry(&mut bench, addr(1), "m1", token, request);
    assert_eq!(bench.node.metrics().refused_relays, 1);
    bench.pass(millis(900));
    for (to, _) in bench.sent() {
        assert_ne!(to.port(), 0, "nobody is there");
    }
}

#[test]
fn a_node_that_calls_under_the_names_of_members_makes_us_open_a_few_streams_at_most() {
    let mut bench = mute(40);
    let mut opened = 0;
    for at in 1..=40 {
        call(&mut bench, addr(70), &format!("m{at}"));
        for (stream, _) in bench.opened() {
            opened += 1;
            bench.node.handle_stream_failure(bench.now, stream, StreamFailure::Refused);
        }
    }
    assert_eq!(opened, 16, "in a probe interval");
}

#[test]
fn streams_that_unverified_peers_cause_leave_room_for_updates() {
    let mut bench = mute(40);
    for i in 2..=40 {
        carry(&mut bench, addr(60), &format!("m{i}"), 0, ping());
    }
    let provoked = bench.opened().len();
    assert!((1..=8).contains(&provoked), "{provoked} at a time");
    let before = bench.node.metrics().dropped_transmits;
    let id = bench.node.table.find("m2").unwrap();
    bench.node.updates.push(id, Urgency::Urgent);
    bench.node.send_updates(bench.node.table.find("m3").unwrap());
    assert_eq!(bench.node.metrics().dropped_transmits, before);
    assert_eq!(bench.opened().len(), 1);
}

/// A leaver does not wait for made-up members.
#[test]
fn a_leave_does_not_wait_for_members_that_never_answered() {
    let mut bench = Bench::new(1);
    for i in 10..20 {
        bench.sync(Message::Alive(alive(&format!("x{i}"), 0, addr(i))));
    }
    bench.node.leave(bench.now);
    let (to, seq) = bench
        .sent()
        .iter()
        .find_map(|(to, packet)| forge::ping(packet).map(|(seq, _)| (*to, seq)))
        .expect("somebody is told");
    assert_eq!(to, addr(1));
    bench.receive_from(to, &Ack { seq });
    let mut outputs = std::iter::from_fn(|| bench.node.poll_output());
    assert!(outputs.any(|output| matches!(output, Output::LeaveDone { confirmed: true })));
}

/// The address of one of both changed, and with it the token between them.
#[test]
fn a_leave_by_stream_is_told_again_with_the_token_that_is_good() {
    let mut bench = mute(1);
    bench.node.leave(bench.now);
    let [(stream, _)] = bench.opened()[..] else { panic!("it is told by stream") };
    let (seq, _) = frame_of(&mut bench, stream).expect("it is pinged");
    let retry = packet_from(hash::member("m1"), 0, &Retry { seq, token: 0 });
    bench.node.handle_frame(bench.now, stream, &retry);
    let challenge = [Message::Carried(Carried {}), ping(), Message::NewToken(NewToken { token: 9 })];
    let caller = bench.node.accept_stream(bench.now, addr(1)).expect("there is room");
    bench.node.handle_frame(bench.now, caller, &forge::proven_packet("m1", 0, &challenge));
    let tokens: Vec<u32> = bench
        .opened()
        .into_iter()
        .filter_map(|(stream, _)| frame_of(&mut bench, stream))
        .map(|(_, token)| token)
        .collect();
    assert!(tokens.contains(&9), "{tokens:?}");
}

/// The number of the ping that a stream was opened for, if it was, and the token that is shown with it.
fn frame_of(bench: &mut Bench, stream: StreamId) -> Option<(u32, u32)> {
    let mut frame = Vec::new();
    _ = bench.node.poll_stream(bench.now, stream, &mut frame);
    let (seq, _) = forge::ping(&frame)?;
    let (header, _) = packet::open(&frame, bench.node.cluster).expect("it is of this cluster");
    Some((seq, header.token))
}

#[test]
fn a_leave_among_leavers_remembers_each_of_them_once() {
    let mut bench = mute(1);
    bench.node.leave(bench.now);
    let mut retries = 0;
    for _ in 0..40 {
        bench.pass(millis(200));
        for (stream, _) in bench.opened() {
            let Some((seq, _)) = frame_of(&mut bench, stream) else { continue };
            let retry = packet_from(hash::member("m1"), 0, &Retry { seq, token: 0 });
            bench.node.handle_frame(bench.now, stream, &retry);
            retries += 1;
        }
        bench.sent();
        bench.events();
        assert_eq!(bench.node.audit(), Ok(()));
    }
    assert!(retries > 2, "{retries}");
}

/// A router maps TCP alone: its datagrams come from another address, and none reaches the one that it advertises.
#[test]
fn a_listed_member_that_calls_is_asked_for_proof_by_stream_once_datagrams_were_in_vain() {
    for stream_fallback in [true, false] {
        asked_for_proof_by_stream(Config { stream_fallback, ..Config::lan("me") });
    }
}

fn asked_for_proof_by_stream(config: Config) {
    let carries = config.stream_fallback;
    let (mut bench, home) = (Bench::with(config, 3), addr(9));
    bench.sync(Message::Alive(alive("x", 0, home)));
    let opened_by_call = |bench: &mut Bench| {
        let caller =
            bench.node.accept_stream(bench.now, SocketAddr::new(home.ip(), 1)).expect("there is room");
        let hello = Hello { name: "x", digest: 0, removals: 0 };
        bench.node.handle_frame(bench.now, caller, &packet_of(&hello));
        bench.node.handle_stream_failure(bench.now, caller, StreamFailure::TimedOut);
        bench.opened()
    };
    for _ in 0..3 {
        assert_eq!(opened_by_call(&mut bench), []);
        assert_eq!(bench.asked_at(home), ["x"]);
    }
    let opened: Vec<_> = (0..4).flat_map(|_| opened_by_call(&mut bench)).collect();
    let [(first, to), .., (last, _)] = opened[..] else { panic!("{opened:?}") };
    assert_eq!((opened.len(), to, first != last), (3, home, true));
    assert_eq!(bench.asked_at(home), [""; 0]);
    let (seq, _) = frame_of(&mut bench, first).expect("it is pinged");
    let token = bench.node.token_for("x", home);
    let answer = forge::proven_packet("x", token, &[Message::Ack(Ack { seq })]);
    bench.node.handle_frame(bench.now, first, &answer);
    assert_eq!(bench.node.carrier.carries_to("x"), carries, "what is for it goes by stream");
    assert_eq!(bench.node.metrics().streams_only_members, 0, "it may have been chance");
    bench.node.reached_by_datagram(Some("x"));
    assert!(!bench.node.carrier.carries_to("x"));
}

/// Anybody can call in a member's name.
#[test]
fn a_member_that_answers_datagrams_is_not_reached_by_stream_because_others_call_in_its_name() {
    for answers_before in [true, false] {
        let mut bench = Bench::new(3);
        let mut asked = Vec::new();
        for _ in 0..4 {
            call(&mut bench, addr(60), "m1");
            asked.extend(bench.sent().iter().filter_map(|(_, packet)| forge::ping(packet)));
        }
        let [(stream, _)] = bench.opened()[..] else { panic!("it is asked by stream as well") };
        let (seq, _) = frame_of(&mut bench, stream).expect("it is pinged");
        assert_eq!(asked.len(), 3);
        if answers_before {
            bench.receive_from(addr(1), &Ack { seq: asked[0].0 });
            (0..3).for_each(|_| call(&mut bench, addr(60), "m1"));
            let token = bench.node.token_for("m1", addr(1));
            let answer = forge::proven_packet("m1", token, &[Message::Ack(Ack { seq })]);
            bench.node.handle_frame(bench.now, stream, &answer);
        } else {
            bench.receive_from(addr(1), &Ack { seq });
        }
        assert!(!bench.node.carrier.carries_to("m1"));
    }
}

/// Pings in its name from elsewhere use up its challenges, and nobody asks it by datagram.
#[test]
fn a_member_that_no_datagram_asked_is_not_reached_by_stream_because_it_answers_by_one() {
    let mut bench = Bench::new(3);
    (0..3).for_each(|_| _ = bench.receive_as(Some("m1"), addr(60), &Ping { seq: 5, target: "me" }));
    call(&mut bench, addr(60), "m1");
    assert_eq!(bench.asked_at(addr(1)), [""; 0]);
    let [(stream, _)] = bench.opened()[..] else { panic!("it is asked by stream") };
    let (seq, _) = frame_of(&mut bench, stream).expect("it is pinged");
    let token = bench.node.token_for("m1", addr(1));
    let answer = forge::proven_packet("m1", token, &[Message::Ack(Ack { seq })]);
    bench.node.handle_frame(bench.now, stream, &answer);
    assert!(!bench.node.carrier.carries_to("m1"));
}

/// Others use up the streams for a while.
#[test]
fn a_member_that_no_stream_could_be_opened_for_is_asked_by_stream_later() {
    let (mut bench, home) = (mute(40), addr(9));
    bench.sync(Message::Alive(alive("x", 0, home)));
    bench.node.reached_by_datagram(None);
    (0..3).for_each(|_| call(&mut bench, home, "x"));
    for at in 1..=40 {
        (0..4).for_each(|_| call(&mut bench, addr(70), &format!("m{at}")));
        for (stream, _) in bench.opened() {
            bench.node.handle_stream_failure(bench.now, stream, StreamFailure::Refused);
        }
    }
    (0..9).for_each(|_| call(&mut bench, home, "x"));
    assert_eq!(bench.opened(), []);
    bench.now = bench.now + millis(1001);
    bench.node.now = bench.now;
    call(&mut bench, home, "x");
    assert!(bench.opened().iter().any(|(_, to)| *to == home));
}

#[test]
fn an_introduction_by_datagram_opens_no_stream_to_its_source() {
    let mut bench = mute(3);
    bench.opened();
    let claim = Message::Alive(alive("g", 0, addr(77)));
    bench.node.handle_datagram(bench.now, addr(77), &forge::packet("g", &[claim]));
    assert_eq!(bench.opened(), []);
    assert!(!bench.asked_at(addr(77)).is_empty(), "it is asked by datagram");
}
