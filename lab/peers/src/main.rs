//! syncswim beside its peers, in one run:
//! `cargo run --release --manifest-path lab/peers/Cargo.toml [-- OPTIONS]`, among them `--help`.
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
mod key_values;
mod lossy;
mod membership;
mod messages;
mod node;
mod options;
mod parent;
mod peers;
mod report;
mod scenario;
mod usage;

#[path = "../../../benches/support/rig.rs"]
mod rig;
#[path = "../../../benches/support/sorted_slice.rs"]
mod sorted_slice;
#[path = "../../../benches/support/timing.rs"]
mod timing;

use crate::{
    home::Home,
    options::{Command, USAGE},
    peers::Peer,
    scenario::Scenario,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match lab::options::read(USAGE, Command::parse) {
        Command::Measure(options) => return parent::run(options),
        Command::Node { peer, setup } => return node::run(&peer, setup),
        Command::Cluster { peer, scenario } => measure(peer, scenario),
    }
    Ok(())
}

/// Starts a cluster, and measures what the scenario's part is about.
fn measure(peer: &Peer, scenario: Scenario) {
    let here = Home::here();
    let mut cluster = match (peer.start)(scenario.n) {
        Ok(cluster) => cluster,
        Err(problem) => return scenario::note(&format!("did not start: {problem}")),
    };
    let home = cluster.home().unwrap_or(here);
    let part = match scenario.part {
        "loss" => lossy::run,
        "messages" => messages::run,
        "key-values" => key_values::run,
        _ => scenario::run,
    };
    if let Err(problem) = part(&mut *cluster, &home, scenario) {
        scenario::note(&problem.to_string());
    }
    // No node leaves: the process ends, and its network with it.
    std::process::exit(0);
}
