//! Five nodes in one process: they find each other, and notice a crash, a restart and a leave.
//!
//! ```text
//! cargo run --release --bin cluster
//! ```
//!
//! It ends by itself after about ten seconds, and fails if any step takes too long.

#![allow(clippy::disallowed_methods, reason = "an example may read the clock")]

mod arguments;

use std::{
    error::Error,
    process::ExitCode,
    time::{Duration, Instant},
};

use syncswim::{Gossip, GossipConfig, MemberState};

const USAGE: &str = "Five nodes in one process: they find each other, and notice a crash, a restart and a leave. Ends by itself.

usage: cluster

  --help  shows this

example: cargo run --release --bin cluster";

const NAMES: [&str; 5] = ["alpha", "bravo", "charlie", "delta", "echo"];
const PATIENCE: Duration = Duration::from_secs(20);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    arguments::read(USAGE, 0..=0);
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("cluster: {}", error.downcast_ref().map_or_else(|| error.to_string(), syncswim::Error::report));
    ExitCode::FAILURE
}

fn run() -> Outcome<()> {
    let clock = Clock(Instant::now());
    println!("Five nodes in this process, on loopback, one probe a second each.\n");

    let alpha = start("alpha", None)?;
    let seed = alpha.local().addr.to_string();
    let mut nodes = vec![alpha];
    for name in &NAMES[1..] {
        nodes.push(start(name, Some(&seed))?);
    }
    clock.say("started; bravo to echo join through alpha");
    await_all(&nodes, "five live members", |node| live(node) == 5)?;
    clock.say("everybody sees five live members");
    show(&nodes);

    let crashed = Instant::now();
    let delta = nodes.remove(3);
    let old_addr = delta.local().addr;
    delta.abort()?;
    clock.say("delta crashes: its sockets and threads are gone, nobody was told");
    await_all(&nodes, "delta's failure", |node| state(node, "delta") == Some(MemberState::Failed))?;
    clock.say(&format!("everybody has noticed, {} after the crash", seconds(crashed.elapsed())));
    println!("            what alpha saw of it:");
    for line in nodes[0].explain("delta").to_string().lines() {
        println!("              {line}");
    }
    show(&nodes);

    let restarted = Instant::now();
    nodes.insert(3, start("delta", Some(&seed))?);
    let new_addr = nodes[3].local().addr;
    clock.say(&format!("delta restarts under its old name, at {new_addr} instead of {old_addr}"));
    await_all(&nodes, "delta's return", |node| {
        node.members().named("delta").is_some_and(|delta| delta.state.is_live() && delta.addr == new_addr)
    })?;
    clock.say(&format!("everybody has it back, {} after its start", seconds(restarted.elapsed())));
    show(&nodes);

    let leaving = Instant::now();
    let echo = nodes.remove(4);
    clock.say("echo leaves");
    echo.shutdown()?;
    await_all(&nodes, "echo's leave", |node| state(node, "echo") == Some(MemberState::Left))?;
    clock.say(&format!("everybody knows that it left, {} later", seconds(leaving.elapsed())));
    show(&nodes);

    drop(nodes);
    clock.say("all nodes stopped");
    Ok(())
}

fn start(name: &str, seed: Option<&str>) -> Result<Gossip, syncswim::Error> {
    let mut config = GossipConfig::local(name).bind(([127, 0, 0, 1], 0));
    config.seeds.extend(seed.map(str::to_owned));
    Gossip::start(config)
}

fn live(node: &Gossip) -> usize {
    node.members().live().count()
}

fn state(node: &Gossip, name: &str) -> Option<MemberState> {
    node.members().named(name).map(|member| member.state)
}

fn await_all(nodes: &[Gossip], what: &str, holds: impl Fn(&Gossip) -> bool) -> Outcome<()> {
    let deadline = Instant::now() + PATIENCE;
    while !nodes.iter().all(&holds) {
        if Instant::now() > deadline {
            return Err(format!("not everybody saw {what} within {PATIENCE:?}").into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// One line per node: the members that it sees.
fn show(nodes: &[Gossip]) {
    for node in nodes {
        let members = node.members();
        let view = members.iter().map(|member| match member.state {
            MemberState::Alive => member.name.to_string(),
            state => format!("{}({state})", member.name),
        });
        println!("            {:<8} sees {}", node.local().name, view.collect::<Vec<_>>().join(" "));
    }
    println!();
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

struct Clock(Instant);

impl Clock {
    fn say(&self, what: &str) {
        println!("{:7.3} s   {what}", self.0.elapsed().as_secs_f64());
    }
}
