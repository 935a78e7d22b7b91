//! The cost of the protocol core per packet, per round and per member: `cargo bench --bench core [-- --quick]`.
//!
//! Everything goes through the public interface, bytes in and bytes out, with the outputs drained as a driver
//! does. Pings come from different members in turn. A full queue is one as long as the table; a node whose
//! queue runs short is replaced by a new one outside of the measured time; what little is allocated with a
//! full queue is such a new one growing its lists once. Times include a few nanoseconds per allocation for
//! counting it.

use std::{hint::black_box, time::Duration};

use syncswim::swim::Node;

#[path = "support/effort.rs"]
mod effort;
#[path = "support/options.rs"]
mod options;
#[path = "support/rig.rs"]
mod rig;
#[path = "support/timing.rs"]
mod timing;

use effort::Effort;
use rig::{Acquaintance, BEGIN, Datagram, Net};
use timing::{Clock, Figure, heading};

fn main() {
    let effort = Effort::asked();
    let sizes: &[u32] = match effort {
        Effort::Smoke => &[100],
        Effort::Quick | Effort::Full => &[100, 1_000, 10_000, 50_000],
    };
    let largest = sizes.iter().copied().max().unwrap_or(0);
    let bench = Bench { effort, members: rig::acquaintances(largest.max(1_000)), ping: rig::ping() };
    println!(
        "an update about a member takes {} bytes, a packet holds {} of it",
        bench.update_bytes(),
        bench.updates_per_packet()
    );

    heading("ping in, ack out", true);
    sizes.iter().for_each(|n| bench.ping_with_empty_queue(*n));
    sizes.iter().for_each(|n| bench.ping_with_full_queue(*n));
    heading("gossip round: three packets to three members", true);
    sizes.iter().for_each(|n| bench.gossip_with_full_queue(*n));
    heading("learn n members one by one, per member", true);
    sizes.iter().for_each(|n| bench.learn(*n));
    heading("hear a suspicion and its refutation", true);
    let accusations = accusations();
    sizes.iter().for_each(|n| bench.suspect_and_refute(*n, &accusations));
    heading("exchange of tables, both sides, per member", true);
    sizes.iter().for_each(|n| bench.join(*n));
    sizes.iter().for_each(|n| bench.exchange_equal(*n));
    let specimens = bench.specimens();
    heading("take in one packet that changes nothing, n = 1000", true);
    bench.take_in_each(&specimens);
    heading("write one packet, n = 1000", true);
    bench.write_each(&specimens);
}

/// Counts what the core allocates.
fn count(act: &mut dyn FnMut()) -> u64 {
    allocation_counter::measure(act).count_total
}

/// Pings, or other packets, in one round.
const BATCH: u64 = 2_000;

struct Bench {
    effort: Effort,
    /// Members 1, 2 …
    members: Vec<Acquaintance>,
    ping: Datagram,
}

impl Bench {
    fn measure(&self, what: &str, rounds: usize, round: impl FnMut(&mut Clock)) {
        Figure::of(rounds, Some(count), round).print(what);
    }

    fn update_bytes(&self) -> usize {
        self.members[0].introduction.bytes.len() - rig::HEADER
    }

    fn updates_per_packet(&self) -> usize {
        (1400 - rig::HEADER) / self.update_bytes()
    }

    /// The same from the member of this number, or told by it.
    fn said_by(&self, number: u32, datagram: &Datagram) -> Datagram {
        datagram.said_by(&self.members[number as usize - 1].introduction)
    }

    fn members(&self, n: u32) -> &[Acquaintance] {
        &self.members[..n as usize]
    }

    /// A live node that knows n members and has told everything.
    fn node_with_empty_queue(&self, n: u32) -> Node {
        let (mut node, mut buffer) = (rig::node_among(self.members(n)), Vec::new());
        while node.metrics().queued_updates > 0 {
            node.handle_timeout(node.poll_timeout().expect("a round follows while there are updates"));
            rig::drain(&mut node, &mut buffer);
        }
        // The gossip round that was due finds no update.
        node.handle_timeout(BEGIN);
        node
    }

