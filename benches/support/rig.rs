//! Nodes without threads and sockets: a network in memory, and packets to feed to a node of one's choice.
//!
//! What a packet holds is the node's own business. So every packet here was sent by some node: members
//! introduce themselves, suspect, refute and leave for real, and what they send is recorded.

#![allow(dead_code, reason = "each target uses its part")]

use std::{net::SocketAddr, time::Duration};

use syncswim::{
    Tags,
    swim::{Config, Node, Output, Start, StreamFailure, StreamId, StreamStep, Time},
};

/// The longest interval that a configuration accepts.
pub(crate) const NEVER: Duration = Duration::from_secs(10_000 * 3600);
/// When everything begins: late enough that the age of every departure can be told.
pub(crate) const BEGIN: Time = Time::from_origin(Duration::from_secs(20_000 * 3600));
/// The epoch of every node, so that a node made twice is the same member.
const EPOCH: u64 = 1_700_000_000_000;

/// A datagram that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

impl Datagram {
    /// What it begins with: `PROTOCOL.md` lists the tags.
    pub(crate) fn kind(&self) -> u8 {
        self.bytes.get(9).copied().unwrap_or(0)
    }

    /// Nothing but news: neither a probe nor the answer to one.
    pub(crate) fn is_news(&self) -> bool {
        self.kind() >= 16
    }

    /// Has a node take it in. One that knows nobody asks a stranger whether it is there, and is answered.
    pub(crate) fn deliver(&self, node: &mut Node, now: Time) {
        let meets = node.live() == 1 && self.is_news();
        node.handle_datagram(now, self.from, &self.bytes);
        let mut asked = Vec::new();
        if meets && node.poll_transmit(&mut asked) == Some(self.from) {
            node.handle_datagram(now, self.from, &ack(&asked));
        }
    }
}

/// The answer to a ping: `PROTOCOL.md` has the bytes.
fn ack(ping: &[u8]) -> Vec<u8> {
    let sections = [&[2, 4], &ping[11..15]].concat();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&ping[..5]);
    crc.update(&sections);
    [&ping[..5], &crc.finalize().to_le_bytes(), &sections].concat()
}

/// The name of the member of this number; all have the same length.
pub(crate) fn name(number: u32) -> String {
    format!("node-{number:05}")
}

/// Where the member of this number is reached.
pub(crate) fn addr(number: u32) -> SocketAddr {
    let [_, b, c, d] = number.to_be_bytes();
    ([10, b, c, d], 7946).into()
}

/// The LAN preset.
pub(crate) fn lan(number: u32) -> Config {
    Config::lan(name(number))
}

/// The LAN preset without probes and exchanges of its own: only what is asked for happens.
pub(crate) fn passive(number: u32) -> Config {
    let mut config = lan(number);
    (config.probe_interval, config.sync_interval) = (NEVER, NEVER);
    config
}

/// The node of this number, which knows nobody.
pub(crate) fn node(number: u32, config: Config) -> Node {
    let start =
        Start { addr: addr(number), epoch: EPOCH, seed: u64::from(number) + 1, tags: Tags::default() };
    Node::new(config, start, BEGIN)
}

/// Takes everything that a node has put out and drops it.
pub(crate) fn drain(node: &mut Node, buffer: &mut Vec<u8>) {
    while node.poll_transmit(buffer).is_some() {}
    while node.poll_output().is_some() {}
}

/// How members 1 to `n` are introduced, all of them by member 1: each in a datagram that holds its *alive* and nothing
/// else.
pub(crate) fn introductions(n: u32) -> Vec<Datagram> {
    presentations(n, |_| {})
}

/// What the same members say later, with other tags.
pub(crate) fn updates(n: u32) -> Vec<Datagram> {
    let tags = Tags::new([("role", "db")]).expect("so few tags fit");
    presentations(n, |member| member.set_tags(BEGIN, tags.clone()))
}

fn presentations(n: u32, prepare: impl Fn(&mut Node)) -> Vec<Datagram> {
    // One who takes in nobody, so that it has nothing to tell but itself.
    let mut config = passive(0x00ff_ffff);
    config.max_members = 1;
    let mut hermit = node(0x00ff_ffff, config);
    let mut buffer = Vec::new();
    let present = |number| {
        let mut member = node(number, passive(number));
        connect(&mut member, &mut hermit, BEGIN);
        prepare(&mut member);
        member.handle_timeout(BEGIN);
        let to = member.poll_transmit(&mut buffer).expect("a new member tells of itself");
        drain(&mut hermit, &mut Vec::new());
        Datagram { from: addr(1), to, bytes: buffer.clone() }
    };
    (1..=n).map(present).collect()
}

/// Has one node join another; everything happens at once.
pub(crate) fn connect(joiner: &mut Node, seed: &mut Node, now: Time) {
    joiner.join(now, 0, &[seed.local().addr]);
    while let Some(output) = joiner.poll_output() {
        if let Output::OpenStream { stream, .. } = output {
            exchange(joiner, seed, stream, now);
        }
    }
}

