//! The tables of the papers, simulated with this library's own node, beside the published values.
//!
//! ```text
//! cargo run --release -p lab --bin papers                  # thinned grids: all of it takes minutes
//! cargo run --release -p lab --bin papers -- --full swim   # the whole grids of one section
//! cargo run --release -p lab --bin papers -- --help
//! ```

mod broadcasts;
mod faults;
mod gossip;
mod lifeguard;
mod memberlist;
mod rapid;
mod report;
mod swim;
mod variants;

use std::{error::Error, fs, path::PathBuf, process::ExitCode};

use lab::options::{self, Arguments, Long, Value, ValueExt};
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

const SECTIONS: [(&str, &[Section]); 7] = [
    ("swim", &[swim::messages, swim::first_detection, swim::piggyback, swim::formulas, swim::joins]),
    ("gossip", &[gossip::table]),
    ("broadcasts", &[broadcasts::completeness]),
    ("crash", &[lifeguard::crashes]),
    ("lifeguard", &[lifeguard::accuracy, lifeguard::speed, lifeguard::tuning]),
    ("rapid", &[rapid::bootstraps, rapid::crashes, rapid::asymmetry]),
    ("faults", &[faults::partition, faults::steadiness]),
];

const USAGE: &str =
    "The tables of the papers, simulated with this library's own node, beside the published values.

usage: papers [SECTION]… [OPTION]…

Sections: swim, gossip, broadcasts, crash, lifeguard, rapid, faults; without one, all of them, which takes minutes.

  --full           the whole grids of the papers, not a few points of each
  --check          a row that does not hold is a failure
  --repetitions N  runs of each setting                          (1)
  --seed N         all randomness comes from it                  (1)
  --out DIR        where to write plots and CSV                  (none)

example: cargo run --release -p lab --bin papers -- --out plots swim gossip";

impl Options {
    /// The parameters of a run, as its plots show them.
    fn parameters(&self) -> String {
        let grid = if self.full { "the whole grid" } else { "a thinned grid" };
        let times = if self.repetitions == 1 { "once" } else { &format!("{} times", self.repetitions) };
        format!("{grid}, each setting {times}, seed {}", self.seed)
    }

    /// The options and sections that the command line asks for.
    fn parse(arguments: &mut Arguments<'_>) -> Result<(Self, Vec<String>), options::Error> {
        let mut options = Self { full: false, check: false, repetitions: 1, seed: 1, out: None };
        let mut wanted = Vec::new();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("full") => options.full = true,
                Long("check") => options.check = true,
                Long("repetitions") => options.repetitions = arguments.value()?,
                Long("seed") => options.seed = arguments.value()?,
                Long("out") => options.out = Some(arguments.value()?),
                Value(name) => {
                    let name = name.string()?;
                    if SECTIONS.iter().all(|(section, _)| *section != name) {
                        return Err(format!("{name:?} is not a section").into());
                    }
                    wanted.push(name);
                }
                unknown => return Err(unknown.unexpected()),
            }
        }
        Ok((options, wanted))
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (options, wanted) = options::read(USAGE, Options::parse);
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
