//! Claims that a member is at another address.

use std::{collections::BTreeSet, net::SocketAddr};

use super::{
    super::{Identity, MemberState, member::MemberId, validation::Pinged},
    bench::{self, Bench, EPOCH, alive, answers_come, messages, say},
    world::{addr, millis, secs},
};
use crate::{
    sim::forge,
    wire::message::{Ack, Alive, Message, Ping, Retry},
};

/// A newcomer of which this node knows only the name.
#[test]
fn a_member_that_has_not_answered_yet_is_not_moved_without_being_asked() {
    let mut bench = Bench::new(3);
    bench.receive(&alive("v", 0, addr(5)));
    bench.node.updates.clear();
    bench.sent();
    bench.receive(&alive("v", 1, addr(66)));
    assert_eq!(bench.member("v").map(|v| v.addr), Some(addr(5)), "nobody has answered there");
    bench.pass(secs(3));
    assert!(!bench.asked_at(addr(5)).is_empty(), "it is asked where it was");
}

/// A node that believes the claim no longer reaches the member.
#[test]
fn a_member_is_told_at_its_known_address_of_a_claimed_move() {
    let mut bench = Bench::new(3);
    bench.receive(&alive("m2", 1, addr(66)));
    let mut told = BTreeSet::new();
    for _ in 0..40 {
        bench.pass(millis(50));
        for (to, packet) in bench.sent() {
            messages(&packet, |message| {
                if let Message::Alive(Alive { name: "m2", addr: home, incarnation: 1, .. }) = message {
                    told.insert((to, *home));
                }
            });
        }
    }
    assert_eq!(told, BTreeSet::from([(addr(2), addr(66))]), "it alone is told");
}

#[test]
fn made_up_moves_keep_no_restarted_member_from_being_asked() {
    let mut bench = Bench::new(12);
    let names: Vec<_> = (6..=12).map(|i| format!("m{i}")).collect();
    let (mut port, mut asked) = (1000, false);
    for _ in 0..50 {
        for _ in 0..4 {
            let mut claim = |i: usize| {
                port += 1;
                Message::Alive(alive(&names[i % 7], 1, SocketAddr::new(addr(90).ip(), port)))
            };
            let claims: Vec<_> = (0..20).map(&mut claim).collect();
            say(&mut bench, "m2", addr(2), &claims);
        }
        say(
            &mut bench,
            "m3",
            addr(3),
            &[Message::Alive(Alive { epoch: EPOCH + 1, ..alive("m5", 0, addr(66)) })],
        );
        bench.pass(millis(10));
        asked |= !bench.asked_at(addr(66)).is_empty();
    }
    assert!(asked, "it is asked where it is within half a second");
}

/// Names that were made up are at the address to which m5 moves, and m1 keeps saying that m2 and m3 are there.
#[test]
fn a_member_that_moves_is_asked_there_whatever_else_is_said_to_be_there() {
    let mut bench = Bench::new(6);
    for name in ["z1", "z2", "z3", "z4"] {
        bench.receive(&alive(name, 0, addr(50)));
    }
    let mut is_asked = false;
    for step in 0..50 {
        for name in ["m2", "m3"] {
            bench.receive(&alive(name, 1, addr(50)));
        }
        if step % 10 == 0 {
            say(&mut bench, "m5", addr(5), &[Message::Alive(alive("m5", 1 + step, addr(50)))]);
        }
        bench.pass(millis(100));
        is_asked |= bench.asked_at(addr(50)).iter().any(|target| target == "m5");
    }
    assert!(is_asked, "it is where it says it is");
}

/// The speaker makes up names at addresses of many hosts, and says that it lives at each of these, before and behind what another
/// member of its host says.
#[test]
fn a_members_own_moves_keep_no_restarted_member_from_being_asked() {
    let mut bench = Bench::new(12);
    let homes: Vec<_> = (100..170).map(addr).collect();
    for (at, home) in homes.iter().enumerate() {
        for n in 0..4 {
            bench.receive(&alive(&format!("z{at}-{n}"), 0, *home));
        }
    }
    bench.pass(secs(1));
    bench.sent();
    let mut incarnation = 1;
    let mut moves = |bench: &mut Bench| {
        for half in homes.chunks(35) {
            let claims = half.iter().map(|home| {
                incarnation += 1;
                Message::Alive(alive("m2", incarnation, *home))
            });
            say(bench, "m2", addr(2), &claims.collect::<Vec<_>>());
        }
    };
    moves(&mut bench);
    let later = Alive { epoch: EPOCH + 1, ..alive("m5", 0, addr(66)) };
    say(&mut bench, "m2", addr(2), &[Message::Alive(later)]);
    moves(&mut bench);
    assert_eq!(bench.node.moves.len(), 2, "a member is at one address");
    bench.pass(secs(1));
    assert!(!bench.asked_at(addr(66)).is_empty(), "it is asked where it is");
}

