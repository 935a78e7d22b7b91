//! Round-trip times of members, and the order by them.

use std::time::Duration;

use super::{
    super::{Member, Rtt, by_distance},
    bench::{Bench, alive},
    world::{Latency, World, addr, converged, millis, secs},
};

/// The live members that a node has measured, the nearest first.
fn nearest(world: &World, host: usize) -> Vec<(Member, Rtt)> {
    let (node, now) = (world.node(host), world.now());
    let measured = node.members().into_iter().filter(|member| member.state.is_live());
    let measured = measured.filter_map(|member| node.rtt(now, &member.name).map(|rtt| (member, rtt)));
    by_distance(&node.local().name, measured.collect())
}

fn names(near: &[(Member, Rtt)]) -> Vec<&str> {
    near.iter().map(|(member, _)| &*member.name).collect()
}

#[test]
fn an_rtt_is_the_time_of_the_way_there_and_back() {
    let mut world = converged(1, 4);
    world.net.latency = Latency::Uniform(millis(20), millis(30));
    world.run_for(secs(60));
    let near = nearest(&world, 0);
    assert_eq!(near.len(), 3);
    for (member, rtt) in near {
        assert!((millis(40)..millis(61)).contains(&rtt.time), "{}: {rtt:?}", member.name);
        assert_eq!(rtt.samples, 4);
        assert!(rtt.age <= secs(10), "{rtt:?}");
    }
    assert_eq!(world.node(0).rtt(world.now(), "n0"), None, "of itself nothing is measured");
    assert_eq!(world.node(0).rtt(world.now(), "nobody"), None);
}

#[test]
fn a_member_that_moved_is_measured_anew() {
    let mut bench = Bench::new(2);
    let id = bench.node.table.find("m2").expect("it is a member");
    bench.node.table.contact_mut(id).round_trip.take(millis(5), bench.now);
    bench.receive(&alive("m2", 1, addr(2)));
    assert_eq!(bench.node.rtt(bench.now, "m2").map(|rtt| rtt.time), Some(millis(5)));
    bench.receive_from(addr(2), &alive("m2", 2, addr(8)));
    assert_eq!(bench.node.rtt(bench.now, "m2"), None);
}

/// Where all members are equally near, a consumer that takes the first of the list would change with each sample, and all
/// consumers would take the same.
#[test]
fn on_a_quiet_lan_the_order_stays_and_each_node_prefers_another() {
    for seed in 0..5 {
        let mut world = converged(seed, 12);
        world.run_for(secs(60));
        let orders =
            |world: &World| (0..12).map(|host| names(&nearest(world, host)).join(" ")).collect::<Vec<_>>();
        let (mut last, mut changes) = (orders(&world), 0);
        for _ in 0..60 {
            world.run_for(secs(10));
            let now = orders(&world);
            changes += last.iter().zip(&now).filter(|(before, after)| before != after).count();
            last = now;
        }
        // Once a minute would be 120 changes in ten minutes with twelve nodes.
        assert!(changes <= 12, "seed {seed}: {changes} changes");
        let mut first: Vec<_> =
            last.iter().map(|order| order.split(' ').next().unwrap_or_default()).collect();
        first.sort_unstable();
        first.dedup();
        assert!(first.len() >= 4, "seed {seed}: {first:?}");
    }
}

/// Two sites, 40 ms apart.
#[test]
fn members_on_the_same_site_are_nearer_despite_varying_latency() {
    let mut world = converged(7, 8);
    let site = |host: usize| host % 2;
    for a in 0..8 {
        for b in (0..8).filter(|b| site(*b) != site(a)) {
            world.net.farther.insert((a, b), millis(20));
        }
    }
    world.net.latency = Latency::Uniform(millis(1), millis(3));
    world.run_for(secs(120));
    for host in 0..8 {
        let near = nearest(&world, host);
        let sites: Vec<_> =
            near.iter().map(|(member, _)| site(member.name[1..].parse().expect("a number"))).collect();
        assert_eq!(
            sites,
            [site(host), site(host), site(host)].into_iter().chain([1 - site(host); 4]).collect::<Vec<_>>()
        );
        assert!(near[2].1.time < Duration::from_millis(10) && near[3].1.time > millis(40));
    }
}

/// The latency between two hosts, beyond that of each datagram.
type Distances = fn(usize, usize) -> Duration;

const HOSTS: usize = 12;

fn apart((x, y): (f64, f64), (other_x, other_y): (f64, f64)) -> Duration {
    Duration::from_secs_f64(f64::hypot(x - other_x, y - other_y) / 1000.0)
}

