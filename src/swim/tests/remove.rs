//! Removing a failed member, and the effects.

use std::collections::BTreeSet;

use super::{
    super::{
        Config, Event, Identity,
        MemberState::{self, Alive, Failed, Left, Suspect},
        Origin, Removal, StreamStep,
    },
    bench::{self, Bench, EPOCH, alive, failed, left, messages, packet_of, say, suspect},
    world::{Latency, World, addr, converged, converged_with, millis, partition, secs},
};
use crate::{
    Error,
    wire::message::{self, Ack, Message, Removed},
};

fn removed(incarnation: u64, reap: bool) -> message::Left<'static> {
    message::Left { removed: Some(Removed { by: "m1", reap }), ..left("m2", incarnation) }
}

/// A bench whose member m2 is in a given state at incarnation 5.
fn with_m2(state: MemberState) -> Bench {
    let mut bench = Bench::new(4);
    bench.receive(&alive("m2", 5, addr(2)));
    match state {
        Suspect => _ = bench.receive(&suspect("m2", 5, &["m1"])),
        Failed => _ = bench.receive(&failed("m2", 5)),
        Left => _ = bench.receive(&left("m2", 5)),
        _ => {}
    }
    bench.kinds();
    bench.has_news("m2");
    // It has had its time to refute.
    bench.now = bench.now + secs(30);
    bench.node.advance(bench.now);
    bench
}

#[test]
fn the_table_of_claims_that_a_member_was_removed() {
    // (held, reap, incarnation) → (standing, events, spread). Held incarnation is 5.
    type Row = (MemberState, bool, u64, Option<(MemberState, u64)>, &'static [&'static str], bool);
    let rows: [Row; 20] = [
        (Alive, false, 4, Some((Alive, 5)), &[], false),
        (Alive, false, 5, Some((Left, 5)), &["left"], true),
        (Alive, true, 4, Some((Alive, 5)), &[], false),
        (Alive, true, 5, Some((Left, 5)), &["left"], true),
        (Suspect, false, 4, Some((Suspect, 5)), &[], false),
        (Suspect, false, 5, Some((Left, 5)), &["left"], true),
        (Suspect, true, 5, Some((Left, 5)), &["left"], true),
        (Failed, false, 4, Some((Failed, 5)), &[], false),
        (Failed, false, 5, Some((Left, 5)), &["left"], true),
        (Failed, false, 6, Some((Left, 6)), &["left"], true),
        (Failed, true, 4, Some((Failed, 5)), &[], false),
        (Failed, true, 5, None, &["left", "reaped"], true),
        (Failed, true, 6, None, &["left", "reaped"], true),
        (Left, false, 4, Some((Left, 5)), &[], false),
        // It had heard of the leave, not that it was a removal.
        (Left, false, 5, Some((Left, 5)), &[], true),
        (Left, false, 6, Some((Left, 6)), &[], true),
        (Left, true, 4, Some((Left, 5)), &[], false),
        (Left, true, 5, None, &["reaped"], true),
        (Left, true, 6, None, &["reaped"], true),
        (Left, true, 7, None, &["reaped"], true),
    ];
    for (held, reap, incarnation, standing, events, spread) in rows {
        let mut bench = with_m2(held);
        bench.receive(&removed(incarnation, reap));
        let row = format!("{held} 5 hears removed {incarnation}, reap {reap}");
        assert_eq!(bench.standing("m2"), standing, "{row}");
        assert_eq!(bench.kinds(), events, "{row}");
        assert_eq!(bench.has_news("m2"), spread, "{row}");
        bench.receive(&removed(incarnation, reap));
        assert_eq!(bench.kinds(), [""; 0], "{row}, again");
        assert!(!bench.has_news("m2"), "{row}, again");
    }
}

#[test]
fn digests_of_removals_agree_in_time_whatever_identity_each_node_was_told() {
    let mut world = converged(7, 3);
    world.checker = None;
    for (host, incarnation, removed) in [(0, 6, None), (1, 5, Some(Removed { by: "n2", reap: false }))] {
        world.with(host, |node, _| {
            let claim = message::Left { removed, ..left("ghost", incarnation) };
            bench::tell(node, &Message::Left(claim), addr(2));
        });
    }
    world.run_for(secs(600));
    let digests: BTreeSet<_> = (0..3).map(|host| world.node(host).table.removals_digest()).collect();
    assert_eq!(digests.len(), 1, "{digests:?}");
}

