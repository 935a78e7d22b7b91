//! The node that a case runs on, and the checks after each step.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::{Claimed, EPOCH, LONG, NAMES, Said, SaidData, Step, TOPICS, ZEROS, addr, addrs};
use crate::{
    Topics,
    collections::fanout::Subscription,
    data::{
        Endpoint,
        messages::{AskKind, Mailbox, NewAsk, Settled, Status},
    },
    sim::forge,
    swim::{
        Config, Event, JoinOrigin, Life, Member, MemberState, Node, Output, Removal, Start, StreamFailure,
        StreamId, StreamStep, Time,
    },
    wire::{
        Tags,
        message::{Ack, Message, Nack},
    },
};

const BEGIN: Time = Time::from_origin(Duration::from_secs(20_000 * 3600));
/// The greatest time.
const END: Time = Time::from_origin(Duration::MAX);
/// How many of the node's questions can still be answered, and how many streams can still carry frames.
const REMEMBERED: usize = 16;

/// A valid configuration for each number; all tables are small, so that their bounds are reached.
fn config(which: u8) -> Config {
    let presets = [Config::lan, Config::wan, Config::local, Config::lan];
    let mut config = presets[usize::from(which % 4)]("me");
    (config.max_members, config.max_departed, config.max_reconnects) = (5, 3, 2);
    if which & 4 != 0 {
        config.reap_left_after = Duration::from_secs(3);
        config.reap_failed_after = Duration::from_secs(5);
        (config.suspicion_mult, config.suspicion_max_mult) = (1, 1);
        config.forget_after = Duration::from_secs(8).max(config.longest_suspicion());
    }
    if which & 8 != 0 {
        config.seed_max_delay = Duration::from_secs(1);
    }
    config.notice_stalls = which & 16 == 0;
    config
}

pub(super) struct Bench {
    pub(super) endpoint: Endpoint,
    now: Time,
    streams: VecDeque<StreamId>,
    pings: VecDeque<(SocketAddr, u32, String)>,
    folded: HashMap<Arc<str>, MemberState>,
    /// Joins without a report, by ticket.
    joins: HashMap<u64, usize>,
    pub(super) digests: Vec<u8>,
    buffer: Vec<u8>,
    /// A mailbox, while it is open.
    inbox: Option<Subscription<Mailbox>>,
    /// How many readers of requests there are.
    readers: u32,
    /// The channel for the outcomes of asks.
    callers: (Sender<Settled>, Receiver<Settled>),
    /// How many messages were read, how many of them were long, how many requests were taken, and how many answers arrived.
    pub(super) reached: [u64; 4],
}

impl Bench {
    /// The node "me" at address 0, which knows m1 to m3 at the addresses 1 to 3.
    pub(super) fn new(which: u8) -> Self {
        let start = Start { addr: addr(0), epoch: EPOCH, seed: u128::from(which), tags: Tags::default() };
        let mut bench = Self {
            endpoint: Endpoint::new(Node::new(config(which), start, BEGIN)),
            now: BEGIN,
            streams: VecDeque::new(),
            pings: VecDeque::new(),
            folded: HashMap::new(),
            joins: HashMap::new(),
            digests: (0..64_u64).flat_map(u64::to_le_bytes).collect(),
            buffer: Vec::new(),
            inbox: None,
            readers: 0,
            callers: unbounded(),
            reached: [0; 4],
        };
        bench.settle();
        if which & 32 == 0 {
            bench.meet_members();
        }
        bench
    }

    /// The members introduce themselves, and answer their challenges.
    fn meet_members(&mut self) {
        for place in 1..=3 {
            let claimed = Claimed::Incarnation(0);
            let alive = Said { kind: 4, name: place, addr: place, claimed, detail: 0 };
            self.take(&Step::Datagram(place, vec![alive]));
            self.take(&Step::Answer { which: 0, nack: false });
        }
        assert_eq!(self.endpoint.node.live(), 4, "all are known");
    }

