//! The command line.

use std::{path::PathBuf, time::Duration};

use lab::options::{Arguments, Error, Long, Value, ValueExt};

use crate::{
    node::Setup,
    peers::{PEERS, Peer},
    scenario::Scenario,
};

pub(crate) const USAGE: &str =
    "Measures syncswim beside other membership libraries: the same scenario in one run.

usage: syncswim-peers [OPTION]…

  --quick          one run of each, at 8 and 32 nodes, with short rests
  --runs N         runs of each                                         (3)
  --sizes N,N      numbers of nodes                                     (8,32,128)
  --peers A,B      only these                                           (all)
  --idle SECONDS   how long the idle figures are taken                  (15)
  --crashes N      crashes in each run                                  (2)
  --loss PERCENT   of datagrams, for the blocks with loss               (25)
  --only PART      cluster, loss, messages, key-values, core, echo or membership
                                                                        (all)
  --markdown FILE  writes the tables there, and plots beside it         (none)

  --node kinship|serf NAME [--bind A:P] [--advertise A:P] [--seed A:P]…
                   one node for the network namespaces of tests/net, instead

example: cargo run --release --manifest-path lab/peers/Cargo.toml -- --quick --peers syncswim,foca";

const PARTS: [&str; 7] = ["core", "membership", "echo", "cluster", "loss", "messages", "key-values"];

pub(crate) enum Command {
    Measure(Options),
    /// A process that runs one cluster.
    Cluster {
        peer: &'static Peer,
        scenario: Scenario,
    },
    /// A process that is one node.
    Node {
        peer: String,
        setup: Setup,
    },
}

pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) runs: usize,
    pub(crate) sizes: Vec<usize>,
    pub(crate) peers: Vec<&'static Peer>,
    pub(crate) settle: Duration,
    pub(crate) idle: Duration,
    pub(crate) crashes: usize,
    pub(crate) loss: u8,
    pub(crate) only: Option<&'static str>,
    pub(crate) markdown: Option<PathBuf>,
}

impl Command {
    pub(crate) fn parse(arguments: &mut Arguments<'_>) -> Result<Self, Error> {
        let (mut quick, mut runs, mut sizes, mut peers) = (false, None, None, None);
        let (mut idle, mut crashes, mut loss, mut only, mut markdown) = (None, None, 25, None, None);
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("cluster") => return cluster(arguments),
                Long("node") => {
                    return Ok(Self::Node { peer: arguments.value()?, setup: Setup::parse(arguments)? });
                }
                Long("quick") => quick = true,
                Long("runs") => runs = Some(arguments.value()?),
                Long("sizes") => {
                    let read =
                        |list: &str| list.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>();
                    sizes = Some(arguments.value_with(read)?);
                }
                Long("peers") => {
                    let read = |list: &str| list.split(',').map(peer).collect::<Result<Vec<_>, _>>();
                    peers = Some(arguments.value_with(read)?);
                }
                Long("idle") => idle = Some(Duration::from_secs(arguments.value()?)),
                Long("crashes") => crashes = Some(arguments.value()?),
                Long("loss") => loss = arguments.value_with(percent)?,
                Long("only") => only = Some(arguments.value_with(part)?),
                Long("markdown") => markdown = Some(arguments.value()?),
                unknown => return Err(unknown.unexpected()),
            }
        }
        let pick = |quick_one: u64, other: u64| if quick { quick_one } else { other };
        let options = Options {
            quick,
            runs: runs.unwrap_or(pick(1, 3) as usize),
            sizes: sizes.unwrap_or_else(|| if quick { vec![8, 32] } else { vec![8, 32, 128] }),
            peers: peers.unwrap_or_else(|| PEERS.iter().collect()),
            settle: Duration::from_secs(pick(1, 4)),
            idle: idle.unwrap_or(Duration::from_secs(pick(5, 15))),
            crashes: crashes.unwrap_or(pick(1, 2) as usize),
            loss,
            only,
            markdown,
        };
        // One leaves, some crash, and two must remain to see it.
        let least = options.crashes + 3;
        match options.sizes.iter().find(|size| **size < least) {
            Some(size) => {
                Err(format!("--sizes: {size} nodes are too few, at least {least} are needed").into())
            }
            None => Ok(Self::Measure(options)),
        }
    }
}

impl Options {
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.only.is_none_or(|only| only == part)
    }

    pub(crate) fn scenario(&self, part: &'static str, n: usize, loss: u8) -> Scenario {
        Scenario { part, n, settle: self.settle, idle: self.idle, crashes: self.crashes, loss }
    }

    /// Those of the peers that can take part in a section.
    pub(crate) fn peers_with(&self, part: &str) -> Vec<&'static Peer> {
        self.peers.iter().copied().filter(|peer| peer.carries.contains(&part)).collect()
    }
}

/// The command line of a process that runs one cluster.
pub(crate) fn cluster_arguments(peer: &Peer, scenario: &Scenario) -> Vec<String> {
    let Scenario { part, n, settle, idle, crashes, loss } = scenario;
    let numbers = [*n, settle.as_millis() as usize, idle.as_millis() as usize, *crashes, usize::from(*loss)];
    let texts = ["--cluster", peer.name, part].map(str::to_owned).into_iter();
    texts.chain(numbers.iter().map(ToString::to_string)).collect()
}

fn cluster(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let peer = arguments.value_with(peer)?;
    let Some(Value(name)) = arguments.next()? else {
        return Err("--cluster wants a part after its peer".into());
    };
    let part = part(&name.string()?)?;
    let mut numbers = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(number) => numbers.push(number.parse()?),
            unknown => return Err(unknown.unexpected()),
        }
    }
    let [n, settle, idle, crashes, loss] = numbers[..] else {
        return Err("--cluster wants five numbers after its part".into());
    };
    let [settle, idle] = [settle, idle].map(|millis: usize| Duration::from_millis(millis as u64));
    let loss = u8::try_from(loss).map_err(|problem| problem.to_string())?;
    Ok(Command::Cluster { peer, scenario: Scenario { part, n, settle, idle, crashes, loss } })
}

/// Some datagrams must get through.
fn percent(text: &str) -> Result<u8, &'static str> {
    text.parse().ok().filter(|percent| *percent < 100).ok_or("that is no number below 100")
}

fn peer(name: &str) -> Result<&'static Peer, String> {
    let known = || PEERS.iter().map(|peer| peer.name).collect::<Vec<_>>().join(", ");
    PEERS.iter().find(|peer| peer.name == name).ok_or_else(|| format!("{name:?} is none of {}", known()))
}

fn part(name: &str) -> Result<&'static str, String> {
    let found = PARTS.into_iter().find(|part| *part == name);
    found.ok_or_else(|| format!("it is none of {}", PARTS.join(", ")))
}
