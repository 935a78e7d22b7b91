//! One ask of this node, and when it is repeated.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crossbeam_channel::Sender;

use super::{
    answerer::AskKind,
    memory::AskId,
    status::{Outcome, QueryProblem, Settled},
};
use crate::{
    error::EndedBy,
    swim::{Life, MemberState, Node, Time, WayTo},
    wire::packet::HEADER,
};

/// How often an ask goes by datagram before a stream is opened for it.
pub(super) const DATAGRAMS: u32 = 3;
/// How often it goes by datagram in all: also beside a stream, which loss may delay.
pub(super) const ALL_DATAGRAMS: u32 = 10;
/// How often the pause between datagrams doubles. Beside a stream the pause stays the same.
pub(super) const MAX_DOUBLED: u32 = 2;
/// The first pause is this many round trips.
const ROUND_TRIPS: u32 = 3;
/// The shortest pause between repeats.
const MIN_REPEAT: Duration = Duration::from_millis(20);
/// The longest pause between repeats.
const MAX_REPEAT: Duration = Duration::from_secs(5);
/// The longest pause between polls by stream, where the answer does not come by itself.
const MAX_POLL_BY_STREAM: Duration = Duration::from_secs(1);
/// The first pause if no round trip was measured.
const UNMEASURED: Duration = Duration::from_millis(100);
/// The shortest pause before a poll of a pending request.
const MIN_POLL: Duration = Duration::from_millis(200);
/// The longest time that a caller may wait.
pub(super) const MAX_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// The most bytes of a datagram with an ask besides its topic and payload.
const AROUND_ASK: usize = HEADER + 44;

/// An ask that has not begun.
#[derive(Debug, Clone)]
pub(crate) struct NewAsk {
    pub(crate) kind: AskKind,
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) within: Duration,
}

/// This node has too many asks under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMany {
    Asks,
    ToMember,
    Queries,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The ask goes by datagram.
    Asking,
    /// The ask goes by stream, perhaps once it is its turn.
    Streaming,
    /// The member has the request and will answer later.
    Pending,
}

/// The caller that waits for the outcome of an ask.
#[derive(Debug)]
pub(super) enum Caller {
    /// A caller that waits for this ask alone. The channel has room for the outcome.
    One(Sender<Settled>),
    /// The readers of a query.
    Query(u64),
}

#[derive(Debug)]
pub(super) struct Ask {
    /// The destination.
    pub(super) to: Life,
    /// The life that the caller meant, which may be an earlier one.
    pub(super) life: u64,
    pub(super) id: AskId,
    pub(super) new: NewAsk,
    pub(super) caller: Caller,
    pub(super) began: Time,
    pub(super) deadline: Time,
    /// When this ask is next looked at.
    pub(super) at: Time,
    pub(super) step: Step,
    /// How often it was sent in this step.
    pub(super) tries: u32,
    /// How often the member was asked for its token before.
    pub(super) token_requests: u32,
    /// Whether the ask may have arrived.
    pub(super) sent: bool,
    /// Whether it belongs to a query and was just sent.
    pub(super) in_flight: bool,
}

impl Ask {
    pub(super) fn new(began: Time, to: Life, id: AskId, new: NewAsk, caller: Caller) -> Self {
        Self {
            life: to.epoch,
            to,
            id,
            deadline: deadline(began, &new),
            new,
            in_flight: matches!(caller, Caller::Query(_)),
            caller,
            began,
            at: began,
            step: Step::Asking,
            tries: 0,
            token_requests: 0,
            sent: false,
        }
    }

    pub(super) fn left(&self, now: Time) -> Duration {
        self.deadline.since(now)
    }

    /// The kind to send now: once the request is pending, only a poll.
    pub(super) fn kind(&self) -> AskKind {
        if self.step == Step::Pending { AskKind::Poll } else { self.new.kind }
    }

    pub(super) fn payload(&self) -> Arc<[u8]> {
        if self.step == Step::Pending { Arc::default() } else { Arc::clone(&self.new.payload) }
    }

    /// Whether the ask belongs to one of these queries.
    pub(super) fn is_of(&self, queries: &BTreeSet<u64>) -> bool {
        matches!(self.caller, Caller::Query(query) if queries.contains(&query))
    }

    /// Whether the ask fits in a datagram, whatever its numbers, and datagrams reach the member.
    pub(super) fn goes_by_datagram(&self, node: &Node, way: WayTo) -> bool {
        let size = if self.step == Step::Pending { 0 } else { self.new.payload.len() };
        way == WayTo::Datagram && size + self.new.topic.len() + AROUND_ASK <= node.config().max_datagram
    }

    /// The pause after this many tries.
    pub(super) fn pause(&self, node: &Node, tries: u32) -> Duration {
        let least = if self.step == Step::Pending { MIN_POLL } else { MIN_REPEAT };
        let trips = node.round_trip(&self.to).map_or(UNMEASURED, |trip| trip * ROUND_TRIPS);
        doubled(trips.clamp(least, MAX_REPEAT), tries)
    }

    /// The pause before the next poll of a pending request: its answer may come by one datagram only, and get lost.
    pub(super) fn until_poll(&self, node: &Node, now: Time) -> Duration {
        let by_stream = node.way_to(&self.to) == WayTo::Stream;
        let most = if by_stream { MAX_POLL_BY_STREAM } else { MAX_REPEAT };
        self.pause(node, self.tries).min(most).min((self.left(now) / 2).max(MIN_POLL))
    }

    /// The outcome without an answer.
    pub(super) fn ended(&self, by: EndedBy) -> Outcome {
        Err(QueryProblem::new(self.sent, by))
    }

    /// The member has begun another life. An ask that was not sent yet goes to that life.
    pub(super) fn follow(&mut self, epoch: u64) {
        self.to.epoch = epoch;
        if !self.sent {
            self.life = epoch;
        }
    }

    /// The outcome when the member is not asked any more.
    pub(super) fn departed(&self, node: &Node) -> Outcome {
        let state = node.member(&self.to.name).map(|member| member.state);
        self.ended(if state == Some(MemberState::Left) { EndedBy::Leave } else { EndedBy::Failure })
    }
}

/// The deadline for an answer.
pub(super) fn deadline(began: Time, new: &NewAsk) -> Time {
    began + new.within.min(MAX_WITHIN)
}

/// A pause that has doubled this many times.
pub(super) fn doubled(first: Duration, times: u32) -> Duration {
    (first * (1 << times.min(8))).min(MAX_REPEAT)
}
