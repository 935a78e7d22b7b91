//! Attacks from outside that worked once.

use std::{collections::HashMap, net::SocketAddr};

use super::{
    super::{
        Config, MemberState, Node, Output, Start, StreamFailure, StreamId, StreamStep, session::Purpose,
    },
    bench::{self, Bench, EPOCH, alive, failed, messages, packet_from, packet_of},
    world::{ORIGIN, addr, millis, secs},
};
use crate::{
    sim::forge,
    wire::{
        Tags, hash,
        message::{Ack, Alive, End, Hello, Message, NewToken, Ping, StreamAck},
    },
};

fn ping() -> Message<'static> {
    Message::Ping(Ping { seq: 5, target: "me" })
}

/// The answers to a datagram with these messages.
fn say(
    bench: &mut Bench,
    name: &str,
    from: SocketAddr,
    token: u32,
    said: &[Message<'_>],
) -> Vec<(SocketAddr, Vec<u8>)> {
    let packet = forge::proven_packet(name, token, said);
    bench.node.handle_datagram(bench.now, from, &packet);
    bench.sent()
}

/// A peer opens a stream under this name, without a token, and tells this table.
fn call(bench: &mut Bench, from: SocketAddr, caller: &str, claims: &[Alive<'_>]) {
    let stream = bench.node.accept_stream(bench.now, from).expect("there is room");
    bench.node.handle_frame(bench.now, stream, &packet_of(&Hello { name: caller, digest: 0, removals: 0 }));
    let mut frame = Vec::new();
    while bench.node.poll_stream(bench.now, stream, &mut frame) == StreamStep::Send {}
    let said: Vec<_> = claims.iter().map(|claim| Message::Alive(*claim)).collect();
    bench.node.handle_frame(bench.now, stream, &forge::packet(caller, &said));
}

/// Begins the streams that the node wants to open to an address, and returns them.
fn opened(bench: &mut Bench, to: SocketAddr) -> Vec<StreamId> {
    let opened = bench.opened().into_iter().filter(|(_, addr)| *addr == to);
    let streams: Vec<_> = opened.map(|(stream, _)| stream).collect();
    streams.iter().for_each(|stream| bench.node.stream_began(bench.now, *stream));
    streams
}

/// All tokens in a packet: the one in its header, and offered ones.
fn tokens(packet: &[u8]) -> Vec<u32> {
    let mut tokens = vec![u32::from_le_bytes([packet[13], packet[14], packet[15], packet[16]])];
    messages(packet, |message| match message {
        Message::Retry(retry) => tokens.push(retry.token),
        Message::NewToken(new) => tokens.push(new.token),
        _ => {}
    });
    tokens
}

#[test]
fn a_node_that_moves_is_not_sent_the_token_for_where_it_has_not_been_reached() {
    let mut bench = Bench::new(2);
    let token = bench.node.token_for("m1", addr(1));
    let said = [ping(), Message::Alive(alive("m1", 1, addr(77))), Message::Alive(alive("m1", 0, addr(1)))];
    let sent = say(&mut bench, "m1", addr(1), token, &said);
    let elsewhere = bench.node.token_for("m1", addr(77));
    for (to, packet) in sent {
        assert!(to == addr(77) || !tokens(&packet).contains(&elsewhere), "{to} is told");
    }
}

/// A source address can be forged: a peer that sends under a member's address gives out no tokens in its name.
#[test]
fn no_token_is_taken_from_a_forged_address_nor_shown_in_a_stream() {
    for stream in [false, true] {
        let mut bench = Bench::new(2);
        let opened =
            stream.then(|| bench.node.open(Purpose::Sync, addr(1), secs(10)).expect("there is room"));
        say(&mut bench, "m1", addr(1), 0, &[ping(), Message::NewToken(NewToken { token: 7 })]);
        let m1 = bench.node.table.find("m1").expect("it is a member");
        assert_eq!(bench.node.table.get(m1).contact.held, bench::TOKEN);
        if let Some(stream) = opened {
            let mut frame = Vec::new();
            assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
            assert_eq!(tokens(&frame), [bench::TOKEN]);
            bench.node.handle_frame(bench.now, stream, &packet_of(&End {}));
            let m1 = bench.node.table.get(m1).contact;
            assert_eq!(m1.held, bench::TOKEN, "nor kept beyond it");
        }
    }
}

#[test]
fn a_name_with_another_names_mark_gets_none_of_its_tokens() {
    let mut seen = HashMap::new();
    let twins = (0..).find_map(|i: u32| {
        let name = format!("n{i}");
        seen.insert(hash::member(&name), name.clone()).map(|old| (old, name))
    });
    let (victim, evil) = twins.expect("32 bits are few");
    let mut bench = Bench::new(2);
    bench.sync(Message::Alive(alive(&victim, 0, addr(5))));
    bench.meet(&victim);
    bench.sync(Message::Alive(alive(&evil, 1, addr(6))));
    let token = bench.node.token_for(&evil, addr(6));
    for said in [vec![ping()], vec![ping(), Message::Alive(alive(&evil, 0, addr(6)))]] {
        for (to, packet) in say(&mut bench, &evil, addr(6), token, &said) {
            let told = tokens(&packet);
            assert_eq!(to, addr(6));
            assert!(!told.contains(&bench.node.token_for(&victim, addr(5))), "{said:?}");
            assert!(!told.contains(&bench::TOKEN), "what the other gave to us: {said:?}");
        }
    }
}

#[test]
fn records_of_one_mark_are_few() {
    let mut bench = Bench::new(1);
    let mark = hash::member("m1");
    // Names of one mark take long to find, so the test checks that the bound is used.
    assert_eq!(bench.node.table.count_mark(mark, 9, |_| true), 1);
    bench.receive(&failed("m1", 0));
    assert_eq!(bench.node.table.count_mark(mark, 9, |_| true), 1);
    assert_eq!(bench.node.table.count_mark(hash::member("nobody"), 9, |_| true), 0);
}

/// Others have one member probed out of turn again and again: the rest still gets every other round at least.
#[test]
fn probes_out_of_turn_do_not_keep_other_members_from_being_probed() {
    let mut bench = Bench::new(5);
    let mut probed = HashMap::<SocketAddr, u32>::new();
    for _ in 0..60 {
        let forged = forge::packet("m1", &[ping()]);
        bench.node.handle_datagram(bench.now, addr(50), &forged);
        bench.receive_from(addr(5), &bench::suspect("m1", 0, &["m5"]));
        bench.sent();
        bench.pass(secs(1));
        for (to, packet) in bench.sent() {
            if let Some((seq, target)) = forge::ping(&packet) {
                *probed.entry(to).or_default() += 1;
                let token = bench.node.token_for(&target, to);
                let ack = forge::proven_packet(&target, token, &[Message::Ack(Ack { seq })]);
                bench.node.handle_datagram(bench.now, to, &ack);
            }
        }
    }
    for member in 2..=5 {
        let times = probed.get(&addr(member)).copied().unwrap_or_default();
        assert!(times >= 5, "m{member} was probed {times} times in 60 rounds: {probed:?}");
    }
}

#[test]
fn seeds_are_tried_again_while_a_join_through_silent_ones_goes_on() {
    let start = Start { addr: addr(0), epoch: EPOCH, seed: 1, tags: Tags::default() };
    let mut node = Node::new(Config::lan("me"), start, ORIGIN);
    let (mut now, addrs) = (ORIGIN, (1..41).map(addr).collect::<Vec<_>>());
    node.seek_seeds(now);
    let (mut tries, mut reached, mut frame) = (0, false, Vec::new());
    for _ in 0..40_000 {
        while node.poll_transmit(&mut frame).is_some() {}
        while let Some(output) = node.poll_output() {
            match output {
                Output::ResolveSeeds => {
                    tries += 1;
                    node.handle_seeds(now, &addrs);
                }
                Output::OpenStream { stream, .. } => {
                    node.stream_began(now, stream);
                    for _ in 0..2 {
                        while !reached && node.poll_stream(now, stream, &mut frame) == StreamStep::Send {}
                        if !reached {
                            node.handle_frame(now, stream, &packet_of(&End {}));
                        }
                    }
                    reached = true;
                }
                _ => {}
            }
        }
        now = now + millis(100);
        node.handle_timeout(now);
    }
    assert!(tries > 10, "{tries} tries in 4,000 s");
}

#[test]
fn a_failed_member_is_still_tried_when_more_is_heard_of_its_failure() {
    let mut bench = Bench::new(3);
    bench.receive(&failed("m2", 0));
    assert_eq!(bench.node.reconnects.len(), 1);
    bench.receive(&failed("m2", 1));
    assert_eq!(bench.node.reconnects.len(), 1);
}

#[test]
fn members_that_move_to_one_address_are_few() {
    let mut bench = Bench::new(20);
    for i in 2..=20 {
        bench.receive_from(addr(i), &alive(&format!("m{i}"), 1, addr(90)));
    }
    assert_eq!(bench.node.members().iter().filter(|m| m.addr == addr(90)).count(), 4);
}

#[test]
fn a_node_that_leaves_does_not_take_its_successor_along() {
    let mut bench = Bench::new(3);
    let own = bench.node.local().identity;
    bench.node.leave(bench.now);
    bench.sent();
    bench.receive(&Alive { name: "me", epoch: EPOCH + 1000, incarnation: 0, addr: addr(60), tags: &[] });
    bench.receive(&crate::wire::message::Failed { name: "me", epoch: EPOCH + 1000, incarnation: 0 });
    assert_eq!(bench.node.local().identity, own);
}

#[test]
fn one_stream_causes_one_ping_at_most() {
    let mut bench = Bench::new(2);
    let home = |i: u16| SocketAddr::from(([203, 0, (i >> 8) as u8, i as u8], 53));
    let claims: Vec<_> = (0..500).map(|i| alive("x", 0, home(i))).collect();
    call(&mut bench, addr(99), "x", &claims);
    assert!(bench.sent().len() <= 1);
}

/// A peer at another address claims m1's name, and m1 is asked; the stream to m1 is refused at once.
fn ask_m1() -> (Bench, StreamId) {
    let mut bench = Bench::new(2);
    let claim = Alive { name: "m1", epoch: EPOCH + 5, incarnation: 0, addr: addr(99), tags: &[] };
    call(&mut bench, addr(99), "m1", &[claim]);
    let [stream] = opened(&mut bench, addr(1))[..] else { panic!("m1 is asked") };
    (bench, stream)
}

#[test]
fn a_refused_stream_gives_no_name_away_while_the_ping_may_be_answered() {
    let (mut bench, stream) = ask_m1();
    let sent = bench.sent();
    bench.node.handle_stream_failure(bench.now, stream, StreamFailure::Refused);
    let pings = sent.iter().filter(|(to, _)| *to == addr(1)).filter_map(|(_, packet)| forge::ping(packet));
    pings.for_each(|(seq, _)| _ = bench.receive_from(addr(1), &Ack { seq }));
    bench.pass(secs(1));
    assert_eq!(bench.member("m1").map(|m1| m1.addr), Some(addr(1)));
}

#[test]
fn a_question_about_a_holder_that_has_moved_meanwhile_decides_nothing() {
    let (mut bench, stream) = ask_m1();
    let home = Alive { name: "m1", epoch: EPOCH + 1, incarnation: 0, addr: addr(70), tags: &[] };
    let token = bench.node.token_for("m1", addr(1));
    say(&mut bench, "m1", addr(1), token, &[Message::Alive(home)]);
    bench.node.handle_stream_failure(bench.now, stream, StreamFailure::Refused);
    bench.pass(millis(500));
    assert_eq!(bench.member("m1").map(|m1| m1.addr), Some(addr(70)));
}

#[test]
fn updates_go_only_to_members_at_their_own_address() {
    let mut bench = Bench::new(3);
    for i in 0..40 {
        bench.sync(Message::Alive(alive(&format!("z{i}"), 0, addr(100 + i))));
    }
    bench.sent();
    let token = bench.node.token_for("m1", addr(1));
    for (from, token, told) in [(addr(1), 0, false), (addr(200), token, false), (addr(1), token, true)] {
        let mut seen = false;
        for (to, packet) in say(&mut bench, "m1", from, token, &[ping()]) {
            assert_eq!(to, from);
            messages(&packet, |message| {
                seen |= matches!(message, Message::Alive(alive) if alive.name.starts_with('z'));
            });
        }
        assert_eq!(seen, told, "from {from}, token {token}");
    }
}

#[test]
fn a_node_that_cannot_be_reached_by_datagram_comes_back_by_stream() {
    let mut bench = Bench::new(3);
    let id = bench.node.table.find("m1").expect("it is a member");
    (0..3).for_each(|_| bench.node.table.contact_mut(id).miss());
    bench.receive_from(addr(2), &failed("m1", 0));
    bench.events();
    bench.sent();
    let claim = Alive { name: "m1", epoch: EPOCH + 1, incarnation: 0, addr: addr(1), tags: &[] };
    call(&mut bench, addr(1), "m1", &[claim]);
    assert_eq!(bench.standing("m1"), Some((MemberState::Failed, 0)), "not yet");
    let [stream] = opened(&mut bench, addr(1))[..] else { panic!("it is asked") };
    let mut frame = Vec::new();
    assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
    let (seq, _) = forge::ping(&frame).expect("it is pinged");
    assert_eq!(bench.node.poll_stream(bench.now, stream, &mut Vec::new()), StreamStep::Receive);
    bench.node.handle_frame(bench.now, stream, &packet_from(hash::member("m1"), 0, &Ack { seq }));
    assert_eq!(bench.standing("m1"), Some((MemberState::Alive, 0)));
}

#[test]
fn a_ping_is_answered_whichever_claim_comes_with_it() {
    let mut bench = Bench::new(3);
    let token = bench.node.token_for("m1", addr(1));
    let sent = say(&mut bench, "m1", addr(1), token, &[ping(), Message::Alive(alive("me", 9, addr(60)))]);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0, forge::ping(&sent[0].1)), (addr(1), None), "the answer, not our question");
}

