//! The two sides of each limit.

use std::net::SocketAddr;

use super::{
    super::{
        Config, Identity, JoinProblem, JoinResult,
        MemberState::{Alive, Failed, Suspect},
        Node, Output, StreamStep,
        claims::Authority,
        member::Record,
        phase::Phase,
        session::Purpose,
        stream::MAX_STREAMS,
        updates::transmit_limit,
    },
    bench::{Bench, EPOCH, alive, failed, left, messages, packet_from, packet_of, suspect},
    world::{addr, millis, secs},
};
use crate::wire::{
    Tags, hash,
    message::{self, Ack, End, Message, PingReq, Retry},
};

#[test]
fn no_more_than_four_members_are_listed_at_one_address() {
    let mut bench = Bench::new(1);
    for name in ["a", "b", "c", "d", "e"] {
        bench.receive(&alive(name, 0, addr(9)));
    }
    let listed = ["a", "b", "c", "d", "e"].map(|name| bench.standing(name).is_some());
    assert_eq!(listed, [true, true, true, true, false]);
    assert_eq!(bench.node.metrics().refused_members, 1);
    bench.receive(&alive("e", 0, addr(8)));
    assert_eq!(bench.standing("e"), Some((Alive, 0)), "elsewhere there is room");
}

/// Four made-up names at a member's address, or with the mark of its name, do not keep it out.
#[test]
fn made_up_names_keep_no_present_member_out() {
    let mut bench = Bench::new(2);
    bench.receive(&failed("m2", 0));
    for ghost in ["a", "b", "c", "d"] {
        bench.receive(&alive(ghost, 0, addr(2)));
    }
    // On another member's word: m2 has answered there before.
    bench.receive(&alive("m2", 1, addr(2)));
    assert_eq!(bench.standing("m2"), Some((Alive, 1)));
    for ghost in ["e", "f", "g", "h"] {
        bench.receive(&alive(ghost, 0, addr(9)));
    }
    bench.receive(&alive("new", 0, addr(9)));
    assert_eq!(bench.standing("new"), None, "anybody can say so");
    bench.node.on_alive(&alive("new", 0, addr(9)), Authority::Itself);
    assert_eq!(bench.standing("new"), Some((Alive, 0)), "it says so itself");
    bench.sent();
    bench.events();
    bench.node.audit().unwrap();
}

/// Members that return have places of their own. A newcomer takes the place of a member that never answered, even if members
/// that returned hold the last ones.
#[test]
fn a_newcomer_takes_a_place_while_members_that_returned_have_the_last_ones() {
    let mut config = Config::lan("me");
    config.max_members = 32;
    let mut bench = Bench::with(config, 5);
    bench.receive(&failed("m2", 0));
    let mut at = 10;
    while bench.node.live() < 30 {
        bench.receive(&alive(&format!("x{at}"), 0, addr(at)));
        at += 1;
    }
    bench.receive(&alive("m2", 1, addr(2)));
    assert_eq!(bench.node.live(), 31);
    bench.receive(&alive("new", 0, addr(9)));
    assert!(bench.member("new").is_some(), "somebody was evicted for it");
    assert_eq!((bench.node.live(), bench.node.metrics().evicted_members), (31, 1));
}

/// A member that moves has been proven only at its old address.
#[test]
fn a_member_that_claims_to_move_takes_no_other_s_place() {
    let mut bench = Bench::new(1);
    for name in ["v", "a", "b", "c"] {
        bench.receive(&alive(name, 0, addr(9)));
    }
    bench.events();
    bench.receive(&alive("m1", 1, addr(9)));
    assert_eq!((bench.kinds(), bench.member("m1").map(|m1| m1.addr)), (vec![], Some(addr(1))));
}

#[test]
fn no_other_member_is_listed_at_a_nodes_own_address() {
    let mut bench = Bench::new(1);
    bench.receive(&alive("ghost", 0, addr(0)));
    bench.receive(&alive("m1", 1, addr(0)));
    assert_eq!((bench.standing("ghost"), bench.standing("m1")), (None, Some((Alive, 0))));
    assert_eq!(bench.node.metrics().refused_members, 2);
}

