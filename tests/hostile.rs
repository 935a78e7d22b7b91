//! Outsiders can do a running cluster no lasting harm over real sockets, with a key and without.
//!
//! One test, so that memory and descriptors are its own. The seed is printed; `SEED=…` repeats it.

#![cfg(all(target_os = "linux", feature = "encryption"))]
#![allow(clippy::disallowed_methods, reason = "tests wait in real time, with deadlines")]

mod support;

use std::{
    collections::VecDeque,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    sync::mpsc::{self, TryRecvError},
    time::Duration,
};

use fastrand::Rng;
use socket2::{Domain, Protocol, Socket, Type};
use support::{await_that, upsets};
use syncswim::{Event, Events, Gossip, GossipConfig, Identity, Key, Keyring, MemberState, Metrics};

const OUTSIDER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
const HOLDERS: [Ipv4Addr; 2] = [OUTSIDER, Ipv4Addr::new(127, 0, 0, 67)];
/// A fraction of the time that a held stream takes: a caller that has to wait for the end of one is too late.
const PATIENCE: Duration = Duration::from_secs(3);

/// A converged cluster under attack, with the events of its members since then.
struct Cluster {
    nodes: Vec<Gossip>,
    ring: Option<Keyring>,
    events: Vec<Events>,
}

impl Cluster {
    fn start(ring: Option<&Keyring>) -> Self {
        let mut nodes = Vec::<Gossip>::new();
        for i in 0..3 {
            let mut config = GossipConfig::lan(format!("n{i}")).bind(([127, 0, 0, 1], 0));
            config.swim.max_members = 64;
            config.swim.max_departed = 64;
            config.seeds.extend(nodes.first().map(|first| first.local().addr.to_string()));
            config.keyring = ring.cloned();
            nodes.push(Gossip::start(config).unwrap());
        }
        await_that("three see each other", || nodes.iter().all(|node| node.members().live().count() == 3));
        let events = nodes.iter().map(Gossip::events).collect();
        Self { nodes, ring: ring.cloned(), events }
    }

    fn target(&self) -> SocketAddr {
        self.nodes[0].local().addr
    }

    fn metrics(&self) -> Metrics {
        self.nodes[0].metrics()
    }

    fn newcomer(&self, name: &str) -> GossipConfig {
        let mut config = GossipConfig::lan(name).bind(([127, 0, 0, 1], 0));
        config.keyring = self.ring.clone();
        config
    }

    /// The members went on answering, and no node listed a process that is not a member.
    fn is_unharmed(&self, what: &str) {
        let before: Vec<u64> = self.nodes.iter().map(|node| node.metrics().probes).collect();
        await_that("they go on probing", || {
            self.nodes.iter().zip(&before).all(|(node, before)| node.metrics().probes > before + 1)
        });
        for (node, events) in self.nodes.iter().zip(&self.events) {
            assert_eq!(upsets(events), [], "after {what}");
            assert_eq!(node.members().live().count(), 3, "after {what}");
            let Metrics { probes, probes_failed, .. } = node.metrics();
            assert!(probes_failed * 10 <= probes, "after {what}: honest members were not answered");
        }
    }

    fn identities(&self) -> Vec<Identity> {
        self.nodes.iter().map(|node| node.local().identity).collect()
    }
}

#[test]
fn outsiders_do_no_harm() {
    let seed =
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let ring = Keyring::new(Key::from([1; 32]));
    for ring in [None, Some(&ring)] {
        let cluster = Cluster::start(ring);
        let (identities, resident, descriptors) = (cluster.identities(), resident_kb(), descriptors());
        forged_claims(&cluster, &mut random);
        forged_answers(&cluster, &mut random);
        a_flood_of_damaged_datagrams(&cluster, &mut random);
        pings_for_somebody_else_bring_nothing(&cluster, ring.is_some());
        damaged_streams(&cluster, &mut random);
        cluster.is_unharmed("damage");
        a_thousand_half_open_streams(&cluster);
        slow_senders(&cluster);
        places_held_from_two_addresses(&cluster);
        cluster.is_unharmed("held places");
        assert_eq!(cluster.identities(), identities, "nobody had to refute anything");
        await_that("descriptors are given back", || self::descriptors() <= descriptors);
        let grown = resident_kb().saturating_sub(resident);
        println!("{} key: {grown} kB more than before", if ring.is_some() { "with a" } else { "without" });
        assert!(grown < 64 << 10, "{grown} kB more than before");
    }
}

