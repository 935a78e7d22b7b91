//! Who is in the cluster: a sorted set of peers, each either *active* or *left*. A peer that *failed* has left, too.
//!
//! Owns the set and its watches; knows nothing of networks. No lock is held while a caller's iterator runs. No writer waits
//! for a watcher or a reader: a snapshot shares the entries of the set, and its lists are made outside of all locks by the
//! first reader who asks for them.
//!
//! # Sources
//!
//! The handle that a discovery gets speaks for that source alone, every other handle for the application. For each peer the
//! set keeps the latest report of every source, and the application's while it is in force:
//!
//! | call | by a source | by the application |
//! | --- | --- | --- |
//! | `add` | its report becomes *active* | *active* is in force |
//! | `mark_left`, `mark_failed` | its report becomes *left* or *failed* if it was *active* | the same is in force if the peer is active |
//! | `remove` | its report is withdrawn | *removed* is in force, as long as any source has a report |
//!
//! The application's report decides while it is in force. Otherwise a peer is active if any source reports *active*, else
//! failed if any reports *failed*, else left if any reports *left*, else absent. The application's report is in force until
//! the report of a source changes to or from *active*, or is made or withdrawn. So a source that repeats itself does not undo
//! what the application said, nor does one that corrects *left* to *failed*.

mod backlog;
mod change;
mod key;
mod peers;
mod serial;
mod set;
mod settle;
mod snapshot;
mod sources;
mod watch;

use std::{fmt, sync::Arc};

use parking_lot::RwLock;

pub(crate) use self::sources::{Departure, SourceId};
use self::{
    backlog::{Backlog, Limits},
    key::Key,
    set::Set,
    sources::Report,
};
pub use self::{
    change::MembershipChange,
    peers::{Peer, Peers},
    settle::Settle,
    snapshot::Snapshot,
    watch::Watch,
};
use crate::collections::{fanout::Fanout, latest::Latest};

/// The set of peers. Clones share it; any thread may read, change and watch it.
///
/// A peer is in exactly one of *active* and *left*; one that *failed* has left, too. A call changes its whole batch at once,
/// costs O(m log n) for m of n peers, and tells the watches only what really changed.
///
/// Each discovery of a [`Cluster`](crate::Cluster) has a handle of its own, which reports for this source alone: a peer is
/// active while any source reports it as active. The reports of other handles are the application's, and decide until a
/// source reports something new about that peer.
///
/// # Examples
///
/// ```
/// use syncswim::Membership;
///
/// let membership = Membership::new();
/// membership.add(["c:1", "a:1", "b:1"]);
/// membership.mark_left(["c:1", "never-seen:1"]);
///
/// let snapshot = membership.snapshot();
/// assert_eq!(snapshot.active().len(), 2);
/// assert_eq!(&*snapshot.left()[0], "c:1");
/// assert_eq!(membership.majority(), 2);
/// ```
#[derive(Clone, Default)]
pub struct Membership {
    shared: Arc<Shared>,
    /// The source for which this handle reports; `None` is the application.
    source: Option<SourceId>,
}

