//! A thread that forwards the items of a subscription to the reader of a descriptor, or to a callback.
//!
//! Only subscriptions that are read in one of these ways have such a thread. The thread holds at most one item; the
//! rest waits in the subscription.

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
    Stop,
    log_line::{Topic, log},
    reader::Reader,
};

#[derive(Debug)]
pub(super) struct Forwarder<T> {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    /// `None` at the end, so that a thread that waits for the beginning ends.
    begin: Option<Sender<()>>,
    /// The part that the descriptor's reader uses.
    receiver: Option<ItemReceiver<T>>,
}

/// The reader's side. An item goes through these steps, each waiting for the one before: put, raised, received, lowered,
/// taken. So the descriptor is readable exactly while an item is there, without a lock over its reads and writes.
#[derive(Debug)]
struct ItemReceiver<T> {
    items: Receiver<T>,
    /// Receives a message once the flag was raised for the item.
    was_raised_for: Receiver<()>,
    /// Signals that the item was taken, so that the next may come.
    taken: Sender<()>,
    descriptor: readiness::ReadyDescriptor,
}

impl<T: Send + 'static> Forwarder<T> {
    pub(super) fn to_descriptor(
        reader: Arc<impl Reader<Item = T> + Send + Sync + 'static>,
    ) -> Result<Self, Failure> {
        let (flag, descriptor) = readiness::pair()?;
        let ((put, items), (taken, was_taken), (was_raised, was_raised_for)) =
            (bounded(1), bounded(1), bounded(1));
        let receiver = ItemReceiver { items, was_raised_for, taken, descriptor };
        let sender = ItemSender { put, was_taken, flag, was_raised };
        Self::start(reader, Some(receiver), move |item, stop| sender.offer(item, stop))
    }

    pub(super) fn to_callback(
        reader: Arc<impl Reader<Item = T> + Send + Sync + 'static>,
        deliver: impl Fn(&T) + Send + 'static,
    ) -> Result<Self, Failure> {
        Self::start(reader, None, move |item, _| deliver(&item))
    }

    fn start(
        reader: Arc<impl Reader<Item = T> + Send + Sync + 'static>,
        receiver: Option<ItemReceiver<T>>,
        mut deliver: impl FnMut(T, &Stop) + Send + 'static,
    ) -> Result<Self, Failure> {
        let stop = Stop::new();
        let raised = stop.clone();
        let (begin, begun) = bounded::<()>(1);
        let work = move || {
            // The thread takes nothing before its forwarder is installed as the only one.
            if begun.recv().is_err() {
                return;
            }
            while let Some(item) = next(&*reader, &raised) {
                deliver(item, &raised);
            }
        };
        let thread = thread::Builder::new().name("syncswim-watch".into()).spawn(work).map_err(|problem| {
            Failure::new(SYNCSWIM_ERR_SYSTEM, format!("cannot start the watch's thread: {problem}"))
        })?;
        Ok(Self { stop, thread: Some(thread), begin: Some(begin), receiver })
    }

    /// Starts to forward items. A forwarder that is dropped before that takes none.
    pub(super) fn begin(&self) {
        if let Some(begin) = &self.begin {
            let _ = begin.try_send(());
        }
    }

    pub(super) fn recv_timeout(&self, limit: Duration) -> Result<Result<T, RecvTimeoutError>, Failure> {
        let receiver = self.receiver.as_ref().ok_or_else(|| {
            Failure::new(SYNCSWIM_ERR_STATE, "the watch has a callback, which gets all changes")
        })?;
        let item = receiver.items.recv_timeout(limit);
        if item.is_ok() {
            // The thread raises the flag for each item; an error says that it has ended, and the flag with it.
            let _ = receiver.was_raised_for.recv();
            receiver.descriptor.lower();
            let _ = receiver.taken.try_send(());
        }
        Ok(item)
    }

    pub(super) fn descriptor(&self) -> Result<c_int, Failure> {
        let receiver = self.receiver.as_ref();
        receiver
            .map(|receiver| receiver.descriptor.descriptor())
            .ok_or_else(|| Failure::new(SYNCSWIM_ERR_STATE, "the watch has a callback already"))
    }
}

/// Waits for an item; `None` if there will be no more.
fn next<R: Reader>(reader: &R, stop: &Stop) -> Option<R::Item> {
    loop {
        if stop.is_stopped() {
            return None;
        }
        match reader.try_recv() {
            Ok(item) => return Some(item),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        select! {
            recv(reader.receiver()) -> _ => {}
            recv(stop.receiver()) -> _ => return None,
        }
    }
}

/// The thread's side. Its fields are dropped in order: the reader finds the end of the items before
/// the descriptor says that there is something.
struct ItemSender<T> {
    put: Sender<T>,
    was_raised: Sender<()>,
    was_taken: Receiver<()>,
    flag: ReadyFlag,
}

impl<T> ItemSender<T> {
    fn offer(&self, item: T, stop: &Stop) {
        // There is room: the last item was taken.
        let _ = self.put.try_send(item);
        self.flag.raise();
        let _ = self.was_raised.try_send(());
        select! {
            recv(self.was_taken) -> _ => {}
            recv(stop.receiver()) -> _ => {}
        }
    }
}

impl<T> Drop for Forwarder<T> {
    fn drop(&mut self) {
        self.stop.stop();
        self.begin = None;
        let thread = self.thread.take();
        // A callback may free its own watch: the callback's thread cannot wait for itself.
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
    use crate::{Membership, MembershipChange};

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
}