    pub(super) fn take(&mut self, step: &Step) {
        match step {
            Step::Datagram(from, said) => {
                let packet = self.packet(*from, said);
                self.endpoint.handle_datagram(self.now, addr(*from), &packet);
            }
            Step::Answer { which, nack } => self.answer(*which, *nack),
            Step::Data(from, said) => {
                let packet = self.data_packet(*from, &[*said]);
                self.endpoint.handle_datagram(self.now, addr(*from), &packet);
            }
            Step::DataFrame(which, from, said) => {
                if let Some(stream) = self.stream(*which) {
                    while self.poll(*which) == Some(StreamStep::Send) {}
                    let packet = self.data_packet(*from, said);
                    self.endpoint.handle_frame(self.now, stream, &packet);
                }
            }
            Step::Use(how, detail) => self.use_data(*how, *detail),
            Step::Accept(from) => {
                let stream = self.endpoint.accept_stream(self.now, addr(*from));
                stream.into_iter().for_each(|stream| self.remember_stream(stream));
            }
            Step::Frame(stream, said) => self.frame(*stream, said),
            Step::Poll(stream) => drop(self.poll(*stream)),
            Step::Fail(stream, how) => self.fail(*stream, *how),
            Step::Pass(time) => self.now = self.now + *time,
            Step::Fire => self.endpoint.handle_timeout(self.now),
            Step::Sleep(late) => {
                self.now = self.now.max(self.endpoint.poll_timeout().unwrap_or(self.now)) + *late;
                self.endpoint.handle_timeout(self.now);
            }
            Step::EndOfTime => {
                self.now = END;
                self.endpoint.handle_timeout(self.now);
            }
            step => self.command(step),
        }
        self.settle();
    }

    fn command(&mut self, step: &Step) {
        let now = self.now;
        match step {
            Step::Join(ticket, mask) => {
                *self.joins.entry(u64::from(*ticket)).or_default() += 1;
                self.endpoint.node.join(now, u64::from(*ticket), &addrs(*mask));
            }
            Step::Leave => self.endpoint.leave(now),
            Step::Tags(n) => {
                self.endpoint.node.set_tags(now, Tags::new([("n", n.to_string())]).expect("they are short"));
            }
            Step::Remove(name, reap) => {
                let removal = if *reap { Removal::Reap } else { Removal::Leave };
                // Refused for most members.
                let _ = self.endpoint.node.remove(now, NAMES[usize::from(*name)], removal);
            }
            Step::Seek { later: false } => self.endpoint.node.seek_seeds(now),
            Step::Seek { later: true } => self.endpoint.node.seek_seeds_later(now),
            Step::Seeds(mask) => self.endpoint.node.handle_seeds(now, &addrs(*mask)),
            Step::Lookup(mask, more) => {
                self.endpoint.node.handle_lookup(now, JoinOrigin::Seeds, &addrs(*mask), usize::from(*more));
            }
            step => unreachable!("{step:?} is no command"),
        }
    }

    /// A packet under the name that belongs to an address; three of four show the token for it.
    fn packet(&self, from: u8, said: &[Said]) -> Vec<u8> {
        let name = NAMES[usize::from(from) % NAMES.len()];
        let shows = said.iter().fold(0, |sum, said| sum ^ said.detail) % 4 != 0;
        let token = if shows { self.endpoint.node.token_for(name, addr(from)) } else { 0 };
        let messages: Vec<_> = said.iter().map(|said| said.message(self)).collect();
        forge::proven_packet(name, token, &messages)
    }

    /// A packet from a member at its own address, which shows its token.
    fn data_packet(&self, from: u8, said: &[SaidData]) -> Vec<u8> {
        let name = NAMES[usize::from(from) % NAMES.len()];
        let token = self.endpoint.node.token_for(name, addr(from));
        let messages: Vec<_> = said.iter().map(|said| said.message(&self.endpoint.node)).collect();
        forge::data_packet(name, token, &messages)
    }

    /// A call of the application.
    fn use_data(&mut self, how: u8, detail: u8) {
        let (now, topic) = (self.now, TOPICS[usize::from(detail) % TOPICS.len()]);
        let caller = self.callers.0.clone();
        let kind = if detail.is_multiple_of(2) { AskKind::Message } else { AskKind::Request };
        let payload: Arc<[u8]> = ZEROS[..usize::from(detail) * 50].into();
        let within = Duration::from_millis(1 << (detail % 20));
        let new = NewAsk { kind, topic: topic.into(), payload: Arc::clone(&payload), within };
        match how {
            0 | 1 => drop(self.endpoint.ask(now, NAMES[usize::from(detail % 6)], new, caller)),
            2 => {
                let members = self.endpoint.node.members();
                let life = |member: &Member| Life { name: member.name.clone(), epoch: member.identity.epoch };
                let live = members.iter().filter(|member| member.state.is_live());
                if let Ok((query, _)) = self.endpoint.query(now, live.map(life).collect(), new)
                    && detail.is_multiple_of(5)
                {
                    self.endpoint.cancel_query(now, query);
                }
            }
            3 => {
                self.inbox =
                    detail.is_multiple_of(2).then(|| self.endpoint.open_inbox(Topics::all())).flatten()
            }
            4 if detail.is_multiple_of(2) => {
                self.readers += 1;
                drop(self.endpoint.open_server(TOPICS[0]));
            }
            4 if self.readers > 0 => {
                self.readers -= 1;
                self.endpoint.close_server(now, TOPICS[0]);
            }
            6 => {
                let value = (!detail.is_multiple_of(5)).then_some(&*payload);
                let _ = self.endpoint.set(now, topic, value);
            }
            7 if detail.is_multiple_of(3) => {
                let (caller, _) = bounded(1);
                let _ = self.endpoint.broadcast_confirmed(now, topic, b"x", within, caller);
            }
            7 => drop(self.endpoint.broadcast(now, topic, &ZEROS[..usize::from(detail)], detail % 2)),
            _ => {
                if let Some(item) = self.endpoint.take_request(now, TOPICS[0]) {
                    self.reached[2] += 1;
                    let status =
                        [Status::Answered, Status::Refused, Status::Dropped][usize::from(detail % 3)];
                    let _ = self.endpoint.answer(now, (&item.from, item.id), status, &payload);
                }
            }
        }
        while let Some(Ok(unread)) = self.inbox.as_ref().map(Subscription::try_recv) {
            self.reached[0] += 1;
            self.reached[1] +=
                u64::from(unread.into_message().is_some_and(|item| item.payload.len() == LONG));
        }
        let answers = self.callers.1.try_iter().filter(|settled| settled.outcome.is_ok());
        self.reached[3] += answers.count() as u64;
    }