struct Shared {
    state: RwLock<State>,
    /// Changes are published under the state's write lock, and subscriptions begin under its read lock, so that a watch
    /// misses nothing between its first item and the next change.
    watches: Fanout<Backlog>,
    /// The snapshot of the latest version that was read. All its readers share it; writers never touch it.
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
        self.report(Report::Active, peers);
    }

    /// Marks the active ones of `peers` as left: they announced it, or are missing for an unknown reason. They still count
    /// for the [`majority`](Self::majority). Other peers stay as they are. If it is known that a peer failed,
    /// [`mark_failed`](Self::mark_failed) is more exact.
    ///
    /// # Examples
    ///
    /// ```
    /// let membership = syncswim::Membership::new();
    /// membership.add(["a:1"]);
    /// membership.mark_left(["a:1", "unknown:1"]);
    /// assert_eq!(membership.snapshot().left().len(), 1);
    /// ```
    pub fn mark_left(&self, peers: impl IntoIterator<Item = impl AsRef<str>>) {
        self.report(Report::Departed(Departure::Left), peers);
    }

    /// Marks the active ones of `peers` as left because they failed: they stopped answering. The same as
    /// [`mark_left`](Self::mark_left), except that snapshots and watches tell the two apart. Other peers stay as they are.
    ///
    /// # Examples
    ///
    /// ```
    /// let membership = syncswim::Membership::new();
    /// let watch = membership.watch();
    /// membership.add(["a:1", "b:1"]);
    /// membership.mark_left(["a:1"]);
    /// membership.mark_failed(["b:1"]);
    ///
    /// let snapshot = membership.snapshot();
    /// assert_eq!((snapshot.left().len(), snapshot.failed().concat()), (2, "b:1".into()));
    /// let last = watch.iter().nth(3).unwrap();
    /// assert!(last.left == ["b:1"] && last.failed == ["b:1"]);
    /// ```
    pub fn mark_failed(&self, peers: impl IntoIterator<Item = impl AsRef<str>>) {
        self.report(Report::Departed(Departure::Failed), peers);
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
        self.report(Report::Withdrawn, peers);
    }

    /// Lists `peers` as departed, even if this source never reported them as active, or reported another kind of departure.
    pub(crate) fn list_departed(&self, how: Departure, peers: impl IntoIterator<Item = impl AsRef<str>>) {
        self.report(Report::ListedDeparted(how), peers);
    }

    /// The set as it is now. O(1). The lists of a snapshot are made in O(n) by the first call that reads one, under no lock;
    /// until the next change all snapshots share them.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.state.read();
        let (snapshot, outdated) = self.shared.snapshot_of(&state);
        drop(state);
        // A snapshot may own n names, which take long to free.
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
    /// membership.mark_left(["a:1"]);
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

    /// The least number of peers that is more than half of all (a quorum), so that two disjoint groups cannot both have it:
    /// `(active + left) / 2 + 1`; of an even number, one more than half. O(1).
    ///
    /// Peers that have left count until they are removed, so a cluster that lost many peers cannot mistake a minority
    /// for a majority. A cluster that shrinks for good needs its left peers removed.
    ///
    /// # Examples
    ///
    /// ```
    /// let membership = syncswim::Membership::new();
    /// assert_eq!(membership.majority(), 1);
    /// membership.add(["a:1", "b:1", "c:1", "d:1"]);
    /// membership.mark_left(["c:1", "d:1"]);
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

    fn report(&self, report: Report, peers: impl IntoIterator<Item = impl AsRef<str>>) {
        // The caller's iterator runs before the lock is taken. As the batch is sorted, so are the lists of the change.
        let mut peers: Vec<_> = peers.into_iter().map(|peer| Key::from(peer.as_ref())).collect();
        peers.sort_unstable();
        peers.dedup();

        let mut state = self.shared.state.write();
        let changed: Vec<_> =
            peers.into_iter().filter_map(|peer| state.set.record(self.source, report, peer)).collect();
        if changed.is_empty() {
            return;
        }
        state.version += 1;
        if !self.shared.watches.is_empty() {
            let change = MembershipChange::of(changed.iter().cloned());
            self.shared.watches.publish(|backlog| backlog.push(&change, &changed));
        }
    }
}

