//! Watching a membership: exact differences, without a gap, and never at the writer's cost.
//!
//! Each watch has a backlog. Up to a limit the changes wait there one by one; beyond it they are folded into
//! one, which remembers for each peer what the reader will believe and what is true, and forgets peers for
//! which the two agree. So a watch that is never read costs memory for the peers there are, not for the
//! changes there were, and its reader still ends up with the truth.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, TryRecvError};

use crate::{
    fanout::{Queue, Subscription},
    membership::{Peer, Peers, Snapshot, Standing},
};

/// Changes that wait one by one.
const MAX_CHANGES: usize = 64;
/// Peers that those changes may name in all, unless there is only one change.
const MAX_PEERS: usize = 4096;

/// One peer's part of a change.
#[derive(Debug, Clone)]
pub(crate) struct Transition {
    pub(crate) peer: Peer,
    pub(crate) before: Standing,
    pub(crate) after: Standing,
}

/// What changed in a membership: sorted, and only what really changed. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MembershipChange {
    /// Peers that are active now and were not.
    pub active: Peers,
    /// Peers that have left.
    pub left: Peers,
    /// Peers that are forgotten.
    pub removed: Peers,
}

impl MembershipChange {
    /// Makes a change from transitions in the order of their peers.
    pub(crate) fn from_transitions(transitions: &[Transition]) -> Self {
        let that_are = |wanted| {
            transitions
                .iter()
                .filter(move |t| t.after == wanted)
                .map(|t| Peer::clone(&t.peer))
                .collect::<Peers>()
        };
        Self {
            active: that_are(Standing::Active),
            left: that_are(Standing::Left),
            removed: that_are(Standing::Unknown),
        }
    }

    /// Whether nothing changed: only the first item of a watch on an empty membership is so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of peers that changed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.active.len() + self.left.len() + self.removed.len()
    }
}

/// What a watch has not read yet.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// The state at the beginning, until it is read.
    first: Option<MembershipChange>,
    changes: VecDeque<MembershipChange>,
    /// Peers named in `changes`.
    named: usize,
    /// What came after: for each peer, its standing after `changes`, and its present one.
    folded: BTreeMap<Peer, (Standing, Standing)>,
}

impl Backlog {
    pub(crate) fn starting_with(snapshot: &Snapshot) -> Self {
        let (active, left) =
            (snapshot.active().iter().cloned().collect(), snapshot.left().iter().cloned().collect());
        let first = Some(MembershipChange { active, left, removed: Peers::default() });
        Self { first, ..Self::default() }
    }

    /// `change` and `transitions` say the same.
    pub(crate) fn push(&mut self, change: &MembershipChange, transitions: &[Transition]) {
        let short = self.changes.len() < MAX_CHANGES && self.named + transitions.len() <= MAX_PEERS;
        if self.folded.is_empty() && (short || self.changes.is_empty()) {
            self.named += transitions.len();
            self.changes.push_back(change.clone());
            return;
        }
        for Transition { peer, before, after } in transitions {
            let (believed, _) = *self.folded.entry(Peer::clone(peer)).or_insert((*before, *after));
            if believed == *after {
                self.folded.remove(peer);
            } else {
                self.folded.insert(Peer::clone(peer), (believed, *after));
            }
        }
    }
}

/// What is taken from a backlog while its lock is held; made into a change when it is not.
#[derive(Debug)]
pub(crate) enum Taken {
    Change(MembershipChange),
    Folded(BTreeMap<Peer, (Standing, Standing)>),
}

impl From<Taken> for MembershipChange {
    fn from(taken: Taken) -> Self {
        match taken {
            Taken::Change(change) => change,
            Taken::Folded(folded) => {
                let transition = |(peer, (before, after))| Transition { peer, before, after };
                Self::from_transitions(&folded.into_iter().map(transition).collect::<Vec<_>>())
            }
        }
    }
}

impl Queue for Backlog {
    type Item = MembershipChange;
    type Taken = Taken;

    fn take(&mut self) -> Option<Taken> {
        if let Some(first) = self.first.take() {
            return Some(Taken::Change(first));
        }
        if let Some(change) = self.changes.pop_front() {
            self.named -= change.len();
            return Some(Taken::Change(change));
        }
        (!self.folded.is_empty()).then(|| Taken::Folded(std::mem::take(&mut self.folded)))
    }

    fn is_empty(&self) -> bool {
        self.first.is_none() && self.changes.is_empty() && self.folded.is_empty()
    }
}

/// A subscription to a [`Membership`](crate::Membership). Dropping it cancels it.
///
/// The first item is the state at the beginning, also if that is empty; then follows every change, in order
/// and without a gap. A reader that falls more than 64 changes behind gets the rest of its backlog as one
/// change that leads to the same state. The watch ends when its cluster does.
///
/// ```
/// use syncswim::Membership;
///
/// let membership = Membership::new();
/// membership.add(["a"]);
/// let watch = membership.watch();
/// membership.add(["b"]);
/// assert_eq!(watch.recv()?.active, ["a"]);
/// assert_eq!(watch.recv()?.active, ["b"]);
/// # Ok::<(), crossbeam_channel::RecvError>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it cancels the subscription"]
pub struct Watch(Subscription<Backlog>);

impl Watch {
    pub(crate) fn new(subscription: Subscription<Backlog>) -> Self {
        Self(subscription)
    }

    /// Waits for the next change.
    ///
    /// # Errors
    /// When the cluster has ended, or the membership is gone, and everything was read.
    pub fn recv(&self) -> Result<MembershipChange, RecvError> {
        self.0.recv()
    }

    /// Waits for the next change, at most this long.
    ///
    /// # Errors
    /// After that time, or when the cluster has ended and everything was read.
    pub fn recv_timeout(&self, limit: Duration) -> Result<MembershipChange, RecvTimeoutError> {
        self.0.recv_timeout(limit)
    }

    /// Takes the next change if there is one.
    ///
    /// # Errors
    /// When there is none, or the cluster has ended and everything was read.
    pub fn try_recv(&self) -> Result<MembershipChange, TryRecvError> {
        self.0.try_recv()
    }

    /// Waits for each change until the cluster ends.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self)
    }

    /// For `select!`: ready while a change waits; then call [`try_recv`](Self::try_recv) once. It may be empty
    /// for once, if somebody else was faster. After a disconnection, read on until `try_recv` says so too.
    ///
    /// ```
    /// use crossbeam_channel::{never, select};
    /// use syncswim::Membership;
    ///
    /// let membership = Membership::new();
    /// let (watch, jobs) = (membership.watch(), never::<()>());
    /// select! {
    ///     recv(watch.receiver()) -> _ => while let Ok(change) = watch.try_recv() {
    ///         println!("{change:?}");
    ///     },
    ///     recv(jobs) -> job => unreachable!("{job:?}"),
    /// }
    /// ```
    #[must_use]
    pub fn receiver(&self) -> &Receiver<()> {
        self.0.receiver()
    }
}

/// Blocks for each change until the cluster ends.
#[derive(Debug)]
pub struct Iter<'a>(&'a Watch);

impl Iterator for Iter<'_> {
    type Item = MembershipChange;

    fn next(&mut self) -> Option<MembershipChange> {
        self.0.recv().ok()
    }
}

impl<'a> IntoIterator for &'a Watch {
    type Item = MembershipChange;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}
