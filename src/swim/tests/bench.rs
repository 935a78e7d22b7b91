//! One node on a bench: the test writes packets by hand, and reads decoded packets.

use std::{net::SocketAddr, time::Duration};

use super::{
    super::{Config, Event, Member, MemberState, Node, Output, Start, StreamId, Time},
    world::{ORIGIN, addr},
};
use crate::{
    sim::forge,
    wire::{
        Tags, hash,
        message::{Accusers, Ack, Alive, Body, Departed, Failed, Left, Message, Nack, Suspect},
        packet::{self, Header},
    },
};

/// The epoch of the node on the bench and of all other members, unless a test says otherwise.
pub(super) const EPOCH: u64 = 1_700_000_000_000;

/// What every member gave to the node on the bench.
pub(super) const TOKEN: u32 = 0x0074_6f6b;

pub(super) struct Bench {
    pub(super) node: Node,
    pub(super) now: Time,
}

impl Bench {
    /// A live LAN node "me" with the members m1 … mn at `addr(1)` … `addr(n)`, its updates all sent.
    pub(super) fn new(n: usize) -> Self {
        Self::with(Config::lan("me"), n)
    }

    pub(super) fn with(config: Config, n: usize) -> Self {
        let start = Start { addr: addr(0), epoch: EPOCH, seed: 1, tags: Tags::default() };
        let mut bench = Self { node: Node::new(config, start, ORIGIN), now: ORIGIN };
        bench.node.go_live();
        for i in 1..=n {
            let name = format!("m{i}");
            bench.sync(Message::Alive(alive(&name, 0, addr(i))));
            bench.meet(&name);
        }
        bench.node.updates.clear();
        bench.events();
        bench.sent();
        bench
    }

    /// Makes a member one that has answered, has shown this node's token and given its own.
    pub(super) fn meet(&mut self, name: &str) {
        let id = self.node.table.find(name).expect("it is a member");
        let contact = self.node.table.contact_mut(id);
        (contact.shown, contact.held) = (true, TOKEN);
        self.node.note_answer_at(name, self.node.table.get(id).addr);
    }

    /// Takes in one message as a datagram from m1.
    pub(super) fn receive<T: Body>(&mut self, message: &T) -> &mut Self {
        self.receive_from(addr(1), message)
    }

    pub(super) fn receive_from<T: Body>(&mut self, from: SocketAddr, message: &T) -> &mut Self {
        self.receive_as(None, from, message)
    }

    /// Takes in a datagram from an address: of the member that lives there, with its token, or under another name without a
    /// token.
    pub(super) fn receive_as<T: Body>(
        &mut self,
        name: Option<&str>,
        from: SocketAddr,
        message: &T,
    ) -> &mut Self {
        let member = self.node.table.at_addr(from).filter(|_| name.is_none());
        let (sender, token) = match member.map(|id| self.node.table.get(id)) {
            Some(record) => (record.mark, record.contact.given),
            None => (hash::member(name.unwrap_or("nobody")), 0),
        };
        let bytes = packet_from(sender, token, message);
        self.node.handle_datagram(self.now, from, &bytes);
        self
    }

    /// Takes in a claim of m1 that a member lives elsewhere. That member is asked there, and answers.
    pub(super) fn move_to(&mut self, claim: &Alive<'_>) -> &mut Self {
        self.receive(claim);
        self.pass(Duration::from_millis(20));
        let mut asked = None;
        for (to, packet) in self.sent() {
            messages(&packet, |message| match message {
                Message::Ping(ping) if to == claim.addr => asked = Some(ping.seq),
                _ => {}
            });
        }
        let seq = asked.expect("it is asked where it is said to be");
        self.receive_as(Some(claim.name), claim.addr, &Ack { seq })
    }

    /// Applies a record as if it came in an exchange of tables.
    pub(super) fn sync(&mut self, message: Message<'_>) {
        assert!(message.is_claim());
        tell(&mut self.node, &message, addr(1));
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.node.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.node.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// All datagrams that wait to be sent, each with its destination.
    pub(super) fn sent(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let (mut sent, mut buffer) = (Vec::new(), Vec::new());
        while let Some(to) = self.node.poll_transmit(&mut buffer) {
            sent.push((to.addr, buffer.clone()));
        }
        sent
    }

    /// The names that the pings which wait to be sent to an address ask for; all other datagrams are dropped.
    pub(super) fn asked_at(&mut self, addr: SocketAddr) -> Vec<String> {
        let sent = self.sent().into_iter().filter(|(to, _)| *to == addr);
        sent.filter_map(|(_, packet)| forge::ping(&packet)).map(|(_, target)| target).collect()
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        let outputs = std::iter::from_fn(|| self.node.poll_output());
        outputs
            .filter_map(|output| match output {
                Output::Event(event) => Some(event),
                _ => None,
            })
            .collect()
    }

    /// The streams that the node wants to open.
    pub(super) fn opened(&mut self) -> Vec<(StreamId, SocketAddr)> {
        let outputs = std::iter::from_fn(|| self.node.poll_output());
        outputs
            .filter_map(|output| match output {
                Output::OpenStream { stream, addr, .. } => Some((stream, addr)),
                _ => None,
            })
            .collect()
    }

    /// The kinds of the events since the last look, in one word each.
    pub(super) fn kinds(&mut self) -> Vec<&'static str> {
        let kind = |event: Event| match event {
            Event::Joined { .. } => "joined",
            Event::Updated { .. } => "updated",
            Event::Suspected { .. } => "suspected",
            Event::Left { .. } => "left",
            Event::Failed { .. } => "failed",
            Event::Reaped { .. } => "reaped",
            _ => "other",
        };
        self.events().into_iter().map(kind).collect()
    }

