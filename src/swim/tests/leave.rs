//! When a leave is over, which members are told again, and whether it was heard.

use std::net::SocketAddr;

use super::{
    super::{Config, EarlierLife, MemberState, Node, Output, Start, StreamStep},
    bench::{Bench, EPOCH, TOKEN, alive, failed, messages, packet_of, suspect},
    world::{ORIGIN, addr, millis, secs},
};
use crate::wire::{
    Tags, hash,
    message::{Ack, Left, Message, Ping, Retry},
};

/// Whereto the node says that it left, and under which number.
fn told(bench: &mut Bench) -> Vec<(SocketAddr, u32)> {
    let (mut told, mut seq) = (Vec::new(), 0);
    for (to, packet) in bench.sent() {
        messages(&packet, |message| match message {
            Message::Ping(ping) => seq = ping.seq,
            Message::Left(Left { name: "me", .. }) => told.push((to, seq)),
            _ => {}
        });
    }
    told
}

fn done(bench: &mut Bench) -> Option<bool> {
    std::iter::from_fn(|| bench.node.poll_output()).find_map(|output| match output {
        Output::LeaveDone { confirmed } => Some(confirmed),
        _ => None,
    })
}

#[test]
fn a_leave_that_takes_hours_awaits_a_bounded_number_of_answers() {
    let mut bench = Bench::with(Config { leave_timeout: secs(7200), ..Config::lan("me") }, 6);
    bench.node.leave(bench.now);
    let pings = (0..600).map(|_| {
        bench.pass(secs(1));
        told(&mut bench).len()
    });
    assert!(pings.sum::<usize>() > 1000);
    while bench.node.poll_output().is_some() {}
    assert_eq!(bench.node.audit(), Ok(()));
    let (to, seq) = {
        bench.pass(secs(1));
        told(&mut bench)[0]
    };
    bench.receive_from(to, &Ack { seq });
    assert_eq!(done(&mut bench), None, "one of three has answered");
}

#[test]
fn a_leave_with_a_long_timeout_is_told_to_silent_members_by_stream_too() {
    for leave_timeout in [secs(120), secs(7200)] {
        let mut bench = Bench::with(Config { leave_timeout, ..Config::lan("me") }, 3);
        bench.node.leave(bench.now);
        bench.pass(secs(100));
        assert_eq!(bench.opened().len(), 3, "each of them once");
    }
}

fn leaving(members: usize) -> Bench {
    let mut bench = Bench::new(members);
    bench.node.leave(bench.now);
    bench
}

#[test]
fn a_node_that_no_other_knows_or_that_knows_none_has_left_at_once() {
    let start = Start { addr: addr(0), epoch: EPOCH, seed: 1, tags: Tags::default() };
    let mut starting = Bench { node: Node::new(Config::lan("me"), start, ORIGIN), now: ORIGIN };
    starting.node.leave(starting.now);
    let mut displaced = Bench::new(2);
    displaced.node.confirm_conflict(displaced.node.local().identity, addr(50));
    displaced.node.leave(displaced.now);
    let mut alone = leaving(0);
    for bench in [&mut starting, &mut displaced, &mut alone] {
        assert_eq!(done(bench), Some(true));
        assert_eq!(told(bench), []);
    }
}

#[test]
fn a_leave_that_nobody_answers_is_over_after_leave_timeout_and_was_not_heard() {
    let mut bench = leaving(2);
    bench.pass(millis(990));
    assert_eq!(done(&mut bench), None);
    bench.pass(millis(20));
    assert_eq!(done(&mut bench), Some(false));
    // Whoever asks again hears the same, and nobody is told any more.
    bench.sent();
    bench.node.leave(bench.now);
    assert_eq!((done(&mut bench), told(&mut bench)), (Some(false), vec![]));
    bench.pass(secs(5));
    assert_eq!(bench.member("me").map(|me| me.state), Some(MemberState::Left));
}

