//! The change of a membership that its watchers receive.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    peers::{Peer, Peers, write_lists},
    set::Transition,
    snapshot::Snapshot,
    sources::{Departure, PeerState},
};

/// What changed in a [`Membership`](crate::Membership): no peer that stayed as it was, and no list names a peer twice. All
/// lists are sorted. Cloning it only counts references, as all watchers share its lists.
///
/// [`active`](Self::active), [`left`](Self::left) and [`removed`](Self::removed) have no peer in common, and are all that a
/// program needs to know who is there. [`failed`](Self::failed) and [`no_longer_failed`](Self::no_longer_failed) say more
/// about peers that have left. (A change may be only that: a peer was thought to have failed and had left by itself, or the
/// reverse.)
///
/// # Examples
///
/// A program that keeps sets of its own up to date:
///
/// ```
/// use std::collections::BTreeSet;
/// use syncswim::{Membership, Peer};
///
/// let membership = Membership::new();
/// let watch = membership.watch();
/// membership.add(["a:1", "b:1", "c:1", "d:1"]);
/// membership.mark_left(["a:1"]);
/// membership.mark_failed(["c:1", "d:1"]);
/// membership.add(["d:1"]);
/// drop(membership);
///
/// let (mut live, mut failed) = (BTreeSet::<Peer>::new(), BTreeSet::<Peer>::new());
/// for change in &watch {
///     live.extend(change.active.iter().cloned());
///     live.retain(|peer| !change.left.contains(peer) && !change.removed.contains(peer));
///     // Only if it matters why a peer has left. One that is active again or removed has failed no longer.
///     failed.extend(change.failed.iter().cloned());
///     for peer in change.no_longer_failed.iter().chain(&change.active).chain(&change.removed) {
///         failed.remove(peer);
///     }
/// }
/// assert_eq!(live, BTreeSet::from(["b:1".into(), "d:1".into()]));
/// assert_eq!(failed, BTreeSet::from(["c:1".into()]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MembershipChange {
    /// Peers that are now active: new ones, and those that came back.
    pub active: Peers,
    /// Peers that have now left, whether they said so or failed.
    pub left: Peers,
    /// Peers that are now forgotten, whether they were active or had left.
    pub removed: Peers,
    /// Peers that are now known to have failed: those of [`left`](Self::left) that did, and peers that had left before. A peer
    /// that is active again, or removed, has failed no longer.
    pub failed: Peers,
    /// Peers that had failed, are still departed, and are reported as failed by no source any longer: the source has
    /// corrected its report to *left*, or it no longer lists the peer while another source only reports it as missing. A
    /// list of failed peers that follows this stays equal to [`Snapshot::failed`](crate::Snapshot::failed).
    pub no_longer_failed: Peers,
}

impl MembershipChange {
    /// Whether nothing changed. Only the first item of a watch can be empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names() == 0
    }

    /// Builds a change from transitions in the order of their peers.
    pub(super) fn of(transitions: impl IntoIterator<Item = Transition>) -> Self {
        let [mut active, mut left, mut removed, mut failed, mut no_longer_failed] = [const { Vec::new() }; 5];
        for Transition { peer, before, after } in transitions {
            let had_left = before.is_alike(after);
            match after {
                PeerState::Active => active.push(peer),
                PeerState::Absent => removed.push(peer),
                PeerState::Departed(Departure::Left) if had_left => no_longer_failed.push(peer),
                PeerState::Departed(Departure::Left) => left.push(peer),
                PeerState::Departed(Departure::Failed) => {
                    if !had_left {
                        left.push(Peer::clone(&peer));
                    }
                    failed.push(peer);
                }
            }
        }
        let [active, left, removed, failed, no_longer_failed] =
            [active, left, removed, failed, no_longer_failed].map(Peers::from_sorted);
        Self { active, left, removed, failed, no_longer_failed }
    }

    /// The change from an empty set to this snapshot.
    pub(super) fn from_nothing_to(snapshot: &Snapshot) -> Self {
        let [active, left, failed] =
            [snapshot.active(), snapshot.left(), snapshot.failed()].map(Peers::from_sorted);
        Self { active, left, failed, ..Self::default() }
    }

    /// The number of names in all lists.
    pub(super) fn names(&self) -> usize {
        self.lists().iter().map(|(_, peers)| peers.len()).sum()
    }

    /// Whether the change only corrects how peers departed that had departed before.
    #[cfg(feature = "capi")]
    pub(crate) fn is_a_correction(&self) -> bool {
        !self.is_empty() && self.active.is_empty() && self.left.is_empty() && self.removed.is_empty()
    }

    fn lists(&self) -> [(&'static str, &[Peer]); 5] {
        [
            ("active", &self.active),
            ("left", &self.left),
            ("removed", &self.removed),
            ("failed", &self.failed),
            ("no longer failed", &self.no_longer_failed),
        ]
    }
}

/// Writes the lists that are not empty, as `active a:1, b:1; left c:1`, or `nothing changed`. Control characters in names
/// are escaped.
impl fmt::Display for MembershipChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lists(f, &self.lists(), "nothing changed")
    }
}
