//! Nodes without threads and sockets: a network in memory, and packets to feed to a node of one's choice.
//!
//! What a packet holds is the node's own business. So every packet here was sent by some node: members
//! introduce themselves, suspect, refute and leave for real, and what they send is recorded.
//!
//! A node believes only those who show the token that it gave them. Tokens follow from its seed, and here a node of a
//! number always has the same: so what members said to node 0 in one life counts in its next.

#![allow(dead_code, reason = "each target uses its part")]

use std::{net::SocketAddr, ops::Range, time::Duration};

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

/// Bytes of a packet's header: `PROTOCOL.md` has them.
pub(crate) const HEADER: usize = 17;
/// The bytes that identify the sender: the mark of its name, and the token that the receiver gave it.
const SPEAKER: Range<usize> = 9..HEADER;

/// A datagram that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

impl Datagram {
    /// The tag of its first section: `PROTOCOL.md` lists the tags.
    pub(crate) fn kind(&self) -> u8 {
        self.bytes.get(HEADER).copied().unwrap_or(0)
    }

    /// Whether it belongs to a gossip round: neither a probe nor the answer to one.
    pub(crate) fn is_gossip(&self) -> bool {
        self.kind() >= 16
    }

    /// Gives it to a node.
    pub(crate) fn deliver(&self, node: &mut Node, now: Time) {
        node.handle_datagram(now, self.from, &self.bytes);
    }

    /// The same content, with the sender, receiver and token of `other`.
    pub(crate) fn said_by(&self, other: &Datagram) -> Datagram {
        let mut bytes = self.bytes.clone();
        bytes[SPEAKER].copy_from_slice(&other.bytes[SPEAKER]);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes[..5]);
        crc.update(&bytes[9..]);
        bytes[5..9].copy_from_slice(&crc.finalize().to_le_bytes());
        Datagram { from: other.from, to: other.to, bytes }
    }
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
    (config.probe_interval, config.sync_interval) = (NEVER / 2, NEVER);
    // It must not forget anybody sooner than it would suspect them.
    (config.suspicion_mult, config.suspicion_max_mult, config.forget_after) = (1, 1, NEVER);
    config
}

/// The node of this number, which knows no other.
pub(crate) fn node(number: u32, config: Config) -> Node {
    let start = Start::new(addr(number), EPOCH, u128::from(number) + 1);
    Node::new(config, start, BEGIN)
}

/// Takes everything that a node has put out and drops it.
pub(crate) fn drain(node: &mut Node, buffer: &mut Vec<u8>) {
    while node.poll_transmit(buffer).is_some() {}
    while node.poll_output().is_some() {}
}

/// A datagram from a member to node 0, which has given it a token.
#[derive(Debug, Clone)]
pub(crate) struct Acquaintance {
    /// A ping, and behind it the token that node 0 is to show.
    pub(crate) ping: Datagram,
    /// Its *alive* and nothing else.
    pub(crate) introduction: Datagram,
    /// The same later, with tags.
    pub(crate) tagged: Datagram,
    /// And once more when the tags are gone.
    pub(crate) untagged: Datagram,
}

impl Acquaintance {
    fn of(number: u32) -> Self {
        let (mut member, mut hearer) = (node(number, passive(number)), node(0, passive(0)));
        connect(&mut member, &mut hearer, BEGIN);
        let said = next_round(&mut member, &mut hearer);
        let [ping, introduction] = said.try_into().expect("it asks for a token, then tells of itself");
        let mut retell = |tags| {
            member.set_tags(BEGIN, tags);
            next_round(&mut member, &mut hearer).pop().expect("it tells of its tags")
        };
        let tagged = retell(Tags::new([("role", "db")]).expect("so few tags fit"));
        let untagged = retell(Tags::default());
        Self { ping, introduction, tagged, untagged }
    }

    /// Has node 0 list the member, which may be sent updates from then on.
    pub(crate) fn meet(&self, node: &mut Node, buffer: &mut Vec<u8>) {
        for said in [&self.introduction, &self.ping] {
            said.deliver(node, BEGIN);
            drain(node, buffer);
        }
    }
}

