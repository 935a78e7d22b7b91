//! A question that was not asked has no answer: it decides neither a verdict nor who holds a name.

use std::net::SocketAddr;

use super::{
    super::{
        Config, Event, JoinProblem, MemberState, Node, Output, Start, StreamFailure, StreamId, StreamKind,
        StreamStep, phase::Phase,
    },
    bench::{Bench, EPOCH, alive, packet_of},
    world::{ORIGIN, addr, secs},
};
use crate::sim::forge;
use crate::wire::{
    Tags,
    message::{Ack, End, Hello, Message, Ping},
};

const NEWCOMER: usize = 99;

fn opened(bench: &mut Bench) -> Vec<(StreamId, SocketAddr, StreamKind)> {
    let outputs = std::iter::from_fn(|| bench.node.poll_output());
    outputs
        .filter_map(|output| match output {
            Output::OpenStream { stream, addr, kind, .. } => Some((stream, addr, kind)),
            _ => None,
        })
        .collect()
}

/// A peer at another address claims the name of m2, which is live, so m2 is to be asked.
fn ask_m2(bench: &mut Bench) -> StreamId {
    let stream = bench.node.accept_stream(bench.now, addr(NEWCOMER)).expect("there is room");
    let mut frame = Vec::new();
    for packet in [
        packet_of(&Hello { name: "m2", digest: 0, removals: 0 }),
        packet_of(&alive("m2", 7, addr(NEWCOMER))),
        packet_of(&End {}),
    ] {
        bench.node.handle_frame(bench.now, stream, &packet);
        while bench.node.poll_stream(bench.now, stream, &mut frame) == StreamStep::Send {}
    }
    let [(question, asked, StreamKind::Question)] = opened(bench)[..] else { panic!("one is asked") };
    assert_eq!(asked, addr(2));
    question
}

#[test]
fn a_name_does_not_pass_on_a_question_that_was_not_asked() {
    let mut bench = Bench::new(3);
    let question = ask_m2(&mut bench);
    let before = bench.node.metrics().dropped_unverified;
    bench.node.handle_stream_failure(bench.now, question, StreamFailure::NotTried);
    assert_eq!(bench.member("m2").map(|m| m.addr), Some(addr(2)));
    assert_eq!(bench.node.metrics().dropped_unverified, before + 1, "the introduction is dropped");
}

#[test]
fn a_question_that_the_driver_forgets_was_not_asked_and_one_that_began_was() {
    for began in [false, true] {
        let mut bench = Bench::new(3);
        let question = ask_m2(&mut bench);
        if began {
            bench.node.stream_began(bench.now, question);
        }
        bench.pass(secs(3));
        let home = if began { addr(NEWCOMER) } else { addr(2) };
        assert_eq!(bench.member("m2").map(|m| m.addr), Some(home), "began: {began}");
    }
}

#[test]
fn a_stream_has_its_timeout_from_when_the_driver_begins() {
    let mut bench = Bench::new(3);
    let timeout = bench.node.config().probe_interval;
    let question = ask_m2(&mut bench);
    bench.pass(timeout * 3 / 2);
    bench.node.stream_began(bench.now, question);
    bench.pass(timeout * 3 / 4);
    assert_eq!(bench.member("m2").map(|m| m.addr), Some(addr(2)), "its time is not up");
    bench.pass(timeout / 2);
    assert_eq!(bench.member("m2").map(|m| m.addr), Some(addr(NEWCOMER)), "now it is silent");
}

#[test]
fn a_holder_of_the_name_that_was_not_asked_is_not_taken_for_silent() {
    let mut bench = Bench::new(3);
    let own = bench.node.local().identity;
    bench.sync(Message::Alive(alive("me", own.incarnation + 7, addr(66))));
    let [(question, _, StreamKind::Question)] = opened(&mut bench)[..] else {
        panic!("the other holder is asked")
    };
    bench.node.handle_stream_failure(bench.now, question, StreamFailure::NotTried);
    assert_eq!(bench.node.local().identity, own, "nothing was learnt");
    assert_eq!(bench.events(), Vec::<Event>::new());
    assert_eq!(bench.standing("me"), Some((MemberState::Alive, own.incarnation)));
}

/// The answer to the datagram that causes a question goes out at once, and the ping of the question when its stream begins.
#[test]
fn a_holder_of_the_name_that_refuses_streams_is_asked_by_datagram_for_any_question() {
    let mut bench = Bench::new(3);
    let own = bench.node.local().identity;
    let (m1, holder) = (bench.node.token_for("m1", addr(1)), addr(66));
    let claim = alive("me", own.incarnation + 7, holder);
    let said = [Message::Ping(Ping { seq: 5, target: "me" }), Message::Alive(claim), Message::Alive(claim)];
    bench.node.handle_datagram(bench.now, addr(1), &forge::proven_packet("m1", m1, &said));
    assert_eq!(bench.sent().iter().map(|(to, _)| *to).collect::<Vec<_>>(), [addr(1)], "its answer alone");
    let [(question, asked, StreamKind::Question)] = opened(&mut bench)[..] else {
        panic!("the other holder is asked")
    };
    assert_eq!(asked, holder);
    bench.node.stream_began(bench.now, question);
    let [(to, ping)] = &bench.sent()[..] else { panic!("it is pinged") };
    assert_eq!(*to, holder);
    let (seq, _) = forge::ping(ping).expect("it is a ping");
    bench.node.handle_stream_failure(bench.now, question, StreamFailure::Refused);
    bench.receive_as(Some("me"), holder, &Ack { seq });
    assert_eq!(bench.node.phase, Phase::Displaced, "it answered");
}

