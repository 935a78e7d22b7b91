//! Probing, suspicion and local health.

use super::{
    super::{Config, Event, HealthDoubt, MemberState},
    bench::{self, Bench, alive, messages},
    world::{Latency, World, addr, converged, converged_with, millis, partition, secs},
};
use crate::wire::message::{Ack, Alive, Message, Nack};

#[test]
fn a_crash_is_suspected_then_failed_and_everybody_learns_of_it() {
    for (seed, n) in [(1, 2), (2, 3), (3, 8), (4, 40)] {
        let mut world = converged(seed, n);
        world.crash(n - 1);
        let name = format!("n{}", n - 1);
        let took = world.run_until("failure everywhere", secs(60), |world| {
            world.up().all(|host| world.state(host, &name) == Some(MemberState::Failed))
        });
        // Lifeguard's bounds: a probe, then the least and at most the longest suspicion time.
        let least = if n < 5 { secs(4) } else { secs(2) };
        assert!(took >= least, "n {n}: {took:?}");
        let suspected = |host: &usize| {
            world.hosts[*host]
                .events
                .iter()
                .any(|(_, e)| matches!(e, Event::Suspected { member: m, .. } if *m.name == *name))
        };
        assert!(world.up().any(|host| suspected(&host)));
    }
}

/// Members that have not met ping each other all the time, as unverified peers at first; a silent member is probed as often.
#[test]
fn a_crash_among_members_that_have_not_met_is_known_as_soon_as_in_an_old_cluster() {
    let slow = (0..24).filter(|seed| {
        let mut world = converged(*seed, 128);
        world.run_for(secs(10));
        world.crash(64);
        let took = world.run_until("failure everywhere", secs(60), |world| {
            world.up().all(|host| world.state(host, "n64") == Some(MemberState::Failed))
        });
        took > secs(11)
    });
    assert_eq!(slow.count(), 0);
}

#[test]
fn without_faults_no_member_is_ever_suspected_and_each_sends_two_packets_a_period() {
    let mut world = converged(5, 16);
    let before = world.datagrams();
    world.run_for(secs(100));
    let per_period = (world.datagrams() - before) as f64 / 16.0 / 100.0;
    // SWIM Fig. 2: a ping and an ack per member and period.
    assert!((1.98..=2.02).contains(&per_period), "{per_period}");
    for host in world.up() {
        assert!(!world.hosts[host].events.iter().any(|(_, e)| matches!(e, Event::Suspected { .. })));
    }
}

#[test]
fn a_dead_peer_among_healthy_relays_raises_no_health_score() {
    let mut world = converged(6, 6);
    world.net.latency = Latency::Uniform(millis(20), millis(40));
    world.crash(5);
    for _ in 0..100 {
        world.run_for(millis(50));
        for host in world.up() {
            assert_eq!(world.node(host).metrics().health_score, 0, "the relays' nacks came in time");
        }
    }
    assert!(world.up().any(|host| world.node(host).metrics().probes_failed > 0));
}

/// Without nacks the witness is not asked, since its answer is about this node's own health.
#[test]
fn a_witness_is_asked_beside_the_relays_where_nacks_are_on() {
    for (nacks, most) in [(true, 2), (false, 1)] {
        let mut config = Config::lan("me");
        (config.indirect_probes, config.nacks) = (1, nacks);
        let mut bench = Bench::with(config, 20);
        let mut asked = 0;
        for _ in 0..40 {
            bench.receive(&alive("m1", 0, addr(1)));
            bench.pass(millis(100));
            let mut at_once = 0;
            for (_, packet) in bench.sent() {
                messages(&packet, |message| at_once += usize::from(matches!(message, Message::PingReq(_))));
            }
            asked = asked.max(at_once);
        }
        assert_eq!(asked, most, "nacks {nacks}");
    }
}

#[test]
fn without_nacks_a_dead_peer_raises_the_health_score() {
    let mut world = converged_with(6, 6, |config| config.nacks = false);
    // Slow enough that the next answered probe does not lower the score again at once.
    world.net.latency = Latency::Uniform(millis(20), millis(40));
    world.crash(5);
    let mut worst = 0;
    for _ in 0..100 {
        world.run_for(millis(50));
        worst = worst.max(world.up().map(|host| world.node(host).metrics().health_score).max().unwrap());
    }
    assert!(worst > 0);
}

