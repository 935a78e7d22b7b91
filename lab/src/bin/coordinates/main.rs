//! Would network coordinates be worth telling? Vivaldi on networks whose round-trip times are known: how wrong the estimates
//! are, how often the order of the nearest changes, and how far liars move the others.
//!
//! ```text
//! cargo run -p lab --bin coordinates
//! ```
//!
//! A node probes one other each second, in a random order that is drawn anew after each pass, as the library does. Of the last
//! four samples of a peer the second smallest counts.

mod place;

use std::process::ExitCode;

use lab::options::{self, Arguments, Long};
use place::Placed;

const USAGE: &str = "Vivaldi coordinates on networks whose round-trip times are known: how wrong they are, how often the order of the nearest
changes by them and by measured times, and how far liars move others.

usage: coordinates [OPTION VALUE]…

  --minutes COUNT     simulated minutes that count, after as many to settle  (30)
  --dimensions COUNT  of the space, besides heights                         (3)
  --seed SEED         what all randomness comes from                        (1)

example: cargo run -p lab --bin coordinates -- --dimensions 2";

struct Options {
    minutes: usize,
    dimensions: usize,
    seed: u64,
}

/// The round-trip times of a network without noise, in milliseconds.
struct Network {
    name: &'static str,
    rtt: Vec<Vec<f64>>,
}

impl Network {
    fn of(name: &'static str, n: usize, mut rtt: impl FnMut(usize, usize) -> f64) -> Self {
        let mut times = vec![vec![0.0; n]; n];
        for a in 0..n {
            for b in a + 1..n {
                let time = rtt(a, b);
                (times[a][b], times[b][a]) = (time, time);
            }
        }
        Self { name, rtt: times }
    }

    /// Serf's five (its `coordinate/performance_test.go`), and one data centre.
    fn all(rng: &mut fastrand::Rng) -> Vec<Self> {
        let turn = |node: usize| node as f64 / 24.0 * std::f64::consts::TAU;
        let on_circle = |a: usize, b: usize| match a.min(b) {
            // The first one is in the middle, and all others have a way to go before.
            0 => 200.0,
            _ => 20.0 + 2.0 * 50.0 * ((turn(a) - turn(b)) / 2.0).sin().abs(),
        };
        let grid = |a: usize, b: usize| {
            let (dx, dy) = ((a % 5).abs_diff(b % 5) as f64, (a / 5).abs_diff(b / 5) as f64);
            10.0 * dx.hypot(dy)
        };
        let mut normal = || (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
        vec![
            Self::of("line", 10, |a, b| 10.0 * a.abs_diff(b) as f64),
            Self::of("grid", 25, grid),
            Self::of("split", 25, |a, b| if (a < 12) == (b < 12) { 1.0 } else { 11.0 }),
            Self::of("circle", 25, on_circle),
            Self::of("random", 25, |_, _| (100.0 + 10.0 * normal()).max(1.0)),
            Self::of("quiet LAN", 25, |_, _| 0.3),
        ]
    }
}

struct World<'a> {
    network: &'a Network,
    nodes: Vec<Placed>,
    /// Who is still to be probed in this pass.
    rings: Vec<Vec<usize>>,
    liars: usize,
    /// By how much the lies are off, in round-trip times to whom they are told.
    boldness: f64,
    /// The furthest that one lie moved an honest node.
    furthest: f64,
    rng: fastrand::Rng,
}

impl<'a> World<'a> {
    fn new(network: &'a Network, options: &Options, restless: bool, boldness: f64) -> Self {
        let n = network.rtt.len();
        let nodes = (0..n).map(|_| Placed::new(options.dimensions, restless)).collect();
        let rng = fastrand::Rng::with_seed(options.seed);
        let liars = usize::from(boldness > 0.0);
        Self { network, nodes, rings: vec![Vec::new(); n], liars, boldness, furthest: 0.0, rng }
    }

    /// Up to half a millisecond of noise, and once in a hundred times a delay of 50 ms on average.
    fn noise(&mut self) -> f64 {
        let spike = if self.rng.u32(..100) == 0 { -50.0 * (1.0 - self.rng.f64()).ln() } else { 0.0 };
        self.rng.f64() / 2.0 + spike
    }

    /// Everybody probes one other.
    fn second(&mut self) {
        let n = self.nodes.len();
        for node in self.liars..n {
            if self.rings[node].is_empty() {
                self.rings[node] = (0..n).filter(|peer| *peer != node).collect();
                let Self { rings, rng, .. } = self;
                rng.shuffle(&mut rings[node]);
            }
            let peer = self.rings[node].pop().expect("it was filled");
            let lies = peer < self.liars;
            let time = self.network.rtt[node][peer] + self.noise();
            let (mut place, mut error) = (self.nodes[peer].told.clone(), self.nodes[peer].error);
            if lies {
                // It says that it is somewhere else, and certain of it.
                let far = self.boldness * self.network.rtt[node][peer].max(1.0);
                (place, error) = (self.nodes[node].told.clone().shifted(far), 0.01);
            }
            let Self { nodes, rng, .. } = self;
            let moved = nodes[node].sample(rng, peer, time, &place, error);
            if lies {
                self.furthest = self.furthest.max(moved);
            }
        }
    }

