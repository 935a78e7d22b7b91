//! Delivery from one writer to many readers, in which the writer never waits for a reader.
//!
//! Owns a mailbox for each reader. Its [`Queue`] decides what it keeps and how it stays bounded when the reader is slow: the
//! writer only runs a closure on each queue. Never calls a user's code, and holds a mailbox's lock only for one push or pop.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, mem,
    sync::Arc,
};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use parking_lot::Mutex;

use crate::reader::Reader;

/// The content of a mailbox. `pop` runs under its lock and so should be O(1): move out, convert later.
pub(crate) trait Queue {
    /// The item that a reader receives.
    type Item;

    /// Takes the oldest item.
    fn pop(&mut self) -> Option<Self::Item>;

    /// Whether `pop` would give nothing.
    fn is_empty(&self) -> bool;
}

impl<T> Queue for VecDeque<T> {
    type Item = T;

    fn pop(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn is_empty(&self) -> bool {
        VecDeque::is_empty(self)
    }
}

/// The writer's end. Dropping it is [closing](Self::close) it.
pub(crate) struct Fanout<Q: Queue> {
    registry: Arc<Mutex<Registry<Q>>>,
}

/// A reader's end. Dropping it takes its mailbox away from the writer at once.
pub(crate) struct Subscription<Q: Queue> {
    registry: Arc<Mutex<Registry<Q>>>,
    mailbox: Arc<Mailbox<Q>>,
    id: u64,
}

struct Registry<Q> {
    next_id: u64,
    closed: bool,
    mailboxes: BTreeMap<u64, Arc<Mailbox<Q>>>,
}

/// `tokens` holds one token exactly while something is queued, so that `select!` can wait for it. (A reader that has taken
/// the token is about to call `try_recv`, which puts it back if more is queued.)
struct Mailbox<Q> {
    slot: Mutex<Slot<Q>>,
    tokens: Receiver<()>,
}

struct Slot<Q> {
    queue: Q,
    /// `None` once closed.
    ready: Option<Sender<()>>,
}

impl<Q: Queue> Fanout<Q> {
    /// A fan-out without readers.
    pub(crate) fn new() -> Self {
        let registry = Registry { next_id: 0, closed: false, mailboxes: BTreeMap::new() };
        Self { registry: Arc::new(Mutex::new(registry)) }
    }

    /// Adds a reader, whose first items are those already in `queue`. Once closed, these are also its last.
    ///
    /// A caller that publishes and subscribes under one lock of its own leaves no gap between what it put in `queue` and
    /// what is published next.
    pub(crate) fn subscribe(&self, queue: Q) -> Subscription<Q> {
        let (ready, tokens) = bounded(1);
        let mut registry = self.registry.lock();
        let ready = (!registry.closed).then_some(ready);
        let mailbox = Arc::new(Mailbox { slot: Mutex::new(Slot { queue, ready }), tokens });
        mailbox.settle(&mailbox.slot.lock());
        let id = registry.next_id;
        registry.next_id += 1;
        if !registry.closed {
            registry.mailboxes.insert(id, Arc::clone(&mailbox));
        }
        Subscription { registry: Arc::clone(&self.registry), mailbox, id }
    }

    /// Runs `push` on every mailbox's queue and wakes its reader, in the order of subscription.
    pub(crate) fn publish(&self, mut push: impl FnMut(&mut Q)) {
        for mailbox in self.registry.lock().mailboxes.values() {
            let mut slot = mailbox.slot.lock();
            push(&mut slot.queue);
            mailbox.settle(&slot);
        }
    }

    /// Ends the delivery: readers get what is queued, and then `Disconnected`.
    pub(crate) fn close(&self) {
        let mut registry = self.registry.lock();
        registry.closed = true;
        let mailboxes = mem::take(&mut registry.mailboxes);
        drop(registry);
        for mailbox in mailboxes.into_values() {
            mailbox.slot.lock().ready = None;
        }
    }

    /// How many readers there are.
    pub(crate) fn len(&self) -> usize {
        self.registry.lock().mailboxes.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<Q: Queue> Drop for Fanout<Q> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<Q: Queue> Mailbox<Q> {
    /// Makes the token agree with the queue. No call here can block, as the channel has room or is left alone.
    fn settle(&self, slot: &Slot<Q>) {
        match &slot.ready {
            Some(ready) if !slot.queue.is_empty() => drop(ready.try_send(())),
            _ => drop(self.tokens.try_recv()),
        }
    }
}

impl<Q: Queue> Subscription<Q> {
    /// The next item, if one is queued; `Disconnected` once closed and drained.
    pub(crate) fn try_recv(&self) -> Result<Q::Item, TryRecvError> {
        let mut slot = self.mailbox.slot.lock();
        let item = slot.queue.pop();
        self.mailbox.settle(&slot);
        let nothing = if slot.ready.is_some() { TryRecvError::Empty } else { TryRecvError::Disconnected };
        item.ok_or(nothing)
    }
}

impl<Q: Queue> Reader for Subscription<Q> {
    type Item = Q::Item;

    fn try_recv(&self) -> Result<Q::Item, TryRecvError> {
        self.try_recv()
    }

    /// When it is ready, one `try_recv` per token is enough. It is ready again if more is queued; once closed it always is, and
    /// `try_recv` tells when all was read. `try_recv` may find nothing, if several threads read or the writer emptied the queue
    /// in the meantime.
    fn receiver(&self) -> &Receiver<()> {
        &self.mailbox.tokens
    }
}

impl<Q: Queue> Drop for Subscription<Q> {
    fn drop(&mut self) {
        // The queue is freed after the registry is unlocked, with the field `mailbox`.
        let _unlisted = self.registry.lock().mailboxes.remove(&self.id);
    }
}

impl<Q: Queue> fmt::Debug for Fanout<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Unlocked before the user's formatter is written to.
        let (readers, closed) = {
            let registry = self.registry.lock();
            (registry.mailboxes.len(), registry.closed)
        };
        f.debug_struct("Fanout").field("readers", &readers).field("closed", &closed).finish()
    }
}

impl<Q: Queue> fmt::Debug for Subscription<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.mailbox.slot.lock().ready.is_some();
        f.debug_struct("Subscription").field("id", &self.id).field("open", &open).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use crossbeam_channel::{RecvError, RecvTimeoutError};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn read_all(reader: &Subscription<VecDeque<u32>>) -> Vec<u32> {
        std::iter::from_fn(|| reader.recv().ok()).collect()
    }

