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

/// How often an ask is sent by datagram before a stream is opened for it.
pub(super) const DATAGRAMS: u32 = 3;
/// How often it is sent by datagram in all: also beside a stream, which may take long under loss.
pub(super) const ALL_DATAGRAMS: u32 = 10;
/// How often the pause between these doubles; beside a stream it stays the same.
pub(super) const MAX_DOUBLED: u32 = 2;
/// An ask is repeated first after this many round trips.
const ROUND_TRIPS: u32 = 3;
/// The shortest pause between repeats.
const MIN_REPEAT: Duration = Duration::from_millis(20);
/// The longest pause between repeats.
const MAX_REPEAT: Duration = Duration::from_secs(5);
/// The longest pause between polls by stream, as there the answer does not come by itself.
const MAX_POLL_BY_STREAM: Duration = Duration::from_secs(1);
/// Where no round trip was measured: after this time.
const UNMEASURED: Duration = Duration::from_millis(100);
/// What a request waits for that is pending, at least, before it is asked about.
const MIN_POLL: Duration = Duration::from_millis(200);
/// The longest time a caller waits.
pub(super) const MAX_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// Bytes of a datagram with an ask besides its topic and payload, at most.
const AROUND_ASK: usize = HEADER + 44;

/// An ask that is not begun yet.
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
    /// It is being sent by datagram.
    Asking,
    /// It is being sent by stream, perhaps once it is its turn.
    Streaming,
    /// The member has it and will answer later.
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
    /// The life of that member that is meant.
    pub(super) life: u64,
    pub(super) id: AskId,
    pub(super) new: NewAsk,
    pub(super) caller: Caller,
    pub(super) began: Time,
    pub(super) deadline: Time,
    /// When something is due for it.
    pub(super) at: Time,
    pub(super) step: Step,
    /// How often it was tried in this step.
    pub(super) tries: u32,
    /// How often its member was asked for its token before.
    pub(super) token_requests: u32,
    /// Whether it may have arrived.
    pub(super) sent: bool,
    /// Whether it is one of a query that was just sent.
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

    /// What is sent now: once it is pending, only a poll, which asks what became of it.
    pub(super) fn kind(&self) -> AskKind {
        if self.step == Step::Pending { AskKind::Poll } else { self.new.kind }
    }

    pub(super) fn payload(&self) -> Arc<[u8]> {
        if self.step == Step::Pending { Arc::default() } else { Arc::clone(&self.new.payload) }
    }

    /// Whether it is one of these queries.
    pub(super) fn is_of(&self, queries: &BTreeSet<u64>) -> bool {
        matches!(self.caller, Caller::Query(query) if queries.contains(&query))
    }

    /// Whether it fits in a datagram, whatever its numbers, and those reach its member.
    pub(super) fn goes_by_datagram(&self, node: &Node, way: WayTo) -> bool {
        let size = if self.step == Step::Pending { 0 } else { self.new.payload.len() };
        way == WayTo::Datagram && size + self.new.topic.len() + AROUND_ASK <= node.config().max_datagram
    }

    /// How long an answer is waited for after this many tries.
    pub(super) fn pause(&self, node: &Node, tries: u32) -> Duration {
        let least = if self.step == Step::Pending { MIN_POLL } else { MIN_REPEAT };
        let trips = node.round_trip(&self.to).map_or(UNMEASURED, |trip| trip * ROUND_TRIPS);
        doubled(trips.clamp(least, MAX_REPEAT), tries)
    }

    /// When one that is pending is asked about again: the answer may be on its way once only, and get lost.
    pub(super) fn until_poll(&self, node: &Node, now: Time) -> Duration {
        let by_stream = node.way_to(&self.to) == WayTo::Stream;
        let most = if by_stream { MAX_POLL_BY_STREAM } else { MAX_REPEAT };
        self.pause(node, self.tries).min(most).min((self.left(now) / 2).max(MIN_POLL))
    }

    /// The outcome without an answer.
    pub(super) fn ended(&self, by: EndedBy) -> Outcome {
        Err(QueryProblem::new(self.sent, by))
    }

    /// Its member has begun another life. An ask that was not sent yet goes to that life.
    pub(super) fn follow(&mut self, epoch: u64) {
        self.to.epoch = epoch;
        if !self.sent {
            self.life = epoch;
        }
    }

    /// The outcome when its member is not asked any more.
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
