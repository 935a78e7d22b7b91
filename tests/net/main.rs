//! The network scenarios: real nodes, each a process in a network namespace of its own, in networks that are not flat.
//!
//! ```text
//! cargo test --test net                    all scenarios, some three minutes
//! cargo test --test net -- mapped          those whose name holds "mapped"
//! NET=600 cargo test --test net            each is watched for 600 seconds
//! NET_LEAVES=100 cargo test --test net      whoever leaves comes back and leaves, so often
//! NET_JOBS=1 cargo test --test net         one at a time; 6 otherwise
//! NET_NODE="PROGRAM ARGS" cargo test …     nodes of another library: what does not hold is printed, and fails nothing
//! ```
//!
//! It needs Linux, root, `ip` and `nft`; a scenario whose requirements are missing prints which. Each scenario prints a row
//! and asserts claims: conditions with deadlines, no figures. A claim that does not hold today is *known*, with its cause;
//! the change that makes it hold removes it from the scenario's list. The nodes' output is in `target/tmp/net/SCENARIO/`.
#![allow(clippy::disallowed_methods, reason = "it runs in real time, with deadlines")]

mod life;
mod needs;
mod node;
mod process;
mod relay;
mod report;
mod scenarios;
mod space;

use std::{
    collections::VecDeque,
    env,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use lexopt::prelude::*;
use needs::Needs;
use parking_lot::Mutex;
use scenarios::{Lab, SCENARIOS, Scenario};

fn main() -> ExitCode {
    let mut args = env::args().skip(1).peekable();
    match args.peek().map(String::as_str) {
        Some("--as-node") => node::main(args.skip(1)),
        Some("--as-relay") => relay::main(args.skip(1)),
        _ => harness(args),
    }
}

/// The options that cargo and nextest pass to a test program, as far as they matter here; other options of libtest have no
/// effect.
#[derive(Debug, Default)]
struct Options {
    filters: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
    ignored: bool,
}

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Result<Self, lexopt::Error> {
        let (mut options, mut parser) = (Self::default(), lexopt::Parser::from_args(args));
        while let Some(arg) = parser.next()? {
            match arg {
                Long("exact") => options.exact = true,
                Long("list") => options.list = true,
                Long("ignored") => options.ignored = true,
                Long("skip") => options.skipped.push(parser.value()?.string()?),
                Long("test-threads" | "format" | "color") | Short('Z') => drop(parser.value()?),
                Long(_) | Short(_) => drop(parser.optional_value()),
                Value(filter) => options.filters.push(filter.string()?),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        let matches = |filter: &String| if self.exact { name == filter } else { name.contains(&**filter) };
        // No scenario is an ignored test.
        !self.ignored
            && (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skipped.iter().any(matches)
    }
}

fn harness(args: impl Iterator<Item = String>) -> ExitCode {
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(mistake) => {
            eprintln!("net: {mistake}");
            return ExitCode::from(2);
        }
    };
    let chosen: Vec<&Scenario> = SCENARIOS.iter().filter(|scenario| options.wants(scenario.name)).collect();
    if options.list {
        chosen.iter().for_each(|scenario| println!("{}: test", scenario.name));
        return ExitCode::SUCCESS;
    }
    match (number("NET", 5), number("NET_JOBS", 6), number("NET_LEAVES", 1)) {
        (Ok(seconds), Ok(jobs), Ok(leaves)) => {
            run(&chosen, Duration::from_secs(seconds), leaves, jobs.max(1))
        }
        (Err(problem), ..) | (_, Err(problem), _) | (.., Err(problem)) => {
            eprintln!("net: {problem}");
            ExitCode::from(2)
        }
    }
}

/// A number from the environment.
fn number(name: &str, default: u64) -> Result<u64, String> {
    let Ok(text) = env::var(name) else { return Ok(default) };
    text.parse().map_err(|error| format!("{name} wants a number, not {text:?}: {error}"))
}

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

fn run(chosen: &[&Scenario], quiet: Duration, leaves: u64, jobs: u64) -> ExitCode {
    let begun = Instant::now();
    let needs = Needs::look();
    let tally = Mutex::new(Tally::default());
    // The direct network comes first, since the others are compared with it. Then many run at a time, which mostly wait;
    // last, one by one, those that need the processors for themselves.
    for (alone, jobs) in
        [(scenarios::Order::First, 1), (scenarios::Order::Any, jobs), (scenarios::Order::Alone, 1)]
    {
        let queue: VecDeque<&Scenario> = chosen.iter().copied().filter(|one| one.order == alone).collect();
        let queue = Mutex::new(queue);
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    while let Some(scenario) = { queue.lock().pop_front() } {
                        one(scenario, &needs, quiet, leaves, &tally);
                    }
                });
            }
        });
    }
    let Tally { passed, failed, skipped } = tally.into_inner();
    println!("\nnet: {passed} passed, {failed} failed, {skipped} skipped");
    println!("in {:.0} s", begun.elapsed().as_secs_f64());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(scenario: &Scenario, needs: &Needs, quiet: Duration, leaves: u64, tally: &Mutex<Tally>) {
    if let Some(missing) = needs.missing(scenario.needs) {
        println!("skipped: {}: {missing}", scenario.name);
        tally.lock().skipped += 1;
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("net").join(scenario.name);
    let lab = Lab { name: scenario.name, folder, quiet, leaves };
    let mut report = report::Report::default();
    let others = env::var("NET_NODE").is_ok();
    let known = if others { &[] } else { scenario.known };
    let failed = match (scenario.run)(&lab, &mut report) {
        Ok(()) => {
            print!("{}", report.print(scenario.name, known));
            report.failures(known).next().is_some() && !others
        }
        Err(problem) => {
            println!("{}: FAILED: {problem}; see {}", scenario.name, lab.folder.display());
            true
        }
    };
    let mut tally = tally.lock();
    if failed { tally.failed += 1 } else { tally.passed += 1 }
}
