//! A dead member that others say is alive, and what they do to have that believed.

use std::net::SocketAddr;

use super::{
    super::{Config, MemberState, claims::Authority, session::Purpose},
    bench::{Bench, EPOCH, alive, failed, gone, left, messages, say},
    world::{addr, millis, secs},
};
use crate::{
    sim::forge,
    wire::message::{Ack, Alive, Message, Nack},
};

/// All answer but for one member, wherever it is pinged; and nobody does in its name.
fn answers_come_but_for(bench: &mut Bench, dead: &str, ghosts: impl Fn(SocketAddr) -> bool) {
    let at = bench.member(dead).map_or(addr(0), |member| member.addr);
    answers_come_from(bench, at, |target, to| target != dead && !ghosts(to));
}

/// Those answer that are chosen, by name and address; nobody is asked at the address of the dead one whether another answers.
fn answers_come_from(bench: &mut Bench, dead: SocketAddr, answers: impl Fn(&str, SocketAddr) -> bool) {
    for (to, packet) in bench.sent() {
        let mut answer = None;
        messages(&packet, |message| match message {
            Message::Ping(ping) if answers(ping.target, to) => {
                answer = Some((ping.target.to_owned(), Message::Ack(Ack { seq: ping.seq })));
            }
            Message::PingReq(request) if to != dead => {
                answer = Some((String::new(), Message::Nack(Nack { seq: request.seq })));
            }
            _ => {}
        });
        match answer {
            Some((target, said @ Message::Ack(_))) => say(bench, &target, to, &[said]),
            Some((_, Message::Nack(nack))) => _ = bench.receive_from(to, &nack),
            _ => {}
        }
    }
}

fn none(_: SocketAddr) -> bool {
    false
}

fn missed(bench: &Bench, name: &str) -> u32 {
    bench.node.table.find(name).map_or(0, |id| bench.node.table.get(id).contact.missed())
}

/// So many more names are said to be there, and nobody is.
fn tell_of_ghosts(bench: &mut Bench, ghosts: &mut usize, more: usize) {
    for _ in 0..more {
        *ghosts += 1;
        let name = format!("ghost-{ghosts}");
        say(bench, "m1", addr(1), &[Message::Alive(alive(&name, 0, addr(1000 + *ghosts)))]);
    }
}

fn is_ghost(at: SocketAddr) -> bool {
    at.ip() >= addr(1000).ip()
}

/// After its first failed probe a member is moved by hearsay, and so counts as one that never answered. At an address of the
/// insider's own, where three of its names answer, a fourth one takes its place: it is forgotten, and with it how often it was
/// missed. Then it is said to be there anew.
#[test]
fn a_dead_member_is_not_forgotten_and_listed_anew_for_ever() {
    let mut bench = Bench::new(12);
    let home = addr(99);
    for name in ["g1", "g2", "g3", "g4"] {
        bench.receive(&alive(name, 0, home));
        bench.meet(name);
    }
    let (mut g4, mut listed) = (0, 0);
    say(&mut bench, "g4", home, &[Message::Left(left("g4", g4))]);
    for _ in 0..12_000 {
        bench.pass(millis(100));
        answers_come_but_for(&mut bench, "m5", none);
        if let Some((state, incarnation)) = bench.standing("m5") {
            listed += usize::from(state.is_live());
            if state == MemberState::Suspect || !state.is_live() {
                let moved = Message::Alive(alive("m5", incarnation + 1, home));
                say(&mut bench, "m1", addr(1), &[moved]);
                let before = [Message::Left(left("g4", g4)), Message::Alive(alive("g4", g4 + 1, home))];
                say(&mut bench, "g4", home, &before);
                g4 += 1;
                say(&mut bench, "g4", home, &[Message::Left(left("g4", g4))]);
                let anew = Message::Alive(alive("m5", incarnation + 2, addr(5)));
                say(&mut bench, "m1", addr(1), &[anew]);
            }
        }
    }
    assert!(listed < 3000, "m5 is dead, and listed as live for {} s of 1200 s", listed / 10);
}

