//! A ping's bytes in, the ack's bytes out, through the protocol cores that can be driven without sockets.
//!
//! Every packet was made by a node of the same library. Pings come from 64 members in turn. A full queue holds
//! one update for each member; a round of pings gets a fresh one, outside of the measured time. The
//! other peers have no core of their own.

use std::{net::SocketAddr, sync::OnceLock, time::Duration};

use foca::{
    Codec, Config, Foca, Header, Member, Message, NoCustomBroadcast, Notification, PostcardCodec, Timer,
};
use kinship_core::{Identity, Instant, Security, Transmit};
use rand::{SeedableRng, rngs::StdRng};
use syncswim::swim;

use crate::{
    peers::Id,
    report::{Table, time_cells},
    rig::{self, Acquaintance, BEGIN, Datagram},
    timing::Figure,
};

const SENDERS: u32 = 64;
/// So few pings that a full queue stays nearly full, and so do the packets.
const PINGS: u64 = 100;
const SIZES: [u32; 2] = [1_000, 10_000];

trait Core {
    /// Takes in a ping from the sender of this number, and returns the length of the ack.
    fn ping(&mut self, sender: usize) -> usize;
}

type Build = fn(u32, bool) -> Box<dyn Core>;

pub(crate) fn table(quick: bool) -> Table {
    let cores: [(&str, Build); 3] =
        [("syncswim", Syncswim::build), ("foca", FocaCore::build), ("kinship", Kinship::build)];
    let mut table = Table::new(
        "Core: a ping's bytes in, the ack's bytes out",
        &["members, queue", "core", "median", "min–max", "ratio", "allocations", "ack, bytes"],
    );
    let rounds = if quick { 5 } else { 25 };
    for full in [false, true] {
        for n in SIZES {
            let mut reference = None;
            for (name, build) in cores {
                let (figure, length) = measure(build, n, full, rounds);
                let [median, range, ratio] = time_cells(&figure, reference.as_ref());
                let allocations = format!("{:.1}", figure.allocations.unwrap_or(f64::NAN));
                let queue = if full { "one update each" } else { "empty" };
                let what = format!("{n}, {queue}");
                table.row([what, name.to_owned(), median, range, ratio, allocations, length.to_string()]);
                reference.get_or_insert(figure);
            }
        }
    }
    table.note("memberlist in Rust and in Go, serf, chitchat: no core that can be driven by itself");
    table
}

fn measure(build: Build, n: u32, full: bool, rounds: usize) -> (Figure, usize) {
    let mut core = build(n, full);
    let mut length = 0;
    let figure = Figure::of(rounds, Some(|act| allocation_counter::measure(act).count_total), |clock| {
        if full {
            core = build(n, full);
        }
        clock.run(PINGS, || {
            for ping in 0..PINGS as usize {
                length = core.ping(ping % SENDERS as usize);
            }
        });
    });
    (figure, length)
}

/// The senders among members 1 to n, far from each other.
fn senders(n: u32) -> impl Iterator<Item = u32> {
    (0..SENDERS).map(move |i| 1 + i * (n / SENDERS))
}

struct Syncswim {
    node: swim::Node,
    /// One from each sender.
    pings: Vec<Datagram>,
    buffer: Vec<u8>,
}

impl Syncswim {
    fn build(n: u32, full: bool) -> Box<dyn Core> {
        static MEMBERS: OnceLock<Vec<Acquaintance>> = OnceLock::new();
        let members = &MEMBERS.get_or_init(|| rig::acquaintances(SIZES[1]))[..n as usize];
        let node = if full { rig::node_with_full_queue(members) } else { rig::node_among(members) };
        let ping = rig::ping();
        let said_by = |number: u32| ping.said_by(&members[number as usize - 1].introduction);
        let mut core = Self { node, pings: senders(n).map(said_by).collect(), buffer: Vec::new() };
        // From all in turn, since a node sends no member updates about itself.
        for sender in (0..SENDERS as usize).cycle() {
            if full || core.node.metrics().queued_updates == 0 {
                break;
            }
            core.ping(sender);
        }
        Box::new(core)
    }
}

impl Core for Syncswim {
    fn ping(&mut self, sender: usize) -> usize {
        self.pings[sender].deliver(&mut self.node, BEGIN);
        let mut length = 0;
        while self.node.poll_transmit(&mut self.buffer).is_some() {
            length = self.buffer.len();
        }
        while self.node.poll_output().is_some() {}
        length
    }
}

struct FocaCore {
    node: Foca<Id, PostcardCodec, StdRng, NoCustomBroadcast>,
    pings: Vec<Vec<u8>>,
    sent: Sent,
}

/// Takes what is to be sent into one buffer, as a driver without allocations would.
#[derive(Default)]
struct Sent(Vec<u8>);

