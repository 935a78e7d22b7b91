//! Claims of unverified peers, and their effects.

use std::net::SocketAddr;

use super::{
    super::{MemberState, StreamFailure, StreamStep},
    bench::{Bench, EPOCH, TOKEN, alive, failed, left, messages, packet_of, say, suspect},
    world::{addr, millis, secs},
};
use crate::{
    sim::forge,
    wire::{
        hash,
        message::{Ack, Alive, Departed, End, Hello, Message, Ping, Retry},
        packet::{self, Header, Writer},
    },
};

const UNVERIFIED: usize = 99;

/// The destinations and numbers of the pings that wait to be sent.
fn pings(bench: &mut Bench) -> Vec<(SocketAddr, u32)> {
    let mut pings = Vec::new();
    for (to, packet) in bench.sent() {
        messages(&packet, |message| match message {
            Message::Ping(ping) => pings.push((to, ping.seq)),
            // A departed member is told that it has departed.
            Message::NewToken(_) | Message::Failed(_) => {}
            other => panic!("an unverified peer is told {other:?}"),
        });
    }
    pings
}

/// The frames of a peer that opens a stream and tells this table.
fn call(bench: &mut Bench, from: SocketAddr, caller: &str, claims: &[Alive<'_>]) {
    let stream = bench.node.accept_stream(bench.now, from).expect("there is room");
    let hello = packet_of(&Hello { name: caller, digest: 0, removals: 0 });
    bench.node.handle_frame(bench.now, stream, &hello);
    let mut frame = Vec::new();
    while bench.node.poll_stream(bench.now, stream, &mut frame) == StreamStep::Send {}
    for claim in claims {
        bench.node.handle_frame(bench.now, stream, &packet_of(claim));
    }
    bench.node.handle_frame(bench.now, stream, &packet_of(&End {}));
    while bench.node.poll_stream(bench.now, stream, &mut frame) == StreamStep::Send {}
}

#[test]
fn an_unverified_peer_can_say_nothing_about_members_nor_about_others() {
    let mut bench = Bench::new(3);
    let unverified = addr(UNVERIFIED);
    let own = bench.node.local().identity;
    bench.receive_as(Some("x"), unverified, &suspect("m2", 0, &["m1", "m3"]));
    bench.receive_as(Some("x"), unverified, &failed("m2", 0));
    bench.receive_as(Some("x"), unverified, &left("m2", 0));
    let gone = Departed { name: "m2", epoch: EPOCH, incarnation: 0, left: false, age_secs: 1, removed: None };
    bench.receive_as(Some("x"), unverified, &gone);
    for home in [addr(2), addr(8), unverified] {
        bench.receive_as(Some("x"), unverified, &alive("m2", 1 << 40, home));
    }
    bench.receive_as(Some("x"), unverified, &suspect("me", own.incarnation, &["m1"]));
    bench.receive_as(Some("x"), unverified, &alive("me", own.incarnation + 7, addr(0)));
    bench.receive_as(Some("me"), unverified, &alive("me", own.incarnation + 7, unverified));
    bench.receive_as(Some("somebody"), unverified, &alive("somebody", 0, addr(97)));
    assert_eq!(bench.node.metrics().dropped_unverified, 11);
    assert_eq!(bench.standing("m2"), Some((MemberState::Alive, 0)));
    assert_eq!(bench.node.local().identity, own, "nothing to refute");
    assert_eq!((bench.events(), bench.sent()), (vec![], vec![]));
}

/// A peer without the token speaks under a member's name: from the member's address, and from another.
#[test]
fn a_node_that_shows_no_token_says_nothing_in_a_members_name_wherever_it_speaks_from() {
    for from in [addr(2), addr(UNVERIFIED)] {
        let mut bench = Bench::new(3);
        let own = bench.node.local().identity;
        bench.receive_as(Some("m2"), from, &failed("m1", 0));
        bench.receive_as(Some("m2"), from, &left("m2", 0));
        bench.receive_as(Some("m2"), from, &alive("m2", 9, addr(2)));
        bench.receive_as(Some("m2"), from, &alive("m2", 9, from));
        bench.receive_as(Some("m2"), from, &suspect("me", 0, &["m2"]));
        assert_eq!(bench.standing("m1"), Some((MemberState::Alive, 0)));
        assert_eq!(bench.standing("m2"), Some((MemberState::Alive, 0)));
        assert_eq!(bench.node.local().identity, own);
        assert_eq!(bench.events(), []);
        let asked = pings(&mut bench);
        assert!((1..=3).contains(&asked.len()), "m2 is asked for proof a few times: {asked:?}");
        assert!(asked.iter().all(|(to, _)| *to == addr(2)), "and only where it lives");
    }
}

#[test]
fn a_peer_that_introduces_itself_is_listed_once_it_answers_at_its_address() {
    let mut bench = Bench::new(3);
    let x = Some("x");
    bench.receive_as(x, addr(UNVERIFIED), &alive("x", 0, addr(UNVERIFIED)));
    bench.receive_as(x, addr(UNVERIFIED), &alive("x", 0, addr(UNVERIFIED)));
    let asked = pings(&mut bench);
    assert_eq!(asked.len(), 1, "once, however often it says so");
    let (to, seq) = asked[0];
    assert_eq!(to, addr(UNVERIFIED));
    assert!(!bench.has_news("x"));
    bench.receive_as(x, addr(UNVERIFIED), &Ack { seq: seq ^ 1 });
    assert_eq!(bench.standing("x"), None, "a guess does not count");
    bench.receive_as(x, addr(UNVERIFIED), &Ack { seq });
    assert_eq!(bench.standing("x"), Some((MemberState::Alive, 0)));
    assert!(bench.has_news("x"));
    // A peer may repeat an introduction that got lost.
    bench.receive_as(Some("y"), addr(98), &alive("y", 0, addr(98)));
    bench.pass(secs(1));
    bench.sent();
    bench.receive_as(Some("y"), addr(98), &alive("y", 0, addr(98)));
    assert_eq!(pings(&mut bench).len(), 1);
    let (_, seq) = (addr(98), 0);
    bench.receive_as(Some("z"), addr(98), &Ack { seq });
    assert_eq!(bench.standing("y"), None, "nor does another's answer");
}

/// A ping with an introduction behind it, perhaps with a token in its header.
fn introduce(bench: &mut Bench, from: usize, name: &str, token: u32, home: SocketAddr) -> Vec<u8> {
    let header = Header { cluster: hash::cluster("default"), sender: hash::member(name), token };
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, header, 1400);
    assert!(writer.message(&Ping { seq: 7, target: "me" }) && writer.message(&alive(name, 0, home)));
    writer.finish();
    bench.node.handle_datagram(bench.now, addr(from), &bytes);
    let mut sent = bench.sent();
    assert_eq!((sent.len(), sent[0].0), (1, addr(from)), "one answer, to where it came from");
    assert!(sent[0].1.len() <= bytes.len(), "no amplification");
    sent.remove(0).1
}

