//! The set of peers that a [`Membership`](crate::Membership) guards, and immutable copies of it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use crate::{
    Peer,
    claims::{Claims, SourceId, Standing, Word},
    peers::Key,
    sorted::SortedMap,
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

/// An immutable copy of a [`Membership`](crate::Membership), from one moment. Cloning it only counts a reference.
///
/// # Examples
///
/// ```
/// let membership = syncswim::Membership::new();
/// membership.add(["a:1", "b:1"]);
/// membership.left(["a:1"]);
///
/// let snapshot = membership.snapshot();
/// assert_eq!(snapshot.peers().concat(), "b:1a:1");
/// assert_eq!(snapshot.split(), 1);
/// assert!(snapshot.contains("a:1") && !snapshot.contains("c:1"));
/// assert!(snapshot.is_active("b:1") && !snapshot.is_active("a:1"));
/// ```
#[derive(Clone, Default)]
pub struct Snapshot(Arc<Frozen>);

/// The set at one moment, and its list once somebody has asked for it.
#[derive(Default)]
struct Frozen {
    set: Set,
    list: OnceLock<Box<[Peer]>>,
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

    fn standing(&self, peer: &str) -> Standing {
        let place = self.peers.find_by(Key::compare_to(peer));
        place.map_or(Standing::Absent, |place| self.peers.at(place).1.standing())
    }
}

impl Snapshot {
    pub(crate) fn of(set: &Set) -> Self {
        Self(Arc::new(Frozen { set: set.clone(), list: OnceLock::new() }))
    }

    /// All peers: the sorted active ones, then the sorted ones that left.
    #[must_use]
    pub fn peers(&self) -> &[Peer] {
        self.0.list.get_or_init(|| self.0.set.list())
    }

    /// Where in [`peers`](Self::peers) those that left begin, which is the number of active ones.
    #[must_use]
    pub fn split(&self) -> usize {
        self.0.set.active
    }

    /// The active peers, sorted.
    #[must_use]
    pub fn active(&self) -> &[Peer] {
        &self.peers()[..self.split()]
    }

    /// The peers that left and were not removed, sorted.
    #[must_use]
    pub fn left(&self) -> &[Peer] {
        &self.peers()[self.split()..]
    }

    /// As [`Membership::majority`](crate::Membership::majority), at the moment of this snapshot.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.0.set.majority()
    }

    /// Whether `peer` is active or left. O(log n).
    #[must_use]
    pub fn contains(&self, peer: &str) -> bool {
        self.0.set.standing(peer) != Standing::Absent
    }

    /// Whether `peer` is active. O(log n).
    #[must_use]
    pub fn is_active(&self, peer: &str) -> bool {
        self.0.set.standing(peer) == Standing::Active
    }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.split() == other.split() && self.peers() == other.peers())
    }
}

impl Eq for Snapshot {}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("active", &self.active()).field("left", &self.left()).finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::Membership;

    #[test]
    fn a_snapshot_that_is_being_listed_holds_nobody_up_and_is_shared_while_nothing_changes() {
        let membership = Membership::new();
        membership.add((0..1_000).map(|peer| format!("{peer:03}")));
        let snapshot = membership.snapshot();
        let again = snapshot.0.list.get_or_init(|| {
            // Were a lock held here, each of these would wait for ever.
            membership.add(["new"]);
            membership.left(["000"]);
            assert_eq!((membership.snapshot().split(), membership.majority()), (1_000, 501));
            drop(membership.watch());
            snapshot.0.set.list()
        });
        assert_eq!(again.len(), 1_000);
        assert!(snapshot.is_active("000") && !snapshot.contains("new"));
        let [one, two] = [membership.snapshot(), membership.snapshot()];
        assert!(std::ptr::eq(one.peers(), two.peers()) && one != snapshot);
        membership.add(["new"]);
        assert!(std::ptr::eq(one.peers(), membership.snapshot().peers()), "nothing changed");
    }
}