#[test]
fn one_member_that_believed_it_is_enough_when_the_time_is_over() {
    let mut bench = leaving(3);
    let (to, seq) = told(&mut bench)[0];
    bench.receive_from(to, &Ack { seq });
    assert_eq!(done(&mut bench), None, "the others are waited for");
    bench.pass(millis(1010));
    assert_eq!(done(&mut bench), Some(true));
}

#[test]
fn a_node_that_asks_for_proof_is_told_once_more_and_who_leaves_too_is_not() {
    for (token, again) in [(77, 1), (0, 0)] {
        let mut bench = leaving(1);
        let (to, seq) = told(&mut bench)[0];
        bench.receive_from(to, &Retry { seq, token });
        let retold = told(&mut bench);
        assert_eq!(retold.len(), again, "token {token}");
        for (to, seq) in retold {
            bench.receive_from(to, &Retry { seq, token: 78 });
            assert_eq!(told(&mut bench), [], "once is enough");
        }
        assert_eq!(done(&mut bench), None, "it was not believed");
    }
}

/// The streams that are opened within a second of silence, with what is sent in them first.
fn streams_of_a_silent_leave(stream_fallback: bool) -> (Bench, Vec<(super::super::StreamId, Vec<u8>)>) {
    let mut config = Config::lan("me");
    config.stream_fallback = stream_fallback;
    let mut bench = Bench::with(config, 1);
    bench.node.leave(bench.now);
    let mut opened = Vec::new();
    for _ in 0..9 {
        bench.pass(millis(100));
        for (stream, to) in bench.opened() {
            assert_eq!(to, addr(1));
            let mut frame = Vec::new();
            assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
            opened.push((stream, frame));
        }
    }
    (bench, opened)
}

#[test]
fn a_node_that_is_silent_is_told_by_stream_once_and_its_answer_there_counts() {
    assert!(streams_of_a_silent_leave(false).1.is_empty());
    let (mut bench, opened) = streams_of_a_silent_leave(true);
    let [(stream, frame)] = &opened[..] else { panic!("{} streams", opened.len()) };
    let (mut seq, mut left) = (0, false);
    messages(frame, |message| match message {
        Message::Ping(Ping { seq: asked, .. }) => seq = *asked,
        Message::Left(claim) => left = claim.name == "me",
        _ => {}
    });
    assert!(left);
    let answer = super::bench::packet_from(hash::member("m1"), TOKEN, &Ack { seq });
    bench.node.handle_frame(bench.now, *stream, &answer);
    assert_eq!(done(&mut bench), Some(true));
    let mut frame = Vec::new();
    assert_eq!(bench.node.poll_stream(bench.now, *stream, &mut frame), StreamStep::Close);
}

fn starting() -> Bench {
    let start = Start { addr: addr(0), epoch: EPOCH, seed: 1, tags: Tags::default() };
    Bench { node: Node::new(Config::lan("me"), start, ORIGIN), now: ORIGIN }
}

/// It was restarted, and is stopped before it has joined: the others still list its past life.
#[test]
fn a_node_that_heard_of_its_past_life_tells_that_it_leaves_before_it_has_joined() {
    for answers in [true, false] {
        let mut bench = starting();
        bench.node.join(bench.now, 5, &[addr(1)]);
        let [(stream, _)] = bench.opened()[..] else { panic!("it joins") };
        let mut frame = Vec::new();
        assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
        for claim in [alive("me", 1, addr(0)), alive("m1", 0, addr(1))] {
            bench.node.handle_frame(bench.now, stream, &packet_of(&claim));
        }
        bench.node.leave(bench.now);
        let identity = bench.node.local().identity;
        assert!(identity.epoch > EPOCH, "later than the past life");
        let [(to, seq)] = told(&mut bench)[..] else { panic!("m1 is told") };
        assert_eq!(to, addr(1));
        if answers {
            bench.receive_from(to, &Retry { seq, token: 77 });
            // What the Retry causes is one datagram, an update; the next one asks whether the leave is believed.
            bench.sent();
            bench.pass(millis(300));
            let Some((to, seq)) = told(&mut bench).pop() else { panic!("m1 is told again") };
            bench.receive_from(to, &Ack { seq });
        }
        bench.pass(secs(2));
        assert_eq!(done(&mut bench), Some(answers));
    }
}

