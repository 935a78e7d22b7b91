//! One node with any inputs from its driver and the network in any order: datagrams whose messages decode, frames in and out
//! of turn, answers to its own questions, time that jumps, late timers, commands.
//!
//! Names and addresses come from small pools, so that they collide. After each step the checks compare the node with its
//! bounds, and its events with its members. The steps are read from bytes, a fuzzer's or a random test's.

mod bench;

use std::{net::SocketAddr, time::Duration};

use self::bench::Bench;
use super::YEAR;
use crate::{
    swim::{Identity, Node},
    wire::data::{
        Answer, AnswerHead, Ask, AskHead, Broadcast, BroadcastHead, Chunk, Confirm, DataDigest, DataEnd,
        DataHello, DataMessage, KeyValue, KeyValueBuckets, KeyValueDelta, KeyValueHead,
    },
    wire::hash::BUCKETS,
    wire::message::{
        Accusers, Ack, Alive, BucketDigests, BucketSelection, Carried, Departed, Digest, End, Failed, Hello,
        KeyAnswer, KeyChange, Left, Message, Nack, NewToken, Ping, PingReq, Removed, Retry, Same, Seen,
        StreamAck, StreamPing, Suspect,
    },
};

const EPOCH: u64 = 1_700_000_000_000;
const TOPICS: [&str; 3] = ["t", "u", "syncswim/info"];
const ZEROS: [u8; 15_000] = [0; 15_000];
/// The bytes of a payload that takes a stream, in pieces as chunks have them.
const LONG: usize = 5_000;
const NAMES: [&str; 6] = ["me", "m1", "m2", "m3", "x", "y"];

/// An identity, relative to the one that the node holds under the name, or to its own epoch if it holds none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// An earlier life.
    EarlierLife,
    /// The held identity, with this many incarnations more.
    Incarnation(u64),
    /// A life that began this many milliseconds later, at incarnation 0.
    LaterLife(u64),
}

/// One message, by the number of its kind, which decides which of the other fields matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// Its place in the list of tags, counted from 0.
    pub kind: u8,
    /// The member that it is about: an index in the pool of names.
    pub name: u8,
    /// The claimed address of that member: an index in the pool of addresses.
    pub addr: u8,
    /// The claimed identity.
    pub claimed: Claimed,
    /// Other content: accusers, parts, numbers, age, tags.
    pub detail: u8,
}

/// A message of the data layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaidData {
    /// Its place in the list of tags, counted from 0.
    pub kind: u8,
    /// Its number: small ones are those of others' asks, or how many asks of the node came before the one that is answered.
    pub id: u8,
    /// Other content: status, topic, length.
    pub detail: u8,
}

/// An input of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A datagram arrives from an address in the pool.
    Datagram(u8, Vec<Said>),
    /// A member that the node pinged recently answers, or a nack arrives instead.
    Answer {
        /// Which of the pings, where 0 is the latest.
        which: u8,
        /// Whether it is a nack.
        nack: bool,
    },
    /// A datagram of a member for the data layer arrives.
    Data(u8, SaidData),
    /// A frame with such messages arrives: the stream, the member, the messages.
    DataFrame(u8, u8, Vec<SaidData>),
    /// The application sends, asks, reads or answers.
    Use(u8, u8),
    /// A peer opens a stream.
    Accept(u8),
    /// A frame arrives in a stream, opened by either side.
    Frame(u8, Vec<Said>),
    /// The driver polls a stream.
    Poll(u8),
    /// A stream fails.
    Fail(u8, u8),
    /// Time passes without timers.
    Pass(Duration),
    /// All due timers fire.
    Fire,
    /// Time passes up to the next deadline and this much beyond; then all due timers fire.
    Sleep(Duration),
    /// Time reaches its end; then all due timers fire.
    EndOfTime,
    /// A join with this ticket, of the addresses of this mask.
    Join(u8, u8),
    /// A leave.
    Leave,
    /// Other tags.
    Tags(u8),
    /// A removal of a name in the pool, by a leave or by reaping.
    Remove(u8, bool),
    /// The node looks for seeds, now or later.
    Seek {
        /// Whether it is later.
        later: bool,
    },
    /// The seeds were resolved to the addresses of this mask.
    Seeds(u8),
    /// A look-up of a seed found these addresses, and has led to more look-ups.
    Lookup(u8, u8),
}

