//! Broadcasts and queries in one cluster: broadcasts of one node one after the other, equal ones from two nodes at once, and
//! queries.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use crate::{
    home::Home,
    peers::{Cluster, Heard, Problem},
    scenario::{Metric, PATIENCE, Scenario, metric, note, rest, say, wait},
};

const BROADCASTS: usize = 100;
/// Bytes of each.
const LENGTH: usize = 100;
/// Less often than any library's limit, and not in step with gossip.
const EVERY: Duration = Duration::from_millis(250);
/// How often two nodes broadcast the same text at once.
const TWICE: usize = 20;
/// By then every node has received the earlier ones, so that nodes with a logical clock have equal times.
const APART: Duration = Duration::from_secs(1);
/// Longer than the interval between two full exchanges in any library.
const REPAIR: Duration = Duration::from_secs(45);
const QUERIES: usize = 5;

pub(crate) const METRICS: [Metric; 8] = [
    metric("p50", "100 broadcasts, each until its last receiver has it: median", "s", 3),
    metric("p99", "the same: 99th of 100", "s", 3),
    metric("max", "the same: slowest", "s", 3),
    metric("missing", "deliveries missed, of all", "%", 2),
    metric("equal", "equal broadcasts of two nodes at once, 20 times: deliveries to each other node", "", 1),
    metric("answered", "query until the last answer", "s", 4),
    metric("ended", "query until it ends", "s", 4),
    metric("silent", "answers missed, of all", "%", 2),
];

pub(crate) fn run(
    cluster: &mut dyn Cluster,
    home: &Home,
    Scenario { n, settle, .. }: Scenario,
) -> Result<(), Problem> {
    let nodes: Vec<usize> = (0..n).collect();
    wait(home.since, &nodes, |node| cluster.live(node) == n).ok_or("not all saw all in time")?;
    let (tell, heard) = channel();
    cluster.listen(tell)?;
    thread::sleep(settle);
    one_after_the_other(cluster, &heard, n)?;
    at_once(cluster, &heard, n)?;
    queries(cluster, n)
}

fn one_after_the_other(cluster: &mut dyn Cluster, heard: &Receiver<Heard>, n: usize) -> Result<(), Problem> {
    let mut sent = Vec::new();
    for number in 0..BROADCASTS {
        let text = text(&format!("broadcast {number}"));
        sent.push((text.clone(), Instant::now()));
        cluster.broadcast(0, &text)?;
        thread::sleep(EVERY);
    }
    // The sender's own receipts are not counted.
    let deliveries = gather(heard, BROADCASTS * (n - 1), PATIENCE, |node| node > 0);
    let mut times: Vec<f64> =
        sent.iter().map(|(text, sent)| until_last(&deliveries, text, *sent, n - 1)).collect();
    times.sort_unstable_by(f64::total_cmp);
    say("p50", times[BROADCASTS.div_ceil(2) - 1]);
    say("p99", times[(BROADCASTS * 99).div_ceil(100) - 1]);
    say("max", times[BROADCASTS - 1]);
    say("missing", percent(BROADCASTS * (n - 1), deliveries.len()));
    Ok(())
}

/// Seconds until the last of so many received it; infinite if not all did.
fn until_last(deliveries: &Deliveries, text: &str, sent: Instant, receivers: usize) -> f64 {
    let mut last = Duration::ZERO;
    let mut those = 0;
    for ((_, _), times) in deliveries.range((text.to_owned(), 0)..=(text.to_owned(), usize::MAX)) {
        those += 1;
        last = last.max(times[0].duration_since(sent));
    }
    if those == receivers { last.as_secs_f64() } else { f64::INFINITY }
}

fn at_once(cluster: &mut dyn Cluster, heard: &Receiver<Heard>, n: usize) -> Result<(), Problem> {
    for number in 0..TWICE {
        let text = text(&format!("equal {number}"));
        // Neither call waits, so the second node has not received the first one's broadcast.
        cluster.broadcast(0, &text)?;
        cluster.broadcast(1, &text)?;
        thread::sleep(APART);
    }
    let others = n - 2;
    let deliveries = gather(heard, 2 * TWICE * others, REPAIR, |node| node > 1);
    let all: usize = deliveries.values().map(Vec::len).sum();
    say("equal", all as f64 / others as f64);
    Ok(())
}

fn queries(cluster: &mut dyn Cluster, n: usize) -> Result<(), Problem> {
    let mut answers = 0;
    for _ in 0..QUERIES {
        rest();
        let Some(asked) = cluster.query(0)? else {
            note("query: it has none");
            return Ok(());
        };
        answers += asked.answers;
        if asked.answers == n {
            say("answered", asked.last.as_secs_f64());
        }
        say("ended", asked.end.as_secs_f64());
    }
    say("silent", percent(QUERIES * n, answers));
    Ok(())
}

/// The times at which each text arrived at each node.
type Deliveries = BTreeMap<(String, usize), Vec<Instant>>;

/// The broadcasts that arrive at some nodes, until there are enough or the time is over.
fn gather(
    heard: &Receiver<Heard>,
    all: usize,
    patience: Duration,
    counts: impl Fn(usize) -> bool,
) -> Deliveries {
    let (end, mut deliveries, mut count) = (Instant::now() + patience, Deliveries::new(), 0);
    while count < all
        && let Ok(Heard { node, text, at }) =
            heard.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        if counts(node) {
            deliveries.entry((text, node)).or_default().push(at);
            count += 1;
        }
    }
    deliveries
}

/// Filled up to the length of all.
fn text(start: &str) -> String {
    format!("{start:.<LENGTH$}")
}

fn percent(all: usize, came: usize) -> f64 {
    all.saturating_sub(came) as f64 * 100.0 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_receiver_counts_and_nothing_is_said_of_what_did_not_reach_all() {
        let (tell, heard) = channel();
        let sent = Instant::now();
        let hear = |text: &str, node, millis| {
            let at = sent + Duration::from_millis(millis);
            tell.send(Heard { node, text: text.to_owned(), at }).unwrap();
        };
        hear("a", 0, 1);
        hear("a", 1, 10);
        hear("b", 2, 20);
        hear("a", 2, 30);
        let deliveries = gather(&heard, 3, Duration::from_secs(60), |node| node > 0);
        assert_eq!(until_last(&deliveries, "a", sent, 2), 0.03);
        assert_eq!(until_last(&deliveries, "b", sent, 2), f64::INFINITY);
        assert_eq!(percent(4, deliveries.len()), 25.0);
    }
}