#[test]
fn only_a_failed_member_can_be_removed() {
    for removal in [Removal::Leave, Removal::Reap] {
        for held in [Alive, Suspect] {
            let mut bench = with_m2(held);
            let refused = bench.node.remove(bench.now, "m2", removal);
            assert!(matches!(refused, Err(Error::StillLive { name }) if name == "m2"));
            assert_eq!((bench.standing("m2"), bench.kinds().len()), (Some((held, 5)), 0));
            assert!(!bench.has_news("m2"));
        }
        let mut bench = with_m2(Failed);
        assert!(matches!(bench.node.remove(bench.now, "me", removal), Err(Error::StillLive { .. })));
        let unknown = bench.node.remove(bench.now, "m9", removal);
        assert!(matches!(unknown, Err(Error::UnknownMember { name }) if name == "m9"));
        bench.node.leave(bench.now);
        assert!(matches!(bench.node.remove(bench.now, "m2", removal), Err(Error::Left)));
        assert_eq!(bench.standing("m2"), Some((Failed, 5)));
    }
}

#[test]
fn a_removed_member_has_left_or_is_listed_no_longer_and_says_who_removed_it() {
    let mut bench = with_m2(Failed);
    bench.node.remove(bench.now, "m2", Removal::Leave).unwrap();
    let events = bench.events();
    let [Event::Left { member, origin: Origin::Own }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&*member.name, member.removed_by.as_deref()), ("m2", Some("me")));
    assert!(events[0].to_string().ends_with(", by me"), "{}", events[0]);
    assert_eq!(bench.member("m2").as_ref(), Some(member));
    assert!(bench.has_news("m2"));
    // A second removal changes nothing.
    bench.node.remove(bench.now, "m2", Removal::Leave).unwrap();
    assert_eq!((bench.kinds().len(), bench.has_news("m2")), (0, false));
    // A member that was declared left may still be reaped.
    bench.node.remove(bench.now, "m2", Removal::Reap).unwrap();
    assert_eq!((bench.kinds(), bench.standing("m2")), (vec!["reaped"], None));
    assert!(bench.has_news("m2"));
    let unknown = bench.node.remove(bench.now, "m2", Removal::Reap);
    assert!(matches!(unknown, Err(Error::UnknownMember { .. })));
    let said = bench.node.explain(bench.now, "m2").to_string();
    assert!(said.contains("removed, by this node"), "{said}");
    let metrics = bench.node.metrics();
    assert_eq!((metrics.member_removals, metrics.member_leaves, metrics.member_failures), (1, 0, 1));
    // It comes back by a greater identity, as always.
    bench.receive(&alive("m2", 5, addr(2)));
    assert_eq!(bench.standing("m2"), None);
    bench.receive(&alive("m2", 6, addr(2)));
    assert_eq!(bench.member("m2").map(|member| (member.state, member.removed_by)), Some((Alive, None)));
}

/// The claims in packets that m2 has left.
fn told(packets: &[Vec<u8>]) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for packet in packets {
        messages(packet, |message| {
            if let Message::Left(message::Left { name: "m2", .. }) | Message::Departed(_) = message {
                told.insert(format!("{message:?}"));
            }
        });
    }
    told
}

#[test]
fn the_remover_of_a_member_is_passed_on_in_gossip_and_in_tables() {
    for reap in [false, true] {
        let mut bench = with_m2(Failed);
        bench.receive(&removed(5, reap));
        bench.pass(secs(1));
        let sent: Vec<_> = bench.sent().into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(told(&sent), BTreeSet::from([format!("{:?}", Message::Left(removed(5, reap)))]));
        let stream = bench.node.accept_stream(bench.now, addr(3)).expect("there is room");
        let hello = message::Hello { name: "m3", digest: 0, removals: 0 };
        bench.node.handle_frame(bench.now, stream, &packet_of(&hello));
        let mut table = Vec::new();
        bench.node.poll_stream(bench.now, stream, &mut table);
        let departed = message::Departed {
            name: "m2",
            epoch: EPOCH,
            incarnation: 5,
            left: true,
            age_secs: 1,
            removed: removed(5, reap).removed,
        };
        assert_eq!(told(&[table]), BTreeSet::from([format!("{:?}", Message::Departed(departed))]));
    }
}