    /// The relative errors of the estimates between honest nodes, sorted.
    fn errors(&self) -> Vec<f64> {
        let honest = self.liars..self.nodes.len();
        let pairs = honest.clone().flat_map(|a| honest.clone().map(move |b| (a, b))).filter(|(a, b)| a < b);
        let error = |(a, b): (usize, usize)| {
            let (told, rtt) = (self.nodes[a].told.distance(&self.nodes[b].told), self.network.rtt[a][b]);
            (told - rtt).abs() / rtt.max(1.0)
        };
        let mut errors: Vec<_> = pairs.map(error).collect();
        errors.sort_by(f64::total_cmp);
        errors
    }

    /// The three nearest of each, by a distance; of those within a millisecond or an eighth the first by name.
    fn nearest(&self, distance: impl Fn(usize, usize) -> Option<f64>) -> Vec<Vec<usize>> {
        let nearest = |node: usize| {
            let peers = (0..self.nodes.len()).filter(|peer| *peer != node);
            let mut near: Vec<_> = peers.filter_map(|peer| Some((distance(node, peer)?, peer))).collect();
            near.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut rest = &mut near[..];
            while let Some((first, _)) = rest.first() {
                let most = first + f64::max(1.0, first / 8.0);
                let (equal, farther) = rest.split_at_mut(rest.partition_point(|(time, _)| *time <= most));
                equal.sort_by_key(|(_, peer)| *peer);
                rest = farther;
            }
            near.into_iter().take(3).map(|(_, peer)| peer).collect()
        };
        (self.liars..self.nodes.len()).map(nearest).collect()
    }
}

/// Changes of order among the three nearest, for each node and minute.
#[derive(Default)]
struct Changes {
    last: Vec<Vec<usize>>,
    count: usize,
}

impl Changes {
    fn note(&mut self, now: Vec<Vec<usize>>) {
        self.count += self.last.iter().zip(&now).filter(|(before, after)| before != after).count();
        self.last = now;
    }

    fn per_minute(&self, options: &Options) -> f64 {
        self.count as f64 / self.last.len().max(1) as f64 / options.minutes as f64
    }
}

fn row(network: &Network, options: &Options, restless: bool, boldness: f64) {
    let mut world = World::new(network, options, restless, boldness);
    (0..options.minutes * 60).for_each(|_| world.second());
    world.furthest = 0.0;
    let told_before: usize = world.nodes.iter().map(|node| node.tellings).sum();
    let (mut by_place, mut by_time) = (Changes::default(), Changes::default());
    for _ in 0..options.minutes * 60 {
        world.second();
        by_place.note(world.nearest(|a, b| Some(world.nodes[a].told.distance(&world.nodes[b].told))));
        by_time.note(world.nearest(|a, b| world.nodes[a].measured(b)));
    }
    let errors = world.errors();
    let honest = (world.nodes.len() - world.liars) as f64;
    let tellings = (world.nodes.iter().map(|node| node.tellings).sum::<usize>() - told_before) as f64;
    println!(
        "{:<10} {:>5.0} {:>8} {:>8.3} {:>8.3} {:>8.3} {:>9.2} {:>9.2} {:>9.2} {:>9.1}",
        network.name,
        boldness,
        if restless { "each" } else { "moved" },
        errors.iter().sum::<f64>() / errors.len() as f64,
        errors[errors.len() * 9 / 10],
        errors[errors.len() - 1],
        by_place.per_minute(options),
        by_time.per_minute(options),
        tellings / honest / options.minutes as f64,
        world.furthest,
    );
}

fn main() -> ExitCode {
    let options = options::read(USAGE, parse);
    let mut rng = fastrand::Rng::with_seed(options.seed);
    println!(
        "relative error of the told places; changes of the three nearest and tellings per node and minute"
    );
    println!(
        "liar: one node whose places are off by so many round-trip times; the last column is how far one lie moved a node"
    );
    println!(
        "{:<10} {:>5} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9}",
        "network", "liar", "tells", "mean", "p90", "max", "by place", "by time", "tellings", "lie, ms"
    );
    for network in Network::all(&mut rng) {
        row(&network, &options, true, 0.0);
        row(&network, &options, false, 0.0);
        row(&network, &options, false, 5.0);
        row(&network, &options, false, 1000.0);
    }
    ExitCode::SUCCESS
}

fn parse(arguments: &mut Arguments<'_>) -> Result<Options, options::Error> {
    let mut options = Options { minutes: 30, dimensions: 3, seed: 1 };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("minutes") => options.minutes = arguments.value()?,
            Long("dimensions") => options.dimensions = arguments.value()?,
            Long("seed") => options.seed = arguments.value()?,
            unknown => return Err(unknown.unexpected()),
        }
    }
    Ok(options)
}