/// This node asks about another holder and is then accused. When the other holder answers, this node's identity is later
/// than the claimed one.
#[test]
fn a_holder_of_the_name_whose_claim_is_superseded_does_not_displace_this_node() {
    for (accused, displaced) in [(true, false), (false, true)] {
        let mut bench = Bench::new(3);
        let token = bench.node.token_for("m1", addr(1));
        let claimed = bench.node.local().identity.incarnation + 2;
        say(&mut bench, "m1", addr(1), token, &[Message::Alive(alive("me", claimed, addr(60)))]);
        let [stream] = opened(&mut bench, addr(60))[..] else { panic!("it is asked") };
        if accused {
            bench.receive(&bench::suspect("me", claimed + 1, &["m1"]));
        }
        let mut frame = Vec::new();
        while bench.node.poll_stream(bench.now, stream, &mut frame) == StreamStep::Send {}
        bench.node.handle_frame(bench.now, stream, &packet_of(&StreamAck { name: "me" }));
        assert_eq!(bench.node.is_displaced(), displaced);
        bench.sent();
        let answers = say(&mut bench, "me", addr(60), 0, &[ping()]).len();
        assert_eq!(answers == 0, displaced, "who has yielded does not hold its other holder down");
    }
}

#[test]
fn tokens_from_elsewhere_do_not_count_while_an_attacker_guesses() {
    let mut bench = Bench::new(2);
    let token = bench.node.token_for("m1", addr(1));
    for guess in 1..400 {
        say(&mut bench, "m1", addr(66), guess, &[Message::Failed(failed("m2", 0))]);
    }
    say(&mut bench, "m1", addr(66), token, &[Message::Failed(failed("m2", 0))]);
    assert_eq!(bench.standing("m2"), Some((MemberState::Alive, 0)), "nor does the right one");
    bench.pass(secs(2));
    say(&mut bench, "m1", addr(66), token, &[Message::Failed(failed("m2", 0))]);
    assert_eq!(bench.standing("m2").map(|m2| m2.0), Some(MemberState::Failed));
}

