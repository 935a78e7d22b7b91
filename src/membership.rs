//! Who is in the cluster: a sorted set of peers, each either *active* or *left*.
//!
//! Owns the set and its watches; knows nothing of networks. No lock is held while a caller's iterator runs, and no writer
//! waits for a watcher.
//!
//! # Who speaks
//!
//! Each discovery's handle speaks for that source alone, every other handle for the application. Of each peer we keep the
//! last word of every source, and the application's if it is still in force:
//!
//! | call | by a source | by the application |
//! | --- | --- | --- |
//! | `add` | its word becomes *active* | *active* is in force |
//! | `left` | its word becomes *left* if it was *active* | *left* is in force if the peer is active |
//! | `remove` | its word is withdrawn | *removed* is in force, as long as any source has a word |
//!
//! The peer stands where the application's word in force says; without one it is active if any source says *active*, else
//! left if any says *left*, else absent. The application's word is in force until the word of any source *changes*: a
//! source that repeats itself changes nothing, and one that says something new is believed.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    sync::{Arc, OnceLock},
};

use parking_lot::RwLock;

use crate::{
    Peer, Watch,
    claims::{Claims, SourceId, Standing},
    fanout::Fanout,
    peers::{Key, holds},
    watch::{Backlog, Limits, MembershipChange},
};

/// The set of peers. Clones share it; any thread may read, change and watch it.
///
/// A peer is in exactly one of *active* and *left*. A call changes its whole batch at once, costs O(m log n) for m of n
/// peers, and tells the watches only what really changed.
///
/// # Examples
///
/// ```
/// use syncswim::Membership;
///
/// let membership = Membership::new();
/// membership.add(["c:1", "a:1", "b:1"]);
/// membership.left(["c:1", "never-seen:1"]);
///
/// let snapshot = membership.snapshot();
/// assert_eq!(snapshot.active().len(), 2);
/// assert_eq!(&*snapshot.left()[0], "c:1");
/// assert_eq!(membership.majority(), 2);
/// ```
#[derive(Clone, Default)]
pub struct Membership {
    shared: Arc<Shared>,
    /// Who speaks; `None` is the application.
    source: Option<SourceId>,
}

/// An immutable copy of a [`Membership`], from one moment. Cloning it only counts a reference.
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
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    peers: Arc<[Peer]>,
    split: usize,
}

/// One peer that changed its standing.
pub(crate) struct Transition {
    pub(crate) peer: Peer,
    pub(crate) before: Standing,
    pub(crate) after: Standing,
}

struct Shared {
    state: RwLock<State>,
    /// Published to under the write lock and subscribed to under the read lock: that is why watches have no gap.
    watches: Fanout<Backlog>,
}

#[derive(Default)]
struct State {
    peers: BTreeMap<Key, Claims>,
    active: usize,
    left: usize,
    snapshot: OnceLock<Snapshot>,
}

impl Membership {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `peers` active: new ones join, those that had left come back.
    ///
    /// # Examples
    ///
    /// ```
    /// let membership = syncswim::Membership::new();
    /// membership.add(["a:1", "b:1", "a:1"]);
    /// membership.add(vec![String::from("c:1")]);
    /// assert_eq!(membership.snapshot().peers().len(), 3);
    /// ```
    pub fn add(&self, peers: impl IntoIterator<Item = impl AsRef<str>>) {
        self.tell(Standing::Active, peers);
    }

    /// Marks those of `peers` that are active as left: gone for now, and still counted by [`majority`](Self::majority).
    /// Does nothing to the others.
    ///
    /// # Examples
    ///
    /// ```
    /// let membership = syncswim::Membership::new();
    /// membership.add(["a:1"]);
    /// membership.left(["a:1", "unknown:1"]);
    /// assert_eq!(membership.snapshot().left().len(), 1);
    /// ```
    pub fn left(&self, peers: impl IntoIterator<Item = impl AsRef<str>>) {
        self.tell(Standing::Left, peers);
    }

