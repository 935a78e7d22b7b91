//! Members that come and go.

use super::{
    super::{Event, Time},
    bench::{Bench, failed},
    world::{World, addr, converged, secs},
};

/// The member hears nothing for 20 s, then everything for 20 s, and so on.
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
    events.filter(|(_, event)| matches!(event, Event::Joined(member) if member.addr == addr(7))).count()
}

#[test]
fn who_fails_again_and_again_stays_away_until_it_is_well() {
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
fn who_failed_once_comes_back_at_once() {
    let mut world = converged(32, 20);
    flip_flop(&mut world, 7, 1);
    assert_eq!(world.node(7).metrics().flaps_damped, 0);
    assert!(world.all_see(20));
}

#[test]
fn a_verdict_that_somebody_made_up_is_refuted_at_once_however_often_it_comes() {
    let mut bench = Bench::new(5);
    for times in 1..=5 {
        let incarnation = bench.node.local().identity.incarnation;
        bench.hear(&failed("me", incarnation));
        assert_eq!(bench.node.local().identity.incarnation, incarnation + 1, "verdict {times}");
        assert!(bench.has_news("me"));
    }
}

#[test]
fn tags_that_change_while_it_stays_away_are_known_when_it_is_back() {
    let mut world = converged(33, 20);
    flip_flop(&mut world, 7, 3);
    let tags = crate::Tags::new([("k", "v")]).expect("they are short");
    world.with(7, |node, now| node.set_tags(now, tags.clone()));
    world.run_for(secs(2));
    assert!(!world.node(0).members().iter().any(|m| m.addr == addr(7) && m.state.is_live()), "still away");
    world.run_until("its return", secs(150), |world| world.all_see(20));
    world.run_until("its tags", secs(5), |world| world.node(0).member("n7").is_some_and(|m| m.tags == tags));
}