/// Everything that a run depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The configuration.
    pub config: u8,
    /// The inputs.
    pub steps: Vec<Step>,
}

/// Yields bytes, then zeros.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, n: u8) -> u8 {
        self.next() % n
    }

    /// From nothing to days, with each power of two equally likely: any two deadlines can be crossed at once.
    fn duration(&mut self) -> Duration {
        let byte = self.next();
        Duration::from_millis((1_u64 << (byte % 30)).saturating_sub(1) + u64::from(byte / 30))
    }
}

impl Case {
    /// Reads a case from bytes; any bytes are a case.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let mut bytes = Bytes(bytes);
        let config = bytes.next();
        let mut steps = Vec::new();
        while !bytes.0.is_empty() && steps.len() < 512 {
            steps.push(Step::read(&mut bytes));
        }
        Self { config, steps }
    }

    /// The case without the steps in which time ends.
    #[must_use]
    pub fn within_time(mut self) -> Self {
        self.steps.retain(|step| *step != Step::EndOfTime);
        self
    }

    /// Runs the case.
    ///
    /// # Panics
    /// If the node panics or exceeds a bound, or its events do not lead to its members.
    pub fn run(&self) {
        let mut bench = Bench::new(self.config);
        for step in &self.steps {
            bench.take(step);
        }
    }

    /// The shortest case found that still fails, by leaving out steps, messages and settings of the configuration.
    #[must_use]
    pub fn shrink(&self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut best = self.clone();
        let mut chunk = best.steps.len().div_ceil(2);
        while chunk > 0 {
            let (mut at, mut shrank) = (0, false);
            while at < best.steps.len() {
                let mut shorter = best.clone();
                shorter.steps.drain(at..(at + chunk).min(best.steps.len()));
                if fails(&shorter) {
                    (best, shrank) = (shorter, true);
                } else {
                    at += chunk;
                }
            }
            chunk = if shrank && chunk == 1 { 1 } else { chunk / 2 };
        }
        for bit in 0..8 {
            let simpler = Self { config: best.config & !(1 << bit), ..best.clone() };
            best = if fails(&simpler) { simpler } else { best };
        }
        for at in 0..best.steps.len() {
            while let Some(shorter) = best.with_less_said(at).into_iter().find(|shorter| fails(shorter)) {
                best = shorter;
            }
        }
        best
    }

    /// The cases with one message of a step left out.
    fn with_less_said(&self, at: usize) -> Vec<Self> {
        let (Step::Datagram(_, said) | Step::Frame(_, said)) = &self.steps[at] else { return vec![] };
        let without = |message: usize| {
            let mut shorter = self.clone();
            if let Step::Datagram(_, said) | Step::Frame(_, said) = &mut shorter.steps[at] {
                said.remove(message);
            }
            shorter
        };
        (0..said.len()).map(without).collect()
    }
}

