//! A node whose metrics Prometheus can scrape: one thread, `std::net`, no HTTP library.
//!
//! ```text
//! cargo run -p examples --example metrics -- a 127.0.0.1:7001 127.0.0.1:9101
//! cargo run -p examples --example metrics -- b 127.0.0.1:7002 127.0.0.1:9102 127.0.0.1:7001
//! curl http://127.0.0.1:9102/metrics
//! ```

use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use crossbeam_channel::bounded;
use syncswim::{Gossip, GossipConfig, Metrics};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, bind, page, seeds @ ..] = &arguments[..] else {
        return Err("usage: metrics NAME HOST:PORT PAGE_HOST:PORT [SEED]...".into());
    };
    let (interrupt, interrupted) = bounded(1);
    ctrlc::set_handler(move || {
        let _ = interrupt.try_send(());
    })?;
    let config = GossipConfig::lan(name).bind(bind.as_str());
    let node = Gossip::start(seeds.iter().fold(config, |config, seed| config.seed(seed)))?;
    let listener = TcpListener::bind(page)?;
    println!("{} listens on {}; Ctrl-C leaves", name, node.local().addr);
    println!("its metrics are at http://{}/metrics", listener.local_addr()?);
    let shown = node.clone();
    thread::Builder::new().name("metrics".into()).spawn(move || serve(&listener, &shown))?;
    interrupted.recv()?;
    Ok(node.shutdown()?)
}

/// One request after the other: a scraper asks every few seconds.
fn serve(listener: &TcpListener, node: &Gossip) {
    for connection in listener.incoming() {
        if let Err(error) = connection.and_then(|connection| answer(&connection, node)) {
            eprintln!("metrics: {error}");
        }
    }
}

fn answer(mut connection: &TcpStream, node: &Gossip) -> io::Result<()> {
    // Whoever falls silent does not hold the page, and nobody has it read without end.
    connection.set_read_timeout(Some(Duration::from_secs(1)))?;
    connection.set_write_timeout(Some(Duration::from_secs(5)))?;
    let mut head = BufReader::new(connection.take(8 << 10)).lines();
    let request = head.next().transpose()?.unwrap_or_default();
    while head.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let (status, kind, body) = match request.split(' ').take(2).collect::<Vec<_>>()[..] {
        ["GET", "/metrics"] => {
            let text = node.metrics().prometheus_text(&[]).map_err(io::Error::other)?;
            ("200 OK", Metrics::PROMETHEUS_TYPE, text)
        }
        _ => ("404 Not Found", "text/plain", "There is only /metrics.\n".into()),
    };
    let length = body.len();
    write!(connection, "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n")?;
    write!(connection, "Connection: close\r\n\r\n{body}")
}
