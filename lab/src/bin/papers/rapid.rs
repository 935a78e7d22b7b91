//! Rapid (Suresh et al. 2018), §7: a thousand members and more, which start, crash, or are cut off in one direction.

use std::{collections::BTreeSet, time::Duration};

use lab::{
    plot::{self, Caption},
    runs,
    stats::{mean, percentile},
};
use syncswim::{
    sim::{World, addr},
    swim::{Config, Event},
};

use crate::{
    Options, memberlist,
    report::{Table, Verdict},
};

const SECOND: Duration = Duration::from_secs(1);
/// Members that are disturbed, in all experiments.
const FAULTY: usize = 10;

fn world(seed: u64) -> World {
    let mut world = World::new(seed);
    (world.checker, world.keep_events) = (None, false);
    world
}

fn formed(seed: u64, n: usize) -> World {
    let mut world = world(seed);
    world.start_cluster(n, Config::lan);
    world.run_until("one view", Duration::from_secs(300), |world| world.all_see(n));
    world.run_for(SECOND * 30);
    world.keep_events = true;
    world
}

struct Bootstrap {
    seconds: f64,
    sizes: BTreeSet<usize>,
    kilobytes: f64,
    /// The smallest and the largest view, second by second.
    views: [Vec<(f64, f64)>; 2],
}

/// Figure 5 and Table 1: a seed, and 10 s later all others within 5 s.
fn bootstrap(seed: u64, n: usize) -> Bootstrap {
    let mut world = world(seed);
    let mut starts: Vec<Duration> =
        (1..n).map(|_| Duration::from_secs(10) + Duration::from_secs(5).mul_f64(world.rng.f64())).collect();
    starts.sort_unstable();
    world.start(Config::lan("n0"), addr(0), vec![]);
    let origin = world.now();
    let (mut sizes, mut views) = (BTreeSet::new(), [Vec::new(), Vec::new()]);
    let mut next = starts.into_iter().enumerate().peekable();
    for second in 1..600_u32 {
        while let Some((i, at)) = next.next_if(|(_, at)| *at < SECOND * second) {
            world.run_for((origin + at).since(world.now()));
            world.start(Config::lan(format!("n{}", i + 1)), addr(i + 1), vec![addr(0)]);
        }
        let rest = (origin + SECOND * second).since(world.now());
        // No view can be complete before all have started.
        if next.peek().is_none() {
            world.try_run_until(rest, |world| world.all_see(n)).expect("nothing is checked in these runs");
        } else {
            world.run_for(rest);
        }
        let seen: Vec<usize> = world.up().map(|host| world.node(host).live()).collect();
        sizes.extend(&seen);
        let (least, most) = (seen.iter().min(), seen.iter().max());
        for (view, size) in views.iter_mut().zip([least, most]) {
            view.push((f64::from(second), size.map_or(0.0, |size| *size as f64)));
        }
        if next.peek().is_none() && world.all_see(n) {
            break;
        }
    }
    let bytes: u64 = world.up().map(|host| world.node(host).metrics().bytes_sent).sum();
    let seconds = world.now().since(origin).as_secs_f64();
    Bootstrap { seconds, sizes, kilobytes: bytes as f64 / n as f64 / 1000.0, views }
}

/// The same with the model of memberlist: the time, and the number of distinct sizes.
fn memberlist_bootstrap(seed: u64, n: usize) -> (f64, usize) {
    let mut cluster = memberlist::Cluster::new(seed, n);
    let mut random = fastrand::Rng::with_seed(seed);
    cluster.start_at(0, 0);
    (1..n as u32).for_each(|node| cluster.start_at(10_000 + random.u64(..5000), node));
    let mut sizes = BTreeSet::new();
    for second in 1..600 {
        cluster.run_until(second * 1000);
        sizes.extend(cluster.views());
        if cluster.views().count() == n && cluster.views().all(|size| size == n) {
            return (second as f64, sizes.len());
        }
    }
    (f64::INFINITY, sizes.len())
}

