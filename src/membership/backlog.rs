//! The changes that wait for one watcher, so that a writer never waits for it.
//!
//! A backlog is bounded: up to [`Limits`], changes wait one by one; all later ones are folded into one, which holds of
//! each peer its state in the last change that waits and its state now. Peers whose state is as before drop out, so the
//! fold is exact and never holds more than the peers that the watcher knows plus those in the set now.

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    mem,
};

use super::{change::MembershipChange, peers::Peer, set::Transition, snapshot::Snapshot, sources::PeerState};
use crate::collections::fanout::Queue;

/// How much may wait unfolded: changes, and names in them.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    changes: usize,
    names: usize,
}

/// The changes that wait for one watcher, oldest first.
pub(crate) struct Backlog {
    limits: Limits,
    first: Option<Snapshot>,
    changes: VecDeque<MembershipChange>,
    /// The number of names in `changes`.
    names: usize,
    fold: Fold,
}

/// The state of each peer before and after.
type Fold = BTreeMap<Peer, (PeerState, PeerState)>;

/// What a watcher takes out under the lock, and turns into a change after releasing it.
pub(crate) enum Waiting {
    First(Snapshot),
    Change(MembershipChange),
    Fold(Fold),
}

impl Limits {
    pub(crate) const DEFAULT: Self = Self { changes: 64, names: 4096 };
}

impl Backlog {
    pub(crate) fn new(first: Snapshot, limits: Limits) -> Self {
        Self { limits, first: Some(first), changes: VecDeque::new(), names: 0, fold: Fold::new() }
    }

    /// Adds a change, which is given as lists and as transitions.
    pub(crate) fn push(&mut self, change: &MembershipChange, transitions: &[Transition]) {
        if self.has_room_for(change) {
            self.names += change.names();
            self.changes.push_back(change.clone());
        } else {
            transitions.iter().for_each(|transition| self.fold_in(transition));
        }
    }

    /// A change that is bigger than the limits is queued unfolded if no other waits, since folding would not make it
    /// smaller.
    fn has_room_for(&self, change: &MembershipChange) -> bool {
        let fits =
            self.changes.len() < self.limits.changes && self.names + change.names() <= self.limits.names;
        self.fold.is_empty() && (fits || self.changes.is_empty())
    }

    fn fold_in(&mut self, &Transition { ref peer, before, after }: &Transition) {
        match self.fold.entry(Peer::clone(peer)) {
            Entry::Vacant(entry) => drop(entry.insert((before, after))),
            Entry::Occupied(entry) if entry.get().0 == after => drop(entry.remove()),
            Entry::Occupied(mut entry) => entry.get_mut().1 = after,
        }
    }
}

impl Queue for Backlog {
    type Item = Waiting;

    fn pop(&mut self) -> Option<Waiting> {
        if let Some(first) = self.first.take() {
            return Some(Waiting::First(first));
        }
        if let Some(change) = self.changes.pop_front() {
            self.names -= change.names();
            return Some(Waiting::Change(change));
        }
        (!self.fold.is_empty()).then(|| Waiting::Fold(mem::take(&mut self.fold)))
    }

    fn is_empty(&self) -> bool {
        self.first.is_none() && self.changes.is_empty() && self.fold.is_empty()
    }
}

