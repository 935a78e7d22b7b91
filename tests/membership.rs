//! The membership against a naive model, and one test for each bug of the Go original that applies.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{TryRecvError, bounded};
use proptest::prelude::*;
use support::{View, in_time};
use syncswim::{
    BoxError, Cluster, ClusterHandle, Membership, MembershipChange, Peers, Settle, Snapshot, Stop,
};

fn names(snapshot: &Snapshot) -> String {
    format!("{} | {}", snapshot.active().join(" "), snapshot.left().join(" "))
}

/// Every change that is waiting.
fn read_all(watch: &syncswim::Watch) -> Vec<MembershipChange> {
    std::iter::from_fn(|| watch.try_recv().ok()).collect()
}

/// A running cluster, and the handles that its `N` discoveries received.
fn with_sources<const N: usize>() -> (ClusterHandle, [Membership; N]) {
    let (give, take) = bounded(1);
    let mut cluster = Cluster::new();
    for id in 0..N {
        let give = give.clone();
        cluster = cluster.with_discovery(move |membership: &Membership, stop: &Stop| {
            give.send((id, membership.clone()))?;
            stop.receiver().recv().unwrap_err();
            Ok::<_, BoxError>(())
        });
    }
    let running = cluster.start().unwrap();
    let handles: BTreeMap<_, _> = take.iter().take(N).collect();
    (running, handles.into_values().collect::<Vec<_>>().try_into().unwrap())
}

/// The state of a watcher that applies every change, and which of the peers that left have failed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    view: View,
    failed: BTreeSet<String>,
}

impl Seen {
    fn of(snapshot: &Snapshot) -> Self {
        let failed: BTreeSet<_> = snapshot.failed().iter().map(|peer| peer.to_string()).collect();
        assert!(snapshot.failed().is_sorted() && failed.len() == snapshot.failed().len());
        assert!(snapshot.failed().iter().all(|peer| snapshot.left().contains(peer)), "{snapshot:?}");
        assert!(snapshot.peers().iter().all(|peer| snapshot.is_failed(peer) == failed.contains(&**peer)));
        Self { view: View::of(snapshot), failed }
    }

