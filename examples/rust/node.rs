//! One real node: run it in several terminals, kill some, and watch the others notice.
//!
//! ```text
//! cargo run --example node -- --name a --bind 127.0.0.1:7001
//! cargo run --example node -- --name b --bind 127.0.0.1:7002 --join 127.0.0.1:7001 --tag role=db
//! ```
//!
//! Ctrl-C leaves the cluster, and so do SIGTERM and SIGHUP; `kill -9` is a crash. As a service of systemd it may be of
//! `Type=notify`: it says when it is up.

use std::{env, error::Error, process::ExitCode, time::Instant};

use crossbeam_channel::{TryRecvError, bounded, select};
use lexopt::{
    Arg::{Long, Short},
    ValueExt,
};
use syncswim::{Gossip, GossipConfig, IpNetwork, Keyring, Tags};

#[path = "../../tools/usage.rs"]
mod usage;

const USAGE: &str =
    "One real node: it prints each event, and leaves the cluster at SIGINT, SIGTERM or SIGHUP.

usage: node --name NAME [OPTION VALUE]...

  --name NAME              the node's name, unique in the cluster
  --bind HOST[:PORT]       where to listen, UDP and TCP; port 0 takes any free one  (127.0.0.1:7946)
  --join HOST:PORT         a member to join through; may be repeated, is retried until it answers
  --tag KEY=VALUE          something to tell the others; may be repeated
  --advertise HOST[:PORT]  what others are told to send to, if not the bind address
  --cluster NAME           only nodes of the same cluster hear each other           (default)
  --preset P               timings: lan, wan or local                               (lan)
  --key HEX                64 hexadecimal digits, the same for all: nobody without it can listen or join
  --allow NETWORK          such as 10.0.0.0/8; may be repeated, what comes from elsewhere is dropped
  --state FILE             where it keeps who is in the cluster: it finds them after a restart without --join
  --record FILE            a flight recording: docs/operating/INCIDENT.md says how to read it

example: cargo run --example node -- --name b --bind 127.0.0.1:7002 --join 127.0.0.1:7001";

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    let config = match parse(lexopt::Parser::from_env()) {
        Ok(Some(config)) => config,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{}\n`--help` has all options, their defaults and an example", said(&problem));
            return ExitCode::from(2);
        }
    };
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let ours = error.downcast_ref::<syncswim::Error>();
            eprintln!("node: {}", ours.map_or_else(|| error.to_string(), syncswim::Error::report));
            ExitCode::FAILURE
        }
    }
}

fn said(problem: &lexopt::Error) -> String {
    match problem {
        lexopt::Error::UnexpectedOption(option) => usage::unknown(USAGE, option),
        other => other.to_string(),
    }
}

#[allow(clippy::disallowed_methods, reason = "an example may read the clock")]
fn run(config: GossipConfig) -> Result<(), Box<dyn Error>> {
    let (interrupt, interrupted) = bounded(1);
    ctrlc::set_handler(move || {
        let _ = interrupt.try_send(());
    })?;
    let (start, seeds) = (Instant::now(), config.seeds.join(", "));
    let builder = Gossip::builder(config);
    let events = builder.events();
    let node = builder.start()?;
    let local = node.local();
    println!("{} listens on {}; Ctrl-C leaves", local.name, local.addr);
    notify("READY=1")?;
    if !seeds.is_empty() {
        println!("joining through {seeds}");
    }
    loop {
        select! {
            recv(events.receiver()) -> _ => match events.try_recv() {
                Ok(event) => {
                    println!("{:9.3} s  {event}", start.elapsed().as_secs_f64());
                    println!("             {}", roll_call(&node));
                }
                Err(TryRecvError::Empty) => {}
                // The node has ended; `shutdown` below says why.
                Err(TryRecvError::Disconnected) => break,
            },
            recv(interrupted) -> _ => break,
        }
    }
    println!("leaving");
    notify("STOPPING=1")?;
    node.shutdown()?;
    println!("left after {:.3} s in the cluster", start.elapsed().as_secs_f64());
    Ok(())
}

/// Reports the state to the service manager (sd_notify(3)), if there is one: a datagram to the socket that it names.
#[cfg(unix)]
fn notify(state: &str) -> std::io::Result<()> {
    use std::os::unix::{ffi::OsStrExt, net::UnixDatagram};

    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    match path.as_bytes() {
        // The name of an abstract socket begins with a zero byte, which a variable cannot hold.
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
            socket.send_to_addr(state.as_bytes(), &SocketAddr::from_abstract_name(name)?)?;
        }
        _ => drop(socket.send_to(state.as_bytes(), path)?),
    }
    Ok(())
}

#[cfg(not(unix))]
fn notify(_state: &str) -> std::io::Result<()> {
    Ok(())
}

fn roll_call(node: &Gossip) -> String {
    let members = node.members();
    let names: Vec<&str> = members.live().map(|member| &*member.name).collect();
    format!("{} live: {}", names.len(), names.join(" "))
}

/// The configuration, or `None` if help was asked for.
fn parse(mut parser: lexopt::Parser) -> Result<Option<GossipConfig>, lexopt::Error> {
    let mut preset: fn(String) -> GossipConfig = GossipConfig::lan;
    let (mut name, mut bind, mut advertise, mut cluster, mut ring) =
        (None, "127.0.0.1".to_owned(), None, None, None);
    let (mut record, mut state) = (None, None);
    let (mut seeds, mut tags, mut allowed): (Vec<String>, _, Vec<IpNetwork>) = (vec![], vec![], vec![]);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("name") => name = Some(parser.value()?.string()?),
            Long("bind") => bind = parser.value()?.string()?,
            Long("advertise") => advertise = Some(parser.value()?.string()?),
            Long("join") => seeds.push(parser.value()?.string()?),
            Long("cluster") => cluster = Some(parser.value()?.string()?),
            Long("tag") => {
                let tag = parser.value()?.string()?;
                let (key, value) =
                    tag.split_once('=').ok_or(format!("--tag wants KEY=VALUE, not {tag:?}"))?;
                tags.push((key.to_owned(), value.to_owned()));
            }
            Long("preset") => {
                preset = match parser.value()?.string()?.as_str() {
                    "lan" => GossipConfig::lan,
                    "wan" => GossipConfig::wan,
                    "local" => GossipConfig::local,
                    other => return Err(format!("--preset wants lan, wan or local, not {other:?}").into()),
                }
            }
            Long("key") => {
                // The error does not show the value, which may be the key with one wrong digit.
                let key = parser.value()?.string()?.parse().map_err(|problem| format!("--key: {problem}"))?;
                ring = Some(Keyring::new(key));
            }
            Long("allow") => {
                let network = parser.value()?.string()?;
                allowed.push(network.parse().map_err(|problem| format!("--allow {network}: {problem}"))?);
            }
            Long("state") => state = Some(parser.value()?.into()),
            Long("record") => record = Some(parser.value()?.into()),
            unknown => return Err(unknown.unexpected()),
        }
    }
    let tags = Tags::new(tags).map_err(|problem| format!("--tag: {problem}"))?;
    let mut config = preset(name.ok_or("--name is missing")?).bind(bind).tags(tags);
    config = seeds.into_iter().fold(config, GossipConfig::seed);
    (config.record, config.state_file) = (record, state);
    if let Some(addr) = advertise {
        config = config.advertise(addr);
    }
    if let Some(name) = cluster {
        config = config.cluster(name);
    }
    if let Some(ring) = ring {
        config = config.keyring(&ring);
    }
    Ok(Some(if allowed.is_empty() { config } else { config.allow(allowed) }))
}