/// Names with the mark of the last one; finding them took seconds.
pub(super) const SAME_MARK: [&str; 5] =
    ["node-b1973a4b{", "node-b29b2e2xu", "node-b2bc451rT", "node-b3d44cbu5", "node-b"];

/// Names with one mark cost seconds to find. Those that never answered make room; those that answered do not.
#[test]
fn made_up_names_of_one_mark_keep_no_real_member_out() {
    for (state, met, by_another, by_itself) in [
        (Failed, false, true, true),
        (Alive, false, false, true),
        (Failed, true, false, false),
        (Alive, true, false, false),
    ] {
        let mut bench = Bench::new(1);
        let Node { table, rng, .. } = &mut bench.node;
        for i in 0..16 {
            let identity = Identity { epoch: EPOCH, incarnation: 0 };
            let mut record = Record::new(format!("x{i}").into(), addr(20 + i), state, identity, bench.now);
            record.mark = hash::member("new");
            let id = table.insert(record, rng);
            table.update(id, rng, |record| {
                (record.contact.met, record.contact.met_on_host) = (met, met.into())
            });
        }
        bench.receive(&alive("new", 0, addr(9)));
        assert_eq!(bench.member("new").is_some(), by_another, "{state}, met {met}: by another's word");
        bench.node.on_alive(&alive("new", 0, addr(9)), Authority::Itself);
        assert_eq!(bench.member("new").is_some(), by_itself, "{state}, met {met}: by itself");
    }
}

/// An attacker that takes names of a member's mark and answers under all of them does not keep that member out, be it live
/// and not met yet, departed, or new: of one host only two such names count, and no member makes room for them.
#[test]
fn names_of_one_mark_take_no_members_place() {
    for (known, met, departed) in
        [(false, false, false), (true, false, false), (true, true, false), (true, true, true)]
    {
        let mut bench = Bench::new(1);
        let member = SAME_MARK[4];
        if known {
            bench.receive(&alive(member, 0, addr(5)));
        }
        if met {
            bench.meet(member);
        }
        if departed {
            bench.receive(&failed(member, 0));
        }
        let before = bench.standing(member);
        for (i, name) in SAME_MARK[..4].iter().enumerate() {
            let home = SocketAddr::new(addr(9).ip(), 1000 + i as u16);
            bench.node.on_alive(&alive(name, 0, home), Authority::Itself);
            if bench.member(name).is_some() {
                bench.meet(name);
            }
        }
        let listed = SAME_MARK[..4].iter().filter(|name| bench.member(name).is_some()).count();
        assert_eq!((listed, bench.standing(member)), (2, before), "known {known}, met {met}");
        bench.node.on_alive(&alive(member, 1, addr(5)), Authority::Itself);
        assert_eq!(bench.standing(member), Some((Alive, 1)), "known {known}, met {met}");
        bench.sent();
        bench.events();
        bench.node.audit().unwrap();
    }
}

/// A name that moves to a host is one more there.
#[test]
fn names_of_one_mark_do_not_gather_on_a_host_by_moving() {
    assert!(SAME_MARK.iter().all(|name| hash::member(name) == hash::member("node-b")));
    let mut bench = Bench::new(1);
    for (i, name) in SAME_MARK[..3].iter().enumerate() {
        bench.receive(&alive(name, 0, addr(20 + i)));
        bench.meet(name);
        bench
            .node
            .on_alive(&alive(name, 1, SocketAddr::new(addr(9).ip(), 1000 + i as u16)), Authority::Itself);
        bench.meet(name);
    }
    let on_host = SAME_MARK[..3]
        .iter()
        .filter(|name| bench.member(name).is_some_and(|member| member.addr.ip() == addr(9).ip()));
    assert_eq!(on_host.count(), 2);
}

