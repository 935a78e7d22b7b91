//! The processes of a cluster's nodes, and the resources that they have used, according to the system.

use std::{fs, process, time::Instant};

use rustix::time::{ClockId, clock_gettime};

#[derive(Debug, Clone)]
pub(crate) struct Home {
    processes: Vec<u32>,
    /// Which memory counts, as the roll-up of a process names it.
    memory: &'static str,
    /// KiB that these held before there was a node.
    base: f64,
    /// When the first node began to start.
    pub(crate) since: Instant,
}

impl Home {
    /// This process, which has no node yet.
    pub(crate) fn here() -> Self {
        Self::before_nodes(process::id())
    }

    /// A process that has no node yet, and will start them now.
    pub(crate) fn before_nodes(process: u32) -> Self {
        let memory = "Rss:";
        let base = kilobytes(process, memory);
        Self { processes: vec![process], memory, base, since: Instant::now() }
    }

    /// Processes that are one node each, so all their memory is a node's. Pages that several share count once.
    pub(crate) fn of_nodes(processes: Vec<u32>, since: Instant) -> Self {
        Self { processes, memory: "Pss:", base: 0.0, since }
    }

    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.sum(cpu_seconds)
    }

    /// KiB held for the nodes.
    pub(crate) fn memory(&self) -> f64 {
        self.sum(|process| kilobytes(process, self.memory)) - self.base
    }

    pub(crate) fn threads(&self) -> f64 {
        self.sum(|process| tasks(process).map_or(f64::NAN, |tasks| tasks.count() as f64))
    }

    fn sum(&self, of: impl Fn(u32) -> f64) -> f64 {
        self.processes.iter().map(|process| of(*process)).sum()
    }
}

fn cpu_seconds(process: u32) -> f64 {
    if process == process::id() {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        return time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    }
    // The process's own sum counts in hundredths of a second, too coarse for nodes at rest; its threads' sums
    // count in nanoseconds. A thread that ends takes its sum along, but Go's hardly ever end.
    let Ok(tasks) = tasks(process) else { return f64::NAN };
    let nanos = tasks.flatten().map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(f64::NAN)
    });
    nanos.sum::<f64>() / 1e9
}

fn tasks(process: u32) -> std::io::Result<fs::ReadDir> {
    fs::read_dir(format!("/proc/{process}/task"))
}

fn kilobytes(process: u32, name: &str) -> f64 {
    let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
    let find = |text: String, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    // The roll-up is exact; the counters in `status` may lag behind by some pages per processor.
    find(read("smaps_rollup"), name).or_else(|| find(read("status"), "VmRSS:")).unwrap_or(f64::NAN)
}
