//! Immutable copies of the set of peers.

use std::{fmt, sync::Arc};

use super::{
    peers::{Peer, write_lists},
    set::{Lists, Set},
    sources::{Departure, PeerState},
};
use crate::collections::listed::Listed;

/// An immutable copy of a [`Membership`](crate::Membership), from one moment. Cloning it only counts a reference.
///
/// A peer is either active or left. A peer that [failed](Self::failed) has left without announcing it.
///
/// # Examples
///
/// ```
/// let membership = syncswim::Membership::new();
/// membership.add(["a:1", "b:1", "c:1"]);
/// membership.mark_left(["a:1"]);
/// membership.mark_failed(["c:1"]);
///
/// let snapshot = membership.snapshot();
/// assert_eq!(snapshot.peers().concat(), "b:1a:1c:1");
/// assert_eq!(snapshot.active_len(), 1);
/// assert!(snapshot.contains("a:1") && !snapshot.contains("d:1"));
/// assert!(snapshot.is_active("b:1") && !snapshot.is_active("a:1"));
/// assert!(snapshot.is_failed("c:1") && !snapshot.is_failed("a:1"));
/// assert_eq!(snapshot.to_string(), "active b:1; left a:1, c:1; failed c:1");
/// ```
#[derive(Clone, Default)]
pub struct Snapshot(Arc<Listed<Set, Lists>>);

impl Snapshot {
    pub(crate) fn of(set: &Set) -> Self {
        Self(Arc::new(Listed::new(set.clone())))
    }

    fn lists(&self) -> &Lists {
        self.0.list(Set::lists)
    }

    /// All peers: the sorted active ones, then the sorted ones that left.
    #[must_use]
    pub fn peers(&self) -> &[Peer] {
        &self.lists().peers
    }

    /// The number of active peers, which is the index in [`peers`](Self::peers) of the first one that left.
    #[must_use]
    pub fn active_len(&self) -> usize {
        self.0.of.active
    }

    /// The active peers, sorted.
    #[must_use]
    pub fn active(&self) -> &[Peer] {
        &self.peers()[..self.active_len()]
    }

    /// The peers that left and were not removed, sorted. Those that [failed](Self::failed) are among them.
    #[must_use]
    pub fn left(&self) -> &[Peer] {
        &self.peers()[self.active_len()..]
    }

    /// The peers of [`left`](Self::left) that failed, sorted: a source found that they stopped answering. The others
    /// announced that they leave, or their source cannot tell.
    #[must_use]
    pub fn failed(&self) -> &[Peer] {
        &self.lists().failed
    }

    /// As [`Membership::majority`](crate::Membership::majority), at the moment of this snapshot.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.0.of.majority()
    }

    /// Whether `peer` is active or left. O(log n).
    #[must_use]
    pub fn contains(&self, peer: &str) -> bool {
        self.0.of.state(peer) != PeerState::Absent
    }

    /// Whether `peer` is active. O(log n).
    #[must_use]
    pub fn is_active(&self, peer: &str) -> bool {
        self.0.of.state(peer) == PeerState::Active
    }

    /// Whether `peer` is among the [failed](Self::failed). O(log n).
    #[must_use]
    pub fn is_failed(&self, peer: &str) -> bool {
        self.0.of.state(peer) == PeerState::Departed(Departure::Failed)
    }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        let parts =
            |snapshot: &Self| (snapshot.active_len(), snapshot.peers().len(), snapshot.failed().len());
        Arc::ptr_eq(&self.0, &other.0)
            || (parts(self) == parts(other)
                && self.peers() == other.peers()
                && self.failed() == other.failed())
    }
}

impl Eq for Snapshot {}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Snapshot");
        out.field("active", &self.active()).field("left", &self.left()).field("failed", &self.failed());
        out.finish()
    }
}

/// Writes the lists that are not empty, as `active a:1, b:1; left c:1`, or `no peers`. Control characters in names are
/// escaped.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [("active", self.active()), ("left", self.left()), ("failed", self.failed())];
        write_lists(f, &lists, "no peers")
    }
}

#[cfg(test)]
mod tests {
    use crate::Membership;

    #[test]
    fn a_snapshot_that_is_being_listed_blocks_no_call_and_is_shared_while_nothing_changes() {
        let membership = Membership::new();
        membership.add((0..1_000).map(|peer| format!("{peer:03}")));
        let snapshot = membership.snapshot();
        let again = snapshot.0.list(|set| {
            // If a lock were held here, each of these calls would block for ever.
            membership.add(["new"]);
            membership.mark_left(["000"]);
            assert_eq!((membership.snapshot().active_len(), membership.majority()), (1_000, 501));
            drop(membership.watch());
            set.lists()
        });
        assert_eq!(again.peers.len(), 1_000);
        assert!(snapshot.is_active("000") && !snapshot.contains("new"));
        let [one, two] = [membership.snapshot(), membership.snapshot()];
        assert!(std::ptr::eq(one.peers(), two.peers()) && one != snapshot);
        membership.add(["new"]);
        assert!(std::ptr::eq(one.peers(), membership.snapshot().peers()), "nothing changed");
    }

    #[test]
    fn snapshots_are_equal_if_all_peers_stand_alike() {
        let snapshot = |left: &[&str], failed: &[&str]| {
            let membership = Membership::new();
            membership.add(["a", "b", "c"]);
            membership.mark_left(left);
            membership.mark_failed(failed);
            membership.snapshot()
        };
        assert_eq!(snapshot(&["a"], &["b"]), snapshot(&["a"], &["b"]));
        assert_ne!(snapshot(&["a"], &["b"]), snapshot(&["b"], &["a"]));
        assert_ne!(snapshot(&["a"], &[]), snapshot(&[], &["a"]));
        assert_ne!(snapshot(&["a"], &[]), snapshot(&[], &[]));
        let of = |peers: [&'static str; 2]| {
            let membership = Membership::new();
            membership.add(peers);
            membership.snapshot()
        };
        assert_ne!(of(["a", "b"]), of(["a", "c"]), "as many, but others");
    }

    #[test]
    fn a_peer_that_failed_has_left_until_it_is_back_or_removed() {
        let membership = Membership::new();
        membership.add(["c", "b", "a"]);
        membership.mark_failed(["c", "a", "unknown"]);
        membership.mark_left(["b", "c"]);
        let snapshot = membership.snapshot();
        assert_eq!([snapshot.left().concat(), snapshot.failed().concat()], ["abc", "ac"]);
        assert_eq!(
            (snapshot.active_len(), snapshot.majority()),
            (0, 2),
            "a failed peer counts as any that left"
        );
        assert!(snapshot.is_failed("a") && !snapshot.is_failed("b") && !snapshot.is_failed("unknown"));
        membership.add(["a"]);
        membership.remove(["c"]);
        let after = membership.snapshot();
        assert_eq!([after.active().concat(), after.left().concat(), after.failed().concat()], ["a", "b", ""]);
        assert_eq!(snapshot.failed().concat(), "ac", "an older snapshot never changes");
    }

    #[test]
    fn a_snapshot_prints_its_lists_and_an_empty_one_says_so() {
        let membership = Membership::new();
        assert_eq!(membership.snapshot().to_string(), "no peers");
        membership.add(["b", "a"]);
        assert_eq!(membership.snapshot().to_string(), "active a, b");
        membership.mark_left(["a", "b"]);
        assert_eq!(membership.snapshot().to_string(), "left a, b");
    }
}