    /// Forgets `peers`, whether active or left.
    ///
    /// # Examples
    ///
    /// ```
    /// let membership = syncswim::Membership::new();
    /// membership.add(["a:1", "b:1"]);
    /// membership.remove(["a:1"]);
    /// assert_eq!(membership.snapshot().peers().concat(), "b:1");
    /// ```
    pub fn remove(&self, peers: impl IntoIterator<Item = impl AsRef<str>>) {
        self.tell(Standing::Absent, peers);
    }

    /// The set as it is now. O(1) unless something changed since the last one was made, then O(n).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.state.read().snapshot().clone()
    }

    /// Subscribes to changes. The first item is the set as it is now (even if empty), then comes every later change, in
    /// order and without a gap. The watch ends with the last handle of this set, or with the
    /// [`Cluster`](crate::Cluster) it belongs to.
    ///
    /// A watcher that does not read delays nobody: see [`Watch`].
    ///
    /// # Examples
    ///
    /// ```
    /// let membership = syncswim::Membership::new();
    /// membership.add(["a:1"]);
    /// let watch = membership.watch();
    /// membership.left(["a:1"]);
    /// drop(membership);
    ///
    /// let changes: Vec<_> = watch.iter().collect();
    /// assert_eq!(changes[0].active, ["a:1"]);
    /// assert_eq!(changes[1].left, ["a:1"]);
    /// assert_eq!(changes.len(), 2);
    /// ```
    pub fn watch(&self) -> Watch {
        self.watch_within(Limits::DEFAULT)
    }

    /// How many peers are more than half of all: `(active + left) / 2 + 1`. O(1).
    ///
    /// Peers that have left count until they are removed, so a cluster that lost many peers cannot mistake a minority for a
    /// majority; it also means that one which shrinks for good needs its left peers removed.
    ///
    /// # Examples
    ///
    /// ```
    /// let membership = syncswim::Membership::new();
    /// assert_eq!(membership.majority(), 1);
    /// membership.add(["a:1", "b:1", "c:1", "d:1"]);
    /// membership.left(["c:1", "d:1"]);
    /// assert_eq!(membership.majority(), 3);
    /// membership.remove(["c:1", "d:1"]);
    /// assert_eq!(membership.majority(), 2);
    /// ```
    #[must_use]
    pub fn majority(&self) -> usize {
        let state = self.shared.state.read();
        majority_of(state.active + state.left)
    }

    /// A handle to the same set that speaks for one source only.
    pub(crate) fn for_source(&self, source: SourceId) -> Self {
        Self { shared: Arc::clone(&self.shared), source: Some(source) }
    }

    /// Ends all watches, and any later one after its first item. The set itself stays in use.
    pub(crate) fn close(&self) {
        self.shared.watches.close();
    }

    pub(crate) fn watch_within(&self, limits: Limits) -> Watch {
        let state = self.shared.state.read();
        Watch::new(self.shared.watches.subscribe(Backlog::new(state.snapshot().clone(), limits)))
    }

    fn tell(&self, word: Standing, peers: impl IntoIterator<Item = impl AsRef<str>>) {
        // The caller's iterator runs here, before the lock; and sorting here makes every list that follows sorted.
        let mut peers: Vec<_> = peers.into_iter().map(|peer| Key::from(peer.as_ref())).collect();
        peers.sort_unstable();
        peers.dedup();

        let mut state = self.shared.state.write();
        let changed: Vec<_> =
            peers.into_iter().filter_map(|peer| state.hear(self.source, word, peer)).collect();
        if changed.is_empty() {
            return;
        }
        let outdated = state.snapshot.take();
        if !self.shared.watches.is_empty() {
            let change = MembershipChange::of(&changed);
            self.shared.watches.publish(|backlog| backlog.push(&change, &changed));
        }
        drop(state);
        // Freeing n names takes a while, so it waits for the lock's release.
        drop(outdated);
    }
}