impl Shared {
    /// A snapshot of the state, and the snapshot that it replaces, which the caller drops once the state is unlocked.
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
        out.field("failed", &snapshot.failed()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{sources::PeerState, *};

    const SOURCES: usize = 3;
    const PEERS: [&str; 4] = ["a", "b", "c", "d"];

    /// A report about one peer: of a source, or of the application if `None`.
    type Entry = (Option<usize>, Report, &'static str);

    /// All reports in order. Every question is answered by reading them from the beginning.
    #[derive(Default)]
    struct History(Vec<Entry>);

    impl History {
        /// What `source` reports after the first `until` entries.
        fn report_of(&self, source: usize, peer: &str, until: usize) -> PeerState {
            let own = self.0[..until].iter().filter(|entry| entry.0 == Some(source) && entry.2 == peer);
            own.fold(PeerState::Absent, |state, entry| match entry.1 {
                Report::Active => PeerState::Active,
                Report::Departed(_) if state != PeerState::Active => state,
                Report::Departed(how) | Report::ListedDeparted(how) => PeerState::Departed(how),
                Report::Withdrawn => PeerState::Absent,
            })
        }

        /// The last moment at which any source reported something new.
        fn last_news(&self, peer: &str, until: usize) -> usize {
            let is_news = |&at: &usize| {
                let state = |source, until| self.report_of(source, peer, until);
                (0..SOURCES).any(|source| !state(source, at - 1).is_alike(state(source, at)))
            };
            (1..=until).rev().find(is_news).unwrap_or(0)
        }

        fn state(&self, peer: &str, until: usize) -> PeerState {
            let reported = (0..SOURCES).map(|source| self.report_of(source, peer, until)).max().unwrap();
            let since = self.last_news(peer, until);
            let orders = self.0[since..until].iter().filter(|entry| entry.0.is_none() && entry.2 == peer);
            orders.fold(reported, |state, entry| match entry.1 {
                Report::Active => PeerState::Active,
                Report::Departed(how) if state == PeerState::Active => PeerState::Departed(how),
                Report::Departed(_) | Report::ListedDeparted(_) => state,
                Report::Withdrawn => PeerState::Absent,
            })
        }
    }

    fn histories() -> impl Strategy<Value = Vec<(Option<usize>, Report, Vec<&'static str>)>> {
        let who = prop::option::weighted(0.7, 0..SOURCES);
        let how = prop::sample::select(vec![Departure::Left, Departure::Failed]);
        let report = prop_oneof![
            2 => Just(Report::Active),
            2 => how.clone().prop_map(Report::Departed),
            1 => how.prop_map(Report::ListedDeparted),
            1 => Just(Report::Withdrawn),
        ];
        let peers = prop::collection::vec(prop::sample::select(PEERS.to_vec()), 0..4);
        let entry = (who, report, peers).prop_filter("only sources list", |(who, report, _)| {
            who.is_some() || !matches!(report, Report::ListedDeparted(_))
        });
        prop::collection::vec(entry, 1..25)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_peer_stands_where_its_whole_history_says(entries in histories()) {
            let application = Membership::new();
            let sources: Vec<_> = (0..SOURCES).map(|id| application.for_source(SourceId(id))).collect();
            let mut history = History::default();
            for (who, report, peers) in entries {
                let handle = who.map_or(&application, |id| &sources[id]);
                handle.report(report, &peers);
                history.0.extend(peers.iter().map(|&peer| (who, report, peer)));

                let now = history.0.len();
                let those = |wanted: &[PeerState]| {
                    let all = PEERS.into_iter().filter(|peer| wanted.contains(&history.state(peer, now)));
                    all.collect::<Vec<_>>()
                };
                let [left, failed] = [Departure::Left, Departure::Failed].map(PeerState::Departed);
                let snapshot = handle.snapshot();
                let names = |side: &[Peer]| side.iter().map(|peer| peer.to_string()).collect::<Vec<_>>();
                prop_assert_eq!(names(snapshot.active()), those(&[PeerState::Active]));
                prop_assert_eq!(names(snapshot.left()), those(&[left, failed]));
                prop_assert_eq!(names(snapshot.failed()), those(&[failed]));

                let set = &application.shared.state.read().set;
                prop_assert_eq!((set.active, set.left), (snapshot.active().len(), snapshot.left().len()));
                let void = set.peers.iter().filter(|(_, reports)| reports.are_void()).count();
                prop_assert_eq!(void, 0, "what nobody reports takes no room");
            }
        }
    }

    #[test]
    fn a_peer_the_application_removed_is_remembered_only_while_a_source_reports_it() {
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

    /// The membership follows the reports of its sources. DNS, which still misses the peer, cannot tell why it is missing.
    #[test]
    fn a_failed_peer_that_its_source_lists_no_longer_is_only_missing_to_the_others() {
        let application = Membership::new();
        let [gossip, dns] = [0, 1].map(|id| application.for_source(SourceId(id)));
        gossip.add(["a"]);
        dns.add(["a"]);
        dns.mark_left(["a"]);
        gossip.mark_failed(["a"]);
        let watch = application.watch();
        gossip.remove(["a"]);
        let snapshot = application.snapshot();
        assert_eq!((snapshot.left().concat(), snapshot.failed().len()), ("a".into(), 0));
        dns.remove(["a"]);
        let told: Vec<_> =
            std::iter::from_fn(|| watch.try_recv().ok()).map(|change| change.to_string()).collect();
        assert_eq!(told, ["left a; failed a", "no longer failed a", "removed a"]);
    }

    #[test]
    fn a_callers_iterator_may_use_the_membership_it_is_given_to() {
        let membership = Membership::new();
        membership.add(["a", "b"]);
        let copies = (0..3).map(|copy| {
            membership.mark_left(["a"]);
            format!("{copy} of {}", membership.snapshot().peers().len())
        });
        membership.add(copies);
        assert_eq!(membership.snapshot().peers().join(" "), "0 of 2 1 of 2 2 of 2 b a");
    }

    #[test]
    fn a_panic_in_the_callers_code_changes_nothing_and_leaves_no_lock_held() {
        let membership = Membership::new();
        let names = (0..3).map(|at| if at == 2 { panic!("out of names") } else { at.to_string() });
        let added = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| membership.add(names)));
        assert!(added.is_err());
        assert!(membership.snapshot().peers().is_empty());
        membership.add(["a"]);
        assert_eq!(membership.majority(), 1);
    }
}
