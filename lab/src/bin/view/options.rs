//! The options of the command line.

use std::path::PathBuf;

use lab::options::{Arguments, Error, Long, Value, ValueExt};

use crate::{faults::Planned, simulate::Plan};

pub(crate) const USAGE: &str = "Writes a page to look at a run with: who believed what when, each datagram, each verdict in words.

usage: view RECORDING… [OPTION VALUE]…
       view --simulate KEY=VALUE,… [--fault AT:WHAT]… [OPTION VALUE]…

  --out FILE        the page                                 (incident.html)
  --title TEXT      what it is called                        (where it is from)
  --datagrams N     the most datagrams that it holds; those
                    around verdicts are kept                 (20000)
  --simulate KEYS   of a simulation instead of recordings:
                    nodes (5), seconds (60), seed (1), preset (lan, wan
                    or local), latency (0.3, one way, in ms), loss (0),
                    and each field of the configuration, as in
                    probe_interval_ms=500
  --fault AT:WHAT   what happens to it, AT seconds after its beginning:
                    crash:NODE restart:NODE leave:NODE pause:NODE:SECONDS
                    block:NODE:SECONDS late:NODE:SECONDS cut:FROM:TO
                    isolate:NODE+NODE+… deaf:NODE loss:SHARE heal
                    (NODE is a number: 0 is n0)

example: cargo run --release -p lab --bin view -- --simulate nodes=5,seconds=60 --fault 20:crash:3 --out crash.html";

pub(crate) enum Source {
    Files(Vec<PathBuf>),
    Simulation(Plan),
}

pub(crate) struct Options {
    pub(crate) source: Source,
    pub(crate) out: PathBuf,
    pub(crate) title: Option<String>,
    pub(crate) datagrams: usize,
}

impl Options {
    pub(crate) fn parse(arguments: &mut Arguments<'_>) -> Result<Self, Error> {
        let (mut files, mut plan, mut faults) = (Vec::new(), None, Vec::new());
        let (mut out, mut title, mut datagrams) = (PathBuf::from("incident.html"), None, 20_000);
        while let Some(argument) = arguments.next()? {
            match argument {
                Value(path) => files.push(path.parse()?),
                Long("out") => out = arguments.value()?,
                Long("title") => title = Some(arguments.value()?),
                Long("datagrams") => datagrams = arguments.value()?,
                Long("simulate") => plan = Some(arguments.value_with(Plan::parse)?),
                Long("fault") => faults.push(arguments.value::<Planned>()?),
                unknown => return Err(unknown.unexpected()),
            }
        }
        let source = match plan {
            Some(plan) if files.is_empty() => Source::Simulation(plan.with(faults)?),
            None if faults.is_empty() && !files.is_empty() => Source::Files(files),
            _ => return Err("give recordings, or --simulate with --fault".into()),
        };
        Ok(Self { source, out, title, datagrams })
    }
}
