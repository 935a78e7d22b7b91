//! The README's first program, with its addresses as arguments: prints every change of the list of peers, and leaves the
//! cluster at SIGINT, SIGTERM or SIGHUP.
//!
//! ```text
//! cargo run --example peers -- a 127.0.0.1:7001
//! cargo run --example peers -- b 127.0.0.1:7002 127.0.0.1:7001
//! ```

use std::{error::Error, process::ExitCode};

use syncswim::{Cluster, GossipConfig, GossipDiscovery};

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("peers: {}", error.downcast_ref().map_or_else(|| error.to_string(), syncswim::Error::report));
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    // Without a logger nobody is told of seeds that do not answer, or of a name that is taken.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let mut args = std::env::args().skip(1);
    let (Some(name), Some(bind)) = (args.next(), args.next()) else {
        return Err("usage: peers NAME HOST:PORT [SEED]...".into());
    };
    let discovery = GossipDiscovery::new(GossipConfig::lan(name).bind(bind));
    let cluster = Cluster::new().with_discovery(args.fold(discovery, GossipDiscovery::join));
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
