//! A small bounded set of threads for work that may block: streams and name look-ups.
//!
//! Threads start when there are jobs and end when there are none, so an idle node has none. The [`queue`](super::queue)
//! decides which job runs next.

use std::{
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::queue::{Account, Limits, Place, Queue};
use crate::{
    blocking::now,
    log_line::{Topic, log},
};

/// A job is called once: with its place, or without one if it gets none, on the thread that notices that.
type Job = Box<dyn FnOnce(Option<&Place>) + Send>;

/// How long a thread waits for more work.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub(super) struct Workers {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    name: String,
    state: Mutex<State>,
    /// Signals that a job was queued, or the pool closed.
    work: Condvar,
    /// Signals that a thread was started, or could not be.
    spawned: Condvar,
}

struct State {
    queue: Queue<Job>,
    /// Threads that take jobs, those of them that wait for one now, and those that are being started.
    live: usize,
    idle: usize,
    spawning: usize,
    threads: Vec<JoinHandle<()>>,
    closed: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("waiting", &self.queue.waiting())
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

impl Workers {
    pub(super) fn new(name: String, limits: Limits) -> Self {
        let state = State {
            queue: Queue::new(limits),
            live: 0,
            idle: 0,
            spawning: 0,
            threads: Vec::new(),
            closed: false,
        };
        Self {
            pool: Arc::new(Pool {
                name,
                state: Mutex::new(state),
                work: Condvar::new(),
                spawned: Condvar::new(),
            }),
        }
    }

    /// Queues a job, which expires after `patience`. A job that expires, is displaced, or for which no thread can be started
    /// is called without a place. A closed pool drops it.
    pub(super) fn submit(
        &self,
        account: Account,
        patience: Duration,
        job: impl FnOnce(Option<&Place>) + Send + 'static,
    ) {
        let now = now();
        let mut state = self.pool.state.lock();
        if state.closed {
            return;
        }
        let mut without_place = state.queue.take_late(now);
        without_place.extend(state.queue.push(account, now.checked_add(patience), Box::new(job)));
        let spawns = state.idle < state.queue.waiting() && state.live < state.queue.limits().threads;
        if spawns {
            state.live += 1;
            state.spawning += 1;
        }
        drop(state);
        self.pool.work.notify_one();
        if spawns {
            without_place.extend(self.pool.spawn());
        }
        without_place.into_iter().for_each(|job| job(None));
    }

    /// Whether jobs wait for a thread.
    pub(super) fn is_pressed(&self) -> bool {
        self.waiting() > 0
    }

    /// How many jobs wait for a thread.
    pub(super) fn waiting(&self) -> usize {
        self.pool.state.lock().queue.waiting()
    }

    /// Drops waiting jobs, and waits for every thread to end; running jobs must end by themselves soon.
    pub(super) fn close(&self) {
        let mut state = self.pool.state.lock();
        state.closed = true;
        self.pool.work.notify_all();
        while state.spawning > 0 {
            self.pool.spawned.wait(&mut state);
        }
        let (dropped, threads) = (state.queue.take_waiting(), mem::take(&mut state.threads));
        drop(state);
        drop(dropped);
        for thread in threads {
            // A job reports its own panic.
            let _ = thread.join();
        }
    }
}

impl Pool {
    /// Starts a thread that is already counted. If that fails and there is no other, returns all waiting jobs, since no
    /// thread would run them.
    fn spawn(self: &Arc<Self>) -> Vec<Job> {
        self.enlist(self.new_thread())
    }

    fn enlist(&self, thread: io::Result<JoinHandle<()>>) -> Vec<Job> {
        let mut state = self.state.lock();
        state.spawning -= 1;
        self.spawned.notify_all();
        match thread {
            Ok(thread) => {
                state.threads.retain(|thread| !thread.is_finished());
                state.threads.push(thread);
                Vec::new()
            }
            Err(error) => {
                state.live -= 1;
                let without_place = if state.live == 0 { state.queue.take_waiting() } else { Vec::new() };
                drop(state);
                log(Topic::ThreadRefused, &[("thread", &self.name), ("error", &error)]);
                without_place
            }
        }
    }

    fn new_thread(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let pool = Arc::clone(self);
        std::thread::Builder::new().name(self.name.clone()).spawn(move || pool.work())
    }

    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            let late = state.queue.take_late(now());
            if !late.is_empty() {
                MutexGuard::unlocked(&mut state, || late.into_iter().for_each(|job| run(job, None)));
                continue;
            }
            if state.closed {
                break;
            }
            if let Some((place, job)) = state.queue.next() {
                MutexGuard::unlocked(&mut state, || run(job, Some(&place)));
                state.queue.end(&place);
                continue;
            }
            state.idle += 1;
            let tired = self.work.wait_for(&mut state, LINGER).timed_out();
            state.idle -= 1;
            if tired && state.queue.waiting() == 0 {
                break;
            }
        }
        state.live -= 1;
    }
}

/// Runs a job, which reports its own panic; the thread goes on.
fn run(job: Job, place: Option<&Place>) {
    let _ = catch_unwind(AssertUnwindSafe(|| job(place)));
}

#[cfg(test)]
#[path = "workers_tests.rs"]
mod tests;
