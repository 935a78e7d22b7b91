//! Streams: which are open, the purpose of each, and the effect of its end.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    entry::Input,
    event::Output,
    join::Attempt,
    node::Node,
    question::Question,
    session::{Purpose, Session, Step},
    time::Time,
    timers::Timer,
};
use crate::JoinProblem;

/// Streams at the same time; more are refused and counted.
pub(super) const MAX_STREAMS: usize = 160;
/// Exchanges that this node has begun and not ended.
const MAX_OWN_SYNCS: usize = 4;

/// The identifier of a stream in all calls about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(super) u64);

/// The next step of a stream. A driver that does not know a step fails the stream as [`NotTried`](StreamFailure::NotTried).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamStep {
    /// Send the frame that is now in the buffer, then poll again.
    Send,
    /// Receive a frame, pass it to [`Node::handle_frame`], then poll again.
    Receive,
    /// Close it; the node has forgotten it.
    Close,
}

/// Why a stream failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamFailure {
    /// Nothing listens at the address.
    Refused,
    /// It took too long, or was cut off.
    TimedOut,
    /// The received data was not of this protocol.
    Rejected,
    /// The driver could not begin, or gave it up for its own reasons: its queue is full, there is no thread or descriptor
    /// for it, the local address does not work, or the node stops. This says nothing about the peer.
    NotTried,
}

/// The kind of a stream that this node opens, as far as it matters to a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamKind {
    /// An exchange of tables: a sync. It may take long.
    Exchange,
    /// The same with an address that may be dead, as one of up to 24 racing attempts: none may delay another, and the node
    /// gives some up ([`Node::is_open`]).
    Join,
    /// The stream ping of a probe, or a datagram by stream, on which a verdict or a leave depends: it must wait for nothing
    /// else.
    Urgent,
    /// A stream ping that asks whether the holder of a name still answers. Others can cause it.
    Question,
    /// A stream of the data layer: messages and data. Nothing of the protocol waits for it.
    Data,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Streams {
    #[serde(with = "super::stored::by_stream")]
    pub(super) sessions: HashMap<StreamId, Session>,
    /// Those that this node opened, and to which address.
    #[serde(with = "super::stored::by_stream")]
    pub(super) opened: BTreeMap<StreamId, SocketAddr>,
    last: u64,
    own_syncs: usize,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &StreamId> {
        self.sessions.keys()
    }
}

impl Node {
    /// Opens a stream towards an address, unless too many are open.
    pub(super) fn open(&mut self, purpose: Purpose, addr: SocketAddr, timeout: Duration) -> Option<StreamId> {
        let (step, kind) = match purpose {
            Purpose::Probe { .. } => (Step::Ask, StreamKind::Urgent),
            Purpose::Ask(..) => (Step::Ask, StreamKind::Question),
            Purpose::Join(_) => (Step::SendHello, StreamKind::Join),
            Purpose::Carry { urgent: true, .. } => (Step::SendCarried, StreamKind::Urgent),
            Purpose::Carry { .. } => (Step::SendCarried, StreamKind::Exchange),
            Purpose::Data(_) => (Step::Data, StreamKind::Data),
            _ => (Step::SendHello, StreamKind::Exchange),
        };
        let syncs = matches!(purpose, Purpose::Sync);
        // No member holds several.
        let is_sync = |purpose: &Purpose| matches!(purpose, Purpose::Sync);
        if syncs && self.streams.has_opened_to(self.table.account_of(addr), is_sync) {
            return None;
        }
        // Joins have a bound of their own, and their result is waited for.
        let joins = matches!(purpose, Purpose::Join(_) | Purpose::Ask(Question::PastLife(..), _));
        let full =
            self.streams.sessions.len() >= MAX_STREAMS || syncs && self.streams.own_syncs >= MAX_OWN_SYNCS;
        if full && !joins {
            self.metrics.refused_streams += 1;
            return None;
        }
        self.streams.own_syncs += usize::from(syncs);
        let stream = self.begin(purpose, addr, step, timeout);
        // Until the driver begins, this bounds how long it may keep the stream waiting.
        self.set_timer(Timer::Stream(stream), timeout.saturating_mul(2));
        self.emit(Output::OpenStream { stream, addr, timeout, kind });
        Some(stream)
    }

