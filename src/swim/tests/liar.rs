//! One member that lies, from one host: what becomes of the places, the leaves and the probes of others.

use std::net::SocketAddr;

use super::{
    super::{Config, MemberState, Output},
    bench::{Bench, EPOCH, alive, failed, left, messages, say, suspect},
    world::{World, addr, converged, millis, secs},
};
use crate::{
    sim::attacker::{Ahead, Attack, Kind, Lie, Who},
    wire::message::{Ack, Alive, Message, Nack},
};

/// A port of the insider's one host.
fn its(port: u16) -> SocketAddr {
    SocketAddr::new(addr(9000).ip(), port)
}

/// Names of the insider's join from there, and answer.
fn join(bench: &mut Bench, name: &str, at: SocketAddr) {
    bench.receive(&alive(name, 0, at));
    bench.meet(name);
}

/// Whoever is there answers, of those that `is_there` says are.
fn answers(bench: &mut Bench, is_there: impl Fn(&str, SocketAddr) -> bool) {
    for (to, packet) in bench.sent() {
        let (mut pinged, mut asked) = (None, None);
        messages(&packet, |message| match message {
            Message::Ping(ping) => pinged = Some((ping.target.to_owned(), ping.seq)),
            Message::PingReq(request) => asked = Some(request.seq),
            _ => {}
        });
        if let Some((target, seq)) = pinged.filter(|(target, _)| is_there(target, to)) {
            say(bench, &target, to, &[Message::Ack(Ack { seq })]);
        }
        // Whether anybody relays there.
        if let Some(seq) = asked.filter(|_| is_there("", to)) {
            bench.receive_from(to, &Nack { seq });
        }
    }
}

/// Each is harmless alone: as many of its names as are remembered have answered and left; and four say that they moved to the
/// address of a member that they say has failed.
#[test]
fn a_member_that_refutes_finds_its_address_whoever_fills_the_departed() {
    for left_before in [0, 16] {
        let mut bench = Bench::with(Config { max_departed: 16, ..Config::lan("me") }, 6);
        for i in 0..left_before {
            let name = format!("d{i}");
            join(&mut bench, &name, its(1000 + i));
            say(&mut bench, &name, its(1000 + i), &[Message::Left(left(&name, 0))]);
        }
        (0..4).for_each(|i| join(&mut bench, &format!("g{i}"), its(2000 + i)));
        for i in 0..4_u16 {
            let name = format!("g{i}");
            if i == 3 {
                say(&mut bench, "m1", addr(1), &[Message::Failed(failed("m5", 0))]);
            }
            say(&mut bench, &name, its(2000 + i), &[Message::Alive(alive(&name, 1, addr(5)))]);
        }
        say(&mut bench, "m5", addr(5), &[Message::Alive(alive("m5", 1, addr(5)))]);
        assert!(bench.is_live("m5"), "{left_before} left before: m5 has refuted, and is refused");
    }
}

/// The same for minutes: the names come back from where they answer, and move there again.
#[test]
fn a_member_is_not_kept_from_its_address_for_minutes() {
    let mut bench = Bench::with(Config { max_departed: 64, ..Config::lan("me") }, 6);
    for i in 0..64 {
        let name = format!("d{i}");
        join(&mut bench, &name, its(1000 + i));
        say(&mut bench, &name, its(1000 + i), &[Message::Left(left(&name, 0))]);
    }
    let (mut away, mut own) = (0, 0);
    for step in 0..6000_u64 {
        if bench.is_live("m5") {
            let known = bench.standing("m5").expect("it is listed").1;
            say(&mut bench, "m1", addr(1), &[Message::Failed(failed("m5", known))]);
        }
        for i in 0..12_u16 {
            let (name, home) = (format!("g{i}"), its(2000 + i));
            let known = bench.member(&name).map_or(0, |member| member.identity.incarnation + 1);
            if !bench.is_live(&name) {
                say(&mut bench, &name, home, &[Message::Alive(alive(&name, known, home))]);
            } else if bench.node.table.count_at_addr(addr(5), 4) < 4 {
                say(&mut bench, &name, home, &[Message::Alive(alive(&name, known, addr(5)))]);
            }
        }
        bench.pass(millis(100));
        if step % 2 == 0 {
            own = bench.standing("m5").map_or(own, |(_, known)| known) + 1;
            say(&mut bench, "m5", addr(5), &[Message::Alive(alive("m5", own, addr(5)))]);
        }
        answers(&mut bench, |name, at| name == "m5" || at != addr(5));
        bench.events();
        away += usize::from(!bench.is_live("m5"));
    }
    assert!(away < 300, "m5 answers and refutes, and is away for {} s of 600 s", away / 10);
}

