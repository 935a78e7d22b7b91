//! The options of the command line.

use std::{num::ParseFloatError, path::PathBuf, time::Duration};

use lab::options::{Arguments, Error, Long};
use syncswim::swim::Config;

pub(crate) const USAGE: &str =
    "How would a cluster of mine behave? A forecast, simulated with this library's own node.

usage: simulate [OPTION VALUE]…

  --nodes N         size of the cluster, 2 to 10000            (200)
  --preset P        lan, wan or local                          (lan)
  --latency MS      mean one-way latency in milliseconds       (0.3; 0.05 beside sockets)
  --loss P          share of datagrams lost, 0..1              (0)
  --segment-loss P  share of the segments of streams lost      (0)
  --crashes N       nodes that crash, one after the other      (20)
  --together N      nodes that crash at the same time, after   (0)
  --deaf N          nodes that then hear nothing for a minute  (0)
  --pause S         16 nodes then stop for so many seconds     (0)
  --partition S     halves then part for so many seconds       (0)
  --seed N          all randomness comes from it               (1)
  --sockets N       N runs beside as many on real sockets      (none)
  --out DIR         where to write plots                       (none)

example: cargo run --release -p lab --bin simulate -- --nodes 300 --loss 0.1 --latency 20 --out plots";

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) nodes: usize,
    pub(crate) preset: String,
    pub(crate) latency: Duration,
    pub(crate) loss: f64,
    pub(crate) segment_loss: f64,
    pub(crate) crashes: usize,
    pub(crate) together: usize,
    pub(crate) deaf: usize,
    pub(crate) pause: u64,
    pub(crate) partition: u64,
    pub(crate) seed: u64,
    /// The number of runs beside real sockets, instead of one forecast.
    pub(crate) sockets: Option<u64>,
    /// The number of nodes of a run on sockets, in a network that was created for it.
    pub(crate) inside: Option<usize>,
    pub(crate) out: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(arguments: &mut Arguments<'_>) -> Result<Self, Error> {
        let mut options = Self {
            nodes: 200,
            preset: "lan".into(),
            latency: Duration::ZERO,
            loss: 0.0,
            segment_loss: 0.0,
            crashes: 20,
            together: 0,
            deaf: 0,
            pause: 0,
            partition: 0,
            seed: 1,
            sockets: None,
            inside: None,
            out: None,
        };
        let mut latency = None;
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("nodes") => options.nodes = arguments.value()?,
                Long("preset") => options.preset = arguments.value()?,
                Long("latency") => latency = Some(arguments.value_with(milliseconds)?),
                Long("loss") => options.loss = arguments.value()?,
                Long("segment-loss") => options.segment_loss = arguments.value()?,
                Long("crashes") => options.crashes = arguments.value()?,
                Long("together") => options.together = arguments.value()?,
                Long("deaf") => options.deaf = arguments.value()?,
                Long("pause") => options.pause = arguments.value()?,
                Long("partition") => options.partition = arguments.value()?,
                Long("seed") => options.seed = arguments.value()?,
                Long("sockets") => options.sockets = Some(arguments.value()?),
                Long("inside") => options.inside = Some(arguments.value()?),
                Long("out") => options.out = Some(arguments.value()?),
                unknown => return Err(unknown.unexpected()),
            }
        }
        // Beside sockets, the latency is that of the loopback interface.
        options.latency = latency.unwrap_or(match options.sockets {
            None => Duration::from_micros(300),
            Some(_) => Duration::from_micros(50),
        });
        options.check()?;
        Ok(options)
    }

    /// The simulated cluster, in one line.
    pub(crate) fn summary(&self) -> String {
        let Self { nodes, preset, latency, loss, segment_loss, seed, .. } = self;
        let (loss, segment_loss) = (loss * 100.0, segment_loss * 100.0);
        format!(
            "{nodes} nodes, preset {preset}, one-way latency {latency:?} on average, {loss} % of datagrams and \
             {segment_loss} % of segments lost, seed {seed}"
        )
    }

    fn check(&self) -> Result<(), String> {
        let holds = [
            ("--nodes must be from 2 to 10000", (2..=10_000).contains(&self.nodes)),
            ("--preset must be lan, wan or local", ["lan", "wan", "local"].contains(&&*self.preset)),
            ("--loss must be at least 0 and less than 1", (0.0..1.0).contains(&self.loss)),
            ("--segment-loss must be at least 0 and less than 1", (0.0..1.0).contains(&self.segment_loss)),
            ("--together must leave two nodes", self.together + 2 <= self.nodes),
            (
                "--sockets must be at least 1, and needs 8 nodes",
                self.sockets.is_none_or(|runs| runs > 0 && self.nodes >= 8),
            ),
            ("--deaf must be less than --nodes", self.deaf < self.nodes),
        ];
        holds.iter().find(|(_, holds)| !holds).map_or(Ok(()), |(problem, _)| Err((*problem).to_owned()))
    }

    pub(crate) fn config(&self, name: String) -> Config {
        match self.preset.as_str() {
            "wan" => Config::wan(name),
            "local" => Config::local(name),
            _ => Config::lan(name),
        }
    }

    /// The command line of a process that has a network of its own: a run with so many nodes on its sockets.
    pub(crate) fn inside(&self, nodes: usize) -> [String; 8] {
        [
            "--inside",
            &nodes.to_string(),
            "--preset",
            &self.preset,
            "--loss",
            &self.loss.to_string(),
            "--segment-loss",
            &self.segment_loss.to_string(),
        ]
        .map(str::to_owned)
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|problem: ParseFloatError| problem.to_string())?;
    Duration::try_from_secs_f64(number / 1000.0).map_err(|problem| problem.to_string())
}