/// Each kind of claim, about each kind of member, in datagrams and streams, from an address without a member. A node that is
/// no member makes them: it knows the true names and identities, and lies with them.
fn forged_claims(cluster: &Cluster, random: &mut Rng) {
    let socket = UdpSocket::bind((OUTSIDER, 0)).unwrap();
    let before = cluster.metrics();
    let mut sent = 0;
    for node in &cluster.nodes {
        let victim = node.local();
        for jump in [0, 1, 1000, 1 << 19, u64::MAX - victim.identity.incarnation] {
            let incarnation = victim.identity.incarnation.saturating_add(jump);
            for packet in forge::all(random, &victim.name, victim.identity.epoch, incarnation) {
                socket.send_to(&packet, cluster.target()).unwrap();
                sent += 1;
            }
        }
    }
    let counted =
        |metrics: &Metrics| metrics.dropped_unverified + metrics.dropped_unsealed + metrics.dropped_malformed;
    await_that("all of them are dropped", || counted(&cluster.metrics()) >= counted(&before) + sent);
    for node in &cluster.nodes {
        let victim = node.local();
        let Identity { epoch, incarnation, .. } = victim.identity;
        for packet in forge::all(random, &victim.name, epoch, incarnation + 1) {
            // The node may close the stream during the write.
            let _ = forge::push(cluster.target(), &packet);
        }
    }
    cluster.is_unharmed("forged claims");
}

/// Answers without a question, and tokens that no node issued.
fn forged_answers(cluster: &Cluster, random: &mut Rng) {
    let socket = UdpSocket::bind((OUTSIDER, 0)).unwrap();
    let before = cluster.metrics();
    let answers = forge::answers(random);
    for packet in answers.iter().chain(&forge::handing_out_tokens(random)) {
        socket.send_to(packet, cluster.target()).unwrap();
    }
    // A token without a ping is invalid, and is not counted.
    let strays = answers.len() as u64 * 5 / 6;
    let counted = |metrics: &Metrics| metrics.dropped_stray_answers + metrics.dropped_unsealed;
    await_that("all of them are dropped", || counted(&cluster.metrics()) >= counted(&before) + strays);
    cluster.is_unharmed("forged answers");
}

fn a_flood_of_damaged_datagrams(cluster: &Cluster, random: &mut Rng) {
    let socket = UdpSocket::bind((OUTSIDER, 0)).unwrap();
    let good = [forge::all(random, "n1", 1, 1), forge::answers(random), forge::questions()].concat();
    let before = cluster.metrics().datagrams_received;
    for i in 0..20_000 {
        let mut bytes: Vec<u8> = match i % 4 {
            0 => noise(random, 1500),
            1 => noise(random, if i % 64 == 1 { 60_000 } else { 17 }),
            2 => good[random.usize(..good.len())].repeat(random.usize(1..20)),
            _ => good[random.usize(..good.len())].clone(),
        };
        // Half of the random bytes begin like packets of either version.
        if random.bool() {
            bytes[0] = random.u8(3..5);
        }
        let at = random.usize(..bytes.len());
        match random.u8(..3) {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes.truncate(at.max(1)),
            _ => {}
        }
        socket.send_to(&bytes, cluster.target()).unwrap();
    }
    await_that("the flood arrived", || cluster.metrics().datagrams_received > before + 1000);
    cluster.is_unharmed("a flood");
}

