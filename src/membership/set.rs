//! The sorted set of peers that a [`Membership`](crate::Membership) guards.

use super::{
    key::Key,
    peers::Peer,
    sorted::SortedMap,
    sources::{Claims, SourceId, Standing, Word},
};

/// A copy shares what it copies.
#[derive(Clone, Default)]
pub(crate) struct Set {
    pub(crate) peers: SortedMap<Key, Claims>,
    pub(crate) active: usize,
    pub(crate) left: usize,
}

/// One peer that changed its standing.
pub(crate) struct Transition {
    pub(crate) peer: Peer,
    pub(crate) before: Standing,
    pub(crate) after: Standing,
}

impl Set {
    /// Takes a word on one peer, and tells what it changed.
    pub(crate) fn hear(&mut self, source: Option<SourceId>, word: Word, key: Key) -> Option<Transition> {
        let place = self.peers.find(&key);
        let known = place.ok().map(|place| self.peers.at(place));
        // The name that is in the set already is the one that is told.
        let peer = Peer::clone(&known.map_or(&key, |(known, _)| known).peer);
        let claims = known.map(|(_, claims)| claims.clone()).unwrap_or_default();
        let mut heard = claims.clone();
        heard.hear(source, word);
        let (before, after) = (claims.standing(), heard.standing());
        match place {
            // What is repeated must not copy what a snapshot shares.
            Ok(_) if heard == claims => {}
            Ok(place) if heard.are_void() => drop(self.peers.remove(place)),
            Ok(place) => self.peers.replace(place, heard),
            Err(_) if heard.are_void() => {}
            Err(place) => self.peers.insert(place, key, heard),
        }
        (before != after).then(|| self.count(Transition { peer, before, after }))
    }

    fn count(&mut self, transition: Transition) -> Transition {
        match transition.before {
            Standing::Active => self.active -= 1,
            Standing::Left => self.left -= 1,
            Standing::Absent => {}
        }
        match transition.after {
            Standing::Active => self.active += 1,
            Standing::Left => self.left += 1,
            Standing::Absent => {}
        }
        transition
    }

    pub(crate) fn majority(&self) -> usize {
        (self.active + self.left) / 2 + 1
    }

    /// The sorted active peers, then the sorted ones that left.
    pub(crate) fn list(&self) -> Box<[Peer]> {
        let mut peers = Vec::with_capacity(self.active + self.left);
        let mut left = Vec::with_capacity(self.left);
        for (Key { peer, .. }, claims) in self.peers.iter() {
            match claims.standing() {
                Standing::Active => peers.push(Peer::clone(peer)),
                Standing::Left => left.push(Peer::clone(peer)),
                Standing::Absent => {}
            }
        }
        peers.append(&mut left);
        peers.into()
    }

    pub(super) fn standing(&self, peer: &str) -> Standing {
        let place = self.peers.find_by(Key::compare_to(peer));
        place.map_or(Standing::Absent, |place| self.peers.at(place).1.standing())
    }
}
