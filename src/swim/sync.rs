//! Exchanges of tables over streams, and the other uses of a stream.
//!
//! ```text
//! initiator                       responder
//! hello (digest) ───────────────▶
//!                ◀─────────────── same                      if the digests are equal, else
//!                ◀─────────────── parts                     if both are settled: digests of 64 parts
//! choice ────────────────────────▶                           the parts that differ; from here on only these
//!                ◀─────────────── its table … end
//! own table … end ──────────────▶
//!                ◀─────────────── end                       so that the initiator knows it was heard
//! ```
//!
//! The initiator listens first: a node that joins learns what its name did before, then announces itself.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use super::{
    event::{JoinProblem, Output},
    gossip::{put_alive, put_news},
    introduce::Introduction,
    join::Ticket,
    member::{Identity, MemberId, MemberState, Record},
    node::Node,
    own::Phase,
    time::Time,
    timers::Timer,
};
use crate::wire::{
    frame::MAX_FRAME,
    hash,
    message::{Choice, End, Gone, Hello, Message, Parts, Same, StreamAck, StreamPing},
    packet,
};

/// Streams at the same time; more are refused and counted.
pub(super) const MAX_STREAMS: usize = 128;
/// The most bytes taken from one stream: a full table of the largest records.
const MAX_STREAM_BYTES: usize = 64 << 20;
/// Exchanges that this node has begun and not ended.
const MAX_OWN_SYNCS: usize = 4;
/// A record never takes more than this in a frame: keep that much free for it.
const MAX_ENTRY: usize = 2048;

/// A stream, in all calls about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

/// What to do next with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamStep {
    /// Send the frame that is now in the buffer, then poll again.
    Send,
    /// Receive a frame, pass it to [`Node::handle_frame`], then poll again.
    Receive,
    /// Close it; the node has forgotten it.
    Close,
}

/// How a stream failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFailure {
    /// Nobody listens at the address.
    Refused,
    /// It took too long, or was cut off.
    TimedOut,
    /// What came was not the protocol.
    Rejected,
    /// The driver could not begin, or gave it up for work of its own: its queue is full, there is no thread or
    /// descriptor for it, the local address does not work, the node stops. It says nothing about the peer.
    NotTried,
}

/// What a stream that this node opens is for, as far as a driver must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// Tables are exchanged: a sync or a join. It may take long.
    Exchange,
    /// A stream ping: is somebody there? A verdict may hang on the answer, so nothing else may keep it waiting.
    Question,
}

/// What a stream is for.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// Somebody else began it.
    Answer,
    Join(Ticket),
    Sync,
    /// The stream part of a probe.
    Probe {
        seq: u32,
        target: Arc<str>,
    },
    /// Does somebody live under our name there?
    AskRival(Identity),
    /// The same, before the join through this seed goes on.
    AskPastLife(Identity, Ticket, SocketAddr),
    /// Does a live member whose name a stranger has still answer to it?
    AskHolder(Introduction),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    SayHello,
    HearTable,
    /// The place in the table that comes next.
    TellTable(usize),
    HearEnd,
    Ask,
    HearAnswer,
    HearOpening,
    SayParts,
    HearChoice,
    SayChoice,
    SaySame,
    HearReturn,
    SayEnd,
    SayAnswer,
    Over,
}

#[derive(Debug)]
struct Session {
    purpose: Purpose,
    peer: SocketAddr,
    step: Step,
    /// What the one calls itself who opened the stream to us.
    caller: Box<str>,
    /// The parts of the tables that are exchanged: bit n for part n.
    parts: u64,
    received: usize,
    digest_before: u64,
    /// How long it may take once the driver has begun.
    timeout: Duration,
    began: bool,
}