/// Names that have answered elsewhere, and are claimed to be on a member's host, count where they answered. Names at the
/// member's address make room.
#[test]
fn names_that_others_move_keep_no_member_from_its_host_and_address() {
    let mut bench = Bench::new(3);
    let said_to_be = |bench: &mut Bench, name: &str, at: SocketAddr| {
        let id = bench.node.table.find(name).expect("it is listed");
        bench.node.table.contact_mut(id).silent = true;
        bench.receive(&alive(name, 1, at));
        assert_eq!(bench.member(name).map(|member| member.addr), Some(at));
    };
    for (i, name) in SAME_MARK[..2].iter().enumerate() {
        bench.receive(&alive(name, 0, SocketAddr::new(addr(9).ip(), 1000 + i as u16)));
        bench.meet(name);
    }
    SAME_MARK[..2].iter().for_each(|name| said_to_be(&mut bench, name, SocketAddr::new(addr(5).ip(), 1)));
    for i in 0..4 {
        let name = format!("x{i}");
        bench.receive(&alive(&name, 0, SocketAddr::new(addr(9).ip(), 2000 + i)));
        bench.meet(&name);
    }
    (0..4).for_each(|i| said_to_be(&mut bench, &format!("x{i}"), addr(5)));
    bench.node.on_alive(&alive(SAME_MARK[4], 0, addr(5)), Authority::Itself);
    assert_eq!(bench.standing(SAME_MARK[4]), Some((Alive, 0)));
    let listed =
        (0..4).filter(|i| bench.standing(&format!("x{i}")).is_some_and(|(state, _)| state.is_live()));
    assert_eq!(listed.count(), 3, "one has made room");
    assert_eq!(bench.node.metrics().failed_members, 1, "it is remembered");
    bench.sent();
    bench.events();
    bench.node.audit().unwrap();
}

/// Two names move to a host and are silent until two others are listed there: each claim alone says that there is room.
#[test]
fn names_of_one_mark_do_not_gather_on_a_host_before_they_answer() {
    let mut bench = Bench::new(1);
    let (a, b) = (|port| SocketAddr::new(addr(9).ip(), port), |port| SocketAddr::new(addr(8).ip(), port));
    for (i, name) in SAME_MARK[..2].iter().enumerate() {
        bench.receive(&alive(name, 0, a(1000 + i as u16)));
        bench.meet(name);
    }
    for (i, name) in SAME_MARK[..2].iter().enumerate() {
        bench.node.on_alive(&alive(name, 1, b(1000 + i as u16)), Authority::Itself);
    }
    for (i, name) in SAME_MARK[2..4].iter().enumerate() {
        bench.receive(&alive(name, 0, b(2000 + i as u16)));
    }
    for name in &SAME_MARK[..4] {
        assert!(bench.member(name).is_some());
        bench.meet(name);
    }
    let table = &bench.node.table;
    let on = |at| table.met_on_host(table.hash_host(at));
    assert_eq!((on(a(1)), on(b(1))), (2, 2));
}

/// Four names at one address: an answer of one does not prove the others.
#[test]
fn a_node_that_answers_in_an_exchange_is_met() {
    let mut bench = Bench::new(0);
    bench.sync(Message::Alive(alive("m1", 0, addr(1))));
    for name in ["a", "b"] {
        bench.sync(Message::Alive(alive(name, 0, addr(1))));
    }
    let stream = bench.node.open(Purpose::Sync, addr(1), secs(1)).expect("there is room");
    while bench.node.poll_stream(bench.now, stream, &mut Vec::new()) == StreamStep::Send {}
    bench.node.handle_frame(bench.now, stream, &packet_from(hash::member("m1"), 0, &End {}));
    let met = |name| bench.node.table.get(bench.node.table.find(name).unwrap()).contact.met;
    assert_eq!(["m1", "a", "b"].map(met), [true, false, false]);
}

#[test]
fn a_displaced_node_stays_so_while_the_holder_is_only_suspected() {
    let mut bench = Bench::new(3);
    bench.node.confirm_conflict(bench.node.local().identity, addr(50));
    bench.receive(&suspect("me", 0, &["m1"]));
    assert_eq!(bench.node.phase, Phase::Displaced);
    assert_eq!(bench.node.local().identity.incarnation, 0);
}

#[test]
fn streams_from_others_are_refused_once_there_are_too_many() {
    let mut bench = Bench::new(1);
    let taken = (0..200).filter(|_| bench.node.accept_stream(bench.now, addr(9)).is_some()).count();
    assert_eq!((taken, bench.node.metrics().refused_streams), (MAX_STREAMS, (200 - MAX_STREAMS) as u64));
}