#[test]
fn guesses_of_others_do_not_mute_a_member_where_it_was_heard_from_before() {
    let mut bench = Bench::new(2);
    let token = bench.node.token_for("m1", addr(1));
    say(&mut bench, "m1", addr(66), token, &[ping()]);
    say(&mut bench, "m1", addr(1), token, &[ping()]);
    for guess in 1..400 {
        say(&mut bench, "m1", addr(67), guess, &[ping()]);
    }
    say(&mut bench, "m1", addr(66), token, &[Message::Failed(failed("m2", 0))]);
    assert_eq!(bench.standing("m2").map(|m2| m2.0), Some(MemberState::Failed));
    say(&mut bench, "m1", addr(68), token, &[Message::Failed(failed("m1", 0))]);
    assert_eq!(
        bench.standing("m1"),
        Some((MemberState::Alive, 0)),
        "from a new place it may be one more guess"
    );
}

/// Behind a translator of addresses, each stream comes from a port of its own.
#[test]
fn guesses_of_others_do_not_mute_streams_of_a_member_that_is_heard_from_another_host() {
    let mut bench = Bench::new(2);
    let token = bench.node.token_for("m1", addr(1));
    let mapped = |port| ([203, 0, 113, 7], port).into();
    say(&mut bench, "m1", mapped(40_000), token, &[ping()]);
    for guess in 1..400 {
        say(&mut bench, "m1", addr(67), guess, &[ping()]);
    }
    let stream = bench.node.accept_stream(bench.now, mapped(40_001)).expect("there is room");
    let hello = Message::Hello(Hello { name: "m1", digest: 0, removals: 0 });
    bench.node.handle_frame(bench.now, stream, &forge::proven_packet("m1", token, &[hello]));
    assert_eq!(bench.node.metrics().refused_tokens, 0, "the port is another one");
    let elsewhere = [mapped(40_001), ([203, 0, 113, 8], 40_000).into()];
    elsewhere.iter().for_each(|from| _ = say(&mut bench, "m1", *from, token, &[ping()]));
    assert_eq!(bench.node.metrics().refused_tokens, 2, "others behind the translator guess as well");
}

