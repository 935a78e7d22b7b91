//! One cluster in a network that loses datagrams: its start, a rest, a newcomer, crashes, a leave, and how often a live
//! member was listed as gone.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    home::Home,
    peers::{Cluster, Problem},
    scenario::{Metric, PATIENCE, Scenario, metric, note, rest, say},
    usage::Usage,
};

/// The interval between two looks at what the nodes list.
const POLL: Duration = Duration::from_millis(20);

pub(crate) const METRICS: [Metric; 8] = [
    metric("converge", "start of the first until all see all", "s", 2),
    metric("start_bytes", "bytes per node until then, with headers", "KiB", 1),
    metric("newcomer", "one more: until it sees all, and all see it", "s", 2),
    metric("bytes", "at rest: bytes per node, with headers", "B/s", 0),
    metric("crash", "crash until seen by all", "s", 2),
    metric("leave", "leave until seen by all", "s", 2),
    metric("verdicts", "verdicts about members that were alive, in all", "", 0),
    metric("wrong", "live members listed as gone, at the end", "", 0),
];

/// How often a node's list became shorter.
struct Lists {
    lengths: Vec<usize>,
    losses: usize,
    /// How often that was right, since a member was gone.
    right: usize,
}

impl Lists {
    fn look(&mut self, cluster: &dyn Cluster, live: &[usize]) {
        for node in live {
            let length = cluster.live(*node);
            self.losses += self.lengths[*node].saturating_sub(length);
            self.lengths[*node] = length;
        }
    }

    /// Waits until a condition holds for each node. Returns how long that took since `start`.
    fn wait(
        &mut self,
        start: Instant,
        cluster: &dyn Cluster,
        live: &[usize],
        holds: impl Fn(usize) -> bool,
    ) -> Option<f64> {
        while start.elapsed() < PATIENCE {
            self.look(cluster, live);
            if live.iter().all(|node| holds(*node)) {
                return Some(start.elapsed().as_secs_f64());
            }
            thread::sleep(POLL);
        }
        None
    }

    fn watch(&mut self, cluster: &dyn Cluster, live: &[usize], time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            self.look(cluster, live);
            thread::sleep(POLL);
        }
    }

    /// A member is gone: waits until all list it as gone.
    fn part(&mut self, key: &str, cluster: &dyn Cluster, live: &[usize], gone: usize, start: Instant) {
        match self.wait(start, cluster, live, |node| !cluster.sees(node, gone)) {
            Some(seconds) => say(key, seconds),
            None => note(&format!("{key}: not seen by all in time")),
        }
        self.right += live.iter().filter(|node| !cluster.sees(**node, gone)).count();
    }
}

pub(crate) fn run(
    cluster: &mut dyn Cluster,
    home: &Home,
    Scenario { n, settle, idle, crashes, .. }: Scenario,
) -> Result<(), Problem> {
    let mut lists = Lists { lengths: vec![0; n + 1], losses: 0, right: 0 };
    let mut live: Vec<usize> = (0..n).collect();
    match lists.wait(home.since, cluster, &live, |node| cluster.live(node) == n) {
        Some(seconds) => say("converge", seconds),
        None => note("converge: not all saw all in time"),
    }
    let bytes = Usage::now(home).bytes;
    say("start_bytes", bytes / n as f64 / 1024.0);

    lists.watch(cluster, &live, settle);
    let (before, began) = (Usage::now(home).bytes, Instant::now());
    lists.watch(cluster, &live, idle);
    say("bytes", (Usage::now(home).bytes - before) / n as f64 / began.elapsed().as_secs_f64());

    let start = Instant::now();
    match cluster.join() {
        Ok(()) => {
            live.push(n);
            let all = |node| cluster.live(node) == n + 1;
            match lists.wait(start, cluster, &live, all) {
                Some(seconds) => say("newcomer", seconds),
                None => note("newcomer: not all saw all in time"),
            }
        }
        Err(error) => note(&format!("newcomer: {error}")),
    }
    for _ in 0..crashes {
        rest();
        let Some(victim) = live.pop() else { break };
        lists.look(cluster, &live);
        let start = Instant::now();
        cluster.crash(victim);
        lists.part("crash", cluster, &live, victim, start);
    }
    rest();
    if let Some(leaver) = live.pop() {
        lists.look(cluster, &live);
        let start = Instant::now();
        if cluster.leave(leaver) {
            lists.part("leave", cluster, &live, leaver, start);
        } else {
            live.push(leaver);
        }
    }
    say("verdicts", lists.losses.saturating_sub(lists.right) as f64);
    let pairs = live.iter().flat_map(|node| live.iter().map(move |other| (*node, *other)));
    say("wrong", pairs.filter(|(node, other)| node != other && !cluster.sees(*node, *other)).count() as f64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Nodes whose lists the test sets.
    struct Told(RefCell<Vec<usize>>);

    impl Cluster for Told {
        fn live(&self, node: usize) -> usize {
            self.0.borrow()[node]
        }

        fn sees(&self, node: usize, _other: usize) -> bool {
            self.live(node) == 3
        }

        fn leave(&mut self, _node: usize) -> bool {
            true
        }

        fn join(&mut self) -> Result<(), Problem> {
            Ok(())
        }

        fn crash(&mut self, _node: usize) {}
    }

    #[test]
    fn a_list_that_becomes_shorter_counts_but_for_those_that_are_gone() {
        let cluster = Told(RefCell::new(vec![3, 3, 3]));
        let mut lists = Lists { lengths: vec![0; 3], losses: 0, right: 0 };
        lists.look(&cluster, &[0, 1, 2]);
        cluster.0.borrow_mut()[1] = 1;
        lists.look(&cluster, &[0, 1, 2]);
        cluster.0.borrow_mut()[1] = 3;
        lists.look(&cluster, &[0, 1, 2]);
        assert_eq!((lists.losses, lists.right), (2, 0));

        // The third crashes, and the others see it.
        *cluster.0.borrow_mut() = vec![2, 2, 0];
        lists.part("crash", &cluster, &[0, 1], 2, Instant::now());
        assert_eq!((lists.losses, lists.right), (4, 2));
    }
}
