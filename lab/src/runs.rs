//! Independent runs on all processors, in an order that does not matter to their results.

use std::{
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::progress::Progress;

/// Runs each job and returns the results in the jobs' order. Shows the progress meanwhile.
pub fn map<J: Sync, R: Send>(what: &str, jobs: &[J], run: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let progress = Progress::new(what, jobs.len() as u64);
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let at = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(job) = jobs.get(at)
                {
                    *results[at].lock().expect("no run panics with it") = Some(run(job));
                    progress.step();
                }
            });
        }
    });
    drop(progress);
    let done = results.into_iter().map(|result| result.into_inner().expect("no run panics with it"));
    done.map(|result| result.expect("every job was run")).collect()
}
