//! A peer as one node, for the lab of network namespaces (`tests/net`): the same command line, lines on its standard
//! input and lines of output as the lab's own node.
//!
//! ```text
//! --node kinship|serf NAME [--bind A:P] [--advertise A:P] [--seed A:P]...
//! in:  tag KEY=VALUE, leave; its end ends the node without leaving
//! out: MICROSECONDS joined|updated|suspected|left|failed NAME ADDRESS TAGS, or tagging, leaving, gone
//! ```

mod kinship;
mod serf;

use std::{
    fmt,
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use lab::options::{Arguments, Error, Long, Value, ValueExt};

type Problem = Box<dyn std::error::Error>;

#[derive(Debug)]
pub(crate) struct Setup {
    name: String,
    bind: SocketAddr,
    advertise: Option<SocketAddr>,
    seeds: Vec<SocketAddr>,
}

pub(crate) fn run(peer: &str, setup: Setup) -> Result<(), Problem> {
    match peer {
        "kinship" => kinship::run(setup),
        "serf" => serf::run(setup),
        _ => Err(format!("{peer} cannot be a node of the lab: kinship and serf can").into()),
    }
}

impl Setup {
    /// What follows on `--node PEER`.
    pub(crate) fn parse(arguments: &mut Arguments<'_>) -> Result<Self, Error> {
        let (mut name, mut bind) = (None, SocketAddr::from(([0, 0, 0, 0], 7946)));
        let (mut advertise, mut seeds) = (None, Vec::new());
        while let Some(argument) = arguments.next()? {
            match argument {
                Value(text) if name.is_none() => name = Some(text.string()?),
                Long("bind") => bind = arguments.value()?,
                Long("advertise") => advertise = Some(arguments.value()?),
                Long("seed") => seeds.push(arguments.value()?),
                unknown => return Err(unknown.unexpected()),
            }
        }
        Ok(Self { name: name.ok_or("the node has no name")?, bind, advertise, seeds })
    }
}

fn say(kind: &str, rest: impl fmt::Display) {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    println!("{micros} {kind} {rest}");
}
