//! A peer as one node, for the lab of network namespaces (`tests/net`): the same command line, lines on its standard
//! input and lines of output as the lab's own node.
//!
//! ```text
//! --node kinship|serf NAME [--bind A:P] [--advertise A:P] [--seed A:P]...
//! in:  tag KEY=VALUE, leave; its end ends the node without a farewell
//! out: MICROSECONDS joined|updated|suspected|left|failed NAME ADDRESS TAGS, or tagging, leaving, gone
//! ```

mod kinship;
mod serf;

use std::{
    fmt,
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

type Problem = Box<dyn std::error::Error>;

#[derive(Debug)]
pub(crate) struct Setup {
    name: String,
    bind: SocketAddr,
    advertise: Option<SocketAddr>,
    seeds: Vec<SocketAddr>,
}

pub(crate) fn run(peer: &str, arguments: impl Iterator<Item = String>) -> Result<(), Problem> {
    let setup = Setup::parse(arguments)?;
    match peer {
        "kinship" => kinship::run(setup),
        "serf" => serf::run(setup),
        _ => Err(format!("{peer} cannot be a node of the lab: kinship and serf can").into()),
    }
}

impl Setup {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Problem> {
        let name = arguments.next().ok_or("no name is given")?;
        let bind = SocketAddr::from(([0, 0, 0, 0], 7946));
        let mut setup = Self { name, bind, advertise: None, seeds: Vec::new() };
        while let Some(flag) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
            let addr: SocketAddr = value.parse().map_err(|error| format!("{flag} {value}: {error}"))?;
            match &*flag {
                "--bind" => setup.bind = addr,
                "--advertise" => setup.advertise = Some(addr),
                "--seed" => setup.seeds.push(addr),
                _ => return Err(format!("peers have no {flag}").into()),
            }
        }
        Ok(setup)
    }
}

fn say(kind: &str, rest: impl fmt::Display) {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    println!("{micros} {kind} {rest}");
}
