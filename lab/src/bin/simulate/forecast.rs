//! The forecast: events in the cluster, step by step, and their costs.

use std::{path::Path, time::Duration};

use lab::{
    plot::{self, Caption},
    progress::Progress,
};
use syncswim::{
    sim::{Latency, World, addr},
    swim::{Event, Time},
};

use crate::options::Options;

const MINUTE: Duration = Duration::from_secs(60);
/// Steps that take longer are reported as not over.
const PATIENCE: Duration = Duration::from_secs(1800);

pub(crate) fn run(options: &Options) {
    println!("{}\n", options.summary());
    let mut world = world(options, options.seed);
    type Step = fn(&mut World, &Options, &Progress);
    let steps: [Step; 7] = [start, idle, crashes, together, deafness, pauses, partition];
    let progress = Progress::new("simulating", (steps.len() + options.crashes) as u64);
    for step in steps {
        step(&mut world, options, &progress);
        progress.step();
    }
}

/// An empty world with the requested network.
pub(crate) fn world(options: &Options, seed: u64) -> World {
    let Options { latency, loss, segment_loss, .. } = *options;
    let mut world = World::new(seed);
    (world.checker, world.keep_events) = (None, false);
    world.net.latency = Latency::Exponential(latency / 2, latency / 2);
    (world.net.datagram_loss, world.net.segment_loss) = (loss, segment_loss);
    world
}

