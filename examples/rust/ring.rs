//! A program on top of the membership: every node agrees on the owner of each key, without a leader and without asking.
//!
//! ```text
//! cargo run --bin ring
//! ```
//!
//! Rendezvous hashing over the membership (`hash_ring.rs`, to copy): when a peer goes, only its own keys move. How such a
//! program is tested under crashes and partitions, in virtual time, shows `tests/hash_ring.rs`.

#![allow(clippy::disallowed_methods, reason = "an example may read the clock")]

mod arguments;
mod hash_ring;

use std::{
    collections::BTreeMap,
    error::Error,
    process::ExitCode,
    time::{Duration, Instant},
};

use hash_ring::{Fence, Ring};
use syncswim::{Cluster, ClusterHandle, GossipConfig, GossipDiscovery, GossipHandle, Peer, PeerName};

const USAGE: &str =
    "Every node agrees on who owns which key: rendezvous hashing over the membership. Ends by itself.

usage: ring

  --help  shows this

example: cargo run --bin ring";

const KEYS: u32 = 10_000;

struct Worker {
    ring: Ring,
    gossip: GossipHandle,
    running: ClusterHandle,
}

impl Worker {
    fn start(name: &str, seed: Option<String>) -> Result<Self, syncswim::Error> {
        let mut discovery = GossipDiscovery::new(GossipConfig::local(name).bind(([127, 0, 0, 1], 0)))
            // Names stay the same when a worker restarts at another address, and so do its keys.
            .peer_name(PeerName::Name);
        if let Some(seed) = seed {
            discovery = discovery.join(seed);
        }
        let gossip = discovery.gossip();
        let cluster = Cluster::new().with_discovery(discovery);
        let ring = Ring::new(cluster.membership().watch());
        Ok(Self { ring, gossip, running: cluster.start()? })
    }

    /// The owner of a key and the epoch of its life, as a fencing token for a store.
    fn fence(&self, key: &str) -> Option<Fence> {
        let owner = self.ring.owner(key)?;
        let member = self.gossip.get()?.members().named(owner).cloned()?;
        Some(Fence { name: member.name.to_string(), epoch: member.identity.epoch })
    }

    fn addr(&self) -> Option<String> {
        Some(self.gossip.get()?.local().addr.to_string())
    }
}

fn main() -> ExitCode {
    arguments::read(USAGE, 0..=0);
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("ring: {}", error.downcast_ref().map_or_else(|| error.to_string(), syncswim::Error::report));
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut workers = vec![Worker::start("worker-0", None)?];
    for i in 1..5 {
        let seed = workers[0].addr();
        workers.push(Worker::start(&format!("worker-{i}"), seed)?);
    }
    settle(&mut workers, 5)?;
    report(&workers, "five workers")?;
    let before = workers[0].ring.peers().clone();
    let keys = keys();
    let key = &*keys[0];
    let fence = workers[0].fence(key).ok_or("the owner is not listed")?;
    let later = Fence { epoch: fence.epoch + 1, ..fence.clone() };
    println!(
        "{key}: its owners are {:?}; a store that has seen a later life of {} lets it write: {}",
        workers[0].ring.owners(key, 2),
        fence.name,
        fence.passes([&later])
    );

    let gone = workers.remove(2);
    gone.running.stop();
    gone.running.join()?;
    settle(&mut workers, 4)?;
    report(&workers, "worker-2 has left")?;

    let moved = workers[0].ring.moved(&before, keys.iter().map(String::as_str));
    let all = moved.iter().all(|(_, from, _)| from.as_deref() == Some("worker-2"));
    println!("{} of {KEYS} keys moved, all of them worker-2's: {all}", moved.len());
    for worker in workers {
        worker.running.stop();
        worker.running.join()?;
    }
    Ok(())
}

/// Waits until every ring has this many peers.
fn settle(workers: &mut [Worker], peers: usize) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        workers.iter_mut().for_each(|worker| worker.ring.update());
        if workers.iter().all(|worker| worker.ring.peers().len() == peers) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the rings did not settle on {peers} peers"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn keys() -> Vec<String> {
    (0..KEYS).map(|key| format!("key-{key}")).collect()
}

fn report(workers: &[Worker], when: &str) -> Result<(), String> {
    let keys = keys();
    let owners = |worker: &Worker| -> Vec<Option<Peer>> {
        keys.iter().map(|key| worker.ring.owner(key).cloned()).collect()
    };
    let first = owners(&workers[0]);
    if workers.iter().any(|worker| owners(worker) != first) {
        return Err("two workers disagree".into());
    }
    let mut shares = BTreeMap::<&str, u32>::new();
    first.iter().flatten().for_each(|owner| *shares.entry(owner).or_default() += 1);
    println!("{when}: all agree on the owners; keys per worker {shares:?}");
    Ok(())
}
