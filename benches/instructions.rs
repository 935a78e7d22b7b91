//! Instructions per operation of the core, counted by valgrind: `cargo bench --bench instructions`.
//!
//! Unlike times, they hardly depend on the machine's load, so that a regression shows: with `--check`, more than
//! 10 % above what `benches/instructions.txt` says is a failure. Without it, that file is written anew.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    path::Path,
    process::{Command, ExitCode},
};

#[path = "support/options.rs"]
mod options;
#[path = "support/rig.rs"]
mod rig;

use lexopt::{Arg::Long, ValueExt};
use rig::{Acquaintance, BEGIN};
use syncswim::swim::Node;

/// The operation, and how to repeat it.
type Operation = (&'static str, fn(u32));

const OPERATIONS: [Operation; 4] = [
    ("ping in, ack out, 100 members", |times| ping(times, 100)),
    ("ping in, ack out, 10000 members", |times| ping(times, 10_000)),
    ("learn a member, 1000 members", learn),
    ("a known update, 1000 members", hear_again),
];
const USAGE: &str = "usage: cargo bench --bench instructions [-- --check]";
const TIMES: u32 = 2_000;
const TOLERANCE: f64 = 1.10;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Asked { check, operation } = options::read(USAGE, Asked::parse);
    if let Some((run, times)) = operation {
        run(times);
        return Ok(ExitCode::SUCCESS);
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed: nothing is counted");
        return Ok(ExitCode::SUCCESS);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let recorded = if check { parse(&fs::read_to_string(&file)?) } else { BTreeMap::new() };
    let (mut counted, mut grown) = (String::new(), false);
    for (name, _) in OPERATIONS {
        // The common part of both runs, such as making the node, cancels out.
        let each = (count(name, 2 * TIMES)? - count(name, TIMES)?) / u64::from(TIMES);
        println!("{name}: {each}");
        counted.push_str(&format!("{name}: {each}\n"));
        if let Some(before) = recorded.get(name).filter(|before| each as f64 > **before as f64 * TOLERANCE) {
            println!("  that is more than the {before} on record");
            grown = true;
        }
    }
    if !check {
        fs::write(file, counted)?;
    }
    Ok(if grown { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The options of the command line.
#[derive(Default)]
struct Asked {
    check: bool,
    /// A run that is counted: what, and how many times.
    operation: Option<(fn(u32), u32)>,
}

impl Asked {
    fn parse(parser: &mut lexopt::Parser) -> Result<Self, lexopt::Error> {
        let mut asked = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("check") => asked.check = true,
                Long("operation") => {
                    let name = parser.value()?.string()?;
                    let known = OPERATIONS.iter().find(|(known, _)| *known == name);
                    let (_, run) = known.ok_or(format!("--operation {name}: there is none"))?;
                    asked.operation = Some((*run, parser.value()?.parse()?));
                }
                // For all benches at once.
                Long("bench" | "quick") => {}
                unknown => return Err(unknown.unexpected()),
            }
        }
        Ok(asked)
    }
}

fn parse(text: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().filter_map(|line| line.rsplit_once(": "));
    lines.filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?))).collect()
}

/// All instructions of a run of this program.
fn count(operation: &str, times: u32) -> Result<u64, Box<dyn Error>> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(env::current_exe()?);
    let output = valgrind.args(["--operation", operation, &times.to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = collected.ok_or(format!("valgrind did not count: {text}"))?;
    Ok(count.trim().parse()?)
}

/// A node that knows all these members and has told all of it.
fn informed(members: &[Acquaintance]) -> Node {
    let mut node = rig::node(0, rig::passive(0));
    let mut buffer = Vec::new();
    members.iter().for_each(|member| member.meet(&mut node, &mut buffer));
    while let Some(now) = node.poll_timeout().filter(|_| node.metrics().queued_updates > 0) {
        node.handle_timeout(now);
        rig::drain(&mut node, &mut buffer);
    }
    node
}

fn ping(times: u32, n: u32) {
    let (members, ping) = (rig::acquaintances(n), rig::ping());
    let (mut node, mut buffer) = (informed(&members), Vec::new());
    let pings: Vec<_> = members.iter().map(|member| ping.said_by(&member.introduction)).collect();
    for ping in pings.iter().cycle().take(times as usize) {
        ping.deliver(&mut node, BEGIN);
        rig::drain(&mut node, &mut buffer);
    }
}

fn learn(times: u32) {
    let (introductions, mut buffer) = (rig::introductions(&rig::acquaintances(1000)), Vec::new());
    for _ in 0..times.div_ceil(1000) {
        let mut node = rig::node(0, rig::passive(0));
        for introduction in &introductions {
            introduction.deliver(&mut node, BEGIN);
            rig::drain(&mut node, &mut buffer);
        }
    }
}

fn hear_again(times: u32) {
    let members = rig::acquaintances(1000);
    let (introductions, mut node, mut buffer) =
        (rig::introductions(&members), informed(&members), Vec::new());
    for introduction in introductions.iter().cycle().take(times as usize) {
        introduction.deliver(&mut node, BEGIN);
        rig::drain(&mut node, &mut buffer);
    }
}
