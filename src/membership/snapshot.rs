//! Immutable copies of the set of peers.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use super::{peers::Peer, set::Set, sources::Standing};

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
