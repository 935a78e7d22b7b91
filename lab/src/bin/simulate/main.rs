//! How would your cluster behave? A forecast, simulated with this library's own node.
//!
//! ```text
//! cargo run --release -p lab --bin simulate -- --nodes 300 --loss 0.1 --latency 20 --out plots
//! cargo run --release -p lab --bin simulate -- --nodes 32 --loss 0.25 --sockets 10   # beside real sockets
//! ```

mod compare;
mod forecast;
mod options;
mod sockets;

use std::{error::Error, fs, time::Instant};

use lab::options::read;
use options::{Options, USAGE};

fn main() -> Result<(), Box<dyn Error>> {
    let options = read(USAGE, Options::parse);
    if let Some(nodes) = options.inside {
        return sockets::inside(&options, nodes);
    }
    if let Some(runs) = options.sockets {
        return compare::run(&options, runs);
    }
    if let Some(folder) = &options.out {
        fs::create_dir_all(folder)?;
    }
    let started = wall_clock();
    forecast::run(&options);
    println!("\nsimulated in {:.1} s", started.elapsed().as_secs_f64());
    if let Some(folder) = &options.out {
        println!("plots are in {}", folder.display());
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "to say how long it took")]
pub(crate) fn wall_clock() -> Instant {
    Instant::now()
}