impl Waiting {
    pub(super) fn into_change(self) -> MembershipChange {
        match self {
            Self::First(snapshot) => MembershipChange::from_nothing_to(&snapshot),
            Self::Change(change) => change,
            Self::Fold(fold) => {
                MembershipChange::of(fold.into_iter().map(|(peer, (before, after))| Transition {
                    peer,
                    before,
                    after,
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        Membership, Watch,
        membership::sources::{Departure, SourceId},
    };

    type View = BTreeMap<Peer, PeerState>;

    const ACTIVE: PeerState = PeerState::Active;
    const LEFT: PeerState = PeerState::Departed(Departure::Left);
    const FAILED: PeerState = PeerState::Departed(Departure::Failed);

    fn view(snapshot: &Snapshot) -> View {
        let all = [(snapshot.active(), ACTIVE), (snapshot.left(), LEFT), (snapshot.failed(), FAILED)];
        let states = |(peers, state): (&[Peer], _)| {
            peers.iter().map(move |peer| (peer.clone(), state)).collect::<Vec<_>>()
        };
        all.into_iter().flat_map(states).collect()
    }

    /// Applies a change, in which each name must change something.
    fn learn(seen: &mut View, change: &MembershipChange) {
        for peer in &change.active {
            assert_ne!(seen.insert(peer.clone(), ACTIVE), Some(ACTIVE), "{change:?}");
        }
        for peer in &change.left {
            let before = seen.insert(peer.clone(), LEFT);
            assert!(!matches!(before, Some(PeerState::Departed(_))), "{change:?}");
        }
        for peer in &change.failed {
            assert_eq!(seen.insert(peer.clone(), FAILED), Some(LEFT), "{change:?}");
        }
        for peer in &change.no_longer_failed {
            assert_eq!(seen.insert(peer.clone(), LEFT), Some(FAILED), "{change:?}");
        }
        change.removed.iter().for_each(|peer| assert!(seen.remove(peer).is_some(), "{change:?}"));
    }

    fn drain(watch: &Watch) -> impl Iterator<Item = MembershipChange> {
        iter::from_fn(|| watch.try_recv().ok())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_tiny_backlog_folds_to_the_true_state_and_every_change_in_it_is_new(
            (changes, names) in (0..4usize, 0..6usize),
            steps in prop::collection::vec((0..3usize, 0..6, prop::collection::vec("[a-e]", 0..5), 0..4usize), 1..80),
        ) {
            let all = Membership::new();
            let handles = [all.clone(), all.for_source(SourceId(0)), all.for_source(SourceId(1))];
            all.add(["a", "e"]);
            let (watch, mut seen) = (all.watch_within(Limits { changes, names }), View::new());
            for (who, verb, peers, reads) in steps {
                match verb {
                    0 => handles[who].add(&peers),
                    1 => handles[who].mark_left(&peers),
                    2 => handles[who].mark_failed(&peers),
                    3 => handles[who].list_departed(Departure::Left, &peers),
                    4 => handles[who].list_departed(Departure::Failed, &peers),
                    _ => handles[who].remove(&peers),
                }
                drain(&watch).take(reads).for_each(|change| learn(&mut seen, &change));
            }
            drain(&watch).for_each(|change| learn(&mut seen, &change));
            prop_assert_eq!(seen, view(&all.snapshot()));
            prop_assert!(watch.receiver().is_empty());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn waiting_changes_are_within_their_limits_and_the_fold_is_exactly_the_unread_rest(
            (changes, names) in (0..4usize, 0..6usize),
            steps in prop::collection::vec((prop::collection::vec(("[a-j]", 0..4usize), 0..6), 0..3usize), 1..100),
        ) {
            let mut backlog = Backlog::new(Snapshot::default(), Limits { changes, names });
            let (mut truth, mut seen) = (View::new(), View::new());
            let at = |view: &View, peer: &Peer| view.get(peer).copied().unwrap_or(PeerState::Absent);
            for (batch, reads) in steps {
                let batch = batch.into_iter().map(|(peer, state)| {
                    (Peer::from(peer), [PeerState::Absent, LEFT, FAILED, ACTIVE][state])
                });
                let transitions: Vec<_> = batch
                    .collect::<View>()
                    .into_iter()
                    .map(|(peer, after)| Transition { before: at(&truth, &peer), peer, after })
                    .filter(|transition| transition.before != transition.after)
                    .collect();
                let change = MembershipChange::of(transitions.iter().cloned());
                learn(&mut truth, &change);
                backlog.push(&change, &transitions);

                let mut told = seen.clone();
                backlog.changes.iter().for_each(|change| learn(&mut told, change));
                let unknown = |peer: &Peer| (at(&told, peer), at(&truth, peer));
                let peers = told.keys().chain(truth.keys()).map(|peer| (peer.clone(), unknown(peer)));
                prop_assert_eq!(&backlog.fold, &peers.filter(|(_, (told, now))| told != now).collect::<Fold>());
                let sizes: Vec<_> = backlog.changes.iter().map(MembershipChange::names).collect();
                prop_assert_eq!(backlog.names, sizes.iter().sum::<usize>());
                prop_assert!(sizes.len() <= 1 || (sizes.len() <= changes && backlog.names <= names));

                for _ in 0..reads {
                    let next = backlog.pop().map(Waiting::into_change);
                    next.iter().for_each(|change| learn(&mut seen, change));
                }
            }
        }
    }

    #[test]
    fn changes_wait_one_by_one_up_to_the_limit_and_as_one_beyond_it() {
        let membership = Membership::new();
        let watch = membership.watch_within(Limits { changes: 2, names: 10 });
        for peer in ["a", "b", "c", "d"] {
            membership.add([peer]);
        }
        membership.mark_left(["a", "c"]);
        let told: Vec<_> = drain(&watch).map(|change| (change.active, change.left)).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[1].0 == ["a"] && told[2].0 == ["b"]);
        assert!(told[3].0 == ["d"] && told[3].1 == ["a", "c"]);
    }

    #[test]
    fn a_change_bigger_than_the_limit_waits_alone() {
        let membership = Membership::new();
        let watch = membership.watch_within(Limits { changes: 9, names: 2 });
        membership.add(["a", "b", "c"]);
        membership.add(["d"]);
        membership.remove(["e", "a"]);
        let told: Vec<_> = drain(&watch).skip(1).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0].active, ["a", "b", "c"]);
        assert!(told[1].active == ["d"] && told[1].removed == ["a"]);
    }

    #[test]
    fn a_watcher_that_catches_up_gets_changes_one_by_one_again() {
        let membership = Membership::new();
        let watch = membership.watch_within(Limits { changes: 3, names: 3 });
        drain(&watch).for_each(drop);
        for _ in 0..2 {
            membership.add(["a"]);
            membership.add(["b"]);
            membership.remove(["b"]);
            assert_eq!(drain(&watch).count(), 3, "no room for them would leave one or two");
            membership.remove(["a"]);
            assert_eq!(drain(&watch).count(), 1);
        }
    }

    #[test]
    fn peers_that_are_back_where_they_were_take_no_room_and_give_no_change() {
        let membership = Membership::new();
        let watch = membership.watch_within(Limits { changes: 1, names: 9 });
        membership.add(["a"]);
        for _ in 0..1000 {
            membership.mark_left(["a"]);
            membership.add(["a", "b"]);
            membership.remove(["b"]);
        }
        assert_eq!(drain(&watch).map(|change| change.names()).collect::<Vec<_>>(), [0, 1]);
        assert!(watch.receiver().is_empty());
    }

    #[test]
    fn a_closed_membership_can_be_used_and_watched_but_tells_no_changes() {
        let membership = Membership::new();
        let old = membership.watch();
        membership.add(["a"]);
        membership.close();
        membership.add(["b"]);
        assert_eq!(old.map(|change| change.names()).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(membership.watch().map(|change| change.names()).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_fold_reports_which_peers_failed_and_which_have_no_longer_failed() {
        let membership = Membership::new().for_source(SourceId(0));
        let tell = |how, peers: &[&str]| membership.list_departed(how, peers);
        tell(Departure::Failed, &["a", "b", "c"]);
        membership.add(["d"]);
        let watch = membership.watch_within(Limits { changes: 1, names: 1 });
        let first = watch.recv().unwrap();
        assert!(first.active == ["d"] && first.left == ["a", "b", "c"] && first.failed == ["a", "b", "c"]);

        membership.add(["e"]);
        membership.add(["a", "b"]);
        tell(Departure::Left, &["a", "c", "d"]);
        tell(Departure::Failed, &["b", "d"]);
        assert_eq!(watch.recv().unwrap().active, ["e"]);
        let fold = watch.recv().unwrap();
        assert!(
            fold.active.is_empty() && fold.left == ["d"] && fold.failed == ["d"],
            "b failed as before: {fold}"
        );
        assert!(fold.no_longer_failed == ["a", "c"] && fold.removed.is_empty(), "{fold}");
        assert!(watch.receiver().is_empty());
    }
}
