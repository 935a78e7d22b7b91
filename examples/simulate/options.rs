//! What the command line asks for.

use std::{error::Error, path::PathBuf, time::Duration};

use syncswim::swim::Config;

use crate::sockets::INSIDE;

const USAGE: &str = "usage: simulate [OPTION VALUE]…

  --nodes N       size of the cluster, 2 to 10000            (200)
  --preset P      lan, wan or local                          (lan)
  --latency MS    mean one-way latency in milliseconds       (0.3; 0.05 beside sockets)
  --loss P        share of datagrams lost, 0..1              (0)
  --segment-loss P  share of the segments of streams lost    (0)
  --crashes N     nodes that crash, one after the other      (20)
  --together N    nodes that crash at the same time, after   (0)
  --deaf N        nodes that then hear nothing for a minute  (0)
  --pause S       16 nodes then stop for so many seconds     (0)
  --partition S   halves then cannot reach each other        (0)
  --seed N        all randomness comes from it               (1)
  --sockets N     N runs beside as many on real sockets      (none)
  --out DIR       where to write plots                       (none)";

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
    /// So many runs beside real sockets, instead of one forecast.
    pub(crate) sockets: Option<u64>,
    /// A run on sockets with so many nodes, in a network that is there for it.
    pub(crate) inside: Option<usize>,
    pub(crate) out: Option<PathBuf>,
}

impl Options {
    pub(crate) fn config(&self, name: String) -> Config {
        match self.preset.as_str() {
            "wan" => Config::wan(name),
            "local" => Config::local(name),
            _ => Config::lan(name),
        }
    }

    /// What a run on sockets must be told.
    pub(crate) fn again(&self) -> [String; 6] {
        [
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

pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
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
    while let Some(flag) = args.next() {
        if flag == "--help" {
            return Err(USAGE.into());
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value\n\n{USAGE}"))?;
        let wrong = |problem: &dyn std::fmt::Display| format!("{flag} {value}: {problem}\n\n{USAGE}");
        let number = || value.parse::<usize>().map_err(|problem| wrong(&problem));
        let fraction = || value.parse::<f64>().map_err(|problem| wrong(&problem));
        match flag.as_str() {
            "--nodes" => options.nodes = number()?,
            "--preset" => options.preset.clone_from(&value),
            "--latency" => latency = Some(Duration::try_from_secs_f64(fraction()? / 1000.0)?),
            "--loss" => options.loss = fraction()?,
            "--segment-loss" => options.segment_loss = fraction()?,
            "--crashes" => options.crashes = number()?,
            "--together" => options.together = number()?,
            "--deaf" => options.deaf = number()?,
            "--pause" => options.pause = number()? as u64,
            "--partition" => options.partition = number()? as u64,
            "--seed" => options.seed = number()? as u64,
            "--sockets" => options.sockets = Some(number()? as u64),
            INSIDE => options.inside = Some(number()?),
            "--out" => options.out = Some(value.into()),
            _ => return Err(format!("{flag} is not known\n\n{USAGE}").into()),
        }
    }
    // Beside sockets it is that of the loopback interface.
    options.latency = latency.unwrap_or(match options.sockets {
        None => Duration::from_micros(300),
        Some(_) => Duration::from_micros(50),
    });
    check(&options)?;
    Ok(options)
}

fn check(options: &Options) -> Result<(), String> {
    let holds = [
        ("--nodes must be from 2 to 10000", (2..=10_000).contains(&options.nodes)),
        ("--preset must be lan, wan or local", ["lan", "wan", "local"].contains(&&*options.preset)),
        ("--loss must be at least 0 and less than 1", (0.0..1.0).contains(&options.loss)),
        ("--segment-loss must be at least 0 and less than 1", (0.0..1.0).contains(&options.segment_loss)),
        ("--together must leave two nodes", options.together + 2 <= options.nodes),
        (
            "--sockets must be at least 1, and needs 8 nodes",
            options.sockets.is_none_or(|runs| runs > 0 && options.nodes >= 8),
        ),
        ("--deaf must be less than --nodes", options.deaf < options.nodes),
    ];
    holds.iter().find(|(_, holds)| !holds).map_or(Ok(()), |(problem, _)| Err(format!("{problem}\n\n{USAGE}")))
}
