//! Joining, leaving, restarting, and conflicts about a name.

use super::{
    super::{Config, Event, JoinProblem, MemberState, Standing, Time, timers::Timer},
    bench::{self, Bench, EPOCH, alive, say},
    world::{World, addr, converged, converged_with, millis, secs},
};
use crate::{
    Tags,
    wire::message::{Alive, Message},
};

fn saw(world: &World, host: usize, wanted: impl Fn(&Event) -> bool) -> bool {
    world.hosts[host].events.iter().any(|(_, event)| wanted(event))
}

fn failed(name: &str) -> impl Fn(&Event) -> bool + '_ {
    move |event| matches!(event, Event::Failed { member, .. } if &*member.name == name)
}

#[test]
fn nodes_that_join_through_one_seed_see_each_other() {
    for n in [2, 3, 20, 60] {
        let world = converged(1, n);
        assert!(world.views_are_true());
        for host in world.up() {
            let joined =
                world.hosts[host].events.iter().filter(|(_, e)| matches!(e, Event::Joined { .. })).count();
            assert_eq!(joined, n, "each member joins once, ourselves included");
        }
    }
}

#[test]
fn a_node_that_is_its_own_seed_is_a_cluster_of_one() {
    let mut world = World::new(1);
    world.start(Config::lan("a"), addr(0), vec![addr(0)]);
    world.run_for(secs(120));
    assert!(world.hosts[0].joins.iter().all(|result| *result == Ok(0)));
    assert_eq!(world.node(0).live(), 1);
}

#[test]
fn two_nodes_do_not_keep_updates_that_only_concern_each_other() {
    let world = converged(1, 2);
    assert!(world.up().all(|host| world.node(host).metrics().queued_updates == 0));
}

#[test]
fn seeds_are_tried_for_ever_until_they_answer() {
    let mut world = World::new(2);
    world.start(Config::lan("a"), addr(0), vec![addr(1)]);
    world.run_for(secs(600));
    assert!(world.hosts[0].joins.len() > 10);
    assert_eq!(world.hosts[0].joins[0], Err(JoinProblem::Refused { addr: addr(1) }));
    world.start(Config::lan("b"), addr(1), vec![]);
    world.run_until("join", secs(60), |world| world.all_see(2));
}

#[test]
fn a_leave_is_seen_by_all_as_left_and_never_as_failed() {
    for (seed, n, loss) in [(1, 2, 0.0), (2, 5, 0.0), (3, 40, 0.0), (4, 2, 0.3), (5, 20, 0.3)] {
        let mut world = converged(seed, n);
        world.net.lose(loss);
        let leaver = n - 1;
        let name = format!("n{leaver}");
        world.with(leaver, |node, now| node.leave(now));
        world.run_until("leave", secs(2), |world| world.hosts[leaver].left);
        world.crash(leaver);
        world.run_until("left everywhere", secs(60), |world| {
            world.up().all(|host| world.state(host, &name) == Some(MemberState::Left))
        });
        for host in world.up() {
            assert!(!saw(&world, host, failed(&name)), "seed {seed}, host {host}");
        }
    }
}

#[test]
fn without_loss_a_leave_takes_milliseconds() {
    let mut world = converged(7, 20);
    world.with(19, |node, now| node.leave(now));
    let took = world.run_until("left everywhere", secs(1), |world| world.all_see(19));
    assert!(took < millis(200), "{took:?}");
}

#[test]
fn a_leaver_does_not_come_back_by_claims_of_others() {
    let mut world = converged(8, 5);
    world.with(4, |node, now| node.leave(now));
    world.run_for(secs(100));
    for host in 0..4 {
        assert_eq!(world.state(host, "n4"), Some(MemberState::Left));
        let joins = |e: &&(Time, Event)| matches!(&e.1, Event::Joined { member: m, .. } if &*m.name == "n4");
        assert_eq!(world.hosts[host].events.iter().filter(joins).count(), 1);
    }
}

#[test]
fn departed_members_are_reaped_by_time_and_forgotten_later() {
    let mut world = converged_with(9, 4, |config| {
        config.reap_failed_after = secs(100);
        config.reap_left_after = secs(50);
        config.forget_after = secs(200);
    });
    world.with(2, |node, now| node.leave(now));
    world.crash(3);
    world.run_for(secs(60));
    assert_eq!(world.state(0, "n2"), None, "left, reaped");
    assert_eq!(world.state(0, "n3"), Some(MemberState::Failed));
    assert_eq!(world.node(0).metrics().departed_members, 2, "its identity is remembered");
    world.run_for(secs(300));
    assert_eq!(world.state(0, "n3"), None);
    assert_eq!(world.node(0).metrics().departed_members, 0);
    for name in ["n2", "n3"] {
        let reaped = |e: &Event| matches!(e, Event::Reaped { member: m, .. } if &*m.name == name);
        assert!(saw(&world, 0, reaped));
    }
}

