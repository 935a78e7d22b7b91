//! The cost of threads and sockets: `cargo bench --bench driver`. (`lab/peers/` has round trips beside a bare echo.)
//!
//! - CPU and bytes of idle nodes, in clear and sealed.
//! - How many nodes one process holds: `cargo bench --bench driver -- 256`.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::{
    error::Error,
    fs, thread,
    time::{Duration, Instant},
};

use lexopt::{
    Arg::{Long, Value},
    ValueExt,
};
use syncswim::{Gossip, GossipConfig};

#[path = "support/options.rs"]
mod options;

const IDLE: Duration = Duration::from_secs(10);
const IDLE_NODES: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let nodes = options::read("usage: cargo bench --bench driver [-- NODES]", |parser| {
        let mut nodes = None;
        while let Some(argument) = parser.next()? {
            match argument {
                Value(number) if nodes.is_none() => nodes = Some(number.parse()?),
                // For all benches at once.
                Long("bench" | "quick") => {}
                unknown => return Err(unknown.unexpected()),
            }
        }
        Ok(nodes)
    });
    if let Some(nodes) = nodes {
        return many(nodes);
    }
    idle("in clear", |config| config)?;
    #[cfg(feature = "encryption")]
    {
        let ring = syncswim::Keyring::new(syncswim::Key::generate()?);
        idle("sealed", |config| config.keyring(&ring))?;
    }
    Ok(())
}

fn config(name: usize) -> GossipConfig {
    GossipConfig::lan(format!("node-{name:03}")).bind(([127, 0, 0, 1], 0))
}

fn start(nodes: usize, change: impl Fn(GossipConfig) -> GossipConfig) -> Result<Vec<Gossip>, Box<dyn Error>> {
    let mut running = vec![Gossip::start(change(config(0)))?];
    let seed = running[0].local().addr.to_string();
    for name in 1..nodes {
        running.push(Gossip::start(change(config(name)).seed(&seed))?);
    }
    Ok(running)
}

fn converge(nodes: &[Gossip]) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    while nodes.iter().any(|node| node.metrics().live_members != nodes.len() as u64) {
        if start.elapsed() > Duration::from_secs(120) {
            return Err("they do not find each other".into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn idle(what: &str, change: impl Fn(GossipConfig) -> GossipConfig) -> Result<(), Box<dyn Error>> {
    let nodes = start(IDLE_NODES, change)?;
    converge(&nodes)?;
    thread::sleep(Duration::from_secs(5));
    let bytes = || nodes.iter().map(|node| node.metrics().bytes_sent).sum::<u64>() as f64;
    let (cpu_before, bytes_before) = (cpu_ms(), bytes());
    thread::sleep(IDLE);
    let per = IDLE_NODES as f64 * IDLE.as_secs_f64();
    let (cpu, sent) = ((cpu_ms() - cpu_before) / per, (bytes() - bytes_before) / per);
    println!(
        "{IDLE_NODES} idle nodes {what}: {cpu:.3} ms of CPU and {sent:.0} bytes sent per node and second"
    );
    Ok(())
}

fn many(n: usize) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let before = resident_kb();
    let nodes = start(n, |config| config)?;
    converge(&nodes)?;
    println!("{n} nodes in one process see each other after {:.1} s", begin.elapsed().as_secs_f64());
    thread::sleep(Duration::from_secs(10));
    let cpu = cpu_ms();
    thread::sleep(IDLE);
    let cpu = (cpu_ms() - cpu) / IDLE.as_millis() as f64;
    let failed: u64 = nodes.iter().map(|node| node.metrics().probes_failed).sum();
    let each = (resident_kb() - before) as f64 * 1024.0 / n as f64;
    println!("idle: {:.1} % of one core, {failed} probes failed", 100.0 * cpu);
    println!(
        "{:.0} kB per node, {:.0} bytes per node and member; {} threads, {} descriptors",
        each / 1024.0,
        each / n as f64,
        fs::read_dir("/proc/self/task")?.count(),
        fs::read_dir("/proc/self/fd")?.count()
    );
    Ok(())
}

/// User and system time of this process, from what Linux counts in hundredths of seconds.
fn cpu_ms() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() * 10.0
}

fn resident_kb() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4
}
