//! The command line.

use std::{path::PathBuf, time::Duration};

use crate::{
    peers::{PEERS, Peer},
    scenario::Scenario,
};

/// The first argument of a process that runs one cluster.
pub(crate) const CLUSTER: &str = "--cluster";

pub(crate) enum Command {
    Measure(Options),
    Cluster { peer: &'static Peer, scenario: Scenario },
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
    pub(crate) only: Option<String>,
    pub(crate) markdown: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Command, String> {
        let mut arguments: Vec<String> = arguments.collect();
        if arguments.first().is_some_and(|first| first == CLUSTER) {
            return cluster(&arguments[1..]);
        }
        let quick = take(&mut arguments, "--quick", false)?.is_some();
        let mut options = Self {
            quick,
            runs: if quick { 1 } else { 3 },
            sizes: if quick { vec![8, 32] } else { vec![8, 32, 128] },
            peers: PEERS.iter().collect(),
            settle: Duration::from_secs(if quick { 1 } else { 4 }),
            idle: Duration::from_secs(if quick { 5 } else { 15 }),
            crashes: if quick { 1 } else { 2 },
            loss: 25,
            only: take(&mut arguments, "--only", true)?,
            markdown: take(&mut arguments, "--markdown", true)?.map(PathBuf::from),
        };
        if let Some(value) = take(&mut arguments, "--runs", true)? {
            options.runs = number(&value)?;
        }
        if let Some(value) = take(&mut arguments, "--sizes", true)? {
            options.sizes = value.split(',').map(number).collect::<Result<_, _>>()?;
        }
        if let Some(value) = take(&mut arguments, "--peers", true)? {
            options.peers = value.split(',').map(peer).collect::<Result<_, _>>()?;
        }
        if let Some(value) = take(&mut arguments, "--idle", true)? {
            options.idle = Duration::from_secs(number(&value)? as u64);
        }
        if let Some(value) = take(&mut arguments, "--crashes", true)? {
            options.crashes = number(&value)?;
        }
        if let Some(value) = take(&mut arguments, "--loss", true)? {
            options.loss = percent(number(&value)?)?;
        }
        // One leaves, some crash, and two must remain to see it.
        let least = options.crashes + 3;
        match (arguments.first(), options.sizes.iter().find(|size| **size < least)) {
            (Some(unknown), _) => Err(format!("unknown option {unknown}; main.rs lists them")),
            (None, Some(size)) => Err(format!("{size} nodes are too few: at least {least}")),
            (None, None) => Ok(Command::Measure(options)),
        }
    }

    pub(crate) fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == part)
    }

    pub(crate) fn scenario(&self, n: usize, loss: u8) -> Scenario {
        Scenario { n, settle: self.settle, idle: self.idle, crashes: self.crashes, loss }
    }
}

/// What `cluster` reads.
pub(crate) fn cluster_arguments(peer: &Peer, scenario: &Scenario) -> Vec<String> {
    let Scenario { n, settle, idle, crashes, loss } = scenario;
    let numbers = [*n, settle.as_millis() as usize, idle.as_millis() as usize, *crashes, usize::from(*loss)];
    let texts = [CLUSTER, peer.name].map(str::to_owned).into_iter();
    texts.chain(numbers.iter().map(ToString::to_string)).collect()
}

fn cluster(arguments: &[String]) -> Result<Command, String> {
    let [name, numbers @ ..] = arguments else { return Err("no peer is named".to_owned()) };
    let numbers = numbers.iter().map(|text| number(text)).collect::<Result<Vec<_>, _>>()?;
    let [n, settle, idle, crashes, loss] = numbers[..] else {
        return Err("five numbers are missing".to_owned());
    };
    let loss = percent(loss)?;
    let [settle, idle] = [settle, idle].map(|millis| Duration::from_millis(millis as u64));
    Ok(Command::Cluster { peer: peer(name)?, scenario: Scenario { n, settle, idle, crashes, loss } })
}

/// Removes an option and returns its value, or itself if it has none.
fn take(arguments: &mut Vec<String>, option: &str, has_value: bool) -> Result<Option<String>, String> {
    let Some(at) = arguments.iter().position(|argument| argument == option) else { return Ok(None) };
    let option = arguments.remove(at);
    match has_value {
        false => Ok(Some(option)),
        true if at < arguments.len() => Ok(Some(arguments.remove(at))),
        true => Err(format!("{option} needs a value")),
    }
}

/// What is lost must leave something.
fn percent(number: usize) -> Result<u8, String> {
    u8::try_from(number).ok().filter(|percent| *percent < 100).ok_or(format!("{number} is not below 100"))
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

fn peer(name: &str) -> Result<&'static Peer, String> {
    PEERS.iter().find(|peer| peer.name == name).ok_or_else(|| format!("unknown peer {name:?}"))
}
