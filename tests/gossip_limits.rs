//! Many nodes, hostile bytes, slow readers, every order of calls: no thread or descriptor remains.
//!
//! One test, so that nothing else in the process opens threads or descriptors meanwhile.

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests wait in real time, with deadlines")]

mod support;

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use support::await_that;
use syncswim::{Cluster, Event, Gossip, GossipConfig, GossipDiscovery, MemberState, Tags};

fn config(name: impl Into<String>) -> GossipConfig {
    GossipConfig::lan(name).bind(([127, 0, 0, 1], 0))
}

/// Threads and descriptors of this process.
fn held() -> (usize, usize) {
    let count = |path| fs::read_dir(path).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

fn live(node: &Gossip) -> usize {
    node.members().live().count()
}

#[test]
fn nothing_is_left_behind_and_nothing_holds_a_node_up() {
    // The first node of a process may leave some state of the standard library.
    drop(Gossip::start(config("warm-up")).unwrap());
    for part in [a_hundred_nodes, hostile_bytes_and_slow_readers, every_order_of_calls] {
        let before = held();
        part();
        // A thread that has ended may be listed for a moment longer.
        await_that("threads and descriptors are given back", || {
            let (threads, descriptors) = held();
            threads <= before.0 && descriptors <= before.1
        });
    }
}

fn a_hundred_nodes() {
    let first = Gossip::start(config("node-0")).unwrap();
    let seed = first.local().addr.to_string();
    let mut nodes = vec![first];
    for i in 1..100 {
        nodes.push(Gossip::start(config(format!("node-{i}")).seed(&seed)).unwrap());
    }
    await_that("a hundred nodes see each other", || nodes.iter().all(|node| live(node) == 100));
    for node in &nodes {
        node.shutdown().unwrap();
    }
}

fn hostile_bytes_and_slow_readers() {
    let a = Gossip::start(config("a")).unwrap();
    let target = a.local().addr;
    let b = Gossip::start(config("b").seed(target.to_string())).unwrap();
    let discovery = GossipDiscovery::new(config("c")).join(target.to_string());
    let running = Cluster::new().with_discovery(discovery).start().unwrap();
    await_that("three see each other", || live(&a) == 3 && live(&b) == 3);
    let (unread_events, unread_watch, seen) = (a.events(), running.membership().watch(), b.events());

    let idle: Vec<_> = (0..300).filter_map(|_| TcpStream::connect(target).ok()).collect();
    flood(target);
    for i in 0..6000_u32 {
        // More events than a reader may be behind.
        a.set_tags(Tags::new([("i", i.to_string())]).unwrap()).unwrap();
    }
    await_that("the latest tags arrive in spite of it all", || {
        b.members().named("a").is_some_and(|a| a.tags.get("i") == Some("5999"))
    });
    let before = b.metrics().probes;
    await_that("b goes on probing", || b.metrics().probes > before + 5);
    let failed =
        std::iter::from_fn(|| seen.try_recv().ok()).any(|event| matches!(event, Event::Failed { .. }));
    assert!(!failed, "honest members were answered all along");
    let metrics = a.metrics();
    assert!(metrics.dropped_short + metrics.dropped_version + metrics.dropped_checksum > 1000, "{metrics:?}");

    assert!(matches!(unread_events.recv().unwrap(), Event::Lagged { count: 1000.., .. }));
    drop(idle);
    running.stop();
    running.join().unwrap();
    let unread = unread_watch.iter().count();
    assert!((1..=66).contains(&unread), "a backlog is folded: {unread}");
    await_that("c left", || a.members().named("c").is_some_and(|c| c.state == MemberState::Left));
}

/// Garbage of every size over UDP, and of some kinds over TCP.
fn flood(target: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..20_000 {
        let len = if random.u8(..) == 0 { 60_000 } else { random.usize(..100) };
        let mut bytes: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
        if let Some(version) = bytes.first_mut() {
            *version = random.u8(..2);
        }
        let _ = socket.send_to(&bytes, target);
    }
    for prefix in
        [&[0xff, 0xff, 0xff, 0xff][..], &[0, 0, 0, 0], &[20, 0, 0, 0, 1, 2], b"GET / HTTP/1.1\r\n\r\n"]
    {
        for _ in 0..20 {
            // The node may close the stream during the write.
            let _ = TcpStream::connect(target).and_then(|mut stream| stream.write_all(prefix));
        }
    }
}

fn every_order_of_calls() {
    let seed = random_seed();
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let brief = |name: &str| {
        let mut config = GossipConfig::local(name).bind(([127, 0, 0, 1], 0));
        // Many of the members that a leaver pings have left, too.
        config.swim.leave_timeout = Duration::from_millis(20);
        config
    };
    let peer = Gossip::start(brief("peer")).unwrap();
    let addr = peer.local().addr.to_string();
    for round in 0..1000 {
        let node = Gossip::start(brief(&format!("r{round}"))).unwrap();
        let events = random.bool().then(|| node.events());
        for _ in 0..random.usize(..4) {
            match random.u32(..6) {
                0 => drop(node.join([&addr])),
                1 => drop(node.leave()),
                2 => drop(node.set_tags(Tags::new([("a", "b")]).unwrap())),
                3 => drop(node.shutdown()),
                4 => drop(node.abort()),
                _ => drop(node.members()),
            }
        }
        if random.bool() {
            drop(events);
            drop(node);
        } else {
            drop(node);
            drop(events);
        }
    }
}

fn random_seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..))
}
