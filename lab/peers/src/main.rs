//! syncswim beside its peers, in one run:
//! `cargo run --release --manifest-path lab/peers/Cargo.toml [-- OPTIONS]`.
//!
//! ```text
//! --quick          one run of each, at 8 and 32 nodes, with short rests
//! --runs N         runs of each (3)
//! --sizes N,N      nodes (8,32,128)
//! --peers A,B      only these
//! --idle SECONDS   how long the idle figures are taken (15)
//! --crashes N      crashes in each run (2)
//! --loss PERCENT   of datagrams, for the block with loss (25)
//! --only PART      cluster, loss, core, echo or membership
//! --markdown FILE  writes the tables there, and plots beside it
//! ```
//!
//! `--node kinship|serf …` is one node for the lab of network namespaces (`tests/net`): see `docs/BENCHMARKS.md`.
//!
//! Every cluster is a process of its own: this program, started again. Where the system lets it, that process
//! has a network of its own too, so that what is counted on the loopback interface is its alone.
//!
//! Two peers are not in Rust, and are left out with a line where Debian's packages of them are missing:
//! `apt-get install golang-go golang-github-hashicorp-memberlist-dev` for go-memberlist, whose nodes share a
//! process that this one starts, and `apt-get install serf` for serf, with a process for each node.

#![allow(clippy::disallowed_methods, reason = "it measures real time, and waits for others")]

mod core;
mod echo;
mod home;
mod lossy;
mod membership;
mod node;
mod options;
mod parent;
mod peers;
mod plot;
mod report;
mod scenario;
mod usage;

#[path = "../../../benches/support/rig.rs"]
mod rig;
#[path = "../../../benches/support/timing.rs"]
mod timing;

use options::{Command, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    if let (Some("--node"), Some(peer)) = (arguments.next().as_deref(), arguments.next()) {
        return node::run(&peer, arguments);
    }
    match Options::parse(std::env::args().skip(1))? {
        Command::Measure(options) => parent::run(options),
        Command::Cluster { peer, scenario } => {
            if scenario.loss == 0 {
                scenario::run(peer, scenario)
            } else {
                lossy::run(peer, scenario)
            }
            Ok(())
        }
    }
}
