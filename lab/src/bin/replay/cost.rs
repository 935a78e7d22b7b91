//! What a recording costs a node that runs: beside the same node without one, in turns.

#![expect(clippy::disallowed_methods, reason = "to measure is to wait and to read the clock")]

use std::{
    fs, io,
    net::UdpSocket,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use lab::recording::{Said, Segment, dissect};
use syncswim::{Gossip, GossipConfig, sim::World, swim::Config};

const NODES: usize = 32;
const TURNS: usize = 4;
const IDLE: Duration = Duration::from_secs(30);
const PINGS: u32 = 5000;
const LIMIT: u64 = 64 << 20;

/// Prints it; the machine should have nothing else to do.
pub(crate) fn print() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("syncswim-cost-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let printed = idle(&folder).and_then(|()| pings(&folder));
    fs::remove_dir_all(&folder)?;
    printed
}

fn idle(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let config = |at: usize| GossipConfig::lan(format!("node-{at:03}")).bind(([127, 0, 0, 1], 0));
    let mut nodes = vec![Gossip::start(config(0))?];
    let seed = nodes[0].local().addr.to_string();
    for at in 1..NODES {
        nodes.push(Gossip::start(config(at).seed(&seed))?);
    }
    nodes.iter().try_for_each(|node| node.wait_for(NODES, Duration::from_secs(60)))?;
    thread::sleep(Duration::from_secs(10));
    let mut spent = [Vec::new(), Vec::new()];
    let mut bytes = 0;
    for turn in 0..2 * TURNS {
        for (at, node) in nodes.iter().enumerate().filter(|_| turn % 2 == 1) {
            node.record(folder.join(format!("{at}.rec")), LIMIT)?;
        }
        // To begin and to end are no part of it.
        thread::sleep(Duration::from_secs(1));
        let before = cpu()?;
        thread::sleep(IDLE);
        spent[turn % 2].push((cpu()? - before) / NODES as f64 / IDLE.as_secs_f64() / 1e3);
        nodes.iter().for_each(Gossip::stop_recording);
        if turn % 2 == 1 {
            bytes = entries(&folder.join("0.rec"))?;
        }
    }
    let [off, on] = spent.map(median);
    println!(
        "{NODES} idle nodes: {off:.1} µs of CPU per node and second, recorded {on:.1} µs ({:+.1} %); {:.1} MB a day",
        100.0 * (on / off - 1.0),
        bytes as f64 / IDLE.as_secs_f64() * 86_400.0 / 1e6,
    );
    Ok(())
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
    let (mut round_trips, mut spent) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for turn in 0..20 * TURNS {
        if turn % 2 == 1 {
            node.record(folder.join("n1.rec"), LIMIT)?;
        }
        let (begin, before) = (Instant::now(), cpu()?);
        for _ in 0..PINGS {
            socket.send(&ping)?;
            socket.recv(&mut [0; 2048])?;
        }
        round_trips[turn % 2].push(begin.elapsed().as_secs_f64() * 1e6 / f64::from(PINGS));
        spent[turn % 2].push((cpu()? - before) / 1e3 / f64::from(PINGS));
        node.stop_recording();
    }
    for (what, values) in [("round trip", round_trips), ("CPU of both ends", spent)] {
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

/// Nanoseconds that all threads of this process have run.
fn cpu() -> io::Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir("/proc/self/task")? {
        let spent = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        sum += spent.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(sum)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