    pub(super) fn member(&self, name: &str) -> Option<Member> {
        self.node.members().into_iter().find(|member| &*member.name == name)
    }

    /// State and incarnation of a member.
    pub(super) fn standing(&self, name: &str) -> Option<(MemberState, u64)> {
        self.member(name).map(|member| (member.state, member.identity.incarnation))
    }

    pub(super) fn is_live(&self, name: &str) -> bool {
        self.standing(name).is_some_and(|(state, _)| state.is_live())
    }

    /// Whether an update about a member is queued; empties the queue.
    pub(super) fn has_news(&mut self, name: &str) -> bool {
        let queued = self.node.table.find(name).is_some_and(|id| self.node.updates.contains(id));
        self.node.updates.clear();
        queued
    }
}

pub(super) fn packet_of<T: Body>(message: &T) -> Vec<u8> {
    packet_from(0, 0, message)
}

/// The packet of a sender that shows a token.
pub(super) fn packet_from<T: Body>(sender: u32, token: u32, message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { cluster: hash::cluster("default"), sender, token };
    let mut writer = packet::Writer::new(&mut bytes, header, 1400);
    assert!(writer.message(message));
    writer.finish();
    bytes
}

/// Lets `look` see each message of a packet.
pub(super) fn messages(bytes: &[u8], mut look: impl FnMut(&Message<'_>)) {
    for section in packet::open(bytes, hash::cluster("default")).expect("we sent it").1 {
        look(&section.and_then(packet::Section::message).expect("it decodes").expect("it is known"));
    }
}

pub(super) fn alive(name: &str, incarnation: u64, addr: SocketAddr) -> Alive<'_> {
    Alive { name, epoch: EPOCH, incarnation, addr, tags: &[] }
}

pub(super) fn suspect<'a>(name: &'a str, incarnation: u64, accusers: &[&'a str]) -> Suspect<'a> {
    Suspect { name, epoch: EPOCH, incarnation, accusers: accusers.iter().copied().collect::<Accusers<'_>>() }
}

pub(super) fn failed(name: &str, incarnation: u64) -> Failed<'_> {
    Failed { name, epoch: EPOCH, incarnation }
}

pub(super) fn left(name: &str, incarnation: u64) -> Left<'_> {
    Left { name, epoch: EPOCH, incarnation, removed: None }
}

pub(super) fn gone(name: &str, incarnation: u64, left: bool, age_secs: u64) -> Message<'_> {
    Message::Departed(Departed { name, epoch: EPOCH, incarnation, left, age_secs, removed: None })
}

/// Makes all members but one answer.
pub(super) fn answers_come(bench: &mut Bench, silent: Option<SocketAddr>) {
    for (to, packet) in bench.sent().into_iter().filter(|(to, _)| Some(*to) != silent) {
        let mut answer = None;
        messages(&packet, |message| match message {
            Message::Ping(ping) => answer = Some(Message::Ack(Ack { seq: ping.seq })),
            Message::PingReq(request) => answer = Some(Message::Nack(Nack { seq: request.seq })),
            _ => {}
        });
        match answer {
            Some(Message::Ack(ack)) => _ = bench.receive_from(to, &ack),
            Some(Message::Nack(nack)) => _ = bench.receive_from(to, &nack),
            _ => {}
        }
    }
}

/// Takes in a message of the peer at an address about others.
pub(super) fn tell(node: &mut Node, message: &Message<'_>, from: SocketAddr) {
    let claimant = node.table.claimant_at(from);
    node.handle_claim(message, false, claimant);
}

/// Takes in messages that a member sends in one datagram from its address.
pub(super) fn say(bench: &mut Bench, name: &str, from: SocketAddr, said: &[Message<'_>]) {
    let token = bench.node.token_for(name, from);
    bench.node.handle_datagram(bench.now, from, &forge::proven_packet(name, token, said));
}
