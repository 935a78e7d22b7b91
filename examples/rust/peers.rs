//! The README's first program, with its addresses as arguments: prints every change of the list of peers, and leaves the
//! cluster at SIGINT, SIGTERM or SIGHUP.
//!
//! ```text
//! cargo run --example peers -- a 127.0.0.1:7001
//! cargo run --example peers -- b 127.0.0.1:7002 127.0.0.1:7001
//! ```

mod arguments;

use std::{error::Error, process::ExitCode};

use syncswim::{Cluster, GossipConfig, GossipDiscovery};

const USAGE: &str =
    "Prints every change of the list of peers, until SIGINT, SIGTERM or SIGHUP: then it leaves the cluster.

usage: peers NAME HOST:PORT [SEED]...

  NAME       of this peer, unique in the cluster
  HOST:PORT  where to listen, UDP and TCP; port 0 takes any free one
  SEED       HOST:PORT of a peer to join through; none begins a cluster
  --help     shows this

example: cargo run --example peers -- b 127.0.0.1:7002 127.0.0.1:7001";

fn main() -> ExitCode {
    let arguments = arguments::read(USAGE, 2..=usize::MAX);
    let Err(error) = run(arguments) else { return ExitCode::SUCCESS };
    eprintln!("peers: {}", error.downcast_ref().map_or_else(|| error.to_string(), syncswim::Error::report));
    ExitCode::FAILURE
}

fn run(arguments: Vec<String>) -> Result<(), Box<dyn Error>> {
    // Without a logger, seeds that do not answer and a name that is taken would go unnoticed.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let mut arguments = arguments.into_iter();
    let (Some(name), Some(bind)) = (arguments.next(), arguments.next()) else { return Err(USAGE.into()) };
    let discovery = GossipDiscovery::new(GossipConfig::lan(name).bind(bind));
    let cluster = Cluster::new().with_discovery(arguments.fold(discovery, GossipDiscovery::join));
    let changes = cluster.membership().watch();
    let running = cluster.start()?;
    let stop = running.stop_flag().clone();
    ctrlc::set_handler(move || stop.stop())?;
    for change in &changes {
        println!("{change}");
    }
    running.join()?;
    println!("stopped");
    Ok(())
}
