//! What a running node tells its program: members and events, and the outcomes that callers wait for.
//!
//! The clock thread publishes; no reader and no caller ever holds it up.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use super::directory::Directory;
use crate::{
    Stop,
    swim::{Event, JoinResult, ReachProblem},
    warn::Throttle,
};

#[derive(Debug)]
pub(super) struct Publication {
    /// The node's name, for the log.
    name: String,
    warnings: Throttle,
    pub(super) directory: Arc<Directory>,
    /// Callers of `join` by ticket; `None` once the node has ended.
    joins: Mutex<Option<HashMap<u64, Sender<JoinResult>>>>,
    seeds_tried: Sender<JoinResult>,
    /// Raised once the leave is over.
    pub(super) left: Stop,
    /// Whether no member has confirmed the leave.
    unheard: AtomicBool,
}

impl Publication {
    pub(super) fn new(name: String, directory: Arc<Directory>, seeds_tried: Sender<JoinResult>) -> Self {
        Self {
            name,
            warnings: Throttle::default(),
            directory,
            joins: Mutex::new(Some(HashMap::new())),
            seeds_tried,
            left: Stop::new(),
            unheard: AtomicBool::new(false),
        }
    }

    /// Logs an event and passes it on to its readers.
    pub(super) fn event(&self, event: &Event) {
        self.log(event);
        self.directory.publish(event);
    }

    fn log(&self, event: &Event) {
        let name = &self.name;
        match event {
            Event::ReachabilityLost { problem } => {
                self.warnings.warn(kind_of(problem), format_args!("{name}: {problem}"));
            }
            Event::ReachabilityRestored { problem } => {
                self.warnings.forget(kind_of(problem));
                log::info!("{name}: this is over: {problem}");
            }
            event => log::debug!("{name}: {event:?}"),
        }
    }

    /// The result of the join with this ticket goes to `caller`, who learns of the node's end too: by a disconnection.
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

    /// A round of contacting the seeds is over.
    pub(super) fn seeds_tried(&self, result: JoinResult) {
        // A full channel does no harm: the next round reports again.
        let _ = self.seeds_tried.try_send(result);
    }

    /// The leave is over.
    pub(super) fn leave_done(&self, heard: bool) {
        self.unheard.store(!heard, Ordering::Release);
        self.left.stop();
    }

    /// Whether a member has confirmed the leave; worth asking once `left` is raised.
    pub(super) fn was_leave_confirmed(&self) -> bool {
        !self.unheard.load(Ordering::Acquire)
    }

    /// Tells all readers and callers that the node has ended.
    pub(super) fn close(&self) {
        drop(self.joins.lock().take());
        self.directory.close();
    }
}

/// Under which name a warning of a problem repeats.
fn kind_of(problem: &ReachProblem) -> &'static str {
    match problem {
        ReachProblem::Datagrams { .. } => "datagrams",
        ReachProblem::Unreached { .. } => "unreached",
        ReachProblem::AddressGone { .. } => "address gone",
    }
}
