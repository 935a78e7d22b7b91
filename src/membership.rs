//! The sorted set of peers, and who says what about each.
//!
//! A [`Membership`] handle speaks either for one source (a discovery) or for the application. What counts:
//!
//! | said by | changes | the peer is then |
//! | --- | --- | --- |
//! | a source | its own claim, if it differs from its last word; the application's word on that peer lapses | active if any source says active, else left if any says left, else unknown |
//! | the application | its word, which stands above all claims until a source says something new | what it said |
//!
//! So sources never fight over a peer, and a source that only repeats itself does not undo what the
//! application decided.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use parking_lot::RwLock;

use crate::{
    fanout::Fanout,
    watch::{Backlog, MembershipChange, Transition, Watch},
};

/// The name of a peer: a string to compare and to show, usually the address that it is reached at.
pub type Peer = Arc<str>;

/// A sorted list of peers without duplicates. Cheap to clone, immutable.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Peers(Arc<[Peer]>);

impl Deref for Peers {
    type Target = [Peer];

    fn deref(&self) -> &[Peer] {
        &self.0
    }
}

impl FromIterator<Peer> for Peers {
    fn from_iter<I: IntoIterator<Item = Peer>>(peers: I) -> Self {
        Self(peers.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Peers {
    type Item = &'a Peer;
    type IntoIter = std::slice::Iter<'a, Peer>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<S: AsRef<str>, const N: usize> PartialEq<[S; N]> for Peers {
    fn eq(&self, other: &[S; N]) -> bool {
        self.iter().map(|peer| &**peer).eq(other.iter().map(AsRef::as_ref))
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a peer counts, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    Unknown,
    Left,
    Active,
}

/// A discovery of a cluster, by its number.
pub(crate) type Source = u32;

/// What is said about one peer.
#[derive(Debug, Default)]
struct Claims {
    sources: Vec<(Source, Standing)>,
    /// The application's word, until a source says something new.
    application: Option<Standing>,
}

impl Claims {
    fn standing(&self) -> Standing {
        let claimed = self.sources.iter().map(|(_, standing)| *standing).max();
        self.application.or(claimed).unwrap_or(Standing::Unknown)
    }

    fn of(&self, source: Source) -> Standing {
        let claim = self.sources.iter().find(|(by, _)| *by == source);
        claim.map_or(Standing::Unknown, |(_, standing)| *standing)
    }

    fn say(&mut self, source: Source, standing: Standing) {
        self.sources.retain(|(by, _)| *by != source);
        if standing != Standing::Unknown {
            self.sources.push((source, standing));
        }
        self.application = None;
    }

    /// Whether nothing is said that would have to be remembered.
    fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.application.is_none_or(|word| word == Standing::Unknown)
    }
}

/// Who is in the cluster: a set of active and a set of left peers, sorted and disjoint.
///
/// Clones share the set. Each call is atomic for its whole batch and costs O(m log n) for m of n peers; no
/// writer ever waits for a watcher, however slow that one is.
///
/// ```
/// use syncswim::Membership;
///
/// let membership = Membership::new();
/// membership.add(["10.0.0.2:80", "10.0.0.1:80"]);
/// membership.left(["10.0.0.2:80"]);
/// let snapshot = membership.snapshot();
/// assert_eq!((&*snapshot.active()[0], &*snapshot.left()[0]), ("10.0.0.1:80", "10.0.0.2:80"));
/// assert_eq!(membership.majority(), 2);
/// ```
#[derive(Clone)]
pub struct Membership {
    shared: Arc<Shared>,
    source: Option<Source>,
}

#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    watches: Fanout<Backlog>,
}

#[derive(Debug, Default)]
struct State {
    peers: BTreeMap<Peer, Claims>,
    active: usize,
    left: usize,
    /// Made when somebody asks, kept until the next change.
    snapshot: OnceLock<Snapshot>,
}

impl Membership {
    /// An empty membership. This handle speaks for the application.
    #[must_use]
    pub fn new() -> Self {
        let (state, watches) = (RwLock::default(), Fanout::new());
        Self { shared: Arc::new(Shared { state, watches }), source: None }
    }

    /// A handle that speaks for one source alone.
    pub(crate) fn for_source(&self, source: Source) -> Self {
        Self { shared: Arc::clone(&self.shared), source: Some(source) }
    }

    /// Makes peers active, whether they were unknown or left.
    pub fn add<S: AsRef<str>>(&self, peers: impl IntoIterator<Item = S>) {
        self.change(peers, |_| Some(Standing::Active));
    }

    /// Marks active peers as left: gone for now, but still counted. Others are passed over.
    pub fn left<S: AsRef<str>>(&self, peers: impl IntoIterator<Item = S>) {
        self.change(peers, |now| (now == Standing::Active).then_some(Standing::Left));
    }

    /// Forgets peers, active or left.
    pub fn remove<S: AsRef<str>>(&self, peers: impl IntoIterator<Item = S>) {
        self.change(peers, |_| Some(Standing::Unknown));
    }

    /// `word` is what this handle's owner says next, given what it says now.
    fn change<S: AsRef<str>>(
        &self,
        peers: impl IntoIterator<Item = S>,
        word: impl Fn(Standing) -> Option<Standing>,
    ) {
        // The caller's iterator is the caller's code: it runs before the lock is taken.
        let mut names: Vec<S> = peers.into_iter().collect();
        names.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        names.dedup_by(|a, b| (*a).as_ref() == (*b).as_ref());
        let mut state = self.shared.state.write();
        let changes = names.iter().filter_map(|name| state.say(name.as_ref(), self.source, &word));
        let transitions: Vec<Transition> = changes.collect();
        if transitions.is_empty() {
            return;
        }
        state.snapshot = OnceLock::new();
        if !self.shared.watches.is_empty() {
            let change = MembershipChange::from_transitions(&transitions);
            self.shared.watches.publish(|backlog| backlog.push(&change, &transitions));
        }
    }

    /// All peers at this moment. O(1) unless something changed since the last call, else O(n).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.state.read();
        state.snapshot.get_or_init(|| state.take_snapshot()).clone()
    }

    /// Subscribes: first comes the state as it is now, then every later change, in order and without a gap.
    pub fn watch(&self) -> Watch {
        // Under the lock, so that no change falls between the state and the subscription.
        let state = self.shared.state.read();
        let snapshot = state.snapshot.get_or_init(|| state.take_snapshot());
        Watch::new(self.shared.watches.subscribe(Backlog::starting_with(snapshot)))
    }

    /// The smallest number of peers that is more than half of all, active and left: `n / 2 + 1`.
    ///
    /// A peer that left goes on counting until it is removed: otherwise a partition would look like a smaller
    /// cluster with a majority of its own.
    #[must_use]
    pub fn majority(&self) -> usize {
        let state = self.shared.state.read();
        (state.active + state.left) / 2 + 1
    }

    /// Ends all watches; the cluster that filled this membership is over.
    pub(crate) fn close(&self) {
        self.shared.watches.close();
    }
}

impl State {
    fn say(
        &mut self,
        name: &str,
        source: Option<Source>,
        word: impl Fn(Standing) -> Option<Standing>,
    ) -> Option<Transition> {
        let (before, said) = match self.peers.get(name) {
            None => (Standing::Unknown, Standing::Unknown),
            Some(claims) => {
                let standing = claims.standing();
                (standing, source.map_or(standing, |source| claims.of(source)))
            }
        };
        let next = word(said).filter(|next| *next != said)?;
        let (peer, mut claims) =
            self.peers.remove_entry(name).unwrap_or_else(|| (Peer::from(name), Claims::default()));
        match source {
            Some(source) => claims.say(source, next),
            None => claims.application = Some(next),
        }
        let after = claims.standing();
        if !claims.is_empty() {
            self.peers.insert(Arc::clone(&peer), claims);
        }
        self.active =
            self.active + usize::from(after == Standing::Active) - usize::from(before == Standing::Active);
        self.left = self.left + usize::from(after == Standing::Left) - usize::from(before == Standing::Left);
        (before != after).then_some(Transition { peer, before, after })
    }

    fn take_snapshot(&self) -> Snapshot {
        let with = |wanted| {
            self.peers
                .iter()
                .filter(move |(_, claims)| claims.standing() == wanted)
                .map(|(peer, _)| Arc::clone(peer))
        };
        Snapshot { peers: with(Standing::Active).chain(with(Standing::Left)).collect(), split: self.active }
    }
}

impl Default for Membership {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Membership").field(&self.snapshot()).finish()
    }
}

/// All peers at one moment. Cheap to clone, immutable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    peers: Peers,
    split: usize,
}

impl Snapshot {
    /// The active peers in order, then the left peers in order.
    #[must_use]
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// Where in [`peers`](Self::peers) the left ones begin.
    #[must_use]
    pub fn split(&self) -> usize {
        self.split
    }

    /// The active peers in order.
    #[must_use]
    pub fn active(&self) -> &[Peer] {
        &self.peers[..self.split]
    }

    /// The left peers in order.
    #[must_use]
    pub fn left(&self) -> &[Peer] {
        &self.peers[self.split..]
    }

    /// More than half of all peers, active and left; see [`Membership::majority`].
    #[must_use]
    pub fn majority(&self) -> usize {
        self.peers.len() / 2 + 1
    }
}
