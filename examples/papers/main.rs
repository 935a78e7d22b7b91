//! The tables of the papers, simulated with this library's own node, beside the published values.
//!
//! ```text
//! cargo run --release --features sim --example papers -- [SECTION…] [--full] [--check] [--repetitions N] [--seed N] [--out DIR]
//! ```
//!
//! Without `--full`, grids are thinned so that all of it takes minutes. With `--check`, a row that does not hold
//! is a failure.

#[path = "../plot/mod.rs"]
mod plot;

mod faults;
mod gossip;
mod lifeguard;
mod memberlist;
mod rapid;
mod report;
mod runs;
mod stats;
mod swim;
mod variants;

use std::{env, error::Error, fs, path::PathBuf, process::ExitCode};

use report::Table;

#[derive(Debug)]
struct Options {
    full: bool,
    /// Whether a row that does not hold is a failure of the run.
    check: bool,
    repetitions: usize,
    seed: u64,
    out: Option<PathBuf>,
}

type Section = fn(&Options) -> Table;

const SECTIONS: [(&str, &[Section]); 6] = [
    ("swim", &[swim::messages, swim::first_detection, swim::piggyback, swim::formulas, swim::joins]),
    ("gossip", &[gossip::table]),
    ("crash", &[lifeguard::crashes]),
    ("lifeguard", &[lifeguard::accuracy, lifeguard::speed, lifeguard::tuning]),
    ("rapid", &[rapid::bootstraps, rapid::crashes, rapid::asymmetry]),
    ("faults", &[faults::partition, faults::steadiness]),
];

const USAGE: &str =
    "usage: papers [SECTION…] [--full] [--check] [--repetitions N] [--seed N] [--out DIR]\nsections:";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut options = Options { full: false, check: false, repetitions: 1, seed: 1, out: None };
    let mut wanted = Vec::new();
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--full" => options.full = true,
            "--check" => options.check = true,
            "--repetitions" => options.repetitions = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--out" => options.out = Some(value()?.into()),
            name if SECTIONS.iter().any(|(section, _)| *section == name) => wanted.push(arg),
            _ => {
                let names = SECTIONS.map(|(section, _)| section).join(" ");
                return Err(format!("{arg:?} is not known\n{USAGE} {names}").into());
            }
        }
    }
    if let Some(folder) = &options.out {
        fs::create_dir_all(folder)?;
    }
    let mut failures = 0;
    for (name, tables) in SECTIONS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        for table in tables {
            let table = table(&options);
            println!("{}", table.markdown());
            failures += table.failures();
            if let Some(folder) = &options.out {
                table.save(folder)?;
            }
        }
    }
    println!("{failures} rows do not hold");
    Ok(if options.check && failures > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
