//! Keeps the state file of a node, on a thread of its own, `…-state`: no other thread waits for the disk.
//!
//! The thread follows the node's events as any reader does, and is notified when readers received broadcasts, so the
//! node never waits for it. Records are written in batches. A failure is counted, logged once, and retried by writing
//! the whole file again; the node goes on without the file.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Weak},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, bounded, never, select};
use parking_lot::Mutex;

use super::{
    clock::wall_millis,
    config::GossipConfig,
    counters::Counters,
    directory::{Directory, Members},
    events::Events,
    shared_node::SharedNode,
};
use crate::{
    Error, Stop,
    blocking::now,
    data::Endpoint,
    error::message_of,
    log_line::{Field, Topic, log},
    state_file::{Disk, Files, Found, StateFile},
    swim::{EarlierLife, Event},
};

/// Records that are written together.
const BATCH: usize = 64;
/// How long the first record of a batch waits for others.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the thread checks that the file exists, and how long after a failure it tries again.
const LOOK: Duration = Duration::from_secs(30);
/// How long the end of a node waits for the disk.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// The state file of a node, if it has one.
#[derive(Debug)]
pub(super) struct StateKeeper {
    found: Option<Found>,
    /// `Some` until the thread begins.
    work: Mutex<Option<Work<Disk>>>,
    running: Mutex<Option<Keeping>>,
}

#[derive(Debug)]
struct Keeping {
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
    thread: JoinHandle<()>,
    abandoned: Stop,
}

impl StateKeeper {
    /// Reads the file of a node that starts.
    pub(super) fn read(config: &GossipConfig, counters: &Arc<Counters>) -> Result<Self, Error> {
        let Some(path) = &config.state_file else {
            return Ok(Self { found: None, work: Mutex::default(), running: Mutex::default() });
        };
        let swim = &config.swim;
        let names = (&*swim.cluster, &*swim.name);
        let read =
            StateFile::read(Disk::new(path.clone()), names, swim.max_reconnects, config.rejoin_after_leave);
        let (file, found) = read.map_err(|source| Error::StateFile { path: path.clone(), source })?;
        tell_found(&swim.name, path, &found);
        let work = Work {
            node: swim.name.clone(),
            counters: Arc::clone(counters),
            path: path.clone(),
            file,
            look: LOOK,
            forget_unseen: swim.reap_failed_after,
            failed: false,
        };
        Ok(Self { found: Some(found), work: Mutex::new(Some(work)), running: Mutex::default() })
    }

    /// The node's earlier life, as the file has it.
    pub(super) fn past(&self) -> Option<&EarlierLife> {
        self.found.as_ref().map(|found| &found.past)
    }

    /// Begins to write changes from now on, in a node that lists itself.
    pub(super) fn start(&self, node: &Arc<SharedNode>, directory: &Arc<Directory>) -> Result<(), Error> {
        let Some(work) = self.work.lock().take() else { return Ok(()) };
        let (keeper, changed) = bounded(1);
        node.drive(|endpoint, _| {
            let heads = self.found.iter().flat_map(|found| found.heads.iter());
            endpoint.broadcasts.restore(heads);
            endpoint.broadcasts.keep(keeper);
        });
        let followed = Followed { directory: Arc::clone(directory), node: Arc::downgrade(node), changed };
        *self.running.lock() = Some(work.spawn(followed)?);
        Ok(())
    }

    /// The node and its events have ended: waits until the thread has written the rest, but with a limit.
    pub(super) fn finish(&self) {
        let keeping = self.running.lock().take();
        keeping.into_iter().for_each(Keeping::finish);
    }
}

impl Keeping {
    /// Waits for the thread. If the disk hangs, the thread ends after its present call, and does not touch the file again.
    fn finish(self) {
        if self.ended.recv_timeout(LAST_WAIT) == Err(RecvTimeoutError::Disconnected) {
            // A panic of the thread, if any, was caught and logged.
            let _ = self.thread.join();
        } else {
            self.abandoned.stop();
        }
    }
}