impl Step {
    fn read(bytes: &mut Bytes<'_>) -> Self {
        match bytes.below(44) {
            0..=7 => Self::Datagram(bytes.below(8), Said::several(bytes)),
            8..=11 => Self::Answer { which: bytes.below(4), nack: bytes.below(4) == 0 },
            12 => Self::Accept(bytes.below(8)),
            13..=15 => Self::Frame(bytes.below(4), Said::several(bytes)),
            16 | 17 => Self::Poll(bytes.below(4)),
            18 | 19 => Self::Fail(bytes.below(4), bytes.below(3)),
            20 => Self::Pass(bytes.duration()),
            21 => Self::Fire,
            22..=25 => Self::Sleep(bytes.duration()),
            26 if bytes.next() == u8::MAX => Self::EndOfTime,
            26 | 27 => Self::Join(bytes.below(2), bytes.next()),
            28 if bytes.below(8) == 0 => Self::Leave,
            28 => Self::Tags(bytes.below(4)),
            29 if bytes.below(2) == 0 => Self::Remove(bytes.below(6), bytes.below(2) == 0),
            29 => Self::Seek { later: bytes.below(2) == 0 },
            30 => Self::Seeds(bytes.next()),
            32..=35 => Self::Data(1 + bytes.below(3), SaidData::read(bytes)),
            36..=38 => {
                let (stream, from) = (bytes.below(4), 1 + bytes.below(3));
                let said = match bytes.below(3) {
                    0 => SaidData::whole_ask(bytes),
                    _ => (0..=bytes.below(4)).map(|_| SaidData::read(bytes)).collect(),
                };
                Self::DataFrame(stream, from, said)
            }
            39..=43 => Self::Use(bytes.below(8), bytes.next()),
            _ => Self::Lookup(bytes.next(), bytes.below(3)),
        }
    }
}

impl SaidData {
    fn read(bytes: &mut Bytes<'_>) -> Self {
        // Half of the messages are asks and answers.
        let kind =
            if bytes.below(2) == 0 { [0, 1, 6, 7, 8][usize::from(bytes.below(5))] } else { bytes.below(15) };
        Self { kind, id: bytes.below(8), detail: bytes.next() }
    }

    /// A message whose payload comes in a piece of [`LONG`] bytes.
    fn whole_ask(bytes: &mut Bytes<'_>) -> Vec<Self> {
        let (id, detail) = (bytes.next(), 16 + 20 * bytes.below(12));
        vec![Self { kind: 6, id, detail }, Self { kind: 7, id, detail: 0 }]
    }

    fn message(self, node: &Node) -> DataMessage<'static> {
        let Self { id, detail, .. } = self;
        let own = node.own_life().epoch;
        let place = usize::from(detail);
        let (name, topic) = (NAMES[place % NAMES.len()], TOPICS[place % TOPICS.len()]);
        let payload = &ZEROS[..place];
        let epoch = node.member(name).map_or(own, |member| member.identity.epoch);
        let (number, digest) = (u64::from(id), u64::from(detail) << 32);
        // The numbers of the node's own asks, and of others' asks of the same epoch.
        let answered = 1 + number;
        let asked = if detail == 255 { u64::MAX } else { answered };
        let slot = if detail % 8 == 0 { detail } else { id % 3 };
        let length = [0, LONG as u32, 20_000, 1 << 21, u32::MAX][place % 5];
        let chunk = [LONG, 15_000, place, 58][place % 4];
        let (kind, within_ms) = (detail % 4, 1 << (detail % 32));
        let life = own + u64::from(detail == 7);
        match self.kind {
            0 => DataMessage::Ask(Ask { epoch: own, slot, id: asked, life, kind, within_ms, topic, payload }),
            1 => DataMessage::Answer(Answer { epoch: own, id: answered, status: detail % 13, payload }),
            2 => DataMessage::Broadcast(Broadcast {
                origin: name,
                epoch,
                seq: asked,
                stamp: digest,
                flags: kind,
                topic,
                payload,
            }),
            3 => DataMessage::Confirm(Confirm { epoch, seq: asked }),
            4 => DataMessage::KeyValue(KeyValue {
                owner: name,
                epoch,
                version: asked,
                step: number + 1,
                stamp: digest,
                flags: kind,
                key: topic,
                value: payload,
            }),
            5 => DataMessage::DataDigest(DataDigest { broadcasts: digest, key_values: number }),
            6 => DataMessage::AskHead(AskHead {
                epoch: own,
                slot,
                id: asked,
                life,
                kind,
                within_ms,
                topic,
                length,
            }),
            7 => DataMessage::Chunk(Chunk { bytes: &ZEROS[..chunk] }),
            8 => {
                DataMessage::AnswerHead(AnswerHead { epoch: own, id: answered, status: detail % 13, length })
            }
            9 => DataMessage::DataHello(DataHello { broadcasts: digest, key_values: number }),
            10 => {
                let above = &ZEROS[..place % 33];
                DataMessage::BroadcastHead(BroadcastHead { origin: name, epoch, below: asked, above })
            }
            11 => DataMessage::KeyValueHead(KeyValueHead { owner: name, epoch, version: asked }),
            12 => DataMessage::KeyValueDelta(KeyValueDelta {
                owner: name,
                epoch,
                version: asked,
                floor: number,
            }),
            13 => DataMessage::DataEnd(DataEnd {}),
            _ => DataMessage::KeyValueBuckets(KeyValueBuckets { digests: &ZEROS[..8 * BUCKETS] }),
        }
    }
}

