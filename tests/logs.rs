//! The log of real nodes: about each other's keys and clusters on both sides, and about members.

#![cfg(feature = "encryption")]
#![allow(clippy::disallowed_methods, reason = "tests wait in real time, with deadlines")]

mod support;

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{Mutex, Once},
};

use log::Level;
use support::await_that;
use syncswim::{Encryption, Gossip, GossipConfig, Key, Keyring};

/// Stores all lines of this library.
struct Log(Mutex<Vec<(Level, String)>>);

static LOG: Log = Log(Mutex::new(Vec::new()));

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() == "syncswim"
    }

    fn log(&self, record: &log::Record<'_>) {
        assert!(self.enabled(record.metadata()), "{record:?} has another target");
        self.0.lock().unwrap().push((record.level(), record.args().to_string()));
    }

    fn flush(&self) {}
}

fn config(name: &str) -> GossipConfig {
    static SET: Once = Once::new();
    SET.call_once(|| {
        log::set_logger(&LOG).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
    GossipConfig::local(name).bind(([127, 0, 0, 1], 0))
}

fn keyed(name: &str, byte: u8, encryption: Encryption) -> GossipConfig {
    let ring = Keyring::new(Key::from([byte; 32]));
    ring.set_encryption(encryption);
    config(name).keyring(&ring)
}

/// The lines of a node that begin with these words.
fn lines(node: &str, words: &str) -> Vec<(Level, String)> {
    let all = LOG.0.lock().unwrap();
    assert!(all.iter().all(|(_, line)| line.lines().count() == 1), "{all:#?}");
    let of_node = format!(" node={node}");
    let is_meant = |line: &str| {
        line.starts_with(words) && (line.ends_with(&of_node) || line.contains(&format!("{of_node} ")))
    };
    all.iter().filter(|(_, line)| is_meant(line)).cloned().collect()
}

#[track_caller]
fn await_line(node: &str, level: Level, words: &str) -> String {
    await_that(&format!("{node} logs {words}"), || !lines(node, words).is_empty());
    let (told, line) = lines(node, words).swap_remove(0);
    assert_eq!(told, level, "{line}");
    line
}

/// A newcomer contacts a seed in vain: the seed logs why, with the newcomer's host; the newcomer logs that it was rejected,
/// with the seed's address.
fn rejected(seed: GossipConfig, newcomer: GossipConfig, why: &str) {
    let [seed, newcomer] = [seed, newcomer].map(|config| Gossip::start(config).unwrap());
    let seed_addr = seed.local().addr;
    newcomer.join([seed_addr.to_string()]).unwrap_err();
    let line = await_line(&seed.local().name, Level::Warn, why);
    assert!(line.starts_with(&format!("{why} peer=127.0.0.1:")) && line.contains(" via=stream "), "{line}");
    let line = await_line(&newcomer.local().name, Level::Warn, "stream rejected");
    assert!(line.starts_with(&format!("stream rejected peer={seed_addr} ")), "{line}");
    for node in [&seed, &newcomer] {
        assert_eq!(lines(&node.local().name, "member joined"), []);
    }
}

#[test]
fn a_wrong_key_is_logged_on_both_sides() {
    let seed = keyed("key-here", 1, Encryption::Require);
    rejected(seed, keyed("key-there", 9, Encryption::Require), "wrong key");
}

#[test]
fn a_wrong_cluster_is_logged_on_both_sides_sealed_or_not() {
    let other = |mut config: GossipConfig| {
        config.swim.cluster = "other".into();
        config
    };
    rejected(config("cluster-here"), other(config("cluster-there")), "wrong cluster");
    let seed = keyed("sealed-here", 1, Encryption::Require);
    rejected(seed, other(keyed("sealed-there", 1, Encryption::Require)), "wrong cluster");
}

#[test]
fn a_node_without_a_key_is_logged_on_both_sides() {
    rejected(keyed("strict", 1, Encryption::Require), config("clear"), "not sealed");
    rejected(config("open"), keyed("sealing", 1, Encryption::Require), "no key");
}

#[test]
fn datagrams_of_strangers_are_logged_with_their_address_and_seldom() {
    let nodes = [config("heard"), keyed("sealed", 1, Encryption::Require)]
        .map(|config| Gossip::start(config).unwrap());
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let from: SocketAddr = stranger.local_addr().unwrap();
    // The header of a packet in clear, of another cluster, and one of a sealed datagram.
    let mut clear = [7; 60];
    clear[0] = 3;
    let mut sealed = [7; 100];
    sealed[0] = 4;
    for node in &nodes {
        for bytes in [&clear[..], &sealed, &[9; 40]].repeat(20) {
            stranger.send_to(bytes, node.local().addr).unwrap();
        }
    }
    for (node, words) in [
        ("heard", "wrong cluster"),
        ("heard", "no key"),
        ("heard", "wrong version"),
        ("sealed", "not sealed"),
        ("sealed", "wrong cluster"),
    ] {
        let line = await_line(node, Level::Warn, words);
        assert!(line.starts_with(&format!("{words} peer={from} via=datagram ")), "{line}");
    }
    await_that("all have come", || nodes.iter().all(|node| node.metrics().datagrams_received >= 60));
    for node in nodes.map(|node| node.local().name) {
        let told = LOG
            .0
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, line)| line.contains(&from.to_string()) && line.contains(&*node))
            .count();
        assert!(told <= 3, "{told} lines of {node}");
    }
}