/// A member's datagrams to a node in its next gossip round.
fn next_round(member: &mut Node, hearer: &mut Node) -> Vec<Datagram> {
    let now = member.poll_timeout().expect("it has something to tell");
    member.handle_timeout(now);
    converse(member, hearer, now)
}

/// Members 1 to `n`, as node 0 gets to know them.
pub(crate) fn acquaintances(n: u32) -> Vec<Acquaintance> {
    (1..=n).map(Acquaintance::of).collect()
}

/// A live node 0 that knows these members, to all of which it may send updates.
pub(crate) fn node_among(members: &[Acquaintance]) -> Node {
    let (mut node, mut buffer) = (node(0, passive(0)), Vec::new());
    connect(&mut self::node(1, passive(1)), &mut node, BEGIN);
    members.iter().for_each(|member| member.meet(&mut node, &mut buffer));
    node
}

/// The same with an update about each member, itself included, that it has yet to send.
pub(crate) fn node_with_full_queue(members: &[Acquaintance]) -> Node {
    let mut node = node_among(members);
    for said in members.iter().flat_map(|member| [&member.tagged, &member.untagged]) {
        said.deliver(&mut node, BEGIN);
        while node.poll_output().is_some() {}
    }
    assert_eq!(node.metrics().queued_updates, members.len() as u64 + 1);
    node
}

/// How the first of the members introduces itself, and then the others.
pub(crate) fn introductions(members: &[Acquaintance]) -> Vec<Datagram> {
    members.iter().map(|member| member.introduction.said_by(&members[0].introduction)).collect()
}

/// A ping from member 1 to node 0 and nothing else in the packet.
pub(crate) fn ping() -> Datagram {
    let mut net = Net::converged([passive(0), lan(1)]);
    net.run_until(|net| net.sent.iter().any(|datagram| datagram.kind() == 1));
    net.sent.swap_remove(0)
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

/// Has two nodes hear each other's datagrams until there is silence; returns what the first said.
pub(crate) fn converse(one: &mut Node, other: &mut Node, now: Time) -> Vec<Datagram> {
    let mut said = Vec::new();
    loop {
        let words = all_from(one);
        words.iter().for_each(|word| word.deliver(other, now));
        let answers = all_from(other);
        answers.iter().for_each(|answer| answer.deliver(one, now));
        if words.is_empty() && answers.is_empty() {
            return said;
        }
        said.extend(words);
    }
}

/// Everything that a node sends now.
fn all_from(node: &mut Node) -> Vec<Datagram> {
    let (from, mut buffer) = (node.local().addr, Vec::new());
    let next = || Some(Datagram { from, to: node.poll_transmit(&mut buffer)?.addr, bytes: buffer.clone() });
    std::iter::from_fn(next).collect()
}

/// Follows a stream from its opening to its end on both sides.
fn exchange(opener: &mut Node, other: &mut Node, stream: StreamId, now: Time) {
    opener.stream_began(now, stream);
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

/// Lets one side send until it waits or closes. Returns whether it sent, and whether it closed.
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
            other => panic!("{other:?}"),
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
            net.nodes.iter().all(|node| node.live() == net.nodes.len() && node.metrics().queued_updates == 0)
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

    /// All gossip that others have sent, as if each had sent it to this node: with the headers of what it sent to it last.
    pub(crate) fn gossip_retold_to(&self, number: u32) -> Vec<Datagram> {
        let hearer = addr(number);
        let to_hearer =
            |from| self.sent.iter().rev().find(|datagram| datagram.from == from && datagram.to == hearer);
        let told = self.sent.iter().filter(|datagram| datagram.is_gossip() && datagram.from != hearer);
        told.map(|gossip| gossip.said_by(to_hearer(gossip.from).expect("all have spoken to it"))).collect()
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
        loop {
            let before = self.sent.len();
            let mut streams = 0;
            for i in 0..self.nodes.len() {
                all_from(&mut self.nodes[i]).into_iter().for_each(|datagram| self.deliver(datagram));
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
