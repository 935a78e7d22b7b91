//! A stream: what it is for, and how far it has come.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{join::JoinId, question::Question, time::Time, transmit::Transmit, upper_layer::Life};

/// The purpose of a stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// Another node opened it.
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
    /// A stream of the data layer, with this member.
    Data(Life),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    SendHello,
    AwaitTable,
    /// From this place in the table on.
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
    /// The layer above says what comes next.
    Data,
    Over,
    /// The other side hung up; only the time that is left counts.
    Closed,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) purpose: Purpose,
    pub(super) peer: SocketAddr,
    pub(super) step: Step,
    /// The name that the caller, another node, gave.
    pub(super) caller: Arc<str>,
    /// Whether the caller has proven its name.
    pub(super) proven: bool,
    /// It has introduced itself: once is enough.
    pub(super) introduced: bool,
    /// The mark of the other side's name; 0 until it gave it.
    pub(super) mark: u32,
    /// The token to show to the other side, if one came while this stream is open.
    pub(super) token: u32,
    /// The buckets of the tables that are exchanged: bit n for bucket n.
    pub(super) buckets: u64,
    pub(super) received: usize,
    /// The table that was told lists this node.
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

    /// The name that a stream ping asks for; in pings of others, this node's own.
    pub(super) fn asked<'a>(&'a self, own: &'a Arc<str>) -> &'a Arc<str> {
        match &self.purpose {
            Purpose::Probe { target, .. } => target,
            Purpose::Ask(question, _) => question.name(own),
            _ => own,
        }
    }
}
