//! The stream of events: each reader has a bounded log. One that is full is emptied, and says so: whoever then reads the
//! members anew must not be told of their past afterwards.

use std::{collections::VecDeque, time::Duration};

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, TryRecvError};

use crate::{
    fanout::{Queue, Subscription},
    swim::Event,
};

/// Events a reader may be behind before it loses them.
const MAX_UNREAD: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct EventLog {
    unread: VecDeque<Event>,
    lost: u64,
}

impl EventLog {
    pub(super) fn push(&mut self, event: Event) {
        if self.unread.len() >= MAX_UNREAD {
            self.lost += self.unread.len() as u64;
            self.unread.clear();
        }
        self.unread.push_back(event);
    }
}

impl Queue for EventLog {
    type Item = Event;

    fn pop(&mut self) -> Option<Event> {
        match std::mem::take(&mut self.lost) {
            0 => self.unread.pop_front(),
            lost => Some(Event::Lost(lost)),
        }
    }

    fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }
}

/// A subscription to a node's events. Dropping it cancels it.
///
/// A reader that falls more than 4,096 events behind loses these and gets [`Event::Lost`] in their place;
/// [`Gossip::members`](super::Gossip::members) then shows the present. It never slows the node.
#[derive(Debug)]
#[must_use = "dropping it cancels the subscription"]
pub struct Events(pub(super) Subscription<EventLog>);

impl Events {
    /// Waits for the next event.
    ///
    /// # Errors
    /// When the node has ended and everything was read.
    pub fn recv(&self) -> Result<Event, RecvError> {
        self.0.recv()
    }

    /// Waits for the next event, at most this long.
    ///
    /// # Errors
    /// After that time, or when the node has ended and everything was read.
    pub fn recv_timeout(&self, limit: Duration) -> Result<Event, RecvTimeoutError> {
        self.0.recv_timeout(limit)
    }

    /// Takes the next event if there is one.
    ///
    /// # Errors
    /// When there is none, or the node has ended and everything was read.
    pub fn try_recv(&self) -> Result<Event, TryRecvError> {
        self.0.try_recv()
    }

    /// Waits for each event until the node ends.
    pub fn iter(&self) -> impl Iterator<Item = Event> {
        self.0.iter()
    }

    /// For `select!`: ready while an event waits; then call [`try_recv`](Self::try_recv) once. After a
    /// disconnection, read on until `try_recv` says so too.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<()> {
        self.0.receiver()
    }
}
