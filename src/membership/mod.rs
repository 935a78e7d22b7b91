//! Who is in the cluster: a sorted set of peers, each either *active* or *left*.
//!
//! Owns the set and its watches; knows nothing of networks. No lock is held while a caller's iterator runs, and no writer
//! waits for a watcher, or for a reader: a snapshot shares the set's own entries, and the list that it shows is made of them
//! by the first who asks for it, under no lock.
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

mod backlog;
mod change;
pub(crate) mod fanout;
mod key;
pub(crate) mod latest;
mod peers;
mod set;
mod snapshot;
pub(crate) mod sorted;
mod sources;
mod watch;

use std::{fmt, sync::Arc};

use parking_lot::RwLock;

pub(crate) use self::sources::SourceId;
use self::{
    backlog::{Backlog, Limits},
    fanout::Fanout,
    key::Key,
    latest::Latest,
    set::Set,
    sources::Word,
};
pub use self::{
    change::MembershipChange,
    peers::{Peer, Peers},
    snapshot::Snapshot,
    watch::Watch,
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

struct Shared {
    state: RwLock<State>,
    /// Published to under the write lock and subscribed to under the read lock: that is why watches have no gap.
    watches: Fanout<Backlog>,
    /// Of readers only, who share one snapshot of each version.
    latest: Latest<Snapshot>,
}

#[derive(Default)]
struct State {
    set: Set,
    /// Counts the changes.
    version: u64,
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
        self.tell(Word::Active, peers);
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
        self.tell(Word::Left, peers);
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
        self.tell(Word::Withdrawn, peers);
    }

    /// Lists `peers` as left, also those that this source never called active.
    pub(crate) fn gone(&self, peers: impl IntoIterator<Item = impl AsRef<str>>) {
        self.tell(Word::Gone, peers);
    }

    /// The set as it is now. O(1); the first to read the list of a set that changed makes it, in O(n), and keeps nobody
    /// waiting meanwhile.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.state.read();
        let (snapshot, outdated) = self.shared.snapshot_of(&state);
        drop(state);
        // Freeing n names takes a while.
        drop(outdated);
        snapshot
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

    /// The least number of peers that is more than half of all, so that no two groups can both have it:
    /// `(active + left) / 2 + 1`; of an even number it is one more than the half. O(1).
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
        self.shared.state.read().set.majority()
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
        let (snapshot, outdated) = self.shared.snapshot_of(&state);
        let subscription = self.shared.watches.subscribe(Backlog::new(snapshot, limits));
        drop(state);
        drop(outdated);
        Watch::new(subscription)
    }

    fn tell(&self, word: Word, peers: impl IntoIterator<Item = impl AsRef<str>>) {
        // The caller's iterator runs here, before the lock; and sorting here makes every list that follows sorted.
        let mut peers: Vec<_> = peers.into_iter().map(|peer| Key::from(peer.as_ref())).collect();
        peers.sort_unstable();
        peers.dedup();

        let mut state = self.shared.state.write();
        let changed: Vec<_> =
            peers.into_iter().filter_map(|peer| state.set.hear(self.source, word, peer)).collect();
        if changed.is_empty() {
            return;
        }
        state.version += 1;
        if !self.shared.watches.is_empty() {
            let change = MembershipChange::of(&changed);
            self.shared.watches.publish(|backlog| backlog.push(&change, &changed));
        }
    }
}

impl Shared {
    /// The state as a snapshot, and one that this replaces, to be dropped once the state is unlocked.
    fn snapshot_of(&self, state: &State) -> (Snapshot, Option<Snapshot>) {
        self.latest.get_or_make(state.version, || Snapshot::of(&state.set))
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self { state: RwLock::default(), watches: Fanout::new(), latest: Latest::default() }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::sources::Standing;
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
                speaker.tell(match word {
                    Standing::Active => Word::Active,
                    Standing::Left => Word::Left,
                    Standing::Absent => Word::Withdrawn,
                }, &peers);
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

                let set = &application.shared.state.read().set;
                prop_assert_eq!((set.active, set.left), (snapshot.active().len(), snapshot.left().len()));
                let void = set.peers.iter().filter(|(_, claims)| claims.are_void()).count();
                prop_assert_eq!(void, 0, "what nobody claims takes no room");
            }
        }
    }

    #[test]
    fn a_peer_the_application_removed_is_kept_in_mind_only_while_a_source_claims_it() {
        let application = Membership::new();
        let source = application.for_source(SourceId(0));
        let remembered = || application.shared.state.read().set.peers.len();
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
