//! Cache invalidation: each node caches what it has loaded, and a node that changes something makes all nodes drop it from
//! their caches. A node that has missed a broadcast for good notices it by a key that each node sets, and drops everything.

mod arguments;
use std::{collections::HashMap, error::Error, io, process::ExitCode, sync::*, thread, time::Duration};

use syncswim::{Gossip, GossipConfig, Inbox, InboxItem, RecvTimeoutError};

const USAGE: &str =
    "A cache that all nodes of a cluster invalidate together. Reads `get KEY` and `drop KEY`, until its input ends.

usage: cache NAME ADDR [SEED]

  --help  shows this

example: cargo run --bin cache a 127.0.0.1:7001";

type Cache = Arc<Mutex<HashMap<String, String>>>;

/// Drops entries as broadcasts say, and everything if a broadcast was missed.
fn follow(node: &Gossip, inbox: &Inbox, cache: &Cache) {
    // For each member, the last broadcast that was received, and the last that it says it has sent.
    let (mut heard, mut said) = (HashMap::new(), HashMap::new());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let flush = |missed: &str| {
        println!("drops everything: missed something of {missed}");
        cache.lock().unwrap().clear();
    };
    loop {
        match inbox.recv_timeout(Duration::from_secs(1)) {
            Ok(InboxItem::Message(message)) => {
                let Some(id) = message.broadcast_id() else { continue };
                cache.lock().unwrap().remove(&text(&message.payload));
                println!("drops {}", text(&message.payload));
                heard.insert(message.from.name.to_string(), id.to_string());
            }
            Ok(InboxItem::Lost { from, .. }) => flush(from.map_or("many".into(), |from| from.name).as_ref()),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => {
                let entries = node.entries();
                let entries = entries.with_key("dropped").map(|(of, entry)| (of.into(), text(&entry.value)));
                let before = std::mem::replace(&mut said, entries.collect());
                for (owner, id) in said.iter().filter(|(owner, id)| before.get(*owner) == Some(*id)) {
                    if heard.insert(String::clone(owner), id.clone()).as_ref() != Some(id) {
                        flush(owner);
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn main() -> ExitCode {
    let Err(error) = run(&arguments::read(USAGE, 2..=3)) else { return ExitCode::SUCCESS };
    eprintln!("cache: {}", error.downcast_ref().map_or_else(|| error.to_string(), syncswim::Error::report));
    ExitCode::FAILURE
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let config = GossipConfig::local(&arguments[0]).bind(arguments[1].as_str());
    let node = Gossip::start(arguments.get(2).into_iter().fold(config, GossipConfig::seed))?;
    println!("listens on {}", node.local().addr);
    let (cache, inbox, reader) = (Cache::default(), node.inbox("cache")?, node.clone());
    let own = Arc::clone(&cache);
    thread::Builder::new().name("cache".into()).spawn(move || follow(&reader, &inbox, &own))?;
    for line in io::stdin().lines() {
        match line?.split_once(' ') {
            Some(("get", key)) => {
                let known = cache.lock().unwrap().insert(key.into(), "its value".into()).is_some();
                println!("{} {key}", if known { "has" } else { "loads" });
            }
            Some(("drop", key)) => {
                _ = node.set("dropped", node.broadcast("cache", key.as_bytes())?.to_string())
            }
            _ => eprintln!("cache: get KEY, or drop KEY"),
        }
    }
    Ok(node.shutdown()?)
}