    /// Panics if the change repeats something that is known.
    #[track_caller]
    fn apply(&mut self, change: &MembershipChange) {
        self.view.apply(change);
        let is_new =
            |peers: &Peers| change.active.iter().chain(&change.left).any(|peer| peers.contains(peer));
        assert!(!is_new(&change.no_longer_failed) && !is_new(&change.removed), "{change:?}");
        for peer in change.active.iter().chain(&change.left).chain(&change.removed) {
            self.failed.remove(&**peer);
        }
        for peer in &change.failed {
            assert!(self.failed.insert(peer.to_string()), "{peer} had failed: {change:?}");
        }
        for peer in &change.no_longer_failed {
            assert!(self.failed.remove(&**peer), "{peer} had not failed: {change:?}");
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Word {
    Active,
    Left,
    Failed,
    Removed,
}

#[derive(Clone, Debug)]
struct Call {
    /// 0 stands for the application.
    who: usize,
    word: Word,
    peers: Vec<String>,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let word = prop_oneof![
        3 => Just(Word::Active),
        1 => Just(Word::Left),
        1 => Just(Word::Failed),
        1 => Just(Word::Removed),
    ];
    let peers = prop::collection::vec("[a-f]", 0..4);
    let call = (0..3usize, word, peers).prop_map(|(who, word, peers)| Call { who, word, peers });
    prop::collection::vec(call, 1..60)
}

fn make(handle: &Membership, call: &Call) {
    match call.word {
        Word::Active => handle.add(&call.peers),
        Word::Left => handle.mark_left(&call.peers),
        Word::Failed => handle.mark_failed(&call.peers),
        Word::Removed => handle.remove(&call.peers),
    }
}

/// The table in the module docs, as plainly as possible.
#[derive(Default)]
struct Model {
    claims: [BTreeMap<String, Word>; 2],
    application: BTreeMap<String, Word>,
}

impl Model {
    fn standing(&self, peer: &str) -> Word {
        let claims: Vec<_> = self.claims.iter().filter_map(|words| words.get(peer)).collect();
        match self.application.get(peer) {
            Some(word) => *word,
            None if claims.contains(&&Word::Active) => Word::Active,
            None if claims.contains(&&Word::Failed) => Word::Failed,
            None if claims.contains(&&Word::Left) => Word::Left,
            None => Word::Removed,
        }
    }

    fn make(&mut self, Call { who, word, peers }: &Call) {
        for peer in peers {
            let before = match who {
                0 => self.standing(peer),
                source => *self.claims[source - 1].get(peer).unwrap_or(&Word::Removed),
            };
            if matches!(word, Word::Left | Word::Failed) && before != Word::Active {
                continue;
            }
            match who {
                0 => drop(self.application.insert(peer.clone(), *word)),
                source if before != *word => {
                    self.application.remove(peer);
                    self.claims[source - 1].insert(peer.clone(), *word);
                    self.claims[source - 1].retain(|_, word| *word != Word::Removed);
                }
                _ => {}
            }
        }
    }

    fn seen(&self) -> Seen {
        let known = self.claims.iter().flat_map(BTreeMap::keys).chain(self.application.keys());
        let standing: BTreeMap<_, _> = known.map(|peer| (peer.clone(), self.standing(peer))).collect();
        let failed = standing
            .iter()
            .filter(|(_, word)| **word == Word::Failed)
            .map(|(peer, _)| peer.clone())
            .collect();
        let present = standing.into_iter().filter(|(_, word)| *word != Word::Removed);
        Seen { view: View(present.map(|(peer, word)| (peer, word == Word::Active)).collect()), failed }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sources_and_the_application_agree_with_the_model(calls in calls()) {
        let (running, [first, second]) = with_sources::<2>();
        let handles = [running.membership().clone(), first, second];
        let watch = handles[0].watch();
        let (mut model, mut seen) = (Model::default(), Seen::default());
        prop_assert!(watch.try_recv().unwrap().is_empty());
        for call in &calls {
            make(&handles[call.who], call);
            model.make(call);
            let (snapshot, expected) = (handles[0].snapshot(), model.seen());
            prop_assert_eq!(Seen::of(&snapshot), expected.clone(), "after {:?}", call);
            let majority = expected.view.0.len() / 2 + 1;
            prop_assert_eq!([handles[0].majority(), snapshot.majority()], [majority; 2]);

            let changes = read_all(&watch);
            prop_assert_eq!(changes.len(), usize::from(seen != expected), "one change if anything changed");
            changes.iter().for_each(|change| seen.apply(change));
            prop_assert_eq!(&seen, &expected);
        }
    }

    /// Watchers that read each change, read in bursts, subscribe later, or never read.
    #[test]
    fn watchers_of_any_pace_and_age_get_the_same_changes_and_an_idle_one_disturbs_none(
        rounds in prop::collection::vec((calls(), 0..100usize), 1..6),
    ) {
        let membership = Membership::new();
        let (idle, keen, fitful) = (membership.watch(), membership.watch(), membership.watch());
        let [mut keen_saw, mut fitful_saw] = [Seen::default(), Seen::default()];
        prop_assert!(keen.recv().unwrap().is_empty());
        let mut later = Vec::new();
        for (calls, reads) in &rounds {
            later.push((membership.watch(), Seen::of(&membership.snapshot())));
            for call in calls {
                let before = Seen::of(&membership.snapshot());
                make(&membership, call);
                let after = Seen::of(&membership.snapshot());
                let told = read_all(&keen);
                prop_assert_eq!(told.len(), usize::from(before != after), "one change for {:?}", call);
                told.iter().for_each(|change| keen_saw.apply(change));
                prop_assert_eq!(&keen_saw, &after);
            }
            std::iter::from_fn(|| fitful.try_recv().ok()).take(*reads).for_each(|change| fitful_saw.apply(&change));
        }
        let truth = Seen::of(&membership.snapshot());
        read_all(&fitful).iter().for_each(|change| fitful_saw.apply(change));
        prop_assert_eq!(&fitful_saw, &truth);
        let from_the_start = (idle, Seen::default());
        for (watch, state_then) in later.into_iter().chain([from_the_start]) {
            let (told, mut seen) = (read_all(&watch), Seen::default());
            seen.apply(&told[0]);
            prop_assert_eq!(&seen, &state_then, "the first item is the state at the moment of the call");
            prop_assert!(told[1..].iter().all(|change| !change.is_empty()));
            prop_assert!(told.len() <= 1 + 64 + 1);
            told[1..].iter().for_each(|change| seen.apply(change));
            prop_assert_eq!(&seen, &truth);
        }
    }

    #[test]
    fn a_snapshot_answers_for_every_name(calls in calls()) {
        let membership = Membership::new();
        for call in &calls {
            make(&membership, call);
        }
        let (snapshot, known) = (membership.snapshot(), View::of(&membership.snapshot()).0);
        for peer in ["", "a", "b", "c", "d", "e", "f", "g"] {
            prop_assert_eq!(snapshot.contains(peer), known.contains_key(peer));
            prop_assert_eq!(snapshot.is_active(peer), known.get(peer) == Some(&true));
        }
        prop_assert_eq!(snapshot.active_len(), snapshot.active().len());
        prop_assert_eq!(snapshot.peers().concat(), snapshot.active().concat() + &snapshot.left().concat());
    }

    #[test]
    fn a_watcher_that_reads_at_any_time_gets_exactly_the_changes_that_it_lacks(
        rounds in prop::collection::vec((calls(), 0..200usize), 1..8),
    ) {
        let membership = Membership::new();
        let (watch, mut seen) = (membership.watch(), Seen::default());
        for (calls, reads) in rounds {
            calls.iter().for_each(|call| make(&membership, call));
            std::iter::from_fn(|| watch.try_recv().ok()).take(reads).for_each(|change| seen.apply(&change));
            prop_assert!(!watch.receiver().is_empty() || seen == Seen::of(&membership.snapshot()));
        }
        read_all(&watch).iter().for_each(|change| seen.apply(change));
        prop_assert_eq!(seen, Seen::of(&membership.snapshot()));
    }
}

#[test]
fn a_peer_that_sorts_first_and_is_added_again_stays_one_peer() {
    let membership = Membership::new();
    membership.add(["a", "b"]);
    membership.add(["a"]);
    membership.add(["a", "a"]);
    assert_eq!(names(&membership.snapshot()), "a b | ");
    assert_eq!(membership.majority(), 2, "no duplicate counts");
    membership.add(["b"]);
    assert_eq!(names(&membership.snapshot()), "a b | ", "nor at the other end");
}

#[test]
fn a_peer_that_sorts_first_and_leaves_again_stays_one_peer() {
    let membership = Membership::new();
    membership.add(["a", "b"]);
    membership.mark_left(["a", "a"]);
    membership.mark_left(["a"]);
    assert_eq!(names(&membership.snapshot()), "b | a");
    membership.add(["a"]);
    membership.mark_left(["a"]);
    assert_eq!(names(&membership.snapshot()), "b | a");
}

#[test]
fn a_peer_is_never_active_and_left_and_one_remove_forgets_it() {
    let membership = Membership::new();
    membership.add(["a", "b"]);
    membership.add(["a"]);
    membership.mark_left(["a"]);
    assert_eq!(names(&membership.snapshot()), "b | a");
    membership.remove(["a"]);
    assert_eq!(names(&membership.snapshot()), "b | ");
}

#[test]
fn a_watcher_that_never_reads_blocks_no_call() {
    in_time(|| {
        let membership = Membership::new();
        let idle = membership.watch();
        for peer in 0..10_000 {
            membership.add([peer.to_string()]);
        }
        assert_eq!(membership.snapshot().active().len(), 10_000);
        assert_eq!(membership.majority(), 5_001);
        drop(membership.watch());
        drop(idle);
    });
}

#[test]
fn a_watcher_may_call_everything_from_its_loop_and_can_be_dropped_by_another_thread() {
    in_time(|| {
        let membership = Membership::new();
        let watch = membership.watch();
        for change in watch.iter().take(100) {
            membership.add([format!("after {}", change.active.concat().len())]);
            let _ = (membership.snapshot(), membership.majority(), membership.watch());
            membership.remove([membership.snapshot().peers().concat()]);
            membership.mark_left(&change.active);
            membership.add(membership.snapshot().left());
        }
        std::thread::scope(|scope| scope.spawn(move || drop(watch)).join()).unwrap();
    });
}

#[test]
fn a_change_that_a_watcher_holds_stays_as_it_is() {
    let membership = Membership::new();
    membership.add(["b", "c", "d"]);
    let first = membership.watch().recv().unwrap();
    membership.remove(["b"]);
    membership.add(["a"]);
    assert_eq!(first.active, ["b", "c", "d"]);
}

#[test]
fn a_change_lists_only_changed_peers_and_a_call_without_effect_sends_none() {
    let membership = Membership::new();
    let watch = membership.watch();
    let _ = watch.recv();

    membership.mark_left(["unknown"]);
    membership.remove(["unknown"]);
    membership.add([""; 0]);
    assert_eq!(watch.try_recv(), Err(TryRecvError::Empty));

    membership.add(["b", "a", "b"]);
    membership.add(["a"]);
    membership.add(["a", "c"]);
    membership.mark_left(["b", "unknown", "b"]);
    membership.mark_left(["b"]);
    membership.remove(["c", "b", "unknown"]);
    let told: Vec<_> =
        read_all(&watch).into_iter().map(|change| (change.active, change.left, change.removed)).collect();
    assert_eq!(told.len(), 4);
    assert!(told[0].0 == ["a", "b"] && told[0].1.is_empty() && told[0].2.is_empty());
    assert!(told[1].0 == ["c"] && told[1].1.is_empty() && told[1].2.is_empty());
    assert!(told[2].0.is_empty() && told[2].1 == ["b"] && told[2].2.is_empty());
    assert!(told[3].0.is_empty() && told[3].1.is_empty() && told[3].2 == ["b", "c"]);
}

#[test]
fn a_loop_over_a_watch_ends_with_the_membership() {
    in_time(|| {
        let membership = Membership::new();
        let (by_reference, by_value) = (membership.watch(), membership.watch());
        std::thread::scope(|scope| {
            let counts = [
                scope.spawn(|| by_reference.iter().count()),
                scope.spawn(move || by_value.into_iter().count()),
            ];
            membership.add(["a"]);
            drop(membership);
            assert_eq!(counts.map(|count| count.join().unwrap()), [2, 2]);
        });
    });
}

#[test]
fn peers_that_left_count_for_the_majority_until_removed() {
    let membership = Membership::new();
    assert_eq!(membership.majority(), 1);
    membership.add(["a", "b", "c", "d", "e"]);
    membership.mark_left(["b", "c", "d", "e"]);
    assert_eq!(membership.majority(), 3);
    membership.remove(["b", "c", "d", "e"]);
    assert_eq!(membership.majority(), 1);
}

#[test]
fn all_watchers_see_the_same_changes_in_the_same_order() {
    let membership = Membership::new();
    let watches = [membership.watch(), membership.watch(), membership.watch()];
    for round in 0..20 {
        membership.add([format!("{round}")]);
        membership.mark_left([format!("{}", round / 2)]);
    }
    let [first, second, third] = watches.map(|watch| read_all(&watch));
    assert_eq!(first.len(), 31, "each peer leaves once");
    assert!(first == second && second == third);
}

#[test]
fn the_first_item_of_a_watch_tells_who_is_active_and_who_left() {
    let membership = Membership::new();
    assert!(membership.watch().recv().unwrap().is_empty(), "there is always a first item");
    membership.add(["a", "b", "c"]);
    membership.mark_left(["b"]);
    let first = membership.watch().recv().unwrap();
    assert!(first.active == ["a", "c"] && first.left == ["b"] && first.removed.is_empty());
}

#[test]
fn a_source_that_only_misses_a_peer_does_not_hide_that_another_saw_it_fail() {
    let (running, [dns, gossip]) = with_sources();
    let application = running.membership();
    dns.add(["a", "b"]);
    gossip.add(["a", "b"]);
    let watch = application.watch();
    dns.mark_left(["a"]);
    gossip.mark_failed(["a", "b"]);
    dns.mark_left(["b"]);
    let snapshot = application.snapshot();
    assert_eq!((names(&snapshot), snapshot.failed().join(" ")), (" | a b".into(), "a b".into()));
    // Gossip forgets the peer before DNS does.
    gossip.remove(["a"]);
    assert_eq!(application.snapshot().failed().join(" "), "b");
    let told: Vec<_> = read_all(&watch).iter().skip(1).map(ToString::to_string).collect();
    assert_eq!(told, ["left a; failed a", "left b; failed b", "no longer failed a"]);
    gossip.add(["b"]);
    assert_eq!(names(&application.snapshot()), "b | a");
}

#[test]
fn two_sources_never_fight_over_a_peer() {
    let (running, [dns, gossip]) = with_sources();
    dns.add(["a"]);
    gossip.add(["a"]);
    dns.mark_left(["a"]);
    dns.remove(["a"]);
    assert_eq!(names(&running.membership().snapshot()), "a | ", "gossip still says active");
    gossip.mark_left(["a"]);
    assert_eq!(names(&running.membership().snapshot()), " | a");
    gossip.remove(["a"]);
    assert_eq!(names(&running.membership().snapshot()), " | ");
}

#[test]
fn a_source_that_repeats_itself_does_not_undo_reports_of_the_application() {
    let (running, [source]) = with_sources();
    let application = running.membership();
    source.add(["a", "b"]);
    application.remove(["a"]);
    application.mark_left(["b"]);
    let watch = application.watch();
    source.add(["a", "b"]);
    assert_eq!(names(&application.snapshot()), " | b");
    assert_eq!(read_all(&watch).len(), 1, "only the first item");
    source.mark_left(["b"]);
    source.add(["b"]);
    assert_eq!(names(&application.snapshot()), "b | ", "that was something new");
}

#[test]
fn a_snapshot_is_shared_until_something_changes() {
    let membership = Membership::new();
    membership.add(["a", "b"]);
    let before = membership.snapshot();
    membership.add(["a"]);
    assert!(std::ptr::eq(before.peers(), membership.snapshot().peers()));
    membership.mark_left(["a"]);
    assert_eq!((names(&before), names(&membership.snapshot())), ("a b | ".into(), "b | a".into()));
    assert_eq!((before.active_len(), membership.snapshot().active_len()), (2, 1));
    assert!(["a", "b"].iter().all(|peer| membership.snapshot().contains(peer)));
    assert!(!membership.snapshot().contains("c"));
}

#[test]
fn a_watcher_that_is_far_behind_reads_few_changes_that_lead_to_the_right_set() {
    let membership = Membership::new();
    let watch = membership.watch();
    for flip in 0..100_000 {
        let peer = [format!("{}", flip % 7)];
        if flip % 3 == 0 { membership.mark_left(peer) } else { membership.add(peer) }
    }
    let (changes, mut seen) = (read_all(&watch), View::default());
    assert!(changes.len() <= 1 + 64 + 1, "{}", changes.len());
    changes.iter().for_each(|change| seen.apply(change));
    assert_eq!(seen, View::of(&membership.snapshot()));
}

#[test]
fn adding_the_first_peer_twice_adds_it_once_and_tells_it_once() {
    let membership = Membership::new();
    let watch = membership.watch();
    membership.add(["b"]);
    for _ in 0..3 {
        membership.add(["a"]);
        membership.add(["b"]);
        membership.add(["a", "b", "a"]);
    }
    assert_eq!((names(&membership.snapshot()), membership.majority()), ("a b | ".into(), 2));
    assert_eq!(read_all(&watch).len(), 3, "the state at first, b, a");
}

#[test]
fn a_list_that_its_caller_changes_afterwards_changes_no_message() {
    let membership = Membership::new();
    let [one, other] = [membership.watch(), membership.watch()];
    let mut list = vec![String::from("b"), String::from("a")];
    membership.add(&list);
    list.iter_mut().for_each(String::clear);
    for watch in [one, other] {
        assert_eq!(watch.iter().nth(1).unwrap().active, ["a", "b"]);
    }
    assert_eq!(names(&membership.snapshot()), "a b | ");
}

#[test]
fn a_watch_can_be_dropped_unread_by_another_thread_while_a_writer_writes() {
    in_time(|| {
        let membership = Membership::new();
        let stuck = membership.watch();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (0..2_000).for_each(|peer| membership.add([peer.to_string()])));
            let canceller = scope.spawn(move || drop(stuck));
            canceller.join().unwrap();
            writer.join().unwrap();
        });
        assert_eq!(membership.majority(), 1_001);
    });
}

#[test]
fn left_peers_that_are_left_again_or_removed_twice_are_told_once() {
    let membership = Membership::new();
    membership.add(["a", "b"]);
    let watch = membership.watch();
    for _ in 0..3 {
        membership.mark_left(["a", "a"]);
    }
    for _ in 0..3 {
        membership.remove(["a", "b", "a"]);
    }
    let told = read_all(&watch);
    assert_eq!(told.len(), 3);
    assert!(told[1].left == ["a"] && told[1].active.is_empty() && told[1].removed.is_empty());
    assert!(told[2].removed == ["a", "b"] && told[2].active.is_empty() && told[2].left.is_empty());
    assert_eq!((names(&membership.snapshot()), membership.majority()), (" | ".into(), 1));
}

#[test]
fn any_string_is_a_peer_and_order_is_that_of_bytes() {
    let membership = Membership::new();
    membership.add(["", "b", "B", "\u{e9}", "a\0", "a", "10.0.0.10:1", "10.0.0.9:1"]);
    let sorted: Vec<_> = membership.snapshot().active().iter().map(|peer| peer.to_string()).collect();
    assert_eq!(sorted, ["", "10.0.0.10:1", "10.0.0.9:1", "B", "a", "a\0", "b", "\u{e9}"]);
    membership.remove([""]);
    assert!(!membership.snapshot().contains(""));
}

#[test]
fn a_select_is_woken_once_per_change_and_rests_when_all_was_read() {
    let membership = Membership::new();
    let watch = membership.watch();
    for peer in ["a", "b"] {
        membership.add([peer]);
    }
    for _ in 0..3 {
        assert!(watch.receiver().try_recv().is_ok() && watch.try_recv().is_ok());
    }
    assert_eq!(watch.receiver().try_recv(), Err(TryRecvError::Empty));
    // A change that is read without waiting leaves no wake-up behind, which would make a `Select::ready` loop spin.
    membership.add(["c"]);
    assert!(watch.recv().is_ok() && watch.receiver().is_empty());
}

#[test]
fn two_sources_of_which_one_ends_keep_their_claims() {
    let (give, take) = bounded(1);
    let cluster = Cluster::new()
        .with_discovery(|membership: &Membership, _: &Stop| {
            membership.add(["ended"]);
            Ok::<_, BoxError>(())
        })
        .with_discovery(move |membership: &Membership, stop: &Stop| {
            give.send(membership.clone())?;
            stop.receiver().recv().unwrap_err();
            Ok::<_, BoxError>(())
        });
    in_time(move || {
        let watch = cluster.membership().watch();
        let running = cluster.start().unwrap();
        let other = take.recv().unwrap();
        assert_eq!(watch.iter().nth(1).unwrap().active, ["ended"]);
        other.remove(["ended"]);
        other.add(["ended"]);
        other.remove(["ended"]);
        assert_eq!(names(&running.membership().snapshot()), "ended | ");
        running.membership().remove(["ended"]);
        assert_eq!(names(&running.membership().snapshot()), " | ");
    });
}

#[test]
#[allow(clippy::disallowed_methods, reason = "how long nothing changes is of real time")]
fn a_membership_is_settled_once_enough_peers_are_there_and_nothing_changes() {
    let membership = Membership::new();
    let quiet = Duration::from_millis(30);
    let settled = |quiet, at_least, limit| {
        membership.settled(&Settle::new().quiet(quiet).at_least(at_least).limit(limit))
    };
    let short = settled(quiet, 1, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(short, syncswim::Error::Timeout { .. }), "{short}");
    let text = short.to_string();
    assert!(
        text.starts_with("waited 50ms for 1 active peers and 30ms without a change: there are 0"),
        "{text}"
    );
    let never = settled(quiet, 0, Duration::from_millis(29)).unwrap_err().to_string();
    let said = "`limit` is 29ms, and `quiet` 30ms: nothing can settle in less; raise `limit`";
    assert_eq!(never, said);
    assert!(settled(quiet, 0, quiet).is_ok(), "both may be equal");
    let empty = settled(Duration::ZERO, 0, Duration::from_secs(60)).unwrap();
    assert_eq!(empty.active().len(), 0);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| settled(quiet, 3, Duration::from_secs(60)));
        for peer in ["a:1", "b:1", "c:1"] {
            membership.add([peer]);
        }
        assert_eq!(names(&waiter.join().unwrap().unwrap()), "a:1 b:1 c:1 | ");
    });
    // Whenever it is settled, the last change is at least that old.
    let (over, changes) = (AtomicBool::new(false), Mutex::new(vec![]));
    thread::scope(|scope| {
        scope.spawn(|| {
            for at in 0..30 {
                changes.lock().unwrap().push(Instant::now());
                membership.add([format!("d:{at}")]);
                thread::sleep(Duration::from_millis(10));
            }
            over.store(true, Ordering::Release);
        });
        while !over.load(Ordering::Acquire) {
            let quiet = Duration::from_millis(100);
            let settled = settled(quiet, 1, Duration::from_secs(60)).unwrap();
            // The last change that the snapshot includes.
            let shown = settled.active().iter().filter(|peer| peer.starts_with("d:")).count();
            let last = shown.checked_sub(1).map(|at| changes.lock().unwrap()[at]);
            assert!(last.is_none_or(|last| last.elapsed() >= quiet), "{last:?}, {settled:?}");
        }
    });
}