fn line(progress: &Progress, what: &str, figure: &str) {
    progress.line(format_args!("{what:<52} {figure}"));
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// Runs until the condition holds. Returns the simulated time that it took, which is shown meanwhile.
fn until(world: &mut World, progress: &Progress, holds: impl Fn(&World) -> bool) -> Result<Duration, String> {
    let start = world.now();
    loop {
        world.try_run_until(Duration::from_secs(1), &holds).expect("nothing is checked in a forecast");
        let took = world.now().since(start);
        if holds(world) {
            return Ok(took);
        }
        if took >= PATIENCE {
            return Err(format!("not within {} min", PATIENCE.as_secs() / 60));
        }
        progress.say(format_args!("{} s simulated", took.as_secs()));
    }
}

fn report(progress: &Progress, what: &str, result: Result<Duration, String>) {
    line(progress, what, &result.map_or_else(|problem| problem, seconds));
}

/// All start at once and join through the first; the sizes of their views over time are plotted.
fn start(world: &mut World, options: &Options, progress: &Progress) {
    let n = options.nodes;
    world.start_cluster(n, |name| options.config(name));
    let origin = world.now();
    // Each sees itself.
    let mut views = vec![(0.0, 1.0)];
    while !world.all_see(n) && world.now().since(origin) < PATIENCE {
        let step = Duration::from_millis(10);
        world.try_run_until(step, |world| world.all_see(n)).expect("nothing is checked in a forecast");
        let sizes = world.up().map(|host| world.node(host).live() as f64);
        views.push((world.now().since(origin).as_secs_f64(), sizes.sum::<f64>() / n as f64));
        progress.say(format_args!("{} s simulated", world.now().since(origin).as_secs()));
    }
    let took = world.now().since(origin);
    report(
        progress,
        "all start at once: until all see all",
        if world.all_see(n) { Ok(took) } else { Err("never".into()) },
    );
    let kilobytes = |bytes: u64| bytes as f64 / n as f64 / 1000.0;
    line(
        progress,
        "  each node sends in datagrams, in streams",
        &format!("{:.0} kB, {:.0} kB", kilobytes(sent(world).0), kilobytes(world.stream_bytes())),
    );
    let folder = options.out.as_deref();
    let caption = Caption {
        name: "start",
        title: "All start at once",
        parameters: &options.summary(),
        x: "time since the start, s",
        y: "members seen (mean)",
    };
    plot::lines(folder, caption, &[("a node's view".into(), views)]);
}

/// Bytes and datagrams that the running nodes have sent.
pub(crate) fn sent(world: &World) -> (u64, u64) {
    let metrics = world.up().map(|host| world.node(host).metrics());
    metrics.fold((0, 0), |sum, m| (sum.0 + m.bytes_sent, sum.1 + m.datagrams_sent))
}

fn idle(world: &mut World, options: &Options, progress: &Progress) {
    world.run_for(MINUTE / 2);
    world.keep_events = true;
    let (before, streams) = (sent(world), world.stream_bytes());
    world.run_for(MINUTE);
    let after = sent(world);
    let per_node = |amount: u64| amount as f64 / options.nodes as f64 / MINUTE.as_secs_f64();
    let (bytes, datagrams) = (per_node(after.0 - before.0), per_node(after.1 - before.1));
    line(
        progress,
        "a quiet minute, each node sends per second",
        &format!("{bytes:.0} B in {datagrams:.1} datagrams"),
    );
    line(progress, "  and in streams", &format!("{:.0} B", per_node(world.stream_bytes() - streams)));
    line(
        progress,
        "  suspicions, failures told: all of them false",
        &format!("{}, {}", suspicions(world), failures(world)),
    );
}

fn count(world: &World, is: fn(&Event) -> bool) -> usize {
    world.hosts.iter().flat_map(|host| &host.events).filter(|(_, event)| is(event)).count()
}

fn suspicions(world: &World) -> usize {
    count(world, |event| matches!(event, Event::Suspected { .. }))
}

fn failures(world: &World) -> usize {
    count(world, |event| matches!(event, Event::Failed { .. }))
}

fn forget_events(world: &mut World) {
    world.hosts.iter_mut().for_each(|host| host.events.clear());
}

/// Crashes one node after the other; each restarts before the next.
fn crashes(world: &mut World, options: &Options, progress: &Progress) {
    let (mut first, mut all, mut wrong) = (Vec::new(), Vec::new(), 0);
    for _ in 0..options.crashes {
        progress.step();
        forget_events(world);
        let phase = Duration::from_secs(1).mul_f64(world.rng.f64());
        world.run_for(phase);
        let victim = world.rng.usize(1..options.nodes);
        let name = world.hosts[victim].config.name.clone();
        let start = world.now();
        world.crash(victim);
        let gone = |world: &World| {
            world.up().all(|host| world.state(host, &name).is_some_and(|state| !state.is_live()))
        };
        if let Ok(took) = until(world, progress, gone) {
            all.push(took.as_secs_f64());
        }
        let (about, others) = told(world, victim, start);
        first.extend(about);
        wrong += others;
        world.restart(victim);
        let back = until(world, progress, |world| world.all_see(options.nodes));
        if back.is_err() {
            return line(progress, "after a crash and a restart, one view", "never");
        }
    }
    if options.crashes > 0 {
        line(progress, &format!("{} crashes: first told, p50, p99", options.crashes), &spread(&first));
        line(progress, "  known to all, p50, p99", &spread(&all));
        line(progress, "  failures told of others: false", &wrong.to_string());
        let curves = [("first told".to_owned(), first), ("known to all".to_owned(), all)];
        save(options.out.as_deref(), &curves);
        let caption = Caption {
            name: "crashes",
            title: &format!("{} crashes, one after the other", options.crashes),
            parameters: &options.summary(),
            x: "time since the crash, s",
            y: "share of the crashes",
        };
        plot::distribution(options.out.as_deref(), caption, &curves);
    }
}

/// When the first failure of that host was reported, and how many failures of others.
fn told(world: &World, about: usize, start: Time) -> (Option<f64>, usize) {
    let events = world.hosts.iter().flat_map(|host| &host.events);
    let failures = events.filter_map(|(at, event)| match event {
        Event::Failed { member, .. } => Some((member.addr == addr(about), at.since(start).as_secs_f64())),
        _ => None,
    });
    failures.fold((None, 0), |(first, others), (is_about, at)| match is_about {
        true => (Some(first.map_or(at, |first: f64| first.min(at))), others),
        false => (first, others + 1),
    })
}

fn spread(samples: &[f64]) -> String {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    if sorted.is_empty() { "never".into() } else { format!("{:.2} s, {:.2} s", at(0.5), at(0.99)) }
}

fn save(folder: Option<&Path>, curves: &[(String, Vec<f64>)]) {
    let Some(folder) = folder else { return };
    let lines =
        curves.iter().flat_map(|(what, samples)| samples.iter().map(move |s| format!("{what},{s}\n")));
    let text: String = std::iter::once("what,seconds\n".to_owned()).chain(lines).collect();
    if let Err(problem) = std::fs::write(folder.join("crashes.csv"), text) {
        eprintln!("crashes.csv was not written: {problem}");
    }
}

fn together(world: &mut World, options: &Options, progress: &Progress) {
    if options.together == 0 {
        return;
    }
    let victims: Vec<usize> = (options.nodes - options.together..options.nodes).collect();
    victims.iter().for_each(|victim| world.crash(*victim));
    let left = options.nodes - options.together;
    report(
        progress,
        &format!("{} crash together: known to all after", victims.len()),
        until(world, progress, |world| world.all_see(left)),
    );
    victims.iter().for_each(|victim| world.restart(*victim));
    report(
        progress,
        "  they restart: one view after",
        until(world, progress, |world| world.all_see(options.nodes)),
    );
}

fn deafness(world: &mut World, options: &Options, progress: &Progress) {
    if options.deaf == 0 {
        return;
    }
    forget_events(world);
    let deaf = 0..options.deaf;
    world.net.ingress_loss.extend(deaf.clone().map(|host| (host, 1.0)));
    world.run_for(MINUTE);
    let wrong = world.hosts.iter().skip(options.deaf).flat_map(|host| &host.events);
    let wrong = wrong
        .filter(|(_, event)| matches!(event, Event::Failed { member: m, .. } if !deaf.clone().any(|d| addr(d) == m.addr)))
        .count();
    line(
        progress,
        &format!("{} are deaf for a minute: healthy ones told failed", options.deaf),
        &wrong.to_string(),
    );
    world.net.ingress_loss.clear();
    report(
        progress,
        "  they hear again: one view after",
        until(world, progress, |world| world.all_see(options.nodes)),
    );
}

fn pauses(world: &mut World, options: &Options, progress: &Progress) {
    if options.pause == 0 {
        return;
    }
    forget_events(world);
    let paused = 0..16.min(options.nodes / 2);
    let length = Duration::from_secs(options.pause);
    paused.clone().for_each(|host| world.pause(host, length));
    world.run_for(length);
    let back = until(world, progress, |world| world.all_see(options.nodes));
    world.run_for(MINUTE / 6);
    let is_paused = |m: &syncswim::swim::Member| paused.clone().any(|host| addr(host) == m.addr);
    let failed = world.hosts.iter().flat_map(|host| &host.events).filter_map(|(_, event)| match event {
        Event::Failed { member, .. } => Some(is_paused(member)),
        _ => None,
    });
    let (mut of_them, mut of_others) = (0, 0);
    failed.for_each(|is_paused| if is_paused { of_them += 1 } else { of_others += 1 });
    let what =
        format!("{} processes stop for {} s: failures told of them, of others", paused.len(), options.pause);
    line(progress, &what, &format!("{of_them}, {of_others}"));
    report(progress, "  they go on: one view after", back);
}

fn partition(world: &mut World, options: &Options, progress: &Progress) {
    if options.partition == 0 {
        return;
    }
    world.net.isolate(0..options.nodes / 2);
    world.run_for(Duration::from_secs(options.partition));
    // Not `heal`, since the requested loss goes on.
    world.net.rejoin();
    let what = format!("halves part for {} s: one view after", options.partition);
    report(progress, &what, until(world, progress, |world| world.all_see(options.nodes)));
}
