//! Encryption in a running cluster: joining, outsiders, roll-out, key changes, recordings.

#![cfg(feature = "encryption")]
#![allow(clippy::disallowed_methods, reason = "tests wait in real time, with deadlines")]

mod support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, unbounded};
use support::{LONG, await_that, upsets};
use syncswim::{Encryption, Error, Gossip, GossipConfig, Key, KeyStep, Keyring, RotateOptions};

fn key(byte: u8) -> Key {
    Key::from([byte; 32])
}

fn config(name: impl Into<String>) -> GossipConfig {
    GossipConfig::local(name).bind(([127, 0, 0, 1], 0))
}

fn live(node: &Gossip) -> usize {
    node.members().live().count()
}

/// Nodes that see each other, each with a keyring.
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

/// Waits until each node has probed some more.
fn probe_on(nodes: &[Gossip]) {
    let before: Vec<u64> = nodes.iter().map(|node| node.metrics().probes).collect();
    await_that("probes go on", || {
        nodes.iter().zip(&before).all(|(node, before)| node.metrics().probes > before + 2)
    });
}

#[test]
fn nodes_with_the_key_find_each_other_and_outsiders_stay_out() {
    let (nodes, _) = cluster(3, Encryption::Require);
    let seed = nodes[0].local().addr.to_string();
    let wrong = Gossip::start(config("wrong").keyring(&Keyring::new(key(9)))).unwrap();
    let clear = Gossip::start(config("clear")).unwrap();
    for outsider in [&wrong, &clear] {
        let error = outsider.join([&seed]).unwrap_err();
        assert!(matches!(error, Error::Join { .. }), "{error}");
        assert_eq!(live(outsider), 1, "it learned of nobody");
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
            // One node after the other, as an operator would do it.
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
    assert!(rings.iter().all(|ring| ring.fingerprints() == [key(2).fingerprint()]));
    probe_on(&nodes);
    assert!(nodes.iter().all(|node| live(node) == 5));
    assert!(events.iter().all(|events| upsets(events).is_empty()), "nobody was lost");
    let again = nodes[0].rotate_key(&key(2)).unwrap();
    assert!(again.is_complete(), "{again:?}");
}

#[test]
fn a_member_that_cannot_follow_stops_the_change_and_no_member_is_cut_off() {
    let (nodes, rings) = cluster(2, Encryption::Accept);
    let ringless = Gossip::start(config("ringless").seed(nodes[0].local().addr.to_string())).unwrap();
    await_that("they see each other", || live(&ringless) == 3 && nodes.iter().all(|node| live(node) == 3));
    let report = nodes[0].rotate_key(&key(2)).unwrap();
    assert!(!report.is_complete());
    for node in &report.nodes {
        let (reached, problem) =
            if &*node.name == "ringless" { (None, true) } else { (Some(KeyStep::Install), false) };
        assert_eq!((node.reached, node.problem.is_some()), (reached, problem), "{node:?}");
    }
    assert!(
        rings.iter().all(|ring| ring.fingerprints()[0] == key(1).fingerprint()),
        "all use the old key still"
    );
    // The same call again, without that member.
    let options = RotateOptions::new().exclude(["ringless"]);
    let report = nodes[0].rotate_key_with(&key(2), &options).unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert!(rings.iter().all(|ring| ring.fingerprints() == [key(2).fingerprint()]));
}

#[test]
fn rings_full_of_junk_do_not_keep_an_operator_from_changing_the_key() {
    let (nodes, rings) = cluster(3, Encryption::Require);
    for ring in &rings {
        // As a holder of the old key can have them installed.
        (10..17).for_each(|byte| ring.install(key(byte)).unwrap());
        assert_eq!(ring.fingerprints().len(), 8);
    }
    let report = nodes[1].rotate_key(&key(2)).unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert!(rings.iter().all(|ring| ring.fingerprints() == [key(2).fingerprint()]), "and the junk is gone");
    probe_on(&nodes);
}

#[test]
fn a_node_that_is_excluded_is_not_told_the_new_key_and_is_cut_off() {
    let (nodes, rings) = cluster(4, Encryption::Require);
    let options = RotateOptions::new().exclude(["n3"]);
    let report = nodes[0].rotate_key_with(&key(2), &options).unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.nodes.len(), 4);
    for node in &report.nodes {
        let excluded = &*node.name == "n3";
        let reached = if excluded { None } else { Some(KeyStep::Remove) };
        assert_eq!((node.excluded, node.reached), (excluded, reached), "{node:?}");
        assert!(node.problem.is_none(), "{node:?}");
    }
    assert!(rings[..3].iter().all(|ring| ring.fingerprints() == [key(2).fingerprint()]));
    assert_eq!(rings[3].fingerprints(), [key(1).fingerprint()], "it was told nothing");
    await_that("the others are without it", || nodes[..3].iter().all(|node| live(node) == 3));
    assert!(nodes.iter().take(3).any(|node| node.metrics().dropped_unknown_key > 0));
}