/// The same in a table that is full of names that never answered: new ones take its place.
#[test]
fn a_dead_member_makes_no_room_in_a_full_table() {
    let mut bench = Bench::with(Config { max_members: 128, ..Config::lan("me") }, 12);
    let (mut ghosts, mut listed) = (0, 0);
    for step in 0..18_000_u64 {
        bench.pass(millis(100));
        answers_come_but_for(&mut bench, "m5", is_ghost);
        bench.events();
        if step % 20 == 0 {
            tell_of_ghosts(&mut bench, &mut ghosts, 20);
            let at = [addr(5), addr(70_000 + step as usize)][step as usize / 20 % 2];
            say(&mut bench, "m1", addr(1), &[Message::Alive(alive("m5", step, at))]);
        }
        listed += usize::from(bench.is_live("m5"));
    }
    assert!(listed < 6000, "m5 is dead, and listed as live for {} s of 1800 s", listed / 10);
}

/// Departed, it is among the first to be forgotten, as it counts as one that never answered.
#[test]
fn a_dead_member_that_was_moved_is_remembered_before_made_up_ones() {
    let mut bench = Bench::with(Config { max_departed: 64, ..Config::lan("me") }, 12);
    let (mut made_up, mut listed) = (0, 0);
    for _ in 0..12_000 {
        bench.pass(millis(100));
        answers_come_but_for(&mut bench, "m5", none);
        bench.events();
        let Some((state, incarnation)) = bench.standing("m5") else { continue };
        listed += usize::from(state.is_live());
        if state == MemberState::Suspect || !state.is_live() {
            say(&mut bench, "m1", addr(1), &[Message::Alive(alive("m5", incarnation + 1, addr(70_000)))]);
            say(&mut bench, "m1", addr(1), &[Message::Failed(failed("m5", incarnation + 1))]);
            for _ in 0..65 {
                made_up += 1;
                let name = format!("x{made_up}");
                bench.sync(gone(&name, 0, false, 0));
                bench.pass(millis(1));
            }
            say(&mut bench, "m1", addr(1), &[Message::Alive(alive("m5", incarnation + 2, addr(5)))]);
        }
    }
    assert!(listed < 3000, "m5 is dead, and listed as live for {} s of 1200 s", listed / 10);
}

/// How long, from its first failed probe on, until three have failed in a row, and it is listed as live no longer; in tenths of a
/// second. After the first, `lie` is told once in each tenth.
fn takes(members: usize, ghosts: usize, mut lie: impl FnMut(&mut Bench, u64)) -> (usize, usize) {
    let mut bench = Bench::with(Config::lan("me"), members);
    for i in 0..ghosts {
        bench.receive(&alive(&format!("ghost-{i}"), 0, addr(1000 + i)));
    }
    let (mut first, mut known) = (None, None);
    for step in 0..60_000 {
        bench.pass(millis(100));
        answers_come_but_for(&mut bench, "m5", is_ghost);
        bench.events();
        if missed(&bench, "m5") > 0 && first.is_none() {
            first = Some(step);
        }
        if missed(&bench, "m5") >= 3 && known.is_none() {
            known = Some(step);
        }
        let Some((state, incarnation)) = bench.standing("m5") else { break };
        if let Some(first) = first
            && !state.is_live()
            && known.is_some()
        {
            return (known.map_or(usize::MAX, |known| known - first), step - first);
        }
        if first.is_some() {
            lie(&mut bench, incarnation + 1);
        }
    }
    (known.zip(first).map_or(usize::MAX, |(known, first)| known - first), usize::MAX)
}

/// Whoever says that a silent suspect is alive has others probed by the same datagram: more than may wait for that.
#[test]
fn a_member_that_causes_other_probes_keeps_no_silent_suspect_from_being_checked() {
    let mut number = 0;
    let (missed, _) = takes(100, 0, |bench, incarnation| {
        number += 1;
        let others: Vec<_> = (10..80).map(|i| format!("m{i}")).collect();
        let elsewhere = |name| Message::Alive(alive(name, 1000 + number, addr(70_000)));
        let suspect = Message::Alive(alive("m5", incarnation, addr(5)));
        let said: Vec<_> = [suspect].into_iter().chain(others.iter().map(|name| elsewhere(name))).collect();
        say(bench, "m1", addr(1), &said);
    });
    assert!(missed <= 100, "three failed probes take {} s", missed / 10);
}