impl Said {
    fn several(bytes: &mut Bytes<'_>) -> Vec<Self> {
        (0..=bytes.below(4)).map(|_| Self::read(bytes)).collect()
    }

    fn read(bytes: &mut Bytes<'_>) -> Self {
        // Half of the messages are claims.
        let kind = if bytes.below(2) == 0 { 4 + bytes.below(5) } else { bytes.below(23) };
        let claimed = match bytes.below(10) {
            0 => Claimed::EarlierLife,
            1..=3 => Claimed::Incarnation(0),
            4 | 5 => Claimed::Incarnation(1),
            6 => Claimed::Incarnation(1 << bytes.below(63)),
            7 => Claimed::LaterLife(1),
            8 => Claimed::LaterLife(YEAR * u64::from(bytes.next())),
            _ => Claimed::LaterLife(u64::MAX),
        };
        Self { kind, name: bytes.below(6), addr: bytes.below(8), claimed, detail: bytes.next() }
    }

    fn name(self) -> &'static str {
        NAMES[usize::from(self.name) % NAMES.len()]
    }

    fn message<'a>(self, bench: &'a Bench) -> Message<'a> {
        let (name, addr, detail) = (self.name(), addr(self.addr), self.detail);
        let Identity { epoch, incarnation } = self.identity(&bench.endpoint.node);
        let (seq, digest) = (u32::from(detail), u64::from(detail) << 32);
        match self.kind {
            0 => Message::Ping(Ping { seq, target: name }),
            1 => Message::Ack(Ack { seq }),
            2 => Message::PingReq(PingReq { seq, target: name, window_ms: 1 << (detail % 32) }),
            3 => Message::Nack(Nack { seq }),
            4 => {
                let tags: &[&[u8]] = &[&[], b"\x01\x01k\x01v", b"\x01\x01k\x01w", b"\x07"];
                Message::Alive(Alive { name, epoch, incarnation, addr, tags: tags[usize::from(detail % 4)] })
            }
            5 => Message::Suspect(Suspect { name, epoch, incarnation, accusers: accusers(detail) }),
            6 => Message::Failed(Failed { name, epoch, incarnation }),
            7 => {
                let removed = removed(detail);
                Message::Left(Left { name, epoch, incarnation, removed })
            }
            8 => {
                let (left, age_secs) = (detail % 2 == 0, (1 << (detail % 64)) - 1);
                let removed = removed(detail >> 1);
                Message::Departed(Departed { name, epoch, incarnation, left, age_secs, removed })
            }
            9 => Message::Hello(Hello { name, digest, removals: u64::from(detail % 3) }),
            10 => Message::Same(Same {}),
            11 => Message::End(End {}),
            12 => Message::StreamPing(StreamPing { target: name }),
            13 => Message::StreamAck(StreamAck { name }),
            14 => Message::BucketDigests(BucketDigests { digests: &bench.digests }),
            15 => Message::BucketSelection(BucketSelection { buckets: u64::MAX << (detail % 64) }),
            16 => Message::Digest(Digest { digest }),
            17 => Message::KeyChange(KeyChange { step: detail, key: &[] }),
            18 => Message::Retry(Retry { seq, token: u32::from(detail) }),
            19 => Message::NewToken(NewToken { token: u32::from(detail) }),
            20 => Message::Seen(Seen { addr }),
            21 => Message::Carried(Carried {}),
            _ => Message::KeyAnswer(KeyAnswer { problem: name }),
        }
    }

    fn identity(self, node: &Node) -> Identity {
        let held = node.member(self.name()).map_or(Identity { epoch: EPOCH, incarnation: 0 }, |m| m.identity);
        match self.claimed {
            Claimed::EarlierLife => Identity { epoch: held.epoch - 1, ..held },
            Claimed::Incarnation(more) => {
                Identity { incarnation: held.incarnation.saturating_add(more), ..held }
            }
            Claimed::LaterLife(by) => Identity { epoch: held.epoch.saturating_add(by), incarnation: 0 },
        }
    }
}