impl foca::Runtime<Id> for &mut Sent {
    fn notify(&mut self, _notification: Notification<'_, Id>) {}

    fn send_to(&mut self, _to: Id, data: &[u8]) {
        self.0.clear();
        self.0.extend_from_slice(data);
    }

    fn submit_after(&mut self, _event: Timer<Id>, _after: Duration) {}
}

impl FocaCore {
    fn build(n: u32, full: bool) -> Box<dyn Core> {
        let id = |number| Id { addr: rig::addr(number), life: 1 };
        let config = Config::new_lan(n.try_into().expect("there are members"));
        let mut node = Foca::new(id(0), config, StdRng::seed_from_u64(1), PostcardCodec);
        let mut sent = Sent::default();
        node.apply_many((1..=n).map(|number| Member::alive(id(number))), full, &mut sent)
            .expect("all are new");
        let ping = |sender| {
            let header =
                Header { src: id(sender), src_incarnation: 0, dst: id(0), message: Message::Ping(1) };
            let mut bytes = Vec::new();
            PostcardCodec.encode_header(&header, &mut bytes).expect("a vector has room");
            bytes
        };
        Box::new(Self { node, pings: senders(n).map(ping).collect(), sent })
    }
}

impl Core for FocaCore {
    fn ping(&mut self, sender: usize) -> usize {
        self.sent.0.clear();
        self.node.handle_data(&self.pings[sender], &mut self.sent).expect("a ping is taken");
        self.sent.0.len()
    }
}

const KINSHIP_BEGIN: Instant = Instant::from_nanos(1_000_000_000);

struct Kinship {
    node: kinship_core::Node,
    pings: Vec<(SocketAddr, Vec<u8>)>,
}

impl Kinship {
    fn node(number: u32) -> kinship_core::Node {
        let config = kinship_core::Config {
            max_members: 20_000,
            ..kinship_core::Config::lan(Security::InsecurePlaintext)
        };
        let identity = Identity::new(rig::name(number), rig::addr(number)).expect("the name is short");
        kinship_core::Node::new(config, identity, KINSHIP_BEGIN, u64::from(number), &[0; 32])
            .expect("a preset")
    }

    /// A member that knows only node 0.
    fn member(number: u32) -> kinship_core::Node {
        let mut member = Self::node(number);
        member.add_member(KINSHIP_BEGIN, &rig::name(0), rig::addr(0)).expect("there is room");
        member
    }

    /// The next datagram that a node sends by itself.
    fn next_datagram(node: &mut kinship_core::Node) -> Vec<u8> {
        loop {
            match node.poll_transmit() {
                Some(Transmit::Datagram { payload, .. }) => return payload,
                Some(_) => {}
                None => {
                    let now = node.poll_timeout().expect("a member has timers");
                    node.handle_timeout(now);
                }
            }
        }
    }

    /// A ping alone in its packet: from a member that was answered and has passed on all its updates.
    fn bare_ping(sender: u32) -> Vec<u8> {
        let (mut target, mut member) = (Self::node(0), Self::member(sender));
        target.add_member(KINSHIP_BEGIN, &rig::name(sender), rig::addr(sender)).expect("there is room");
        let mut ping = Vec::new();
        for _ in 0..20 {
            ping = Self::next_datagram(&mut member);
            target.handle_datagram(KINSHIP_BEGIN, rig::addr(sender), &ping);
            while let Some(transmit) = target.poll_transmit() {
                if let Transmit::Datagram { payload, .. } = transmit {
                    let now = member.poll_timeout().expect("a probe waits");
                    member.handle_datagram(now, rig::addr(0), &payload);
                }
            }
        }
        ping
    }

    fn build(n: u32, full: bool) -> Box<dyn Core> {
        static INTRODUCTIONS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
        let mut node = Self::node(0);
        if full {
            let introductions = INTRODUCTIONS
                .get_or_init(|| (1..=SIZES[1]).map(|i| Self::next_datagram(&mut Self::member(i))).collect());
            for (number, introduction) in (1..=n).zip(introductions) {
                node.handle_datagram(KINSHIP_BEGIN, rig::addr(number), introduction);
            }
        } else {
            for number in 1..=n {
                node.add_member(KINSHIP_BEGIN, &rig::name(number), rig::addr(number)).expect("there is room");
            }
        }
        while node.poll_transmit().is_some() {}
        while node.poll_event().is_some() {}
        let pings = senders(n).map(|sender| (rig::addr(sender), Self::bare_ping(sender))).collect();
        let mut core = Self { node, pings };
        // Node 0 passes on its own Alive at first.
        for sender in 0..if full { 0 } else { SENDERS as usize } {
            core.ping(sender);
        }
        Box::new(core)
    }
}

impl Core for Kinship {
    fn ping(&mut self, sender: usize) -> usize {
        let (from, ping) = &self.pings[sender];
        self.node.handle_datagram(KINSHIP_BEGIN, *from, ping);
        let mut length = 0;
        while let Some(transmit) = self.node.poll_transmit() {
            if let Transmit::Datagram { payload, .. } = transmit {
                length = payload.len();
            }
        }
        while self.node.poll_event().is_some() {}
        length
    }
}
