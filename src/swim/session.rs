//! A stream: what it is for, and how far it has come.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{join::JoinId, question::Question, time::Time, transmit::Transmit};

/// What a stream is for.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// Somebody else began it.
    Answer,
    Join(JoinId),
    Sync,
    /// The stream part of a probe.
    Probe {
        seq: u32,
        target: Arc<str>,
    },
    /// In place of a datagram: what is yet to be written. Nothing else need wait for one that is not urgent.
    Carry {
        datagram: Option<Box<Transmit>>,
        urgent: bool,
    },
    /// The stream part of a question, and the number of the ping that asks the same.
    Ask(Question, u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    SendHello,
    AwaitTable,
    /// The place in the table that comes next.
    SendTable(usize),
    AwaitEnd,
    Ask,
    AwaitAnswer,
    AwaitOpening,
    SendBucketDigests,
    AwaitSelection,
    SendSelection,
    SendSame,
    AwaitReturn,
    SendEnd,
    SendAnswer,
    SendCarried,
    AwaitCarried,
    Over,
    /// The other side hung up; only the time that is left counts.
    Closed,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) purpose: Purpose,
    pub(super) peer: SocketAddr,
    pub(super) step: Step,
    /// What the one calls itself who opened the stream to us,
    pub(super) caller: Arc<str>,
    /// and whether it has shown that it is who it says.
    pub(super) proven: bool,
    /// It has introduced itself: once is enough.
    pub(super) introduced: bool,
    /// The token to show to the other side, if it gave us one while this stream is open.
    pub(super) token: u32,
    /// The parts of the tables that are exchanged: bit n for part n.
    pub(super) buckets: u64,
    pub(super) received: usize,
    /// The table that we hear has us.
    pub(super) lists_us: bool,
    pub(super) digest_before: u64,
    /// How long it may take once the driver has begun.
    pub(super) timeout: Duration,
    pub(super) began: bool,
    pub(super) since: Time,
}

impl Session {
    /// Whether anything came from the other side.
    pub(super) fn is_answered(&self) -> bool {
        self.received > 0
    }

    /// Whether it is the stream of a question.
    pub(super) fn asks(&self) -> bool {
        matches!(self.purpose, Purpose::Ask(..))
    }

    /// Whose presence a stream ping asks for; but for pings of others, our own name.
    pub(super) fn asked<'a>(&'a self, own: &'a Arc<str>) -> &'a Arc<str> {
        match &self.purpose {
            Purpose::Probe { target, .. } => target,
            Purpose::Ask(question, _) => question.name(own),
            _ => own,
        }
    }
}
