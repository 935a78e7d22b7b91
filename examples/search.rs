//! Searches for broken promises: random clusters, random faults, one seed after another.
//!
//! ```text
//! cargo run --profile search --features sim --example search -- --seeds 5000 --from 0 --theme late
//! cargo run --profile search --features sim --example search -- --configs 5000
//! ```
//!
//! Themes are accidents, late, calls, rivals, clocks, attacks and everything; without one, each seed goes through all. The
//! profile has overflow checks and debug assertions on. Ends with status 1 and, of each promise that is broken, the
//! shortest schedule that still breaks it.

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

    /// What a seed breaks: the promise, and how.
    fn look_for(&self, seed: u64) -> Vec<(String, String)> {
        if self.configs {
            let broken = configs::try_config(seed).err();
            return broken
                .map(|violation| {
                    let what = format!("{violation}\n{:#?}", configs::draw(seed));
                    (format!("{}: {:.40}", violation.rule, violation.what), what)
                })
                .into_iter()
                .collect();
        }
        let findings = self.themes.iter().filter_map(|theme| try_seed(seed, *theme));
        findings
            .map(|finding| {
                let kind = format!("{}: {}", finding.theme.name(), finding.violation.rule);
                (kind, format!("{}\n{:#?}", finding.violation, finding.schedule))
            })
            .collect()
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::read()?;
    let (from, count) = (options.from, options.count);
    println!("seeds {from} to {} on {} threads", from + count - 1, options.threads);
    let next = AtomicU64::new(from);
    let found: Mutex<BTreeMap<String, (u64, String, u64)>> = Mutex::default();
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
                    for (promise, what) in options.look_for(seed) {
                        let mut found = found.lock().expect("nobody panics with it");
                        found.entry(promise).or_insert((seed, what, 0)).2 += 1;
                    }
                }
            });
        }
    });
    eprintln!();
    let found = found.into_inner().expect("nobody panics with it");
    for (promise, (seed, what, times)) in &found {
        println!("\n{promise}: {times} of {count}, such as seed {seed}: {what}");
    }
    if found.is_empty() {
        println!("no promise was broken");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
