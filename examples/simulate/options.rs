//! What the command line asks for.

use std::{error::Error, path::PathBuf, time::Duration};

use syncswim::swim::Config;

const USAGE: &str = "usage: simulate [OPTION VALUE]…

  --nodes N       size of the cluster, 2 to 10000            (200)
  --preset P      lan, wan or local                          (lan)
  --latency MS    mean one-way latency in milliseconds       (0.3)
  --loss P        share of datagrams and segments lost, 0..1 (0)
  --crashes N     nodes that crash, one after the other      (20)
  --together N    nodes that crash at the same time, after   (0)
  --deaf N        nodes that then hear nothing for a minute  (0)
  --pause S       16 nodes then stop for so many seconds     (0)
  --partition S   halves then cannot reach each other        (0)
  --seed N        all randomness comes from it               (1)
  --out DIR       where to write plots                       (none)";

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) nodes: usize,
    pub(crate) preset: String,
    pub(crate) latency: Duration,
    pub(crate) loss: f64,
    pub(crate) crashes: usize,
    pub(crate) together: usize,
    pub(crate) deaf: usize,
    pub(crate) pause: u64,
    pub(crate) partition: u64,
    pub(crate) seed: u64,
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
}

pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        nodes: 200,
        preset: "lan".into(),
        latency: Duration::from_micros(300),
        loss: 0.0,
        crashes: 20,
        together: 0,
        deaf: 0,
        pause: 0,
        partition: 0,
        seed: 1,
        out: None,
    };
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
            "--latency" => options.latency = Duration::try_from_secs_f64(fraction()? / 1000.0)?,
            "--loss" => options.loss = fraction()?,
            "--crashes" => options.crashes = number()?,
            "--together" => options.together = number()?,
            "--deaf" => options.deaf = number()?,
            "--pause" => options.pause = number()? as u64,
            "--partition" => options.partition = number()? as u64,
            "--seed" => options.seed = number()? as u64,
            "--out" => options.out = Some(value.into()),
            _ => return Err(format!("{flag} is not known\n\n{USAGE}").into()),
        }
    }
    check(&options)?;
    Ok(options)
}

fn check(options: &Options) -> Result<(), String> {
    let holds = [
        ("--nodes must be from 2 to 10000", (2..=10_000).contains(&options.nodes)),
        ("--preset must be lan, wan or local", ["lan", "wan", "local"].contains(&&*options.preset)),
        ("--loss must be at least 0 and less than 1", (0.0..1.0).contains(&options.loss)),
        ("--together must leave two nodes", options.together + 2 <= options.nodes),
        ("--deaf must be less than --nodes", options.deaf < options.nodes),
    ];
    holds.iter().find(|(_, holds)| !holds).map_or(Ok(()), |(problem, _)| Err(format!("{problem}\n\n{USAGE}")))
}
