//! The cost of a membership, beside a set kept in sorted slices: `cargo bench --bench membership [-- --quick]`.
//!
//! The reference does what the Go original does. An insert at the front makes a new slice of everything
//! (`append([]string{peer}, peers...)`), any other insert moves the rest by one, a snapshot copies both
//! slices, and a watcher is handed the state when it begins. It is measured with two kinds of strings: of 16
//! bytes and free to copy, which is what Go's are, and owned `String`s. It has neither locks nor a way to say
//! who claims what, and copies no string that it is given; ours does all that.

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use syncswim::{Membership, Watch};

#[path = "support/effort.rs"]
mod effort;
#[path = "support/options.rs"]
mod options;
#[path = "support/sorted_slice.rs"]
mod sorted_slice;
#[path = "support/timing.rs"]
mod timing;

use effort::Effort;
use sorted_slice::insert;
use timing::{Clock, Figure, heading};

/// Watchers that never read.
const WATCHERS: usize = 256;

fn main() {
    let effort = Effort::asked();
    let sizes: &[usize] = match effort {
        Effort::Smoke => &[100],
        Effort::Quick | Effort::Full => &[1_000, 10_000, 100_000],
    };
    for order in [Order::Random, Order::Descending, Order::Ascending] {
        heading(&format!("add n peers one by one, {order:?}, per peer"), false);
        sizes.iter().for_each(|n| add(effort, *n, order));
    }
    heading("snapshot", false);
    sizes.iter().for_each(|n| snapshots(effort, *n));
    heading(&format!("one change, {WATCHERS} watchers that never read"), false);
    sizes.iter().for_each(|n| changes(effort, *n));
    for n in if effort == Effort::Smoke { [100, 200] } else { [65_000, 200_000] } {
        heading(&format!("the longest waits of a writer, n = {n}"), false);
        waits(effort, n);
    }
    heading("catch up on changes that were not read, per change", false);
    sizes.iter().for_each(|n| catch_up(effort, *n));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Random,
    Descending,
    Ascending,
}

/// `n` names of the length of an address, in some order.
fn names(n: usize, order: Order) -> Vec<String> {
    let mut names: Vec<_> = (0..n).map(|i| format!("10.0.{i:07}:7946")).collect();
    match order {
        Order::Random => fastrand::Rng::with_seed(1).shuffle(&mut names),
        Order::Descending => names.reverse(),
        Order::Ascending => {}
    }
    names
}

/// A set of sorted slices.
#[derive(Debug)]
struct Slices<S> {
    active: Vec<S>,
    left: Vec<S>,
}

impl<S: Ord + Clone> Slices<S> {
    fn add(&mut self, peer: S) {
        if let Ok(at) = self.left.binary_search(&peer) {
            self.left.remove(at);
        }
        insert(&mut self.active, peer);
    }

    fn leave(&mut self, peer: &S) {
        if let Ok(at) = self.active.binary_search(peer) {
            let peer = self.active.remove(at);
            insert(&mut self.left, peer);
        }
    }

    /// All peers and where the left ones begin.
    fn snapshot(&self) -> (Vec<S>, usize) {
        let mut peers = Vec::with_capacity(self.active.len() + self.left.len());
        peers.extend_from_slice(&self.active);
        peers.extend_from_slice(&self.left);
        (peers, self.active.len())
    }
}

/// Prints what ours costs, what the reference costs, and how many times as much that is.
fn compare(what: &str, ours: Figure, reference: &[(&str, Option<Figure>)]) {
    ours.print(&format!("{what}: membership"));
    for (strings, figure) in reference {
        match figure {
            Some(figure) => {
                let ratio = figure.median.0 / ours.median.0;
                figure.print(&format!("{what}: slices of {strings}, {ratio:.2}×"));
            }
            None => println!("{what}: slices of {strings}: not in a quick run"),
        }
    }
}