#[test]
fn no_more_failed_members_are_tried_again_than_configured() {
    let config = Config { max_reconnects: 2, ..Config::lan("me") };
    let mut bench = Bench::with(config, 4);
    ["m2", "m3"].iter().for_each(|name| _ = bench.receive(&failed(name, 0)));
    assert_eq!((bench.node.reconnects.len(), bench.node.metrics().evicted_reconnects), (2, 0));
    bench.receive(&failed("m4", 0));
    assert_eq!((bench.node.reconnects.len(), bench.node.metrics().evicted_reconnects), (2, 1));
    bench.receive(&alive("m4", 1, addr(4)));
    assert_eq!(bench.node.reconnects.len(), 1, "it is back");
}

/// The requester has not heard that the target is gone, and would take silence for bad reception of its own.
#[test]
fn a_node_that_is_gone_is_pinged_for_others_as_any_other() {
    let mut bench = Bench::new(3);
    bench.receive(&failed("m2", 0)).receive(&failed("nowhere", 0));
    bench.sent();
    bench.receive(&PingReq { seq: 5, target: "m2", window_ms: 500 });
    assert_eq!(bench.sent().iter().map(|(to, _)| *to).collect::<Vec<_>>(), [addr(2)]);
    let mut nacks = vec![];
    bench.pass(millis(450));
    for (_, packet) in bench.sent() {
        messages(&packet, |message| {
            if let Message::Nack(nack) = message {
                nacks.push(nack.seq);
            }
        });
    }
    assert_eq!(nacks, [5]);
    // A member that has left answers, too.
    bench.receive(&left("m3", 0));
    bench.sent();
    bench.receive(&PingReq { seq: 7, target: "m3", window_ms: 500 });
    let sent = bench.sent();
    assert!(sent.len() == 1 && sent[0].0 == addr(1), "its nack");
    bench.receive(&PingReq { seq: 6, target: "nowhere", window_ms: 500 });
    let sent = bench.sent();
    assert!(sent.len() == 1 && sent[0].0 == addr(1), "its nack");
    bench.receive_as(Some("m1"), addr(1), &PingReq { seq: 5, target: "m2", window_ms: 500 });
    assert_eq!((bench.sent().len(), bench.node.metrics().refused_relays), (0, 3), "it shows no token");
}

/// The number of a ping that waits to be sent to an address.
fn pinged(bench: &mut Bench, at: SocketAddr) -> Option<u32> {
    let mut seq = None;
    for (_, packet) in bench.sent().iter().filter(|(to, _)| *to == at) {
        messages(packet, |message| {
            if let Message::Ping(ping) = message {
                seq = Some(ping.seq);
            }
        });
    }
    seq
}

/// Otherwise an attacker that finds a name with another's mark could end each probe that is relayed for that other member.
#[test]
fn probes_are_relayed_for_two_members_of_one_mark() {
    let mut bench = Bench::new(2);
    let requesters = SAME_MARK[..2].iter().zip([addr(8), addr(9)]);
    for (name, home) in requesters.clone() {
        bench.sync(Message::Alive(alive(name, 0, home)));
        bench.meet(name);
    }
    bench.sent();
    let relayed: Vec<_> = requesters
        .map(|(_, home)| {
            bench.receive_from(home, &PingReq { seq: 5, target: "m2", window_ms: 500 });
            (home, pinged(&mut bench, addr(2)).expect("it is asked"))
        })
        .collect();
    assert_eq!(bench.node.relays.len(), 2);
    for (home, seq) in relayed {
        bench.receive_from(addr(2), &Ack { seq });
        assert_eq!(
            bench.sent().iter().map(|(to, _)| *to).collect::<Vec<_>>(),
            [home],
            "its answer is passed on"
        );
    }
}

#[test]
fn an_answer_that_is_waited_for_is_not_stray() {
    let mut bench = Bench::new(3);
    bench.receive(&PingReq { seq: 5, target: "m2", window_ms: 500 });
    let relayed = pinged(&mut bench, addr(2)).expect("it is asked");
    bench.receive_from(addr(2), &Ack { seq: relayed });
    assert_eq!(bench.node.relays.len(), 0);
    // A failed member is tried again, and answers.
    bench.node.phase = Phase::Starting;
    bench.receive(&failed("m3", 0));
    bench.node.phase = Phase::Live;
    bench.sent();
    let tried = (0..100).find_map(|_| {
        bench.pass(millis(100));
        pinged(&mut bench, addr(3))
    });
    bench.receive_from(addr(3), &Ack { seq: tried.expect("it is tried") });
    assert_eq!(bench.node.metrics().dropped_stray_answers, 0);
}

