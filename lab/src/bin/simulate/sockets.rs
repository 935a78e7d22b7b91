//! The cluster of a forecast on real sockets, in a network of its own with the forecast's loss.

#![expect(clippy::disallowed_methods, reason = "what is measured takes real time")]

use std::{
    error::Error,
    io::Write,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use syncswim::{Gossip, GossipConfig};

use crate::{
    compare::{self, CRASHES, Metric, PATIENCE, QUIET, SETTLE, Sample},
    options::Options,
    wall_clock,
};

/// The interval between two looks at what the nodes list.
const POLL: Duration = Duration::from_millis(2);

/// A network namespace for each run.
pub(crate) struct Isolated;

impl Isolated {
    fn command(program: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--net", "--map-root-user", program]);
        command
    }

    /// Checks whether such networks can be created here, with the requested loss.
    pub(crate) fn find(options: &Options) -> Result<Self, Box<dyn Error>> {
        let probe = Self::command(&own_path()?).args(options.inside(0)).output();
        let problem = match probe {
            Ok(output) if output.status.success() => return Ok(Self),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        Err(format!(
            "a network of its own could not be made: {problem}\n\
             --sockets needs Linux, and `unshare` (util-linux), `ip` (iproute2) and `nft` (nftables)"
        )
        .into())
    }

    /// Begins a run in a process of its own.
    pub(crate) fn begin(&self, options: &Options) -> Result<Child, Box<dyn Error>> {
        let mut command = Self::command(&own_path()?);
        Ok(command.args(options.inside(options.nodes)).stdout(Stdio::piped()).spawn()?)
    }
}

/// Waits for a run to end.
pub(crate) fn figures_of(run: Child) -> Result<Vec<Sample>, Box<dyn Error>> {
    let output = run.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("a run on sockets ended with {}", output.status).into());
    }
    String::from_utf8(output.stdout)?.lines().map(parse).collect()
}

fn own_path() -> Result<String, Box<dyn Error>> {
    Ok(std::env::current_exe()?.to_str().ok_or("the path of this program is not valid UTF-8")?.to_owned())
}

fn parse(line: &str) -> Result<Sample, Box<dyn Error>> {
    let (key, value) = line.split_once(' ').ok_or("a line without a figure")?;
    let metric = Metric::named(key).ok_or_else(|| format!("{key} is not a figure"))?;
    Ok((metric, value.parse()?))
}

/// The child's part: sets up the network, runs so many nodes, and prints a line for each figure.
pub(crate) fn inside(options: &Options, nodes: usize) -> Result<(), Box<dyn Error>> {
    lose(options)?;
    if nodes > 0 {
        measure(options, nodes)?;
    }
    // No node leaves: the process ends, and its network with it.
    std::process::exit(0);
}

/// Enables the loopback interface, and makes it lose packets. The empty datagrams by which a node wakes its own thread are
/// not traffic, and pass.
fn lose(options: &Options) -> Result<(), Box<dyn Error>> {
    succeed(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let millionths = |share: f64| (share * 1e6).round() as u32;
    let rules = format!(
        "table inet loss {{
            chain in {{
                type filter hook input priority 0;
                meta l4proto udp udp length > 8 numgen random mod 1000000 < {} drop
                meta l4proto tcp numgen random mod 1000000 < {} drop
            }}
        }}",
        millionths(options.loss),
        millionths(options.segment_loss)
    );
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
    nft.stdin.take().ok_or("nft takes no input")?.write_all(rules.as_bytes())?;
    if nft.wait()?.success() { Ok(()) } else { Err("nft refused the rules".into()) }
}

fn succeed(command: &mut Command) -> Result<(), Box<dyn Error>> {
    if command.status()?.success() { Ok(()) } else { Err(format!("{command:?} failed").into()) }
}

fn measure(options: &Options, n: usize) -> Result<(), Box<dyn Error>> {
    let begin = wall_clock();
    let mut nodes = vec![Gossip::start(config(options, 0))?];
    let seed = nodes[0].local().addr.to_string();
    for name in 1..n {
        nodes.push(Gossip::start(config(options, name).seed(&seed))?);
    }
    if let Some(took) = wait(begin, &nodes) {
        say(Metric::Start, took);
        say(Metric::StartBytes, sent(&nodes).0 as f64 / n as f64 / 1000.0);
    }
    thread::sleep(SETTLE);
    let (before, begin) = (sent(&nodes), wall_clock());
    thread::sleep(QUIET);
    for (metric, value) in compare::rates(n, before, sent(&nodes), begin.elapsed()) {
        say(metric, value);
    }
    for _ in 0..CRASHES {
        thread::sleep(rest(&mut fastrand::Rng::new()));
        let Some(victim) = nodes.pop() else { break };
        let begin = wall_clock();
        victim.abort()?;
        if let Some(took) = wait(begin, &nodes) {
            say(Metric::Crash, took);
        }
    }
    Ok(())
}

fn config(options: &Options, name: usize) -> GossipConfig {
    let name = format!("n{name}");
    let config = match options.preset.as_str() {
        "wan" => GossipConfig::wan(name),
        "local" => GossipConfig::local(name),
        _ => GossipConfig::lan(name),
    };
    config.bind(([127, 0, 0, 1], 0))
}

/// A pause before a crash, since crashes must not keep step with the probes.
pub(crate) fn rest(rng: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(rng.u64(2_000..3_000))
}

fn sent(nodes: &[Gossip]) -> (u64, u64) {
    let metrics = nodes.iter().map(Gossip::metrics);
    metrics.fold((0, 0), |sum, m| (sum.0 + m.bytes_sent, sum.1 + m.datagrams_sent))
}

/// Waits until these nodes see each other and no others.
fn wait(begin: Instant, nodes: &[Gossip]) -> Option<f64> {
    while nodes.iter().any(|node| node.metrics().live_members != nodes.len() as u64) {
        if begin.elapsed() > PATIENCE {
            return None;
        }
        thread::sleep(POLL);
    }
    Some(begin.elapsed().as_secs_f64())
}

fn say(metric: Metric, value: f64) {
    println!("{} {value}", metric.key());
}
