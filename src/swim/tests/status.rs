//! The status of a node.

use super::{
    super::{Clocks, Config, Doubt, HealthDoubt, Standing, Status},
    bench::{Bench, failed, suspect},
    world::{World, addr, converged, secs},
};

fn standing(world: &World, host: usize) -> Standing {
    world.node(host).status().standing
}

#[test]
fn a_node_is_starting_then_joined_then_alone() {
    let mut world = World::new(41);
    world.start(Config::lan("n0"), addr(0), vec![addr(1)]);
    world.run_for(secs(2));
    assert_eq!(standing(&world, 0), Standing::Starting, "its seed is not there");
    assert_eq!(world.node(0).status().seeds_reached, None);
    world.start(Config::lan("n1"), addr(1), vec![]);
    world.run_for(secs(30));
    assert_eq!([0, 1].map(|host| standing(&world, host)), [Standing::Joined, Standing::Joined]);
    let reached = world.node(0).status().seeds_reached.expect("its seed was reached");
    assert!(world.now().since(reached) < secs(30));
    world.crash(1);
    world.run_for(secs(60));
    let status = world.node(0).status();
    assert_eq!((&status.standing, status.live), (&Standing::Alone, 1));
    assert_eq!(status.to_string(), format!("alone, 1 live, health score {}", status.health_score));
}

#[test]
fn a_node_that_flaps_is_away_and_one_that_leaves_is_leaving() {
    let mut bench = Bench::new(5);
    assert_eq!(bench.node.status().standing, Standing::Joined);
    bench.receive(&failed("me", 0));
    bench.node.flaps.note_trouble(bench.now);
    bench.receive(&suspect("me", 1, &["m1"]));
    assert_eq!(bench.node.status().standing, Standing::Away);
    bench.node.leave(bench.now);
    assert_eq!(bench.node.status().standing, Standing::Leaving);
}

#[test]
fn why_a_node_doubts_its_health_is_told_while_it_does() {
    let mut bench = Bench::new(5);
    assert_eq!(bench.node.status().doubt, None);
    bench.receive(&suspect("me", 0, &["m1"]));
    let status = bench.node.status();
    assert_eq!(
        (status.health_score, status.doubt.clone()),
        (1, Some(Doubt { why: HealthDoubt::Accused, at: bench.now }))
    );
    assert_eq!(status.to_string(), "joined, 6 live, health score 1 (another member accused it)");
    bench.now = bench.node.poll_timeout().expect("it probes") + secs(20);
    bench.node.handle_timeout(bench.now);
    assert_eq!(bench.node.status().doubt.map(|doubt| doubt.why), Some(HealthDoubt::Stall));
}

#[test]
fn a_host_without_its_address_is_unreachable_and_says_why() {
    let mut bench = Bench::new(2);
    bench.node.set_address_present(bench.now, false);
    let status = bench.node.status();
    assert_eq!((status.standing, status.problems.len()), (Standing::Unreachable, 1));
    bench.node.set_address_present(bench.now, true);
    assert_eq!(bench.node.status().standing, Standing::Joined);
}

#[test]
fn round_trips_and_missed_probes_are_told_by_member() {
    let mut world = converged(43, 3);
    world.run_for(secs(20));
    let stats = world.node(0).probe_stats("n1").expect("it is a member");
    let round_trip = stats.round_trip.expect("it was probed");
    assert!(round_trip > std::time::Duration::ZERO && round_trip < secs(1), "{round_trip:?}");
    assert!(stats.deviation.is_some() && stats.heard.is_some());
    assert_eq!((stats.missed, stats.saved_by_stream), (0, 0));
    assert_eq!(world.node(0).probe_stats("n0"), None, "it does not probe itself");
    assert_eq!(world.node(0).probe_stats("nobody"), None);
    let before = stats.heard;
    world.crash(1);
    world.run_for(secs(4));
    let stats = world.node(0).probe_stats("n1").expect("it is a member");
    assert!(stats.missed > 0);
    assert!(world.now().since(stats.heard.max(before).expect("it was heard from")) > secs(2));
}

#[test]
fn a_member_whose_datagrams_are_lost_is_saved_by_stream_and_has_no_round_trip() {
    let mut world = World::new(47);
    world.net.no_udp = true;
    for host in 0..3 {
        world.start(Config::lan(format!("n{host}")), addr(host), vec![addr(0)]);
    }
    world.run_for(secs(30));
    let stats = world.node(0).probe_stats("n1").expect("it is a member");
    assert_eq!(stats.round_trip, None);
    assert!(stats.saved_by_stream > 0, "{stats:?}");
}

#[test]
fn clocks_are_in_the_text_only_if_one_is_off() {
    let status = |off| {
        let clocks = Clocks { compared: 3, off, largest_ms: 9_000, wrong: None };
        Status { clocks: Some(clocks), ..Bench::new(2).node.status() }.to_string()
    };
    assert_eq!(status(0), "joined, 3 live, health score 0");
    assert_eq!(status(1), "joined, 3 live, health score 0; clocks of 1 of 3 members off, at most +9.0 s");
}
