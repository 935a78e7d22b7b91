//! Searches for broken promises: random clusters, random faults, one seed after another.
//!
//! ```text
//! cargo run --release --features sim --example search -- --seeds 5000 --from 0
//! ```
//!
//! Ends with status 1 and the shortest schedule that still breaks a promise, if one does.

use std::{
    env,
    error::Error,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use syncswim::{
    sim::search::{Finding, try_seed},
    swim::Config,
};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (mut from, mut seeds) = (0, 2000);
    let mut args = env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or("every option needs a value")?;
        match flag.as_str() {
            "--from" => from = value.parse()?,
            "--seeds" => seeds = value.parse::<u64>()?,
            _ => return Err("usage: search [--from SEED] [--seeds COUNT]".into()),
        }
    }
    let threads = thread::available_parallelism().map_or(1, usize::from);
    println!("seeds {from} to {} on {threads} threads", from + seeds - 1);
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let found: Mutex<Option<(u64, Finding)>> = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    if (seed - from).is_multiple_of(500) {
                        eprint!("\r{} of {seeds} ", seed - from);
                    }
                    let config: fn(String) -> Config =
                        [Config::lan, Config::local, Config::wan][seed as usize % 3];
                    if let Some(finding) = try_seed(seed, config) {
                        stop.store(true, Ordering::Relaxed);
                        found.lock().expect("nobody panics with it").get_or_insert((seed, finding));
                    }
                }
            });
        }
    });
    eprintln!();
    match found.into_inner().expect("nobody panics with it") {
        None => println!("no promise was broken"),
        Some((seed, Finding { schedule, violation })) => {
            println!("seed {seed}: {violation}\nthe shortest schedule found: {schedule:#?}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
