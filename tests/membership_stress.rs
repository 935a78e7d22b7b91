//! Many threads on one membership: nothing gets stuck, and every watcher ends at the truth.

mod support;

use std::{
    array,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use support::{View, in_time};
use syncswim::{Membership, Watch};

const WRITERS: usize = 4;
const CALLS: u64 = 5_000;
const PEERS: u64 = 300;

fn write(membership: &Membership, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..CALLS {
        let batch: Vec<_> = (0..random.u64(0..8)).map(|_| random.u64(0..PEERS).to_string()).collect();
        match random.u8(0..4) {
            0 | 1 => membership.add(&batch),
            2 => membership.left(&batch),
            _ => membership.remove(&batch),
        }
    }
}

fn follow(watch: impl Iterator<Item = syncswim::MembershipChange>) -> View {
    let mut seen = View::default();
    watch.for_each(|change| seen.apply(&change));
    seen
}

/// Reads a little whenever it is told to, which is never as fast as the writers.
fn follow_slowly(watch: &Watch) -> View {
    let mut seen = View::default();
    while watch.receiver().recv().is_ok() {
        thread::yield_now();
        watch.try_recv().into_iter().for_each(|change| seen.apply(&change));
    }
    watch.iter().for_each(|change| seen.apply(&change));
    seen
}

/// Comes and goes, mostly without having read all.
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