#[test]
fn a_node_cut_off_from_all_doubts_itself_and_probes_more_slowly() {
    for (lha_probe, slower) in [(true, true), (false, false)] {
        let mut world = converged_with(7, 8, |config| config.lha_probe = lha_probe);
        partition(&mut world, &[0], &(1..8).collect::<Vec<_>>());
        let before = world.node(0).metrics().probes;
        world.run_for(secs(6));
        let probes = world.node(0).metrics().probes - before;
        assert_eq!(probes < 5, slower, "{probes} probes in 6 s, LHA-Probe {lha_probe}");
    }
}

#[test]
fn an_indirect_path_keeps_a_member_alive() {
    let mut world = converged_with(8, 6, |config| config.stream_fallback = false);
    partition(&mut world, &[0], &[1]);
    world.run_for(secs(120));
    for (host, name) in [(0, "n1"), (1, "n0")] {
        assert_eq!(world.state(host, name), Some(MemberState::Alive));
    }
    assert!(world.node(0).metrics().probes_indirect > 0);
    assert_eq!(world.node(0).metrics().probes_failed, 0);
}

#[test]
fn a_stream_keeps_a_member_alive_when_all_datagrams_are_lost_and_that_is_counted() {
    let mut world = converged(9, 4);
    world.net.datagram_loss = 1.0;
    world.run_for(secs(60));
    assert!(world.all_see(4));
    assert!(world.node(0).metrics().probes_saved_by_stream > 10);
}

#[test]
fn a_paused_node_that_wakes_accuses_no_member_and_refutes_accusations() {
    for seed in 0..10 {
        let mut world = converged(seed, 10);
        world.pause(3, millis(1300 + 650 * seed));
        world.run_for(secs(40));
        for host in 0..10 {
            let accused = world.hosts[host].events.iter().any(
                |(_, event)| matches!(event, Event::Suspected { member: m, .. } | Event::Failed { member: m, .. } if &*m.name != "n3"),
            );
            assert!(!accused, "seed {seed}, host {host}");
        }
        assert!(world.node(3).metrics().stalls > 0);
        assert!(world.views_are_true(), "seed {seed}");
    }
}

#[test]
fn a_falsely_accused_member_refutes_and_stays() {
    let refuted: u64 = (11..16).map(refutations_when_nothing_reaches_one_for_a_while).sum();
    assert!(refuted > 0);
}

fn refutations_when_nothing_reaches_one_for_a_while(seed: u64) -> u64 {
    let mut world = converged(seed, 10);
    // No packet reaches it for two seconds; the verdict takes at least three, so it can refute.
    for other in (0..10).filter(|other| *other != 4) {
        world.net.cut.insert((other, 4));
    }
    world.run_for(millis(2000));
    world.net.cut.clear();
    world.run_for(secs(30));
    assert!(world.all_see(10));
    for host in 0..10 {
        let failed = |e: &Event| matches!(e, Event::Failed { .. });
        assert!(!world.hosts[host].events.iter().any(|(_, e)| failed(e)), "seed {seed}, host {host}");
    }
    world.node(4).local().identity.incarnation
}

#[test]
fn ten_percent_loss_fails_no_member() {
    let mut world = converged(12, 20);
    world.net.lose(0.10);
    world.run_for(secs(600));
    for host in world.up() {
        assert!(
            !world.hosts[host].events.iter().any(|(_, e)| matches!(e, Event::Failed { .. })),
            "host {host}"
        );
    }
}

#[test]
fn the_mean_time_to_the_first_failing_probe_is_one_period() {
    // SWIM §5.2, Figure 3a, with periods that begin at random: from a crash to the start of the first probe that fails, the
    // mean is 0.92 to 1.02 periods. The suspicion follows one period later.
    let (mut total, runs) = (0.0, 60);
    for seed in 0..runs {
        let mut world = converged_with(seed, 16, |config| config.stream_fallback = false);
        let jitter = world.rng.u64(..1000);
        world.run_for(millis(jitter));
        world.crash(15);
        let took = world.run_until("suspicion", secs(30), |world| {
            world.up().any(|host| world.state(host, "n15") == Some(MemberState::Suspect))
        });
        total += took.as_secs_f64() - 1.0;
    }
    let mean = total / runs as f64;
    // Four standard errors around the law: 60 runs of a nearly exponential time.
    assert!((0.5..1.55).contains(&mean), "{mean}");
}

#[test]
fn a_single_node_without_seeds_sends_nothing() {
    let mut world = World::new(1);
    world.start(Config::lan("a"), addr(0), vec![]);
    world.run_for(secs(3600));
    assert_eq!(world.datagrams(), 0);
}