#[test]
fn a_table_says_who_removed_a_member_and_that_it_is_to_be_reaped() {
    for held in [Alive, Failed, Left] {
        for reap in [false, true] {
            let mut bench = with_m2(held);
            let removed = Some(Removed { by: "m3", reap });
            let departed = message::Departed {
                name: "m2",
                epoch: EPOCH,
                incarnation: 5,
                left: true,
                age_secs: 9,
                removed,
            };
            bench.sync(Message::Departed(departed));
            let listed = bench.member("m2").map(|member| member.removed_by.as_deref().map(str::to_owned));
            let shown = !reap || held == Alive;
            assert_eq!(listed, shown.then(|| Some("m3".to_owned())), "{held}, reap {reap}");
        }
    }
}

/// A sender that first claims that a member failed, or left, and then that it is to be reaped, does not shorten the member's
/// time to refute.
#[test]
fn a_member_that_has_just_departed_has_time_to_refute_before_it_is_hidden() {
    for first in [Message::Failed(failed("m2", 0)), Message::Left(left("m2", 0))] {
        let mut bench = Bench::new(4);
        let reaped = message::Left { removed: removed(0, true).removed, ..left("m2", 0) };
        say(&mut bench, "m3", addr(3), &[first, Message::Left(reaped)]);
        assert!(bench.member("m2").is_some() && !bench.kinds().contains(&"reaped"));
        bench.pass(secs(31));
        assert!(bench.member("m2").is_none() && bench.kinds().contains(&"reaped"));
    }
}

/// Otherwise a liar could lower the majority: a peer that has left counts, and a tombstone does not.
#[test]
fn a_live_member_that_is_said_to_be_reaped_has_time_to_refute_before_it_is_hidden() {
    for refutes in [false, true] {
        let mut bench = with_m2(Alive);
        bench.receive(&removed(5, true));
        assert_eq!((bench.standing("m2"), bench.kinds()), (Some((Left, 5)), vec!["left"]));
        if refutes {
            bench.pass(secs(1));
            bench.receive(&alive("m2", 6, addr(2)));
            assert_eq!(bench.standing("m2"), Some((Alive, 6)));
        }
        // No member answers here, so others fail meanwhile.
        bench.pass(secs(if refutes { 28 } else { 29 }));
        assert!(!bench.kinds().contains(&"reaped"));
        bench.pass(secs(2));
        assert_eq!(bench.kinds().contains(&"reaped"), !refutes);
    }
}

/// Two nodes know the same live members, and one of them knows of a removal: only the removed members go over the wire.
#[test]
fn an_exchange_for_a_removal_alone_exchanges_the_removed_members_alone() {
    let mut bench = with_m2(Failed);
    bench.receive(&removed(5, false));
    bench.node.updates.clear();
    let stream = bench.node.accept_stream(bench.now, addr(1)).expect("there is room");
    let hello = message::Hello { name: "m1", digest: bench.node.settled_digest(), removals: 0 };
    let mut kinds = Vec::new();
    for said in [packet_of(&hello), packet_of(&message::BucketSelection { buckets: 0 })] {
        bench.node.handle_frame(bench.now, stream, &said);
        let mut frame = Vec::new();
        assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
        messages(&frame, |message| {
            kinds.push(match message {
                Message::BucketDigests(_) => "digests",
                Message::Departed(message::Departed { name: "m2", removed: Some(_), .. }) => "m2",
                Message::End(_) => "end",
                _ => "other",
            });
        });
    }
    assert_eq!(kinds, ["digests", "m2", "end"]);
    // A node that knows the same has nothing to tell.
    let removals = bench.node.table.removals_digest();
    assert_ne!(removals, 0);
    let stream = bench.node.accept_stream(bench.now, addr(1)).expect("there is room");
    bench.node.handle_frame(bench.now, stream, &packet_of(&message::Hello { removals, ..hello }));
    let mut frame = Vec::new();
    bench.node.poll_stream(bench.now, stream, &mut frame);
    let mut same = false;
    messages(&frame, |message| same |= matches!(message, Message::Same(_)));
    assert!(same);
    // A leave without removal changes only the digest of the live members.
    bench.receive(&left("m3", 0));
    assert_eq!(bench.node.table.removals_digest(), removals);
}

/// Tables pass on the tombstone of an unknown name with all that is known of it.
#[test]
fn the_removal_of_an_unknown_name_is_remembered() {
    let mut bench = Bench::new(1);
    let claim = message::Left { removed: Some(Removed { by: "m1", reap: true }), ..left("x", 3) };
    bench.receive(&claim).receive(&alive("x", 3, addr(9)));
    assert_eq!((bench.standing("x"), bench.kinds().len()), (None, 0));
    let id = bench.node.table.find("x").expect("a tombstone");
    assert_eq!(bench.node.table.get(id).removed.as_deref().map(|removed| removed.told()), claim.removed);
}

