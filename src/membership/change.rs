//! What changed in a membership, as its watchers are told.

use super::{
    peers::{Peer, Peers},
    set::Transition,
    sources::Standing,
};

/// What changed in a [`Membership`](crate::Membership): no peer that stayed as it was, and none twice. Cloning it only counts
/// references, as all watchers share its lists.
///
/// # Examples
///
/// ```
/// use std::collections::BTreeSet;
/// use syncswim::{Membership, MembershipChange, Peer};
///
/// /// Keeps a set of its own up to date.
/// fn apply(live: &mut BTreeSet<Peer>, change: &MembershipChange) {
///     live.extend(change.active.iter().cloned());
///     live.retain(|peer| !change.left.contains(peer) && !change.removed.contains(peer));
/// }
///
/// let membership = Membership::new();
/// let (watch, mut live) = (membership.watch(), BTreeSet::new());
/// membership.add(["a:1", "b:1"]);
/// membership.left(["a:1"]);
/// drop(membership);
/// watch.iter().for_each(|change| apply(&mut live, &change));
/// assert_eq!(live, BTreeSet::from(["b:1".into()]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MembershipChange {
    /// Peers that are now active: new ones, and those that came back.
    pub active: Peers,
    /// Peers that have now left.
    pub left: Peers,
    /// Peers that are now forgotten, whether they were active or had left.
    pub removed: Peers,
}

impl MembershipChange {
    /// Whether it tells nothing. Only the first item of a watch can be empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names() == 0
    }

    /// From transitions in the order of their peers.
    pub(crate) fn of(transitions: &[Transition]) -> Self {
        Self::sort_out(transitions.iter().map(|change| (Peer::clone(&change.peer), change.after)))
    }

    pub(super) fn sort_out(sorted: impl Iterator<Item = (Peer, Standing)>) -> Self {
        let [mut active, mut left, mut removed] = [const { Vec::new() }; 3];
        for (peer, standing) in sorted {
            match standing {
                Standing::Active => active.push(peer),
                Standing::Left => left.push(peer),
                Standing::Absent => removed.push(peer),
            }
        }
        let [active, left, removed] = [active, left, removed].map(Peers::from_sorted);
        Self { active, left, removed }
    }

    pub(super) fn names(&self) -> usize {
        self.active.len() + self.left.len() + self.removed.len()
    }
}