impl Session {
    /// Whose presence a stream ping asks for; but for pings of others, our own name.
    fn asked(&self, own: &Arc<str>) -> Arc<str> {
        Arc::clone(match &self.purpose {
            Purpose::Probe { target, .. } => target,
            Purpose::AskHolder(introduction) => introduction.name(),
            _ => own,
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Exchanges {
    sessions: HashMap<StreamId, Session>,
    last: u64,
    own_syncs: usize,
    /// Digests are ignored until then, and for how long the next time.
    quiet_until: Time,
    quiet_for: Duration,
}

impl Exchanges {
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }
}

impl Node {
    /// Opens a stream towards an address, unless too many are open.
    pub(super) fn open(&mut self, purpose: Purpose, addr: SocketAddr, timeout: Duration) {
        let step = match purpose {
            Purpose::Probe { .. }
            | Purpose::AskRival(_)
            | Purpose::AskPastLife(..)
            | Purpose::AskHolder(_) => Step::Ask,
            _ => Step::SayHello,
        };
        let syncs = matches!(purpose, Purpose::Sync);
        // Joins have a bound of their own, and their result is waited for.
        let joins = matches!(purpose, Purpose::Join(_) | Purpose::AskPastLife(..));
        let full = self.exchanges.sessions.len() >= MAX_STREAMS
            || syncs && self.exchanges.own_syncs >= MAX_OWN_SYNCS;
        if full && !joins {
            self.metrics.refused_streams += 1;
            return;
        }
        self.exchanges.own_syncs += usize::from(syncs);
        let kind = if step == Step::Ask { StreamKind::Question } else { StreamKind::Exchange };
        let stream = self.begin(purpose, addr, step, timeout);
        // Until the driver begins, this bounds how long it may keep the stream waiting.
        self.set_timer(Timer::Stream(stream), timeout.saturating_mul(2));
        self.emit(Output::OpenStream { stream, addr, timeout, kind });
    }

    /// The driver begins to work on a stream: from now on it may take its timeout.
    pub fn stream_began(&mut self, now: Time, stream: StreamId) {
        self.advance(now);
        if let Some(session) = self.exchanges.sessions.get_mut(&stream) {
            session.began = true;
            let timeout = session.timeout;
            self.set_timer(Timer::Stream(stream), timeout);
        }
    }

    /// Takes in a stream that somebody opened to us, or `None` if there are too many.
    pub fn accept_stream(&mut self, now: Time, from: SocketAddr) -> Option<StreamId> {
        self.advance(now);
        if self.exchanges.sessions.len() >= MAX_STREAMS {
            self.metrics.refused_streams += 1;
            return None;
        }
        let timeout = self.config.stream_timeout;
        let stream = self.begin(Purpose::Answer, from, Step::HearOpening, timeout);
        self.set_timer(Timer::Stream(stream), timeout);
        Some(stream)
    }

    fn begin(&mut self, purpose: Purpose, peer: SocketAddr, step: Step, timeout: Duration) -> StreamId {
        self.exchanges.last += 1;
        let stream = StreamId(self.exchanges.last);
        let digest_before = self.table.digest();
        self.exchanges.sessions.insert(
            stream,
            Session {
                purpose,
                peer,
                step,
                caller: Box::default(),
                parts: u64::MAX,
                received: 0,
                digest_before,
                timeout,
                began: false,
            },
        );
        stream
    }

    /// What to do next with a stream; a frame to send is put into `buffer`, without its length prefix.
    pub fn poll_stream(&mut self, now: Time, stream: StreamId, buffer: &mut Vec<u8>) -> StreamStep {
        self.advance(now);
        let Some(session) = self.exchanges.sessions.get(&stream) else { return StreamStep::Close };
        let (step, answering) = (session.step, matches!(session.purpose, Purpose::Answer));
        let (target, parts) = (session.asked(&self.name), session.parts);
        let digest = if matches!(session.purpose, Purpose::Sync) { self.settled_digest() } else { 0 };
        let mut frame = packet::Writer::new(buffer, self.cluster, MAX_FRAME);
        let next = match step {
            Step::HearTable
            | Step::HearEnd
            | Step::HearAnswer
            | Step::HearOpening
            | Step::HearChoice
            | Step::HearReturn => return StreamStep::Receive,
            Step::Over => {
                self.end(stream, Ok(()));
                return StreamStep::Close;
            }
            Step::SayHello => {
                frame.message(&Hello { name: &self.name, digest });
                Step::HearTable
            }
            Step::Ask => {
                frame.message(&StreamPing { target: &target });
                Step::HearAnswer
            }
            Step::SayAnswer => {
                frame.message(&StreamAck { name: &self.name });
                Step::Over
            }
            Step::SayParts => {
                let digests = self.table.part_digests().map(u64::to_le_bytes);
                frame.message(&Parts { digests: digests.as_flattened() });
                Step::HearChoice
            }
            Step::SayChoice => {
                frame.message(&Choice { parts });
                Step::HearTable
            }
            Step::SaySame => {
                frame.message(&Same {});
                Step::Over
            }
            Step::SayEnd => {
                frame.message(&End {});
                Step::Over
            }
            Step::TellTable(from) => match self.tell_table(&mut frame, from, parts) {
                Some(at) => Step::TellTable(at),
                None if answering => Step::HearReturn,
                None => Step::HearEnd,
            },
        };
        frame.finish();
        self.set_step(stream, next);
        StreamStep::Send
    }

    /// Writes records from a place on and says where to go on, or ends the table.
    fn tell_table(&self, frame: &mut packet::Writer<'_>, from: usize, parts: u64) -> Option<usize> {
        let chosen = |record: &Record| parts >> hash::part(&record.name) & 1 == 1;
        for (at, record) in self.table.walk(from).filter(|(_, record)| chosen(record)) {
            if frame.room() < MAX_ENTRY {
                return Some(at);
            }
            if at != MemberId::SELF.index() || self.shows_itself() {
                self.tell(frame, record);
            }
        }
        frame.message(&End {});
        None
    }

    /// Whether others are to hear that we are there.
    fn shows_itself(&self) -> bool {
        match self.phase {
            Phase::Quiet | Phase::Displaced => false,
            Phase::Live => !self.flaps.is_held(),
            Phase::Leaving | Phase::Left => true,
        }
    }

    fn tell(&self, frame: &mut packet::Writer<'_>, record: &Record) {
        let Identity { epoch, incarnation } = record.identity;
        let told = match record.state {
            MemberState::Alive => put_alive(frame, record),
            MemberState::Suspect => put_alive(frame, record) && put_news(frame, record),
            MemberState::Failed | MemberState::Left => frame.message(&Gone {
                name: &record.name,
                epoch,
                incarnation,
                left: record.state == MemberState::Left,
                age_secs: self.now.since(record.since).as_secs(),
            }),
        };
        debug_assert!(told, "a record fits in what is kept free for it");
    }

    /// Takes in a frame. Anything but the protocol ends the stream.
    pub fn handle_frame(&mut self, now: Time, stream: StreamId, bytes: &[u8]) {
        self.advance(now);
        let Some(session) = self.exchanges.sessions.get_mut(&stream) else { return };
        session.received = session.received.saturating_add(bytes.len());
        if session.received > MAX_STREAM_BYTES {
            self.metrics.refused_streams += 1;
            return self.end(stream, Err(StreamFailure::Rejected));
        }
        let sections = match packet::open(bytes, self.cluster) {
            Ok(sections) => sections,
            Err(reject) => {
                self.count_reject(reject);
                return self.end(stream, Err(StreamFailure::Rejected));
            }
        };
        for section in sections {
            let Ok(section) = section else { return self.reject(stream) };
            match section.message() {
                Ok(Some(message)) if self.handle_stream_message(stream, &message) => {}
                Ok(None) => {}
                // One member's record must not keep all others from being exchanged.
                Err(_) if section.is_claim() => self.metrics.dropped_malformed += 1,
                _ => return self.reject(stream),
            }
        }
    }

    fn reject(&mut self, stream: StreamId) {
        self.metrics.dropped_malformed += 1;
        self.end(stream, Err(StreamFailure::Rejected));
    }

    /// Says whether the message has its place here.
    fn handle_stream_message(&mut self, stream: StreamId, message: &Message<'_>) -> bool {
        let Some(session) = self.exchanges.sessions.get(&stream) else { return true };
        let step = session.step;
        let asked = session.asked(&self.name);
        match (step, message) {
            (Step::HearOpening, Message::Hello(hello)) => {
                let ours = self.settled_digest();
                let (settled, same) = (hello.digest != 0 && ours != 0, hello.digest == ours);
                let next = match (settled, same) {
                    (true, true) => Step::SaySame,
                    (true, false) => Step::SayParts,
                    (false, _) => Step::TellTable(0),
                };
                if let Some(session) = self.exchanges.sessions.get_mut(&stream) {
                    session.caller = hello.name.into();
                }
                self.go_live();
                if next == Step::SaySame {
                    self.metrics.syncs += 1;
                    self.metrics.syncs_equal += 1;
                }
                self.set_step(stream, next);
            }
            (Step::HearOpening, Message::StreamPing(ping)) => {
                let meant = ping.target == &*self.name && !self.is_leaving();
                self.set_step(stream, if meant { Step::SayAnswer } else { Step::Over });
            }
            (Step::HearTable, Message::Parts(theirs)) if session.parts == u64::MAX => {
                let parts = self.differing_parts(theirs.digests);
                self.choose(stream, parts, Step::SayChoice);
            }
            (Step::HearReturn, claim) if claim.is_claim() && !self.is_from_member(session) => {
                let (peer, caller) = (session.peer, session.caller.clone());
                self.hear_caller(peer, &caller, claim);
            }
            (Step::HearTable | Step::HearReturn, claim) if self.handle_claim(claim) => {}
            (Step::HearChoice, Message::Choice(choice)) => {
                self.choose(stream, choice.parts, Step::TellTable(0));
            }
            (Step::HearTable, Message::Same(_)) => {
                self.metrics.syncs += 1;
                self.metrics.syncs_equal += 1;
                self.end(stream, Ok(()));
            }
            (Step::HearTable, Message::End(_)) => self.heard_table(stream),
            (Step::HearReturn, Message::End(_)) => {
                self.metrics.syncs += 1;
                self.set_step(stream, Step::SayEnd);
            }
            (Step::HearEnd, Message::End(_)) => {
                self.metrics.syncs += 1;
                self.end(stream, Ok(()));
            }
            (Step::HearAnswer, Message::StreamAck(ack)) => {
                let answered = ack.name == &*asked;
                self.end(stream, if answered { Ok(()) } else { Err(StreamFailure::Rejected) });
            }
            _ => return false,
        }
        true
    }

    fn differing_parts(&self, theirs: &[u8]) -> u64 {
        let ours = self.table.part_digests();
        let (theirs, _) = theirs.as_chunks::<8>();
        let differ = ours.iter().zip(theirs).map(|(ours, theirs)| *ours != u64::from_le_bytes(*theirs));
        differ.enumerate().fold(0, |parts, (part, differs)| parts | u64::from(differs) << part)
    }

    fn choose(&mut self, stream: StreamId, parts: u64, next: Step) {
        self.metrics.syncs_partial += 1;
        if let Some(session) = self.exchanges.sessions.get_mut(&stream) {
            (session.parts, session.step) = (parts, next);
        }
    }

    /// Whoever calls is a member if it comes from where that member lives; streams have no port to go by.
    fn is_from_member(&self, session: &Session) -> bool {
        let known = self.table.find(&session.caller).map(|id| self.table.get(id).addr.ip());
        known == Some(session.peer.ip())
    }

    /// Our turn; unless a rival of our name was heard of before anybody knows us. Then it is asked first.
    fn heard_table(&mut self, stream: StreamId) {
        let heard = self.rivals.heard.take().filter(|_| self.phase == Phase::Quiet);
        let Some((identity, rival)) = heard else {
            self.go_live();
            return self.set_step(stream, Step::TellTable(0));
        };
        let Some(session) = self.take_session(stream) else { return };
        if let Purpose::Join(ticket) = session.purpose {
            let ask = Purpose::AskPastLife(identity, ticket, session.peer);
            self.open(ask, rival, self.config.probe_timeout);
        }
    }

    fn set_step(&mut self, stream: StreamId, step: Step) {
        if let Some(session) = self.exchanges.sessions.get_mut(&stream) {
            session.step = step;
        }
    }

    /// The stream could not be opened, broke off or took too long.
    pub fn handle_stream_failure(&mut self, now: Time, stream: StreamId, failure: StreamFailure) {
        self.advance(now);
        self.end(stream, Err(failure));
    }

    pub(super) fn stream_time_is_up(&mut self, stream: StreamId) {
        let waits = self.exchanges.sessions.get(&stream).is_some_and(|session| {
            // Whoever opened a stream to us has begun.
            !session.began && !matches!(session.purpose, Purpose::Answer)
        });
        self.end(stream, Err(if waits { StreamFailure::NotTried } else { StreamFailure::TimedOut }));
    }

    fn end(&mut self, stream: StreamId, result: Result<(), StreamFailure>) {
        let Some(session) = self.take_session(stream) else { return };
        self.conclude(session.purpose, session.peer, result, session.digest_before);
    }

    fn take_session(&mut self, stream: StreamId) -> Option<Session> {
        self.timers.cancel(Timer::Stream(stream));
        let session = self.exchanges.sessions.remove(&stream)?;
        self.exchanges.own_syncs -= usize::from(matches!(session.purpose, Purpose::Sync));
        Some(session)
    }

    fn conclude(
        &mut self,
        purpose: Purpose,
        peer: SocketAddr,
        result: Result<(), StreamFailure>,
        before: u64,
    ) {
        match (purpose, result) {
            (Purpose::Sync, Ok(())) => self.adapt_quiet_time(before),
            (Purpose::Sync, Err(_)) | (Purpose::Answer, _) => {}
            (Purpose::Join(ticket), result) => {
                let result = result.map_err(|failure| JoinProblem::from_failure(failure, peer));
                self.join_attempted(ticket, result);
            }
            (Purpose::Probe { seq, .. }, Ok(())) => self.stream_probe_answered(seq),
            (Purpose::Probe { .. }, Err(_)) => {}
            // Who was not asked has not been silent.
            (Purpose::AskHolder(_), Err(StreamFailure::NotTried)) => self.metrics.dropped_strangers += 1,
            (Purpose::AskRival(_), Err(StreamFailure::NotTried)) => {}
            (Purpose::AskPastLife(_, ticket, _), Err(StreamFailure::NotTried)) => {
                self.join_attempted(ticket, Err(JoinProblem::Unavailable));
            }
            (Purpose::AskHolder(_), Ok(())) => self.metrics.dropped_strangers += 1,
            (Purpose::AskHolder(introduction), Err(_)) => self.hear_alive(&introduction.claim()),
            (Purpose::AskRival(_), Ok(())) => self.rival_answered(peer),
            (Purpose::AskRival(claimed), Err(_)) => self.rival_is_silent(claimed),
            (Purpose::AskPastLife(_, ticket, _), Ok(())) => {
                self.join_attempted(ticket, Err(JoinProblem::NameTaken { holder: peer }));
            }
            (Purpose::AskPastLife(past, ticket, seed), Err(_)) => {
                self.past_life_is_silent(past);
                self.open(Purpose::Join(ticket), seed, self.config.stream_timeout);
            }
        }
    }

    /// An exchange that taught us nothing was not worth it: digests are ignored for longer and longer.
    fn adapt_quiet_time(&mut self, digest_before: u64) {
        let shortest = self.config.probe_interval;
        self.exchanges.quiet_for = if self.table.digest() == digest_before {
            (self.exchanges.quiet_for * 2).clamp(shortest, self.config.sync_interval)
        } else {
            shortest
        };
    }

    /// A member told its settled digest: if it differs from ours, exchange tables.
    pub(super) fn compare_digest(&mut self, addr: SocketAddr, theirs: u64) {
        let ours = self.settled_digest();
        let differ = ours != 0 && theirs != 0 && ours != theirs;
        if differ && self.now >= self.exchanges.quiet_until && self.table.at_addr(addr).is_some() {
            let pause = self.exchanges.quiet_for.max(self.config.probe_interval);
            self.exchanges.quiet_until = self.now + pause;
            self.open(Purpose::Sync, addr, self.config.stream_timeout);
        }
    }

    pub(super) fn sync_periodically(&mut self) {
        if self.phase != Phase::Live {
            return;
        }
        let interval = self.scaled_sync_interval();
        let next = self.jittered(interval);
        self.set_timer(Timer::Sync, next);
        if let Some((_, addr)) = self.pick_alive(1, None).pop() {
            self.open(Purpose::Sync, addr, self.config.stream_timeout);
        }
    }
}