fn add(effort: Effort, n: usize, order: Order) {
    let names = names(n, order);
    let ours = Figure::of(effort.few_rounds(), None, |clock| {
        let membership = Membership::new();
        clock.run(n as u64, || names.iter().for_each(|name| membership.add([name])));
        assert_eq!(membership.majority(), n / 2 + 1);
    });
    // Quadratic, and worst at the front: up to a quarter of a minute a round.
    let large = n >= 100_000 && order != Order::Ascending;
    let rounds = match (large, order) {
        (false, _) => effort.few_rounds(),
        (true, Order::Random) if effort == Effort::Full => 3,
        (true, _) => 1,
    };
    let skip = large && order == Order::Descending && effort < Effort::Full;
    let handles =
        (!skip).then(|| Figure::of(rounds, None, |clock| add_to_slices(clock, &names, |name| name.as_str())));
    let strings =
        (!skip).then(|| Figure::of(rounds, None, |clock| add_to_slices(clock, &names, String::clone)));
    compare(&format!("n = {n}"), ours, &[("16 bytes", handles), ("String", strings)]);
}

fn add_to_slices<'a, S: Ord + Clone>(clock: &mut Clock, names: &'a [String], own: impl Fn(&'a String) -> S) {
    let mut slices = Slices { active: Vec::new(), left: Vec::new() };
    clock.run(names.len() as u64, || names.iter().for_each(|name| slices.add(own(name))));
    assert_eq!(slices.active.len(), names.len());
}

/// The same peers in a membership and in slices.
fn filled(names: &[String]) -> (Membership, Slices<&str>) {
    let membership = Membership::new();
    membership.add(names);
    let mut active: Vec<_> = names.iter().map(String::as_str).collect();
    active.sort_unstable();
    (membership, Slices { active, left: Vec::new() })
}

fn snapshots(effort: Effort, n: usize) {
    let names = names(n, Order::Random);
    let (membership, mut slices) = filled(&names);
    let middle = &names[0];
    let many = 1_000_000 / n as u64;
    let ours = Figure::of(effort.rounds(), None, |clock| {
        clock.run(many, || (0..many).for_each(|_| list(&membership)));
    });
    let reference = Figure::of(effort.rounds(), None, |clock| {
        clock.run(many, || (0..many).for_each(|_| drop(black_box(slices.snapshot()))));
    });
    compare(&format!("unchanged, n = {n}"), ours, &[("16 bytes", Some(reference))]);

    let ours = Figure::of(effort.rounds(), None, |clock| {
        for _ in 0..4 {
            membership.mark_left([middle]);
            clock.run(1, || list(&membership));
            membership.add([middle]);
            clock.run(1, || list(&membership));
        }
    });
    let reference = Figure::of(effort.rounds(), None, |clock| {
        for _ in 0..4 {
            slices.leave(&middle.as_str());
            clock.run(1, || drop(black_box(slices.snapshot())));
            slices.add(middle);
            clock.run(1, || drop(black_box(slices.snapshot())));
        }
    });
    compare(&format!("after a change, n = {n}"), ours, &[("16 bytes", Some(reference))]);
}

/// Takes a snapshot and its list.
fn list(membership: &Membership) {
    black_box(membership.snapshot().peers().len());
}