#[test]
fn a_restart_at_the_same_address_supersedes_its_past_at_once() {
    let mut world = converged(10, 6);
    world.crash(5);
    world.run_for(millis(300));
    world.restart(5);
    let epoch = world.node(5).local().identity.epoch;
    let took = world.run_until("new life everywhere", secs(1), |world| {
        let is_new =
            |m: &super::super::Member| &*m.name == "n5" && m.identity.epoch == epoch && m.state.is_live();
        world.up().all(|host| world.node(host).members().iter().any(is_new))
    });
    assert!(took < millis(500), "{took:?}");
    assert!(saw(&world, 0, failed("n5")), "the old life ended");
}

#[test]
fn a_restart_at_another_address_supersedes_its_past_at_once() {
    for (seed, n, left) in [(11, 6, false), (12, 40, false), (13, 40, true)] {
        let mut world = converged(seed, n);
        world.run_for(secs(60));
        if left {
            world.with(5, |node, now| node.leave(now));
            world.run_for(secs(2));
        }
        world.crash(5);
        let new = world.start(Config::lan("n5"), addr(77), vec![addr(0)]);
        let took = world.run_until("new life everywhere", secs(2), |world| {
            let is_new =
                |m: &super::super::Member| &*m.name == "n5" && m.addr == addr(77) && m.state.is_live();
            world.up().all(|host| world.node(host).members().iter().any(is_new))
        });
        println!("{n} nodes, left: {left}: {took:?}");
        assert!(took < secs(1), "{took:?}");
        world.run_for(millis(10));
        assert_eq!(world.hosts[new].joins, [Ok(1)]);
        assert!(!saw(&world, new, |e| matches!(e, Event::Conflict { .. })), "its own past is no newcomer");
    }
}

/// Other members reach the restarted node there.
#[test]
fn a_restart_elsewhere_is_known_where_it_is_not_reached_once_it_is_silent_where_it_was() {
    let mut world = converged(14, 12);
    world.run_for(secs(60));
    world.crash(5);
    let new = world.start(Config::lan("n5"), addr(77), vec![addr(1)]);
    world.net.cut.extend([(0, new), (new, 0)]);
    let is_there = |m: super::super::Member| m.addr == addr(77) && m.state.is_live();
    let took = world
        .run_until("its new address", secs(15), |world| world.node(0).member("n5").is_some_and(is_there));
    println!("{took:?}");
    world.run_for(secs(60));
    assert!(world.node(0).member("n5").is_some_and(is_there));
}

/// A host is reached at two addresses: the past life's address belongs to no other process.
#[test]
fn a_restart_under_another_address_of_its_host_is_not_told_that_its_name_is_taken() {
    for seed in 0..8 {
        let mut world = converged(seed, 6);
        world.crash(5);
        let new = world.start(Config::lan("n5"), addr(77), vec![addr(0)]);
        world.move_addr(addr(5), new);
        let took = world.run_until("new life everywhere", secs(2), |world| {
            let is_new =
                |m: &super::super::Member| &*m.name == "n5" && m.addr == addr(77) && m.state.is_live();
            world.up().all(|host| world.node(host).members().iter().any(is_new))
        });
        println!("seed {seed}: {took:?}");
        world.run_for(secs(2));
        assert_eq!(world.hosts[new].joins, [Ok(1)], "seed {seed}");
        for host in world.up() {
            assert!(!saw(&world, host, |e| matches!(e, Event::Conflict { .. })), "seed {seed}");
        }
    }
}

#[test]
fn a_restart_with_a_clock_set_back_still_supersedes_its_past() {
    let mut world = converged(12, 4);
    let past = world.node(3).local().identity;
    world.crash(3);
    let start = super::super::Start { addr: addr(3), epoch: 5, seed: 1, tags: Default::default() };
    let mut node = super::super::Node::new(Config::lan("n3"), start, world.now());
    node.seek_seeds(world.now());
    world.hosts[3].endpoint = Some(Box::new(crate::data::Endpoint::new(node)));
    world.with(3, |_, _| {});
    world.run_until("return", secs(2), |world| world.node(3).local().identity.epoch == past.epoch + 1);
    world.run_until("true views", secs(2), World::views_are_true);
}

