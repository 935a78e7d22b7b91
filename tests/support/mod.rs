//! Code that several test files share.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::disallowed_methods, reason = "tests wait in real time, with deadlines")]

pub(crate) mod cluster;
pub(crate) mod folder;
pub(crate) mod forge;

use std::{
    collections::BTreeMap,
    panic::resume_unwind,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{RecvTimeoutError, bounded};
use syncswim::{Event, Events, MembershipChange, Snapshot};

/// Far longer than any working operation takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Waits for a condition.
#[track_caller]
pub(crate) fn await_that(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {LONG:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The events so far that a slow machine does not explain: a member that was delayed may be suspected, and refutes.
pub(crate) fn upsets(events: &Events) -> Vec<Event> {
    let told = std::iter::from_fn(|| events.try_recv().ok());
    told.filter(|event| !matches!(event, Event::Suspected { .. } | Event::Updated { .. })).collect()
}

/// Runs `work` on a thread, and fails instead of hanging if it never ends.
#[track_caller]
pub(crate) fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = bounded(1);
    let thread = thread::Builder::new().spawn(move || drop(done.send(work()))).unwrap();
    match result.recv_timeout(LONG) {
        Ok(value) => value,
        Err(RecvTimeoutError::Disconnected) => resume_unwind(thread.join().unwrap_err()),
        Err(RecvTimeoutError::Timeout) => panic!("stuck for {LONG:?}"),
    }
}

/// The state of a watcher that applies every change. True is active, false is left.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct View(pub(crate) BTreeMap<String, bool>);

impl View {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let side =
            |peers: &[syncswim::Peer], active| peers.iter().map(move |p| (p.to_string(), active)).collect();
        let [mut view, left]: [BTreeMap<_, _>; 2] =
            [side(snapshot.active(), true), side(snapshot.left(), false)];
        view.extend(left);
        assert_eq!(
            view.len(),
            snapshot.peers().len(),
            "a peer is in exactly one of active and left: {snapshot:?}"
        );
        assert!(snapshot.active().is_sorted() && snapshot.left().is_sorted());
        Self(view)
    }

    /// Panics if the change repeats something that is known.
    #[track_caller]
    pub(crate) fn apply(&mut self, change: &MembershipChange) {
        for peer in &change.active {
            assert_ne!(self.0.insert(peer.to_string(), true), Some(true), "{peer} was active: {change:?}");
        }
        for peer in &change.left {
            assert_ne!(self.0.insert(peer.to_string(), false), Some(false), "{peer} had left: {change:?}");
        }
        for peer in &change.removed {
            assert!(self.0.remove(&**peer).is_some(), "{peer} was not there: {change:?}");
        }
    }
}