/// The results of trying the seeds.
fn seeds_tried(bench: &mut Bench, addrs: &[SocketAddr]) -> Vec<JoinResult> {
    bench.node.handle_seeds(bench.now, addrs);
    let outputs = std::iter::from_fn(|| bench.node.poll_output());
    outputs
        .filter_map(|output| match output {
            Output::SeedsTried { result } => Some(result),
            _ => None,
        })
        .collect()
}

#[test]
fn seeds_that_are_members_are_not_joined_again_and_no_seeds_are_none() {
    let mut bench = Bench::new(3);
    assert_eq!(seeds_tried(&mut bench, &[addr(1), addr(2)]), [Ok(2)]);
    assert_eq!(seeds_tried(&mut bench, &[]), [Err(JoinProblem::NoAddress)]);
    assert_eq!(seeds_tried(&mut bench, &[addr(1), addr(9)]), [], "one is being joined");
}

#[test]
fn a_table_of_many_frames_is_told_as_a_whole() {
    let tags = Tags::new([("tag", "x".repeat(400))]).unwrap();
    let mut bench = Bench::new(1);
    for i in 0..300 {
        let name = format!("x{i}");
        let claim = message::Alive { tags: tags.encoded(), ..alive(&name, 0, addr(100 + i)) };
        bench.sync(Message::Alive(claim));
    }
    let stream = bench.node.accept_stream(bench.now, addr(1)).expect("there is room");
    bench.node.handle_frame(
        bench.now,
        stream,
        &packet_of(&message::Hello { name: "m1", digest: 0, removals: 0 }),
    );
    let (mut frame, mut frames, mut told) = (Vec::new(), 0, 0);
    while frames < 1000 && told < 302 {
        match bench.node.poll_stream(bench.now, stream, &mut frame) {
            StreamStep::Send => {
                frames += 1;
                messages(&frame, |message| match message {
                    Message::BucketDigests(_) => {}
                    message => told += usize::from(matches!(message, Message::Alive(_))),
                });
            }
            step => panic!("{step:?} after {told} of them, in {frames} frames"),
        }
    }
    assert!(frames > 3, "{frames}");
}

#[test]
fn a_node_that_says_itself_that_it_leaves_need_not_be_told() {
    for (speaker, told) in [(2, 0), (1, 1)] {
        let mut bench = Bench::new(3);
        bench.receive_from(addr(speaker), &left("m2", 0));
        assert_eq!(bench.node.lately_departed.len(), told, "m{speaker} says so");
    }
}

#[test]
fn updates_are_not_spent_on_the_member_they_are_about() {
    let lefts = |sent: &[(SocketAddr, Vec<u8>)], to_leaver: bool| {
        let mut told = 0;
        for (_, packet) in sent.iter().filter(|(to, _)| (*to == addr(2)) == to_leaver) {
            messages(packet, |message| told += u32::from(matches!(message, Message::Left(_))));
        }
        told
    };
    let mut bench = Bench::new(3);
    let leaver = bench.node.table.get(bench.node.table.find("m2").expect("it is a member"));
    let (mark, token) = (leaver.mark, leaver.contact.given);
    bench.receive_from(addr(2), &left("m2", 0));
    for seq in 0..10 {
        let ping = packet_from(mark, token, &message::Ping { seq, target: "me" });
        bench.node.handle_datagram(bench.now, addr(2), &ping);
    }
    assert_eq!(lefts(&bench.sent(), true), 10, "each ack says that it was heard");
    bench.pass(millis(5_000));
    let limit = transmit_limit(bench.node.config().retransmit_mult, bench.node.live());
    assert_eq!(lefts(&bench.sent(), false), limit);
}

