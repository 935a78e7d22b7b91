//! `cargo bench --bench membership`: the membership beside sorted slices, as the Go original keeps them.
//!
//! Prints medians over several rounds, and ratios within this run. Peers arrive in random order, the same for both.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use syncswim::Membership;

const WATCHERS: usize = 256;

/// A set of strings, sorted in a slice. Go's idiom `append(s[:i], append([]string{peer}, s[i:]...)...)` copies the tail out
/// to a new slice and back again. A boxed string is as wide as Go's, so the same number of bytes moves.
#[derive(Default)]
struct SortedSlices {
    active: Vec<Box<str>>,
    left: Vec<Box<str>>,
}

impl SortedSlices {
    fn add(&mut self, peer: &str) {
        if let Ok(at) = self.left.binary_search_by(|known| (**known).cmp(peer)) {
            self.left.remove(at);
        }
        if let Err(at) = self.active.binary_search_by(|known| (**known).cmp(peer)) {
            let mut tail: Vec<Box<str>> = Vec::with_capacity(1 + self.active.len() - at);
            tail.push(peer.into());
            tail.extend(self.active.drain(at..));
            self.active.append(&mut tail);
        }
    }
}

fn main() {
    println!("{:<46} {:>12} {:>12} {:>9}", "", "syncswim", "reference", "ratio");
    for (n, rounds) in [(1_000, 31), (10_000, 11), (100_000, 5)] {
        let peers = peers(n);
        // In turns, so that whatever else the machine does meets both.
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(time(Membership::new, |set| peers.iter().for_each(|peer| set.add([peer]))));
            theirs.push(time(SortedSlices::default, |set| peers.iter().for_each(|peer| set.add(peer))));
        }
        let (ours, theirs) = (middle(ours), middle(theirs));
        row(&format!("add {n} peers one by one"), ours, Some(theirs));
    }
    for n in [1_000, 100_000] {
        let membership = filled(n);
        let unchanged = median(31, || per(10_000, || drop(black_box(membership.snapshot()))));
        row(&format!("snapshot of {n}, unchanged"), unchanged, None);
        let changed = median(31, || {
            membership.left(["10.0.0.0:7946"]);
            membership.add(["10.0.0.0:7946"]);
            time(|| (), |()| drop(black_box(membership.snapshot())))
        });
        row(&format!("snapshot of {n}, after a change"), changed, None);
    }
    for n in [1_000, 100_000] {
        let alone = median(11, || changes(&filled(n)));
        row(&format!("a change of {n} peers, unwatched"), alone, None);
        let watched = median(11, || {
            let membership = filled(n);
            let _idle: Vec<_> = (0..WATCHERS).map(|_| membership.watch()).collect();
            changes(&membership)
        });
        row(&format!("a change of {n} peers, {WATCHERS} idle watchers"), watched, None);
        row("  of that, per watcher", watched.saturating_sub(alone) / WATCHERS as u32, None);
    }
}

fn peers(n: usize) -> Vec<String> {
    let mut peers: Vec<_> =
        (0..n).map(|i| format!("10.{}.{}.{}:7946", i >> 16, (i >> 8) & 255, i & 255)).collect();
    fastrand::Rng::with_seed(7).shuffle(&mut peers);
    peers
}

fn filled(n: usize) -> Membership {
    let membership = Membership::new();
    membership.add(peers(n));
    let _ = membership.snapshot();
    membership
}

/// The mean of many changes: each of 1000 peers leaves, and comes back; most changes meet a full backlog, which folds.
fn changes(membership: &Membership) -> Duration {
    let peers: Vec<_> = membership.snapshot().active()[..1_000].to_vec();
    let start = Instant::now();
    peers.iter().for_each(|peer| membership.left([peer]));
    peers.iter().for_each(|peer| membership.add([peer]));
    start.elapsed() / (2 * peers.len() as u32)
}

fn time<T>(prepare: impl FnOnce() -> T, work: impl FnOnce(&mut T)) -> Duration {
    let mut subject = prepare();
    let start = Instant::now();
    work(&mut subject);
    let taken = start.elapsed();
    drop(black_box(subject));
    taken
}

fn per(times: usize, mut work: impl FnMut()) -> Duration {
    time(|| (), |()| (0..times).for_each(|_| work())) / times as u32
}

fn median(rounds: usize, mut round: impl FnMut() -> Duration) -> Duration {
    middle((0..rounds).map(|_| round()).collect())
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn row(what: &str, ours: Duration, theirs: Option<Duration>) {
    let theirs_text = theirs.map_or_else(String::new, |theirs| format!("{theirs:.2?}"));
    let ratio = theirs
        .map_or_else(String::new, |theirs| format!("{:.1}x", theirs.as_secs_f64() / ours.as_secs_f64()));
    println!("{what:<46} {:>12} {theirs_text:>12} {ratio:>9}", format!("{ours:.2?}"));
}
