//! Runs all measurements in turn, and collects their output.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    io::{self, IsTerminal, Write},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use lab::plot::{self, Bar};

use crate::{
    core, echo, key_values, lossy, membership, messages,
    options::{Options, cluster_arguments},
    peers::Peer,
    report::{self, Summary, Table},
    scenario::{METRICS, Metric, Scenario},
};

/// The results of one peer at one size.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) values: BTreeMap<String, Vec<f64>>,
    pub(crate) notes: Vec<String>,
}

/// By size and peer.
pub(crate) type Results = BTreeMap<(usize, &'static str), Samples>;

pub(crate) fn run(mut options: Options) -> Result<(), Box<dyn Error>> {
    let presets = presets(&mut options.peers);
    let options = &options;
    let mut tables = Vec::new();
    let mut clusters_alone = None;
    if options.wants("core") {
        progress("core: pings through the cores alone");
        tables.push(core::table(options.quick));
    }
    if options.wants("membership") {
        progress("membership: sets of peers");
        tables.extend(membership::tables(options.quick));
    }
    if options.wants("echo") {
        progress("echo: round trips over loopback");
        tables.push(echo::table(options.quick)?);
    }
    if options.wants("cluster") {
        let results = clusters(options, "cluster", &options.peers, &options.sizes, 0)?;
        for size in &options.sizes {
            let title = format!("{size} nodes");
            tables.push(report::cluster_table(title, &METRICS, *size, &options.peers, &results));
        }
        clusters_alone = Some(results);
    }
    if options.wants("loss") {
        tables.extend(lossy(options)?);
    }
    if options.wants("messages") {
        tables.extend(message_tables(options)?);
    }
    if options.wants("key-values") {
        tables.push(key_values_table(options)?);
    }
    progress("");
    tables.iter().for_each(Table::print);
    let notes = report::notes(options, &presets);
    println!("{notes}");
    let Some(file) = &options.markdown else { return Ok(()) };
    let mut text: String = tables.iter().map(Table::markdown).collect();
    if let Some(results) = &clusters_alone {
        let folder = file.parent().unwrap_or(".".as_ref()).join("benchmarks");
        fs::create_dir_all(&folder)?;
        text.push_str("## Plots\n\n");
        for metric in METRICS {
            plot(&folder.join(format!("{}.svg", metric.key)), &metric, options, results)?;
            text.push_str(&format!("![{}](benchmarks/{}.svg)\n", metric.label, metric.key));
        }
    }
    fs::write(file, format!("{text}\n{notes}"))?;
    Ok(())
}

/// A group of bars for each size, a bar for each peer.
fn plot(path: &Path, metric: &Metric, options: &Options, results: &Results) -> Result<(), Box<dyn Error>> {
    let bar = |size: usize, peer: &Peer| {
        let Summary { median, min, max } = report::summary(results, size, peer, metric)?;
        Some(Bar { median, min, max })
    };
    let group =
        |size: &usize| (format!("{size} nodes"), options.peers.iter().map(|peer| bar(*size, peer)).collect());
    let groups: Vec<_> = options.sizes.iter().map(group).collect();
    let names: Vec<&str> = options.peers.iter().map(|peer| peer.name).collect();
    let Options { runs, crashes, .. } = options;
    let idle = options.idle.as_secs();
    let parameters =
        format!("median, least and most of {runs} runs; {crashes} crashes and {idle} s of rest in each");
    plot::bars(path, &metric.title(), &parameters, &names, &groups)
}

/// The versions and configurations of the peers. Leaves out those that cannot be measured here, and says so.
fn presets(peers: &mut Vec<&'static Peer>) -> String {
    let mut text = String::new();
    peers.retain(|peer| {
        let version = (peer.version)();
        text.push_str(&match &version {
            Ok(version) => format!("- {} {version}: {}.\n", peer.name, peer.preset),
            Err(problem) => format!("- {}: left out: {problem}.\n", peer.name),
        });
        version.is_ok()
    });
    text
}

/// Nodes in the block with loss.
const LOSSY: usize = 32;

/// `None`, with a line that says why, where a cluster cannot have a network of its own that loses datagrams.
fn lossy(options: &Options) -> Result<Option<Table>, Box<dyn Error>> {
    let loss = options.loss;
    if !can_lose(loss) {
        return Ok(None);
    }
    let results = clusters(options, "loss", &options.peers, &[LOSSY], loss)?;
    let title = format!("{LOSSY} nodes, {loss} % of datagrams lost");
    Ok(Some(report::cluster_table(title, &lossy::METRICS, LOSSY, &options.peers, &results)))
}

fn can_lose(loss: u8) -> bool {
    let can = Isolation::find(loss) != Isolation::None;
    if !can {
        eprintln!(
            "loss: left out: it needs `unshare`, `ip` and `nft`, and the right to make a network namespace"
        );
    }
    can
}

/// Nodes in the blocks of broadcasts and queries; the first of them with loss, too.
const MESSAGES: [usize; 2] = [9, 32];

fn message_tables(options: &Options) -> Result<Vec<Table>, Box<dyn Error>> {
    let peers = options.peers_with("messages");
    let sizes = if options.quick { &MESSAGES[..1] } else { &MESSAGES };
    let table = |size: usize, lost: &str, results: &Results| {
        let title = format!("Broadcasts and queries: {size} nodes{lost}");
        report::cluster_table(title, &messages::METRICS, size, &peers, results)
    };
    let results = clusters(options, "messages", &peers, sizes, 0)?;
    let mut tables: Vec<Table> = sizes.iter().map(|size| table(*size, "", &results)).collect();
    let loss = options.loss;
    if can_lose(loss) {
        let results = clusters(options, "messages", &peers, &MESSAGES[..1], loss)?;
        tables.push(table(MESSAGES[0], &format!(", {loss} % of datagrams lost"), &results));
    }
    Ok(tables)
}

fn key_values_table(options: &Options) -> Result<Table, Box<dyn Error>> {
    let peers = options.peers_with("key-values");
    let size = if options.quick { 16 } else { 64 };
    let results = clusters(options, "key-values", &peers, &[size], 0)?;
    let title = format!("Key–values: {size} nodes, 64 KiB of each");
    Ok(report::cluster_table(title, &key_values::METRICS, size, &peers, &results))
}

fn clusters(
    options: &Options,
    part: &'static str,
    peers: &[&'static Peer],
    sizes: &[usize],
    loss: u8,
) -> Result<Results, Box<dyn Error>> {
    let isolation = Isolation::find(loss);
    if isolation == Isolation::None {
        eprintln!("The network is shared: other programs' use of the loopback interface is counted too.");
    }
    let mut results = Results::new();
    let total = options.runs * sizes.len() * peers.len();
    let (start, mut done) = (Instant::now(), 0);
    // Runs are the outermost loop, so that a temporary disturbance of the machine affects all alike.
    for run in 1..=options.runs {
        for size in sizes {
            for peer in peers {
                let left = match done {
                    0 => String::new(),
                    _ => {
                        let each = start.elapsed().as_secs() as f64 / f64::from(done);
                        format!(
                            ", about {:.0} min left",
                            (each * (total as f64 - f64::from(done)) / 60.0).ceil()
                        )
                    }
                };
                done += 1;
                progress(&format!("[{done}/{total}] {} with {size} nodes, run {run}{left}", peer.name));
                let samples = results.entry((*size, peer.name)).or_default();
                isolation.measure(peer, &options.scenario(part, *size, loss), samples)?;
            }
        }
    }
    Ok(results)
}

/// A line that is overwritten on a terminal.
fn progress(text: &str) {
    let mut out = io::stderr();
    let _ = match (out.is_terminal(), text.is_empty()) {
        (true, _) => write!(out, "\r\x1b[K{text}").and_then(|()| out.flush()),
        (false, true) => Ok(()),
        (false, false) => writeln!(out, "{text}"),
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Isolation {
    /// A network namespace for each cluster, with nothing but a loopback interface.
    Namespace,
    None,
}

impl Isolation {
    /// Runs the command in a namespace of its own, whose loopback interface loses this percentage of datagrams.
    fn unshare(loss: u8) -> Command {
        let rules = format!(
            "add table inet loss; add chain inet loss in {{ type filter hook input priority 0; }}; \
             add rule inet loss in meta l4proto udp numgen random mod 100 < {loss} drop"
        );
        let lose = if loss == 0 { String::new() } else { format!("nft '{rules}' &&") };
        let script = format!("ip link set lo up && {lose} exec \"$0\" \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--net", "--map-root-user", "sh", "-c", &script]);
        command
    }

    fn find(loss: u8) -> Self {
        let tried = Self::unshare(loss).arg("true").stderr(Stdio::null()).status();
        if tried.is_ok_and(|status| status.success()) { Self::Namespace } else { Self::None }
    }

    fn measure(self, peer: &Peer, scenario: &Scenario, samples: &mut Samples) -> io::Result<()> {
        let program = env::current_exe()?;
        let mut command = match self {
            Self::None => Command::new(program),
            Self::Namespace => {
                let mut command = Self::unshare(scenario.loss);
                command.arg(program);
                command
            }
        };
        let output = command.args(cluster_arguments(peer, scenario)).stderr(Stdio::inherit()).output()?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            match line.split_once(' ') {
                Some(("note", text)) => samples.note(text),
                Some((key, value)) => {
                    if let Ok(value) = value.parse() {
                        samples.values.entry(key.to_owned()).or_default().push(value);
                    }
                }
                None => {}
            }
        }
        if !output.status.success() {
            samples.note(&format!("a run ended with {}", output.status));
        }
        Ok(())
    }
}

impl Samples {
    fn note(&mut self, text: &str) {
        if !self.notes.iter().any(|known| known == text) {
            self.notes.push(text.to_owned());
        }
    }
}