impl State {
    /// Takes a word on one peer, and tells what it changed.
    fn hear(&mut self, source: Option<SourceId>, word: Standing, key: Key) -> Option<Transition> {
        let (peer, before, after) = match self.peers.entry(key) {
            Entry::Vacant(_) if word != Standing::Active => return None,
            Entry::Vacant(entry) => {
                let peer = Peer::clone(&entry.key().peer);
                entry.insert(Claims::default()).hear(source, word);
                (peer, Standing::Absent, word)
            }
            Entry::Occupied(mut entry) => {
                let before = entry.get().standing();
                entry.get_mut().hear(source, word);
                let after = entry.get().standing();
                let peer = Peer::clone(&entry.key().peer);
                if entry.get().are_void() {
                    entry.remove();
                }
                (peer, before, after)
            }
        };
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

    fn snapshot(&self) -> &Snapshot {
        self.snapshot.get_or_init(|| {
            let mut peers = Vec::with_capacity(self.active + self.left);
            let mut left = Vec::with_capacity(self.left);
            for (Key { peer, .. }, claims) in &self.peers {
                match claims.standing() {
                    Standing::Active => peers.push(Peer::clone(peer)),
                    Standing::Left => left.push(Peer::clone(peer)),
                    Standing::Absent => {}
                }
            }
            peers.append(&mut left);
            Snapshot { peers: peers.into(), split: self.active }
        })
    }
}

impl Snapshot {
    /// All peers: the sorted active ones, then the sorted ones that left.
    #[must_use]
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// Where in [`peers`](Self::peers) those that left begin, which is the number of active ones.
    #[must_use]
    pub fn split(&self) -> usize {
        self.split
    }

    /// The active peers, sorted.
    #[must_use]
    pub fn active(&self) -> &[Peer] {
        &self.peers[..self.split]
    }

    /// The peers that left and were not removed, sorted.
    #[must_use]
    pub fn left(&self) -> &[Peer] {
        &self.peers[self.split..]
    }

    /// As [`Membership::majority`], at the moment of this snapshot.
    #[must_use]
    pub fn majority(&self) -> usize {
        majority_of(self.peers.len())
    }

    /// Whether `peer` is active or left. O(log n).
    #[must_use]
    pub fn contains(&self, peer: &str) -> bool {
        self.is_active(peer) || holds(self.left(), peer)
    }

