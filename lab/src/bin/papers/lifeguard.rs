//! Lifeguard (Dadgar, Phillips, Currey 2018), §V: members that are blocked in lock-step, 128 of them in all.
//!
//! A blocked member's timers fire, but its sends block and its incoming data waits until the anomaly is over. *Threshold*
//! experiments have one anomaly and look at latency; *interval* experiments have one after the other for two minutes and
//! count false positives and load.

use std::{collections::BTreeMap, time::Duration};

use lab::{
    plot::{self, Caption},
    runs,
    stats::{percentile, seconds},
};
use syncswim::{
    sim::{World, addr},
    swim::{Config, Event, Time},
};

use crate::{
    Options,
    report::{Table, Verdict},
};

const MEMBERS: usize = 128;
const QUIESCE: Duration = Duration::from_secs(15);
const LENGTH: Duration = Duration::from_secs(120);

/// Which of Lifeguard's parts are enabled; the last variant is syncswim's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Parts {
    Swim,
    Probe,
    Suspicion,
    Buddy,
    Lifeguard,
    Ours,
}

impl Parts {
    fn name(self) -> &'static str {
        match self {
            Self::Swim => "SWIM",
            Self::Probe => "LHA-Probe",
            Self::Suspicion => "LHA-Suspicion",
            Self::Buddy => "Buddy",
            Self::Lifeguard => "Lifeguard",
            Self::Ours => "syncswim",
        }
    }

    fn config(self, name: String, alpha: u32, beta: u32) -> Config {
        let mut config = Config::lan(name);
        if self == Self::Ours {
            return config;
        }
        let on = |part| self == part || self == Self::Lifeguard;
        (config.lha_probe, config.nacks) = (on(Self::Probe), on(Self::Probe));
        config.lha_suspicion = on(Self::Suspicion);
        config.buddy = on(Self::Buddy);
        (config.suspicion_mult, config.suspicion_max_mult) = (alpha, beta);
        // The paper's: K = 3 for every α, and a score of up to 8.
        (config.suspicion_confirmations, config.health_max) = (3, 9);
        (config.verifiers, config.notice_stalls) = (0, false);
        config
    }
}

#[derive(Debug, Clone, Copy)]
struct Setting {
    parts: Parts,
    alpha: u32,
    beta: u32,
    /// Members that are blocked at the same time.
    blocked: usize,
    anomaly: Duration,
    /// Between two anomalies; `None` for a threshold experiment.
    interval: Option<Duration>,
    seed: u64,
}

#[derive(Debug, Default, Clone)]
struct Outcome {
    /// Reported failures of members that were not blocked: reported by any member, and by members that were not blocked.
    false_positives: usize,
    at_healthy: usize,
    datagrams: u64,
    bytes: u64,
    /// Seconds from the start of the anomaly, of each blocked member that was found: by the first, by all.
    first: Vec<f64>,
    full: Vec<f64>,
}

/// A cluster that has formed and come to rest.
fn quiet(seed: u64, config: impl Fn(String) -> Config) -> World {
    let mut world = World::new(seed);
    world.checker = None;
    world.start_cluster(MEMBERS, config);
    world.run_for(QUIESCE);
    assert!(world.all_see(MEMBERS), "seed {seed}: the cluster did not form");
    world.hosts.iter_mut().for_each(|host| host.events.clear());
    world
}

fn run(setting: &Setting) -> Outcome {
    let Setting { parts, alpha, beta, blocked, anomaly, interval, seed } = *setting;
    let mut world = quiet(seed, |name| parts.config(name, alpha, beta));
    let mut hosts: Vec<usize> = (0..MEMBERS).collect();
    world.rng.shuffle(&mut hosts);
    let sick = &hosts[..blocked];
    let (start, before) = (world.now(), load(&world));
    match interval {
        None => {
            sick.iter().for_each(|host| world.block(*host, anomaly));
            world.run_for(anomaly);
            let rest = LENGTH.saturating_sub(anomaly);
            world
                .try_run_until(rest, |world| world.all_see(MEMBERS))
                .expect("nothing is checked in these runs");
        }
        Some(interval) => loop {
            sick.iter().for_each(|host| world.block(*host, anomaly));
            world.run_for(anomaly);
            if world.now().since(start) >= LENGTH {
                break;
            }
            world.run_for(interval);
        },
    }
    let after = load(&world);
    let load = (after.0 - before.0, after.1 - before.1);
    outcome(&world, sick, start, load)
}

fn load(world: &World) -> (u64, u64) {
    let metrics = world.up().map(|host| world.node(host).metrics());
    metrics.fold((0, 0), |sum, m| (sum.0 + m.datagrams_sent, sum.1 + m.bytes_sent))
}

