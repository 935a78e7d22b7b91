//! A leader without an election: the member with the longest life, while it sees a majority.
//!
//! **Two leaders are possible at the same time.** Members learn of each other's failures at different times, so while a
//! network splits or heals, or a process is stalled, one may still take itself for the leader when another already does. Use
//! it for work that may be done twice; other work needs a fencing token or consensus.
//!
//! ```text
//! cargo run --bin leader -- a 127.0.0.1:7001 3
//! cargo run --bin leader -- b 127.0.0.1:7002 3 127.0.0.1:7001
//! ```

mod arguments;

use std::{error::Error, process::ExitCode};

use syncswim::{Gossip, GossipConfig};

const USAGE: &str =
    "Prints who leads: the live member with the longest life, while most members are live. Two are possible.

usage: leader NAME HOST:PORT SIZE [SEED]...

  NAME       of this node, unique in the cluster
  HOST:PORT  where to listen, UDP and TCP; port 0 takes any free one
  SIZE       of the whole cluster: nobody leads unless more than half of it are live
  SEED       HOST:PORT of a node to join through; none begins a cluster
  --help     shows this

example: cargo run --bin leader -- b 127.0.0.1:7002 3 127.0.0.1:7001";

fn main() -> ExitCode {
    let Err(error) = run(arguments::read(USAGE, 3..=usize::MAX)) else { return ExitCode::SUCCESS };
    eprintln!("leader: {}", error.downcast_ref().map_or_else(|| error.to_string(), syncswim::Error::report));
    ExitCode::FAILURE
}

fn run(arguments: Vec<String>) -> Result<(), Box<dyn Error>> {
    let [name, bind, size, seeds @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    let size: usize = size.parse()?;
    let config = GossipConfig::lan(name.as_str()).bind(bind.as_str());
    let node = Gossip::start(seeds.iter().fold(config, |config, seed| config.seed(seed.as_str())))?;
    println!("{name} listens on {}", node.local().addr);
    let (mut shown, events) = (None, node.events());
    println!("nobody leads");
    loop {
        let leads = leader(&node, size);
        if leads != shown {
            match &leads {
                Some(leader) if leader == name => println!("this node leads"),
                Some(leader) => println!("{leader} leads"),
                None => println!("nobody leads"),
            }
            shown = leads;
        }
        // A suspect counts as live: another leader takes over once the failure is certain.
        events.recv()?;
    }
}

/// The live member with the earliest epoch, while more than half of all are live. An epoch is the time at which a life began.
fn leader(node: &Gossip, size: usize) -> Option<String> {
    let members = node.members();
    let has_majority = members.live().count() * 2 > size;
    let oldest = members.live().min_by_key(|member| (member.identity.epoch, member.name.clone()))?;
    has_majority.then(|| oldest.name.to_string())
}