#[test]
fn a_newcomer_with_a_live_nodes_name_cannot_join_and_the_incumbent_stays() {
    let mut world = converged(13, 5);
    let before = world.node(2).local();
    let newcomer = world.start(Config::lan("n2"), addr(50), vec![addr(0)]);
    world.run_for(secs(20));
    assert_eq!(world.hosts[newcomer].joins[0], Err(JoinProblem::NameTaken { holder: addr(2) }));
    assert_eq!(world.node(2).local(), before);
    for host in 0..5 {
        assert!(world.node(host).members().iter().any(|m| &*m.name == "n2" && m.addr == addr(2)));
        assert!(!saw(&world, host, failed("n2")));
    }
    assert!(saw(&world, newcomer, |e| matches!(e, Event::Conflict { .. })), "its own program is told");
}

/// Two clusters that are about to meet, "left" on host 1 and "right" on host 3. Each has an "x", on host 0 and on the later
/// host 2, and neither could know of the other's.
fn two_of_one_name(seed: u64) -> World {
    let mut world = World::new(seed);
    world.start(Config::lan("x"), addr(0), vec![]);
    world.start(Config::lan("left"), addr(1), vec![addr(0)]);
    world.run_for(secs(3));
    world.start(Config::lan("x"), addr(2), vec![]);
    world.start(Config::lan("right"), addr(3), vec![addr(2)]);
    world.run_for(secs(3));
    world.with(3, |node, now| node.join(now, 1, &[addr(1)]));
    world
}

#[test]
fn when_two_of_one_name_meet_the_newcomer_yields_and_both_report_it() {
    let mut world = two_of_one_name(14);
    // A displaced node is in no table, and hears of the conflict by its next periodic exchange.
    world.run_until("both reports", secs(90), |world| {
        [0, 2].iter().all(|host| saw(world, *host, |e| matches!(e, Event::Conflict { .. })))
    });
    world.run_for(secs(5));
    for host in [1, 3] {
        let x = world.node(host).members().into_iter().find(|m| &*m.name == "x").expect("x is known");
        assert_eq!((x.addr, x.state), (addr(0), MemberState::Alive), "host {host}");
    }
}

#[test]
fn a_node_that_yielded_its_name_still_sees_who_is_there() {
    let mut world = two_of_one_name(14);
    world.run_until("one yields", secs(90), |world| world.node(2).is_displaced());
    world.crash(1);
    world.run_until("it sees the crash", secs(120), |world| {
        world.state(2, "left") == Some(MemberState::Failed)
            && world.state(2, "right") == Some(MemberState::Alive)
    });
    assert!(world.node(2).is_displaced(), "its newcomer is there");
}

#[test]
fn a_displaced_node_says_where_the_holder_of_its_name_is_and_counts_the_name_once() {
    let mut world = two_of_one_name(14);
    world.run_until("one yields", secs(90), |world| world.node(2).is_displaced());
    world.run_until("it sees all", secs(90), |world| world.node(2).live() == 3);
    let status = world.node(2).status();
    assert_eq!((&status.standing, status.holder, status.live), (&Standing::Displaced, Some(addr(0)), 3));
    let expected =
        format!("displaced by a node at {}, 3 live, health score {}", addr(0), status.health_score);
    assert!(status.to_string().starts_with(&expected), "{status}");
    assert_eq!(world.node(0).status().holder, None, "the name is its own");
    world.crash(0);
    world.run_until("succession", secs(120), |world| !world.node(2).is_displaced());
    assert_eq!(world.node(2).status().holder, None);
}

#[test]
fn a_yielded_name_is_taken_up_again_when_its_holder_is_gone() {
    let mut world = two_of_one_name(15);
    world.run_for(secs(30));
    world.crash(0);
    world.run_until("succession", secs(120), |world| {
        [1, 3].iter().all(|host| {
            world
                .node(*host)
                .members()
                .iter()
                .any(|m| &*m.name == "x" && m.addr == addr(2) && m.state.is_live())
        })
    });
}

#[test]
fn a_node_that_is_displaced_says_nothing_of_itself_until_the_name_is_its_own_again() {
    let mut bench = Bench::new(3);
    let own = bench.node.local().identity;
    bench.node.confirm_conflict(bench.node.local().identity, addr(50));
    bench.node.set_tags(bench.now, crate::Tags::new([("k", "v")]).unwrap());
    assert_eq!(bench.node.local().identity, own);
    assert!(!bench.has_news("me"));
    bench.pass(millis(900));
    bench.sent();
    // The newcomer is gone: this node takes part again in every way.
    bench.receive(&bench::failed("me", own.incarnation));
    assert!(bench.has_news("me"));
    for timer in [Timer::Probe, Timer::Sync] {
        assert!(bench.node.timers.is_set(timer), "{timer:?}");
    }
}