/// Follows a stream from its opening to its end on both sides.
fn exchange(opener: &mut Node, other: &mut Node, stream: StreamId, now: Time) {
    let from = opener.local().addr;
    let Some(accepted) = other.accept_stream(now, from) else {
        return opener.handle_stream_failure(now, stream, StreamFailure::Refused);
    };
    let mut buffer = Vec::new();
    loop {
        let (opener_sent, opener_closed) = talk(opener, stream, other, accepted, now, &mut buffer);
        let (other_sent, other_closed) = talk(other, accepted, opener, stream, now, &mut buffer);
        if opener_closed && other_closed {
            return;
        }
        // One side has hung up, or both wait for the other to speak.
        if !opener_sent && !other_sent {
            opener.handle_stream_failure(now, stream, StreamFailure::TimedOut);
            other.handle_stream_failure(now, accepted, StreamFailure::TimedOut);
            return;
        }
    }
}

/// Lets one side speak until it listens or closes; says whether it spoke and whether it closed.
fn talk(
    speaker: &mut Node,
    stream: StreamId,
    listener: &mut Node,
    heard_as: StreamId,
    now: Time,
    buffer: &mut Vec<u8>,
) -> (bool, bool) {
    let mut sent = false;
    loop {
        match speaker.poll_stream(now, stream, buffer) {
            StreamStep::Send => listener.handle_frame(now, heard_as, buffer),
            StreamStep::Receive => return (sent, false),
            StreamStep::Close => return (sent, true),
        }
        sent = true;
    }
}

/// A small cluster whose datagrams and streams arrive at once, unless they are lost.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: Time,
    /// Everything that was sent, lost or not.
    pub(crate) sent: Vec<Datagram>,
    /// Which datagrams are lost; streams between their ends fail too.
    lost: fn(&Datagram) -> bool,
    crashed: Vec<SocketAddr>,
}

impl Net {
    /// Nodes that know each other and have nothing left to tell.
    pub(crate) fn converged(configs: impl IntoIterator<Item = Config>) -> Self {
        let nodes = (0..).zip(configs).map(|(number, config)| node(number, config)).collect();
        let mut net = Self { nodes, now: BEGIN, sent: Vec::new(), lost: |_| false, crashed: Vec::new() };
        for number in 1..net.nodes.len() {
            net.nodes[number].join(BEGIN, 0, &[addr(0)]);
            net.settle();
        }
        net.run_until(|net| {
            net.nodes.iter().all(|node| node.live() == net.nodes.len() && node.metrics().queued_news == 0)
        });
        net.sent.clear();
        net
    }

    /// Decides from now on which datagrams are lost.
    pub(crate) fn lose(&mut self, lost: fn(&Datagram) -> bool) {
        self.lost = lost;
    }

    /// From now on the node neither hears nor says anything.
    pub(crate) fn crash(&mut self, number: u32) {
        self.crashed.push(addr(number));
    }

    /// The number of the running node at an address.
    fn at(&self, addr: SocketAddr) -> Option<usize> {
        let running = !self.crashed.contains(&addr);
        self.nodes.iter().position(|node| running && node.local().addr == addr)
    }

    /// Moves on to the next deadline of any node, and to the next, until something holds.
    pub(crate) fn run_until(&mut self, holds: impl Fn(&Self) -> bool) {
        self.settle();
        let limit = self.now + Duration::from_secs(3600);
        while !holds(self) {
            assert!(self.now < limit, "it did not happen within an hour");
            self.step();
        }
    }

    /// Moves on by some time.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(|net| net.now >= end);
    }

    fn step(&mut self) {
        let running = |node: &&mut Node| !self.crashed.contains(&node.local().addr);
        let next = self.nodes.iter_mut().filter(running).filter_map(|node| node.poll_timeout()).min();
        self.now = self.now.max(next.expect("a cluster always waits for something"));
        let now = self.now;
        self.nodes.iter_mut().filter(running).for_each(|node| node.handle_timeout(now));
        self.settle();
    }

    /// Delivers until there is silence.
    fn settle(&mut self) {
        let mut buffer = Vec::new();
        loop {
            let before = self.sent.len();
            let mut streams = 0;
            for i in 0..self.nodes.len() {
                let from = self.nodes[i].local().addr;
                while let Some(to) = self.nodes[i].poll_transmit(&mut buffer) {
                    self.deliver(Datagram { from, to, bytes: buffer.clone() });
                }
                while let Some(output) = self.nodes[i].poll_output() {
                    if let Output::OpenStream { stream, addr, .. } = output {
                        streams += 1;
                        self.open(i, stream, addr);
                    }
                }
            }
            if self.sent.len() == before && streams == 0 {
                return;
            }
        }
    }

    fn deliver(&mut self, datagram: Datagram) {
        let arrives = self.at(datagram.from).is_some() && !(self.lost)(&datagram);
        if let Some(to) = self.at(datagram.to).filter(|_| arrives) {
            datagram.deliver(&mut self.nodes[to], self.now);
        }
        self.sent.push(datagram);
    }

    fn open(&mut self, i: usize, stream: StreamId, to: SocketAddr) {
        let from = self.nodes[i].local().addr;
        let lost = (self.lost)(&Datagram { from, to, bytes: Vec::new() });
        match self.at(to).filter(|j| *j != i && !lost) {
            None => self.nodes[i].handle_stream_failure(self.now, stream, StreamFailure::Refused),
            Some(j) => {
                let [opener, other] = self.nodes.get_disjoint_mut([i, j]).expect("two different nodes");
                exchange(opener, other, stream, self.now);
            }
        }
    }
}