fn outcome(world: &World, sick: &[usize], start: Time, (datagrams, bytes): (u64, u64)) -> Outcome {
    let mut outcome = Outcome { datagrams, bytes, ..Outcome::default() };
    let mut found: BTreeMap<usize, BTreeMap<usize, f64>> = BTreeMap::new();
    for (at, host) in world.hosts.iter().enumerate() {
        for (time, event) in &host.events {
            let Event::Failed { member, .. } = event else { continue };
            let about = (0..MEMBERS).find(|i| addr(*i) == member.addr).expect("nobody moves");
            if !sick.contains(&about) {
                outcome.false_positives += 1;
                outcome.at_healthy += usize::from(!sick.contains(&at));
            } else if at != about {
                let after = time.since(start).as_secs_f64();
                found.entry(about).or_default().entry(at).or_insert(after);
            }
        }
    }
    for finders in found.values() {
        outcome.first.extend(finders.values().copied().reduce(f64::min));
        let healthy: Vec<f64> =
            finders.iter().filter(|(at, _)| !sick.contains(at)).map(|(_, after)| *after).collect();
        if healthy.len() == MEMBERS - sick.len() {
            outcome.full.extend(healthy.into_iter().reduce(f64::max));
        }
    }
    outcome
}

fn sum(outcomes: Vec<Outcome>) -> Outcome {
    outcomes.into_iter().fold(Outcome::default(), |mut sum, outcome| {
        sum.false_positives += outcome.false_positives;
        sum.at_healthy += outcome.at_healthy;
        sum.datagrams += outcome.datagrams;
        sum.bytes += outcome.bytes;
        sum.first.extend(outcome.first);
        sum.full.extend(outcome.full);
        sum
    })
}

/// The grids of Tables II and III, or a part of them.
fn intervals(options: &Options) -> (&'static [usize], &'static [u64], &'static [u64]) {
    if options.full {
        (
            &[1, 4, 8, 12, 16, 20, 24, 28, 32],
            &[128, 512, 2048, 8192, 16384, 32768],
            &[1, 4, 16, 64, 256, 1024, 4096, 16384],
        )
    } else {
        (&[4, 16, 32], &[2048, 16384, 32768], &[4, 256, 4096])
    }
}

/// The results of the interval experiments, by the number of blocked members.
fn false_positives(options: &Options, parts: Parts) -> BTreeMap<usize, Outcome> {
    let (blocked, anomalies, pauses) = intervals(options);
    let mut settings = Vec::new();
    for (i, blocked) in blocked.iter().enumerate() {
        for (j, anomaly) in anomalies.iter().enumerate() {
            for (k, pause) in pauses.iter().enumerate() {
                for repetition in 0..options.repetitions {
                    settings.push(Setting {
                        parts,
                        alpha: 5,
                        beta: 6,
                        blocked: *blocked,
                        anomaly: Duration::from_millis(*anomaly),
                        interval: Some(Duration::from_millis(*pause)),
                        seed: options.seed + (repetition * 1000 + i * 100 + j * 10 + k) as u64,
                    });
                }
            }
        }
    }
    let outcomes = runs::map(&format!("Table IV, {}", parts.name()), &settings, run);
    let mut by_blocked = BTreeMap::new();
    for (setting, outcome) in settings.iter().zip(outcomes) {
        let so_far = by_blocked.remove(&setting.blocked).unwrap_or_default();
        by_blocked.insert(setting.blocked, sum(vec![so_far, outcome]));
    }
    by_blocked
}

fn latency(options: &Options, parts: Parts, alpha: u32, beta: u32) -> Outcome {
    let (blocked, anomalies): (&[usize], &[u64]) = if options.full {
        (&[1, 4, 8, 12, 16, 20, 24, 28, 32], &[8192, 16384, 32768])
    } else {
        (&[1, 4, 8, 16], &[16384, 32768])
    };
    let mut settings = Vec::new();
    for blocked in blocked {
        for anomaly in anomalies {
            for repetition in 0..4 * options.repetitions {
                settings.push(Setting {
                    parts,
                    alpha,
                    beta,
                    blocked: *blocked,
                    anomaly: Duration::from_millis(*anomaly),
                    interval: None,
                    seed: options.seed + repetition as u64 * 1000 + *blocked as u64,
                });
            }
        }
    }
    sum(runs::map(&format!("Table V, {} {alpha} {beta}", parts.name()), &settings, run))
}