    /// Whether `peer` is active. O(log n).
    #[must_use]
    pub fn is_active(&self, peer: &str) -> bool {
        holds(self.active(), peer)
    }
}

fn majority_of(peers: usize) -> usize {
    peers / 2 + 1
}

impl Default for Shared {
    fn default() -> Self {
        Self { state: RwLock::default(), watches: Fanout::new() }
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot();
        let mut out = f.debug_struct("Membership");
        out.field("active", &snapshot.active()).field("left", &snapshot.left());
        out.finish()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("active", &self.active()).field("left", &self.left()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOURCES: usize = 3;
    const PEERS: [&str; 4] = ["a", "b", "c", "d"];

    /// One word on one peer; who speaks is `None` for the application.
    type Said = (Option<usize>, Standing, &'static str);

    /// The whole history, and nothing else: every question is answered by reading it from the beginning.
    #[derive(Default)]
    struct Chronicle(Vec<Said>);

    impl Chronicle {
        /// What `source` claims after the first `until` words.
        fn claim(&self, source: usize, peer: &str, until: usize) -> Standing {
            let own = self.0[..until].iter().filter(|said| said.0 == Some(source) && said.2 == peer);
            own.fold(Standing::Absent, |claim, said| match (claim, said.1) {
                (Standing::Absent | Standing::Left, Standing::Left) => claim,
                (_, word) => word,
            })
        }

        /// The last moment at which any source changed its claim.
        fn last_news(&self, peer: &str, until: usize) -> usize {
            let news = |&at: &usize| {
                (0..SOURCES).any(|source| self.claim(source, peer, at - 1) != self.claim(source, peer, at))
            };
            (1..=until).rev().find(news).unwrap_or(0)
        }

        fn standing(&self, peer: &str, until: usize) -> Standing {
            let claimed = (0..SOURCES).map(|source| self.claim(source, peer, until)).max().unwrap();
            let since = self.last_news(peer, until);
            let orders = self.0[since..until].iter().filter(|said| said.0.is_none() && said.2 == peer);
            orders.fold(claimed, |standing, said| match (standing, said.1) {
                (Standing::Absent | Standing::Left, Standing::Left) => standing,
                (_, word) => word,
            })
        }
    }

    fn words() -> impl Strategy<Value = Vec<(Option<usize>, Standing, Vec<&'static str>)>> {
        let who = prop::option::weighted(0.7, 0..SOURCES);
        let word = prop::sample::select(vec![Standing::Active, Standing::Left, Standing::Absent]);
        let peers = prop::collection::vec(prop::sample::select(PEERS.to_vec()), 0..4);
        prop::collection::vec((who, word, peers), 1..25)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_peer_stands_where_its_whole_history_says(words in words()) {
            let application = Membership::new();
            let sources: Vec<_> = (0..SOURCES).map(|id| application.for_source(SourceId(id))).collect();
            let mut chronicle = Chronicle::default();
            for (who, word, peers) in words {
                let speaker = who.map_or(&application, |id| &sources[id]);
                speaker.tell(word, &peers);
                chronicle.0.extend(peers.iter().map(|&peer| (who, word, peer)));

                let now = chronicle.0.len();
                let those = |wanted| {
                    let all = PEERS.into_iter().filter(|peer| chronicle.standing(peer, now) == wanted);
                    all.collect::<Vec<_>>()
                };
                let snapshot = speaker.snapshot();
                let names = |side: &[Peer]| side.iter().map(|peer| peer.to_string()).collect::<Vec<_>>();
                prop_assert_eq!(names(snapshot.active()), those(Standing::Active));
                prop_assert_eq!(names(snapshot.left()), those(Standing::Left));

                let state = application.shared.state.read();
                prop_assert_eq!((state.active, state.left), (snapshot.active().len(), snapshot.left().len()));
                let void = state.peers.values().filter(|claims| claims.are_void()).count();
                prop_assert_eq!(void, 0, "what nobody claims takes no room");
            }
        }
    }

    #[test]
    fn a_peer_the_application_removed_is_kept_in_mind_only_while_a_source_claims_it() {
        let application = Membership::new();
        let source = application.for_source(SourceId(0));
        let remembered = || application.shared.state.read().peers.len();
        source.add(["a"]);
        application.remove(["a"]);
        assert_eq!((application.snapshot().peers().len(), remembered()), (0, 1));
        let watch = application.watch();
        source.remove(["a"]);
        assert_eq!((application.snapshot().peers().len(), remembered()), (0, 0));
        assert_eq!(watch.try_recv().map(|first| first.is_empty()), Ok(true));
        assert!(watch.try_recv().is_err(), "it was gone for every watcher already");
    }

    #[test]
    fn a_callers_iterator_may_use_the_membership_it_is_given_to() {
        let membership = Membership::new();
        membership.add(["a", "b"]);
        let copies = (0..3).map(|copy| {
            membership.left(["a"]);
            format!("{copy} of {}", membership.snapshot().peers().len())
        });
        membership.add(copies);
        assert_eq!(membership.snapshot().peers().join(" "), "0 of 2 1 of 2 2 of 2 b a");
    }

    #[test]
    fn a_panic_in_the_callers_code_changes_nothing_and_locks_nobody_out() {
        let membership = Membership::new();
        let names = (0..3).map(|at| if at == 2 { panic!("out of names") } else { at.to_string() });
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| membership.add(names)));
        assert!(told.is_err());
        assert!(membership.snapshot().peers().is_empty());
        membership.add(["a"]);
        assert_eq!(membership.majority(), 1);
    }
}
