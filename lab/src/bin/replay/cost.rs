//! The cost of a recording: idle processes beside others that do not record, and a node that answers pings with and without.

#![expect(clippy::disallowed_methods, reason = "to measure is to wait and to read the clock")]

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _},
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use lab::recording::{Said, Segment, dissect};
use syncswim::{Gossip, GossipConfig, sim::World, swim::Config};

const NODES: usize = 32;
const TURNS: usize = 80;
const SETTLES: Duration = Duration::from_secs(20);
const IDLE: Duration = Duration::from_secs(180);
const PINGS: u32 = 5000;
const LIMIT: u64 = 64 << 20;

/// Prints the cost; the machine should be idle otherwise.
pub(crate) fn print() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("syncswim-cost-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let printed = idle(&folder).and_then(|()| pings(&folder));
    fs::remove_dir_all(&folder)?;
    printed
}

/// A node of an idle cluster, in a process of its own as in practice: no other code keeps its code in the caches.
struct IdleNode(Child);

impl IdleNode {
    fn start(name: &str, seed: &str, file: Option<&Path>) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--idle-node", name, seed]).args(file);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map(Self)
    }

    /// The address that it prints.
    fn addr(&mut self) -> io::Result<String> {
        let mut line = String::new();
        BufReader::new(self.0.stdout.take().expect("it is piped")).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    fn spent(&self) -> io::Result<Spent> {
        spent(&format!("/proc/{}/task", self.0.id()))
    }
}

/// Ends the process by closing its input.
impl Drop for IdleNode {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Such a process: `arguments` are its name, the seed (empty for the first) and the file to record to, if any.
pub(crate) fn run_idle_node(arguments: &[PathBuf]) -> Result<(), Box<dyn std::error::Error>> {
    let [name, seed, file @ ..] = arguments else { return Err("it needs a name and a seed".into()) };
    let mut config = GossipConfig::lan(name.display().to_string()).bind(([127, 0, 0, 1], 0));
    config.seeds.extend(seed.to_str().filter(|seed| !seed.is_empty()).map(Into::into));
    let node = Gossip::start(config)?;
    println!("{}", node.local().addr);
    node.wait_for_members(NODES, Duration::from_secs(60))?;
    for file in file {
        node.record(file, LIMIT)?;
    }
    io::stdin().read_to_end(&mut Vec::new())?;
    node.shutdown()?;
    Ok(())
}

/// Every second node is recorded throughout, so that other load on the machine affects both kinds alike.
fn idle(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let file = |at: usize| folder.join(format!("{at}.rec"));
    let mut nodes = vec![IdleNode::start("node-000", "", None)?];
    let seed = nodes[0].addr()?;
    for at in 1..NODES {
        let file = (at % 2 == 1).then(|| file(at));
        nodes.push(IdleNode::start(&format!("node-{at:03}"), &seed, file.as_deref())?);
    }
    thread::sleep(SETTLES);
    let read = || nodes.iter().map(IdleNode::spent).collect::<io::Result<Vec<_>>>();
    let (before, began) = (read()?, Instant::now());
    thread::sleep(IDLE);
    let (after, took) = (read()?, began.elapsed().as_secs_f64());
    let (mut of_nodes, mut writing) = ([Vec::new(), Vec::new()], 0.0);
    // The first node is the seed of all others, which they come back to.
    for (at, (before, after)) in before.iter().zip(&after).enumerate().skip(2) {
        of_nodes[at % 2].push((after.all - before.all) / took / 1e3);
        writing += (after.writing - before.writing) / took / 1e3;
    }
    drop(nodes);
    let bytes = entries(&file(1))? as f64 / (SETTLES + IDLE).as_secs_f64();
    writing /= of_nodes[1].len() as f64;
    let [(off, off_error), (on, on_error)] = of_nodes.map(|values| mean(&values));
    println!(
        "{NODES} idle processes: {off:.1} ± {off_error:.1} µs of CPU per node and second, \
         recorded {on:.1} ± {on_error:.1} µs ({:+.1} %), {writing:.1} µs of it to write the file; {:.1} MB a day",
        100.0 * (on / off - 1.0),
        bytes * 86_400.0 / 1e6,
    );
    Ok(())
}

/// The mean, and its standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}

/// Bytes of a recording without its header and the state that it begins with.
fn entries(file: &Path) -> Result<usize, Box<dyn std::error::Error>> {
    let recording = lab::recording::read(file)?;
    Ok(recording.segments().iter().map(Segment::entry_bytes).sum())
}

/// The round trip of a ping over loopback, and the processor's time for it.
fn pings(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let ping = a_ping();
    let node = Gossip::start(GossipConfig::lan("n1").bind(([127, 0, 0, 1], 0)))?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(node.local().addr)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (mut round_trips, mut of_both) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for turn in 0..TURNS {
        if turn % 2 == 1 {
            node.record(folder.join("n1.rec"), LIMIT)?;
        }
        let (begin, before) = (Instant::now(), spent("/proc/self/task")?.all);
        for _ in 0..PINGS {
            socket.send(&ping)?;
            socket.recv(&mut [0; 2048])?;
        }
        round_trips[turn % 2].push(begin.elapsed().as_secs_f64() * 1e6 / f64::from(PINGS));
        of_both[turn % 2].push((spent("/proc/self/task")?.all - before) / 1e3 / f64::from(PINGS));
        node.stop_recording();
    }
    for (what, values) in [("round trip", round_trips), ("CPU of both ends", of_both)] {
        let [off, on] = values.map(median);
        println!(
            "ping to ack over loopback, {what}: {off:.2} µs, recorded {on:.2} µs ({:+.1} %)",
            100.0 * (on / off - 1.0)
        );
    }
    Ok(())
}

/// A ping for the node n1, from a simulated cluster.
fn a_ping() -> Vec<u8> {
    let mut world = World::new(1);
    world.record(LIMIT);
    world.start_cluster(2, Config::lan);
    world.run_for(Duration::from_secs(60));
    let recording = world.recordings().swap_remove(0);
    let is_ping = |bytes: &[u8]| {
        dissect(bytes)
            .is_some_and(|found| matches!(&found.messages[..], [Said::Ping { target, .. }] if target == "n1"))
    };
    let sent = recording.replay().flatten().flat_map(|step| step.sent).find(|sent| is_ping(&sent.bytes));
    sent.expect("it pings").bytes.into_owned()
}

/// Nanoseconds that the threads of a process have run.
struct Spent {
    all: f64,
    /// Those of them that write recordings.
    writing: f64,
}

/// By the folder of its threads.
fn spent(threads: &str) -> io::Result<Spent> {
    let mut spent = Spent { all: 0.0, writing: 0.0 };
    for thread in fs::read_dir(threads)? {
        let folder = thread?.path();
        let read = |file| fs::read_to_string(folder.join(file)).unwrap_or_default();
        let nanos = read("schedstat").split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0.0);
        spent.all += nanos;
        if read("comm").trim_end().ends_with("-rec") {
            spent.writing += nanos;
        }
    }
    Ok(spent)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
