//! A node whose metrics Prometheus can scrape: one thread, `std::net`, no HTTP library.
//!
//! ```text
//! cargo run -p examples --example metrics -- a 127.0.0.1:7001 127.0.0.1:9101
//! cargo run -p examples --example metrics -- b 127.0.0.1:7002 127.0.0.1:9102 127.0.0.1:7001
//! curl http://127.0.0.1:9102/metrics
//! ```

mod arguments;

use std::{
    error::Error,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::bounded;
use syncswim::{Gossip, GossipConfig, Metrics};

const USAGE: &str =
    "A node whose metrics Prometheus can scrape, until SIGINT, SIGTERM or SIGHUP: then it leaves the cluster.

usage: metrics NAME HOST:PORT PAGE_HOST:PORT [SEED]...

  NAME            of this node, unique in the cluster
  HOST:PORT       where to listen, UDP and TCP; port 0 takes any free one
  PAGE_HOST:PORT  where to serve /metrics over HTTP
  SEED            HOST:PORT of a node to join through; none begins a cluster
  --help          shows this

example: cargo run -p examples --example metrics -- a 127.0.0.1:7001 127.0.0.1:9101";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments::read(USAGE, 3..=usize::MAX);
    let [name, bind, page, seeds @ ..] = &arguments[..] else { return Err(USAGE.into()) };
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

/// The head of a request, within a second and 8 KiB: a client that sends byte by byte does not delay others.
#[allow(clippy::disallowed_methods, reason = "an example may read the clock")]
fn head(mut connection: &TcpStream) -> io::Result<String> {
    let end = Instant::now() + Duration::from_secs(1);
    let (mut head, mut buffer) = (String::new(), [0; 1024]);
    while !head.contains("\r\n\r\n") && !head.starts_with("\r\n") && head.len() < 8 << 10 {
        let left = end.saturating_duration_since(Instant::now());
        // A timeout of zero is an error.
        connection.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match connection.read(&mut buffer)? {
            0 => break,
            _ if left.is_zero() => return Err(io::ErrorKind::TimedOut.into()),
            length => head.push_str(&String::from_utf8_lossy(&buffer[..length])),
        }
    }
    Ok(head)
}

fn answer(mut connection: &TcpStream, node: &Gossip) -> io::Result<()> {
    let head = head(connection)?;
    let request = head.lines().next().unwrap_or_default();
    let (status, kind, body) = match request.split(' ').take(2).collect::<Vec<_>>()[..] {
        ["GET", "/metrics"] => {
            let text = node.metrics().prometheus_text(&[]).map_err(io::Error::other)?;
            ("200 OK", Metrics::PROMETHEUS_TYPE, text)
        }
        _ => ("404 Not Found", "text/plain", "There is only /metrics.\n".into()),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n");
    // In one piece, so that the timeout covers all of it.
    connection.set_write_timeout(Some(Duration::from_secs(5)))?;
    connection.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes())
}
