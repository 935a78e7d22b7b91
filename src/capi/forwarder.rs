//! A thread that forwards the changes of a watch to the reader of a descriptor, or to a callback.
//!
//! Only watches that are read in one of these ways have such a thread. It holds at most one change; the rest waits, and is
//! folded, in the watch.

use std::{
    ffi::c_int,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, select};

use super::{
    readiness::{self, ReadyFlag},
    status::{Failure, SYNCSWIM_ERR_STATE, SYNCSWIM_ERR_SYSTEM},
};
use crate::{
    MembershipChange, Stop, Watch,
    log_line::{Topic, log},
};

#[derive(Debug)]
pub(super) struct Forwarder {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    /// `None` at the end, so that a thread that waits for it ends.
    begin: Option<Sender<()>>,
    /// For a descriptor's reader.
    receiver: Option<ChangeReceiver>,
}

/// The reader's side. A change goes through these steps, each waiting for the one before: put, raised, received, lowered,
/// taken. So the descriptor is readable exactly while a change is there, without a lock over its reads and writes.
#[derive(Debug)]
struct ChangeReceiver {
    changes: Receiver<MembershipChange>,
    /// Receives a message once the flag was raised for the change.
    was_raised_for: Receiver<()>,
    /// Signals that the change was taken, so that the next may come.
    taken: Sender<()>,
    descriptor: readiness::ReadyDescriptor,
}

impl Forwarder {
    pub(super) fn to_descriptor(watch: Arc<Watch>) -> Result<Self, Failure> {
        let (flag, descriptor) = readiness::pair()?;
        let ((put, changes), (taken, was_taken), (was_raised, was_raised_for)) =
            (bounded(1), bounded(1), bounded(1));
        let receiver = ChangeReceiver { changes, was_raised_for, taken, descriptor };
        let sender = ChangeSender { put, was_taken, flag, was_raised };
        Self::start(watch, Some(receiver), move |change, stop| sender.offer(change, stop))
    }

    pub(super) fn to_callback(
        watch: Arc<Watch>,
        deliver: impl Fn(&MembershipChange) + Send + 'static,
    ) -> Result<Self, Failure> {
        Self::start(watch, None, move |change, _| deliver(&change))
    }

    fn start(
        watch: Arc<Watch>,
        receiver: Option<ChangeReceiver>,
        mut deliver: impl FnMut(MembershipChange, &Stop) + Send + 'static,
    ) -> Result<Self, Failure> {
        let stop = Stop::new();
        let raised = stop.clone();
        let (begin, begun) = bounded::<()>(1);
        let work = move || {
            // It takes nothing from the watch before it is installed as its only forwarder.
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
        Ok(Self { stop, thread: Some(thread), begin: Some(begin), receiver })
    }

    /// Starts to forward changes. A forwarder that is dropped before that takes none.
    pub(super) fn begin(&self) {
        if let Some(begin) = &self.begin {
            let _ = begin.try_send(());
        }
    }

    pub(super) fn recv_timeout(
        &self,
        limit: Duration,
    ) -> Result<Result<MembershipChange, RecvTimeoutError>, Failure> {
        let receiver = self.receiver.as_ref().ok_or_else(|| {
            Failure::new(SYNCSWIM_ERR_STATE, "the watch has a callback, which gets all changes")
        })?;
        let change = receiver.changes.recv_timeout(limit);
        if change.is_ok() {
            // The thread raises the flag for each change; an error says that it has ended, and the flag with it.
            let _ = receiver.was_raised_for.recv();
            receiver.descriptor.lower();
            let _ = receiver.taken.try_send(());
        }
        Ok(change)
    }

    pub(super) fn descriptor(&self) -> Result<c_int, Failure> {
        let receiver = self.receiver.as_ref();
        receiver
            .map(|receiver| receiver.descriptor.descriptor())
            .ok_or_else(|| Failure::new(SYNCSWIM_ERR_STATE, "the watch has a callback already"))
    }
}

/// Waits for a change of the lists that C sees; `None` if there will be no more.
fn next(watch: &Watch, stop: &Stop) -> Option<MembershipChange> {
    loop {
        if stop.is_stopped() {
            return None;
        }
        match watch.try_recv() {
            Ok(change) if change.is_a_correction() => continue,
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

/// The thread's side. Its fields are dropped in order: the reader finds the end of the changes before
/// the descriptor says that there is something.
struct ChangeSender {
    put: Sender<MembershipChange>,
    was_raised: Sender<()>,
    was_taken: Receiver<()>,
    flag: ReadyFlag,
}

impl ChangeSender {
    fn offer(&self, change: MembershipChange, stop: &Stop) {
        // There is room: the last change was taken.
        let _ = self.put.try_send(change);
        self.flag.raise();
        let _ = self.was_raised.try_send(());
        select! {
            recv(self.was_taken) -> _ => {}
            recv(stop.receiver()) -> _ => {}
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.stop();
        self.begin = None;
        let thread = self.thread.take();
        // A callback may free its own watch: its thread cannot wait for itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // A panic of that thread is reported only here.
            if thread.join().is_err() {
                log(Topic::ThreadPanicked, &[("thread", &"watch")]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Membership,
        membership::{Departure, SourceId},
    };

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_pump_takes_nothing_from_a_watch_before_it_is_known_to_be_the_one_that_reads_it() {
        let membership = Membership::new();
        let watch = Arc::new(membership.watch());
        drop(Forwarder::to_callback(Arc::clone(&watch), |_| unreachable!("it never began")).unwrap());
        assert!(watch.try_recv().is_ok());
    }

    #[test]
    fn a_panic_of_a_callback_is_a_line() {
        let membership = Membership::new();
        let (called, was_called) = bounded(1);
        let panics = move |_: &MembershipChange| {
            called.send(()).unwrap();
            panic!("a callback of this test");
        };
        let forwarder = Forwarder::to_callback(Arc::new(membership.watch()), panics).unwrap();
        forwarder.begin();
        was_called.recv_timeout(LONG).unwrap();
        assert_eq!(crate::log_line::capture::lines(|| drop(forwarder)), ["thread panicked thread=watch"]);
    }

    #[test]
    #[cfg(unix)]
    fn each_change_comes_once_through_a_descriptor_and_then_the_end() {
        let membership = Membership::new();
        let forwarder = Forwarder::to_descriptor(Arc::new(membership.watch())).unwrap();
        forwarder.begin();
        std::thread::scope(|scope| {
            scope.spawn(move || (0..1_000).for_each(|peer| membership.add([peer.to_string()])));
            let mut told = 0;
            while let Ok(change) = forwarder.recv_timeout(LONG).unwrap() {
                told += change.active.len();
            }
            assert_eq!(told, 1_000);
        });
    }

    #[test]
    fn a_change_without_a_list_in_the_c_interface_is_not_given_to_c() {
        let membership = Membership::new().for_source(SourceId(0));
        let watch = membership.watch();
        for how in [Departure::Failed, Departure::Left, Departure::Failed] {
            membership.list_departed(how, ["a"]);
        }
        membership.remove(["a"]);
        drop(membership);
        let told: Vec<_> =
            std::iter::from_fn(|| next(&watch, &Stop::new())).map(|change| change.to_string()).collect();
        assert_eq!(told, ["nothing changed", "left a; failed a", "removed a"]);
    }
}