#[test]
fn an_unverified_peer_that_shows_the_token_it_was_sent_is_a_member() {
    let mut bench = Bench::new(1);
    let mut offered = 0;
    messages(&introduce(&mut bench, UNVERIFIED, "x", 0, addr(UNVERIFIED)), |message| match message {
        Message::Retry(retry) => offered = retry.token,
        other => panic!("{other:?}"),
    });
    assert_eq!(bench.standing("x"), None, "nothing is kept of who has not shown it");
    introduce(&mut bench, 98, "x", offered, addr(98));
    assert_eq!(bench.standing("x"), None, "it is for one address");
    introduce(&mut bench, UNVERIFIED, "y", offered, addr(UNVERIFIED));
    assert_eq!(bench.standing("y"), None, "and for one name");
    messages(&introduce(&mut bench, UNVERIFIED, "x", offered, addr(UNVERIFIED)), |message| {
        assert!(matches!(message, Message::Ack(_)), "{message:?}");
    });
    assert_eq!(bench.standing("x"), Some((MemberState::Alive, 0)));
}

/// One datagram is one guess: only the first introduction in it counts.
#[test]
fn a_token_is_compared_with_one_introduction() {
    let mut bench = Bench::new(1);
    let token = bench.node.token_for("x", addr(50));
    let said: Vec<_> = (40..60).map(|home| Message::Alive(alive("x", 0, addr(home)))).collect();
    let packet = forge::proven_packet("x", token, &said);
    bench.node.handle_datagram(bench.now, addr(UNVERIFIED), &packet);
    assert_eq!(bench.standing("x"), None);
    let packet = forge::proven_packet("x", token, &[Message::Alive(alive("x", 0, addr(50)))]);
    bench.node.handle_datagram(bench.now, addr(UNVERIFIED), &packet);
    assert_eq!(bench.standing("x"), Some((MemberState::Alive, 0)));
}