    /// The driver begins to work on a stream: its timeout counts from now on.
    pub fn stream_began(&mut self, now: Time, stream: StreamId) {
        self.given(now, || Input::StreamBegan(stream));
        self.advance(now);
        if let Some(session) = self.streams.sessions.get_mut(&stream) {
            let is_first = !std::mem::replace(&mut session.began, true);
            let timeout = session.timeout;
            self.set_timer(Timer::Stream(stream), timeout);
            if is_first {
                self.ping_for_question(stream);
            }
        }
    }

    /// Takes a stream that another node opened; `None` if there are too many.
    pub fn accept_stream(&mut self, now: Time, from: SocketAddr) -> Option<StreamId> {
        self.given(now, || Input::AcceptStream { from });
        self.advance(now);
        if self.streams.sessions.len() >= MAX_STREAMS {
            self.metrics.refused_streams += 1;
            return None;
        }
        let timeout = self.config.stream_timeout;
        let stream = self.begin(Purpose::Answer, from, Step::AwaitOpening, timeout);
        self.set_timer(Timer::Stream(stream), timeout);
        Some(stream)
    }

    fn begin(&mut self, purpose: Purpose, peer: SocketAddr, step: Step, timeout: Duration) -> StreamId {
        self.streams.last += 1;
        let stream = StreamId(self.streams.last);
        let digest_before = self.table.digest();
        if !matches!(purpose, Purpose::Answer) {
            self.streams.opened.insert(stream, peer);
        }
        self.streams.sessions.insert(
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
                mark: 0,
                digest_before,
                timeout,
                began: false,
                since: self.now,
            },
        );
        stream
    }

    /// Whether a stream is still wanted; if not, its driver may drop it.
    #[must_use]
    pub fn is_open(&self, stream: StreamId) -> bool {
        self.streams.sessions.contains_key(&stream)
    }

    pub(super) fn set_step(&mut self, stream: StreamId, step: Step) {
        if let Some(session) = self.streams.sessions.get_mut(&stream) {
            session.step = step;
        }
    }

    /// The stream could not be opened, broke or took too long.
    pub fn handle_stream_failure(&mut self, now: Time, stream: StreamId, failure: StreamFailure) {
        self.given(now, || Input::StreamFailed(stream, failure.clone()));
        self.advance(now);
        self.end(stream, Err(failure));
    }

    pub(super) fn stream_time_is_up(&mut self, stream: StreamId) {
        let waits = self.streams.sessions.get(&stream).is_some_and(|session| {
            // A stream of another node has begun.
            !session.began && !matches!(session.purpose, Purpose::Answer)
        });
        self.end(stream, Err(if waits { StreamFailure::NotTried } else { StreamFailure::TimedOut }));
    }

    pub(super) fn end(&mut self, stream: StreamId, result: Result<(), StreamFailure>) {
        if self.keep_waiting(stream, result.clone()) {
            return;
        }
        let Some(session) = self.take_session(stream) else { return };
        if matches!(session.purpose, Purpose::Data(_)) {
            return self.data_stream_ended(stream, result);
        }
        self.conclude(session.purpose, session.peer, result, session.digest_before);
    }

    pub(super) fn take_session(&mut self, stream: StreamId) -> Option<Session> {
        self.timers.cancel(Timer::Stream(stream));
        let session = self.streams.sessions.remove(&stream)?;
        self.streams.own_syncs -= usize::from(matches!(session.purpose, Purpose::Sync));
        self.streams.opened.remove(&stream);
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
            (Purpose::Sync, Ok(())) => self.adapt_sync_pace(peer, Some(before)),
            (Purpose::Sync, Err(StreamFailure::NotTried)) => {}
            (Purpose::Sync, Err(_)) => self.adapt_sync_pace(peer, None),
            (Purpose::Answer | Purpose::Carry { .. } | Purpose::Data(_), _) => {}
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
