//! Who owns which key: rendezvous hashing over the peers, so that all nodes agree without a leader and without asking.
//!
//! A key belongs to the peer whose hash together with the key is greatest; the next greatest are its replicas. When a peer
//! goes, only its own keys move. The hash is FNV-1a with MurmurHash3's finalizer, both with 64 bits: it is the same on every
//! machine and with every release of Rust, which `std`'s is not.

use std::collections::BTreeSet;

use syncswim::{Peer, Watch};

/// The owners of keys, kept up to date from a watch.
#[derive(Debug)]
pub(crate) struct Ring {
    watch: Watch,
    peers: BTreeSet<Peer>,
}

impl Ring {
    pub(crate) fn new(watch: Watch) -> Self {
        Self { watch, peers: BTreeSet::new() }
    }

    /// Applies the changes that are waiting. Every list of each change matters, those of the first one too.
    pub(crate) fn update(&mut self) {
        while let Ok(change) = self.watch.try_recv() {
            self.peers.extend(change.active.iter().cloned());
            for gone in change.left.iter().chain(&change.removed) {
                self.peers.remove(gone);
            }
        }
    }

    pub(crate) fn peers(&self) -> &BTreeSet<Peer> {
        &self.peers
    }

    /// The peer that a key belongs to; `None` if there are no peers.
    pub(crate) fn owner(&self, key: &str) -> Option<&Peer> {
        self.peers.iter().max_by_key(|peer| hash(peer, key))
    }

    /// The owner, followed by the peers that would take over if it goes: `n` in all, or fewer if there are not so many.
    pub(crate) fn owners(&self, key: &str, n: usize) -> Vec<&Peer> {
        let mut ranked: Vec<_> = self.peers.iter().collect();
        ranked.sort_by_key(|peer| std::cmp::Reverse(hash(peer, key)));
        ranked.truncate(n);
        ranked
    }

    /// The keys among these whose owner differs from the one among `earlier` peers, with both owners.
    pub(crate) fn moved<'k>(
        &self,
        earlier: &BTreeSet<Peer>,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Vec<(&'k str, Option<Peer>, Option<Peer>)> {
        let was = |key: &str| earlier.iter().max_by_key(|peer| hash(peer, key));
        keys.into_iter()
            .filter(|key| was(key) != self.owner(key))
            .map(|key| (key, was(key).cloned(), self.owner(key).cloned()))
            .collect()
    }
}

/// The fencing token that an owner shows to a store before it writes: its name and the epoch of its life. A store that has
/// seen a later epoch of the name refuses. It does not distinguish two owners of different names during a partition: for
/// that, the store has to remember the last writer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fence {
    pub(crate) name: String,
    pub(crate) epoch: u64,
}

impl Fence {
    /// Whether a store that has seen these fences lets this one write.
    pub(crate) fn passes<'a>(&self, seen: impl IntoIterator<Item = &'a Fence>) -> bool {
        seen.into_iter().all(|other| other.name != self.name || other.epoch <= self.epoch)
    }
}

fn hash(peer: &str, key: &str) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    // The byte 0xff occurs in no UTF-8 text, so it separates the two.
    let bytes = peer.as_bytes().iter().chain(&[0xff]).chain(key.as_bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325, fnv);
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ hash >> 33).wrapping_mul(factor);
    }
    hash ^ hash >> 33
}
