//! The threads of a pool. The tests wait for one another's steps, never for time to pass.

use std::{
    net::IpAddr,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use super::{super::queue::account_of, *};

const LIMITS: Limits = Limits { threads: 4, waiting: 6, recalls: true };
/// Long enough for any machine.
const LONG: Duration = Duration::from_secs(60);

/// A pool, and what its jobs report: a name, and whether they had a place.
struct Bench {
    workers: Workers,
    report: Sender<(u8, bool)>,
    reports: Receiver<(u8, bool)>,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let (report, reports) = channel();
        Self { workers: Workers::new("bench".into(), limits), report, reports }
    }

    /// Jobs are named after their account, which is their tens. This one keeps its place until it is recalled, or the
    /// returned sender is dropped.
    fn hold(&self, job: u8, patience: Duration) -> Sender<()> {
        let (held, released) = channel::<()>();
        let report = self.report.clone();
        self.workers.submit(account(job), patience, move |place| {
            report.send((job, place.is_some())).unwrap();
            let Some(place) = place else { return };
            while !place.is_recalled() {
                let pause = released.recv_timeout(Duration::from_millis(1));
                if pause == Err(std::sync::mpsc::RecvTimeoutError::Disconnected) {
                    break;
                }
            }
        });
        held
    }

    fn hold_all(&self, jobs: impl IntoIterator<Item = u8>) -> Vec<Sender<()>> {
        jobs.into_iter().map(|job| self.hold(job, LONG)).collect()
    }

    fn report(&self) -> (u8, bool) {
        self.reports.recv_timeout(LONG).expect("a job is called")
    }

    fn reports(&self, n: usize) -> Vec<(u8, bool)> {
        let mut reports: Vec<_> = (0..n).map(|_| self.report()).collect();
        reports.sort_unstable();
        reports
    }

    fn is_silent(&self) -> bool {
        self.reports.try_recv().is_err()
    }
}

fn account(job: u8) -> Account {
    account_of(IpAddr::from([10, 0, 0, job / 10]))
}

#[test]
fn one_address_has_all_threads_until_another_comes() {
    let bench = Bench::new(LIMITS);
    let held = bench.hold_all([10, 11, 12, 13]);
    assert_eq!(bench.reports(4), [(10, true), (11, true), (12, true), (13, true)]);
    let more = bench.hold_all([14, 15]);
    assert!(bench.is_silent(), "they wait");
    let other = bench.hold(20, LONG);
    assert_eq!(bench.report(), (20, true), "before those that came first");
    bench.workers.close_released((held, more, other));
}

#[test]
fn two_addresses_that_hold_all_threads_and_places_do_not_shut_out_others() {
    let bench = Bench::new(LIMITS);
    let held = bench.hold_all([10, 11, 20, 21]);
    assert_eq!(bench.reports(4), [(10, true), (11, true), (20, true), (21, true)]);
    let waiting = bench.hold_all([12, 13, 14, 22, 23, 24]);
    assert!(bench.is_silent(), "the threads and the places to wait are all taken");
    let refused = bench.hold(25, LONG);
    assert_eq!(bench.report(), (25, false), "by them");
    let third = bench.hold(30, LONG);
    assert_eq!(bench.reports(2), [(24, false), (30, true)], "one waits no longer, one gives its thread back");
    let fourth = bench.hold(40, LONG);
    assert_eq!(bench.report(), (40, true));
    bench.workers.close_released((held, waiting, refused, third, fourth));
}

#[test]
fn a_job_that_finds_no_place_is_told_so_by_the_thread_that_brought_it() {
    let bench = Bench::new(Limits { threads: 1, waiting: 1, recalls: false });
    let held = bench.hold(10, LONG);
    assert_eq!(bench.report(), (10, true));
    let waiting = bench.hold(20, LONG);
    let (told, by) = channel();
    bench.workers.submit(account(30), LONG, move |place| {
        assert!(place.is_none());
        told.send(thread::current().id()).unwrap();
    });
    assert_eq!(by.recv_timeout(LONG), Ok(thread::current().id()));
    drop(held);
    assert_eq!(bench.report(), (20, true), "and what waited is not harmed");
    bench.workers.close_released(waiting);
}

