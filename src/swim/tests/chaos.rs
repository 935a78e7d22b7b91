//! Random faults; afterwards everybody must see exactly who is up.

use std::{collections::HashMap, sync::Arc};

use super::{
    super::{Config, Event, Identity},
    world::{World, addr, millis, secs},
};

/// In nobody's view does a member's identity ever go down, and no life comes back that left.
fn check_history(world: &World) {
    for (host, history) in world.hosts.iter().enumerate() {
        let mut highest: HashMap<Arc<str>, Identity> = HashMap::new();
        let mut left: HashMap<Arc<str>, u64> = HashMap::new();
        for (_, event) in &history.events {
            let Some(member) = event.member() else { continue };
            if *member.name == format!("n{host}") {
                // Its own lives follow each other in one list.
                continue;
            }
            let known = highest.entry(member.name.clone()).or_default();
            assert!(member.identity >= *known, "seed {}: host {host}: {event:?} after {known}", world.seed);
            *known = member.identity;
            match event {
                Event::Left(member) => {
                    left.insert(member.name.clone(), member.identity.epoch);
                }
                Event::Joined(member) => {
                    let gone = left.get(&member.name);
                    assert!(gone != Some(&member.identity.epoch), "seed {}: {member:?} is back", world.seed);
                }
                _ => {}
            }
        }
    }
}

fn run(seed: u64) {
    let n = 4 + (seed % 9) as usize;
    let mut world = World::converged(seed, n);
    // Who forgets everybody must be able to find somebody.
    let everywhere: Vec<_> = (0..n).map(addr).collect();
    world.hosts.iter_mut().for_each(|host| host.seeds = everywhere.clone());
    for _ in 0..30 {
        let host = world.rng.usize(..n);
        let up = world.hosts[host].node.is_some();
        match world.rng.u32(..8) {
            0 if up => world.crash(host),
            1 | 2 if !up => world.restart(host, Config::lan(format!("n{host}"))),
            3 if up && !world.hosts[host].left => world.with(host, |node, now| node.leave(now)),
            4 => world.loss = world.rng.f64() * 0.4,
            5 => {
                let other = world.rng.usize(..n);
                world.cut.insert((host, other));
            }
            6 => {
                let (a, b): (Vec<_>, Vec<_>) = (0..n).partition(|h| (seed + *h as u64).is_multiple_of(3));
                world.partition(&a, &b);
            }
            7 => world.cut.clear(),
            _ if up => world.hosts[host].paused_until = world.now + millis(world.rng.u64(..8000)),
            _ => {}
        }
        let pause = world.rng.u64(..6000);
        world.run_for(millis(pause));
        // Who has left is taken down; it may come back as a new life.
        for host in 0..n {
            if world.hosts[host].left {
                world.crash(host);
            }
        }
    }
    world.loss = 0.0;
    world.cut.clear();
    world.run_for(secs(10));
    (0..n)
        .filter(|host| world.hosts[*host].left)
        .collect::<Vec<_>>()
        .into_iter()
        .for_each(|host| world.crash(host));
    world.run_until("true views", secs(300), World::views_are_true);
    check_history(&world);
}

#[test]
fn after_any_faults_all_views_come_true() {
    for seed in 0..60 {
        run(seed);
    }
}