pub(crate) fn bootstraps(options: &Options) -> Table {
    let mut table = Table::new("Rapid, Figure 5 and Table 1: bootstrap");
    let sizes: &[(usize, f64, f64, usize)] = if options.full {
        &[(1000, 45.7, 29.6, 901), (1500, 68.6, 40.0, 1383), (2000, 97.6, 53.5, 1858)]
    } else {
        &[(1000, 45.7, 29.6, 901)]
    };
    let results = runs::map("bootstrap", sizes, |(n, ..)| bootstrap(options.seed, *n));
    let models =
        runs::map("bootstrap of memberlist", sizes, |(n, ..)| memberlist_bootstrap(options.seed, *n));
    let mut curves = Vec::new();
    for (((n, memberlist, rapid, unique), result), model) in sizes.iter().zip(results).zip(models) {
        table.row(
            format!("{n} members: the model of memberlist, seconds and sizes"),
            format!("{memberlist} and {unique}, within 25 % and 8 %"),
            format!("{:.0} and {}", model.0, model.1),
            Verdict::of(
                (model.0 / memberlist - 1.0).abs() <= 0.25
                    && (model.1 as f64 / *unique as f64 - 1.0).abs() <= 0.08,
            ),
        );
        table.row(
            format!("{n} members: seconds until all see all"),
            format!("memberlist {memberlist}, Rapid {rapid}; goal ≤ 25"),
            format!("{:.1}", result.seconds),
            Verdict::of(result.seconds <= 25.0),
        );
        table.row(
            format!("{n} members: distinct sizes seen, each second"),
            format!("memberlist {unique}, Rapid 4–8"),
            result.sizes.len().to_string(),
            Verdict::Informs,
        );
        table.row(
            format!("{n} members: kB of datagrams sent per node"),
            "–",
            format!("{:.0}", result.kilobytes),
            Verdict::Informs,
        );
        let [least, most] = result.views;
        curves.push((format!("{n}: smallest view"), least));
        curves.push((format!("{n}: largest view"), most));
    }
    let caption = Caption {
        name: "rapid-bootstrap",
        title: "Rapid, Figure 5: bootstrap",
        parameters: &format!("LAN preset, all join through the first; {}", options.parameters()),
        x: "time since the start, s",
        y: "members seen",
    };
    plot::lines(options.out.as_deref(), caption, &curves);
    table
}

/// The observations in the minute after ten members crash at once.
struct Crashes {
    /// The time at which each failure was reported, in seconds.
    failures: Vec<f64>,
    /// kB/s that a node sent, of all nodes and seconds.
    rates: Vec<f64>,
    /// The mean of all views, second by second.
    sizes: Vec<(f64, f64)>,
}

fn crash_ten(seed: u64, n: usize) -> Crashes {
    let mut world = formed(seed, n);
    world.hosts.iter_mut().for_each(|host| host.events.clear());
    let start = world.now();
    (0..FAULTY).for_each(|host| world.crash(host + 100));
    let sent = |world: &World| -> Vec<u64> {
        world
            .up()
            .map(|host| world.node(host).metrics())
            .map(|m| m.bytes_sent + 28 * m.datagrams_sent)
            .collect()
    };
    let (mut before, mut rates, mut sizes) = (sent(&world), Vec::new(), Vec::new());
    for second in 1..=60 {
        world.run_for(SECOND);
        let after = sent(&world);
        rates.extend(after.iter().zip(&before).map(|(after, before)| (after - before) as f64 / 1000.0));
        before = after;
        let mean = world.up().map(|host| world.node(host).live() as f64).sum::<f64>() / (n - FAULTY) as f64;
        sizes.push((f64::from(second), mean));
    }
    let failures = world
        .up()
        .flat_map(|host| &world.hosts[host].events)
        .filter(|(_, event)| matches!(event, Event::Failed { .. }))
        .map(|(at, _)| at.since(start).as_secs_f64())
        .collect();
    Crashes { failures, rates, sizes }
}

