//! Runs recorded nodes again: the same core, the same inputs, the same outputs, byte for byte.
//!
//! ```text
//! cargo run --release -p lab --bin replay -- node-a.rec
//! cargo run --release -p lab --bin replay -- node-a.rec --explain node-b --what-if suspicion_mult=6
//! cargo run --release -p lab --bin replay -- a.rec b.rec c.rec --verdict node-b
//! cargo run --release -p lab --bin replay -- --random 1000
//! ```
//!
//! Ends with status 1 if a recording cannot be read, or is not replayed as it was.

/// As in `std`, but if the reader of the pipe is gone, the program ends, with the status of a program that SIGPIPE ended.
macro_rules! println {
    ($($text:tt)*) => { crate::print_line(format_args!($($text)*)) };
}

mod account;
mod cost;
mod merged;
mod random;

use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
    process::{self, ExitCode},
    time::Duration,
};

use lab::{
    options::{self, Arguments, Long, Value},
    recording::{self, Recording},
};

const USAGE: &str = "Runs a node again from its recording, to the same outputs byte for byte, and says why a member stood as it did.

usage: replay FILE… [OPTION VALUE]…

  --explain NAME       why NAME stands as it does, as the recorded node saw it
  --at SECONDS         so long after the beginning, instead of at the end
  --what-if KEY=VALUE  what would have come of another configuration;
                       repeatable, with the keys of GossipConfig::set
  --merge              one timeline of all files (several files: always)
  --datagrams          with datagrams on the timeline
  --verdict NAME       who probed NAME, what got lost where, who accused it,
                       who was held up: the evidence from all files for the
                       first verdict; with --at for the first from then on,
                       so long after the beginning of the first recording
  --random COUNT       no files: so many simulated runs, recorded and replayed
  --from SEED          the first seed of them                       (0)
  --cost               no files: what recording costs a node that runs
  --idle-node          one of the processes of --cost: instead of files its
                       name, a seed, and where to record to

example: cargo run --release -p lab --bin replay -- node-a.rec --explain node-b";

#[derive(Default)]
struct Options {
    files: Vec<PathBuf>,
    explain: Option<String>,
    at: Option<Duration>,
    what_if: Vec<String>,
    merge: bool,
    datagrams: bool,
    verdict: Option<String>,
    random: Option<u64>,
    from: u64,
    cost: bool,
    /// The arguments are those of one of the processes of `--cost`.
    idle_node: bool,
}

impl Options {
    fn parse(arguments: &mut Arguments<'_>) -> Result<Self, options::Error> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next()? {
            match argument {
                Value(file) => options.files.push(file.into()),
                Long("explain") => options.explain = Some(arguments.value()?),
                Long("at") => options.at = Some(arguments.value_with(seconds)?),
                Long("what-if") => options.what_if.push(arguments.value()?),
                Long("merge") => options.merge = true,
                Long("datagrams") => options.datagrams = true,
                Long("verdict") => options.verdict = Some(arguments.value()?),
                Long("random") => options.random = Some(arguments.value()?),
                Long("from") => options.from = arguments.value()?,
                Long("cost") => options.cost = true,
                Long("idle-node") => options.idle_node = true,
                unknown => return Err(unknown.unexpected()),
            }
        }
        if options.files.is_empty() && options.random.is_none() && !options.cost {
            return Err("give the file of a recording, --random or --cost".into());
        }
        Ok(options)
    }
}

/// More than any recording has, and small enough for any sum of times.
const MOST_SECONDS: f64 = 1e9;

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "is not a number of seconds")?;
    match (0.0..=MOST_SECONDS).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(format!("must be 0 to {MOST_SECONDS} seconds")),
    }
}

fn print_line(text: fmt::Arguments<'_>) {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(141),
        Err(error) => {
            eprintln!("cannot print: {error}");
            process::exit(1)
        }
    }
}

fn main() -> ExitCode {
    let options = options::read(USAGE, Options::parse);
    let is_well = match options.random {
        Some(count) => random::run(options.from, count),
        None if options.cost => is_well(cost::print()),
        None if options.idle_node => is_well(cost::run_idle_node(&options.files)),
        None => run(&options),
    };
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_well(result: Result<(), Box<dyn std::error::Error>>) -> bool {
    result.inspect_err(|error| eprintln!("{error}")).is_ok()
}

fn run(options: &Options) -> bool {
    let read = |file: &PathBuf| match recording::read(file) {
        Ok(recording) => Some(recording),
        Err(error) => {
            eprintln!("{}: {error}", file.display());
            None
        }
    };
    let recordings: Vec<Recording> = options.files.iter().filter_map(read).collect();
    let mut is_well = recordings.len() == options.files.len();
    for recording in &recordings {
        is_well &= account::run(recording, options);
    }
    if let Some(name) = &options.verdict {
        is_well &= merged::verdict(&recordings, name, options.at.unwrap_or_default());
    } else if options.merge || recordings.len() > 1 {
        merged::timeline(&recordings, options.datagrams);
    }
    is_well
}
