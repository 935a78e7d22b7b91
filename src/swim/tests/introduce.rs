//! What strangers may say, and what comes of it.

use std::net::SocketAddr;

use super::{
    super::{MemberState, Output, StreamFailure, StreamId, StreamStep},
    bench::{Bench, EPOCH, alive, failed, left, messages, packet_of, suspect},
    world::{addr, secs},
};
use crate::wire::message::{Ack, Alive, End, Gone, Hello, Message};

const STRANGER: usize = 99;

/// The pings that wait to be sent: whereto, and their numbers.
fn pings(bench: &mut Bench) -> Vec<(SocketAddr, u32)> {
    let mut pings = Vec::new();
    for (to, packet) in bench.sent() {
        messages(&packet, |message| match message {
            Message::Ping(ping) => pings.push((to, ping.seq)),
            other => panic!("a stranger is told {other:?}"),
        });
    }
    pings
}

/// The table that somebody tells who opened a stream to us.
fn call(bench: &mut Bench, from: SocketAddr, caller: &str, claims: &[Alive<'_>]) {
    let stream = bench.node.accept_stream(bench.now, from).expect("there is room");
    let hello = packet_of(&Hello { name: caller, digest: 0 });
    bench.node.handle_frame(bench.now, stream, &hello);
    let mut frame = Vec::new();
    while bench.node.poll_stream(bench.now, stream, &mut frame) == StreamStep::Send {}
    for claim in claims {
        bench.node.handle_frame(bench.now, stream, &packet_of(claim));
    }
    bench.node.handle_frame(bench.now, stream, &packet_of(&End {}));
    while bench.node.poll_stream(bench.now, stream, &mut frame) == StreamStep::Send {}
}

/// The streams that the node wants to open.
fn opened(bench: &mut Bench) -> Vec<(StreamId, SocketAddr)> {
    let outputs = std::iter::from_fn(|| bench.node.poll_output());
    outputs
        .filter_map(|output| match output {
            Output::OpenStream { stream, addr, .. } => Some((stream, addr)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_stranger_can_say_nothing_about_members_nor_about_others() {
    let mut bench = Bench::new(3);
    let stranger = addr(STRANGER);
    let own = bench.node.local().identity;
    bench.hear_from(stranger, &suspect("m2", 0, &["m1", "m3"]));
    bench.hear_from(stranger, &failed("m2", 0));
    bench.hear_from(stranger, &left("m2", 0));
    bench.hear_from(stranger, &Gone { name: "m2", epoch: EPOCH, incarnation: 0, left: false, age_secs: 1 });
    for about in [addr(2), addr(8), stranger] {
        bench.hear_from(stranger, &alive("m2", 1 << 40, about));
    }
    bench.hear_from(stranger, &suspect("me", own.incarnation, &["m1"]));
    bench.hear_from(stranger, &alive("me", own.incarnation + 7, addr(0)));
    bench.hear_from(stranger, &alive("me", own.incarnation + 7, stranger));
    bench.hear_from(stranger, &alive("somebody", 0, addr(97)));
    assert_eq!(bench.node.metrics().dropped_strangers, 11);
    assert_eq!(bench.standing("m2"), Some((MemberState::Alive, 0)));
    assert_eq!(bench.node.local().identity, own, "nothing to refute");
    assert_eq!((bench.events(), bench.sent()), (vec![], vec![]));
}

#[test]
fn who_introduces_itself_is_listed_once_it_answers_where_it_says_it_lives() {
    let mut bench = Bench::new(3);
    bench.hear_from(addr(STRANGER), &alive("x", 0, addr(STRANGER)));
    bench.hear_from(addr(STRANGER), &alive("x", 0, addr(STRANGER)));
    let asked = pings(&mut bench);
    assert_eq!(asked.len(), 1, "once, however often it says so");
    let (to, seq) = asked[0];
    assert_eq!(to, addr(STRANGER));
    assert!(!bench.has_news("x"));
    bench.hear_from(addr(STRANGER), &Ack { seq: seq ^ 1 });
    bench.hear_from(addr(98), &Ack { seq });
    assert_eq!(bench.standing("x"), None, "neither a guess nor another's answer counts");
    bench.hear_from(addr(STRANGER), &Ack { seq });
    assert_eq!(bench.standing("x"), Some((MemberState::Alive, 0)));
    assert!(bench.has_news("x"));
    // An introduction that got lost may be repeated.
    bench.hear_from(addr(98), &alive("y", 0, addr(98)));
    bench.pass(secs(1));
    bench.sent();
    bench.hear_from(addr(98), &alive("y", 0, addr(98)));
    assert_eq!(pings(&mut bench).len(), 1);
}

#[test]
fn an_answer_that_comes_after_the_name_became_a_members_is_too_late() {
    let mut bench = Bench::new(3);
    bench.hear_from(addr(STRANGER), &alive("x", 7, addr(STRANGER)));
    let (_, seq) = pings(&mut bench)[0];
    bench.hear(&alive("x", 0, addr(50)));
    bench.hear_from(addr(STRANGER), &Ack { seq });
    assert_eq!(bench.member("x").map(|member| member.addr), Some(addr(50)));
}

#[test]
fn who_was_a_member_there_is_believed_at_once() {
    let mut bench = Bench::new(3);
    bench.hear(&failed("m2", 0));
    bench.hear_from(addr(2), &alive("m2", 1, addr(2)));
    assert_eq!(bench.standing("m2"), Some((MemberState::Alive, 1)));
}

#[test]
fn strangers_that_never_answer_cost_a_bounded_number_of_places() {
    let mut bench = Bench::new(1);
    let before = bench.node.metrics().dropped_strangers;
    for host in 100..300 {
        bench.hear_from(addr(host), &alive(&format!("s{host}"), 0, addr(host)));
    }
    assert_eq!(bench.sent().len(), 200);
    assert_eq!(bench.node.metrics().dropped_strangers - before, 200 - 64);
    bench.node.audit().expect("every bound holds");
}

#[test]
fn the_name_of_a_live_member_passes_to_a_caller_elsewhere_only_if_nobody_answers_to_it() {
    for (answers, home) in [(true, addr(2)), (false, addr(STRANGER))] {
        let mut bench = Bench::new(3);
        call(
            &mut bench,
            addr(STRANGER),
            "m2",
            &[alive("m2", 7, addr(STRANGER)), alive("other", 0, addr(98))],
        );
        assert_eq!(bench.member("m2").map(|m| m.addr), Some(addr(2)), "not yet");
        let [(stream, asked)] = opened(&mut bench)[..] else { panic!("one is asked") };
        assert_eq!(asked, addr(2));
        if answers {
            let mut question = Vec::new();
            assert_eq!(bench.node.poll_stream(bench.now, stream, &mut question), StreamStep::Send);
            messages(&question, |message| {
                assert!(matches!(message, Message::StreamPing(ping) if ping.target == "m2"))
            });
            let answer = packet_of(&crate::wire::message::StreamAck { name: "m2" });
            bench.node.handle_frame(bench.now, stream, &answer);
        } else {
            bench.node.handle_stream_failure(bench.now, stream, StreamFailure::Refused);
        }
        assert_eq!(bench.member("m2").map(|m| m.addr), Some(home), "answers: {answers}");
        assert_eq!(bench.standing("other"), None, "and it has no say about others");
    }
}

#[test]
fn a_caller_that_lives_where_it_calls_from_is_a_member_and_others_are_asked() {
    let mut bench = Bench::new(1);
    let beside: SocketAddr = (addr(STRANGER).ip(), 1).into();
    call(&mut bench, addr(STRANGER), "x", &[alive("x", 0, beside), alive("friend", 0, addr(98))]);
    assert_eq!(bench.standing("x"), Some((MemberState::Alive, 0)));
    assert_eq!(bench.standing("friend"), Some((MemberState::Alive, 0)), "a member may tell of others");
    bench.sent();
    call(&mut bench, addr(STRANGER), "y", &[alive("y", 0, addr(97))]);
    assert_eq!(bench.standing("y"), None);
    assert_eq!(pings(&mut bench)[0].0, addr(97));
}