#[test]
fn a_join_that_was_not_tried_says_nothing_of_the_seed() {
    let mut bench = Bench::new(0);
    bench.node.join(bench.now, 5, &[addr(7)]);
    let [(stream, _, StreamKind::Join)] = opened(&mut bench)[..] else { panic!("it joins") };
    bench.node.handle_stream_failure(bench.now, stream, StreamFailure::NotTried);
    let done = std::iter::from_fn(|| bench.node.poll_output()).find(|o| matches!(o, Output::JoinDone { .. }));
    let result = Err(JoinProblem::NotTried { addr: addr(7) });
    assert_eq!(done, Some(Output::JoinDone { ticket: 5, result }));
}

/// A node that is not announced yet, was told of another holder of its name, and asks there; and the stream of that
/// question.
fn told_of_another_home() -> (Bench, crate::swim::StreamId) {
    let start = Start { addr: addr(0), epoch: EPOCH, seed: 1, tags: Tags::default() };
    let mut bench = Bench { node: Node::new(Config::lan("me"), start, ORIGIN), now: ORIGIN };
    bench.node.join(bench.now, 5, &[addr(7)]);
    let [(stream, _, StreamKind::Join)] = opened(&mut bench)[..] else { panic!("it joins") };
    let mut frame = Vec::new();
    assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
    for packet in [packet_of(&alive("me", 0, addr(66))), packet_of(&End {})] {
        bench.node.handle_frame(bench.now, stream, &packet);
    }
    let [(question, asked, StreamKind::Question)] = opened(&mut bench)[..] else { panic!("it asks") };
    assert_eq!(asked, addr(66));
    (bench, question)
}

/// The past life could not be asked there, so the join fails.
#[test]
fn a_join_ends_where_a_past_life_could_not_be_asked() {
    let (mut bench, question) = told_of_another_home();
    bench.node.handle_stream_failure(bench.now, question, StreamFailure::NotTried);
    let outputs: Vec<_> = std::iter::from_fn(|| bench.node.poll_output()).collect();
    let result = Err(JoinProblem::NotTried { addr: addr(66) });
    assert_eq!(outputs, [Output::JoinDone { ticket: 5, result }]);
}

/// A table names two other holders of this node's name, the later one made up, in either order.
#[test]
fn a_holder_that_was_not_asked_is_asked_though_another_was_silent() {
    let (holder, made_up) = ((1, addr(66)), (9, addr(67)));
    for told in [[holder, made_up], [made_up, holder]] {
        let start = Start { addr: addr(0), epoch: EPOCH, seed: 1, tags: Tags::default() };
        let mut bench = Bench { node: Node::new(Config::lan("me"), start, ORIGIN), now: ORIGIN };
        bench.node.join(bench.now, 5, &[addr(7)]);
        let mut asked = Vec::new();
        while asked.last() != Some(&holder.1) {
            let [(stream, _, StreamKind::Join)] = opened(&mut bench)[..] else {
                panic!("it joins: {asked:?}")
            };
            bench.node.stream_began(bench.now, stream);
            let mut frame = Vec::new();
            assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
            for (incarnation, home) in told {
                bench.node.handle_frame(bench.now, stream, &packet_of(&alive("me", incarnation, home)));
            }
            bench.node.handle_frame(bench.now, stream, &packet_of(&End {}));
            let [(question, to, StreamKind::Question)] = opened(&mut bench)[..] else {
                panic!("it asks: {asked:?}")
            };
            asked.push(to);
            bench.node.stream_began(bench.now, question);
            if to == made_up.1 {
                bench.node.handle_stream_failure(bench.now, question, StreamFailure::TimedOut);
            }
        }
        assert_eq!(asked, [made_up.1, holder.1], "each once, the later first");
    }
}

/// A starting node that asks whether its past life still answers at another address; the stream and the ping of the
/// question.
fn asking() -> (Bench, crate::swim::StreamId, Vec<u8>, Vec<u8>) {
    let (mut bench, question) = told_of_another_home();
    let mut frame = Vec::new();
    bench.node.stream_began(bench.now, question);
    assert_eq!(bench.node.poll_stream(bench.now, question, &mut frame), StreamStep::Send);
    let [(to, ping)] = &bench.sent()[..] else { panic!("it is pinged") };
    assert_eq!(*to, addr(66));
    let ping = ping.clone();
    (bench, question, frame, ping)
}

/// The other address belongs to this host, so the question comes back. Neither its stream nor its ping counts as an answer
/// of another node.
#[test]
fn a_question_that_reaches_the_node_itself_finds_no_other_holder() {
    for by_stream in [false, true] {
        let (mut bench, question, frame, ping) = asking();
        if by_stream {
            let stream = bench.node.accept_stream(bench.now, addr(66)).expect("there is room");
            bench.node.handle_frame(bench.now, stream, &frame);
            let mut answer = Vec::new();
            assert_eq!(bench.node.poll_stream(bench.now, stream, &mut answer), StreamStep::Close);
        } else {
            bench.node.handle_datagram(bench.now, addr(66), &ping);
            assert_eq!(bench.sent(), [], "it answers nobody");
        }
        assert!(!bench.node.is_open(question), "by stream: {by_stream}");
        let [(_, seed, StreamKind::Join)] = opened(&mut bench)[..] else { panic!("the join goes on") };
        assert_eq!(seed, addr(7));
    }
}