    /// Pings from members 1 to n in an order that helps no cache.
    fn pings(&self, n: u32) -> Vec<Datagram> {
        let number = |i| 1 + (u64::from(i) * 7_919 % u64::from(n)) as u32;
        (0..n).map(|i| self.said_by(number(i), &self.ping)).collect()
    }

    /// How many packets a full queue fills before its first update is done with.
    fn packets_in_queue(&self, n: u32) -> u64 {
        let limit = 4 * u64::from((n + 1).ilog10() + 1);
        u64::from(n) * (limit - 1) / (self.updates_per_packet() as u64 + 1)
    }

    fn ping_with_empty_queue(&self, n: u32) {
        let (mut node, pings, mut buffer) = (self.node_with_empty_queue(n), self.pings(n), Vec::new());
        self.measure(&format!("no update is queued, n = {n}"), self.effort.rounds(), |clock| {
            answer(clock, &mut node, &pings, BATCH, &mut buffer);
        });
    }

    fn ping_with_full_queue(&self, n: u32) {
        let mut queue = FullQueue::new(self, n, BATCH);
        let (pings, mut buffer) = (self.pings(n), Vec::new());
        self.measure(&format!("n updates are queued, n = {n}"), self.effort.rounds(), |clock| {
            let (node, packets) = queue.take();
            answer(clock, node, &pings, packets, &mut buffer);
        });
    }

    fn gossip_with_full_queue(&self, n: u32) {
        let mut queue = FullQueue::new(self, n, BATCH);
        let mut buffer = Vec::new();
        self.measure(&format!("n updates are queued, n = {n}"), self.effort.rounds(), |clock| {
            let (node, packets) = queue.take();
            let rounds = (packets / 3).max(1);
            clock.run(rounds, || {
                for _ in 0..rounds {
                    let now = node.poll_timeout().expect("updates are queued");
                    node.handle_timeout(now);
                    rig::drain(node, &mut buffer);
                }
            });
            assert!(node.metrics().datagrams_sent >= 3 * rounds);
        });
    }

    fn learn(&self, n: u32) {
        let introductions = rig::introductions(self.members(n));
        self.measure(&format!("n = {n}"), self.effort.few_rounds(), |clock| {
            let mut node = rig::node(0, rig::passive(0));
            clock.run(u64::from(n), || {
                for introduction in &introductions {
                    introduction.deliver(&mut node, BEGIN);
                    while node.poll_output().is_some() {}
                }
            });
            assert_eq!(node.live(), n as usize + 1);
        });
    }

    fn suspect_and_refute(&self, n: u32, accusations: &[Datagram]) {
        let mut node = rig::node_among(self.members(n));
        let rounds = self.effort.rounds();
        let mut parts = accusations.chunks_exact(accusations.len() / (rounds + 1) / 2 * 2);
        self.measure(&format!("n = {n}"), rounds, |clock| {
            let part = parts.next().expect("there is one for each round");
            let before = node.metrics().suspicions;
            let pairs = part.len() as u64 / 2;
            clock.run(pairs, || {
                for claim in part {
                    claim.deliver(&mut node, BEGIN);
                    while node.poll_output().is_some() {}
                }
            });
            assert_eq!(node.metrics().suspicions, before + pairs);
        });
    }

    fn join(&self, n: u32) {
        let mut seed = rig::node_with_full_queue(self.members(n));
        self.measure(&format!("a newcomer joins, n = {n}"), self.effort.few_rounds(), |clock| {
            let mut newcomer = rig::node(n + 1, rig::passive(n + 1));
            clock.run(u64::from(n), || {
                rig::connect(&mut newcomer, &mut seed, BEGIN);
                while seed.poll_output().is_some() {}
            });
            assert_eq!(newcomer.live(), n as usize + 2);
        });
    }

