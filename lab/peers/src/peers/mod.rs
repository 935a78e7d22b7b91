//! The libraries under test, each behind the same four questions.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::mpsc::Sender,
    time::{Duration, Instant},
};

mod chitchat;
mod debian;
mod foca;
pub(crate) use foca::Id;
mod go_memberlist;
mod kinship;
mod memberlist;
mod serf;
mod serf_control;
mod syncswim;

use crate::home::Home;

pub(crate) const LOCALHOST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How long a leave may take, where the library asks.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Nodes of one library. Node 0 is the seed of all others.
pub(crate) trait Cluster {
    /// The processes of its nodes, if not this one.
    fn home(&self) -> Option<Home> {
        None
    }

    /// How many live members a node sees, itself included.
    fn live(&self, node: usize) -> usize;

    /// Whether a node lists another as live: neither failed nor left. A suspect is live.
    fn sees(&self, node: usize, other: usize) -> bool;

    /// Makes a node leave and end, without waiting for it. `false` if the library has no leave.
    fn leave(&mut self, node: usize) -> bool;

    /// Starts one more node, with node 0 as its seed.
    fn join(&mut self) -> Result<(), Problem>;

    /// Ends a node without a leave; its sockets are closed.
    fn crash(&mut self, node: usize);

    /// Reports every broadcast that arrives at a node from now on, and makes all nodes answer queries.
    fn listen(&mut self, _heard: Sender<Heard>) -> Result<(), Problem> {
        Err("it has no broadcasts".into())
    }

    /// Broadcasts from a node, without waiting.
    fn broadcast(&mut self, _node: usize, _text: &str) -> Result<(), Problem> {
        Err("it has no broadcasts".into())
    }

    /// Queries all nodes, the asking one included, until the library reports the end. `None` if it has no queries.
    fn query(&mut self, _node: usize) -> Result<Option<Asked>, Problem> {
        Ok(None)
    }

    /// Sets a key of a node's own.
    fn set(&mut self, _node: usize, _key: &str, _value: &str) -> Result<(), Problem> {
        Err("it has no key–values".into())
    }

    /// The number of keys, of all nodes, that a node has.
    fn keys(&self, _node: usize) -> usize {
        0
    }

    /// Whether a node has this value for another one's key.
    fn has(&self, _node: usize, _owner: usize, _key: &str, _value: &str) -> bool {
        false
    }
}

/// A broadcast that came to a node.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) node: usize,
    pub(crate) text: String,
    pub(crate) at: Instant,
}

/// The result of a query.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    pub(crate) answers: usize,
    /// The time until the last of them arrived.
    pub(crate) last: Duration,
    /// The time until the library reported the end.
    pub(crate) end: Duration,
}

pub(crate) type Problem = Box<dyn std::error::Error + Send + Sync>;

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Prepares the library and returns its version; or why this machine cannot run it.
    pub(crate) version: fn() -> Result<String, String>,
    /// Its configuration, beyond the preset of that name.
    pub(crate) preset: &'static str,
    /// The sections beyond membership that it can take part in: `messages` (broadcasts, perhaps queries), `key-values`.
    pub(crate) carries: &'static [&'static str],
    /// Why the cells of leaves are empty.
    pub(crate) lacks: Option<&'static str>,
    /// Starts so many nodes at once; the first is the seed of the others.
    pub(crate) start: fn(usize) -> Result<Box<dyn Cluster>, Problem>,
}

pub(crate) const PEERS: [Peer; 7] = [
    Peer {
        name: "syncswim",
        version: || Ok("this tree".to_owned()),
        preset: "GossipConfig::lan; two threads per node",
        carries: &["messages", "key-values"],
        lacks: None,
        start: syncswim::start,
    },
    Peer {
        name: "foca",
        version: || Ok("2.0.0".to_owned()),
        preset: "Config::new_lan(N), told the size of the cluster; no driver of its own: one tokio task per node, \
                 postcard codec; no streams, no Lifeguard",
        carries: &[],
        lacks: None,
        start: foca::start,
    },
    Peer {
        name: "memberlist",
        version: || Ok("0.8.5".to_owned()),
        preset: "Options::lan with probe_interval 1 s and probe_timeout 500 ms (its preset has 500 ms and 1 s); \
                 tokio, TCP, no compression or encryption",
        carries: &[],
        lacks: None,
        start: memberlist::start,
    },
    Peer {
        name: "kinship",
        version: || Ok("0.5.0".to_owned()),
        preset: "Config::lan in plaintext; inbound streams per address raised to N, as all nodes share one; tokio",
        carries: &["messages"],
        lacks: None,
        start: kinship::start,
    },
    Peer {
        name: "chitchat",
        version: || Ok("0.13.0".to_owned()),
        preset: "gossip every 1 s, φ = 8 and the other defaults of its failure detector, protocol V1; tokio; not \
                 SWIM: heartbeats, no probes",
        carries: &["key-values"],
        lacks: Some("leave: it has none; a node that shuts down looks like a crashed one"),
        start: chitchat::start,
    },
    Peer {
        name: "go-memberlist",
        version: go_memberlist::version,
        preset: "DefaultLANConfig, which has these intervals and compresses what shrinks; all nodes in one process, \
                 its memory counted from when the Go runtime was up",
        carries: &[],
        lacks: None,
        start: go_memberlist::start,
    },
    Peer {
        name: "serf",
        version: serf::version,
        preset: "serf agent -profile=lan, which has these intervals and adds coordinates to acks; one process per \
                 node, whose start, CPU, whole memory and threads count; what a node sees is taken from its log",
        carries: &["messages"],
        lacks: None,
        start: serf::start,
    },
];

fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn name(node: usize) -> String {
    format!("node-{node:05}")
}
