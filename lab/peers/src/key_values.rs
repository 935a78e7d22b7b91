//! Key–values that each node publishes: 64 KiB of each at the start, then one key that changes from time to time, finally a
//! node that joins later.

use std::{
    iter, thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::{
    home::Home,
    peers::{Cluster, Problem},
    scenario::{Metric, Scenario, metric, note, say, wait},
    usage::Usage,
};

/// Keys of each node; with their values they have 64 KiB, except that the last value is shorter.
const KEYS: usize = 64;
/// Bytes of key and value.
const LENGTH: usize = 1024;
/// Bytes of the value that changes.
const CHANGED: usize = 100;
const CHANGES: usize = 5;
/// After the large start, exchanges go on for a while.
const CALM: Duration = Duration::from_secs(15);
/// The time for each change, after which its effects are over.
const WINDOW: Duration = Duration::from_secs(5);

pub(crate) const METRICS: [Metric; 7] = [
    metric("fill", "all set 64 KiB at once: until all have all", "s", 2),
    metric("fill_bytes", "bytes sent per node until then, with headers", "MiB", 2),
    metric("rest", "at rest: bytes per node, with headers", "B/s", 0),
    metric("change", "one key of 100 bytes changes: until all have it", "s", 3),
    metric("change_bytes", "bytes per node in the 5 s from the change, those at rest included", "B", 0),
    metric("newcomer", "one more node: until it has all", "s", 2),
    metric("newcomer_bytes", "bytes sent by all until then, with headers", "MiB", 2),
];

pub(crate) fn run(
    cluster: &mut dyn Cluster,
    home: &Home,
    Scenario { n, settle, idle, .. }: Scenario,
) -> Result<(), Problem> {
    let nodes: Vec<usize> = (0..n).collect();
    let sent = || Usage::now(home).bytes;
    let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
    wait(home.since, &nodes, |node| cluster.live(node) == n).ok_or("not all saw all in time")?;
    thread::sleep(settle);

    let (before, start) = (sent(), Instant::now());
    fill(cluster, n)?;
    let all = wait(start, &nodes, |node| cluster.keys(node) == n * KEYS).ok_or("not all had all in time")?;
    say("fill", all);
    say("fill_bytes", mebibytes(sent() - before) / n as f64);

    thread::sleep(CALM);
    let (before, start) = (sent(), Instant::now());
    thread::sleep(idle);
    say("rest", (sent() - before) / start.elapsed().as_secs_f64() / n as f64);

    for owner in 0..CHANGES {
        let value = letters(&mut Rng::new(), CHANGED);
        let (before, start) = (sent(), Instant::now());
        let key = key(KEYS - 1);
        cluster.set(owner, &key, &value)?;
        match wait(start, &nodes, |node| cluster.has(node, owner, &key, &value)) {
            Some(seconds) => say("change", seconds),
            None => note("not all had the change in time"),
        }
        thread::sleep(WINDOW.saturating_sub(start.elapsed()));
        say("change_bytes", (sent() - before) / n as f64);
    }

    let (before, start) = (sent(), Instant::now());
    cluster.join()?;
    let all =
        wait(start, &[n], |node| cluster.keys(node) == n * KEYS).ok_or("a newcomer had not all in time")?;
    say("newcomer", all);
    say("newcomer_bytes", mebibytes(sent() - before));
    Ok(())
}

fn fill(cluster: &mut dyn Cluster, n: usize) -> Result<(), Problem> {
    // The same for every library.
    let mut rng = Rng::with_seed(1);
    for node in 0..n {
        for number in 0..KEYS {
            let key = key(number);
            let length = if number < KEYS - 1 { LENGTH - key.len() } else { CHANGED };
            cluster.set(node, &key, &letters(&mut rng, length))?;
        }
    }
    Ok(())
}

fn key(number: usize) -> String {
    format!("key-{number:04}")
}

/// Random letters and digits, so that compression gains only what this alphabet allows.
fn letters(rng: &mut Rng, length: usize) -> String {
    iter::repeat_with(|| rng.alphanumeric()).take(length).collect()
}
