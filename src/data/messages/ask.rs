//! One ask of this node, and when it is repeated.

use std::{sync::Arc, time::Duration};

use crossbeam_channel::Sender;

use super::{
    answerer::AskKind,
    status::{Outcome, Settled},
};
use crate::{
    swim::{Life, MemberState, Node, StreamId, Time, WayTo},
    wire::packet::HEADER,
};

/// An ask is repeated first after this many round trips,
const ROUND_TRIPS: u32 = 3;
/// but not sooner than this,
pub(super) const MIN_REPEAT: Duration = Duration::from_millis(20);
/// nor later. Pauses do not grow beyond it.
const MAX_REPEAT: Duration = Duration::from_secs(5);
/// Where no round trip was measured: after this time.
const UNMEASURED: Duration = Duration::from_millis(100);
/// What a request waits for that is pending, at least, before it is asked about.
const MIN_POLL: Duration = Duration::from_millis(200);
/// The longest time a caller waits.
const MAX_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// Bytes of a datagram with an ask besides its topic and payload, at most.
const AROUND_ASK: usize = HEADER + 33;

/// An ask to be.
#[derive(Debug)]
pub(crate) struct NewAsk {
    pub(crate) kind: AskKind,
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) within: Duration,
    /// Who is told what becomes of it; there must be room for it in the channel.
    pub(crate) caller: Sender<Settled>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A query's: its turn has not come.
    Queued,
    /// It is being sent, by datagram or stream.
    Asking,
    Streaming(StreamId),
    /// The member has it and will answer later.
    Pending,
}

#[derive(Debug)]
pub(super) struct Ask {
    pub(super) to: Life,
    pub(super) new: NewAsk,
    pub(super) began: Time,
    pub(super) deadline: Time,
    /// When something is to be done about it.
    pub(super) at: Time,
    pub(super) step: Step,
    /// How often it was tried in this step,
    pub(super) tries: u32,
    /// and to become known to the member before,
    pub(super) meetings: u32,
    /// and whether it may have arrived.
    pub(super) sent: bool,
    /// It is one of a query that was just sent.
    pub(super) in_flight: bool,
    /// The query that it is part of, by its first ask.
    pub(super) query: Option<u64>,
}

impl Ask {
    pub(super) fn new(now: Time, to: Life, new: NewAsk, query: Option<u64>) -> Self {
        let deadline = now + new.within.min(MAX_WITHIN);
        let (at, step) = match query {
            Some(_) => (deadline, Step::Queued),
            None => (now, Step::Asking),
        };
        Self {
            to,
            new,
            began: now,
            deadline,
            at,
            step,
            tries: 0,
            meetings: 0,
            sent: false,
            in_flight: false,
            query,
        }
    }

    pub(super) fn left(&self, now: Time) -> Duration {
        self.deadline.since(now)
    }

    /// What is sent now: once it is pending, only the question what became of it.
    pub(super) fn kind(&self) -> AskKind {
        if self.step == Step::Pending { AskKind::Poll } else { self.new.kind }
    }

    pub(super) fn payload(&self) -> Arc<[u8]> {
        if self.step == Step::Pending { Arc::default() } else { Arc::clone(&self.new.payload) }
    }

    /// Whether it fits in a datagram, whatever its numbers, and those reach its member.
    pub(super) fn goes_by_datagram(&self, node: &Node, way: WayTo) -> bool {
        let size = if self.step == Step::Pending { 0 } else { self.new.payload.len() };
        way == WayTo::Datagram && size + self.new.topic.len() + AROUND_ASK <= node.config().max_datagram
    }

    /// How long an answer is waited for after so many tries.
    pub(super) fn pause(&self, node: &Node, tries: u32) -> Duration {
        let least = if self.step == Step::Pending { MIN_POLL } else { MIN_REPEAT };
        let trips = node.round_trip(&self.to).map_or(UNMEASURED, |trip| trip * ROUND_TRIPS);
        doubled(trips.clamp(least, MAX_REPEAT), tries)
    }

    /// When one that is pending is asked about again: the answer may be on its way once only, and get lost.
    pub(super) fn until_poll(&self, node: &Node, now: Time) -> Duration {
        self.pause(node, self.tries).min((self.left(now) / 2).max(MIN_POLL))
    }

    /// Why its member is not asked any more.
    pub(super) fn departed(&self, node: &Node) -> Outcome {
        let Self { to, sent, .. } = self;
        let member = node.member(&to.name).filter(|member| member.identity.epoch == to.epoch);
        match member.map(|member| member.state) {
            Some(MemberState::Left) => Outcome::Left { sent: *sent },
            _ => Outcome::Died { sent: *sent },
        }
    }
}

/// A pause that has doubled so often.
pub(super) fn doubled(first: Duration, times: u32) -> Duration {
    (first * (1 << times.min(8))).min(MAX_REPEAT)
}
