//! Faults that the papers do not cover: partitions that end, losses in bursts, processes that stop.

use std::time::Duration;

use lab::runs;
use syncswim::{
    sim::{Burst, World},
    swim::{Config, Event},
};

use crate::{
    Options,
    report::{Table, Verdict},
};

fn formed(seed: u64, n: usize) -> World {
    let mut world = World::new(seed);
    world.checker = None;
    world.start_cluster(n, Config::lan);
    world.run_until("one view", Duration::from_secs(300), |world| world.all_see(n));
    world.run_for(Duration::from_secs(15));
    world.hosts.iter_mut().for_each(|host| host.events.clear());
    world
}

fn failures(world: &World) -> usize {
    let events = world.hosts.iter().flat_map(|host| &host.events);
    events.filter(|(_, event)| matches!(event, Event::Failed { .. })).count()
}

/// A partition into halves for two minutes. Returns the time from its end to one view, without a join.
fn heal(seed: u64, n: usize) -> f64 {
    let mut world = formed(seed, n);
    world.net.isolate(0..n / 2);
    world.run_for(Duration::from_secs(120));
    assert!(world.all_see(n / 2) || n % 2 == 1, "the halves did not part");
    world.net.heal();
    world.run_until("one view", Duration::from_secs(300), |world| world.all_see(n)).as_secs_f64()
}

pub(crate) fn partition(options: &Options) -> Table {
    let mut table = Table::new("Partition into halves for 120 s: seconds until one view");
    let sizes: &[usize] = if options.full { &[2, 10, 100, 1000] } else { &[2, 10, 100] };
    for (n, took) in sizes.iter().zip(runs::map("partition", sizes, |n| heal(options.seed, *n))) {
        table.row(
            format!("{} against {}", n / 2, n - n / 2),
            "memberlist: never; goal ≤ 10",
            format!("{took:.1}"),
            Verdict::of(took <= 10.0),
        );
    }
    table
}

/// A week between Japan and Switzerland (φ-accrual §IV): 0.4 % of the datagrams lost, in bursts of 2.85 s.
const BURSTS: Burst =
    Burst { good: Duration::from_millis(709_650), bad: Duration::from_millis(2850), loss: 1.0 };

fn bursts(seed: u64, minutes: u64) -> usize {
    let mut world = formed(seed, 128);
    world.net.burst = Some(BURSTS);
    world.run_for(Duration::from_secs(60 * minutes));
    failures(&world)
}

/// A few processes stop for some time, over and over. Returns how many failures of others are reported.
fn pauses(seed: u64, length: Duration) -> (usize, usize) {
    let mut world = formed(seed, 128);
    let paused = 0..16;
    for _ in 0..20 {
        paused.clone().for_each(|host| world.pause(host, length));
        world.run_for(length + Duration::from_secs(6));
    }
    let names: Vec<String> = paused.map(|host| world.hosts[host].config.name.clone()).collect();
    let events = world.hosts.iter().flat_map(|host| &host.events);
    let failed = events.filter_map(|(_, event)| match event {
        Event::Failed { member, .. } => Some(names.iter().any(|name| **name == *member.name)),
        _ => None,
    });
    failed.fold((0, 0), |(paused, others), is_paused| {
        (paused + usize::from(is_paused), others + usize::from(!is_paused))
    })
}

pub(crate) fn steadiness(options: &Options) -> Table {
    let mut table = Table::new("Losses in bursts and stopped processes: failures told, 128 members");
    let minutes = if options.full { 240 } else { 20 };
    let found = bursts(options.seed, minutes);
    table.row(
        format!("0.4 % loss in bursts of 2.85 s on each link, {minutes} min"),
        "0",
        found.to_string(),
        Verdict::of(found == 0),
    );
    for seconds in [1, 3, 10] {
        let (paused, others) = pauses(options.seed, Duration::from_secs(seconds));
        table.row(
            format!("16 processes stop for {seconds} s, 20 times: of others"),
            "0",
            others.to_string(),
            Verdict::of(others == 0),
        );
        table.row(
            format!("16 processes stop for {seconds} s, 20 times: of them"),
            "–",
            paused.to_string(),
            Verdict::Informs,
        );
    }
    table
}
