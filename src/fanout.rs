//! The fan-out that never blocks a writer: one mailbox per reader, and a token that says it is not empty.
//!
//! The writer appends to each mailbox under that mailbox's own short lock and leaves a token in a channel of
//! one place; what a mailbox does with a backlog is its [`Queue`]'s business. The token makes it usable in
//! `select!`. While something is queued there is a token: a reader that takes an item and leaves more behind
//! puts one back.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, Sender, TryRecvError, bounded};
use parking_lot::Mutex;

/// What a reader has not read yet.
pub(crate) trait Queue {
    /// What readers get.
    type Item;
    /// Something taken out under the lock and made into an item outside of it.
    type Taken: Into<Self::Item>;

    /// Takes the oldest.
    fn take(&mut self) -> Option<Self::Taken>;
    /// Whether nothing is left.
    fn is_empty(&self) -> bool;
}

#[derive(Debug)]
struct Mailbox<Q> {
    queue: Q,
    /// Gone once the writer has closed: readers drain what is queued, then see the disconnection.
    token: Option<Sender<()>>,
}

impl<Q: Queue> Mailbox<Q> {
    fn signal(&self) {
        if let Some(token) = self.token.as_ref().filter(|_| !self.queue.is_empty()) {
            // A full channel means that the token is there already.
            let _ = token.try_send(());
        }
    }
}

type Shared<Q> = Arc<Mutex<Mailbox<Q>>>;

#[derive(Debug)]
struct Readers<Q> {
    mailboxes: Vec<Shared<Q>>,
    closed: bool,
}

/// The writer's end.
#[derive(Debug)]
pub(crate) struct Fanout<Q> {
    readers: Arc<Mutex<Readers<Q>>>,
}

impl<Q: Queue> Fanout<Q> {
    pub(crate) fn new() -> Self {
        Self { readers: Arc::new(Mutex::new(Readers { mailboxes: Vec::new(), closed: false })) }
    }

    /// Adds a reader, who finds `queue` as it is, then whatever is published.
    pub(crate) fn subscribe(&self, queue: Q) -> Subscription<Q> {
        let (token, ready) = bounded(1);
        let mut readers = self.readers.lock();
        let mailbox = Mailbox { queue, token: Some(token) };
        mailbox.signal();
        let mailbox = Arc::new(Mutex::new(mailbox));
        if readers.closed {
            mailbox.lock().token = None;
        } else {
            readers.mailboxes.push(Arc::clone(&mailbox));
        }
        Subscription { mailbox, ready, readers: Arc::downgrade(&self.readers) }
    }

    /// Lets `append` add to every reader's queue. It must be short: readers wait for it.
    pub(crate) fn publish(&self, mut append: impl FnMut(&mut Q)) {
        for mailbox in &self.readers.lock().mailboxes {
            let mut mailbox = mailbox.lock();
            append(&mut mailbox.queue);
            mailbox.signal();
        }
    }

    /// Ends every subscription, present and future, once its queue is drained.
    pub(crate) fn close(&self) {
        let mut readers = self.readers.lock();
        readers.closed = true;
        readers.mailboxes.drain(..).for_each(|mailbox| mailbox.lock().token = None);
    }

    /// Whether nobody listens.
    pub(crate) fn is_empty(&self) -> bool {
        self.readers.lock().mailboxes.is_empty()
    }
}

impl<Q> Drop for Fanout<Q> {
    fn drop(&mut self) {
        self.readers.lock().mailboxes.drain(..).for_each(|mailbox| mailbox.lock().token = None);
    }
}

/// The reader's end. Dropping it cancels the subscription.
#[derive(Debug)]
pub(crate) struct Subscription<Q> {
    mailbox: Shared<Q>,
    ready: Receiver<()>,
    readers: Weak<Mutex<Readers<Q>>>,
}

impl<Q: Queue> Subscription<Q> {
    pub(crate) fn try_recv(&self) -> Result<Q::Item, TryRecvError> {
        let mut mailbox = self.mailbox.lock();
        let taken = mailbox.queue.take();
        mailbox.signal();
        let closed = mailbox.token.is_none();
        drop(mailbox);
        match taken {
            Some(taken) => Ok(taken.into()),
            None if closed => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    pub(crate) fn recv(&self) -> Result<Q::Item, RecvError> {
        loop {
            match self.try_recv() {
                Ok(item) => return Ok(item),
                Err(TryRecvError::Disconnected) => return Err(RecvError),
                // Disconnected or not, the next look tells.
                Err(TryRecvError::Empty) => drop(self.ready.recv()),
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a reader waits in real time")]
    pub(crate) fn recv_timeout(&self, limit: Duration) -> Result<Q::Item, RecvTimeoutError> {
        let Some(deadline) = Instant::now().checked_add(limit) else {
            return self.recv().map_err(|RecvError| RecvTimeoutError::Disconnected);
        };
        loop {
            match self.try_recv() {
                Ok(item) => return Ok(item),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {
                    if self.ready.recv_deadline(deadline) == Err(RecvTimeoutError::Timeout) {
                        return Err(RecvTimeoutError::Timeout);
                    }
                }
            }
        }
    }

    pub(crate) fn receiver(&self) -> &Receiver<()> {
        &self.ready
    }
}

impl<Q> Drop for Subscription<Q> {
    fn drop(&mut self) {
        if let Some(readers) = self.readers.upgrade() {
            readers.lock().mailboxes.retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
        }
    }
}