#[test]
fn a_node_that_remembers_a_past_life_and_finds_no_member_has_not_left_for_certain() {
    let mut bench = starting();
    bench.node.rejoin(bench.now, &EarlierLife::new(EPOCH - 1, vec![("m1".into(), addr(1))]));
    bench.node.leave(bench.now);
    assert_eq!(done(&mut bench), Some(false));
}

#[test]
fn a_node_that_is_alone_since_the_others_failed_meanwhile_has_not_left_for_certain() {
    let mut bench = leaving(1);
    bench.sync(Message::Failed(failed("m1", 0)));
    bench.pass(secs(2));
    assert_eq!(done(&mut bench), Some(false));
}

#[test]
fn an_answer_of_another_than_was_told_is_no_belief() {
    let mut bench = leaving(2);
    let (to, seq) = told(&mut bench)[0];
    let other = if to == addr(1) { addr(2) } else { addr(1) };
    bench.receive_from(other, &Ack { seq });
    bench.pass(secs(2));
    assert_eq!(done(&mut bench), Some(false));
}

#[test]
fn suspects_are_told_of_a_leave_where_there_are_no_others() {
    let mut bench = Bench::new(1);
    bench.sync(Message::Suspect(suspect("m1", 0, &[])));
    assert_eq!(bench.standing("m1"), Some((MemberState::Suspect, 0)));
    bench.node.leave(bench.now);
    let [(to, seq)] = told(&mut bench)[..] else { panic!("it is told") };
    bench.receive_from(to, &Ack { seq });
    assert_eq!(done(&mut bench), Some(true));
}

/// What a node that leaves says to a ping: whether by an ack, and whether it says that it left.
fn answer(bench: &mut Bench, seq: u32) -> (bool, bool) {
    bench.sent();
    bench.node.updates.clear();
    bench.receive_from(addr(1), &Ping { seq, target: "me" });
    let [(to, packet)] = &bench.sent()[..] else { panic!("one answer") };
    assert_eq!(*to, addr(1));
    let (mut ack, mut left) = (false, false);
    messages(packet, |message| match message {
        Message::Ack(answer) => ack = answer.seq == seq,
        Message::Left(claim) => left = claim.name == "me",
        other => panic!("{other:?}"),
    });
    (ack, left)
}

/// Whoever asks may have missed it.
#[test]
fn a_node_that_leaves_answers_a_ping_by_an_ack_and_says_so_while_and_after_it_leaves() {
    let mut bench = leaving(2);
    assert_eq!(answer(&mut bench, 7), (true, true), "it is leaving");
    bench.pass(secs(5));
    assert_eq!(answer(&mut bench, 8), (true, true), "it has left");
}

#[test]
fn a_node_that_leaves_is_in_its_own_table_for_others_unless_nobody_lists_it() {
    assert!(leaving(2).node.shows_itself(), "they are to know that it left");
    let mut displaced = Bench::new(2);
    displaced.node.confirm_conflict(displaced.node.local().identity, addr(50));
    displaced.node.leave(displaced.now);
    assert!(!displaced.node.shows_itself(), "the name is another's");
}

/// The node that it joins may list it from now on, and pass that on.
#[test]
fn a_leave_of_a_node_whose_join_has_been_heard_is_not_confirmed() {
    for has_been_heard in [false, true] {
        let start = Start::new(addr(0), EPOCH, 1);
        let mut bench = Bench { node: Node::new(Config::lan("me"), start, ORIGIN), now: ORIGIN };
        bench.node.join(bench.now, 1, &[addr(1)]);
        let [(stream, _)] = bench.opened()[..] else { panic!("it joins") };
        if has_been_heard {
            bench.node.stream_began(bench.now, stream);
            assert_eq!(bench.node.poll_stream(bench.now, stream, &mut Vec::new()), StreamStep::Send);
        }
        bench.node.leave(bench.now);
        assert_eq!(done(&mut bench), Some(!has_been_heard));
        assert_eq!(bench.node.leave.silent, !has_been_heard, "who asks is told");
    }
}