/// The member's answer comes when it was removed already: it is asked for its table, hears of the removal, and refutes.
#[test]
fn a_member_that_answers_a_reconnect_after_it_was_removed_learns_of_it() {
    let mut bench = Bench::new(1);
    bench.receive(&alive("m2", 5, addr(2)));
    bench.meet("m2");
    bench.receive(&failed("m2", 5));
    let ping = loop {
        bench.pass(secs(1));
        let to_m2 = bench.sent().into_iter().find(|(to, _)| *to == addr(2));
        if let Some((_, bytes)) = to_m2 {
            let mut asked = None;
            messages(&bytes, |message| {
                if let Message::Ping(message::Ping { seq, target: "m2" }) = message {
                    asked = Some(*seq);
                }
            });
            if let Some(seq) = asked.filter(|_| bench.node.metrics().reconnects_tried > 0) {
                break seq;
            }
        }
    };
    bench.node.remove(bench.now, "m2", Removal::Reap).unwrap();
    assert_eq!(bench.node.reconnects.len(), 0, "it is tried no more");
    bench.opened();
    bench.receive_as(Some("m2"), addr(2), &Ack { seq: ping });
    assert_eq!(bench.opened().iter().map(|(_, to)| *to).collect::<Vec<_>>(), [addr(2)]);
    assert_eq!(bench.standing("m2"), None, "an answer alone is no refutation");
    bench.receive_as(Some("m2"), addr(2), &alive("m2", 6, addr(2)));
    bench.sync(Message::Alive(alive("m2", 6, addr(2))));
    assert_eq!(bench.standing("m2"), Some((Alive, 6)));
}

/// All others declare the last of `n` nodes failed, and n0 removes it while it is cut off.
fn cut_off_and_removed(seed: u64, n: usize, removal: Removal) -> World {
    let mut world = converged(seed, n);
    let others: Vec<_> = (0..n - 1).collect();
    partition(&mut world, &others, &[n - 1]);
    let name = format!("n{}", n - 1);
    let fails = |world: &World| others.iter().all(|host| world.state(*host, &name) == Some(Failed));
    world.run_until("it is declared failed", secs(60), fails);
    // It has had its time to refute.
    world.run_for(secs(30));
    world.with(0, |node, now| node.remove(now, &name, removal)).unwrap();
    let wanted = (removal == Removal::Leave).then_some(Left);
    let knows = |world: &World| others.iter().all(|host| world.state(*host, &name) == wanted);
    world.run_until("all know that it was removed", secs(5), knows);
    world
}

#[test]
fn a_member_that_lives_after_all_is_back_within_a_round_trip_of_hearing_that_it_was_removed() {
    for (seed, removal) in [(1, Removal::Leave), (2, Removal::Reap), (3, Removal::Leave), (4, Removal::Reap)]
    {
        let mut world = cut_off_and_removed(seed, 4, removal);
        world.net.latency = Latency::Uniform(millis(10), millis(10));
        world.net.heal();
        let before = world.node(3).metrics().refutations;
        world.run_until("it hears of it", secs(120), |world| world.node(3).metrics().refutations > before);
        let is_back = |world: &World| (0..3).any(|host| world.state(host, "n3") == Some(Alive));
        let took = world.run_until("it is back", secs(1), is_back);
        assert!(took <= millis(20), "{took:?}");
        world.run_until("all list it again", secs(30), |world| world.all_see(4));
    }
}

#[test]
fn all_members_learn_who_removed_a_member_even_after_a_partition() {
    for (seed, removal) in [(5, Removal::Leave), (6, Removal::Reap)] {
        let mut world = converged(seed, 6);
        // n4 is cut off, n5 is dead.
        world.crash(5);
        partition(&mut world, &[0, 1, 2, 3], &[4]);
        world.run_for(secs(60));
        assert_eq!(world.state(4, "n5"), Some(Failed));
        world.with(0, |node, now| node.remove(now, "n5", removal)).unwrap();
        world.run_for(secs(60));
        assert_eq!(world.state(4, "n5"), Some(Failed), "it does not know");
        world.net.heal();
        world.run_until("all see all", secs(120), |world| world.all_see(5));
        world.run_for(secs(60));
        for host in 0..5 {
            let n5 = world.node(host).member("n5");
            let expected = (removal == Removal::Leave).then(|| (Left, Some("n0".into())));
            assert_eq!(n5.map(|n5| (n5.state, n5.removed_by)), expected, "host {host}");
        }
        // It is never listed again while the removal is remembered, and a new life may come back.
        world.run_for(secs(3600));
        let shown = |e: &Event| matches!(e, Event::Joined { member } if &*member.name == "n5");
        let times = |world: &World| {
            (0..5).map(|host| world.hosts[host].events.iter().filter(|(_, e)| shown(e)).count()).max()
        };
        assert_eq!(times(&world), Some(1));
        world.restart(5);
        world.run_until("it is back", secs(60), |world| world.all_see(6));
    }
}