/// Another member claims that a later life is at the member's address. The same process refutes a false claim, and stays
/// silent on a true one; another process does not know this node's token.
#[test]
fn a_later_life_counts_once_the_member_does_not_deny_it() {
    let later = Alive { epoch: EPOCH + 5, ..alive("m2", 0, addr(2)) };
    let denial = Alive { epoch: EPOCH + 6, ..alive("m2", 0, addr(2)) };
    let epoch_after = |restarted: bool, said: &[Message<'_>], answer: fn(u32) -> Message<'static>| {
        let mut bench = Bench::new(3);
        bench.receive(&later);
        assert_eq!(bench.member("m2").map(|m2| m2.identity.epoch), Some(EPOCH), "nobody has answered");
        bench.node.updates.clear();
        bench.pass(millis(300));
        let (mut seqs, mut is_told) = (Vec::new(), false);
        for (_, packet) in bench.sent().into_iter().filter(|(to, _)| *to == addr(2)) {
            messages(&packet, |message| match message {
                Message::Ping(ping) => seqs.push(ping.seq),
                Message::Alive(said) => is_told |= *said == later,
                _ => {}
            });
        }
        assert!(is_told, "it is told what is said of it");
        let token = if restarted { 0 } else { bench.node.token_for("m2", addr(2)) };
        let all: Vec<_> = seqs.into_iter().map(answer).chain(said.iter().cloned()).collect();
        bench.node.handle_datagram(bench.now, addr(2), &forge::proven_packet("m2", token, &all));
        let restarts = bench.kinds().iter().filter(|kind| **kind == "joined").count();
        let dropped = bench.node.metrics().dropped_unverified;
        (bench.member("m2").map(|m2| m2.identity.epoch - EPOCH), restarts, dropped)
    };
    let ack: fn(u32) -> Message<'static> = |seq| Message::Ack(Ack { seq });
    let retry: fn(u32) -> Message<'static> = |seq| Message::Retry(Retry { seq, token: 7 });
    assert_eq!(epoch_after(false, &[], ack), (Some(5), 1, 0), "it was told, and does not deny it");
    assert_eq!(epoch_after(false, &[Message::Alive(denial)], ack), (Some(6), 1, 0), "by its own word");
    let own = alive("m2", 0, addr(2));
    assert_eq!(epoch_after(false, &[Message::Alive(own)], ack), (Some(0), 0, 0), "it is who it was");
    assert_eq!(epoch_after(false, &[], retry), (Some(0), 0, 1), "it has not looked at what it was told");
    assert_eq!(epoch_after(true, &[], retry), (Some(5), 1, 0), "it was restarted");
    assert_eq!(epoch_after(true, &[], ack), (Some(5), 1, 0));
}

/// A bench whose member m2 missed the last probe.
fn with_silent_m2() -> Bench {
    let mut bench = Bench::new(3);
    let id = bench.node.table.find("m2").expect("it is listed");
    bench.node.table.contact_mut(id).silent = true;
    bench
}

#[test]
fn a_node_that_missed_the_last_probe_is_another_life_at_once() {
    let mut bench = with_silent_m2();
    bench.receive(&Alive { epoch: EPOCH + 5, ..alive("m2", 0, addr(2)) });
    assert_eq!(bench.member("m2").map(|m2| m2.identity.epoch), Some(EPOCH + 5));
}

#[test]
fn a_later_life_of_a_process_that_shows_no_token_counts_at_once() {
    let mut bench = with_silent_m2();
    bench.receive(&Alive { epoch: EPOCH + 5, ..alive("m2", 0, addr(2)) });
    bench.node.note_answer_at("m2", addr(2));
    bench.receive(&Alive { epoch: EPOCH + 6, ..alive("m2", 0, addr(2)) });
    assert_eq!(bench.member("m2").map(|m2| m2.identity.epoch), Some(EPOCH + 6));
}

#[test]
fn a_member_that_answers_again_is_not_moved_without_being_asked() {
    let mut bench = with_silent_m2();
    bench.meet("m2");
    bench.receive(&alive("m2", 1, addr(66)));
    assert_eq!(bench.member("m2").map(|m2| m2.addr), Some(addr(2)));
}

/// The probe, or its answer, was lost.
#[test]
fn a_member_heard_from_during_a_probe_that_fails_is_not_moved_without_being_asked() {
    let mut bench = Bench::new(2);
    loop {
        bench.pass(millis(50));
        if bench.node.metrics().probes_failed == 1 {
            break;
        }
        answers_come(&mut bench, Some(addr(2)));
        say(&mut bench, "m2", addr(2), &[]);
    }
    bench.receive(&alive("m2", 1, addr(66)));
    assert_eq!(bench.member("m2").map(|m2| m2.addr), Some(addr(2)));
}

/// The probe that fails is no accusation, as it was of another address.
#[test]
fn a_silent_member_that_is_said_to_be_elsewhere_during_its_probe_is_probed_next() {
    let mut bench = Bench::new(12);
    let id = bench.node.table.find("m2").expect("it is listed");
    bench.node.table.contact_mut(id).silent = true;
    bench.node.table.probe_next(id);
    let probed = |bench: &Bench| bench.node.table.get(id).contact.probed;
    let before = probed(&bench);
    while probed(&bench) == before {
        bench.pass(millis(50));
    }
    let first = probed(&bench);
    bench.receive(&alive("m2", 1, addr(66)));
    assert_eq!(bench.member("m2").map(|m2| m2.addr), Some(addr(66)));
    // Every other round is for members that are to be probed out of turn.
    for _ in 0..42 {
        answers_come(&mut bench, Some(addr(66)));
        bench.pass(millis(50));
    }
    assert!(probed(&bench) > first);
}

#[test]
fn a_host_has_a_member_asked_at_an_address_once_in_a_gossip_interval() {
    let mut bench = Bench::new(3);
    let mut asked = 0;
    for _ in 0..9 {
        bench.receive(&alive("m2", 1, addr(66)));
        bench.pass(millis(20));
        asked += bench.sent().iter().filter(|(to, _)| *to == addr(66)).count();
    }
    assert_eq!(asked, 1, "in 180 of 200 ms");
}

/// Two of one host: one moves to where names were made up, the other says so.
#[test]
fn a_move_that_another_of_the_host_tells_of_as_well_is_asked_about_once() {
    let (speaker, moving) = (SocketAddr::new(addr(90).ip(), 1), SocketAddr::new(addr(90).ip(), 2));
    for by_itself in [[true, false], [false, true]] {
        let mut bench = Bench::new(3);
        for (name, home) in [("s", speaker), ("v", moving)] {
            bench.receive(&alive(name, 0, home));
            bench.meet(name);
        }
        for name in ["z1", "z2", "z3", "z4"] {
            bench.receive(&alive(name, 0, addr(50)));
        }
        bench.pass(secs(1));
        bench.sent();
        let moves = Message::Alive(alive("v", 1, addr(50)));
        for own in by_itself {
            let (name, from) = if own { ("v", moving) } else { ("s", speaker) };
            say(&mut bench, name, from, std::slice::from_ref(&moves));
        }
        bench.pass(millis(200));
        let asked = bench.asked_at(addr(50));
        assert_eq!(asked.iter().filter(|target| *target == "v").count(), 1, "{asked:?}");
    }
}

/// A claim by stream does not count for the sender of the last datagram.
#[test]
fn a_claimed_move_counts_for_the_claimant_s_host() {
    let mut bench = Bench::new(12);
    bench.receive_from(addr(3), &alive("m3", 0, addr(3)));
    for i in 0..63 {
        let name = format!("m{}", 6 + i % 7);
        let claim = alive(&name, 1, SocketAddr::new(addr(90).ip(), 1000 + i));
        bench::tell(&mut bench.node, &Message::Alive(claim), addr(2));
    }
    bench::tell(&mut bench.node, &Message::Alive(alive("m5", 1, addr(66))), addr(2));
    bench.receive_from(addr(3), &alive("m5", 1, addr(66)));
    bench.pass(millis(500));
    let sent = bench.sent();
    assert!(
        sent.iter().any(|(to, _)| *to == addr(66)),
        "m3's word waits for none of m2's, the same one included"
    );
}

/// A member claims its own address, so counting by address would give it as many shares as it claims addresses.
#[test]
fn claims_of_a_member_count_for_the_host_where_it_answered() {
    let mut bench = Bench::new(90);
    bench.pass(millis(10));
    let lie = |bench: &mut Bench, who: usize, of: std::ops::Range<usize>| {
        let (name, names): (_, Vec<_>) = (format!("m{who}"), of.map(|i| format!("m{i}")).collect());
        let said = names.iter().enumerate().flat_map(|(i, other)| {
            let itself = alive(&name, 1 + i as u64, addr(9000 + who * 100 + i));
            [Message::Alive(itself), Message::Alive(alive(other, 1, addr(700)))]
        });
        say(bench, &name, addr(who), &said.collect::<Vec<_>>());
    };
    lie(&mut bench, 88, 10..80);
    say(&mut bench, "m3", addr(3), &[Message::Alive(alive("m7", 1, addr(500)))]);
    lie(&mut bench, 89, 10..12);
    let mut asked = 0;
    for _ in 0..300 {
        bench.pass(millis(100));
        let sent = bench.sent();
        asked += sent.iter().filter(|(to, packet)| *to == addr(500) && forge::ping(packet).is_some()).count();
        bench.events();
    }
    assert!(asked > 0, "m7 is asked where m3 says it is");
}

#[test]
fn of_two_claims_at_one_address_the_greater_counts_in_either_order() {
    for incarnations in [[1, 2], [2, 1]] {
        let mut bench = Bench::new(3);
        let [first, second] = incarnations.map(|incarnation| alive("m2", incarnation, addr(66)));
        bench.receive(&first).move_to(&second);
        assert_eq!(bench.standing("m2"), Some((MemberState::Alive, 2)), "{incarnations:?}");
        // Members of two hosts say it at the same time.
        let mut bench = Bench::new(3);
        bench.receive(&first);
        bench.receive_from(addr(3), &second);
        bench.pass(millis(200));
        let pings: Vec<_> = bench.sent().into_iter().filter(|(to, _)| *to == addr(66)).collect();
        for (seq, _) in pings.iter().filter_map(|(_, packet)| forge::ping(packet)) {
            bench.receive_as(Some("m2"), addr(66), &Ack { seq });
        }
        assert_eq!(bench.standing("m2"), Some((MemberState::Alive, 2)), "{incarnations:?}");
    }
}

#[test]
fn moves_that_wait_for_an_answer_are_counted() {
    let mut bench = Bench::new(4);
    assert_eq!(bench.node.moves.len(), 0);
    bench.receive(&alive("m2", 1, addr(66))).receive(&alive("m3", 1, addr(67)));
    assert_eq!(bench.node.moves.len(), 2);
    let mut pinged = Pinged::new(2);
    assert_eq!(pinged.len(), 0);
    assert_eq!([pinged.push(1, "a"), pinged.push(2, "b"), pinged.push(3, "c")], [false, false, true]);
    assert_eq!((pinged.len(), pinged.take(1), pinged.take(3), pinged.len()), (2, None, Some("c"), 1));
}

/// The node that asks may send from another address, to which no updates go; may have missed a greater identity whose update
/// ran out; and may have a clock that is ahead.
#[test]
fn a_node_that_is_claimed_to_be_another_life_answers_with_its_own_alive() {
    let answer = |epoch: u64, incarnation: u64, from: SocketAddr, is_away: bool| {
        let mut bench = Bench::new(3);
        let own = Identity { epoch: EPOCH, incarnation: 5 };
        bench.node.table.update(MemberId::SELF, &mut fastrand::Rng::new(), |record| record.identity = own);
        if is_away {
            bench.node.flaps.hold(own);
        }
        bench.node.updates.clear();
        let said = Message::Alive(Alive { epoch: EPOCH + epoch, ..alive("me", incarnation, addr(0)) });
        let token = bench.node.token_for("m2", addr(2));
        let ping = Message::Ping(Ping { seq: 5, target: "me" });
        bench.node.handle_datagram(bench.now, from, &forge::proven_packet("m2", token, &[ping, said]));
        let (mut acked, mut own) = (false, None);
        for (_, packet) in bench.sent() {
            messages(&packet, |message| match message {
                Message::Ack(ack) => acked |= ack.seq == 5,
                Message::Alive(Alive { name: "me", epoch, incarnation, .. }) => {
                    own = Some((epoch - EPOCH, *incarnation));
                }
                _ => {}
            });
        }
        (acked, own)
    };
    assert_eq!(answer(5, 0, addr(2), false), (true, Some((6, 0))), "a later life");
    assert_eq!(answer(0, 4, addr(2), false), (true, Some((0, 5))), "what it was");
    assert_eq!(answer(1 << 50, 0, addr(2), false), (true, Some((0, 5))), "what is not plausible here");
    assert_eq!(answer(5, 0, addr(2), true), (false, None), "who is away shows itself nowhere");
    assert_eq!(answer(0, 5, addr(2), false), (true, None), "it is so");
    let elsewhere = ([203, 0, 113, 7], 40_000).into();
    assert_eq!(
        answer(5, 0, elsewhere, false),
        (false, None),
        "its own Alive is long, and the source perhaps forged"
    );
    assert_eq!(answer(0, 5, elsewhere, false), (true, None));
}

/// While a member is asked about a claim, another member claims more about it. The answer confirms only the claim that the
/// question carried.
#[test]
fn an_answer_does_not_confirm_a_claim_that_came_after_the_question() {
    let mut bench = Bench::new(12);
    let tags = crate::wire::Tags::new([("k", "evil")]).unwrap();
    // A true claim: m5 took a later epoch, of which this node has not heard.
    bench.receive(&Alive { epoch: EPOCH + 1, ..alive("m5", 0, addr(5)) });
    let mut asked = None;
    for _ in 0..20 {
        bench.pass(millis(20));
        for (to, packet) in bench.sent() {
            let (mut ping, mut claimed) = (None, None);
            messages(&packet, |message| match message {
                Message::Ping(said) if to == addr(5) => ping = Some(said.seq),
                Message::Alive(said) if said.name == "m5" => claimed = Some(said.epoch),
                _ => {}
            });
            if claimed == Some(EPOCH + 1) && asked.is_none() {
                asked = ping;
            }
        }
        if asked.is_some() {
            break;
        }
    }
    let later = Alive { epoch: EPOCH + 1000, tags: tags.encoded(), ..alive("m5", 7, addr(5)) };
    say(&mut bench, "m2", addr(2), &[Message::Alive(later)]);
    say(&mut bench, "m5", addr(5), &[Message::Ack(Ack { seq: asked.expect("it is asked") })]);
    let member = bench.member("m5").unwrap();
    assert!(member.identity.epoch <= EPOCH + 1, "m5 said nothing of this: {:?}", member.identity);
}

/// A proven member sends from a forged source: the bytes that go to that source are bounded.
#[test]
fn a_denial_brings_no_third_party_more_bytes_than_an_ack() {
    use crate::wire::Tags;
    let tags = Tags::new([("k", "v".repeat(500))]).unwrap();
    let mut bench = Bench::new(3);
    bench.node.table.update(MemberId::SELF, &mut bench.node.rng, |own| own.tags = tags);
    let mut cost = |claim: bool| {
        let token = bench.node.token_for("m1", addr(1));
        let mut said = vec![Message::Ping(Ping { seq: 7, target: "me" })];
        if claim {
            said.push(Message::Alive(Alive { epoch: EPOCH - 1, ..alive("me", 0, addr(0)) }));
        }
        let packet = forge::proven_packet("m1", token, &said);
        bench.sent();
        bench.node.handle_datagram(bench.now, addr(777), &packet);
        let sent = bench.sent();
        assert!(sent.iter().all(|(to, _)| *to == addr(777)));
        (packet.len(), sent.iter().map(|(_, packet)| packet.len()).sum::<usize>())
    };
    let (plain, denied) = (cost(false), cost(true));
    assert!(denied.1 <= denied.0.max(plain.1), "{denied:?}");
}