#[test]
fn a_ghost_is_refuted_only_if_it_supersedes_us() {
    let identity = |incarnation| Identity { epoch: EPOCH, incarnation };
    let mut bench = Bench::new(3);
    bench.receive(&failed("me", 4));
    let ours = bench.node.local().identity;
    assert_eq!((ours, bench.node.metrics().refutations), (identity(5), 1));
    bench.node.dismiss_conflict(identity(4));
    assert_eq!((bench.node.local().identity, bench.node.metrics().refutations), (ours, 1));
    bench.node.dismiss_conflict(ours);
    assert_eq!((bench.node.local().identity, bench.node.metrics().refutations), (identity(6), 2));
}

#[test]
fn updates_go_in_rounds_to_members_that_have_answered() {
    let mut bench = Bench::new(3);
    // Without probes.
    bench.node.phase = Phase::Starting;
    bench.receive(&left("m3", 0));
    bench.pass(millis(50));
    let sent = bench.sent();
    let told = |at| {
        let mut told = false;
        for (_, packet) in sent.iter().filter(|(to, _)| *to == at) {
            messages(packet, |message| told |= matches!(message, Message::Left(left) if left.name == "m3"));
        }
        told
    };
    assert!(told(addr(1)) && told(addr(2)));
}

#[test]
fn relays_are_picked_from_members_that_have_answered_if_there_are_any() {
    for (answered, picked) in [(0, &["x1", "x2", "x3", "x4"][..]), (2, &["m1", "m2"])] {
        let mut bench = Bench::new(answered);
        for (i, name) in ["x1", "x2", "x3", "x4"].into_iter().enumerate() {
            bench.sync(Message::Alive(alive(name, 0, addr(10 + i))));
        }
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..50 {
            names.extend(bench.node.pick_alive(3, None).into_iter().map(|(name, _)| name.to_string()));
        }
        assert!(names.iter().eq(picked), "{names:?}");
    }
}

#[test]
fn one_members_bad_record_does_not_keep_the_others_from_being_heard() {
    let mut bench = Bench::new(1);
    let stream = bench.node.accept_stream(bench.now, addr(1)).expect("there is room");
    let token = bench.node.table.get(bench.node.table.find("m1").unwrap()).contact.given;
    let mut frame =
        packet_from(hash::member("m1"), token, &message::Hello { name: "m1", digest: 0, removals: 0 });
    bench.node.handle_frame(bench.now, stream, &frame);
    while bench.node.poll_stream(bench.now, stream, &mut frame) == StreamStep::Send {}
    // An empty name.
    for name in ["", "new"] {
        let said = packet_from(hash::member("m1"), token, &alive(name, 0, addr(9)));
        bench.node.handle_frame(bench.now, stream, &said);
    }
    assert_eq!(bench.node.metrics().dropped_malformed, 1);
    assert_eq!(bench.standing("new"), Some((Alive, 0)));
}

#[test]
fn a_probe_accuses_no_departed_member_and_no_other_life() {
    let mut bench = Bench::new(3);
    bench.receive(&failed("m2", 0));
    bench.node.accuse("m2", EPOCH, &[]);
    bench.node.accuse("m1", EPOCH - 1, &[]);
    assert_eq!((bench.standing("m2"), bench.standing("m1")), (Some((Failed, 0)), Some((Alive, 0))));
    bench.node.accuse("m1", EPOCH, &[]);
    assert_eq!(bench.standing("m1"), Some((Suspect, 0)));
}

#[test]
fn a_member_that_answers_a_challenge_gets_the_updates() {
    let mut bench = Bench::new(0);
    // Without probes.
    bench.node.phase = Phase::Starting;
    bench.sync(Message::Alive(alive("x", 0, addr(9))));
    bench.pass(millis(300));
    let seq = pinged(&mut bench, addr(9)).expect("it is challenged");
    bench.node.announce();
    let answer = packet_from(hash::member("x"), 0, &Retry { seq, token: 7 });
    bench.node.handle_datagram(bench.now, addr(9), &answer);
    let x = bench.node.table.get(bench.node.table.find("x").expect("it is listed"));
    assert_eq!((x.contact.met, x.contact.held), (true, 7));
    assert_eq!(bench.node.metrics().dropped_stray_answers, 0);
    assert_eq!(bench.sent()[0].0, addr(9));
}