/// A member that slept, and still holds the dead member alive, does not bring it back.
#[test]
fn a_removed_dead_member_is_not_brought_back_by_one_that_slept() {
    for seed in 10..14 {
        let mut world = converged_with(seed, 5, |config| config.notice_stalls = seed % 2 == 0);
        world.pause(3, secs(120));
        world.crash(4);
        let others = [0, 1, 2];
        let gone = |world: &World| others.iter().all(|host| world.state(*host, "n4") == Some(Failed));
        world.run_until("it failed", secs(60), gone);
        world.with(1, |node, now| node.remove(now, "n4", Removal::Reap)).unwrap();
        world.run_for(secs(300));
        for host in 0..4 {
            assert_eq!(world.state(host, "n4"), None, "seed {seed}, host {host}");
        }
        for host in others {
            let joined = |e: &Event| matches!(e, Event::Joined { member } if &*member.name == "n4");
            let joined = world.hosts[host].events.iter().filter(|(_, e)| joined(e)).count();
            assert_eq!(joined, 1, "seed {seed}, host {host}");
        }
    }
}

/// hashicorp/consul#9962: tens of thousands were removed, and the queue never drained.
#[test]
fn ten_thousand_removals_at_once_drain_within_two_minutes_and_none_returns() {
    const GONE: usize = 10_000;
    for (live, removal) in [(5, Removal::Leave), (9, Removal::Reap)] {
        let mut world = converged(live as u64, live);
        (world.checker, world.keep_events) = (None, false);
        let names: Vec<_> = (0..GONE).map(|i| format!("gone-{i}")).collect();
        for host in 0..live {
            world.with(host, |node, _| {
                for (i, name) in names.iter().enumerate() {
                    bench::tell(node, &Message::Alive(alive(name, 0, addr(10_000 + i))), addr(1));
                    bench::tell(node, &Message::Failed(failed(name, 0)), addr(1));
                }
                node.updates.clear();
            });
        }
        world.run_for(secs(5));
        assert_eq!(world.node(live - 1).metrics().failed_members, GONE as u64);
        for name in &names {
            world.with(0, |node, now| node.remove(now, name, removal)).unwrap();
        }
        let took = world.run_until("the queues are empty", secs(120), |world| {
            let drained = |host: usize| world.node(host).metrics().queued_updates == 0;
            let knows = |host: usize| world.node(host).metrics().failed_members == 0;
            (0..live).all(|host| knows(host) && drained(host))
        });
        println!("{live} live, {removal:?}: {took:?}");
        world.run_for(secs(100));
        let left = if removal == Removal::Leave { GONE as u64 } else { 0 };
        for host in 0..live {
            let metrics = world.node(host).metrics();
            let listed = (metrics.live_members, metrics.failed_members, metrics.left_members);
            assert_eq!(listed, (live as u64, 0, left), "host {host}");
            assert_eq!(metrics.queued_updates, 0);
        }
    }
}

/// The tombstone lasts for `forget_after` from the removal on, though the member failed long before.
#[test]
fn a_removed_member_is_remembered_from_its_removal_on() {
    let config = Config { forget_after: secs(1000), reap_failed_after: secs(900), ..Config::lan("me") };
    let mut bench = Bench::with(config, 3);
    bench.receive(&failed("m2", 0));
    bench.pass(secs(800));
    bench.node.remove(bench.now, "m2", Removal::Reap).unwrap();
    bench.pass(secs(900));
    bench.sync(Message::Alive(alive("m2", 0, addr(2))));
    assert_eq!(bench.standing("m2"), None);
    let id = bench.node.table.find("m2").expect("it is remembered");
    assert_eq!(bench.node.table.get(id).identity, Identity { epoch: EPOCH, incarnation: 0 });
    bench.pass(secs(200));
    assert_eq!(bench.node.table.find("m2"), None);
}