/// The first frame of a stream shows a token before the stream has named its sender.
#[test]
fn a_member_that_opens_many_streams_guesses_nothing() {
    let mut bench = Bench::new(2);
    let token = bench.node.token_for("m1", addr(1));
    for _ in 0..400 {
        let stream = bench.node.accept_stream(bench.now, addr(1)).expect("there is room");
        let hello = forge::proven_packet(
            "m1",
            token,
            &[Message::Hello(Hello { name: "m1", digest: 0, removals: 0 })],
        );
        bench.node.handle_frame(bench.now, stream, &hello);
        bench.node.handle_stream_failure(bench.now, stream, StreamFailure::TimedOut);
    }
    say(&mut bench, "m1", addr(66), token, &[Message::Failed(failed("m2", 0))]);
    assert_eq!(bench.standing("m2").map(|m2| m2.0), Some(MemberState::Failed), "elsewhere, its token counts");
}

/// A newcomer shows a token that is not that of a member: the token of its join, or of its introduction.
#[test]
fn newcomers_guess_nothing() {
    let mut bench = Bench::new(2);
    let token = bench.node.token_for("m1", addr(1));
    for i in 0..200 {
        let (name, home) = (format!("new{i}"), addr(1000 + i));
        let stream = bench.node.accept_stream(bench.now, home).expect("there is room");
        let hello = Message::Hello(Hello { name: &name, digest: 0, removals: 0 });
        bench.node.handle_frame(bench.now, stream, &forge::proven_packet(&name, 7, &[hello]));
        bench.node.handle_stream_failure(bench.now, stream, StreamFailure::TimedOut);
        let its = bench.node.token_for(&name, home);
        say(&mut bench, &name, home, its, &[Message::Alive(alive(&name, 0, home))]);
        assert!(bench.member(&name).is_some());
    }
    say(&mut bench, "m1", addr(66), token, &[Message::Failed(failed("m2", 0))]);
    assert_eq!(bench.standing("m2").map(|m2| m2.0), Some(MemberState::Failed), "from a new place");
}