#[test]
fn every_byte_that_came_is_counted_once() {
    let mut bench = Bench::new(1);
    let before = bench.node.metrics();
    let packet = packet_of(&Ack { seq: 1 });
    for bytes in [&packet[..], &packet[..5], &packet[..]] {
        bench.node.handle_datagram(bench.now, addr(1), bytes);
    }
    let after = bench.node.metrics();
    let came = after.bytes_received - before.bytes_received;
    assert_eq!(
        (after.datagrams_received - before.datagrams_received, came),
        (3, 2 * packet.len() as u64 + 5)
    );
}

#[test]
fn a_message_that_has_no_place_in_a_stream_ends_it_and_is_counted() {
    let mut bench = Bench::new(1);
    for (times, said) in [packet_of(&Ack { seq: 1 }), packet_of(&message::End {})].iter().enumerate() {
        let stream = bench.node.accept_stream(bench.now, addr(1)).expect("there is room");
        bench.node.handle_frame(bench.now, stream, said);
        assert_eq!(bench.node.poll_stream(bench.now, stream, &mut Vec::new()), StreamStep::Close);
        assert_eq!(bench.node.metrics().dropped_malformed, times as u64 + 1);
    }
}

#[test]
fn the_audit_notices_outputs_that_a_driver_left_behind() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.node.audit(), Ok(()));
    bench.receive(&message::Ping { seq: 1, target: "me" });
    assert!(bench.node.audit().is_err(), "an answer");
    bench.sent();
    assert_eq!(bench.node.audit(), Ok(()));
    bench.receive(&alive("new", 0, addr(9)));
    assert!(bench.node.audit().is_err(), "an event");
}

#[test]
fn a_silent_past_life_is_superseded_only_while_no_member_knows_this_one() {
    let past = Identity { epoch: EPOCH + 5, incarnation: 2 };
    for (starting, epoch) in [(true, EPOCH + 6), (false, EPOCH)] {
        let mut bench = Bench::new(0);
        if starting {
            bench.node.phase = Phase::Starting;
        }
        bench.node.past_life_is_silent(past, addr(9));
        assert_eq!(bench.node.local().identity.epoch, epoch, "starting: {starting}");
    }
}

#[test]
fn seeds_that_are_sought_later_are_asked_for_after_the_usual_delay() {
    let mut bench = Bench::new(0);
    bench.node.seek_seeds_later(bench.now);
    let asks = |bench: &mut Bench| {
        std::iter::from_fn(|| bench.node.poll_output()).any(|output| matches!(output, Output::ResolveSeeds))
    };
    assert!(!asks(&mut bench));
    bench.pass(2 * Config::lan("me").seed_max_delay);
    assert!(asks(&mut bench));
}

#[test]
fn a_node_that_is_listed_goes_live_without_an_answer_unless_its_name_is_taken() {
    for (result, others, live) in [
        (Err(JoinProblem::TimedOut { addr: addr(9) }), 1, true),
        (Err(JoinProblem::TimedOut { addr: addr(9) }), 0, false),
        (Err(JoinProblem::NameTaken { holder: addr(9) }), 1, false),
    ] {
        let mut bench = Bench::new(others);
        bench.node.phase = Phase::Starting;
        bench.node.live_with_company(&result);
        assert_eq!(bench.node.phase == Phase::Live, live, "{result:?}, {others} others");
    }
}

/// A table tells a suspect with its suspicion behind it.
#[test]
fn a_table_tells_where_a_suspect_lives_and_that_it_is_suspected() {
    let mut bench = Bench::new(2);
    bench.receive(&suspect("m2", 0, &["m1"]));
    let stream = bench.node.accept_stream(bench.now, addr(1)).expect("there is room");
    let hello = message::Hello { name: "m1", digest: 0, removals: 0 };
    bench.node.handle_frame(bench.now, stream, &packet_of(&hello));
    let (mut frame, mut told) = (Vec::new(), Vec::new());
    while bench.node.poll_stream(bench.now, stream, &mut frame) == StreamStep::Send {
        messages(&frame, |message| match message {
            Message::Alive(alive) if alive.name == "m2" => told.push("alive"),
            Message::Suspect(suspect) if suspect.name == "m2" => told.push("suspect"),
            _ => {}
        });
    }
    assert_eq!(told, ["alive", "suspect"]);
}