    fn send(fanout: &Fanout<VecDeque<u32>>, item: u32) {
        fanout.publish(|queue| queue.push_back(item));
    }

    #[test]
    fn each_reader_gets_every_item_in_order_after_its_own_first_ones() {
        let fanout = Fanout::new();
        let early = fanout.subscribe(VecDeque::from([1]));
        send(&fanout, 2);
        let late = fanout.subscribe(VecDeque::from([10, 11]));
        send(&fanout, 3);
        fanout.close();
        assert_eq!(read_all(&early), [1, 2, 3]);
        assert_eq!(read_all(&late), [10, 11, 3]);
    }

    #[test]
    fn a_token_is_there_exactly_while_something_is_queued() {
        let fanout = Fanout::new();
        let reader = fanout.subscribe(VecDeque::new());
        assert!(reader.receiver().is_empty());
        (0..3).for_each(|item| send(&fanout, item));
        for item in 0..3 {
            assert_eq!(reader.receiver().recv_timeout(LONG), Ok(()));
            assert_eq!(reader.try_recv(), Ok(item));
        }
        assert!(reader.receiver().is_empty());
        assert_eq!(reader.try_recv(), Err(TryRecvError::Empty));
        send(&fanout, 3);
        fanout.publish(VecDeque::clear);
        assert!(reader.receiver().is_empty(), "a queue that was emptied by the writer");
    }

    #[test]
    fn a_closed_fanout_is_drained_then_disconnected_for_old_and_new_readers() {
        let fanout = Fanout::new();
        let old = fanout.subscribe(VecDeque::from([1, 2]));
        fanout.close();
        let new = fanout.subscribe(VecDeque::from([1, 2]));
        for reader in [old, new] {
            assert_eq!((reader.try_recv(), reader.recv_timeout(LONG)), (Ok(1), Ok(2)));
            assert_eq!(reader.try_recv(), Err(TryRecvError::Disconnected));
            assert_eq!(reader.recv(), Err(RecvError));
            assert_eq!(reader.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
            assert_eq!(reader.receiver().try_recv(), Err(TryRecvError::Disconnected));
        }
    }

    #[test]
    fn dropping_the_fanout_wakes_a_reader_that_waits() {
        for limit in [LONG, Duration::MAX] {
            let fanout = Fanout::<VecDeque<u32>>::new();
            let reader = fanout.subscribe(VecDeque::new());
            let waiting = thread::Builder::new().spawn(move || reader.recv_timeout(limit)).unwrap();
            drop(fanout);
            assert_eq!(waiting.join().unwrap(), Err(RecvTimeoutError::Disconnected));
        }
    }

    #[test]
    fn a_dropped_reader_is_forgotten_at_once() {
        let fanout = Fanout::new();
        let reader = fanout.subscribe(VecDeque::new());
        let kept = Arc::downgrade(&reader.mailbox);
        assert!(!fanout.is_empty());
        drop(reader);
        assert!(fanout.is_empty() && kept.upgrade().is_none());
        send(&fanout, 1);
    }

    #[test]
    fn a_formatter_may_use_the_fanout_that_it_prints() {
        struct Reentrant<'a>(&'a Fanout<VecDeque<u32>>);
        impl fmt::Write for Reentrant<'_> {
            fn write_str(&mut self, _: &str) -> fmt::Result {
                assert!(self.0.registry.try_lock().is_some());
                Ok(())
            }
        }
        let fanout = Fanout::new();
        fmt::write(&mut Reentrant(&fanout), format_args!("{fanout:?}")).unwrap();
    }

    #[test]
    fn an_empty_mailbox_times_out() {
        let fanout = Fanout::<VecDeque<u32>>::new();
        let reader = fanout.subscribe(VecDeque::new());
        assert_eq!(reader.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
        assert_eq!(reader.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    }

    #[test]
    fn threads_that_share_a_reader_get_each_item_once() {
        const ITEMS: u32 = 10_000;
        let fanout = Fanout::new();
        let reader = fanout.subscribe(VecDeque::new());
        let mut got = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| read_all(&reader))).collect();
            (0..ITEMS).for_each(|item| send(&fanout, item));
            fanout.close();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        got.sort_unstable();
        assert!(got.into_iter().eq(0..ITEMS));
    }
}