    fn exchange_equal(&self, n: u32) {
        let (mut one, mut other) = (rig::node_among(self.members(n)), rig::node(n + 1, rig::passive(n + 1)));
        rig::connect(&mut other, &mut one, BEGIN);
        // They give each other tokens, to be believed from now on.
        other.handle_timeout(BEGIN);
        rig::converse(&mut other, &mut one, BEGIN);
        self.measure(&format!("both know all, n = {n}"), self.effort.few_rounds(), |clock| {
            clock.run(u64::from(n), || rig::connect(&mut other, &mut one, BEGIN));
            while one.poll_output().is_some() {}
        });
    }

    /// One packet of each kind that changes nothing at a node that receives it again.
    fn specimens(&self) -> Vec<(&'static str, Datagram)> {
        let mut net = Net::converged((0..8).map(rig::lan));
        net.crash(7);
        net.run_until(|net| net.nodes[..7].iter().all(|node| node.metrics().departed_members == 1));
        let now = net.now;
        net.nodes[6].leave(now);
        net.run_until(|net| net.nodes[..6].iter().all(|node| node.metrics().departed_members == 2));
        net.run_for(Duration::from_secs(5));
        let shortest = |kind| {
            let of_kind = net.sent.iter().filter(|datagram| datagram.kind() == kind);
            let shortest = of_kind.filter(|d| d.to != rig::addr(0) && d.from != rig::addr(0));
            shortest.min_by_key(|datagram| datagram.bytes.len()).expect("each kind was sent").clone()
        };
        let from_member = |kind| self.said_by(1, &shortest(kind));
        vec![
            ("a ping for somebody else", from_member(1)),
            ("an ack that nobody waits for", from_member(2)),
            // The token that it shows belongs to another peer.
            ("a ping-req from an unverified peer", shortest(3)),
            ("a nack that nobody waits for", from_member(4)),
            ("a known suspicion", from_member(17)),
            ("a known failure", from_member(18)),
            ("a known departure", from_member(19)),
        ]
    }

    fn take_in_each(&self, specimens: &[(&str, Datagram)]) {
        let mut node = self.node_with_empty_queue(1_000);
        for (what, datagram) in specimens {
            // A claim is an update only once.
            datagram.deliver(&mut node, BEGIN);
            rig::drain(&mut node, &mut Vec::new());
            self.measure(&labelled(what, datagram), self.effort.rounds(), |clock| {
                clock.run(BATCH, || (0..BATCH).for_each(|_| datagram.deliver(&mut node, BEGIN)));
                assert_eq!(node.poll_transmit(&mut Vec::new()), None);
            });
        }
        let mut sender = rig::node_with_full_queue(self.members(1_000));
        self.ping.deliver(&mut sender, BEGIN);
        let mut full = self.ping.clone();
        sender.poll_transmit(&mut full.bytes);
        let full = self.said_by(1, &full);
        full.deliver(&mut node, BEGIN);
        rig::drain(&mut node, &mut Vec::new());
        let full = [
            ("an ack with all updates that fit, known", full.clone()),
            ("the same, one bit flipped", flipped(full)),
        ];
        for (what, datagram) in full {
            self.measure(&labelled(what, &datagram), self.effort.rounds(), |clock| {
                clock.run(BATCH, || (0..BATCH).for_each(|_| datagram.deliver(&mut node, BEGIN)));
            });
        }
    }

