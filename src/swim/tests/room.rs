//! Who gets a place in a full table, and how many may live at one address or on one host.

use std::net::SocketAddr;

use super::{
    super::{
        Config, Event, MemberState, claims::Authority, lately_departed::MAX_LATELY_DEPARTED, timers::Timer,
    },
    bench::{Bench, alive, answers_come, failed, left, say},
    edges::SAME_MARK,
    world::{addr, millis, secs},
};
use crate::wire::message::Message;

/// A node that has room for so many, itself included, and knows that many less one, of which the first have answered.
fn full(room: usize, answered: usize) -> Bench {
    let mut config = Config::lan("me");
    config.max_members = room;
    let mut bench = Bench::with(config, answered);
    for i in answered + 1..room {
        bench.receive(&alive(&format!("m{i}"), 0, addr(i)));
    }
    bench.events();
    bench
}

#[test]
fn in_a_full_table_a_member_that_never_answered_makes_room() {
    let mut bench = full(10, 4);
    bench.receive(&alive("new", 0, addr(90)));
    assert_eq!(bench.standing("new"), Some((MemberState::Alive, 0)));
    assert_eq!(bench.node.live(), 10);
    assert_eq!(bench.node.metrics().evicted_members, 1);
    for i in 1..=4 {
        assert!(bench.member(&format!("m{i}")).is_some(), "m{i} has answered");
    }
    let events = bench.events();
    let [Event::Reaped { member: evicted, .. }, Event::Joined { member: joined, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(bench.member(&evicted.name).is_none() && &*joined.name == "new");
}

#[test]
fn if_all_have_answered_a_newcomer_is_refused_and_a_returning_member_finds_the_place_that_is_kept() {
    let mut config = Config::lan("me");
    config.max_members = 32;
    let mut bench = Bench::with(config, 29);
    bench.receive(&failed("m2", 0)).receive(&failed("m3", 0));
    for (name, place) in [("new1", 90), ("new2", 91), ("new3", 92)] {
        bench.receive(&alive(name, 0, addr(place)));
        if place < 92 {
            bench.meet(name);
        }
    }
    assert_eq!(bench.standing("new3"), None, "two places are kept");
    assert_eq!(bench.node.metrics().refused_members, 1);
    bench.receive(&alive("m2", 1, addr(2))).receive(&alive("m3", 1, addr(3)));
    assert_eq!(bench.standing("m2"), Some((MemberState::Alive, 1)));
    assert_eq!(bench.standing("m3"), Some((MemberState::Alive, 1)));
}

#[test]
fn a_few_may_claim_one_address_and_no_more() {
    let mut bench = Bench::new(1);
    for i in 0..10 {
        bench.receive(&alive(&format!("x{i}"), 0, addr(50)));
    }
    assert_eq!(bench.node.live(), 2 + 4);
    assert_eq!(bench.node.metrics().refused_members, 6);
    // Those at an address of their own are not held up by it.
    bench.receive(&alive("y", 0, addr(51)));
    assert_eq!(bench.standing("y"), Some((MemberState::Alive, 0)));
}

/// A member that never answered departs, and returns to a crowded address of a full table: as others say, then by itself.
#[test]
fn nobody_is_evicted_for_one_that_is_refused() {
    let mut config = Config::lan("me");
    config.max_members = 32;
    let mut bench = Bench::with(config, 25);
    bench.receive(&alive("x", 0, addr(80))).receive(&failed("x", 0));
    bench.receive(&alive("u", 0, addr(90)));
    for name in ["v1", "v2", "v3"] {
        bench.receive(&alive(name, 0, addr(90)));
        bench.meet(name);
    }
    bench.receive_from(addr(2), &failed("m1", 0)).receive_from(addr(2), &alive("w", 0, addr(91)));
    bench.meet("w");
    bench.receive_from(addr(2), &alive("m1", 1, addr(1)));
    assert_eq!(bench.node.live(), 31, "of 32, two places are kept for who returns");
    let refused = bench.node.metrics().refused_members;
    bench.receive_from(addr(2), &alive("x", 1, addr(90)));
    assert_eq!(bench.standing("x"), Some((MemberState::Failed, 0)), "it has not shown that it is there");
    assert_eq!(bench.node.metrics().refused_members, refused + 1);
    assert_eq!((bench.standing("u"), bench.node.live()), (Some((MemberState::Alive, 0)), 31));
    bench.node.on_alive(&alive("x", 1, addr(90)), Authority::AnsweredThere);
    assert_eq!(bench.standing("x"), Some((MemberState::Alive, 1)), "it has answered there");
    assert_eq!((bench.standing("u"), bench.node.live()), (None, 31), "who never answered makes room");
}

#[test]
fn of_the_departed_those_that_never_answered_are_forgotten_first() {
    let mut config = Config::lan("me");
    config.max_departed = 2;
    let mut bench = Bench::with(config, 4);
    bench.receive(&failed("m2", 0)).receive(&failed("m3", 0));
    for i in 0..50 {
        bench.receive(&failed(&format!("made-up{i}"), 7));
    }
    assert_eq!(bench.node.metrics().departed_members, 2);
    for name in ["m2", "m3"] {
        assert_eq!(bench.standing(name), Some((MemberState::Failed, 0)), "it was a member");
    }
}

/// The probe of an earlier life does not fail the one that has begun since.
#[test]
fn a_verdict_on_a_life_does_not_fall_on_the_next() {
    let mut bench = Bench::new(1);
    while bench.node.metrics().probes == 0 {
        bench.pass(secs(1) / 10);
    }
    let later = crate::wire::message::Alive { epoch: super::bench::EPOCH + 5, ..alive("m1", 0, addr(1)) };
    bench.receive(&later);
    while bench.node.metrics().probes_failed == 0 {
        bench.pass(secs(1) / 10);
    }
    assert_eq!(bench.standing("m1"), Some((MemberState::Alive, 0)), "it was not asked yet");
}

#[test]
fn updates_leave_to_the_layer_above_what_it_wants_and_a_quarter_of_a_packet_at_most() {
    let mut bench = Bench::new(1);
    for (wants, kept) in [(0, 0), (100, 100), (250, 250), (400, 250)] {
        bench.node.want_room(bench.now, wants);
        assert_eq!(bench.node.upper.kept_room(1003), kept, "of {wants}");
    }
}

#[test]
fn only_a_layer_above_that_wants_room_begins_rounds_of_gossip() {
    let mut bench = Bench::new(0);
    let begun = |bench: &Bench| bench.node.timers.is_set(Timer::Gossip);
    bench.pass(secs(1));
    assert!(!begun(&bench));
    bench.node.want_room(bench.now, 100);
    assert!(begun(&bench));
    // There is nobody to talk to.
    bench.pass(secs(1));
    assert!(!begun(&bench));
    bench.node.want_room(bench.now, 0);
    assert!(!begun(&bench));
}

fn home(host: usize, i: usize) -> SocketAddr {
    SocketAddr::new(addr(host).ip(), 1000 + i as u16)
}

/// A new name of a host, which answers there if it is listed.
fn join(bench: &mut Bench, host: usize, i: usize) {
    let name = format!("h{host}-{i}");
    bench.receive(&alive(&name, 0, home(host, i)));
    if bench.member(&name).is_some() {
        bench.meet(&name);
    }
}

/// Of a few hosts each has many members, and somebody else's fill the table.
#[test]
fn members_of_a_host_with_many_return_to_a_full_table() {
    let mut bench = Bench::with(Config { max_members: 160, ..Config::lan("me") }, 1);
    (1..4).for_each(|host| (0..25).for_each(|i| join(&mut bench, host, i)));
    (0..100).for_each(|i| join(&mut bench, 9, i));
    for i in 0..5 {
        let name = format!("h1-{i}");
        bench.receive(&failed(&name, 0));
    }
    (100..200).for_each(|i| join(&mut bench, 9, i));
    assert_eq!(bench.node.live(), 150, "a sixteenth is kept");
    for i in 0..5 {
        let name = format!("h1-{i}");
        bench.node.on_alive(&alive(&name, 1, home(1, i)), Authority::Itself);
        assert_eq!(bench.standing(&name), Some((MemberState::Alive, 1)));
    }
}

/// Nobody lied: so many departed, and all had answered. Who is moved to a member's address makes room for it all the same.
#[test]
fn departed_members_that_had_answered_keep_nobody_from_its_address() {
    let mut bench = Bench::with(Config { max_departed: 8, ..Config::lan("me") }, 4);
    for i in 0..8 {
        let name = format!("d{i}");
        bench.receive(&alive(&name, 0, addr(100 + i)));
        bench.meet(&name);
        bench.receive(&failed(&name, 0));
    }
    for i in 0..4 {
        let name = format!("x{i}");
        bench.receive(&alive(&name, 0, SocketAddr::new(addr(9).ip(), 2000 + i)));
        bench.meet(&name);
        bench.node.on_alive(&alive(&name, 1, addr(50)), Authority::Itself);
    }
    bench.node.on_alive(&alive("new", 0, addr(50)), Authority::Itself);
    assert_eq!(bench.standing("new"), Some((MemberState::Alive, 0)));
}

/// Who says that a member failed has its place, if a new name may take it before the member refutes that.
#[test]
fn a_member_that_others_say_failed_keeps_its_place_in_a_full_table() {
    let mut bench = Bench::with(Config { max_members: 128, ..Config::lan("me") }, 1);
    (1..4).for_each(|host| (0..25).for_each(|i| join(&mut bench, host, i)));
    (0..100).for_each(|i| join(&mut bench, 20 + i % 8, i));
    let is_live = |bench: &Bench, name: &str| bench.standing(name).is_some_and(|(state, _)| state.is_live());
    let mut away = 0;
    for round in 0..500 {
        let (name, at) = (format!("h1-{}", round % 25), home(1, round % 25));
        let (state, incarnation) = bench.standing(&name).expect("it is listed");
        if state.is_live() {
            say(&mut bench, "m1", addr(1), &[Message::Failed(failed(&name, incarnation))]);
        }
        join(&mut bench, 20 + round % 8, 100 + round);
        bench.pass(millis(50));
        bench.node.on_alive(&alive(&name, incarnation + 1, at), Authority::Itself);
        bench.events();
        answers_come(&mut bench, None);
        away += (0..25).filter(|i| !is_live(&bench, &format!("h1-{i}"))).count();
    }
    assert_eq!(away, 0, "of 12,500 looks");
}

/// By another's word, so that it may be made up.
#[test]
fn a_name_that_never_answered_returns_to_no_place_that_is_kept() {
    let mut bench = Bench::with(Config { max_members: 32, ..Config::lan("me") }, 28);
    bench.receive(&alive("x", 0, addr(80))).receive(&failed("x", 0)).receive(&alive("m29", 0, addr(29)));
    bench.meet("m29");
    bench.receive(&alive("x", 1, addr(80)));
    assert_eq!((bench.standing("x"), bench.node.live()), (Some((MemberState::Failed, 0)), 30));
}

#[test]
fn one_that_makes_room_at_an_address_makes_room_in_the_table() {
    let mut bench = Bench::with(Config { max_members: 32, ..Config::lan("me") }, 15);
    (0..10).for_each(|i| _ = bench.receive(&alive(&format!("z{i}"), 0, addr(80 + i))));
    bench.receive(&alive("u", 0, addr(90)));
    for name in ["v1", "v2", "v3"] {
        bench.receive(&alive(name, 0, addr(90)));
        bench.meet(name);
    }
    assert_eq!(bench.node.live(), 30, "no other name would be listed");
    bench.node.on_alive(&alive("new", 0, addr(90)), Authority::Itself);
    assert_eq!(bench.standing("new"), Some((MemberState::Alive, 0)));
    assert_eq!((bench.standing("u"), bench.node.metrics().evicted_members), (None, 1));
}

#[test]
fn one_that_makes_room_at_an_address_makes_room_for_its_mark() {
    let mut bench = Bench::new(1);
    for name in ["x", "y", SAME_MARK[1], SAME_MARK[0]] {
        bench.receive(&alive(name, 0, addr(50)));
        if name != SAME_MARK[0] {
            bench.meet(name);
        }
    }
    bench.node.on_alive(&alive(SAME_MARK[4], 0, addr(50)), Authority::Itself);
    assert_eq!(bench.standing(SAME_MARK[4]), Some((MemberState::Alive, 0)));
    assert_eq!((bench.standing(SAME_MARK[0]), bench.node.live()), (None, 6));
}

#[test]
fn a_member_that_left_keeps_no_place_however_often_others_say_so() {
    let mut bench = Bench::new(3);
    bench.receive_from(addr(2), &left("m2", 0)).receive(&failed("m2", 1)).receive(&left("m2", 2));
    assert_eq!(bench.standing("m2"), Some((MemberState::Left, 2)));
    assert_eq!(bench.node.lately_departed.len(), 0);
}

#[test]
fn a_member_that_has_returned_keeps_no_second_place() {
    let mut bench = Bench::with(Config { max_members: 100, ..Config::lan("me") }, 90);
    for i in 51..=90 {
        let name = format!("m{i}");
        bench.receive(&failed(&name, 0));
        bench.node.on_alive(&alive(&name, 1, addr(i)), Authority::Itself);
        bench.meet(&name);
    }
    (0..10).for_each(|i| join(&mut bench, 200 + i, i));
    assert_eq!(bench.node.live(), 94, "a sixteenth is kept");
}

#[test]
fn members_that_are_told_of_their_departure_are_bounded() {
    let mut bench = Bench::new(MAX_LATELY_DEPARTED + 6);
    (2..=MAX_LATELY_DEPARTED + 6).for_each(|i| _ = bench.receive(&failed(&format!("m{i}"), 0)));
    let told = bench.node.lately_departed.len();
    assert_eq!((told, bench.node.metrics().evicted_verdicts), (MAX_LATELY_DEPARTED, 5));
}