/// One that is moved by hearsay is among those that never answered, and is not probed out of turn.
#[test]
fn a_claim_that_moves_a_silent_suspect_keeps_it_from_no_probe() {
    let moved = takes(12, 300, |bench, incarnation| {
        if bench.standing("m5").is_some_and(|(state, _)| state == MemberState::Suspect) {
            let at = addr(70_000 + incarnation as usize % 2);
            say(bench, "m1", addr(1), &[Message::Alive(alive("m5", incarnation, at))]);
        }
    });
    // Its ring is kept busy: those that nobody asked for are moved up in its place.
    let mut number = 0;
    let busy = takes(12, 300, |bench, incarnation| {
        if bench.standing("m5").is_some_and(|(state, _)| state == MemberState::Suspect) {
            let at = addr(70_000 + incarnation as usize % 2);
            say(bench, "m1", addr(1), &[Message::Alive(alive("m5", incarnation, at))]);
        }
        number += 1;
        let ghost = format!("ghost-{}", number % 300);
        let at = addr(1000 + (number % 300) as usize);
        let said = [
            Message::Alive(Alive { epoch: EPOCH + number, ..alive(&ghost, 0, at) }),
            Message::Failed(crate::wire::message::Failed { epoch: EPOCH + number + 1, ..failed(&ghost, 0) }),
            // A round out of turn leaves an eighth of the next to those that never answered.
            Message::Alive(alive("m7", 1000 + number, addr(70_007))),
        ];
        say(bench, "m1", addr(1), &said);
    });
    assert!(moved.0 <= 100, "three failed probes take {} s", moved.0 / 10);
    assert!(busy.0 <= 100, "three failed probes take {} s", busy.0 / 10);
}

/// Refutations that others made up for a dead member have its failure, as honest members tell it, count as a suspicion; but it is
/// probed at once then.
#[test]
fn refutations_that_others_made_up_keep_no_dead_member_listed() {
    let mut bench = Bench::new(12);
    bench.pass(millis(10));
    bench.sent();
    let (mut incarnation, mut listed) = (0, 0);
    for step in 0..600 {
        let lies = [
            Message::Failed(failed("m5", incarnation)),
            Message::Alive(alive("m5", incarnation + 1, addr(5))),
        ];
        incarnation += 1;
        say(&mut bench, "m1", addr(1), &lies);
        if step % 10 == 0 {
            say(&mut bench, "m3", addr(3), &[Message::Failed(failed("m5", incarnation))]);
        }
        bench.pass(millis(100));
        answers_come_but_for(&mut bench, "m5", none);
        bench.events();
        listed += usize::from(bench.is_live("m5"));
    }
    assert!(listed < 200, "m5 is dead, and listed as live for {} s of 60 s", listed / 10);
}

/// After its first failed probe it is said to have departed and to be back, again and again, so that it enters the ring anew.
#[test]
fn a_node_that_is_said_to_have_departed_and_returned_is_probed_next_all_the_same() {
    for is_left in [false, true] {
        let (missed, _) = takes(200, 0, |bench, incarnation| {
            let gone = match is_left {
                true => Message::Left(left("m5", incarnation - 1)),
                false => Message::Failed(failed("m5", incarnation - 1)),
            };
            say(bench, "m1", addr(1), &[gone, Message::Alive(alive("m5", incarnation, addr(5)))]);
        });
        assert!(missed <= 100, "left: {is_left}, three failed probes take {} s", missed / 10);
    }
}

/// Names of one host answer each third probe only, so that they are among those to be probed first.
#[test]
fn names_that_answer_now_and_then_keep_no_silent_suspect_from_being_checked() {
    let mut bench = Bench::new(30);
    for i in 0..128 {
        let name = format!("g{i}");
        bench.receive(&alive(&name, 0, SocketAddr::new(addr(5000).ip(), 1000 + i)));
        bench.meet(&name);
    }
    let mut first = None;
    let took = (0..36_000).find(|step| {
        bench.pass(millis(100));
        let waits = |name: &str| name.starts_with('g') && missed(&bench, name) < 2;
        let quiet: Vec<_> = (0..128).map(|i| format!("g{i}")).filter(|name| waits(name)).collect();
        answers_come_from(&mut bench, addr(5), |target, _| {
            target != "m5" && !quiet.iter().any(|name| name == target)
        });
        bench.events();
        for member in bench.node.members().iter().filter(|member| member.state == MemberState::Suspect) {
            let is_told =
                &*member.name == "m5" || member.name.starts_with('g') && missed(&bench, &member.name) < 3;
            if is_told && (step % 30 == 0 || member.name.starts_with('g')) {
                let said = alive(&member.name, member.identity.incarnation + 1, member.addr);
                say(&mut bench, "m1", addr(1), &[Message::Alive(said)]);
            }
        }
        first = first.or((missed(&bench, "m5") > 0).then_some(*step));
        missed(&bench, "m5") >= 3
    });
    let took = took.zip(first).map_or(u64::MAX, |(third, first)| third - first);
    assert!(took <= 200, "three failed probes take {} s", took / 10);
}

