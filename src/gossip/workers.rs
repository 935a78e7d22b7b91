//! A small bounded set of threads for what may block: streams and name look-ups.
//!
//! Threads are made when there is work and go when there is none, so an idle node has none of them.

use std::{
    collections::VecDeque,
    io, mem,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

type Job = Box<dyn FnOnce() + Send>;
/// On whose account a job runs; `None` for our own.
type Account = Option<IpAddr>;

/// How long a thread waits for more work.
const LINGER: Duration = Duration::from_secs(2);
/// Jobs that may wait for a thread; more are refused.
const MAX_WAITING: usize = 64;
/// Of these, those of one address, so that others find a place; and the same of the threads.
const MAX_WAITING_OF_ONE: usize = MAX_WAITING * 3 / 4;

#[derive(Debug, Clone)]
pub(super) struct Workers {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    name: String,
    most: usize,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Account, Job)>,
    /// The accounts of the jobs that run.
    running: Vec<IpAddr>,
    /// Threads that will look for work again, and those of them that wait for it now.
    live: usize,
    idle: usize,
    threads: Vec<JoinHandle<()>>,
    closed: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("waiting", &self.waiting.len())
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

impl Workers {
    pub(super) fn new(name: String, most: usize) -> Self {
        let (state, work) = (Mutex::new(State::default()), Condvar::new());
        Self { pool: Arc::new(Pool { name, most, state, work }) }
    }

    /// Hands over a job; says false if there are too many, or no thread can be made for it.
    pub(super) fn submit(&self, account: Account, job: impl FnOnce() + Send + 'static) -> bool {
        let mut state = self.pool.state.lock();
        let of_one = state.waiting.iter().filter(|(of, _)| account.is_some() && *of == account).count();
        if state.closed || state.waiting.len() >= MAX_WAITING || of_one >= MAX_WAITING_OF_ONE {
            return false;
        }
        state.threads.retain(|thread| !thread.is_finished());
        if state.idle <= state.waiting.len() && state.live < self.pool.most {
            match self.pool.spawn() {
                Ok(thread) => {
                    state.live += 1;
                    state.threads.push(thread);
                }
                Err(error) if state.live == 0 => {
                    drop(state);
                    log::warn!("{}: no thread for a stream: {error}", self.pool.name);
                    return false;
                }
                Err(_) => {}
            }
        }
        state.waiting.push_back((account, Box::new(job)));
        self.pool.work.notify_one();
        true
    }

    /// Whether jobs wait for a thread.
    pub(super) fn is_pressed(&self) -> bool {
        !self.pool.state.lock().waiting.is_empty()
    }

    /// Drops what waits and joins every thread; jobs that run must end by themselves soon.
    pub(super) fn close(&self) {
        let mut state = self.pool.state.lock();
        state.closed = true;
        let (dropped, threads) = (mem::take(&mut state.waiting), mem::take(&mut state.threads));
        drop(state);
        self.pool.work.notify_all();
        drop(dropped);
        for thread in threads {
            // A job reports its own panic; there is nothing left to hear.
            let _ = thread.join();
        }
    }
}

impl State {
    /// The job that waits longest, of an address that does not hold most of the threads already.
    fn next(&mut self, most: usize) -> Option<(Account, Job)> {
        let has_enough = |ip: IpAddr| self.running.iter().filter(|of| **of == ip).count() >= most * 3 / 4;
        let at = self.waiting.iter().position(|(account, _)| !account.is_some_and(has_enough))?;
        self.waiting.remove(at)
    }
}

impl Pool {
    fn spawn(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let pool = Arc::clone(self);
        std::thread::Builder::new().name(self.name.clone()).spawn(move || pool.work())
    }

    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some((account, job)) = state.next(self.most) {
                state.running.extend(account);
                drop(state);
                // Whoever submitted it learns of a panic; the thread goes on.
                let _ = catch_unwind(AssertUnwindSafe(job));
                state = self.state.lock();
                if let Some(at) = state.running.iter().position(|of| Some(*of) == account) {
                    state.running.swap_remove(at);
                }
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let tired = self.work.wait_for(&mut state, LINGER).timed_out();
            state.idle -= 1;
            if tired && state.waiting.is_empty() {
                break;
            }
        }
        state.live -= 1;
    }
}
