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
use parking_lot::Mutex;

use super::{
    signal::{self, Bell},
    status::{Failure, SYNCSWIM_ERR_STATE, SYNCSWIM_ERR_SYSTEM},
};
use crate::{MembershipChange, Stop, Watch};

#[derive(Debug)]
pub(super) struct Pump {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    /// For a descriptor's reader.
    outlet: Option<Outlet>,
}

#[derive(Debug)]
struct Outlet {
    changes: Receiver<MembershipChange>,
    /// Says that the change was taken, so that the next may come.
    taken: Sender<()>,
    /// Rung exactly while a change is in `changes`: both change under this lock. Ringing never blocks.
    listener: Arc<Mutex<signal::Listener>>,
}

impl Pump {
    pub(super) fn to_descriptor(watch: Arc<Watch>) -> Result<Self, Failure> {
        let (bell, listener) = signal::pair()?;
        let listener = Arc::new(Mutex::new(listener));
        let ((put, changes), (taken, was_taken)) = (bounded(1), bounded(1));
        let outlet = Outlet { changes, taken, listener: Arc::clone(&listener) };
        let mut mouth = Mouth { put, was_taken, bell, listener };
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
        let work = move || {
            while let Some(change) = next(&watch, &raised) {
                deliver(change, &raised);
            }
        };
        let thread = thread::Builder::new().name("syncswim-watch".into()).spawn(work).map_err(|problem| {
            Failure::new(SYNCSWIM_ERR_SYSTEM, format!("cannot start the watch's thread: {problem}"))
        })?;
        Ok(Self { stop, thread: Some(thread), outlet })
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
            outlet.listener.lock().silence();
            let _ = outlet.taken.try_send(());
        }
        Ok(change)
    }

    pub(super) fn descriptor(&self) -> Result<c_int, Failure> {
        let outlet = self.outlet.as_ref();
        outlet
            .map(|outlet| outlet.listener.lock().descriptor())
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
    was_taken: Receiver<()>,
    bell: Bell,
    listener: Arc<Mutex<signal::Listener>>,
}

impl Mouth {
    fn offer(&mut self, change: MembershipChange, stop: &Stop) {
        let together = self.listener.lock();
        // There is room: the last change was taken.
        let _ = self.put.try_send(change);
        self.bell.ring();
        drop(together);
        select! {
            recv(self.was_taken) -> _ => {}
            recv(stop.receiver()) -> _ => {}
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop.stop();
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
