//! The sorted set of peers that a [`Membership`](crate::Membership) guards.

use super::{
    key::Key,
    peers::Peer,
    sources::{Departure, PeerState, Report, Reports, SourceId},
};
use crate::collections::sorted::SortedMap;

/// The peers by name, with the reports about each. A copy shares the entries.
#[derive(Clone, Default)]
pub(crate) struct Set {
    pub(crate) peers: SortedMap<Key, Reports>,
    pub(crate) active: usize,
    /// The number of peers that left, including those that failed.
    pub(crate) left: usize,
}

/// One peer that changed its state.
#[derive(Clone)]
pub(crate) struct Transition {
    pub(crate) peer: Peer,
    pub(crate) before: PeerState,
    pub(crate) after: PeerState,
}

/// The lists that a snapshot shows, each sorted.
pub(crate) struct Lists {
    /// The active peers, then those that left.
    pub(crate) peers: Box<[Peer]>,
    /// The peers that left because they failed.
    pub(crate) failed: Box<[Peer]>,
}

impl Set {
    /// Takes in a report about one peer, and returns what it changed.
    pub(crate) fn record(
        &mut self,
        source: Option<SourceId>,
        report: Report,
        key: Key,
    ) -> Option<Transition> {
        let place = self.peers.find(&key);
        let known = place.ok().map(|place| self.peers.at(place));
        // All lists share the set's copy of the name.
        let peer = Peer::clone(&known.map_or(&key, |(known, _)| known).peer);
        let reports = known.map(|(_, reports)| reports.clone()).unwrap_or_default();
        let mut updated = reports.clone();
        updated.record(source, report);
        let (before, after) = (reports.state(), updated.state());
        match place {
            // A repeated report must not copy a chunk that snapshots share.
            Ok(_) if updated == reports => {}
            Ok(place) if updated.are_void() => drop(self.peers.remove(place)),
            Ok(place) => self.peers.replace(place, updated),
            Err(_) if updated.are_void() => {}
            Err(place) => self.peers.insert(place, key, updated),
        }
        (before != after).then(|| self.count(Transition { peer, before, after }))
    }

    fn count(&mut self, transition: Transition) -> Transition {
        match transition.before {
            PeerState::Active => self.active -= 1,
            PeerState::Departed(_) => self.left -= 1,
            PeerState::Absent => {}
        }
        match transition.after {
            PeerState::Active => self.active += 1,
            PeerState::Departed(_) => self.left += 1,
            PeerState::Absent => {}
        }
        transition
    }

    pub(crate) fn majority(&self) -> usize {
        (self.active + self.left) / 2 + 1
    }

    pub(crate) fn lists(&self) -> Lists {
        let mut peers = Vec::with_capacity(self.active + self.left);
        let (mut left, mut failed) = (Vec::with_capacity(self.left), Vec::new());
        for (Key { peer, .. }, reports) in self.peers.iter() {
            match reports.state() {
                PeerState::Active => peers.push(Peer::clone(peer)),
                PeerState::Departed(how) => {
                    left.push(Peer::clone(peer));
                    if how == Departure::Failed {
                        failed.push(Peer::clone(peer));
                    }
                }
                PeerState::Absent => {}
            }
        }
        peers.append(&mut left);
        Lists { peers: peers.into(), failed: failed.into() }
    }

    pub(super) fn state(&self, peer: &str) -> PeerState {
        let place = self.peers.find_by(Key::compare_to(peer));
        place.map_or(PeerState::Absent, |place| self.peers.at(place).1.state())
    }
}
