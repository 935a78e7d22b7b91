//! Members that come and go.

use super::{
    super::{Event, HealthDoubt, StreamStep, Time},
    bench::{Bench, EPOCH, alive, failed, messages, packet_of, say, suspect},
    world::{World, addr, converged, millis, secs},
};
use crate::{
    sim::forge,
    wire::message::{Alive, Hello, Message},
};

/// A member hears nothing for 20 s, then everything for 20 s, and so on.
fn flip_flop(world: &mut World, host: usize, times: usize) {
    for _ in 0..times {
        world.net.ingress_loss.insert(host, 1.0);
        world.run_for(secs(20));
        world.net.ingress_loss.remove(&host);
        world.run_for(secs(20));
    }
}

fn returns(world: &World, from: Time) -> usize {
    let events = world.hosts[0].events.iter().filter(|(at, _)| *at >= from);
    events
        .filter(|(_, event)| matches!(event, Event::Joined { member, .. } if member.addr == addr(7)))
        .count()
}

#[test]
fn a_node_that_fails_again_and_again_is_away_until_it_is_well() {
    let mut world = converged(31, 20);
    let start = world.now();
    flip_flop(&mut world, 7, 6);
    assert!(world.node(7).metrics().flaps_damped > 0);
    let returned = returns(&world, start);
    assert!((1..=3).contains(&returned), "it returned {returned} times in six cycles");
    assert!(!world.node(0).members().iter().any(|m| m.addr == addr(7) && m.state.is_live()));
    // Now nothing disturbs it any more.
    let well = world.now();
    world.run_until("its return", secs(150), |world| world.all_see(20));
    assert_eq!(returns(&world, well), 1);
}

#[test]
fn a_node_that_failed_once_comes_back_at_once() {
    let mut world = converged(32, 20);
    flip_flop(&mut world, 7, 1);
    assert_eq!(world.node(7).metrics().flaps_damped, 0);
    assert!(world.all_see(20));
}

#[test]
fn a_forged_verdict_is_refuted_at_once_however_often_it_comes() {
    let mut bench = Bench::new(5);
    for times in 1..=5 {
        let incarnation = bench.node.local().identity.incarnation;
        bench.receive(&failed("me", incarnation));
        assert_eq!(bench.node.local().identity.incarnation, incarnation + 1, "verdict {times}");
        assert!(bench.has_news("me"));
    }
}

/// A node among `others` that refuted one verdict. With `trouble`, one of its probes failed and its relays were silent.
fn once_failed(others: usize, trouble: bool) -> Bench {
    let mut bench = Bench::new(others);
    bench.receive(&failed("me", 0));
    assert!(bench.has_news("me"), "the first time it comes back at once");
    if trouble {
        bench.node.flaps.note_trouble(bench.now);
    }
    bench
}

#[test]
fn a_node_that_failed_before_and_has_trouble_refutes_no_suspicion_either() {
    for (trouble, word) in [(false, 2), (true, 1)] {
        let mut bench = once_failed(5, trouble);
        bench.receive(&suspect("me", 1, &["m1"]));
        assert_eq!(bench.node.local().identity.incarnation, word, "trouble: {trouble}");
        assert_eq!(bench.has_news("me"), !trouble);
    }
}

/// Suspected members are expected to be silent: that shows nothing about this node.
#[test]
fn a_deaf_node_has_trouble_after_three_probes_or_one_of_each_other_member() {
    for (others, probes) in [(1, 1), (2, 2), (3, 3), (8, 3)] {
        let mut bench = Bench::new(others);
        while !bench.node.has_trouble() {
            assert!(bench.node.metrics().probes_failed < probes, "{others} others");
            bench.pass(millis(100));
            bench.sent();
        }
        assert_eq!(bench.node.metrics().probes_failed, probes, "{others} others");
    }
}

/// Insiders can cause verdicts and trouble for as long as they want.
#[test]
fn a_node_is_not_away_again_as_soon_as_it_is_back() {
    let mut bench = once_failed(5, true);
    bench.receive(&suspect("me", 1, &["m1"]));
    let mut returned = None;
    for lies in 1..=39 {
        bench.pass(secs(50));
        bench.node.flaps.note_trouble(bench.now);
        let incarnation = bench.node.local().identity.incarnation;
        bench.sync(Message::Failed(failed("me", incarnation)));
        bench.sync(Message::Suspect(suspect("me", incarnation + 1, &["m1"])));
        if bench.node.local().identity.incarnation > 1 && returned.is_none() {
            returned = Some(lies * 50);
        }
        assert_eq!(returned.is_some(), !bench.node.flaps.is_held(), "after {} s", lies * 50);
    }
    assert!(matches!(returned, Some(1000 | 1050)), "{returned:?}");
}

