//! The reports of a running node to its program: members, events, and the results that callers wait for.
//!
//! The clock thread publishes; no reader and no caller ever delays it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use super::{
    directory::Directory,
    entries::{Entries, Unread},
};
use crate::{
    Stop,
    collections::fanout::{Fanout, Subscription},
    swim::JoinResult,
};

#[derive(Debug)]
pub(super) struct Publication {
    pub(super) directory: Arc<Directory>,
    entries: Fanout<Unread>,
    /// Callers of `join` by ticket; `None` once the node has ended.
    joins: Mutex<Option<HashMap<u64, Sender<JoinResult>>>>,
    seeds_tried: Sender<JoinResult>,
    /// Raised once the leave is over.
    pub(super) left: Stop,
    /// Whether no member has confirmed the leave.
    unconfirmed: AtomicBool,
}

impl Publication {
    pub(super) fn new(directory: Arc<Directory>, seeds_tried: Sender<JoinResult>) -> Self {
        Self {
            directory,
            entries: Fanout::new(),
            joins: Mutex::new(Some(HashMap::new())),
            seeds_tried,
            left: Stop::new(),
            unconfirmed: AtomicBool::new(false),
        }
    }

    /// Subscribes to changes of the key–values after these.
    pub(super) fn follow_entries(&self, entries: Entries) -> Subscription<Unread> {
        self.entries.subscribe(Unread::new(entries))
    }

    /// Tells the watches that key–values have changed.
    pub(super) fn entries_changed(&self, entries: &Entries) {
        self.entries.publish(|unread| unread.push(entries));
    }

    /// Registers `caller` for the result of the join with this ticket. At the node's end the channel is disconnected.
    pub(super) fn expect_join(&self, ticket: u64, caller: Sender<JoinResult>) {
        if let Some(joins) = &mut *self.joins.lock() {
            joins.insert(ticket, caller);
        }
    }

    pub(super) fn join_done(&self, ticket: u64, result: JoinResult) {
        let caller = self.joins.lock().as_mut().and_then(|joins| joins.remove(&ticket));
        if let Some(caller) = caller {
            let _ = caller.try_send(result);
        }
    }

    /// Reports the end of a round of contacting the seeds.
    pub(super) fn seeds_tried(&self, result: JoinResult) {
        // A full channel does no harm: the next round reports again.
        let _ = self.seeds_tried.try_send(result);
    }

    /// Reports the end of the leave.
    pub(super) fn leave_done(&self, confirmed: bool) {
        self.unconfirmed.store(!confirmed, Ordering::Release);
        self.left.stop();
    }

    /// Whether a member has confirmed the leave; meaningful once `left` is raised.
    pub(super) fn was_leave_confirmed(&self) -> bool {
        !self.unconfirmed.load(Ordering::Acquire)
    }

    /// Tells all readers and callers that the node has ended.
    pub(super) fn close(&self) {
        drop(self.joins.lock().take());
        self.directory.close();
        self.entries.close();
    }
}