/// At the rates of `tests/siege`, with all that another member knows said in between.
#[test]
fn in_a_siege_a_dead_member_is_listed_for_no_longer_than_its_suspicion_takes() {
    let config = Config { max_members: 256, max_departed: 256, ..Config::lan("me") };
    let mut bench = Bench::with(config, 16);
    let mut rng = fastrand::Rng::with_seed(29);
    let (mut ghosts, mut since, mut longest) = (0, None, 0);
    for step in 0..18_000_u64 {
        bench.pass(millis(100));
        answers_come_but_for(&mut bench, "m16", is_ghost);
        bench.events();
        if step % 100 == 50 {
            tell_of_ghosts(&mut bench, &mut ghosts, 256);
        }
        if step % 120 == 60 {
            (0..5000).for_each(|i| bench.sync(gone(&format!("ghost-{step}-{i}"), 0, false, 1)));
        }
        if step % 70 == 0 {
            let at = [addr(16), addr(70_000 + step as usize), addr(200)][rng.usize(..3)];
            say(&mut bench, "m1", addr(1), &[Message::Alive(alive("m16", rng.u64(1..1000), at))]);
        }
        if step % 100 == 0 {
            say(&mut bench, "m13", addr(13), &[Message::Failed(failed("m16", 0))]);
        }
        match bench.is_live("m16") {
            true => longest = longest.max(step - *since.get_or_insert(step)),
            false => since = None,
        }
    }
    assert!(longest <= 1200, "it is listed as live for {} s at a time", longest / 10);
}

/// Names of one host return, and take what is kept for those that return.
#[test]
fn names_of_one_host_leave_room_for_others_that_return() {
    let mut bench = Bench::with(Config { max_members: 64, ..Config::lan("me") }, 12);
    let home = |i: usize| SocketAddr::new(addr(99).ip(), 1000 + i as u16);
    let mut made = 0;
    let mut join = |bench: &mut Bench, most: usize| {
        while bench.node.live() < most {
            let name = format!("x{made}");
            bench.receive(&alive(&name, 0, home(made)));
            assert!(bench.member(&name).is_some());
            bench.meet(&name);
            made += 1;
        }
    };
    join(&mut bench, 60);
    for i in 0..5 {
        say(&mut bench, &format!("x{i}"), home(i), &[Message::Left(left(&format!("x{i}"), 0))]);
    }
    join(&mut bench, 60);
    for i in 0..4 {
        bench.receive(&alive(&format!("x{i}"), 1, home(i)));
    }
    let both = [Message::Failed(failed("m5", 0)), Message::Alive(alive("x4", 1, home(4)))];
    say(&mut bench, "m1", addr(1), &both);
    let mut away = 0;
    for step in 0..6000_u64 {
        bench.pass(millis(100));
        answers_come_but_for(&mut bench, "nobody", none);
        bench.events();
        if step % 10 == 0 {
            away += usize::from(!bench.is_live("m5"));
            if !bench.is_live("m5") {
                say(&mut bench, "m5", addr(5), &[Message::Alive(alive("m5", 1 + step, addr(5)))]);
            }
        }
    }
    assert!(away < 60, "m5 answers and refutes, and is away for {away} s of 600 s");
}

/// A table may say for how long a member has been gone; this node knows since when at the earliest.
#[test]
fn a_claimed_age_has_no_member_forgotten_at_once() {
    let mut bench = Bench::new(12);
    bench.pass(millis(10));
    bench.sent();
    let long_ago = gone("m5", 0, true, 301);
    say(&mut bench, "m1", addr(1), &[Message::Failed(failed("m5", 0)), long_ago]);
    bench.pass(millis(1));
    assert!(bench.member("m5").is_some(), "it can refute");
}