/// The answers to these packets have no more bytes than the packets.
fn pings_for_somebody_else_bring_nothing(cluster: &Cluster, sealed: bool) {
    let socket = UdpSocket::bind((OUTSIDER, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let (mut sent, mut received, mut buffer) = (0, 0, [0; 65_536]);
    let before = cluster.metrics();
    for packet in forge::questions() {
        for _ in 0..10 {
            sent += socket.send_to(&packet, cluster.target()).unwrap();
        }
    }
    while let Ok(len) = socket.recv(&mut buffer) {
        received += len;
    }
    println!("{received} bytes came back for {sent}");
    assert!(received <= sent && (received == 0) == sealed);
    await_that("they were seen", || cluster.metrics().datagrams_received >= before.datagrams_received + 30);
    assert!(sealed || cluster.metrics().refused_relays > before.refused_relays, "an outsider gets no relay");
}

fn noise(random: &mut Rng, most: usize) -> Vec<u8> {
    let len = random.usize(1..=most);
    (0..len).map(|_| random.u8(..)).collect()
}

fn damaged_streams(cluster: &Cluster, random: &mut Rng) {
    let frames = forge::all(random, "n1", 1, 1);
    for i in 0..300 {
        let Ok(mut stream) = TcpStream::connect(cluster.target()) else { continue };
        let mut bytes = match i % 5 {
            0 => vec![0xff; 64],
            1 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            2 => [&[4, 0xff, 0xff, 0xff][..], &[7; 200]].concat(),
            3 => noise(random, 5000),
            _ => {
                let frame = &frames[random.usize(..frames.len())];
                [&(frame.len() as u32).to_le_bytes()[..], frame].concat()
            }
        };
        let at = random.usize(..bytes.len());
        bytes[at] ^= random.u8(..);
        let _ = stream.write_all(&bytes);
    }
}

fn a_thousand_half_open_streams(cluster: &Cluster) {
    let held: Vec<Socket> = (0..1000).filter_map(|_| connect_from(OUTSIDER, cluster.target()).ok()).collect();
    assert!(held.len() > 100, "{}", held.len());
    newcomer_joins(cluster, "half-open");
    drop(held);
}

/// They send one byte now and then, to hold a stream each for as long as possible.
fn slow_senders(cluster: &Cluster) {
    std::thread::scope(|scope| {
        // Dropped at the end of this function, after a panic too.
        let (_going_on, over) = mpsc::channel::<()>();
        let trickle = move || {
            while over.try_recv() == Err(TryRecvError::Empty) {
                let streams: Vec<Socket> =
                    (0..40).filter_map(|_| connect_from(OUTSIDER, cluster.target()).ok()).collect();
                for byte in [20, 0, 0, 0, 1] {
                    for stream in &streams {
                        let _ = stream.send(&[byte]);
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        };
        std::thread::Builder::new().spawn_scoped(scope, trickle).unwrap();
        newcomer_joins(cluster, "slow");
    });
}

/// Two addresses hold every place, half of them with exchanges that they begin and never continue. Others are served at
/// their first attempt nevertheless.
fn places_held_from_two_addresses(cluster: &Cluster) {
    let target = cluster.target();
    std::thread::scope(|scope| {
        let (_going_on, over) = mpsc::channel::<()>();
        let hold = move || {
            let mut held = VecDeque::new();
            while over.try_recv() == Err(TryRecvError::Empty) {
                for (source, begins) in HOLDERS.into_iter().flat_map(|of| [(of, false), (of, true)]) {
                    let Ok(stream) = connect_from(source, target) else { continue };
                    if begins {
                        let _ = stream.send(&forge::frame(&forge::hello()));
                    }
                    held.push_back(stream);
                }
                // Those of the last five seconds.
                held.drain(..held.len().saturating_sub(400));
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        std::thread::Builder::new().spawn_scoped(scope, hold).unwrap();
        let refused = || cluster.metrics().refused_streams;
        let before = refused();
        await_that("there is no place left", || refused() > before + 50);
        if cluster.ring.is_none() {
            for _ in 0..10 {
                assert!(forge::is_answered(target).unwrap(), "a stream ping among held places");
            }
        }
        let mut config = cluster.newcomer("first-try");
        config.swim.stream_timeout = PATIENCE;
        let node = Gossip::start(config).unwrap();
        assert_eq!(node.join([target.to_string()]).unwrap(), 1);
        sees_all_and_leaves(cluster, &node);
        assert!(threads_of("n0-") <= 16, "{}", threads_of("n0-"));
    });
    await_that("workers go when there is no more work", || threads_of("n0-") == 2);
}

/// The threads of this process with this name.
fn threads_of(name: &str) -> usize {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    // A thread that has just ended is listed, but has no name.
    let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|of| of.starts_with(name)).count()
}

/// An honest node is served in spite of them, and leaves again.
fn newcomer_joins(cluster: &Cluster, name: &str) {
    let node = Gossip::start(cluster.newcomer(name).seed(cluster.target().to_string())).unwrap();
    sees_all_and_leaves(cluster, &node);
}

fn sees_all_and_leaves(cluster: &Cluster, node: &Gossip) {
    let name = &*node.local().name;
    await_that("a newcomer joins", || node.members().live().count() == 4);
    let listed =
        |of: &Gossip| of.members().named(name).is_some_and(|member| member.state == MemberState::Alive);
    await_that("all list it", || cluster.nodes.iter().all(listed));
    node.shutdown().unwrap();
    await_that("it left", || {
        cluster.nodes.iter().all(|of| of.members().named(name).is_some_and(|m| m.state == MemberState::Left))
    });
    for events in &cluster.events {
        for event in upsets(events) {
            let about = event.member().is_some_and(|member| &*member.name == name);
            assert!(about && !matches!(event, Event::Failed { .. }), "{event:?}");
        }
    }
}

fn connect_from(source: Ipv4Addr, target: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&target.into(), Duration::from_millis(200))?;
    Ok(socket)
}

fn resident_kb() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Packets as `PROTOCOL.md` describes them, made without the library.
mod forge {
    use super::*;

    pub(super) use crate::support::forge::frame;
    use crate::support::forge::{HEADER, Header, Section, mark, packet as packet_of, text, varint};

    /// A packet whose header names no sender.
    fn packet(sections: &[Section]) -> Vec<u8> {
        packet_of(Header::default(), sections)
    }

    /// Every claim, each in packets of its own: from no member, from its subject, and from others. They show no token, or a
    /// guessed one.
    pub(super) fn all(random: &mut Rng, name: &str, epoch: u64, incarnation: u64) -> Vec<Vec<u8>> {
        let who = [text(name), varint(epoch), varint(incarnation)].concat();
        let elsewhere = [vec![0, 127, 0, 0, 99], varint(7946), vec![0]].concat();
        let accusers = [varint(2), text("n1"), text("n2")].concat();
        let claims = [
            (0x10, [who.clone(), elsewhere].concat()),
            (0x11, [who.clone(), accusers].concat()),
            (0x12, who.clone()),
            (0x13, who.clone()),
            (0x14, [who, vec![1, 1]].concat()),
        ];
        let of = |claim: &Section| -> Vec<Vec<u8>> {
            headers(random, name).map(|header| packet_of(header, std::slice::from_ref(claim))).into()
        };
        claims.iter().flat_map(of).collect()
    }

    fn headers(random: &mut Rng, name: &str) -> [Header; 6] {
        let mut guess = || random.u32(1..);
        let (of, other) = (mark(name), mark(if name == "n1" { "n2" } else { "n1" }));
        [(0, 0), (0, guess()), (of, 0), (of, guess()), (other, 0), (other, guess())]
            .map(|(sender, token)| Header { sender, token })
    }

    /// Answers to other members' pings, and a token, as if from a member.
    pub(super) fn answers(random: &mut Rng) -> Vec<Vec<u8>> {
        let word = |random: &mut Rng| random.u32(..).to_le_bytes().to_vec();
        let retry = [word(random), word(random)].concat();
        let bodies = [(0x02, word(random)), (0x04, word(random)), (0x05, retry)];
        let mut sections: Vec<_> = bodies.into_iter().map(|body| vec![body]).collect();
        sections.push(vec![(0x05, [word(random), vec![0; 4]].concat())]);
        sections.push(vec![(0x31, word(random))]);
        sections.push(vec![(0x02, word(random)), (0x30, vec![7; 8])]);
        let of = |sections: &Vec<Section>| -> Vec<Vec<u8>> {
            headers(random, "n1").map(|header| packet_of(header, sections)).into()
        };
        sections.iter().flat_map(of).collect()
    }

    /// A ping with a token behind it, as if from a member.
    pub(super) fn handing_out_tokens(random: &mut Rng) -> Vec<Vec<u8>> {
        let ping = (0x01, [vec![4, 3, 2, 1], text("n0")].concat());
        let token = (0x31, random.u32(..).to_le_bytes().to_vec());
        headers(random, "n1").map(|header| packet_of(header, &[ping.clone(), token.clone()])).into()
    }

    /// A ping of the right name, a ping of another, and a request to relay one.
    pub(super) fn questions() -> Vec<Vec<u8>> {
        let seq = vec![1, 2, 3, 4];
        vec![
            packet(&[(1, [seq.clone(), text("n0")].concat())]),
            packet(&[(1, [seq.clone(), text("n1")].concat())]),
            packet(&[(3, [seq, text("n1"), varint(500)].concat())]),
        ]
    }

    /// The first message of an exchange of tables.
    pub(super) fn hello() -> Vec<u8> {
        packet(&[(0x20, [text("outsider"), vec![0; 8]].concat())])
    }

    /// Asks n0 over a stream whether it answers.
    pub(super) fn is_answered(target: SocketAddr) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(target)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&frame(&packet(&[(0x23, text("n0"))])))?;
        let expected = frame(&packet(&[(0x24, text("n0"))]));
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer)?;
        // The sender does not matter, so its mark is skipped.
        let sections = 4 + HEADER;
        Ok(answer[sections..] == expected[sections..])
    }

    /// Opens an exchange of tables under a new name, and sends this claim instead of a table.
    pub(super) fn push(target: SocketAddr, claim: &[u8]) -> std::io::Result<()> {
        let mut stream: TcpStream = connect_from(OUTSIDER, target)?.into();
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        stream.write_all(&frame(&hello()))?;
        let mut table = [0; 4096];
        let _ = stream.read(&mut table)?;
        stream.write_all(&frame(claim))?;
        stream.write_all(&frame(&packet(&[(0x22, vec![])])))?;
        let _ = stream.read(&mut table)?;
        Ok(())
    }
}