/// A member keeps its place for as long as it is told that it has departed: more names than are told so have departed after it,
/// and others take what they leave.
#[test]
fn a_member_keeps_its_place_whoever_else_is_said_to_have_departed() {
    let mut bench = Bench::with(Config { max_members: 1200, ..Config::lan("me") }, 6);
    (0..1118).for_each(|i| join(&mut bench, &format!("g{i}"), its(1000 + i)));
    say(&mut bench, "m1", addr(1), &[Message::Failed(failed("m5", 0))]);
    for i in 0..1024 {
        say(&mut bench, "m1", addr(1), &[Message::Failed(failed(&format!("g{i}"), 0))]);
    }
    for i in 0..200 {
        let (name, at) = (format!("h{i}"), its(3000 + i));
        bench.receive(&alive(&name, 0, at));
        if bench.member(&name).is_some() {
            bench.meet(&name);
        }
    }
    say(&mut bench, "m5", addr(5), &[Message::Alive(alive("m5", 1, addr(5)))]);
    assert!(bench.is_live("m5"), "m5 has refuted at once, and is refused");
}

#[test]
fn a_departed_member_that_says_it_is_back_elsewhere_takes_no_place_there() {
    let mut bench = Bench::new(2);
    for i in 0..3_u16 {
        let name = format!("g{i}");
        join(&mut bench, &name, its(2000 + i));
        say(&mut bench, &name, its(2000 + i), &[Message::Alive(alive(&name, 1, addr(50)))]);
    }
    join(&mut bench, "z", its(2100));
    say(&mut bench, "z", its(2100), &[Message::Left(left("z", 0))]);
    bench.receive(&alive("new", 0, addr(50)));
    assert!(bench.is_live("new"));
    say(&mut bench, "z", its(2100), &[Message::Alive(alive("z", 1, addr(50)))]);
    assert!(bench.is_live("new"), "z has shown nothing there");
}

#[test]
fn a_newcomer_is_asked_where_made_up_names_are_said_to_live() {
    let mut bench = Bench::new(100);
    for name in ["a", "b", "c", "d"] {
        bench.receive(&alive(name, 0, addr(200)));
    }
    bench.sent();
    bench.receive_from(addr(2), &alive("new", 0, addr(200)));
    for _ in 0..50 {
        bench.pass(millis(100));
        answers(&mut bench, |name, at| name == "new" || at != addr(200));
    }
    assert!(bench.is_live("new"), "it answers there");
}

/// A member takes a later epoch, and says so when it is asked; from then on it is asked again.
#[test]
fn a_restart_is_asked_about_also_after_one_that_the_member_has_confirmed() {
    let mut bench = Bench::new(6);
    let later = |by: u64| Alive { epoch: EPOCH + by, ..alive("m5", 0, addr(5)) };
    say(&mut bench, "m2", addr(2), &[Message::Alive(later(1))]);
    bench.pass(millis(20));
    answers(&mut bench, |_, _| true);
    assert_eq!(bench.member("m5").map(|m5| m5.identity.epoch), Some(EPOCH + 1), "its Ack confirms it");
    bench.events();
    say(&mut bench, "m1", addr(1), &[Message::Alive(later(2))]);
    assert_eq!(bench.member("m5").map(|m5| m5.identity.epoch), Some(EPOCH + 1), "nobody asked m5");
    assert_eq!(bench.kinds(), Vec::<&str>::new());
}

/// How long a dead member is listed, in tenths of a second, where honest members accuse it 8 s after the first failed probe of
/// this node, and say that it failed 2 s later. Until three probes have failed, `lie` is told.
fn listed_for(mut lie: impl FnMut(&mut Bench)) -> usize {
    let mut bench = Bench::new(20);
    let mut first = None;
    for step in 0..3000 {
        bench.pass(millis(100));
        answers(&mut bench, |name, at| name != "m5" && at != addr(5));
        bench.events();
        let missed = bench.node.table.find("m5").map_or(9, |id| bench.node.table.get(id).contact.missed());
        if missed > 0 && first.is_none() {
            first = Some(step);
        }
        let Some(first) = first else { continue };
        if !bench.is_live("m5") {
            return step - first;
        }
        if missed < 3 {
            lie(&mut bench);
        }
        if step >= first + 80 && (step - first) % 10 == 0 {
            let accused = suspect("m5", 0, &["m2", "m3", "m4"]);
            say(&mut bench, "m2", addr(2), &[Message::Suspect(accused)]);
        }
        if step >= first + 100 && (step - first) % 10 == 0 {
            for i in 2..8 {
                let failure = Message::Failed(failed("m5", 0));
                say(&mut bench, &format!("m{i}"), addr(i), &[failure]);
            }
        }
    }
    usize::MAX
}

/// Others know it under an earlier incarnation, or in an earlier epoch, than this node alone was told: their verdicts count.
#[test]
fn verdicts_on_a_dead_member_count_whatever_this_node_alone_was_told() {
    let usual = listed_for(|_| {});
    let told = |epochs: u64, incarnations: u64| {
        let mut number = 0;
        let took = listed_for(|bench| {
            number += 1;
            let (epoch, incarnation) = (EPOCH + epochs * number, incarnations * number);
            let back = Alive { epoch, ..alive("m5", incarnation, addr(5)) };
            say(bench, "m1", addr(1), &[Message::Alive(back)]);
        });
        println!("epochs {epochs}, incarnations {incarnations}: {took} tenths, {usual} without");
        took
    };
    assert!(told(0, 1) <= 2 * usual + 10, "of a greater incarnation");
    assert!(told(1, 0) <= 2 * usual + 10, "of a later epoch");
}