fn removed(detail: u8) -> Option<Removed<'static>> {
    (detail & 1 == 1).then(|| Removed { by: NAMES[usize::from(detail) % NAMES.len()], reap: detail & 2 == 2 })
}

fn addr(place: u8) -> SocketAddr {
    ([10, 0, 0, place], 7946).into()
}

fn addrs(mask: u8) -> Vec<SocketAddr> {
    (0..8).filter(|place| mask >> place & 1 == 1).map(addr).collect()
}

fn accusers(mask: u8) -> Accusers<'static> {
    NAMES.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, panic::catch_unwind};

    use super::*;
    use crate::error::message_of;

    /// Bytes as a fuzzer would give them.
    fn draw(seed: u64) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let length = rng.usize(20..1500);
        std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
    }

    /// The text of a panic without its values, which identifies the failure.
    fn failure(case: &Case) -> Option<String> {
        let panic = catch_unwind(|| case.run()).err()?;
        Some(message_of(&*panic).chars().filter(|c| !c.is_ascii_digit()).take(40).collect())
    }

    /// Otherwise the random inputs would not test these parts.
    #[test]
    fn random_inputs_reach_mailboxes_applications_and_callers() {
        let mut reached = [0; 4];
        for seed in 0..400 {
            let case = Case::read(&draw(seed)).within_time();
            let mut bench = Bench::new(case.config);
            case.steps.iter().for_each(|step| bench.take(step));
            reached.iter_mut().zip(bench.reached).for_each(|(sum, more)| *sum += more);
        }
        println!("messages, long ones, requests, answers: {reached:?}");
        assert!(reached.iter().all(|count| *count > 0), "{reached:?}");
    }

    /// For each failure, the shortest case found.
    #[test]
    fn a_node_survives_anything_in_any_order() {
        let mut found = BTreeMap::new();
        for seed in crate::sim::tests::seeds(4000) {
            let case = Case::read(&draw(seed)).within_time();
            if let Some(failure) = failure(&case).filter(|failure| !found.contains_key(failure)) {
                let shortest =
                    case.shrink(|shorter| super::tests::failure(shorter).as_ref() == Some(&failure));
                found.insert(failure, (seed, shortest));
            }
        }
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn any_case_that_is_shrunk_fails_still_and_in_few_steps() {
        let leaves_and_sleeps = |case: &Case| {
            let at = |wanted: fn(&Step) -> bool| case.steps.iter().position(wanted);
            let leave = at(|step| *step == Step::Leave);
            let sleep = at(|step| matches!(step, Step::Sleep(_)));
            leave.is_some_and(|leave| sleep.is_some_and(|sleep| sleep > leave))
        };
        let case = (0..).map(|seed| Case::read(&draw(seed))).find(leaves_and_sleeps).expect("some has both");
        assert_eq!(case.shrink(leaves_and_sleeps).steps.len(), 2);
    }
}
