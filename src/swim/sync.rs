//! Exchanges of tables over streams, and the other uses of a stream.
//!
//! ```text
//! initiator                       responder
//! hello (digest) ───────────────▶
//!                ◀─────────────── same                      if the digests are equal, else
//!                ◀─────────────── bucket digests            if both are settled: digests of the 64 buckets
//! selection ─────────────────────▶                           the buckets that differ; from here on only these
//!                ◀─────────────── its table … end
//! own table … end ──────────────▶
//!                ◀─────────────── end                       so that the initiator knows it was heard
//! ```
//!
//! The initiator listens first: a node that joins learns what its name did before, then announces itself.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use super::{
    event::{JoinProblem, Output},
    join::Attempt,
    node::Node,
    question::Question,
    self_claims::Phase,
    session::{Purpose, Session, Step},
    time::Time,
    timers::Timer,
};
use crate::wire::{
    frame::MAX_FRAME,
    message::{BucketDigests, BucketSelection, End, Hello, Message, Same, StreamAck, StreamPing},
    packet::{self, Header},
};

/// Streams at the same time; more are refused and counted.
pub(super) const MAX_STREAMS: usize = 128;
/// The most bytes taken from one stream: a full table of the largest records.
const MAX_STREAM_BYTES: usize = 64 << 20;
/// Exchanges that this node has begun and not ended.
const MAX_OWN_SYNCS: usize = 4;
/// A record never takes more than this in a frame: keep that much free for it.
pub(super) const MAX_ENTRY: usize = 2048;

/// A stream, in all calls about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(super) u64);

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
#[non_exhaustive]
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
#[non_exhaustive]
pub enum StreamKind {
    /// Tables are exchanged: a sync. It may take long.
    Exchange,
    /// The same with an address that may be dead, as one of up to 24 attempts that race: none may keep another waiting, and
    /// the node gives some up ([`Node::is_open`]).
    Join,
    /// A stream ping: is somebody there? A verdict may hang on the answer, so nothing else may keep it waiting.
    Question,
}

#[derive(Debug, Default)]
pub(super) struct Exchanges {
    pub(super) sessions: HashMap<StreamId, Session>,
    /// Those that we opened, and to where.
    pub(super) opened: BTreeMap<StreamId, SocketAddr>,
    last: u64,
    own_syncs: usize,
    /// Exchanges after we went live that are still to come soon.
    pub(super) first_syncs: u32,
    /// Digests are ignored until then, and for how long the next time.
    pub(super) quiet_until: Time,
    pub(super) quiet_for: Duration,
}

impl Exchanges {
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }
}

impl Node {
    /// Opens a stream towards an address, and says whether it did: not if too many are open.
    pub(super) fn open(&mut self, purpose: Purpose, addr: SocketAddr, timeout: Duration) -> bool {
        let (step, kind) = match purpose {
            Purpose::Probe { .. } | Purpose::Ask(..) => (Step::Ask, StreamKind::Question),
            Purpose::Join(_) => (Step::SendHello, StreamKind::Join),
            Purpose::Carry { urgent: true, .. } => (Step::SendCarried, StreamKind::Question),
            Purpose::Carry { .. } => (Step::SendCarried, StreamKind::Exchange),
            _ => (Step::SendHello, StreamKind::Exchange),
        };
        let syncs = matches!(purpose, Purpose::Sync);
        // Joins have a bound of their own, and their result is waited for.
        let joins = matches!(purpose, Purpose::Join(_) | Purpose::Ask(Question::PastLife(..), _));
        let full = self.exchanges.sessions.len() >= MAX_STREAMS
            || syncs && self.exchanges.own_syncs >= MAX_OWN_SYNCS;
        if full && !joins {
            self.metrics.refused_streams += 1;
            return false;
        }
        self.exchanges.own_syncs += usize::from(syncs);
        let stream = self.begin(purpose, addr, step, timeout);
        // Until the driver begins, this bounds how long it may keep the stream waiting.
        self.set_timer(Timer::Stream(stream), timeout.saturating_mul(2));
        self.emit(Output::OpenStream { stream, addr, timeout, kind });
        true
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
        let stream = self.begin(Purpose::Answer, from, Step::AwaitOpening, timeout);
        self.set_timer(Timer::Stream(stream), timeout);
        Some(stream)
    }