    fn answer(&mut self, which: u8, nack: bool) {
        let Some((to, seq, name)) = self.pings.iter().rev().nth(usize::from(which)).cloned() else { return };
        let answer = if nack { Message::Nack(Nack { seq }) } else { Message::Ack(Ack { seq }) };
        self.endpoint.handle_datagram(self.now, to, &forge::packet(&name, &[answer]));
    }

    fn stream(&self, which: u8) -> Option<StreamId> {
        self.streams.iter().rev().nth(usize::from(which)).copied()
    }

    fn remember_stream(&mut self, stream: StreamId) {
        self.streams.push_back(stream);
        if self.streams.len() > REMEMBERED {
            self.streams.pop_front();
        }
    }

    fn poll(&mut self, which: u8) -> Option<StreamStep> {
        let stream = self.stream(which)?;
        let step = self.endpoint.poll_stream(self.now, stream, &mut self.buffer);
        if step == StreamStep::Close {
            self.streams.retain(|other| *other != stream);
        }
        Some(step)
    }

    /// As a driver does, the bench first sends what is to be sent.
    fn frame(&mut self, which: u8, said: &[Said]) {
        let Some(stream) = self.stream(which) else { return };
        while self.poll(which) == Some(StreamStep::Send) {}
        let packet = self.packet(which, said);
        self.endpoint.handle_frame(self.now, stream, &packet);
    }

    fn fail(&mut self, which: u8, how: u8) {
        let failures = [StreamFailure::Refused, StreamFailure::TimedOut, StreamFailure::Rejected];
        if let Some(stream) = self.stream(which) {
            self.endpoint.handle_stream_failure(self.now, stream, failures[usize::from(how % 3)].clone());
            self.streams.retain(|other| *other != stream);
        }
    }

    /// Takes out all outputs, as drivers do after each input, and runs the checks.
    fn settle(&mut self) {
        while let Some(to) = self.endpoint.poll_transmit(&mut self.buffer) {
            assert!(self.buffer.len() <= self.endpoint.node.config().max_datagram, "a datagram is too long");
            if let Some((seq, name)) = forge::ping(&self.buffer) {
                self.pings.push_back((to.addr, seq, name));
            }
        }
        while self.pings.len() > REMEMBERED {
            self.pings.pop_front();
        }
        while let Some(output) = self.endpoint.poll_output() {
            self.follow(output);
        }
        self.endpoint.node.audit().expect("every bound holds");
        self.endpoint.audit_state().expect("so does that of what members say");
        let members = self.endpoint.node.members();
        let same = members.len() == self.folded.len()
            && members.iter().all(|member| self.folded.get(&member.name) == Some(&member.state));
        assert!(same, "events fold to {:?}, but the members are {members:?}", self.folded);
    }

    fn follow(&mut self, output: Output) {
        match output {
            Output::Event(Event::Reaped { member, .. }) => drop(self.folded.remove(&member.name)),
            Output::Event(event) => {
                if let Some(member) = event.member() {
                    self.folded.insert(Arc::clone(&member.name), member.state);
                }
            }
            Output::OpenStream { stream, .. } => self.remember_stream(stream),
            Output::JoinDone { ticket, .. } => {
                let open = self.joins.get_mut(&ticket).filter(|open| **open > 0);
                *open.expect("a join reports once") -= 1;
            }
            _ => {}
        }
    }
}