fn tell_found(node: &str, path: &std::path::Path, found: &Found) {
    let (path, members) = (path.display(), found.past.members.len());
    let Found { left, damaged, .. } = found;
    let fields: [Field<'_>; 5] =
        [("path", &path), ("members", &members), ("left", left), ("damaged", damaged), ("node", &node)];
    log(Topic::StateFileRead, &fields);
}

/// The state of the thread.
#[derive(Debug)]
struct Work<F: Files> {
    node: String,
    counters: Arc<Counters>,
    path: PathBuf,
    file: StateFile<F>,
    /// How often it checks that the file exists, and how long after a failure it tries again.
    look: Duration,
    /// The time after which members of an earlier life that were not seen again are no longer remembered.
    forget_unseen: Duration,
    /// Whether the last attempt to write failed.
    failed: bool,
}

/// The node that the thread follows.
#[derive(Debug)]
struct Followed {
    directory: Arc<Directory>,
    node: Weak<SharedNode>,
    /// Signals that the node's readers received broadcasts.
    changed: Receiver<()>,
}

/// The next thing to do.
enum Next {
    TakeEvent,
    Wait,
    Write,
}

/// When the next work is due.
#[derive(Debug)]
struct Due {
    /// When the file was last written or checked.
    looked: Instant,
    /// When the first waiting record arrived.
    waits: Option<Instant>,
    forget_unseen: Option<Instant>,
}

impl Due {
    fn next(&self, look: Duration, failed: bool) -> Instant {
        let look = self.looked + look;
        let batch = self.waits.filter(|_| !failed).map(|since| since + PATIENCE);
        [batch, self.forget_unseen].into_iter().flatten().fold(look, Instant::min)
    }
}

impl<F: Files<File: Send> + Send + 'static> Work<F> {
    fn spawn(self, followed: Followed) -> Result<Keeping, Error> {
        let (running, ended) = bounded::<()>(0);
        let abandoned = self.file.abandoned();
        let name = format!("{}-state", self.node);
        let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let _running = running;
            self.run(&followed);
        });
        let thread = thread.map_err(|source| Error::Spawn { what: format!("thread {name}"), source })?;
        Ok(Keeping { ended, thread, abandoned })
    }
}

/// Waits for the next thing to do, for `wait` at most.
fn wait_for(events: &Events, changed: &mut Receiver<()>, wait: Duration) -> Next {
    select! {
        recv(events.receiver()) -> _ => Next::TakeEvent,
        recv(changed) -> told => {
            if told.is_err() {
                // The node is gone; its last events are still to come.
                *changed = never();
            }
            Next::Wait
        }
        default(wait) => Next::Write,
    }
}

impl<F: Files> Work<F> {
    /// Writes until the node ends. A panic ends this thread, but not the node.
    fn run(mut self, followed: &Followed) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.keep(followed))) {
            self.tell_failure(&io::Error::other(message_of(&*panic)));
        }
    }

    fn keep(&mut self, followed: &Followed) {
        let mut events = self.follow(followed);
        let began = now();
        let mut due =
            Due { looked: began, waits: None, forget_unseen: began.checked_add(self.forget_unseen) };
        let mut changed = followed.changed.clone();
        self.write(followed, StateFile::write);
        loop {
            let wait = due.next(self.look, self.failed).saturating_duration_since(now());
            // Events that keep arriving do not delay work that is due.
            let next = if wait.is_zero() { Next::Write } else { wait_for(&events, &mut changed, wait) };
            match next {
                Next::TakeEvent => match events.try_recv() {
                    Ok(Event::Lagged { .. }) => events = self.follow(followed),
                    Ok(event) => self.file.note(&event, wall_millis()),
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => break,
                },
                Next::Wait => _ = due.waits.get_or_insert_with(now),
                Next::Write => {
                    let now = now();
                    if due.forget_unseen.take_if(|at| *at <= now).is_some() {
                        let unseen = self.file.forget_unseen();
                        if let Some(node) = followed.node.upgrade() {
                            node.drive(|Endpoint { node, broadcasts, .. }, _| {
                                broadcasts.forget_unlisted(node, unseen)
                            });
                        }
                    }
                    self.write(followed, StateFile::write);
                    (due.looked, due.waits) = (now, None);
                }
            }
            if self.file.waiting() >= BATCH {
                self.write(followed, StateFile::write);
                (due.looked, due.waits) = (now(), None);
            } else if self.file.waiting() > 0 {
                due.waits.get_or_insert_with(now);
            }
        }
        self.write(followed, StateFile::finish);
    }

    /// The members now, and a subscription to the events from now on.
    fn follow(&mut self, followed: &Followed) -> Events {
        let (members, events): (Members, Events) = followed.directory.follow();
        self.file.note_all(&members, wall_millis());
        events
    }

    fn write(&mut self, followed: &Followed, write: impl FnOnce(&mut StateFile<F>) -> io::Result<()>) {
        if let Some(node) = followed.node.upgrade() {
            node.drive(|endpoint, _| endpoint.broadcasts.take_changed(|head| self.file.note_head(head)));
        }
        match write(&mut self.file) {
            Err(error) => self.tell_failure(&error),
            Ok(()) if std::mem::take(&mut self.failed) => {
                log(Topic::StateFileRestored, &[("path", &self.path.display()), ("node", &self.node)]);
            }
            Ok(()) => {}
        }
    }

    /// Counts each failure, and logs the first.
    fn tell_failure(&mut self, error: &io::Error) {
        self.counters.count(|counted| counted.state_file_errors += 1);
        if !std::mem::replace(&mut self.failed, true) {
            let fields: [Field<'_>; 3] =
                [("path", &self.path.display()), ("error", error), ("node", &self.node)];
            log(Topic::StateFileFailed, &fields);
        }
    }
}

#[cfg(test)]
#[path = "state_keeper_tests.rs"]
mod tests;