/// Tables IV and VI.
pub(crate) fn accuracy(options: &Options) -> Table {
    let mut table = Table::new("Lifeguard, Tables IV and VI: false positives and load, as % of SWIM");
    // Published: FP %, FP⁻ %, messages %, bytes %; and the range of FP that counts as agreement.
    let published = [
        (Parts::Swim, [100.0, 100.0, 100.0, 100.0], 100.0..=100.0),
        (Parts::Probe, [67.72, 32.88, 98.46, 90.03], 52.0..=83.0),
        (Parts::Suspicion, [3.0, 6.71, 111.31, 106.52], 0.0..=6.0),
        (Parts::Buddy, [94.08, 44.57, 100.07, 99.01], 79.0..=109.0),
        (Parts::Lifeguard, [1.53, 1.89, 110.59, 97.97], 0.0..=3.0),
        (Parts::Ours, [1.53, 1.89, 110.59, 97.97], 0.0..=1.53),
    ];
    let (mut swim, mut swim_by_blocked, mut curves) = (Outcome::default(), BTreeMap::new(), Vec::new());
    for (parts, published, agrees) in published {
        let by_blocked = false_positives(options, parts);
        let outcome = sum(by_blocked.values().cloned().collect());
        let points = by_blocked.iter().map(|(blocked, o)| (*blocked as f64, o.false_positives as f64));
        curves.push((parts.name().to_owned(), points.collect()));
        match parts {
            Parts::Swim => {
                check_amount(&mut table, options, &outcome);
                (swim, swim_by_blocked) = (outcome.clone(), by_blocked);
            }
            Parts::Lifeguard => check_cut(&mut table, &swim_by_blocked, &by_blocked),
            _ => {}
        }
        let measured = share(outcome.false_positives as u64, swim.false_positives as u64);
        let agrees = Verdict::of(agrees.contains(&measured));
        compare(&mut table, parts, published, [&outcome, &swim], agrees);
    }
    let caption = Caption {
        name: "lifeguard-false-positives",
        title: "Lifeguard, Table IV: members declared failed that live",
        parameters: &format!("{MEMBERS} members; {}", options.parameters()),
        x: "members that are blocked at the same time",
        y: "false positives in all runs",
    };
    plot::lines(options.out.as_deref(), caption, &curves);
    table
}

/// Four rows: the published values, and an outcome relative to SWIM's.
fn compare(
    table: &mut Table,
    parts: Parts,
    published: [f64; 4],
    [outcome, swim]: [&Outcome; 2],
    agrees: Verdict,
) {
    let load = share(outcome.datagrams, swim.datagrams);
    // Ours is to cost at most a tenth more.
    let is_cheap = if parts == Parts::Ours { Verdict::of(load <= 110.0) } else { Verdict::Informs };
    let of_all = share(outcome.false_positives as u64, swim.false_positives as u64);
    let of_healthy = share(outcome.at_healthy as u64, swim.at_healthy as u64);
    let rows = [
        (format!("FP ({})", outcome.false_positives), of_all, agrees),
        (format!("FP at healthy members ({})", outcome.at_healthy), of_healthy, Verdict::Informs),
        ("datagrams".to_owned(), load, is_cheap),
        ("bytes".to_owned(), share(outcome.bytes, swim.bytes), Verdict::Informs),
    ];
    for ((what, measured, verdict), published) in rows.into_iter().zip(published) {
        let what = format!("{}: {what}", parts.name());
        table.row(what, published.to_string(), format!("{measured:.2}"), verdict);
    }
}

