//! A real Prometheus scrapes three processes through a crash, and the alert of `docs/operating/alerts.yml` fires.

#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "tests wait in real time, with deadlines")]

mod support;

use std::{
    env, fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;
use support::{await_that, folder::Folder};
use syncswim::{Gossip, GossipConfig};

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What each of the three runs; without the test below, nothing.
#[test]
fn a_node_whose_metrics_are_a_page() {
    let (Ok(name), Ok(seed)) = (env::var("PAGE_NODE"), env::var("PAGE_SEED")) else { return };
    let mut config = GossipConfig::local(name).bind("127.0.0.1:0");
    config.seeds.extend((!seed.is_empty()).then_some(seed));
    let node = Gossip::start(config).unwrap();
    let page = TcpListener::bind("127.0.0.1:0").unwrap();
    writeln!(io::stdout(), "\nnode {} page {}", node.local().addr, page.local_addr().unwrap()).unwrap();
    for stream in page.incoming() {
        let text = node.metrics().prometheus_text(&[]).unwrap();
        let mut stream = stream.unwrap();
        // What it asks for: there is one page.
        let _ = stream.read(&mut [0; 4096]);
        let head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n";
        let _ = stream.write_all(format!("{head}{text}").as_bytes());
    }
}

/// Starts such a process; returns it, and the addresses of its node and of its page.
fn start(name: &str, seed: &str) -> (Process, [String; 2]) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["a_node_whose_metrics_are_a_page", "--exact", "--nocapture"]);
    command.env("PAGE_NODE", name).env("PAGE_SEED", seed).stdout(Stdio::piped());
    let mut process = Process(command.spawn().unwrap());
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    let addrs = lines.find_map(|line| {
        let line = line.unwrap();
        let (node, page) = line.strip_prefix("node ")?.split_once(" page ")?;
        Some([node, page].map(str::to_owned))
    });
    // It is not to be held up by what it writes.
    thread::Builder::new().spawn(move || lines.for_each(drop)).unwrap();
    (process, addrs.unwrap())
}

/// Writes what Prometheus reads: the rules as they are, but with seconds to wait instead of minutes.
fn configure(folder: &Path, pages: &[String]) {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating/alerts.yml");
    let rules = fs::read_to_string(rules).unwrap().replace("for: 2m", "for: 2s");
    fs::write(folder.join("alerts.yml"), rules).unwrap();
    let config = serde_json::json!({
        "global": { "scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms" },
        "rule_files": ["alerts.yml"],
        "scrape_configs": [{ "job_name": "orders", "static_configs": [{ "targets": pages }] }],
    });
    fs::write(folder.join("prometheus.yml"), config.to_string()).unwrap();
}

fn prometheus(folder: &Path, listen: SocketAddr) -> Option<Process> {
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
    command.arg(format!("--web.listen-address={listen}"));
    let started = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    if started.is_err() {
        println!("prometheus is not installed (Debian: apt-get install prometheus): not tested with it");
    }
    started.ok().map(Process)
}

/// What Prometheus answers, if it does.
fn ask(server: SocketAddr, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(support::LONG)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// The instances for which an alert fires.
fn fires(server: SocketAddr, alert: &str) -> Vec<String> {
    let answer = ask(server, "/api/v1/alerts").unwrap_or_default();
    let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
    let firing = alerts.iter().filter(|one| one["state"] == "firing" && one["labels"]["alertname"] == alert);
    firing.map(|one| one["labels"]["instance"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_alert_about_a_node_that_a_crash_leaves_alone_fires() {
    let folder = Folder::new("prometheus");
    let (a, [seed, page_of_a]) = start("a", "");
    let (others, pages): (Vec<_>, Vec<_>) = ["b", "c"].map(|name| start(name, &seed)).into_iter().unzip();
    let pages = [page_of_a.clone()].into_iter().chain(pages.into_iter().map(|[_, page]| page));
    configure(folder.path(), &pages.collect::<Vec<_>>());
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = free.local_addr().unwrap();
    drop(free);
    let Some(_prometheus) = prometheus(folder.path(), server) else { return };
    let counted = || {
        let answer = ask(server, "/api/v1/query?query=count(syncswim_live_members==3)")?;
        answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    await_that("it scrapes three nodes that see three", || counted().as_deref() == Some("3"));
    assert_eq!(fires(server, "SyncswimAloneOrUnreachable"), [""; 0]);
    // `kill -9`: two crash, and the third sees nobody.
    drop(others);
    await_that("the alert fires", || fires(server, "SyncswimAloneOrUnreachable") == [page_of_a.clone()]);
    drop(a);
}