#[test]
fn tokens_of_introductions_do_not_count_from_elsewhere_while_an_attacker_guesses() {
    let mut bench = Bench::new(1);
    let token = bench.node.token_for("x", addr(50));
    for guess in (1..400).chain([token]) {
        let packet = forge::proven_packet("x", guess, &[Message::Alive(alive("x", 0, addr(50)))]);
        bench.node.handle_datagram(bench.now, addr(UNVERIFIED), &packet);
    }
    assert_eq!((bench.standing("x"), bench.node.metrics().refused_tokens), (None, 1));
    let packet = forge::proven_packet("x", token, &[Message::Alive(alive("x", 0, addr(50)))]);
    bench.node.handle_datagram(bench.now, addr(50), &packet);
    assert_eq!(bench.standing("x"), Some((MemberState::Alive, 0)), "where it lives");
}

#[test]
fn a_token_is_sent_only_to_the_address_of_its_member() {
    let mut bench = Bench::new(2);
    for (name, home) in [("x", addr(98)), ("m2", addr(2))] {
        messages(&introduce(&mut bench, UNVERIFIED, name, 0, home), |message| {
            assert!(matches!(message, Message::Retry(Retry { token: 0, .. })), "{message:?}");
        });
    }
}

#[test]
fn an_answer_that_comes_after_the_name_became_a_members_is_too_late() {
    let mut bench = Bench::new(3);
    bench.receive_as(Some("x"), addr(UNVERIFIED), &alive("x", 7, addr(UNVERIFIED)));
    let (_, seq) = pings(&mut bench)[0];
    bench.receive(&alive("x", 0, addr(50)));
    bench.receive_as(Some("x"), addr(UNVERIFIED), &Ack { seq });
    assert_eq!(bench.member("x").map(|member| member.addr), Some(addr(50)));
}

#[test]
fn a_departed_member_does_not_come_back_by_a_forged_datagram() {
    let mut bench = Bench::new(3);
    bench.receive(&failed("m2", 0));
    bench.sent();
    bench.receive_as(Some("m2"), addr(2), &alive("m2", 1, addr(2)));
    assert_eq!(bench.standing("m2"), Some((MemberState::Failed, 0)));
    let (to, seq) = pings(&mut bench)[0];
    assert_eq!(to, addr(2), "it is asked where it lived");
    bench.receive_as(Some("m2"), addr(2), &Ack { seq });
    assert_eq!(bench.standing("m2"), Some((MemberState::Alive, 1)), "and is there");
}

#[test]
fn unverified_peers_that_never_answer_cost_a_bounded_number_of_places() {
    let mut bench = Bench::new(1);
    let before = bench.node.metrics().dropped_unverified;
    for host in 100..300 {
        let name = format!("s{host}");
        bench.receive_as(Some(&name), addr(host), &alive(&name, 0, addr(host)));
    }
    assert_eq!(bench.sent().len(), 200);
    assert_eq!(bench.node.metrics().dropped_unverified - before, 200 - 64);
    bench.node.audit().expect("every bound holds");
}

