//! Searches for broken promises: random clusters, random faults, one seed after another.
//!
//! ```text
//! cargo run --profile search --features sim --example search -- --seeds 5000 --from 0 --theme late
//! cargo run --profile search --features sim --example search -- --configs 5000
//! ```
//!
//! Themes are accidents, late, calls, rivals, clocks, paths, attacks and everything; without one, each seed goes through all.
//! The profile has overflow checks and debug assertions on. Ends with status 1 and, of each promise that is broken,
//! the shortest schedule that still breaks it.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use syncswim::sim::{Theme, configs, search::try_seed};

const USAGE: &str =
    "usage: search [--from SEED] [--seeds COUNT | --configs COUNT] [--theme NAME] [--threads COUNT]";

struct Options {
    from: u64,
    count: u64,
    configs: bool,
    themes: Vec<Theme>,
    threads: usize,
}

impl Options {
    fn read() -> Result<Self, Box<dyn Error>> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self { from: 0, count: 2000, configs: false, themes: Theme::ALL.to_vec(), threads };
        let mut args = env::args().skip(1);
        while let Some(flag) = args.next() {
            let value = args.next().ok_or(USAGE)?;
            match flag.as_str() {
                "--from" => options.from = value.parse()?,
                "--seeds" => options.count = value.parse()?,
                "--configs" => (options.count, options.configs) = (value.parse()?, true),
                "--theme" => options.themes = vec![Theme::named(&value).ok_or("there is no such theme")?],
                "--threads" => options.threads = value.parse()?,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }

    /// What a seed breaks.
    fn look_for(&self, seed: u64) -> Vec<Broken> {
        if self.configs {
            let broken = configs::try_config(seed).err();
            let broken = broken.map(|violation| Broken {
                promise: format!("{}: {:.40}", violation.rule, violation.what),
                what: format!("{violation}\n{:#?}", configs::draw(seed)),
                length: 0,
            });
            return broken.into_iter().collect();
        }
        let findings = self.themes.iter().filter_map(|theme| try_seed(seed, *theme));
        findings
            .map(|finding| Broken {
                promise: format!("{}: {}", finding.theme.name(), finding.violation.rule),
                what: format!("{}\n{:?}", finding.violation, finding.schedule),
                length: finding.schedule.faults.len() * 100 + finding.schedule.nodes,
            })
            .collect()
    }
}

/// A promise that is broken.
struct Broken {
    promise: String,
    what: String,
    /// The shortest is shown.
    length: usize,
}

/// Of one promise: how many seeds break it, and the shortest schedule that does.
struct Found {
    times: u64,
    seed: u64,
    shortest: Broken,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::read()?;
    let (from, count) = (options.from, options.count);
    println!("seeds {from} to {} on {} threads", from + count - 1, options.threads);
    let next = AtomicU64::new(from);
    let found: Mutex<BTreeMap<String, Found>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    if (seed - from).is_multiple_of(100) {
                        eprint!("\r{} of {count} ", seed - from);
                    }
                    for broken in options.look_for(seed) {
                        note(&mut found.lock().expect("nobody panics with it"), seed, broken);
                    }
                }
            });
        }
    });
    eprintln!();
    let found = found.into_inner().expect("nobody panics with it");
    for (promise, Found { times, seed, shortest }) in &found {
        println!("\n{promise}: {times} of {count} seeds; the shortest is {seed}: {}", shortest.what);
    }
    if found.is_empty() {
        println!("no promise was broken");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn note(found: &mut BTreeMap<String, Found>, seed: u64, broken: Broken) {
    match found.get_mut(&broken.promise) {
        None => {
            found.insert(broken.promise.clone(), Found { times: 1, seed, shortest: broken });
        }
        Some(found) => {
            found.times += 1;
            if broken.length < found.shortest.length {
                (found.seed, found.shortest) = (seed, broken);
            }
        }
    }
}
