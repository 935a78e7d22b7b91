//! The [`swim::Node`](crate::swim::Node) that all threads of a node share: its lock, its clock, the waking of the clock
//! thread, and its end.
//!
//! Every thread but the clock thread locks the node, gives it an input, and [wakes](SharedNode::wake) the clock thread: that
//! thread alone sends datagrams and publishes events, so they go out in order and under no lock.

use std::{
    any::Any,
    net::TcpListener,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    clock::Clock,
    publication::Publication,
    sockets::{Udp, end_accept},
    wakeup::Wakeup,
};
use crate::{
    Error, Stop,
    data::Endpoint,
    error::message_of,
    log_line::{Topic, log},
    swim::{Node, Output, Time},
};

#[derive(Debug)]
pub(super) struct SharedNode {
    pub(super) name: String,
    /// Raised when the node is to end.
    pub(super) stop: Stop,
    pub(super) wakeup: Wakeup,
    pub(super) clock: Clock,
    endpoint: Mutex<Endpoint>,
    publication: Arc<Publication>,
    failure: Mutex<Option<Failure>>,
    wake_handles: Mutex<Option<WakeHandles>>,
}

/// Both sockets, to wake the threads that wait on them. They are removed at the end, so that each socket closes with its
/// thread and no handle keeps a port open.
#[derive(Debug)]
struct WakeHandles {
    udp: Arc<Udp>,
    tcp: Arc<TcpListener>,
}

/// A panic: the thread or call, and its message.
#[derive(Debug, Clone)]
struct Failure {
    what: String,
    message: String,
}

impl SharedNode {
    pub(super) fn new(
        name: String,
        publication: Arc<Publication>,
        (udp, tcp): (&Arc<Udp>, &Arc<TcpListener>),
        make: impl FnOnce(Time) -> Endpoint,
    ) -> Self {
        let clock = Clock::start();
        let endpoint = Mutex::new(make(clock.now()));
        Self {
            name,
            stop: Stop::new(),
            wakeup: Wakeup::default(),
            clock,
            endpoint,
            publication,
            failure: Mutex::default(),
            wake_handles: Mutex::new(Some(WakeHandles { udp: Arc::clone(udp), tcp: Arc::clone(tcp) })),
        }
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Runs `act` on the locked endpoint, with inputs, timers and outputs. Nothing in it may block; call
    /// [`wake`](Self::wake) afterwards.
    pub(super) fn drive<R>(&self, act: impl FnOnce(&mut Endpoint, Time) -> R) -> R {
        let mut endpoint = self.endpoint.lock();
        let result = act(&mut endpoint, self.clock.now());
        endpoint.hand_out();
        result
    }

    /// As [`drive`](Self::drive), for getters and commands of the node of the membership protocol alone.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Node, Time) -> R) -> R {
        self.drive(|endpoint, now| act(&mut endpoint.node, now))
    }

    /// As [`with`](Self::with), for a caller's thread: a panic in the core ends the node, then goes on to the caller.
    pub(super) fn command<R>(&self, act: impl FnOnce(&mut Node, Time) -> R) -> R {
        self.call(|endpoint, now| act(&mut endpoint.node, now))
    }

    /// As [`drive`](Self::drive), for a caller's thread, with the same effect of a panic as in
    /// [`command`](Self::command).
    pub(super) fn call<R>(&self, act: impl FnOnce(&mut Endpoint, Time) -> R) -> R {
        catch_unwind(AssertUnwindSafe(|| self.drive(act))).unwrap_or_else(|panic| {
            self.fail("caller", &*panic);
            resume_unwind(panic)
        })
    }

    /// Publishes the node's own *joined* before anybody can subscribe or ask, so that it is the first event.
    pub(super) fn list_itself(&self) {
        // The node may have taken a later epoch already. It has no other output before the first input.
        while let Some(Output::Event(event)) = self.drive(|endpoint, _| endpoint.poll_output()) {
            self.publication.directory.publish(&event);
        }
    }

    /// Makes the clock thread look at the node: there may be something to send, or an earlier deadline.
    pub(super) fn wake(&self) {
        if !self.wakeup.ask() {
            return;
        }
        let udp = self.wake_handles.lock().as_ref().map(|handles| Arc::clone(&handles.udp));
        if let Some(Err(error)) = udp.map(|udp| udp.wake()) {
            self.wakeup.not_sent();
            log(Topic::WakeFailed, &[("error", &error), ("node", &self.name)]);
        }
    }

    /// Runs a thread's work; a panic ends the whole node.
    pub(super) fn guarded(&self, what: &str, work: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            self.fail(what, &*panic);
        }
    }

    fn fail(&self, what: &str, panic: &(dyn Any + Send)) {
        let failure = Failure { what: format!("{what} of node {}", self.name), message: message_of(panic) };
        let first = self.failure.lock().get_or_insert(failure).clone();
        self.shut();
        // Last of all, since the logger may be the code that panics.
        log(Topic::NodePanicked, &[("thread", &first.what), ("panic", &first.message), ("node", &self.name)]);
    }

    /// The error that ended the node, unless it was asked to end.
    pub(super) fn failure(&self) -> Option<Error> {
        let failure = self.failure.lock().clone();
        failure.map(|Failure { what, message }| Error::Panicked { what, message })
    }

    /// The error of a call to a node that has ended.
    pub(super) fn ended(&self) -> Error {
        self.failure().unwrap_or(Error::Stopped)
    }

    /// Ends every thread and wakes all waiting callers.
    pub(super) fn shut(&self) {
        self.stop.stop();
        let handles = self.wake_handles.lock().take();
        if let Some(WakeHandles { udp, tcp }) = handles {
            udp.end_wait();
            end_accept(&tcp, &udp);
        }
        self.publication.close();
        self.endpoint.lock().close();
    }

    /// Calls `look` on the node if it is not locked now.
    #[cfg(test)]
    pub(super) fn try_with<R>(&self, look: impl FnOnce(&Node) -> R) -> Option<R> {
        self.endpoint.try_lock().map(|endpoint| look(&endpoint.node))
    }

    /// The listener, unless the node is shut.
    #[cfg(test)]
    pub(super) fn listener(&self) -> Option<Arc<TcpListener>> {
        self.wake_handles.lock().as_ref().map(|handles| Arc::clone(&handles.tcp))
    }
}
