//! A discovery written by the program, and a loop that waits for changes, for work and for the end at the same time.
//!
//! ```text
//! cargo run --bin watch
//! ```
//!
//! The discovery here follows a file with one peer per line; the program edits that file as it goes.

mod arguments;

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    fs, io,
    path::PathBuf,
    process::{self, ExitCode},
    time::Duration,
};

use crossbeam_channel::{select, tick};
use syncswim::{Cluster, Membership, Stop};

const USAGE: &str =
    "A discovery of one's own, which follows a file, and a loop that waits for its changes. Ends by itself.

usage: watch

  --help  shows this

example: cargo run --bin watch";

/// Reads the file again and again, and reports new and removed peers.
fn follow(path: PathBuf) -> impl FnMut(&Membership, &Stop) -> io::Result<()> {
    let mut known = BTreeSet::new();
    move |membership, stop| {
        loop {
            let text = fs::read_to_string(&path)?;
            let listed: BTreeSet<String> = text.lines().map(str::to_owned).collect();
            membership.add(listed.difference(&known));
            membership.remove(known.difference(&listed));
            known = listed;
            if stop.wait(Duration::from_millis(20)) {
                return Ok(());
            }
        }
    }
}

fn main() -> ExitCode {
    arguments::read(USAGE, 0..=0);
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("watch: {}", error.downcast_ref().map_or_else(|| error.to_string(), syncswim::Error::report));
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let path = env::temp_dir().join(format!("syncswim-watch-{}.txt", process::id()));
    fs::write(&path, "10.0.0.1:80\n10.0.0.2:80\n")?;

    let cluster = Cluster::new().with_discovery(follow(path.clone()));
    let watch = cluster.membership().watch();
    let running = cluster.start()?;

    let mut edits = ["10.0.0.2:80\n10.0.0.3:80\n", "10.0.0.3:80\n", ""].into_iter();
    let work = tick(Duration::from_millis(200));
    loop {
        select! {
            recv(watch.receiver()) -> _ => while let Ok(change) = watch.try_recv() {
                println!("{change}");
                println!("  so now {:?}, majority {}", running.membership().snapshot().peers(), running.membership().majority());
            },
            recv(work) -> _ => match edits.next() {
                Some(text) => fs::write(&path, text)?,
                None => running.stop(),
            },
            recv(running.stop_flag().receiver()) -> _ => break,
        }
    }
    running.join()?;
    println!("stopped; the watch has ended too: {:?}", watch.recv());
    fs::remove_file(path)?;
    Ok(())
}
