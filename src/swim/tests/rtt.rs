//! How far members are, and in which order.

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
fn what_is_measured_is_the_way_there_and_back() {
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

/// Where all are equally near, a consumer that takes the first of the list would change with each sample, and all would take the
/// same.
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
        // Ten minutes, twelve nodes: once a minute would be 120.
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
fn who_is_on_the_same_site_is_nearer_whatever_single_datagrams_took() {
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
