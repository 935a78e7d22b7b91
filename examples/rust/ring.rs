//! What one builds on top: every node agrees on who owns which key, without a leader and without asking.
//!
//! ```text
//! cargo run --bin ring
//! ```
//!
//! Rendezvous hashing over the membership: a key belongs to the peer for which the hash of both is greatest.
//! When a peer goes, only its own keys move.

#![allow(clippy::disallowed_methods, reason = "an example may read the clock")]

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    hash::{DefaultHasher, Hash, Hasher},
    process::ExitCode,
    time::{Duration, Instant},
};

use syncswim::{Cluster, ClusterHandle, GossipConfig, GossipDiscovery, GossipHandle, Peer, PeerName, Watch};

const KEYS: u32 = 10_000;

/// The owners of keys, kept up to date from a watch.
struct Ring {
    watch: Watch,
    peers: BTreeSet<Peer>,
}

impl Ring {
    fn new(watch: Watch) -> Self {
        Self { watch, peers: BTreeSet::new() }
    }

    /// Takes in what has changed: of each change every part matters, also of the first.
    fn update(&mut self) {
        while let Ok(change) = self.watch.try_recv() {
            self.peers.extend(change.active.iter().cloned());
            for gone in change.left.iter().chain(&change.removed) {
                self.peers.remove(gone);
            }
        }
    }

    fn owner(&self, key: u32) -> Option<&Peer> {
        self.peers.iter().max_by_key(|peer| {
            // Its keys are fixed, so every node computes the same.
            let mut hasher = DefaultHasher::new();
            (peer, key).hash(&mut hasher);
            hasher.finish()
        })
    }

    fn owners(&self) -> BTreeMap<u32, Peer> {
        (0..KEYS).filter_map(|key| Some((key, self.owner(key)?.clone()))).collect()
    }
}

struct Worker {
    ring: Ring,
    gossip: GossipHandle,
    running: ClusterHandle,
}

impl Worker {
    fn start(name: &str, seed: Option<String>) -> Result<Self, syncswim::Error> {
        let mut discovery = GossipDiscovery::new(GossipConfig::local(name).bind(([127, 0, 0, 1], 0)))
            // Names stay the same when a worker restarts elsewhere, and so does what it owns.
            .peer_name(PeerName::Name);
        if let Some(seed) = seed {
            discovery = discovery.join(seed);
        }
        let gossip = discovery.gossip();
        let cluster = Cluster::new().with_discovery(discovery);
        let ring = Ring::new(cluster.membership().watch());
        Ok(Self { ring, gossip, running: cluster.start()? })
    }

    fn addr(&self) -> Option<String> {
        Some(self.gossip.get()?.local().addr.to_string())
    }
}

fn main() -> ExitCode {
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
    let before = report(&workers, "five workers")?;

    let gone = workers.remove(2);
    gone.running.stop();
    gone.running.join()?;
    settle(&mut workers, 4)?;
    let after = report(&workers, "worker-2 has left")?;

    let moved: Vec<_> =
        before.iter().filter(|(key, owner)| after[key] != **owner).map(|(_, owner)| &**owner).collect();
    println!(
        "{} of {KEYS} keys moved, all of them worker-2's: {}",
        moved.len(),
        moved.iter().all(|o| *o == "worker-2")
    );
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
        if workers.iter().all(|worker| worker.ring.peers.len() == peers) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the rings did not settle on {peers} peers"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn report(workers: &[Worker], when: &str) -> Result<BTreeMap<u32, Peer>, String> {
    let owners = workers[0].ring.owners();
    if workers.iter().any(|worker| worker.ring.owners() != owners) {
        return Err("two workers disagree".into());
    }
    let mut shares = BTreeMap::<&str, u32>::new();
    owners.values().for_each(|owner| *shares.entry(owner).or_default() += 1);
    println!("{when}: all agree on the owners; keys per worker {shares:?}");
    Ok(owners)
}