/// Five nodes send each update only twice, so it often misses a member. A member that suspected alone and missed the verdict
/// then waited for confirmations that no other had reason to send any more.
#[test]
fn a_node_that_misses_the_verdict_learns_it_from_the_next_sync() {
    for seed in 0..300 {
        let mut world = World::new(seed);
        for i in 0..5 {
            let seeds = if i == 0 { vec![] } else { vec![addr(0)] };
            world.start(Config::local(format!("n{i}")), addr(i), seeds);
        }
        world.run_until("convergence", secs(60), |world| world.all_see(5));
        world.crash(3);
        world.run_until("verdict", secs(14), |world| {
            world.up().all(|host| world.state(host, "n3") == Some(MemberState::Failed))
        });
    }
}

/// Others say again and again that a dead member is alive.
#[test]
fn claims_of_others_do_not_keep_a_dead_member_listed() {
    let mut bench = Bench::new(3);
    let mut lies = 0;
    // No member answers; m1 and m3 are heard from all the same.
    while bench.node.member("m2").is_some_and(|m2| m2.state != MemberState::Failed) {
        lies += 1;
        assert!(lies < 120, "m2 is still listed after two minutes");
        bench.receive(&alive("m2", lies, addr(2))).receive(&alive("m1", lies, addr(1)));
        bench.receive_from(addr(3), &alive("m3", lies, addr(3)));
        bench.pass(secs(1));
        bench.sent();
    }
    bench.receive(&alive("m2", 1000, addr(2)));
    assert_eq!(bench.standing("m2").map(|m| m.0), Some(MemberState::Failed));
    // The member speaks for itself, so it is alive.
    let m2 = bench.node.table.find("m2").expect("it is remembered");
    let (sender, token) = (bench.node.table.get(m2).mark, bench.node.table.get(m2).contact.given);
    let datagram = bench::packet_from(sender, token, &alive("m2", 1001, addr(2)));
    bench.node.handle_datagram(bench.now, addr(2), &datagram);
    assert_eq!(bench.standing("m2"), Some((MemberState::Alive, 1001)));
}

/// Others say a few times in each probe round that the dead member lives elsewhere, or has another life.
#[test]
fn claims_of_others_do_not_keep_a_dead_member_listed_elsewhere_or_as_another_life() {
    for moves in [true, false] {
        let mut bench = Bench::new(3);
        let mut lies = 0;
        while bench.node.member("m2").is_some_and(|m2| m2.state != MemberState::Failed) {
            lies += 1;
            assert!(lies < 300, "m2 is still listed after two minutes, moves: {moves}");
            let lie = bench::alive("m2", lies, addr(20 + lies as usize % 2));
            bench.receive(&match moves {
                true => lie,
                false => Alive { epoch: bench::EPOCH + lies, addr: addr(2), ..lie },
            });
            bench.receive(&alive("m1", lies, addr(1)));
            bench.receive_from(addr(3), &alive("m3", lies, addr(3)));
            bench.pass(millis(400));
            bench.sent();
        }
    }
}

#[test]
fn when_most_of_a_cluster_vanishes_the_rest_finds_out_and_fails_no_live_member() {
    for (seed, n) in [(61, 50), (62, 50), (63, 110), (64, 220)] {
        let mut world = converged(seed, n);
        world.run_for(secs(30));
        let stay = n / 10;
        (stay..n).for_each(|gone| world.crash(gone));
        let took = world.run_until("the truth everywhere", secs(60), |world| world.all_see(stay));
        println!("{stay} of {n} stay: {took:?}");
        for host in 0..stay {
            let false_verdicts = world.hosts[host].events.iter().filter(
                |(_, e)| matches!(e, Event::Failed { member: m, .. } if (0..stay).any(|i| *m.name == format!("n{i}"))),
            );
            assert_eq!(false_verdicts.count(), 0);
        }
    }
    for (seed, n) in [(71, 3), (72, 5), (73, 8), (74, 16)] {
        let mut world = converged(seed, n);
        world.run_for(secs(30));
        (1..n).for_each(|gone| world.crash(gone));
        let took = world.run_until("the truth", secs(240), |world| world.all_see(1));
        println!("1 of {n} stays: {took:?}");
    }
}

fn nack(seq: u32) -> Option<Message<'static>> {
    Some(Message::Nack(Nack { seq }))
}