/// Most members are names of one host, and say at once that they have heard of a leave: it is told to others, too.
#[test]
fn a_leave_is_told_to_honest_members_though_most_others_are_of_one_host() {
    let (mut swallowed, mut done) = (0, 0);
    for seed in 0..50 {
        let mut bench = Bench::new(4);
        (0..16).for_each(|i| join(&mut bench, &format!("g{i}"), its(1000 + i)));
        bench.node.updates.clear();
        bench.sent();
        bench.node.rng = fastrand::Rng::with_seed(seed);
        bench.node.leave(bench.now);
        let mut told = false;
        for _ in 0..20 {
            let mut acks = Vec::new();
            for (to, packet) in bench.sent() {
                told |= to.ip() != its(1).ip();
                messages(&packet, |message| {
                    if let Message::Ping(ping) = message {
                        acks.push((ping.target.to_owned(), to, ping.seq));
                    }
                });
            }
            for (name, at, seq) in acks {
                say(&mut bench, &name, at, &[Message::Ack(Ack { seq })]);
            }
            let outputs: Vec<_> = std::iter::from_fn(|| bench.node.poll_output()).collect();
            if outputs.iter().any(|output| matches!(output, Output::LeaveDone { .. })) {
                done += 1;
                break;
            }
            bench.pass(millis(50));
        }
        swallowed += usize::from(!told);
    }
    assert!(swallowed == 0, "of {done} leaves, {swallowed} are told to no honest member");
}

/// How long until all have noticed a crash in a cluster of so many, in milliseconds, while one member does something every 100 ms.
fn noticed_after(n: usize, seed: u64, joined_ago: u64, mut lie: impl FnMut(&mut World)) -> u64 {
    let mut world = converged(seed, n);
    world.attack(&Attack::Infiltrate { ghosts: 1, to: 0, answers_for: secs(3600) });
    world.run_for(secs(joined_ago));
    world.crash(1);
    let since = world.now();
    let live = |world: &World, host| world.state(host, "n1").is_some_and(MemberState::is_live);
    while (0..n).any(|host| host != 1 && live(&world, host)) {
        assert!(world.now().since(since) < secs(3000), "it is never noticed: seed {seed}");
        lie(&mut world);
        world.run_for(millis(100));
    }
    world.now().since(since).as_millis() as u64
}

fn tell(world: &mut World, to: usize, kind: Kind, ahead: Ahead) {
    let lie = Lie { kind, about: Who::Host(1), ahead, at: Who::Host(1) };
    world.attack(&Attack::Datagram { from: Who::Ghost(0), to, lies: vec![lie] });
}

/// The slowest of three seeds.
fn slowest(n: usize, lie: impl Fn(&mut World) + Copy) -> u64 {
    (1..4).map(|seed| noticed_after(n, seed, 10, lie)).max().unwrap_or_default()
}

/// A crash is noticed within four times the usual time, whatever one member says. Alive is believed until three probes have failed at
/// each node, and these are out of turn.
#[test]
fn one_member_puts_off_that_a_crash_is_noticed_by_its_three_probes_at_most() {
    for n in [5, 12] {
        let usual = slowest(n, |_| {});
        for kind in [Kind::Suspect, Kind::Alive] {
            // The same for all, or another life for each.
            for ahead in
                [|_| Ahead::Incarnations(1), |_| Ahead::Life(1), |to| Ahead::Life(1 + 1000 * to as u64)]
            {
                let took = slowest(n, |world| {
                    (0..n).filter(|to| *to != 1).for_each(|to| tell(world, to, kind, ahead(to)));
                });
                println!("n {n}, {kind:?} {:?}: {took} ms, usually {usual} ms", ahead(2));
                assert!(took <= 4 * usual, "n {n}, {kind:?} {:?}: {took} ms, usually {usual} ms", ahead(2));
            }
        }
    }
}

/// In a young cluster many members have not answered each other yet.
#[test]
fn in_a_young_cluster_one_member_puts_off_that_a_crash_is_noticed_by_less_than_a_pass_of_the_ring() {
    let n = 40;
    let usual = noticed_after(n, 1, 0, |_| {});
    for (kind, ahead) in [
        (Kind::Suspect, Ahead::Incarnations(1)),
        (Kind::Alive, Ahead::Incarnations(1)),
        (Kind::Alive, Ahead::Life(1)),
    ] {
        let took = noticed_after(n, 1, 0, |world| {
            (0..n).filter(|to| *to != 1).for_each(|to| tell(world, to, kind, ahead));
        });
        println!("{kind:?} {ahead:?}: {took} ms, usually {usual} ms");
        assert!(took <= usual + 40_000, "{kind:?} {ahead:?}: {took} ms, usually {usual} ms");
    }
}