#[test]
fn the_name_of_a_live_member_passes_to_a_caller_elsewhere_only_if_its_holder_is_silent() {
    for (answers, home) in [(true, addr(2)), (false, addr(UNVERIFIED))] {
        let mut bench = Bench::new(3);
        call(
            &mut bench,
            addr(UNVERIFIED),
            "m2",
            &[alive("m2", 7, addr(UNVERIFIED)), alive("other", 0, addr(98))],
        );
        assert_eq!(bench.member("m2").map(|m| m.addr), Some(addr(2)), "not yet");
        let [(stream, asked)] = bench.opened()[..] else { panic!("one is asked") };
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
            assert_eq!(bench.member("m2").map(|m| m.addr), Some(addr(2)), "its ping may still be answered");
            bench.pass(millis(200));
        }
        assert_eq!(bench.member("m2").map(|m| m.addr), Some(home), "answers: {answers}");
        assert_eq!(bench.standing("other"), None, "and it has no say about others");
    }
}

#[test]
fn a_caller_that_claims_no_greater_identity_than_the_members_is_no_reason_to_ask_that_one() {
    let mut bench = Bench::new(3);
    for (incarnation, asked) in [(0, false), (1, true)] {
        call(&mut bench, addr(UNVERIFIED), "m2", &[alive("m2", incarnation, addr(UNVERIFIED))]);
        assert_eq!(bench.node.is_being_asked(addr(2)), asked, "{incarnation}");
    }
}

#[test]
fn a_caller_that_lives_where_it_calls_from_is_a_member_and_others_are_asked() {
    let mut bench = Bench::new(1);
    let beside: SocketAddr = (addr(UNVERIFIED).ip(), 1).into();
    call(&mut bench, addr(UNVERIFIED), "x", &[alive("x", 0, beside), alive("friend", 0, addr(98))]);
    assert_eq!(bench.standing("x"), Some((MemberState::Alive, 0)));
    assert_eq!(bench.standing("friend"), None, "it may tell of others once it has shown its token");
    bench.sent();
    call(&mut bench, addr(UNVERIFIED), "y", &[alive("y", 0, addr(97))]);
    assert_eq!(bench.standing("y"), None);
    assert_eq!(pings(&mut bench)[0].0, addr(97));
}

#[test]
fn an_answer_to_a_question_counts_only_under_its_number() {
    let mut bench = Bench::new(3);
    call(&mut bench, addr(UNVERIFIED), "m2", &[alive("m2", 7, addr(UNVERIFIED))]);
    pings(&mut bench);
    let (question, _) = bench.opened().pop().expect("it is asked");
    bench.node.stream_began(bench.now, question);
    let [(home, seq)] = pings(&mut bench)[..] else { panic!("it is pinged") };
    assert_eq!(home, addr(2));
    bench.receive_from(home, &Ack { seq: seq.wrapping_add(1) });
    assert!(bench.node.is_being_asked(home));
    assert_eq!(bench.node.metrics().dropped_stray_answers, 1);
    bench.receive_from(home, &Ack { seq });
    assert!(!bench.node.is_being_asked(home));
    assert_eq!(bench.member("m2").map(|member| member.addr), Some(home));
}

#[test]
fn the_token_of_a_past_life_is_not_shown_to_the_next() {
    let shown_to_m1 = |bench: &mut Bench| {
        bench.pass(secs(4));
        let probe = bench.sent().into_iter().find(|(to, _)| *to == addr(1)).expect("m1 is probed");
        packet::open(&probe.1, hash::cluster("default")).expect("we sent it").0.token
    };
    let mut bench = Bench::new(1);
    assert_eq!(shown_to_m1(&mut bench), TOKEN);
    bench.receive(&Alive { epoch: EPOCH + 1, ..alive("m1", 0, addr(1)) });
    assert_eq!(shown_to_m1(&mut bench), 0);
}

