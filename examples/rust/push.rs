//! A configuration that is pushed: every node receives the value that was set last, and nodes that join later receive it,
//! too.
//!
//! ```text
//! cargo run --bin push -- a 127.0.0.1:7001
//! cargo run --bin push -- b 127.0.0.1:7002 127.0.0.1:7001
//! ```

mod arguments;

use std::{collections::BTreeSet, error::Error, io, process::ExitCode, thread};

use syncswim::{EntryChange, Gossip, GossipConfig};

const USAGE: &str =
    "Sets what it reads, lines of KEY VALUE, and prints the latest value of each key that anybody sets.

usage: push NAME HOST:PORT [SEED]...

  NAME       of this node, unique in the cluster
  HOST:PORT  where to listen, UDP and TCP; port 0 takes any free one
  SEED       HOST:PORT of a node to join through; none begins a cluster
  --help     shows this

example: cargo run --bin push -- b 127.0.0.1:7002 127.0.0.1:7001";

fn main() -> ExitCode {
    let Err(error) = run(arguments::read(USAGE, 2..=usize::MAX)) else { return ExitCode::SUCCESS };
    eprintln!("push: {}", error.downcast_ref().map_or_else(|| error.to_string(), syncswim::Error::report));
    ExitCode::FAILURE
}

fn run(arguments: Vec<String>) -> Result<(), Box<dyn Error>> {
    let [name, bind, seeds @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    let config = GossipConfig::lan(name.as_str()).bind(bind.as_str());
    let node = Gossip::start(seeds.iter().fold(config, |config, seed| config.seed(seed.as_str())))?;
    println!("{name} listens on {}", node.local().addr);
    let reader = node.clone();
    let printing = thread::Builder::new().spawn(move || print_latest(&reader))?;
    for line in io::stdin().lines() {
        if let Some((key, value)) = line?.split_once(' ') {
            node.set(key, value)?;
        }
    }
    node.shutdown()?;
    printing.join().map_err(|_| "the printer panicked")?;
    Ok(())
}

/// Runs until the node ends. With `latest`, a key has one value, even if many nodes set it: the one that was set last.
fn print_latest(node: &Gossip) {
    for changes in &node.watch_entries(None) {
        let entries = node.entries();
        let keys: BTreeSet<_> = changes.iter().filter_map(key_of).collect();
        for key in keys {
            match entries.latest(key) {
                Some((owner, entry)) => {
                    println!("{key} is {} since {owner} set it", String::from_utf8_lossy(&entry.value));
                }
                None => println!("{key} is not set"),
            }
        }
    }
}

fn key_of(change: &EntryChange) -> Option<&str> {
    match change {
        EntryChange::Set { key, .. } | EntryChange::Deleted { key, .. } => Some(key),
        _ => None,
    }
}
