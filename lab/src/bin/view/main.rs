//! A run to look at: writes one page of HTML from a simulation, or from recordings of real nodes.
//!
//! ```text
//! cargo run --release -p lab --bin view -- --simulate nodes=5,seconds=60 --fault 20:crash:3 --out crash.html
//! cargo run --release -p lab --bin view -- db-1.rec db-2.rec db-3.rec --out incident.html
//! ```

mod faults;
mod options;
mod simulate;

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use lab::{
    options::read,
    recording::{self, Recording, TimelineNode},
    view::{About, accounts, build, page},
};
use options::{Options, Source, USAGE};

fn main() -> ExitCode {
    match run(read(USAGE, Options::parse)) {
        Ok(said) => {
            // The page is written: if the reader of this output is gone, that is no error.
            let _ = io::stdout().write_all(said.as_bytes());
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(2)
        }
    }
}

/// Writes the page, and returns the text to print about it.
fn run(options: Options) -> Result<String, String> {
    let ((recordings, offsets, about), are_whole) = match &options.source {
        Source::Simulation(plan) => {
            let (recordings, about) = simulate::run(plan);
            // Simulated hosts have one clock, and record all that they do.
            let offsets = vec![0; recordings.len()];
            ((recordings, offsets, about), true)
        }
        Source::Files(paths) => (from_files(paths)?, false),
    };
    let (accounts, problems) = accounts(&recordings, &offsets, are_whole);
    problems.iter().for_each(|problem| eprintln!("{problem}"));
    let title = options.title.unwrap_or_else(|| about.title.clone());
    let mut run = build(&accounts, About { title, most_datagrams: options.datagrams, ..about });
    run.left_out.extend(problems);
    let page = page(&run);
    fs::write(&options.out, &page).map_err(|problem| format!("{}: {problem}", options.out.display()))?;
    let mut said = format!("{}\n{}: {} kB\n", run.summary, options.out.display(), page.len() / 1000);
    for verdict in &run.verdicts {
        let name = &run.nodes[verdict.subject].name;
        let (at, truth) = (verdict.at as f64 / 1e6, &verdict.truth);
        said += &format!("{at:>9.3} s  {}: {truth}\n", name.escape_debug());
    }
    Ok(said)
}

/// The recordings, the offset of each one's clock, and the information about the run.
fn from_files(paths: &[PathBuf]) -> Result<(Vec<Recording>, Vec<i64>, About), String> {
    let read =
        |path: &PathBuf| recording::read(path).map_err(|problem| format!("{}: {problem}", path.display()));
    let recordings = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let nodes = TimelineNode::of(&recordings);
    let mut parameters = Vec::new();
    for (node, (path, recording)) in nodes.iter().zip(paths.iter().zip(&recordings)) {
        parameters
            .push((node.name.clone(), format!("{}, recorded by {}", path.display(), recording.build())));
        let clock = match node.is_aligned {
            true => format!("{:+.3} ms, as datagrams show", node.offset as f64 / 1e6),
            false => "taken for right: no datagrams went both ways".to_owned(),
        };
        parameters.push((format!("correction of {}'s clock", node.name), clock));
    }
    let title =
        format!("Recordings of {}", nodes.iter().map(|node| &*node.name).collect::<Vec<_>>().join(", "));
    let offsets = nodes.iter().map(|node| node.offset).collect();
    Ok((recordings, offsets, About { title, source: "Recordings".into(), parameters, ..About::default() }))
}
