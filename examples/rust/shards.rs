//! Shards with weights: rendezvous hashing over the live members, each with the weight that it publishes. All members
//! compute the same owners without asking, and when one goes or grows, only its own shards move.
//!
//! ```text
//! cargo run --bin shards -- a 127.0.0.1:7001 1
//! cargo run --bin shards -- b 127.0.0.1:7002 3 127.0.0.1:7001
//! ```

mod arguments;

use std::{error::Error, process::ExitCode};

use syncswim::{Gossip, GossipConfig, crossbeam_channel::select};

const USAGE: &str = "Prints which live member has which of 16 shards, by the weight that each says of itself.

usage: shards NAME HOST:PORT WEIGHT [SEED]...

  NAME       of this node, unique in the cluster
  HOST:PORT  where to listen, UDP and TCP; port 0 takes any free one
  WEIGHT     a number above 0: of two members, one with twice the weight has twice the shards
  SEED       HOST:PORT of a node to join through; none begins a cluster
  --help     shows this

example: cargo run --bin shards -- b 127.0.0.1:7002 3 127.0.0.1:7001";

fn main() -> ExitCode {
    let Err(error) = run(arguments::read(USAGE, 3..=usize::MAX)) else { return ExitCode::SUCCESS };
    eprintln!("shards: {}", error.downcast_ref().map_or_else(|| error.to_string(), syncswim::Error::report));
    ExitCode::FAILURE
}

fn run(arguments: Vec<String>) -> Result<(), Box<dyn Error>> {
    let [name, bind, weight, seeds @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    let config = GossipConfig::lan(name.as_str()).bind(bind.as_str());
    let node = Gossip::start(seeds.iter().fold(config, |config, seed| config.seed(seed.as_str())))?;
    println!("{name} listens on {}", node.local().addr);
    node.set("weight", weight)?;
    let (weights, events) = (node.watch_entries("weight"), node.events());
    let mut shown = Vec::new();
    loop {
        select! {
            recv(weights.receiver()) -> _ => if weights.try_recv().is_err() { continue },
            recv(events.receiver()) -> _ => if events.try_recv().is_err() { continue },
        }
        let owners: Vec<_> = (0..16).filter_map(|shard| owner(&node, shard)).collect();
        if owners != shown {
            println!("{}", owners.join(" "));
            shown = owners;
        }
    }
}

/// The live member with the best score for a shard; members without a published weight have none.
fn owner(node: &Gossip, shard: u32) -> Option<String> {
    let (members, entries) = (node.members(), node.entries());
    let scored = members.live().filter_map(|member| {
        let weight: f64 =
            std::str::from_utf8(&entries.of(&member.name).get("weight")?.value).ok()?.parse().ok()?;
        // A number in (0, 1) that is the same on all nodes; −weight / ln(number) then gives each member a share in
        // proportion to its weight.
        let draw = (hash(&member.name, shard) >> 11) as f64 / (1_u64 << 53) as f64;
        Some((-weight / draw.max(f64::MIN_POSITIVE).ln(), member.name.to_string()))
    });
    scored.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1))).map(|(_, name)| name)
}

/// FNV-1a, mixed: the same in every process, which the standard library's hasher does not promise.
fn hash(name: &str, shard: u32) -> u64 {
    let bytes = name.bytes().chain(shard.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}