/// A member that does not know this node believes nothing that this node says before its own Alive; a joiner may know only
/// its seed.
#[test]
fn a_member_that_may_not_know_us_is_told_first_who_we_are() {
    let mut bench = Bench::new(2);
    bench.sync(Message::Alive(alive("m3", 0, addr(3))));
    let mut told = Vec::new();
    for _ in 0..40 {
        bench.pass(millis(100));
        for (to, packet) in bench.sent() {
            let mut names = Vec::new();
            messages(&packet, |message| {
                if let Message::Alive(alive) = message {
                    names.push(alive.name.to_string());
                }
            });
            told.push((to, names));
        }
    }
    let (strange, met): (Vec<_>, Vec<_>) = told.into_iter().partition(|(to, _)| *to == addr(3));
    assert!(!strange.is_empty() && strange.iter().all(|(_, names)| names[..] == ["me"]), "{strange:?}");
    assert!(!met.is_empty() && met.iter().all(|(_, names)| !names.contains(&"me".to_string())), "{met:?}");
}

#[test]
fn a_claim_of_another_name_than_the_sender_s_introduces_no_member() {
    let mut bench = Bench::new(3);
    bench.receive_as(Some("x"), addr(UNVERIFIED), &alive("y", 0, addr(UNVERIFIED)));
    assert_eq!((pings(&mut bench), bench.standing("y")), (vec![], None));
    assert_eq!(bench.node.metrics().dropped_unverified, 1);
}

/// What the node said before it was proven is dropped, so there is nothing left to prove.
#[test]
fn a_node_that_shows_its_token_in_the_same_datagram_is_not_asked_for_it() {
    let mut bench = Bench::new(3);
    let home = addr(UNVERIFIED);
    say(&mut bench, "x", home, &[Message::Failed(failed("m1", 0)), Message::Alive(alive("x", 0, home))]);
    assert_eq!(bench.standing("x"), Some((MemberState::Alive, 0)));
    assert_eq!(bench.standing("m1"), Some((MemberState::Alive, 0)), "that was dropped");
    assert!(bench.asked_at(home).is_empty());
}

/// Names that were made up are at its address, and members keep saying that they are there, too.
#[test]
fn a_newcomer_that_calls_is_asked_at_its_address_whatever_else_is_said_to_be_there() {
    let mut bench = Bench::new(4);
    let home = addr(50);
    for name in ["z1", "z2", "z3", "z4"] {
        bench.receive(&alive(name, 0, home));
    }
    bench.sent();
    for (name, from) in [("m2", addr(2)), ("m3", addr(3))] {
        say(&mut bench, name, from, &[Message::Alive(alive(name, 1, home))]);
    }
    bench.receive(&alive("m4", 1, home));
    call(&mut bench, SocketAddr::new(home.ip(), 40_000), "new", &[alive("new", 0, home)]);
    bench.pass(millis(10));
    let asked = bench.asked_at(home);
    assert!(asked.iter().any(|target| target == "new"), "{asked:?}");
}

#[test]
fn a_caller_from_its_own_host_is_pinged_whatever_others_claim_about_its_address() {
    let mut bench = Bench::new(4);
    let home = addr(50);
    let asks = |bench: &mut Bench, from, name| {
        bench.sent();
        call(bench, from, name, &[alive(name, 0, home)]);
        bench.asked_at(home).iter().any(|target| target == name)
    };
    bench.receive(&failed("m2", 0));
    let back = SocketAddr::new(home.ip(), 40_000);
    assert!(asks(&mut bench, addr(60), "z"));
    assert!(!asks(&mut bench, addr(60), "y"), "one at a time");
    let m2 = bench.node.table.find("m2").expect("it is remembered");
    (0..3).for_each(|_| bench.node.table.contact_mut(m2).miss());
    assert!(asks(&mut bench, back, "m2"));
    assert!(!asks(&mut bench, back, "m2"), "it is being pinged");
}
