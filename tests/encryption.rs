//! Encryption as a running cluster meets it: joining, strangers, roll-out, key changes, recordings.

#![cfg(feature = "encryption")]
#![allow(clippy::disallowed_methods, reason = "tests wait in real time, with deadlines")]

mod support;

use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use support::{LONG, await_that, upsets};
use syncswim::{Encryption, Error, Gossip, GossipConfig, Key, KeyStep, Keyring};

fn key(byte: u8) -> Key {
    Key::from([byte; 32])
}

fn config(name: impl Into<String>) -> GossipConfig {
    GossipConfig::local(name).bind(([127, 0, 0, 1], 0))
}

fn live(node: &Gossip) -> usize {
    node.members().live().count()
}

/// Nodes that see each other, with a ring each.
fn cluster(n: usize, encryption: Encryption) -> (Vec<Gossip>, Vec<Keyring>) {
    let (mut nodes, mut rings) = (Vec::<Gossip>::new(), Vec::new());
    for i in 0..n {
        let ring = Keyring::new(key(1));
        ring.set_encryption(encryption);
        let mut config = config(format!("n{i}")).keyring(&ring);
        config.seeds.extend(nodes.first().map(|first| first.local().addr.to_string()));
        nodes.push(Gossip::start(config).unwrap());
        rings.push(ring);
    }
    await_that("they see each other", || nodes.iter().all(|node| live(node) == n));
    (nodes, rings)
}

/// Until each has probed some more.
fn probe_on(nodes: &[Gossip]) {
    let before: Vec<u64> = nodes.iter().map(|node| node.metrics().probes).collect();
    await_that("probes go on", || {
        nodes.iter().zip(&before).all(|(node, before)| node.metrics().probes > before + 2)
    });
}

#[test]
fn nodes_with_the_key_find_each_other_and_strangers_stay_out() {
    let (nodes, _) = cluster(3, Encryption::Require);
    let seed = nodes[0].local().addr.to_string();
    let wrong = Gossip::start(config("wrong").keyring(&Keyring::new(key(9)))).unwrap();
    let clear = Gossip::start(config("clear")).unwrap();
    for stranger in [&wrong, &clear] {
        let error = stranger.join([&seed]).unwrap_err();
        assert!(matches!(error, Error::Join { .. }), "{error}");
        assert_eq!(live(stranger), 1, "it learned of nobody");
    }
    let metrics = nodes[0].metrics();
    assert!(metrics.dropped_unknown_key >= 1 && metrics.dropped_unsealed >= 1, "{metrics:?}");
    assert!(nodes.iter().all(|node| live(node) == 3));
    let own = Gossip::start(config("own").keyring(&Keyring::new(key(1)))).unwrap();
    own.join([&seed]).unwrap();
    assert_eq!(live(&own), 4);
}

#[test]
fn encryption_is_turned_on_in_a_running_cluster_without_splitting_it() {
    let (nodes, rings) = cluster(4, Encryption::Accept);
    let events: Vec<_> = nodes.iter().map(Gossip::events).collect();
    for step in [Encryption::Send, Encryption::Require] {
        for ring in &rings {
            // One after the other, as an operator would.
            ring.set_encryption(step);
            probe_on(&nodes[..1]);
        }
    }
    probe_on(&nodes);
    for events in events {
        assert_eq!(upsets(&events), [], "nobody was lost");
    }
    let error = Gossip::start(config("clear")).unwrap().join([nodes[0].local().addr.to_string()]);
    assert!(matches!(error, Err(Error::Join { .. })), "{error:?}");
    let dropped: u64 = nodes.iter().skip(1).map(|node| node.metrics().dropped_unsealed).sum();
    assert_eq!(dropped, 0, "nobody spoke in clear to those who had stopped listening");
}