#[test]
fn an_away_node_tells_no_member_that_it_is_alive() {
    for (trouble, shown) in [(false, true), (true, false)] {
        let mut bench = once_failed(5, trouble);
        bench.receive(&suspect("me", 1, &["m1"]));
        let stream = bench.node.accept_stream(bench.now, addr(1)).expect("there is room");
        bench.node.handle_frame(bench.now, stream, &packet_of(&Hello { name: "m1", digest: 0, removals: 0 }));
        let (mut frame, mut told) = (Vec::new(), false);
        assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
        messages(&frame, |message| {
            told |= matches!(message, Message::Alive(Alive { name: "me", .. }));
        });
        assert_eq!(told, shown, "trouble: {trouble}");
    }
}

/// Others may hold the accusation, and would not believe a leave under a lesser identity.
#[test]
fn an_away_node_leaves_under_a_greater_identity_than_the_accusation() {
    let mut bench = once_failed(5, true);
    bench.receive(&suspect("me", 9, &["m1"]));
    assert!(bench.node.flaps.is_held());
    bench.node.leave(bench.now);
    assert!(bench.node.local().identity.incarnation >= 9, "{:?}", bench.node.local());
}

/// The search found two nodes that each held the other failed and itself unwell, for ever.
#[test]
fn a_node_that_has_no_member_left_to_probe_becomes_well_and_comes_back() {
    let mut bench = once_failed(1, true);
    bench.node.health.degrade(7, HealthDoubt::Silence, bench.now);
    bench.receive(&suspect("me", 1, &["m1"]));
    bench.receive(&failed("m1", 0));
    bench.pass(secs(50));
    assert_eq!(bench.node.local().identity.incarnation, 1, "it stays away");
    bench.pass(secs(60));
    assert_eq!(bench.node.local().identity.incarnation, 2, "it is back");
}

#[test]
fn a_failed_member_that_returns_is_told_that_the_verdict_had_fallen() {
    let told = |epoch: u64| {
        let mut bench = Bench::new(4);
        bench.receive(&failed("m2", 3));
        bench.sent();
        let back = Alive { epoch, ..alive("m2", 4, addr(2)) };
        say(&mut bench, "m2", addr(2), &[Message::Alive(back)]);
        assert_eq!(bench.sent(), [], "a claim causes no datagram");
        bench.pass(secs(1));
        let mut verdicts = Vec::new();
        for (to, packet) in bench.sent() {
            messages(&packet, |message| {
                if let Message::Failed(verdict) = message {
                    verdicts.push((to, verdict.name.to_owned(), verdict.incarnation));
                }
            });
        }
        verdicts
    };
    assert_eq!(told(EPOCH), [(addr(2), "m2".to_owned(), 3)]);
    assert_eq!(told(EPOCH + 1), [], "a new life has nothing to do with it");
}

#[test]
fn tags_that_change_while_a_node_is_away_are_known_when_it_is_back() {
    let mut world = converged(33, 20);
    flip_flop(&mut world, 7, 3);
    let tags = crate::Tags::new([("k", "v")]).expect("they are short");
    world.with(7, |node, now| node.set_tags(now, tags.clone()));
    world.run_for(secs(2));
    assert!(!world.node(0).members().iter().any(|m| m.addr == addr(7) && m.state.is_live()), "still away");
    world.run_until("its return", secs(150), |world| world.all_see(20));
    world.run_until("its tags", secs(5), |world| world.node(0).member("n7").is_some_and(|m| m.tags == tags));
}

/// The node was away when it yielded its name.
#[test]
fn a_node_that_is_displaced_is_away_no_longer_and_takes_no_greater_identity_by_itself() {
    let mut bench = once_failed(5, true);
    bench.receive(&suspect("me", 1, &["m1"]));
    let own = bench.node.local().identity;
    bench.node.confirm_conflict(own, addr(50));
    assert!(bench.node.is_displaced() && !bench.node.flaps.is_held());
    bench.pass(secs(1100));
    assert_eq!(bench.node.local().identity, own);
}

#[test]
fn a_node_that_takes_its_name_back_is_away_no_longer() {
    let mut bench = once_failed(5, true);
    bench.receive(&suspect("me", 1, &["m1"]));
    bench.has_news("me");
    bench.receive(&Alive { epoch: EPOCH + 5, ..alive("me", 0, addr(50)) });
    assert!(bench.has_news("me") && !bench.node.flaps.is_held());
}

#[test]
fn a_verdict_waits_for_a_probe_and_is_forgotten_with_its_member() {
    let mut bench = Bench::new(8);
    bench.receive(&failed("m3", 0)).receive(&alive("m3", 1, addr(3)));
    bench.sent();
    // A ping that a forged datagram causes does not use up the verdict.
    let lie = forge::packet("m3", &[Message::Suspect(suspect("m2", 0, &["m1"]))]);
    bench.node.handle_datagram(bench.now, addr(66), &lie);
    let [(to, ping)] = &bench.sent()[..] else { panic!("m3 is asked whether it was it") };
    assert_eq!(*to, addr(3));
    messages(ping, |message| assert!(!message.is_claim(), "{message:?}"));
    assert!(bench.node.flaps.verdict_on("m3").is_some());
    bench.receive(&failed("m3", 1));
    let id = bench.node.table.find("m3").expect("it is remembered");
    bench.node.evict_departed(id);
    assert_eq!(bench.node.flaps.verdict_on("m3"), None);
}