/// A probe among silent members fails. One of them, from which this node hears all the time, sends a nack or does not.
fn failed_round(bench: &mut Bench, heard: usize, answer: impl Fn(u32) -> Option<Message<'static>>) {
    let name = format!("m{heard}");
    let mut asked = Vec::new();
    for _ in 0..60 {
        bench.receive_from(addr(heard), &alive(&name, 0, addr(heard)));
        bench.pass(millis(50));
        for (to, packet) in bench.sent() {
            messages(&packet, |message| {
                if let Message::PingReq(request) = message {
                    asked.push((to, request.seq));
                }
            });
        }
        if !asked.is_empty() {
            break;
        }
    }
    let (_, seq) = asked.iter().find(|(to, _)| *to == addr(heard)).expect("it is among the relays");
    match answer(*seq) {
        Some(Message::Nack(nack)) => _ = bench.receive_from(addr(heard), &nack),
        Some(Message::Ack(ack)) => _ = bench.receive_from(addr(heard), &ack),
        _ => {}
    }
    let failed = bench.node.metrics().probes_failed;
    while bench.node.metrics().probes_failed == failed {
        bench.pass(millis(50));
    }
}

#[test]
fn the_witness_is_a_relay_and_its_nack_shows_that_this_node_is_reachable() {
    let mut bench = Bench::new(20);
    bench.node.health.degrade(2, HealthDoubt::Silence, bench.now);
    failed_round(&mut bench, 7, nack);
    assert_eq!(bench.node.health.score(), 1, "the other relays are silent");
    failed_round(&mut bench, 7, |_| None);
    assert!(bench.node.health.score() >= 4, "all are");
}

/// A member that sends to this node all the time is its witness in each round; otherwise it could hide a crash for ever.
#[test]
fn the_witness_does_not_vouch_for_the_target() {
    let mut bench = Bench::new(20);
    bench.node.health.degrade(2, HealthDoubt::Silence, bench.now);
    failed_round(&mut bench, 7, |seq| Some(Message::Ack(Ack { seq })));
    assert_eq!(bench.node.health.score(), 1, "its answer came in time all the same");
}

#[test]
fn where_most_are_suspected_a_nack_of_a_relay_confirms_the_suspicion() {
    for most in [false, true] {
        let mut bench = Bench::new(20);
        for suspected in 8..if most { 20 } else { 10 } {
            bench.receive(&bench::suspect(&format!("m{suspected}"), 0, &[]));
        }
        // Until m7 is one of the relays that are drawn.
        let confirmed = (0..3).any(|_| {
            failed_round(&mut bench, 7, nack);
            let table = &bench.node.table;
            let suspicions =
                (0..table.others()).filter_map(|at| table.get(table.other(at)).suspicion.as_ref());
            suspicions.flat_map(|suspicion| suspicion.accusers()).any(|accuser| accuser == "m7")
        });
        assert_eq!(confirmed, most);
    }
}

#[test]
fn a_node_that_expects_fewer_confirmations_than_before_waits_no_longer_than_they_say() {
    let mut bench = Bench::new(20);
    bench.receive(&bench::suspect("m2", 0, &["m3", "m4"]));
    // Most are suspected by now: one confirmation is enough, and m2 has it.
    (5..19).for_each(|at| _ = bench.receive(&bench::suspect(&format!("m{at}"), 0, &["m3"])));
    bench.receive(&bench::suspect("m2", 0, &["m19"]));
    let m2 = bench.node.table.find("m2").expect("it is a member");
    let deadline = bench.node.table.get(m2).suspicion.as_ref().expect("it is suspected").deadline();
    bench.pass(deadline.since(bench.now));
    assert_eq!(bench.standing("m2"), Some((MemberState::Failed, 0)));
}

#[test]
fn without_indirect_probes_no_member_is_asked_to_relay() {
    let mut config = Config::lan("me");
    config.indirect_probes = 0;
    let mut bench = Bench::with(config, 5);
    bench.pass(secs(5));
    assert!(bench.node.metrics().probes_indirect > 0);
    for (_, packet) in bench.sent() {
        messages(&packet, |message| assert!(!matches!(message, Message::PingReq(_)), "{message:?}"));
    }
}

/// Made-up names can confirm nothing, and do not show that most members are well.
#[test]
fn made_up_names_do_not_hide_that_most_members_have_vanished() {
    let mut bench = Bench::new(6);
    for at in 0..12 {
        bench.sync(Message::Alive(alive(&format!("x{at}"), 0, addr(100 + at))));
    }
    bench.pass(secs(240));
    for at in 1..=6 {
        assert_eq!(bench.standing(&format!("m{at}")), Some((MemberState::Failed, 0)), "m{at}");
    }
}