/// The position of a host on a circle around the first, in milliseconds.
fn on_circle(host: usize) -> (f64, f64) {
    let angle = std::f64::consts::TAU * host as f64 / (HOSTS - 1) as f64;
    if host == 0 { (0.0, 0.0) } else { (50.0 * angle.cos(), 50.0 * angle.sin()) }
}

/// The topologies by which Serf's coordinates are judged.
const TOPOLOGIES: [(&str, Distances); 5] = [
    ("line", |a, b| millis(10) * a.abs_diff(b) as u32),
    ("grid", |a, b| {
        let at = |host: usize| (10.0 * (host % 4) as f64, 10.0 * (host / 4) as f64);
        apart(at(a), at(b))
    }),
    ("split", |a, b| millis(if a % 2 == b % 2 { 5 } else { 60 })),
    ("circle", |a, b| apart(on_circle(a), on_circle(b))),
    ("random", |a, b| {
        // Without positions: the triangle inequality need not hold.
        millis(fastrand::Rng::with_seed((a.min(b) * HOSTS + a.max(b)) as u64).u64(5..100))
    }),
];

/// The latency of each datagram, besides.
const JITTER: (Duration, Duration) = (millis(1), millis(3));

fn world_with(distances: Distances) -> World {
    let mut world = converged(11, HOSTS);
    world.net.latency = Latency::Uniform(JITTER.0, JITTER.1);
    for (a, b) in (0..HOSTS * HOSTS).map(|pair| (pair / HOSTS, pair % HOSTS)).filter(|(a, b)| a != b) {
        world.net.farther.insert((a, b), distances(a, b));
    }
    world.run_for(secs(120));
    world
}

/// Whether every host has measured the way to every other and back, and its order is that of the ways, except for members
/// that count as equally near; `liar` is left out.
#[track_caller]
fn is_true(world: &World, distances: Distances, liar: Option<usize>, what: &str) {
    for host in (0..HOSTS).filter(|host| Some(*host) != liar) {
        let number = |member: &Member| member.name[1..].parse::<usize>().expect("a number");
        let mut near = nearest(world, host);
        assert_eq!(near.len(), HOSTS - 1, "{what}: host {host}");
        near.retain(|(member, _)| Some(number(member)) != liar);
        let bounds = |member: &Member| {
            let way = distances(host, number(member)) * 2;
            (way + JITTER.0 * 2, way + JITTER.1 * 2)
        };
        for (member, rtt) in &near {
            let (least, most) = bounds(member);
            assert!((least..=most).contains(&rtt.time), "{what}: {} from {host}: {rtt:?}", member.name);
        }
        for pair in near.windows(2) {
            let (least, most) = (bounds(&pair[0].0).0, bounds(&pair[1].0).1);
            let order = names(&near);
            assert!(least <= most + (most / 8).max(millis(1)), "{what}: from {host}: {order:?}");
        }
    }
}

#[test]
fn on_a_line_a_grid_two_sites_a_circle_and_at_random_the_nearest_come_first() {
    for (name, distances) in TOPOLOGIES {
        is_true(&world_with(distances), distances, None, name);
    }
}

/// A liar can only seem farther than it is, and moves no other member.
#[test]
fn a_member_that_answers_when_it_likes_moves_itself_alone() {
    for (name, distances) in TOPOLOGIES {
        let (mut world, liar) = (world_with(distances), 3);
        for step in 0..10 {
            for host in (0..HOSTS).filter(|host| *host != liar) {
                let later = millis(250) * world.rng.u32(..2);
                world.net.farther.insert((liar, host), distances(liar, host) + later);
            }
            world.run_for(secs(10));
            is_true(&world, distances, Some(liar), &format!("{name}, step {step}"));
            for host in (0..HOSTS).filter(|host| *host != liar) {
                let rtt = world.node(host).rtt(world.now(), &format!("n{liar}")).expect("it was measured");
                assert!(rtt.time >= (distances(host, liar) + JITTER.0) * 2, "{name}: {rtt:?}");
            }
        }
    }
}

#[test]
fn clocks_that_jump_change_no_distance() {
    for (name, distances) in TOPOLOGIES {
        let mut world = world_with(distances);
        for (step, jump) in [secs(1), secs(30), secs(3600), millis(50)].into_iter().enumerate() {
            for host in (0..HOSTS).step_by(3) {
                world.jump_clock(host, jump);
                world.run_for(millis(700));
            }
            is_true(&world, distances, None, &format!("{name}, jump {step}"));
            world.run_for(secs(20));
            is_true(&world, distances, None, &format!("{name}, after jump {step}"));
        }
    }
}