/// In percent.
fn share(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// The number of false positives in all runs (Table IV), which depends on the details of being blocked.
fn check_amount(table: &mut Table, options: &Options, swim: &Outcome) {
    let (blocked, anomalies, pauses) = intervals(options);
    let runs = blocked.len() * anomalies.len() * pauses.len() * options.repetitions;
    let per_run = swim.false_positives as f64 / runs as f64;
    let agrees = (78.5 / 2.0..=78.5 * 2.0).contains(&per_run);
    table.row(
        "SWIM: FP per run",
        "78.5, within a factor of 2",
        format!("{per_run:.1}"),
        // The thinned grid has other anomalies.
        if options.full { Verdict::of(agrees) } else { Verdict::Informs },
    );
}

/// How much less Lifeguard has of them, wherever enough members are blocked to count (§V-F1).
fn check_cut(table: &mut Table, swim: &BTreeMap<usize, Outcome>, lifeguard: &BTreeMap<usize, Outcome>) {
    let cut = |(blocked, swim): (&usize, &Outcome)| {
        swim.false_positives as f64 / lifeguard[blocked].false_positives.max(1) as f64
    };
    let least = swim.iter().filter(|(blocked, _)| **blocked >= 4).map(cut).fold(f64::INFINITY, f64::min);
    table.row(
        "Lifeguard: FP fewer than SWIM's by, least of all C ≥ 4",
        "50–100, at least 30",
        format!("{least:.0}"),
        Verdict::of(least >= 30.0),
    );
}

/// Table V.
pub(crate) fn speed(options: &Options) -> Table {
    let mut table = Table::new("Lifeguard, Table V: seconds until a blocked member counts as failed");
    let published = [
        (Parts::Swim, [12.44, 16.96, 12.90, 16.93]),
        (Parts::Probe, [12.42, 17.75, 12.90, 17.98]),
        (Parts::Suspicion, [12.42, 17.47, 12.89, 17.33]),
        (Parts::Buddy, [12.45, 17.12, 12.92, 17.18]),
        (Parts::Lifeguard, [12.45, 17.90, 12.91, 18.05]),
    ];
    let mut curves = Vec::new();
    for (parts, [first, first_99, full, full_99]) in published {
        let outcome = latency(options, parts, 5, 6);
        for (what, published, samples, p, tolerance) in [
            ("first, median", first, &outcome.first, 0.5, 0.3),
            ("first, p99", first_99, &outcome.first, 0.99, 1.4),
            ("all, median", full, &outcome.full, 0.5, 0.4),
            ("all, p99", full_99, &outcome.full, 0.99, 1.5),
        ] {
            let measured = percentile(samples, p);
            let holds = (measured - published).abs() <= tolerance;
            table.row(
                format!("{}: {what}", parts.name()),
                format!("{published} ± {tolerance}"),
                seconds(measured),
                Verdict::of(holds),
            );
        }
        curves.push((parts.name().to_owned(), outcome.full));
    }
    let ours = latency(options, Parts::Ours, 0, 0);
    for (what, p) in [("all, median", 0.5), ("all, p99", 0.99)] {
        let measured = percentile(&ours.full, p);
        table.row(format!("syncswim: {what}"), "–", seconds(measured), Verdict::Informs);
    }
    curves.push(("syncswim".into(), ours.full));
    let caption = Caption {
        name: "lifeguard-all-know",
        title: "Lifeguard, Table V: when all know of a crash",
        parameters: &format!("{MEMBERS} members; α 5, β 6 for Lifeguard; {}", options.parameters()),
        x: "time since the crash, s",
        y: "share of the crashes",
    };
    plot::distribution(options.out.as_deref(), caption, &curves);
    table
}

/// Seconds until the last of all others knows that one has crashed.
fn crash(parts: Parts, seed: u64) -> f64 {
    let mut world = quiet(seed, |name| parts.config(name, 5, 6));
    let (start, host) = (world.now(), world.rng.usize(..MEMBERS));
    world.crash(host);
    world.run_until("its failure", LENGTH, |world| world.all_see(MEMBERS - 1));
    world.now().since(start).as_secs_f64()
}

/// The goal for syncswim's defaults.
pub(crate) fn crashes(options: &Options) -> Table {
    let runs = if options.full { 5000 } else { 500 };
    let mut table = Table::new(format!("One of 128 crashes: seconds until all know, of {runs}"));
    let seeds: Vec<u64> = (0..runs).map(|i| options.seed + i).collect();
    for (parts, goals) in [(Parts::Lifeguard, None), (Parts::Ours, Some([7.0, 11.0]))] {
        let what = format!("crashes, {}", parts.name());
        let samples = runs::map(&what, &seeds, |seed| crash(parts, *seed));
        for (i, (what, p)) in [("median", 0.5), ("p99", 0.99)].into_iter().enumerate() {
            let measured = percentile(&samples, p);
            table.row(
                format!("{}: {what}", parts.name()),
                goals.map_or("–".into(), |goals| format!("goal: at most {}", goals[i])),
                seconds(measured),
                goals.map_or(Verdict::Informs, |goals| Verdict::of(measured <= goals[i])),
            );
        }
    }
    table
}

/// Table VII: the median of the first detection for each α and β.
pub(crate) fn tuning(options: &Options) -> Table {
    let mut table = Table::new("Lifeguard, Table VII: median first detection in seconds by α, β");
    let published = [
        (2, 2, 53.14),
        (2, 4, 54.10),
        (2, 6, 54.34),
        (4, 2, 82.96),
        (4, 4, 83.04),
        (4, 6, 83.12),
        (5, 2, 99.76),
        (5, 4, 99.52),
        (5, 6, 100.08),
    ];
    for (alpha, beta, percent) in published {
        let expected = 12.44 * percent / 100.0;
        let measured = percentile(&latency(options, Parts::Lifeguard, alpha, beta).first, 0.5);
        table.row(
            format!("α = {alpha}, β = {beta}"),
            format!("{expected:.2} ± 3 %"),
            seconds(measured),
            Verdict::of((measured / expected - 1.0).abs() <= 0.03),
        );
    }
    table
}