#[test]
fn members_are_logged_as_they_come_and_go() {
    let mut watcher = config("watcher");
    watcher.swim.probe_interval = std::time::Duration::from_millis(100);
    watcher.swim.probe_timeout = std::time::Duration::from_millis(40);
    let mut quick = watcher.clone();
    let watcher = Gossip::start(watcher).unwrap();
    let mut start = |name: &str| {
        quick.swim.name = name.into();
        let node = Gossip::start(quick.clone()).unwrap();
        node.join([watcher.local().addr.to_string()]).unwrap();
        node
    };
    let [leaver, crasher] = ["leaver x", "crasher"].map(&mut start);
    let of = |words: &str, name: &str| {
        let line = format!("{words} name={name} ");
        await_that(&line, || lines("watcher", &line).iter().any(|(level, _)| *level == Level::Info));
        lines("watcher", &line).swap_remove(0).1
    };
    of("member joined", "\"leaver x\"");
    of("member joined", "crasher");
    let addr = crasher.local().addr;
    leaver.shutdown().unwrap();
    assert!(of("member left", "\"leaver x\"").contains(" said_by="));
    crasher.abort().unwrap();
    let line = of("member failed", "crasher");
    let expected = format!(
        "member failed name=crasher addr={addr} verdict=own own_probe=true accused_by=watcher confirmed=0 waited="
    );
    assert!(line.starts_with(&expected), "{line}");
    assert_eq!(lines("watcher", "node started").len(), 1);
}

#[test]
fn members_whose_keys_part_log_each_other_by_their_own_addresses() {
    let ring = Keyring::new(Key::from([1; 32]));
    let a = Gossip::start(config("parted-a").keyring(&ring)).unwrap();
    let b = Gossip::start(keyed("parted-b", 1, Encryption::Require)).unwrap();
    b.join([a.local().addr.to_string()]).unwrap();
    await_that("they see each other", || [&a, &b].iter().all(|node| node.members().live().count() == 2));
    let (old, new) = (Key::from([1; 32]), Key::from([2; 32]));
    ring.install(new.clone()).unwrap();
    ring.use_key(new.fingerprint()).unwrap();
    ring.remove(old.fingerprint()).unwrap();
    for (here, there) in [(&a, &b), (&b, &a)] {
        let line = await_line(&here.local().name, Level::Warn, "wrong key");
        assert!(line.starts_with("wrong key peer=127.0.0.1:"), "{line}");
        let first = format!("wrong key peer={} via=datagram ", there.local().addr);
        assert!(line.starts_with(&first) || line.contains(" via=stream "), "{line}");
    }
}

/// b does not know the key that a seals with, but a knows b's: a's datagrams are dropped without an answer. Its streams show
/// it.
#[test]
fn a_member_whose_datagrams_are_dropped_for_their_key_learns_it_by_its_streams() {
    let ring = Keyring::new(Key::from([1; 32]));
    let a = Gossip::start(config("ahead-a").keyring(&ring)).unwrap();
    let b = Gossip::start(keyed("ahead-b", 1, Encryption::Require)).unwrap();
    b.join([a.local().addr.to_string()]).unwrap();
    await_that("they see each other", || [&a, &b].iter().all(|node| node.members().live().count() == 2));
    let new = Key::from([2; 32]);
    ring.install(new.clone()).unwrap();
    ring.use_key(new.fingerprint()).unwrap();
    await_line("ahead-b", Level::Warn, "wrong key");
    let line = await_line("ahead-a", Level::Warn, "stream rejected");
    assert!(line.starts_with(&format!("stream rejected peer={} ", b.local().addr)), "{line}");
    assert_eq!(lines("ahead-a", "wrong key"), []);
}