#[test]
fn an_unknown_name_cannot_be_excluded_for_it_may_be_misspelt() {
    let (nodes, rings) = cluster(2, Encryption::Require);
    for name in ["n7", "N1", "", "n0"] {
        let options = RotateOptions::new().exclude(["n1", name]);
        let error = nodes[0].rotate_key_with(&key(2), &options).unwrap_err();
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }
    assert!(rings.iter().all(|ring| ring.fingerprints() == [key(1).fingerprint()]), "nothing was changed");
}

/// Forwards connections to a port, and records how each stream begins.
fn tap(target: SocketAddr) -> (SocketAddr, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, (told, streams)) = (listener.local_addr().unwrap(), unbounded());
    let udp = UdpSocket::bind(addr).unwrap();
    let _ = thread::Builder::new().spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok(len) = udp.recv(&mut buffer) {
            let _ = udp.send_to(&buffer[..len], target);
        }
    });
    let _ = thread::Builder::new().spawn(move || {
        for mut caller in listener.incoming().map_while(Result::ok) {
            let Ok(mut called) = TcpStream::connect(target) else { continue };
            let (mut back, mut to) = (called.try_clone().unwrap(), caller.try_clone().unwrap());
            let _ = thread::Builder::new().spawn(move || std::io::copy(&mut back, &mut to));
            let mut recorded = Vec::new();
            let mut buffer = [0; 2048];
            while let Ok(len @ 1..) = caller.read(&mut buffer) {
                recorded.extend_from_slice(&buffer[..len]);
                let _ = called.write_all(&buffer[..len]);
            }
            let _ = told.send(recorded);
        }
    });
    (addr, streams)
}

#[test]
fn keys_are_changed_in_streams_with_an_exchange_and_in_no_others() {
    let (nodes, rings) = cluster(1, Encryption::Require);
    let free = || UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ring = Keyring::new(key(1));
    let (tapped, streams) = std::iter::repeat_with(free)
        .take(20)
        .find_map(|target| {
            let (addr, streams) = tap(target);
            let config = config("tapped").keyring(&ring).seed(nodes[0].local().addr.to_string());
            Some((Gossip::start(config.bind(target).advertise(addr)).ok()?, streams))
        })
        .expect("a free port");
    await_that("they see each other", || live(&nodes[0]) == 2 && live(&tapped) == 2);
    let report = nodes[0].rotate_key(&key(2)).unwrap();
    assert!(report.is_complete(), "{report:?}");
    let recorded: Vec<Vec<u8>> =
        std::iter::from_fn(|| streams.recv_timeout(Duration::from_secs(1)).ok()).collect();
    // One for each step: the version, the marker, and a public key behind the greeting.
    let changes: Vec<_> = recorded.iter().filter(|bytes| bytes[1..4] == [0xff, 0xff, 0xfe]).collect();
    assert_eq!(changes.len(), 3, "{recorded:02x?}");
    assert!(changes.iter().all(|bytes| bytes.len() > 60 && bytes[28..60] != [0; 32]));
    let publics: std::collections::BTreeSet<_> = changes.iter().map(|bytes| &bytes[28..60]).collect();
    assert_eq!(publics.len(), 3, "each with a key pair of its own");
    assert_eq!(rings[0].fingerprints(), ring.fingerprints());
    assert!(tapped.shutdown().is_ok());
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
    // Others reach this node through the test, which records its datagrams.
    let tap = UdpSocket::bind("127.0.0.1:0").unwrap();
    tap.set_read_timeout(Some(LONG)).unwrap();
    let ring = Keyring::new(key(1));
    let victim = |target: SocketAddr| {
        let config = config("victim").keyring(&ring).seed(nodes[0].local().addr.to_string());
        Gossip::start(config.bind(target).advertise(tap.local_addr().unwrap()))
    };
    // The node does not report its port, so it gets one that was free a moment ago.
    let free = || UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (first, target) = std::iter::repeat_with(free)
        .take(20)
        .find_map(|target| Some((victim(target).ok()?, target)))
        .expect("a free port");
    let started = Instant::now();
    let mut buffer = [0; 2048];
    let recorded = loop {
        let len = tap.recv(&mut buffer).unwrap();
        // Datagrams sealed in the millisecond of the start would count as older.
        if started.elapsed() > Duration::from_millis(5) {
            break &buffer[..len];
        }
    };
    assert_eq!(recorded[0], 4, "sealed");
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
    for _ in 0..3 {
        tap.send_to(recorded, target).unwrap();
    }
    // A late answer to the first life may be stale as well.
    await_that("nor after a restart", || second.metrics().dropped_stale >= 3);
    assert_eq!(second.metrics().dropped_replayed, 0, "it was never taken in");
}