#[test]
fn a_dead_member_that_is_said_to_be_long_gone_does_not_come_back_time_and_again() {
    let mut bench = Bench::new(12);
    let (mut listed, mut incarnation) = (0, 0);
    for _ in 0..6000 {
        bench.pass(millis(100));
        answers_come_but_for(&mut bench, "m5", none);
        bench.events();
        let said = match bench.standing("m5") {
            Some((state, i)) if state.is_live() => {
                (listed, incarnation) = (listed + 1, i);
                let is_suspected = state == MemberState::Suspect;
                is_suspected.then(|| Message::Alive(alive("m5", i + 1, addr(5))))
            }
            Some((_, i)) => Some(gone("m5", i, true, 86_399)),
            None if bench.node.table.find("m5").is_some() => None,
            None => Some(Message::Alive(alive("m5", incarnation + 1, addr(5)))),
        };
        said.iter().for_each(|said| say(&mut bench, "m1", addr(1), &[*said]));
    }
    assert!(listed < 3000, "m5 is dead and listed {} s of 600 s", listed / 10);
}

#[test]
fn a_silent_member_that_is_vouched_for_and_moved_is_probed_next_all_the_same() {
    let (missed, _) = takes(12, 300, |bench, _| {
        if let Some((MemberState::Suspect, i)) = bench.standing("m5") {
            let there = Message::Alive(alive("m5", i + 1, addr(5)));
            let moved = Message::Alive(alive("m5", i + 2, addr(70_000 + i as usize % 2)));
            say(bench, "m1", addr(1), &[there, moved]);
        }
    });
    assert!(missed < 300, "three failed probes took {} s", missed / 10);
}

#[test]
fn places_in_a_quiet_cluster_are_kept_for_their_time_alone() {
    let mut bench = Bench::with(Config { max_members: 100, ..Config::lan("me") }, 90);
    (51..=90).for_each(|i| _ = bench.receive(&failed(&format!("m{i}"), 0)));
    let listed = |bench: &mut Bench, i: usize| {
        let name = format!("r{i}");
        bench.node.on_alive(&alive(&name, 0, addr(500 + i)), Authority::AnsweredThere);
        let is_listed = bench.member(&name).is_some();
        if is_listed {
            bench.meet(&name);
        }
        is_listed
    };
    assert_eq!((0..40).filter(|i| listed(&mut bench, *i)).count(), 9, "the others' places are kept");
    bench.node.updates.clear();
    bench.node.now = bench.now + secs(31);
    assert!(listed(&mut bench, 39), "{} places are kept", bench.node.lately_departed.len());
}

#[test]
fn a_member_that_was_moved_is_told_of_its_failure() {
    let mut bench = Bench::new(3);
    let id = bench.node.table.find("m2").unwrap();
    bench.node.table.contact_mut(id).silent = true;
    bench.receive(&alive("m2", 1, addr(66)));
    bench.receive(&failed("m2", 1));
    assert!(bench.node.lately_departed.contains(id));
}

/// In a stream that this node opened, the other side is one member.
#[test]
fn whoever_is_asked_for_its_table_speaks_for_itself_under_one_name() {
    let mut bench = Bench::new(8);
    bench.pass(millis(10));
    bench.sent();
    let stream = bench.node.open(Purpose::Sync, addr(2), secs(10)).unwrap();
    bench.node.stream_began(bench.now, stream);
    bench.node.poll_stream(bench.now, stream, &mut vec![]);
    let said = ["m3", "m4", "m5"].map(|name| Message::Alive(alive(name, 1, addr(2))));
    bench.node.handle_frame(bench.now, stream, &forge::packet("m2", &said));
    for name in ["m3", "m4", "m5"] {
        assert_ne!(bench.member(name).unwrap().addr, addr(2), "{name}");
    }
    // The first name alone counts, in a frame of its own each as well.
    for name in ["m6", "m7"] {
        let said = Message::Alive(alive(name, 1, addr(2)));
        bench.node.handle_frame(bench.now, stream, &forge::packet(name, &[said]));
        assert_ne!(bench.member(name).unwrap().addr, addr(2), "{name}");
    }
}