/// Figure 8 and Table 2: ten of a thousand crash at once.
pub(crate) fn crashes(options: &Options) -> Table {
    const N: usize = 1000;
    let mut table = Table::new("Rapid, Figure 8 and Table 2: 10 of 1,000 crash");
    let Crashes { failures, rates, sizes } = crash_ten(options.seed, N);
    let (first, last) = (percentile(&failures, 0.0), percentile(&failures, 1.0));
    let all = failures.len() == FAULTY * (N - FAULTY);
    table.row(
        "first removal, last of all ten at all, s",
        "memberlist, by formula: 13–15, at most 19",
        format!("{first:.1}, {last:.1}"),
        Verdict::of(all && last <= 19.0),
    );
    table.row(
        "failures told of others",
        "0",
        (failures.len() as i64 - (FAULTY * (N - FAULTY)) as i64).to_string(),
        Verdict::of(all),
    );
    let (first, last) = memberlist_crashes(options.seed, N);
    table.row(
        "the same in the model of memberlist",
        "13–15, at most 19",
        format!("{first:.1}, {last:.1}"),
        Verdict::of((13.0..=15.0).contains(&first) && last <= 19.0),
    );
    let (most, p99) = (percentile(&rates, 1.0), percentile(&rates, 0.99));
    table.row(
        "kB/s sent per node: mean, p99, max",
        "memberlist 0.64, 6.40, 8.04; Rapid 0.71, 3.72, 11.37",
        format!("{:.2}, {p99:.2}, {most:.2}", mean(&rates)),
        Verdict::of(mean(&rates) <= 0.64 && p99 <= 6.4 && most <= 8.0),
    );
    let caption = Caption {
        name: "rapid-crash",
        title: "Rapid, Figure 8: 10 of 1,000 members crash at once",
        parameters: &format!("LAN preset; {}", options.parameters()),
        x: "time since the crash, s",
        y: "members seen (mean)",
    };
    plot::lines(options.out.as_deref(), caption, &[("syncswim".into(), sizes)]);
    table
}

/// The times at which the first crashed member is gone in some view, and the last of ten in all views, in seconds.
fn memberlist_crashes(seed: u64, n: usize) -> (f64, f64) {
    let mut cluster = memberlist::Cluster::formed(seed, n);
    cluster.run_until(30_000);
    (100..100 + FAULTY as u32).for_each(|node| cluster.crash(node));
    let mut first = f64::INFINITY;
    for tenth in 1..1200 {
        cluster.run_until(30_000 + tenth * 100);
        let seconds = tenth as f64 / 10.0;
        if cluster.views().any(|size| size < n) {
            first = first.min(seconds);
        }
        if cluster.views().all(|size| size == n - FAULTY) {
            return (first, seconds);
        }
    }
    (first, f64::INFINITY)
}

#[derive(Debug, Clone, Copy)]
enum Disturbance {
    /// All incoming packets are lost for 20 s, then none for 20 s, and so on.
    FlipFlop,
    /// The shares of incoming and outgoing packets that are lost.
    Loss(f64, f64),
}

impl Disturbance {
    /// The shares lost in this second, incoming and outgoing.
    fn losses(self, second: u32) -> (f64, f64) {
        match self {
            Self::FlipFlop => (if (second / 20).is_multiple_of(2) { 1.0 } else { 0.0 }, 0.0),
            Self::Loss(ingress, egress) => (ingress, egress),
        }
    }
}

struct Stability {
    /// Reported failures of members that were not disturbed.
    healthy: usize,
    /// For each view and disturbed member, how often it changed from live to gone or back.
    most: usize,
    mean: f64,
    gone_at_end: f64,
    views: Vec<(f64, f64)>,
}

fn disturb(disturbance: Disturbance, seed: u64, n: usize, length: u32) -> Stability {
    let mut world = formed(seed, n);
    world.hosts.iter_mut().for_each(|host| host.events.clear());
    let faulty = 100..100 + FAULTY;
    let healthy: Vec<usize> = (0..n).filter(|host| !faulty.contains(host)).collect();
    let mut views = Vec::new();
    for second in 0..length {
        let (ingress, egress) = disturbance.losses(second);
        for host in faulty.clone() {
            world.net.ingress_loss.insert(host, ingress);
            world.net.egress_loss.insert(host, egress);
        }
        world.run_for(SECOND);
        let live: usize = healthy.iter().map(|host| world.node(*host).live()).sum();
        views.push((f64::from(second), live as f64 / healthy.len() as f64));
    }
    let (mut false_failures, mut transitions) = (0, Vec::new());
    for host in &healthy {
        let mut counts = [0_usize; FAULTY];
        for (_, event) in &world.hosts[*host].events {
            let (Event::Failed { member, .. } | Event::Joined { member, .. }) = event else { continue };
            match faulty.clone().position(|host| addr(host) == member.addr) {
                Some(at) => counts[at] += 1,
                None => false_failures += usize::from(matches!(event, Event::Failed { .. })),
            }
        }
        transitions.extend(counts);
    }
    let most = transitions.iter().copied().max().unwrap_or(0);
    let mean = transitions.iter().sum::<usize>() as f64 / transitions.len() as f64;
    let gone_at_end = n as f64 - views.last().map_or(0.0, |last| last.1);
    Stability { healthy: false_failures, most, mean, gone_at_end, views }
}

