//! Which members a broadcast reaches, and when: gossip may miss a member, and repair by digests makes up for it.

use std::{collections::BTreeMap, time::Duration};

use lab::{
    runs,
    stats::{percentile, seconds},
};
use syncswim::{sim::World, swim::Config};

use crate::{
    Options,
    report::{Table, Verdict},
};

/// The number of members, and the share of user events that miss a member until the next push/pull in a model of Serf's
/// rules with memberlist's LAN values: without loss, and with 20 %.
const SIZES: [(usize, &str, &str); 7] = [
    (3, "–", "–"),
    (5, "0.5 %", "4.5 %"),
    (9, "6.3 %", "19.5 %"),
    (30, "0.6 %", "3.7 %"),
    (100, "0.05 %", "0.6 %"),
    (300, "0.1 %", "2 %"),
    (1000, "< 0.5 %", "< 0.5 %"),
];
const LOSSES: [f64; 4] = [0.0, 0.1, 0.2, 0.3];

const PAUSE: Duration = Duration::from_millis(250);
/// How long a broadcast may still arrive.
const KEEP: Duration = Duration::from_secs(62);

#[derive(Debug, Clone, Copy)]
struct Job {
    members: usize,
    loss: f64,
    seed: u64,
    broadcasts: usize,
}

/// Seconds until the last member has each broadcast, of 100 bytes each, from random members; infinite if one never has it.
fn last_receivers(job: &Job) -> Vec<f64> {
    let mut world = World::new(job.seed);
    (world.checker, world.keep_events) = (None, false);
    world.start_cluster(job.members, Config::lan);
    world.run_until("one view", Duration::from_secs(300), |world| world.all_see(job.members));
    world.run_for(Duration::from_secs(20));
    world.net.lose(job.loss);
    world.keep_events = true;
    let mut sent = BTreeMap::new();
    for _ in 0..job.broadcasts {
        let from = world.rng.usize(..job.members);
        let (now, name) = (world.now(), world.hosts[from].config.name.clone());
        let seq = world.broadcast(from, "t", &[7; 100]).expect("it is within the rate");
        sent.insert((name, seq), (now, 0, 0.0_f64));
        world.run_for(PAUSE);
    }
    let all = |world: &World| (0..job.members).all(|host| world.received(host).len() == job.broadcasts);
    let end = world.now() + KEEP;
    while world.now() < end && !all(&world) {
        world.run_for(PAUSE);
    }
    for host in 0..job.members {
        for got in world.received(host) {
            if let Some((at, count, last)) = sent.get_mut(&(got.origin.to_string(), got.seq)) {
                (*count, *last) = (*count + 1, last.max(got.at.since(*at).as_secs_f64()));
            }
        }
    }
    let took = |(_, count, last)| if count == job.members { last } else { f64::INFINITY };
    sent.into_values().map(took).collect()
}

pub(crate) fn completeness(options: &Options) -> Table {
    let mut table = Table::new("Broadcasts: who has them, and when");
    for (members, quiet, lossy) in SIZES {
        let seeds = if options.full && members < 1000 { 4 } else { 2 };
        let broadcasts = if options.full && members < 300 { 250 } else { 50 };
        for loss in LOSSES {
            let job = |seed| Job { members, loss, seed: options.seed + seed, broadcasts };
            let jobs: Vec<_> = (0..seeds).map(job).collect();
            let label = format!("{members} members, {:.0} % loss", loss * 100.0);
            let times = runs::map(&label, &jobs, last_receivers).concat();
            let share = |limit: f64| {
                let within = times.iter().filter(|time| **time <= limit).count();
                100.0 * within as f64 / times.len() as f64
            };
            let expected = match loss {
                0.0 => format!("Serf misses somebody: {quiet}"),
                0.2 => format!("Serf misses somebody: {lossy}"),
                _ => "–".into(),
            };
            let slowest = percentile(&times, 1.0);
            let slowest = if slowest.is_finite() { seconds(slowest) } else { "never".into() };
            let measured = format!(
                "{:.1} % after 0.5 s, {:.1} % after 2 s, all after {slowest}; p50 {}",
                share(0.5),
                share(2.0),
                seconds(percentile(&times, 0.5))
            );
            let holds = share(f64::MAX) >= 100.0 && (loss > 0.25 || share(2.0) >= 99.0);
            table.row(label, expected, measured, Verdict::of(holds));
        }
    }
    table
}