#[test]
fn look_ups_and_seeds_that_fail_are_logged_with_the_reason() {
    use std::{io, net::IpAddr};

    use syncswim::{Cluster, DnsDiscovery};

    let of_name = |name: &str, words: &str| {
        let line = format!("{words} name={name}");
        let all = || LOG.0.lock().unwrap().iter().map(|(_, line)| line.clone()).collect::<Vec<_>>();
        await_that(&line, || all().iter().any(|logged| logged.starts_with(&line)));
        all().into_iter().find(|logged| logged.starts_with(&line)).unwrap()
    };
    let _node = Gossip::start(config("careful").seed("127.0.0.2:7946").allow(["127.0.0.1".parse().unwrap()]));
    let answers = |answer: fn() -> io::Result<Vec<IpAddr>>| move |_: &str| answer();
    let _clusters = [
        DnsDiscovery::new("empty.test:1").resolver(answers(|| Ok(Vec::new()))),
        DnsDiscovery::new("failed.test:1").resolver(answers(|| Err(io::Error::other("no network")))),
    ]
    .map(|discovery| Cluster::new().with_discovery(discovery).start().unwrap());
    assert_eq!(of_name("empty.test:1", "lookup empty"), "lookup empty name=empty.test:1");
    let expected = r#"lookup failed name=failed.test:1 error="no network""#;
    assert_eq!(of_name("failed.test:1", "lookup failed"), expected);
    let expected = "seed refused seed=127.0.0.2:7946 problem=\"is at 127.0.0.2:7946, which `allow` does not hold; add its \
                    network, or take another\" node=careful";
    assert_eq!(await_line("careful", Level::Warn, "seed refused"), expected);
}

#[test]
fn a_node_logs_its_start_a_missing_encryption_and_key_changes() {
    let open =
        Gossip::start(config("open-to-all").bind(([0, 0, 0, 0], 0)).advertise(([127, 0, 0, 1], 9))).unwrap();
    let bound = open.bound_addr();
    let line = await_line("open-to-all", Level::Info, "node started");
    let expected = format!(
        "node started addr=127.0.0.1:9 bound={bound} cluster=default encryption=off node=open-to-all"
    );
    assert_eq!(line, expected);
    let line = await_line("open-to-all", Level::Warn, "encryption off");
    let expected = format!(
        "encryption off bound={bound} hint=\"anybody who can send there can join and lie; require encryption\" node=open-to-all"
    );
    assert_eq!(line, expected);

    let [one, two] =
        ["changing-1", "changing-2"].map(|name| Gossip::start(keyed(name, 1, Encryption::Require)).unwrap());
    two.join([one.local().addr.to_string()]).unwrap();
    await_that("they see each other", || [&one, &two].iter().all(|node| node.members().live().count() == 2));
    assert!(one.rotate_key(&Key::from([2; 32])).unwrap().is_complete());
    let steps: Vec<String> = lines("changing-2", "key changed").into_iter().map(|(_, line)| line).collect();
    assert_eq!(steps, [0, 1, 2].map(|step| format!("key changed step={step} node=changing-2")));
    let all = LOG.0.lock().unwrap().iter().map(|(_, line)| line.clone()).collect::<String>();
    assert!(!all.contains(&"02".repeat(32)) && !all.contains(&"01".repeat(32)), "no key is logged");
}

#[test]
fn a_name_that_is_taken_is_logged_with_its_holder() {
    let first = Gossip::start(config("twin")).unwrap();
    let friend = Gossip::start(config("friend").seed(first.local().addr.to_string())).unwrap();
    await_that("they see each other", || first.members().live().count() == 2);
    let mut second = config("twin").seed(friend.local().addr.to_string());
    second.swim.seed_max_delay = std::time::Duration::from_millis(10);
    let second = Gossip::start(second).unwrap();
    let line = await_line("twin", Level::Warn, "name taken");
    assert!(line.contains(&first.local().addr.to_string()), "{line}");
    drop(second);
}