#[test]
fn a_job_that_could_not_begin_in_time_never_begins() {
    let bench = Bench::new(Limits { threads: 1, waiting: 4, recalls: false });
    let held = bench.hold(10, LONG);
    assert_eq!(bench.report(), (10, true));
    let late = bench.hold(20, Duration::ZERO);
    assert!(bench.is_silent());
    let other = bench.hold(30, LONG);
    assert_eq!(bench.report(), (20, false), "whoever comes next finds it");
    let late_too = bench.hold(40, Duration::ZERO);
    drop(held);
    assert_eq!((bench.report(), bench.report()), ((40, false), (30, true)), "and so does a thread");
    bench.workers.close_released((late, other, late_too));
}

#[test]
fn a_pool_is_pressed_while_something_waits() {
    let bench = Bench::new(Limits { threads: 1, waiting: 4, recalls: false });
    let held = bench.hold(10, LONG);
    assert_eq!(bench.report(), (10, true));
    assert!(!bench.workers.is_pressed());
    let waiting = bench.hold(20, LONG);
    assert!(bench.workers.is_pressed());
    drop(held);
    assert_eq!(bench.report(), (20, true));
    assert!(!bench.workers.is_pressed());
    bench.workers.close_released(waiting);
}

#[test]
fn a_thread_outlives_the_panic_of_a_job() {
    let bench = Bench::new(Limits { threads: 1, waiting: 4, recalls: false });
    bench.workers.submit(account(10), LONG, |_| panic!("told to"));
    let held = bench.hold(20, LONG);
    assert_eq!(bench.report(), (20, true));
    bench.workers.close_released(held);
}

#[test]
fn closing_waits_for_running_jobs_and_drops_waiting_ones() {
    let bench = Bench::new(Limits { threads: 1, waiting: 4, recalls: false });
    let held = bench.hold(10, LONG);
    assert_eq!(bench.report(), (10, true));
    let waiting = bench.hold(20, LONG);
    let workers = bench.workers.clone();
    let closing = thread::Builder::new().spawn(move || workers.close()).unwrap();
    // The job's receiver is gone once the job is dropped.
    while waiting.send(()).is_ok() {
        thread::yield_now();
    }
    drop(held);
    closing.join().unwrap();
    assert!(bench.hold(30, LONG).send(()).is_err(), "nothing is taken in any more");
    assert!(bench.is_silent());
}

impl Workers {
    /// Closes the pool once its jobs may end.
    fn close_released<T>(&self, held: T) {
        drop(held);
        self.close();
    }
}

#[test]
fn a_thread_that_found_nothing_to_do_works_again() {
    let bench = Bench::new(Limits { threads: 1, waiting: 1, recalls: false });
    for job in [10, 20, 30] {
        drop(bench.hold(job, LONG));
        assert_eq!(bench.report(), (job, true));
        while bench.workers.pool.state.lock().idle == 0 {
            thread::yield_now();
        }
    }
    bench.workers.close();
}

/// The job that made the pool ask for a thread is called without a place, if there is no other thread.
#[test]
fn a_thread_that_the_system_refuses_is_a_line() {
    let pool = Workers::new("bench".into(), LIMITS).pool;
    (pool.state.lock().live, pool.state.lock().spawning) = (1, 1);
    pool.state.lock().queue.push(account(10), None, Box::new(|_| ()));
    let mut without_place = 0;
    let refuse = || without_place = pool.enlist(Err(io::Error::other("no more"))).len();
    let lines = crate::log_line::capture::lines(refuse);
    assert_eq!(lines, [r#"thread refused thread=bench error="no more""#]);
    let state = pool.state.lock();
    assert_eq!((without_place, state.live, state.spawning), (1, 0, 0));
}
