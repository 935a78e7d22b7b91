//! Many threads on one membership: none blocks for ever, and every watcher ends with the true state.

mod support;

use std::{
    array,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::{RecvTimeoutError, TryRecvError, never, select};
use support::{LONG, View, in_time};
use syncswim::{BoxError, Cluster, Membership, Stop, Watch};

const WRITERS: usize = 4;
const CALLS: u64 = 5_000;
const PEERS: u64 = 300;

fn write(membership: &Membership, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..CALLS {
        let batch: Vec<_> = (0..random.u64(0..8)).map(|_| random.u64(0..PEERS).to_string()).collect();
        match random.u8(0..4) {
            0 | 1 => membership.add(&batch),
            2 => membership.mark_left(&batch),
            _ => membership.remove(&batch),
        }
    }
}

fn follow(watch: impl IntoIterator<Item = syncswim::MembershipChange>) -> View {
    let mut seen = View::default();
    watch.into_iter().for_each(|change| seen.apply(&change));
    seen
}

/// Reads a little whenever it is signalled, always more slowly than the writers write.
fn follow_slowly(watch: &Watch) -> View {
    let mut seen = View::default();
    while watch.receiver().recv().is_ok() {
        thread::yield_now();
        watch.try_recv().into_iter().for_each(|change| seen.apply(&change));
    }
    watch.iter().for_each(|change| seen.apply(&change));
    seen
}

/// Subscribes and unsubscribes repeatedly, mostly without having read everything.
fn come_and_go(membership: &Membership, writing: &AtomicBool) {
    while writing.load(Ordering::Relaxed) {
        let watch = membership.watch();
        let _unread = membership.watch();
        let mut seen = View::default();
        (0..3).filter_map(|_| watch.try_recv().ok()).for_each(|change| seen.apply(&change));
        View::of(&membership.snapshot());
    }
}

#[test]
fn watchers_of_every_temper_end_at_the_same_set() {
    in_time(|| {
        let membership = Membership::new();
        let [fast, slow, late] = [membership.watch(), membership.watch(), membership.watch()];
        let writing = AtomicBool::new(true);
        thread::scope(|scope| {
            let followers = [scope.spawn(|| follow(&fast)), scope.spawn(|| follow_slowly(&slow))];
            let passers = [(); 2].map(|()| {
                let (membership, writing) = (membership.clone(), &writing);
                scope.spawn(move || come_and_go(&membership, writing))
            });
            let writers: [_; WRITERS] = array::from_fn(|seed| {
                let membership = membership.clone();
                scope.spawn(move || write(&membership, seed as u64))
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            writing.store(false, Ordering::Relaxed);
            passers.into_iter().for_each(|passer| passer.join().unwrap());

            let truth = View::of(&membership.snapshot());
            drop(membership);
            assert!(followers.map(|follower| follower.join().unwrap()).iter().all(|seen| *seen == truth));
            assert_eq!(follow(&late), truth, "the one that read nothing until now");
        });
    });
}

/// Reads a watch to its end in one of many ways.
fn follow_somehow(watch: &Watch, way: usize) -> View {
    let mut seen = View::default();
    let idle = never::<()>();
    loop {
        match way % 4 {
            0 => match watch.recv() {
                Ok(change) => seen.apply(&change),
                Err(_) => return seen,
            },
            1 => match watch.recv_timeout(Duration::from_micros(50)) {
                Ok(change) => seen.apply(&change),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return seen,
            },
            2 => match watch.recv_timeout(LONG) {
                Ok(change) => seen.apply(&change),
                Err(error) => {
                    assert_eq!(error, RecvTimeoutError::Disconnected);
                    return seen;
                }
            },
            _ => {
                select! {
                    recv(watch.receiver()) -> _ => {}
                    recv(idle) -> _ => unreachable!(),
                }
                match watch.try_recv() {
                    Ok(change) => seen.apply(&change),
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => return seen,
                }
            }
        }
    }
}

#[test]
fn a_cluster_that_stops_while_all_write_ends_every_watch_at_the_same_change() {
    in_time(|| {
        for round in 0..20 {
            let mut cluster = Cluster::new();
            for source in 0..2 {
                cluster = cluster.with_discovery(move |membership: &Membership, stop: &Stop| {
                    for seed in source.. {
                        if stop.is_stopped() {
                            break;
                        }
                        membership.add([(seed % PEERS).to_string(), (seed * 7 % PEERS).to_string()]);
                        membership.mark_left([(seed * 5 % PEERS).to_string()]);
                    }
                    Ok::<_, BoxError>(())
                });
            }
            let watches: [_; 8] = array::from_fn(|_| cluster.membership().watch());
            let unread = cluster.membership().watch();
            let membership = cluster.membership().clone();
            let (written, writing) = (AtomicUsize::new(0), AtomicBool::new(true));
            let running = cluster.start().unwrap();
            thread::scope(|scope| {
                let readers: Vec<_> = watches
                    .iter()
                    .enumerate()
                    .map(|(way, watch)| scope.spawn(move || follow_somehow(watch, way)))
                    .collect();
                let application = scope.spawn(|| {
                    while writing.load(Ordering::Relaxed) {
                        let batch = [(written.fetch_add(1, Ordering::Relaxed) as u64 % PEERS).to_string()];
                        membership.remove(&batch);
                        drop(membership.watch());
                    }
                });
                while written.load(Ordering::Relaxed) < 50 * round {
                    thread::yield_now();
                }
                running.stop();
                running.join().unwrap();
                let last = follow(unread);
                for reader in readers {
                    assert_eq!(reader.join().unwrap(), last);
                }
                let before = written.load(Ordering::Relaxed);
                while written.load(Ordering::Relaxed) < before + 10 {
                    thread::yield_now();
                }
                writing.store(false, Ordering::Relaxed);
                application.join().unwrap();
            });
        }
    });
}

#[test]
fn threads_that_share_a_watch_are_told_of_everything_once() {
    const EACH: u64 = 4_000;
    in_time(|| {
        let membership = Membership::new();
        let watch = membership.watch();
        let mut told: Vec<_> = thread::scope(|scope| {
            let readers: Vec<_> = (0..4)
                .map(|way| {
                    let watch = &watch;
                    scope.spawn(move || {
                        let mut told = Vec::new();
                        loop {
                            let next = match way {
                                0 => watch.recv().ok(),
                                1 => watch.recv_timeout(LONG).ok(),
                                _ => {
                                    let _token = watch.receiver().recv();
                                    match watch.try_recv() {
                                        Err(TryRecvError::Empty) => continue,
                                        next => next.ok(),
                                    }
                                }
                            };
                            let Some(change) = next else { return told };
                            told.extend(change.active.iter().map(|peer| peer.parse::<u64>().unwrap()));
                        }
                    })
                })
                .collect();
            for writer in 0..WRITERS as u64 {
                let membership = membership.clone();
                scope.spawn(move || {
                    for peer in writer * EACH..(writer + 1) * EACH {
                        membership.add([peer.to_string()]);
                    }
                });
            }
            drop(membership);
            readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect()
        });
        told.sort_unstable();
        assert!(told.into_iter().eq(0..WRITERS as u64 * EACH));
    });
}

/// Whether the peers of each pair `x`, `x'` have the same state.
fn in_pairs(view: &View) -> bool {
    view.0.iter().all(|(peer, active)| {
        let twin = peer.strip_suffix('\'').map_or_else(|| format!("{peer}'"), String::from);
        view.0.get(&twin) == Some(active)
    })
}

#[test]
fn no_reader_ever_sees_a_part_of_a_batch() {
    in_time(|| {
        let membership = Membership::new();
        let (watch, writing) = (membership.watch(), AtomicBool::new(true));
        thread::scope(|scope| {
            let writers: [_; WRITERS] = array::from_fn(|seed| {
                let membership = membership.clone();
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed as u64);
                    for _ in 0..CALLS {
                        let peer = random.u64(0..20);
                        let pair = [peer.to_string(), format!("{peer}'")];
                        match random.u8(0..3) {
                            0 => membership.add(pair),
                            1 => membership.mark_left(pair),
                            _ => membership.remove(pair),
                        }
                    }
                })
            });
            let reader = scope.spawn(|| {
                let mut seen = View::default();
                for change in &watch {
                    seen.apply(&change);
                    assert!(in_pairs(&seen), "{seen:?}");
                }
            });
            let (looked_at, writing_still) = (membership.clone(), &writing);
            let looker = scope.spawn(move || {
                while writing_still.load(Ordering::Relaxed) {
                    let snapshot = looked_at.snapshot();
                    assert!(in_pairs(&View::of(&snapshot)), "{snapshot:?}");
                    let first = looked_at.watch().recv().unwrap();
                    let mut seen = View::default();
                    seen.apply(&first);
                    assert!(in_pairs(&seen), "{first:?}");
                }
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            writing.store(false, Ordering::Relaxed);
            looker.join().unwrap();
            drop(membership);
            reader.join().unwrap();
        });
    });
}

#[test]
fn dropping_watches_and_handles_while_others_read_and_write_leaves_no_thread_waiting() {
    in_time(|| {
        for _ in 0..300 {
            let membership = Membership::new();
            let start = Barrier::new(5);
            thread::scope(|scope| {
                for way in [0, 3] {
                    let (watch, start) = (membership.watch(), &start);
                    scope.spawn(move || {
                        start.wait();
                        follow_somehow(&watch, way)
                    });
                }
                let (dropped, start) = (membership.watch(), &start);
                scope.spawn(move || {
                    start.wait();
                    drop(dropped);
                });
                for peer in ["a", "b"] {
                    let membership = membership.clone();
                    scope.spawn(move || {
                        start.wait();
                        membership.add([peer]);
                        membership.mark_left([peer]);
                    });
                }
                drop(membership);
            });
        }
    });
}
