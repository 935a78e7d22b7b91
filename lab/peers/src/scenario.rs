//! One cluster from its start to a crash, in a process or processes of its own. Prints what it measured, a line each.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    home::Home,
    peers::{Cluster, Problem},
    usage::{self, Usage},
};

/// The longest wait for any condition. Where gossip missed a member, memberlist's presets take up to a minute to sync.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// The interval between two looks at what the nodes list.
const POLL: Duration = Duration::from_millis(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scenario {
    /// The section, as `--only` names it.
    pub(crate) part: &'static str,
    pub(crate) n: usize,
    /// Rest after convergence, so that the updates about it have run out.
    pub(crate) settle: Duration,
    /// The time over which the idle figures are taken.
    pub(crate) idle: Duration,
    pub(crate) crashes: usize,
    /// The percentage of datagrams that are lost.
    pub(crate) loss: u8,
}

/// What is measured, in the order of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metric {
    pub(crate) key: &'static str,
    pub(crate) label: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) decimals: usize,
}

impl Metric {
    /// What is measured, and in which unit.
    pub(crate) fn title(&self) -> String {
        format!("{}{}{}", self.label, if self.unit.is_empty() { "" } else { ", " }, self.unit)
    }
}

pub(crate) const fn metric(
    key: &'static str,
    label: &'static str,
    unit: &'static str,
    decimals: usize,
) -> Metric {
    Metric { key, label, unit, decimals }
}

pub(crate) const METRICS: [Metric; 11] = [
    metric("converge", "start of the first until all see all", "s", 3),
    metric("cpu", "idle: CPU per node", "ms/s", 3),
    metric("datagrams", "idle: UDP datagrams per node", "/s", 2),
    metric("packets", "idle: IP packets per node, TCP included", "/s", 2),
    metric("payload", "idle: bytes per node without headers", "B/s", 0),
    metric("bytes", "idle: bytes per node with IP, UDP, TCP headers", "B/s", 0),
    metric("memory", "memory per node", "KiB", 0),
    metric("threads", "threads of the process", "", 0),
    metric("leave", "leave until seen by all", "s", 3),
    metric("crash", "crash until seen by all", "s", 2),
    metric("wrong", "live members listed as gone, at the end", "", 0),
];

pub(crate) fn run(
    cluster: &mut dyn Cluster,
    home: &Home,
    Scenario { n, settle, idle, crashes, .. }: Scenario,
) -> Result<(), Problem> {
    if !usage::network_is_quiet() {
        note("its network was shared with other programs");
    }
    let mut live: Vec<usize> = (0..n).collect();
    let all = wait(home.since, &live, |node| cluster.live(node) == n).ok_or("not all saw all in time")?;
    say("converge", all);
    thread::sleep(settle);

    let before = Usage::now(home);
    let began = Instant::now();
    thread::sleep(idle);
    let (used, nodes, seconds) = (Usage::now(home) - before, n as f64, began.elapsed().as_secs_f64());
    let rate = |amount: f64| amount / nodes / seconds;
    say("cpu", rate(used.cpu_seconds * 1e3));
    say("datagrams", rate(used.datagrams));
    say("packets", rate(used.packets));
    say("payload", rate(used.payload()));
    say("bytes", rate(used.bytes));
    say("memory", home.memory() / nodes);
    say("threads", home.threads());

    let leaver = n - 1;
    let start = Instant::now();
    if cluster.leave(leaver) {
        live.retain(|node| *node != leaver);
        match wait(start, &live, |node| !cluster.sees(node, leaver)) {
            Some(seconds) => say("leave", seconds),
            None => note("not all saw the leave in time"),
        }
    }
    for _ in 0..crashes {
        rest();
        let Some(victim) = live.pop() else { break };
        let start = Instant::now();
        cluster.crash(victim);
        match wait(start, &live, |node| !cluster.sees(node, victim)) {
            Some(seconds) => say("crash", seconds),
            None => note("not all saw the crash in time"),
        }
    }
    let pairs = live.iter().flat_map(|node| live.iter().map(move |other| (*node, *other)));
    let wrong = pairs.filter(|(node, other)| node != other && !cluster.sees(*node, *other)).count();
    say("wrong", wrong as f64);
    Ok(())
}

/// Some updates may still be under way, and crashes must not keep step with the probes.
pub(crate) fn rest() {
    thread::sleep(Duration::from_millis(fastrand::u64(2_000..3_000)));
}

/// Waits until a condition holds for each node. Returns how long that took since `start`.
pub(crate) fn wait(start: Instant, nodes: &[usize], holds: impl Fn(usize) -> bool) -> Option<f64> {
    for node in nodes {
        while !holds(*node) {
            if start.elapsed() > PATIENCE {
                return None;
            }
            thread::sleep(POLL);
        }
    }
    Some(start.elapsed().as_secs_f64())
}

pub(crate) fn say(key: &str, value: f64) {
    // Values that the system does not report leave their cell empty.
    if value.is_finite() {
        println!("{key} {value}");
    }
}

pub(crate) fn note(text: &str) {
    println!("note {text}");
}
