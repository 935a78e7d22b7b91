//! The forecast beside real sockets: the same cluster, the same loss, the same events in the same order.

use std::{error::Error, time::Duration};

use lab::progress::Progress;
use syncswim::sim::World;

use crate::{
    forecast,
    options::Options,
    sockets::{self, Isolated},
};

/// Runs in the simulator for each run on sockets, since they cost next to nothing.
const FORECASTS: u64 = 20;
/// Runs on sockets at the same time, since their nodes are idle most of the time.
const AT_ONCE: usize = 4;
/// Members that crash in one run, one after the other.
pub(crate) const CRASHES: usize = 3;
/// The pause after the start, in which the updates about it run out.
pub(crate) const SETTLE: Duration = Duration::from_secs(30);
/// The time over which the figures of a quiet cluster are taken.
pub(crate) const QUIET: Duration = Duration::from_secs(30);
/// Events that take longer are left out, and reported as such.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The measured figures, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    Start,
    StartBytes,
    Datagrams,
    Bytes,
    Crash,
}

impl Metric {
    const ALL: [Self; 5] = [Self::Start, Self::StartBytes, Self::Datagrams, Self::Bytes, Self::Crash];

    /// Its name in the output of a run.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::StartBytes => "start-bytes",
            Self::Datagrams => "datagrams",
            Self::Bytes => "bytes",
            Self::Crash => "crash",
        }
    }

    pub(crate) fn named(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.key() == key)
    }

    fn label(self) -> &'static str {
        match self {
            Self::Start => "all start at once: s until all see all",
            Self::StartBytes => "  kB each node sends in datagrams until then",
            Self::Datagrams => "at rest: datagrams per node and second",
            Self::Bytes => "  bytes in them",
            Self::Crash => "a crash: s until all know",
        }
    }
}

/// One figure of one run.
pub(crate) type Sample = (Metric, f64);

pub(crate) fn run(options: &Options, runs: u64) -> Result<(), Box<dyn Error>> {
    println!(
        "{}; {runs} runs on sockets, {} in the simulator,\nwith seeds from that one on\n",
        options.summary(),
        runs * FORECASTS
    );
    let isolated = Isolated::find(options)?;
    let progress = Progress::new("runs, simulated and on sockets", runs * FORECASTS + runs);
    let simulate = |run| {
        let figures = forecast(options, options.seed + run);
        progress.step();
        figures
    };
    let forecast = (0..runs * FORECASTS).flat_map(simulate).collect::<Vec<_>>();
    let mut sockets = Vec::new();
    for begun in (0..runs).step_by(AT_ONCE) {
        let begin = || isolated.begin(options);
        let at_once = (begun..runs).take(AT_ONCE).map(|_| begin()).collect::<Result<Vec<_>, _>>()?;
        for child in at_once {
            sockets.extend(sockets::figures_of(child)?);
            progress.step();
        }
    }
    drop(progress);
    let samples = [forecast, sockets];
    println!("{:<46} {:>22} {:>22} {:>8}", "mean (least to most)", "forecast", "sockets", "ratio");
    for metric in Metric::ALL {
        let [forecast, sockets] = [0, 1].map(|side: usize| of(metric, &samples[side]));
        let ratio = mean(&forecast) / mean(&sockets);
        println!("{:<46} {:>22} {:>22} {ratio:>8.2}", metric.label(), spread(&forecast), spread(&sockets));
    }
    Ok(())
}

fn of(metric: Metric, samples: &[Sample]) -> Vec<f64> {
    samples.iter().filter(|(of, _)| *of == metric).map(|(_, value)| *value).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn spread(values: &[f64]) -> String {
    let (least, most) =
        values.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), v| (least.min(*v), most.max(*v)));
    if values.is_empty() { "never".into() } else { format!("{:.2} ({least:.2}–{most:.2})", mean(values)) }
}

/// One run in the simulator.
fn forecast(options: &Options, seed: u64) -> Vec<Sample> {
    let n = options.nodes;
    let mut world = forecast::world(options, seed);
    let mut samples = Vec::new();
    world.start_cluster(n, |name| options.config(name));
    if let Some(took) = wait(&mut world, |world| world.all_see(n)) {
        samples.push((Metric::Start, took));
        samples.push((Metric::StartBytes, forecast::sent(&world).0 as f64 / n as f64 / 1000.0));
    }
    world.run_for(SETTLE);
    let before = forecast::sent(&world);
    world.run_for(QUIET);
    let after = forecast::sent(&world);
    samples.extend(rates(n, before, after, QUIET));
    for crash in 1..=CRASHES {
        let rest = sockets::rest(&mut world.rng);
        world.run_for(rest);
        world.crash(n - crash);
        let took = wait(&mut world, |world| world.all_see(n - crash));
        samples.extend(took.map(|took| (Metric::Crash, took)));
    }
    samples
}

/// From the bytes and the datagrams that all nodes sent before and after a quiet time.
pub(crate) fn rates(n: usize, before: (u64, u64), after: (u64, u64), length: Duration) -> [Sample; 2] {
    let per = |amount: u64| amount as f64 / n as f64 / length.as_secs_f64();
    [(Metric::Datagrams, per(after.1 - before.1)), (Metric::Bytes, per(after.0 - before.0))]
}

fn wait(world: &mut World, holds: impl Fn(&World) -> bool) -> Option<f64> {
    let start = world.now();
    world.try_run_until(PATIENCE, &holds).expect("nothing is checked in a forecast");
    holds(world).then(|| world.now().since(start).as_secs_f64())
}