/// The same in the model of memberlist: the mean and the greatest number of transitions, and how many are gone at the end,
/// on average.
fn memberlist_disturbed(disturbance: Disturbance, seed: u64, n: usize, length: u32) -> (f64, u32, f64) {
    let mut cluster = memberlist::Cluster::formed(seed, n);
    cluster.run_until(30_000);
    let faulty = 100..100 + FAULTY;
    for second in 0..length {
        for node in faulty.clone() {
            cluster.loss[node] = disturbance.losses(second);
        }
        cluster.run_until(30_000 + 1000 * (u64::from(second) + 1));
    }
    let healthy: Vec<usize> = (0..n).filter(|node| !faulty.contains(node)).collect();
    let counts: Vec<u32> = healthy
        .iter()
        .flat_map(|at| faulty.clone().map(|about| (*at as u32, about as u32)))
        .map(|(at, about)| cluster.transitions(at, about))
        .collect();
    let views: Vec<usize> = cluster.views().collect();
    let gone: usize = healthy.iter().map(|at| n - views[*at]).sum();
    let mean = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    (mean, counts.iter().copied().max().unwrap_or(0), gone as f64 / healthy.len() as f64)
}

pub(crate) fn asymmetry(options: &Options) -> Table {
    let mut table = Table::new("Rapid, Figures 9 and 10: 10 members hear badly or are heard badly");
    let (n, length) = if options.full { (1000, 900) } else { (200, 300) };
    let settings = [
        ("flip-flop, 20 s deaf, 20 s not", Disturbance::FlipFlop, "memberlist: 993–1000 to the end"),
        ("80 % of what comes in is lost", Disturbance::Loss(0.8, 0.0), "memberlist: 3–8 of ten gone"),
        ("80 % of what goes out is lost", Disturbance::Loss(0.0, 0.8), "memberlist: 3–8 of ten gone"),
        ("80 % of both is lost", Disturbance::Loss(0.8, 0.8), "memberlist: 3–8 of ten gone"),
    ];
    let results =
        runs::map("Figures 9 and 10", &settings, |setting| disturb(setting.1, options.seed, n, length));
    let models = runs::map("Figures 9 and 10, memberlist", &settings, |setting| {
        memberlist_disturbed(setting.1, options.seed, n, length)
    });
    let mut curves = Vec::new();
    for (((what, _, memberlist), result), (mean, most, gone)) in settings.iter().zip(results).zip(models) {
        table.row(
            format!("{what}: the model of memberlist, transitions and gone at the end"),
            (*memberlist).to_owned(),
            format!("{mean:.1} mean, {most} at most; {gone:.1} of ten"),
            Verdict::Informs,
        );
        table.row(
            format!("{what}: healthy members failed"),
            "0",
            result.healthy.to_string(),
            Verdict::of(result.healthy == 0),
        );
        table.row(
            format!("{what}: transitions of a faulty member in a view"),
            "goal: at most 3",
            format!("{:.1} mean, {} at most", result.mean, result.most),
            Verdict::of(result.most <= 3),
        );
        table.row(
            format!("{what}: gone at the end, of ten"),
            format!("{memberlist}; Rapid 10"),
            format!("{:.1}", result.gone_at_end),
            Verdict::Informs,
        );
        curves.push(((*what).to_owned(), result.views));
    }
    let caption = Caption {
        name: "rapid-asymmetry",
        title: "Rapid, Figures 9 and 10: ten members lose datagrams",
        parameters: &format!("{n} members, LAN preset; {}", options.parameters()),
        x: "time since the loss begins, s",
        y: "members seen (mean)",
    };
    plot::lines(options.out.as_deref(), caption, &curves);
    table
}