#[test]
fn the_key_is_changed_everywhere_by_one_call() {
    let (nodes, rings) = cluster(5, Encryption::Require);
    let events: Vec<_> = nodes.iter().map(Gossip::events).collect();
    let report = nodes[2].rotate_key(&key(2)).unwrap();
    assert!(report.is_complete(), "{report:?}");
    let names: Vec<&str> = report.nodes.iter().map(|node| &*node.name).collect();
    assert_eq!((names[0], names.len()), ("n2", 5));
    assert!(rings.iter().all(|ring| ring.list() == [key(2).fingerprint()]));
    probe_on(&nodes);
    assert!(nodes.iter().all(|node| live(node) == 5));
    assert!(events.iter().all(|events| upsets(events).is_empty()), "nobody was lost");
    let again = nodes[0].rotate_key(&key(2)).unwrap();
    assert!(again.is_complete(), "{again:?}");
}

#[test]
fn a_member_that_cannot_follow_stops_the_change_and_nobody_is_cut_off() {
    let (nodes, rings) = cluster(3, Encryption::Require);
    // Its ring is full.
    (10..17).for_each(|byte| rings[1].install(key(byte)).unwrap());
    let report = nodes[0].rotate_key(&key(2)).unwrap();
    assert!(!report.is_complete());
    for node in &report.nodes {
        let (reached, problem) =
            if &*node.name == "n1" { (None, true) } else { (Some(KeyStep::Install), false) };
        assert_eq!((node.reached, node.problem.is_some()), (reached, problem), "{node:?}");
    }
    assert!(rings.iter().all(|ring| ring.list()[0] == key(1).fingerprint()), "all use the old key still");
    rings[1].remove(key(16).fingerprint()).unwrap();
    let report = nodes[0].rotate_key(&key(2)).unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert!(rings.iter().all(|ring| ring.list() == [key(2).fingerprint()]));
}

#[test]
fn without_a_keyring_keys_cannot_be_changed() {
    let nodes = [config("a"), config("b")].map(|config| Gossip::start(config).unwrap());
    nodes[1].join([nodes[0].local().addr.to_string()]).unwrap();
    let error = nodes[0].rotate_key(&key(2)).unwrap_err();
    assert!(error.to_string().contains("no keyring"), "{error}");
}

#[test]
fn a_recorded_datagram_has_no_effect_neither_on_the_same_node_nor_after_its_restart() {
    let (nodes, _) = cluster(1, Encryption::Require);
    // A node that others reach through us, so that we can record.
    let tap = UdpSocket::bind("127.0.0.1:0").unwrap();
    tap.set_read_timeout(Some(LONG)).unwrap();
    let ring = Keyring::new(key(1));
    let victim = |target: SocketAddr| {
        let config = config("victim").keyring(&ring).seed(nodes[0].local().addr.to_string());
        Gossip::start(config.bind(target).advertise(tap.local_addr().unwrap()))
    };
    // It does not tell its port, so it is given one that was free a moment ago.
    let free = || UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (first, target) = std::iter::repeat_with(free)
        .take(20)
        .find_map(|target| Some((victim(target).ok()?, target)))
        .expect("a free port");
    let started = Instant::now();
    let mut buffer = [0; 2048];
    let recorded = loop {
        let len = tap.recv(&mut buffer).unwrap();
        // What was sealed in the millisecond of the start would count as older.
        if started.elapsed() > Duration::from_millis(5) {
            break &buffer[..len];
        }
    };
    assert_eq!(recorded[0], 2, "sealed");
    let before = first.metrics();
    tap.send_to(recorded, target).unwrap();
    await_that("it counts once", || first.metrics().datagrams_received > before.datagrams_received);
    for _ in 0..3 {
        tap.send_to(recorded, target).unwrap();
    }
    await_that("and never again", || first.metrics().dropped_replayed == 3);
    first.abort().unwrap();
    drop(first);
    let second = victim(target).unwrap();
    tap.send_to(recorded, target).unwrap();
    await_that("nor after a restart", || second.metrics().dropped_stale == 1);
}
