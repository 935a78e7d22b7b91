//! The lab: real nodes, each a process in a network namespace of its own, in networks that are not flat.
//!
//! ```text
//! cargo test --test net                    all scenarios, some three minutes
//! cargo test --test net -- mapped          those whose name holds "mapped"
//! NET=600 cargo test --test net            each is watched for 600 seconds
//! NET_JOBS=1 cargo test --test net         one at a time; 6 otherwise
//! ```
//!
//! It needs Linux, root, `ip` and `nft`; a scenario whose needs are not met says what is missing. Each prints a row and
//! asserts claims: conditions with deadlines, no figures. A claim that does not hold today is *known*, with its cause:
//! whoever mends it strikes it from the scenario's list. What nodes said is in `target/tmp/net/SCENARIO/`.
#![allow(clippy::disallowed_methods, reason = "it runs in real time, with deadlines")]

mod life;
mod needs;
mod node;
mod process;
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

use needs::Needs;
use parking_lot::Mutex;
use scenarios::{Lab, SCENARIOS, Scenario};

fn main() -> ExitCode {
    let mut args = env::args().skip(1).peekable();
    match args.peek().map(String::as_str) {
        Some("--as-node") => node::main(args.skip(1)),
        _ => harness(args.collect()),
    }
}

/// Understands of libtest's options what cargo and nextest use.
fn harness(args: Vec<String>) -> ExitCode {
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-') && *arg != "terse").collect();
    let wanted = |scenario: &&Scenario| {
        let matches = |filter: &&String| {
            if has("--exact") { scenario.name == **filter } else { scenario.name.contains(filter.as_str()) }
        };
        !has("--ignored") && (filters.is_empty() || filters.iter().any(matches))
    };
    let chosen: Vec<&Scenario> = SCENARIOS.iter().filter(wanted).collect();
    if has("--list") {
        chosen.iter().for_each(|scenario| println!("{}: test", scenario.name));
        return ExitCode::SUCCESS;
    }
    run(&chosen)
}

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

fn run(chosen: &[&Scenario]) -> ExitCode {
    let begun = Instant::now();
    let needs = Needs::look();
    let seconds = env::var("NET").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let jobs = env::var("NET_JOBS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let quiet = Duration::from_secs(seconds);
    let tally = Mutex::new(Tally::default());
    // The direct network comes first: it is the measure of the others. Then many at a time, which mostly wait; last, one
    // by one, those that want the processors for themselves.
    for (alone, jobs) in
        [(scenarios::Order::First, 1), (scenarios::Order::Any, jobs), (scenarios::Order::Alone, 1)]
    {
        let queue: VecDeque<&Scenario> = chosen.iter().copied().filter(|one| one.order == alone).collect();
        let queue = Mutex::new(queue);
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    while let Some(scenario) = { queue.lock().pop_front() } {
                        one(scenario, &needs, quiet, &tally);
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

fn one(scenario: &Scenario, needs: &Needs, quiet: Duration, tally: &Mutex<Tally>) {
    if let Some(missing) = needs.missing(scenario.needs) {
        println!("skipped: {}: {missing}", scenario.name);
        tally.lock().skipped += 1;
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("net").join(scenario.name);
    let lab = Lab { name: scenario.name, folder, quiet };
    let mut report = report::Report::default();
    let failed = match (scenario.run)(&lab, &mut report) {
        Ok(()) => {
            print!("{}", report.print(scenario.name, scenario.known));
            report.failures(scenario.known).next().is_some()
        }
        Err(problem) => {
            println!("{}: FAILED: {problem}; see {}", scenario.name, lab.folder.display());
            true
        }
    };
    let mut tally = tally.lock();
    if failed { tally.failed += 1 } else { tally.passed += 1 }
}