    fn write_each(&self, specimens: &[(&str, Datagram)]) {
        const RELAYED: u64 = 200;
        let mut node = self.node_with_empty_queue(1_000);
        self.measure("an ack", self.effort.rounds(), |clock| {
            (0..BATCH).for_each(|_| self.ping.deliver(&mut node, BEGIN));
            write(clock, &mut node, BATCH);
        });
        let (_, request) = specimens.iter().find(|(_, d)| d.kind() == 3).expect("relays were asked");
        // One probe of each member is relayed at a time.
        let requests: Vec<_> = (1..=RELAYED as u32).map(|number| self.said_by(number, request)).collect();
        let (mut node, rounds) = (self.node_with_empty_queue(1_000), self.effort.rounds());
        // The exchanges of tables after going live are over: only relays have deadlines that come soon.
        let mut now = BEGIN;
        while let Some(next) = node.poll_timeout().filter(|next| next.since(BEGIN) < Duration::from_secs(60))
        {
            now = next;
            node.handle_timeout(now);
            rig::drain(&mut node, &mut Vec::new());
        }
        // First the ping for another, then the nack because no answer came, then nothing.
        for (what, timed_turn) in [("a ping (for another member)", 0), ("a nack", 1)] {
            self.measure(what, rounds, |clock| {
                requests.iter().for_each(|request| request.deliver(&mut node, now));
                for turn in 0..2 {
                    if turn == timed_turn {
                        write(clock, &mut node, RELAYED);
                    } else {
                        rig::drain(&mut node, &mut Vec::new());
                    }
                    now = node.poll_timeout().expect("relays have a deadline");
                    node.handle_timeout(now);
                }
            });
        }
        let mut queue = FullQueue::new(self, 1_000, 256);
        self.measure("an ack with all updates that fit", rounds, |clock| {
            let (node, packets) = queue.take();
            (0..packets).for_each(|_| self.ping.deliver(node, BEGIN));
            write(clock, node, packets);
        });
    }
}

/// A node whose queue never runs short.
struct FullQueue<'a> {
    bench: &'a Bench,
    n: u32,
    node: Node,
    left: u64,
    batch: u64,
}

impl<'a> FullQueue<'a> {
    fn new(bench: &'a Bench, n: u32, batch: u64) -> Self {
        let left = bench.packets_in_queue(n);
        Self { bench, n, node: rig::node_with_full_queue(bench.members(n)), left, batch: batch.min(left) }
    }

    /// The node, and how many packets may now be taken from it.
    fn take(&mut self) -> (&mut Node, u64) {
        if self.left < self.batch {
            *self = Self::new(self.bench, self.n, self.batch);
        }
        self.left -= self.batch;
        (&mut self.node, self.batch)
    }
}

fn answer(clock: &mut Clock, node: &mut Node, pings: &[Datagram], times: u64, buffer: &mut Vec<u8>) {
    let before = node.metrics().datagrams_sent;
    let mut pings = pings.iter().cycle();
    clock.run(times, || {
        for ping in pings.by_ref().take(times as usize) {
            node.handle_datagram(BEGIN, ping.from, black_box(&ping.bytes));
            rig::drain(node, buffer);
        }
    });
    assert_eq!(node.metrics().datagrams_sent, before + times);
}

/// Writes what waits to be sent.
fn write(clock: &mut Clock, node: &mut Node, packets: u64) {
    let mut buffer = Vec::with_capacity(2_000);
    clock.run(packets, || {
        for _ in 0..packets {
            black_box(node.poll_transmit(&mut buffer)).expect("it waits");
        }
    });
    assert_eq!(node.poll_transmit(&mut buffer), None);
}

fn labelled(what: &str, datagram: &Datagram) -> String {
    format!("{what} ({} bytes)", datagram.bytes.len())
}

fn flipped(mut datagram: Datagram) -> Datagram {
    datagram.bytes[100] ^= 1;
    datagram
}

/// Suspicions of member 2 and, after each, its refutation, as node 0 hears them.
fn accusations() -> Vec<Datagram> {
    let mut accuser = rig::lan(1);
    accuser.health_max = 1;
    let mut net = Net::converged([rig::passive(0), accuser, rig::passive(2)]);
    // Pings of member 2 get no answer, but gossip travels.
    net.lose(|datagram| !datagram.is_gossip() && [datagram.from, datagram.to].contains(&rig::addr(2)));
    net.run_for(Duration::from_secs(2_400));
    let mut told: Vec<Datagram> = Vec::new();
    for datagram in net.sent.iter().filter(|datagram| datagram.to == rig::addr(0)) {
        let wanted = if told.len().is_multiple_of(2) { 17 } else { 16 };
        if datagram.kind() == wanted && !told.contains(datagram) {
            told.push(datagram.clone());
        }
    }
    told
}
