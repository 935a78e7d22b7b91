//! A rate limit for the whole cluster: each node counts its own calls under a key, and adds up those of all. The sum is late
//! by the time that a change takes to spread; in that time, each node may let through as many calls too many as its rate
//! allows.
//!
//! ```text
//! cargo run --bin limits -- a 127.0.0.1:7001 100
//! cargo run --bin limits -- b 127.0.0.1:7002 100 127.0.0.1:7001
//! ```

#![allow(clippy::disallowed_methods, reason = "an example may read the clock")]

mod arguments;

use std::{error::Error, io, process::ExitCode, time::SystemTime};

use syncswim::{Gossip, GossipConfig};

const USAGE: &str =
    "Takes each line that it reads for a call, and allows so many of all nodes together per minute.

usage: limits NAME HOST:PORT LIMIT [SEED]...

  NAME       of this node, unique in the cluster
  HOST:PORT  where to listen, UDP and TCP; port 0 takes any free one
  LIMIT      calls per minute, of all nodes
  SEED       HOST:PORT of a node to join through; none begins a cluster
  --help     shows this

example: cargo run --bin limits -- b 127.0.0.1:7002 100 127.0.0.1:7001";

fn main() -> ExitCode {
    let Err(error) = run(arguments::read(USAGE, 3..=usize::MAX)) else { return ExitCode::SUCCESS };
    eprintln!("limits: {}", error.downcast_ref().map_or_else(|| error.to_string(), syncswim::Error::report));
    ExitCode::FAILURE
}

fn run(arguments: Vec<String>) -> Result<(), Box<dyn Error>> {
    let [name, bind, limit, seeds @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    let limit: u64 = limit.parse()?;
    let config = GossipConfig::lan(name.as_str()).bind(bind.as_str());
    let node = Gossip::start(seeds.iter().fold(config, |config, seed| config.seed(seed.as_str())))?;
    println!("{name} listens on {}", node.local().addr);
    let mut own = (0, 0);
    for line in io::stdin().lines() {
        let minute = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() / 60;
        if own.0 != minute {
            own = (minute, 0);
        }
        let calls = own.1 + calls_of_others(&node, name, minute);
        if calls >= limit {
            println!("refused {}: {calls} this minute", line?);
            continue;
        }
        own.1 += 1;
        println!("allowed {}", line?);
        match node.set("calls", format!("{} {}", own.0, own.1)) {
            // Beyond ten changes a second, the next change publishes the count.
            Ok(_) | Err(syncswim::Error::Busy { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(node.shutdown()?)
}

/// The calls that the others have counted in this minute.
fn calls_of_others(node: &Gossip, own: &str, minute: u64) -> u64 {
    let entries = node.entries();
    let others = entries.with_key("calls").filter(|(owner, _)| *owner != own);
    let counts = others.filter_map(|(_, entry)| {
        let (when, count) = std::str::from_utf8(&entry.value).ok()?.split_once(' ')?;
        if when.parse() == Ok(minute) { count.parse::<u64>().ok() } else { None }
    });
    counts.sum()
}
