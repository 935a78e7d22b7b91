//! A thread that takes changes from a watch: to a descriptor's reader, or to a callback.
//!
//! Only watches that are read in one of these ways have it. It holds at most one change; the rest waits, and
//! folds, in the watch.

use std::{
    ffi::c_int,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, select};

use super::{
    signal::{self, Bell},
    status::{Failure, SYNCSWIM_ERR_STATE, SYNCSWIM_ERR_SYSTEM},
};
use crate::{MembershipChange, Stop, Watch};

#[derive(Debug)]
pub(super) struct Pump {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    /// `None` at the end, so that a thread that waits for it ends.
    begin: Option<Sender<()>>,
    /// For a descriptor's reader.
    outlet: Option<Outlet>,
}

/// A change goes through these steps, each waiting for the one before: put, rung, received, silenced, taken. So the
/// descriptor is readable exactly while a change is there, without a lock over its reads and writes.
#[derive(Debug)]
struct Outlet {
    changes: Receiver<MembershipChange>,
    /// Comes once the bell was rung for the change.
    rung: Receiver<()>,
    /// Says that the change was taken, so that the next may come.
    taken: Sender<()>,
    listener: signal::Listener,
}

impl Pump {
    pub(super) fn to_descriptor(watch: Arc<Watch>) -> Result<Self, Failure> {
        let (bell, listener) = signal::pair()?;
        let ((put, changes), (taken, was_taken), (has_rung, rung)) = (bounded(1), bounded(1), bounded(1));
        let outlet = Outlet { changes, rung, taken, listener };
        let mouth = Mouth { put, was_taken, bell, has_rung };
        Self::start(watch, Some(outlet), move |change, stop| mouth.offer(change, stop))
    }

    pub(super) fn to_callback(
        watch: Arc<Watch>,
        deliver: impl Fn(&MembershipChange) + Send + 'static,
    ) -> Result<Self, Failure> {
        Self::start(watch, None, move |change, _| deliver(&change))
    }

    fn start(
        watch: Arc<Watch>,
        outlet: Option<Outlet>,
        mut deliver: impl FnMut(MembershipChange, &Stop) + Send + 'static,
    ) -> Result<Self, Failure> {
        let stop = Stop::new();
        let raised = stop.clone();
        let (begin, begun) = bounded::<()>(1);
        let work = move || {
            // Nothing is taken from a watch before it is known that this pump is the one that reads it.
            if begun.recv().is_err() {
                return;
            }
            while let Some(change) = next(&watch, &raised) {
                deliver(change, &raised);
            }
        };
        let thread = thread::Builder::new().name("syncswim-watch".into()).spawn(work).map_err(|problem| {
            Failure::new(SYNCSWIM_ERR_SYSTEM, format!("cannot start the watch's thread: {problem}"))
        })?;
        Ok(Self { stop, thread: Some(thread), begin: Some(begin), outlet })
    }

    /// Starts to take changes. A pump that is dropped before takes none.
    pub(super) fn begin(&self) {
        if let Some(begin) = &self.begin {
            let _ = begin.try_send(());
        }
    }

    pub(super) fn recv_timeout(
        &self,
        limit: Duration,
    ) -> Result<Result<MembershipChange, RecvTimeoutError>, Failure> {
        let outlet = self.outlet.as_ref().ok_or_else(|| {
            Failure::new(SYNCSWIM_ERR_STATE, "the watch has a callback, which gets all changes")
        })?;
        let change = outlet.changes.recv_timeout(limit);
        if change.is_ok() {
            // It has been rung, or is about to be. (Or the thread is gone; then the bell is, too.)
            let _ = outlet.rung.recv();
            outlet.listener.silence();
            let _ = outlet.taken.try_send(());
        }
        Ok(change)
    }

    pub(super) fn descriptor(&self) -> Result<c_int, Failure> {
        let outlet = self.outlet.as_ref();
        outlet
            .map(|outlet| outlet.listener.descriptor())
            .ok_or_else(|| Failure::new(SYNCSWIM_ERR_STATE, "the watch has a callback already"))
    }
}

/// Waits for a change; `None` if there will be none.
fn next(watch: &Watch, stop: &Stop) -> Option<MembershipChange> {
    loop {
        if stop.is_stopped() {
            return None;
        }
        match watch.try_recv() {
            Ok(change) => return Some(change),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        select! {
            recv(watch.receiver()) -> _ => {}
            recv(stop.receiver()) -> _ => return None,
        }
    }
}

/// The pump's side of an outlet. Its fields are dropped in order: the reader finds the end of the changes before
/// the descriptor says that there is something.
struct Mouth {
    put: Sender<MembershipChange>,
    has_rung: Sender<()>,
    was_taken: Receiver<()>,
    bell: Bell,
}

impl Mouth {
    fn offer(&self, change: MembershipChange, stop: &Stop) {
        // There is room: the last change was taken.
        let _ = self.put.try_send(change);
        self.bell.ring();
        let _ = self.has_rung.try_send(());
        select! {
            recv(self.was_taken) -> _ => {}
            recv(stop.receiver()) -> _ => {}
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop.stop();
        self.begin = None;
        let thread = self.thread.take();
        // A callback that frees its own watch cannot be waited for.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // What a panic there was is logged by nobody else.
            if thread.join().is_err() {
                log::error!("a watch's thread panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Membership;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_pump_takes_nothing_from_a_watch_before_it_is_known_to_be_the_one_that_reads_it() {
        let membership = Membership::new();
        let watch = Arc::new(membership.watch());
        drop(Pump::to_callback(Arc::clone(&watch), |_| unreachable!("it never began")).unwrap());
        assert!(watch.try_recv().is_ok());
    }

    #[test]
    #[cfg(unix)]
    fn each_change_comes_once_through_a_descriptor_and_then_the_end() {
        let membership = Membership::new();
        let pump = Pump::to_descriptor(Arc::new(membership.watch())).unwrap();
        pump.begin();
        std::thread::scope(|scope| {
            scope.spawn(move || (0..1_000).for_each(|peer| membership.add([peer.to_string()])));
            let mut told = 0;
            while let Ok(change) = pump.recv_timeout(LONG).unwrap() {
                told += change.active.len();
            }
            assert_eq!(told, 1_000);
        });
    }
}
