//! Searches for broken promises: random clusters, random faults, one seed after another.
//!
//! ```text
//! cargo run --profile search -p lab --bin search -- --seeds 5000 --from 0 --theme late
//! cargo run --profile search -p lab --bin search -- --configs 5000
//! ```
//!
//! Themes are accidents, late, calls, conflicts, clocks, paths, attacks, everything, restarts and insiders; without one, each seed
//! goes through all.
//! The profile has overflow checks and debug assertions. If promises are broken, the program prints for each the shortest
//! schedule that still breaks it, and ends with status 1.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use lab::{
    options::{self, Arguments, Long},
    progress::Progress,
};
use syncswim::sim::{Theme, configs, search::try_seed};

const USAGE: &str = "Searches for broken promises: random clusters under random faults, one seed after another. Ends with status 1 and,
of each promise that is broken, the shortest schedule that still breaks it.

usage: search [OPTION VALUE]…

  --from SEED      the first seed                            (0)
  --seeds COUNT    how many                                  (2000)
  --configs COUNT  so many random configurations instead     (none)
  --theme NAME     accidents, late, calls, conflicts, clocks,
                   paths, attacks, everything, restarts
                   or insiders                               (each of them)
  --threads COUNT  how many seeds at a time                  (one for each processor)

example: cargo run --profile search -p lab --bin search -- --seeds 5000 --theme late";

struct Options {
    from: u64,
    count: u64,
    configs: bool,
    themes: Vec<Theme>,
    threads: usize,
}

impl Options {
    fn parse(arguments: &mut Arguments<'_>) -> Result<Self, options::Error> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self { from: 0, count: 2000, configs: false, themes: Theme::ALL.to_vec(), threads };
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("from") => options.from = arguments.value()?,
                Long("seeds") => options.count = arguments.value()?,
                Long("configs") => (options.count, options.configs) = (arguments.value()?, true),
                Long("theme") => {
                    let theme = |name: &str| Theme::named(name).ok_or("there is no such theme");
                    options.themes = vec![arguments.value_with(theme)?];
                }
                Long("threads") => options.threads = arguments.value()?,
                unknown => return Err(unknown.unexpected()),
            }
        }
        Ok(options)
    }

    /// The promises that a seed breaks.
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
    /// The length of its schedule: the shortest is shown.
    length: usize,
}

/// The findings about one promise: how many seeds break it, and the shortest schedule that does.
struct Found {
    times: u64,
    seed: u64,
    shortest: Broken,
}

fn main() -> ExitCode {
    let options = options::read(USAGE, Options::parse);
    let (from, count) = (options.from, options.count);
    println!("seeds {from} to {} on {} threads", from + count - 1, options.threads);
    let next = AtomicU64::new(from);
    let found: Mutex<BTreeMap<String, Found>> = Mutex::default();
    let progress = Progress::new("seeds", count);
    thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    for broken in options.look_for(seed) {
                        note(&mut found.lock().expect("nobody panics with it"), seed, broken);
                    }
                    progress.step();
                }
            });
        }
    });
    drop(progress);
    let found = found.into_inner().expect("nobody panics with it");
    for (promise, Found { times, seed, shortest }) in &found {
        println!("\n{promise}: {times} of {count} seeds; the shortest is {seed}: {}", shortest.what);
    }
    if found.is_empty() {
        println!("no promise was broken");
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
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