fn changes(effort: Effort, n: usize) {
    let names = names(n, Order::Random);
    let peer = &names[0];
    let change = |membership: &Membership, pairs: u64| {
        for _ in 0..pairs {
            membership.mark_left([peer]);
            membership.add([peer]);
        }
    };
    let (membership, _) = filled(&names);
    let alone = Figure::of(effort.rounds(), None, |clock| {
        clock.run(2_000, || change(&membership, 1_000));
    });
    alone.print(&format!("n = {n}: nobody watches"));
    let queued = Figure::of(effort.rounds(), None, |clock| {
        let _watches = watches(&membership);
        clock.run(60, || change(&membership, 30));
    });
    queued.print(&format!("n = {n}: the first 60, kept one by one"));
    let _watches = watches(&membership);
    change(&membership, 50);
    let folded = Figure::of(effort.rounds(), None, |clock| clock.run(200, || change(&membership, 100)));
    folded.print(&format!("n = {n}: later ones, folded, of one peer"));
    // Each watch has by now one entry per peer.
    let many = Figure::of(effort.few_rounds(), None, |clock| {
        let some = &names[..n.min(1_000)];
        clock.run(some.len() as u64 * 2, || {
            some.iter().for_each(|name| membership.mark_left([name]));
            some.iter().for_each(|name| membership.add([name]));
        });
    });
    many.print(&format!("n = {n}: folded, of {} peers in turn", n.min(1_000)));
}

fn watches(membership: &Membership) -> Vec<Watch> {
    (0..WATCHERS).map(|_| membership.watch()).collect()
}

/// How long single changes take while another thread lists one snapshot after the other; and the same with one set that is
/// copied under its lock. The last columns tell how often a thread was not run, too: compare.
fn waits(effort: Effort, n: usize) {
    let names = names(n, Order::Random);
    let (membership, slices) = filled(&names);
    let slices = std::sync::RwLock::new(slices);
    let reads = effort.rounds() * 10;
    let ours = |at: usize| match at % 2 {
        0 => membership.mark_left([&names[at / 2 % n]]),
        _ => membership.add([&names[at / 2 % n]]),
    };
    print_waits("membership, nobody reads", 0, ours, || ());
    print_waits("membership, one thread takes snapshots", reads, ours, || list(&membership));
    let theirs = |at: usize| {
        let mut slices = slices.write().unwrap();
        match at % 2 {
            0 => slices.leave(&names[at / 2 % n].as_str()),
            _ => slices.add(&names[at / 2 % n]),
        }
    };
    let read = || {
        let copy = slices.read().unwrap().snapshot();
        drop(black_box(copy));
    };
    print_waits("slices of 16 bytes, copied under a lock", reads, theirs, read);
}

/// Changes until the reader has read so often.
#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn print_waits(what: &str, reads: usize, change: impl Fn(usize), read: impl Fn() + Sync) {
    let reading = AtomicBool::new(true);
    let mut took: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..reads).for_each(|_| read());
            reading.store(false, Ordering::Relaxed);
        });
        let time = |at| {
            let start = Instant::now();
            change(at);
            start.elapsed()
        };
        (0..).take_while(|at| *at < 1_000 || reading.load(Ordering::Relaxed)).map(time).collect()
    });
    took.sort_unstable();
    let of = |share: usize| took[(took.len() * share / 1_000).min(took.len() - 1)];
    println!(
        "{what}: {} changes, p50 {:?}, p99 {:?}, p99.9 {:?}, longest {:?}",
        took.len(),
        of(500),
        of(990),
        of(999),
        of(1_000)
    );
}

fn catch_up(effort: Effort, n: usize) {
    let names = names(n, Order::Random);
    let read =
        |watch: &Watch| std::iter::from_fn(|| watch.try_recv().ok()).map(|change| change.active.len()).sum();
    let one_by_one = Figure::of(effort.rounds(), None, |clock| {
        let membership = Membership::new();
        let watch = membership.watch();
        names.iter().take(60).for_each(|name| membership.add([name]));
        let mut seen: usize = 0;
        clock.run(60, || seen = read(&watch));
        assert_eq!(seen, 60);
    });
    one_by_one.print(&format!("60 changes, one by one (n = {n})"));
    let folded = Figure::of(effort.few_rounds(), None, |clock| {
        let membership = Membership::new();
        let watch = membership.watch();
        names.iter().for_each(|name| membership.add([name]));
        let mut seen: usize = 0;
        clock.run(n as u64, || seen = read(&watch));
        assert_eq!(seen, n);
    });
    folded.print(&format!("n = {n} changes, nearly all folded into one"));
}