#[test]
fn a_restart_without_seeds_is_known_to_all_as_soon_as_a_member_pings_it() {
    for (seed, n) in [(41, 4), (42, 20), (43, 100)] {
        let mut world = converged(seed, n);
        world.run_for(secs(60));
        world.crash(5 % n);
        world.hosts[5 % n].seeds.clear();
        world.restart(5 % n);
        let (name, epoch) =
            (world.hosts[5 % n].config.name.clone(), world.node(5 % n).local().identity.epoch);
        let took = world.run_until("the new life everywhere", secs(30), |world| {
            let is_new = |m: super::super::Member| m.identity.epoch == epoch && m.state.is_live();
            world.up().all(|host| world.node(host).member(&name).is_some_and(is_new))
                && world.node(5 % n).live() == n
        });
        println!("{n} nodes: {took:?}");
        assert!(took < secs(8), "{n} nodes: {took:?}");
    }
}

#[test]
fn when_many_leave_at_once_the_rest_hears_of_every_leave() {
    for (seed, n, stay) in [(51, 8, 1), (52, 16, 1), (53, 100, 3), (54, 100, 10)] {
        let mut world = converged(seed, n);
        world.run_for(secs(60));
        for leaver in stay..n {
            world.with(leaver, |node, now| node.leave(now));
        }
        for leaver in stay..n {
            world.run_until("leave", secs(3), |world| world.hosts[leaver].left);
            world.crash(leaver);
        }
        world.run_for(secs(60));
        let states = |host: usize, wanted| {
            (stay..n).filter(|i| world.state(host, &format!("n{i}")) == Some(wanted)).count()
        };
        for host in 0..stay {
            let (left, failed) = (states(host, MemberState::Left), states(host, MemberState::Failed));
            println!("{stay} of {n} stay: host {host} sees {left} left, {failed} failed");
            assert_eq!(left, n - stay, "seed {seed}, host {host}");
        }
    }
}

/// An attacker has spoken in the leaver's name: no member would believe a leave under the leaver's old identity.
#[test]
fn a_node_that_is_told_that_it_leaves_under_an_old_identity_leaves_under_a_later_one() {
    leaves_after_a_lie(0);
    leaves_after_a_lie(1024);
}

fn leaves_after_a_lie(later: u64) {
    let mut world = converged(81, 5);
    // A claim of a later life ends the earlier one.
    world.checker = None;
    world.run_for(secs(20));
    let lied = world.node(4).local().identity.incarnation + 3;
    // All members except n4 have heard it.
    for host in 0..4 {
        let epoch = world.node(4).local().identity.epoch + later;
        let alive = crate::wire::message::Alive { epoch, ..bench::alive("n4", lied, addr(4)) };
        world.with(host, |node, _| bench::tell(node, &crate::wire::message::Message::Alive(alive), addr(1)));
    }
    world.with(4, |node, now| node.leave(now));
    world.run_until("the leave", secs(3), |world| world.hosts[4].left);
    world.run_until("the same everywhere", secs(3), |world| {
        (0..4).all(|host| world.state(host, "n4") == Some(MemberState::Left))
    });
}

/// A quarter of all datagrams is lost.
fn lossy(seed: u64) -> World {
    let mut world = World::new(seed);
    world.net.datagram_loss = 0.25;
    world
}

#[test]
fn nodes_that_start_together_see_each_other_within_a_second_under_loss_of_any_kind() {
    for seed in 0..16 {
        println!("seed {seed}");
        let mut world = lossy(seed);
        world.start_cluster(32, Config::lan);
        world.run_until("all see all", secs(1), |world| world.all_see(32));
    }
}

#[test]
fn a_newcomer_is_seen_at_once_though_a_quarter_of_the_datagrams_is_lost() {
    let (mut soon, seeds) = (0, 16);
    for seed in 0..seeds {
        println!("seed {seed}");
        let mut world = lossy(seed);
        world.start_cluster(32, Config::lan);
        world.run_for(secs(20));
        world.start(Config::lan("new"), addr(40), vec![addr(0)]);
        let took = world.run_until("all see the newcomer", secs(5), |world| world.all_see(33));
        soon += usize::from(took < millis(500));
    }
    assert!(soon >= seeds as usize * 3 / 4, "within half a second in {soon} of {seeds} clusters");
}

#[test]
fn a_late_word_of_an_earlier_life_brings_no_tags() {
    let mut bench = Bench::new(3);
    let tags = Tags::new([("k", "past")]).unwrap();
    let past = Alive { tags: tags.encoded(), ..alive("m2", 5, addr(2)) };
    for said in [Alive { epoch: EPOCH + 1, ..alive("m2", 0, addr(2)) }, past] {
        say(&mut bench, "m2", addr(2), &[Message::Alive(said)]);
    }
    let m2 = bench.member("m2").expect("it is listed");
    assert_eq!((m2.identity.epoch, m2.tags), (EPOCH + 1, Tags::default()));
}