    fn begin(&mut self, purpose: Purpose, peer: SocketAddr, step: Step, timeout: Duration) -> StreamId {
        self.exchanges.last += 1;
        let stream = StreamId(self.exchanges.last);
        let digest_before = self.table.digest();
        if !matches!(purpose, Purpose::Answer) {
            self.exchanges.opened.insert(stream, peer);
        }
        self.exchanges.sessions.insert(
            stream,
            Session {
                purpose,
                peer,
                step,
                caller: Arc::default(),
                proven: false,
                introduced: false,
                token: 0,
                buckets: u64::MAX,
                received: 0,
                lists_us: false,
                digest_before,
                timeout,
                began: false,
                since: self.now,
            },
        );
        stream
    }

    /// Whether the node has not given up a stream; if it has, its driver may drop it.
    #[must_use]
    pub fn is_open(&self, stream: StreamId) -> bool {
        self.exchanges.sessions.contains_key(&stream)
    }

    /// What to do next with a stream; a frame to send is put into `buffer`, without its length prefix.
    pub fn poll_stream(&mut self, now: Time, stream: StreamId, buffer: &mut Vec<u8>) -> StreamStep {
        self.advance(now);
        let Some(session) = self.exchanges.sessions.get(&stream) else { return StreamStep::Close };
        let (step, answering) = (session.step, matches!(session.purpose, Purpose::Answer));
        if step == Step::SendCarried {
            return self.say_carried(stream, buffer);
        }
        let buckets = session.buckets;
        let digest = if matches!(session.purpose, Purpose::Sync) { self.settled_digest() } else { 0 };
        let token = match (session.token, &session.purpose) {
            // To be known by, if it is ourselves whom we reach.
            (_, Purpose::Join(_)) if step == Step::SendHello => self.join_token(stream),
            (0, _) => self.table.at_addr(session.peer).map_or(0, |id| self.table.get(id).contact.held),
            (token, _) => token,
        };
        let header = Header { cluster: self.cluster, sender: self.mark, token };
        let mut frame = packet::Writer::new(buffer, header, MAX_FRAME);
        let next = match step {
            Step::AwaitTable
            | Step::AwaitEnd
            | Step::AwaitAnswer
            | Step::AwaitOpening
            | Step::AwaitSelection
            | Step::AwaitCarried
            | Step::AwaitReturn => return StreamStep::Receive,
            Step::Closed | Step::SendCarried => return StreamStep::Close,
            Step::Over => {
                self.end(stream, Ok(()));
                return StreamStep::Close;
            }
            Step::SendHello => {
                frame.message(&Hello { name: &self.name, digest });
                Step::AwaitTable
            }
            Step::Ask => {
                frame.message(&StreamPing { target: session.asked(&self.name) });
                Step::AwaitAnswer
            }
            Step::SendAnswer => {
                frame.message(&StreamAck { name: &self.name });
                Step::Over
            }
            Step::SendBucketDigests => {
                let digests = self.table.bucket_digests().map(u64::to_le_bytes);
                frame.message(&BucketDigests { digests: digests.as_flattened() });
                Step::AwaitSelection
            }
            Step::SendSelection => {
                frame.message(&BucketSelection { buckets });
                Step::AwaitTable
            }
            Step::SendSame => {
                frame.message(&Same {});
                Step::Over
            }
            Step::SendEnd => {
                frame.message(&End {});
                Step::Over
            }
            Step::SendTable(from) => match self.tell_table(&mut frame, from, buckets) {
                Some(at) => Step::SendTable(at),
                None if answering => Step::AwaitReturn,
                None => Step::AwaitEnd,
            },
        };
        frame.finish();
        self.set_step(stream, next);
        StreamStep::Send
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
        let (header, sections) = match packet::open(bytes, self.cluster) {
            Ok(opened) => opened,
            Err(reject) => {
                self.count_reject(reject);
                return self.end(stream, Err(StreamFailure::Rejected));
            }
        };
        if self.is_carried(stream, &sections) {
            return self.on_carried(stream, header, sections);
        }
        self.recognize_caller(stream, header.token);
        for section in sections {
            let Ok(section) = section else { return self.reject(stream) };
            match section.message() {
                Ok(Some(message)) if self.handle_stream_message(stream, header.token, &message) => {}
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
    fn handle_stream_message(&mut self, stream: StreamId, token: u32, message: &Message<'_>) -> bool {
        let Some(session) = self.exchanges.sessions.get(&stream) else { return true };
        let step = session.step;
        match (step, message) {
            (Step::AwaitOpening, Message::Hello(hello)) => {
                let ours = self.settled_digest();
                let (settled, same) = (hello.digest != 0 && ours != 0, hello.digest == ours);
                let next = match (settled, same) {
                    (true, true) => Step::SendSame,
                    (true, false) => Step::SendBucketDigests,
                    (false, _) => Step::SendTable(0),
                };
                self.greet_caller(stream, token, hello.name);
                if hello.name == &*self.name && self.recognize_own_join(token) {
                    self.set_step(stream, Step::Over);
                    return true;
                }
                self.go_live();
                if next == Step::SendSame {
                    self.metrics.syncs += 1;
                    self.metrics.syncs_equal += 1;
                }
                self.set_step(stream, next);
            }
            (Step::AwaitOpening, Message::StreamPing(ping)) => {
                let holds = !self.is_leaving() && self.phase != Phase::Displaced;
                let meant = ping.target == &*self.name && holds;
                if meant {
                    self.note_pinged();
                }
                self.set_step(stream, if meant { Step::SendAnswer } else { Step::Over });
            }
            (Step::AwaitTable, Message::BucketDigests(theirs)) if session.buckets == u64::MAX => {
                let buckets = self.differing_buckets(theirs.digests);
                self.select_buckets(stream, buckets, Step::SendSelection);
            }
            (Step::AwaitReturn, claim) if claim.is_claim() && !session.proven => {
                self.on_unproven_claim(stream, claim);
            }
            (Step::AwaitReturn, claim) if claim.is_claim() => {
                let by_itself = claim.is_about(&session.caller);
                self.handle_claim(claim, by_itself);
            }
            (Step::AwaitTable, claim) if claim.is_claim() => {
                // Whoever lives where we called speaks for itself.
                let by_itself = matches!(claim, Message::Alive(alive) if alive.addr == session.peer);
                self.note_mention(stream, claim);
                self.handle_claim(claim, by_itself);
            }
            (Step::AwaitSelection, Message::BucketSelection(choice)) => {
                self.select_buckets(stream, choice.buckets, Step::SendTable(0));
            }
            (Step::AwaitTable, Message::Same(_)) => {
                self.note_listing(stream, true);
                self.metrics.syncs += 1;
                self.metrics.syncs_equal += 1;
                self.end(stream, Ok(()));
            }
            (Step::AwaitTable, Message::End(_)) => self.heard_table(stream),
            (Step::AwaitReturn, Message::End(_)) => {
                self.metrics.syncs += 1;
                self.set_step(stream, Step::SendEnd);
            }
            (Step::AwaitEnd, Message::End(_)) => {
                self.metrics.syncs += 1;
                self.end(stream, Ok(()));
            }
            (Step::AwaitAnswer, Message::StreamAck(ack)) => {
                let answered = ack.name == &**session.asked(&self.name);
                self.end(stream, if answered { Ok(()) } else { Err(StreamFailure::Rejected) });
            }
            _ => return false,
        }
        true
    }

    pub(super) fn set_step(&mut self, stream: StreamId, step: Step) {
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

    pub(super) fn end(&mut self, stream: StreamId, result: Result<(), StreamFailure>) {
        if self.keep_waiting(stream, result) {
            return;
        }
        let Some(session) = self.take_session(stream) else { return };
        self.conclude(session.purpose, session.peer, result, session.digest_before);
    }

    pub(super) fn take_session(&mut self, stream: StreamId) -> Option<Session> {
        self.timers.cancel(Timer::Stream(stream));
        let session = self.exchanges.sessions.remove(&stream)?;
        self.exchanges.own_syncs -= usize::from(matches!(session.purpose, Purpose::Sync));
        self.exchanges.opened.remove(&stream);
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
            (Purpose::Sync, Err(_)) | (Purpose::Answer | Purpose::Carry { .. }, _) => {}
            (Purpose::Join(join), Ok(())) => self.join_attempted(join, Attempt::Reached),
            (Purpose::Join(join), Err(failure)) => {
                let problem = JoinProblem::from_failure(failure, peer);
                self.join_attempted(join, Attempt::Failed(problem));
            }
            (Purpose::Probe { seq, .. }, Ok(())) => self.stream_probe_answered(seq),
            (Purpose::Probe { .. }, Err(_)) => {}
            (Purpose::Ask(question, _), result) => self.conclude_question(question, peer, result),
        }
    }
}
