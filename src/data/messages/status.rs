//! The outcome of an ask: on the wire, and for its caller.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{error::EndedBy, swim::Life};

/// A member's answer to an [`Ask`](crate::wire::data::Ask).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The message is in a mailbox.
    Taken,
    /// The payload is the answer to the request.
    Answered,
    /// The topic has no reader.
    NoReader,
    /// The member has no room for it.
    Busy,
    /// The ask is too long.
    TooLarge,
    /// The application refused. The payload is the reason.
    Refused,
    /// The application dropped the request.
    Dropped,
    /// The request waits for the application: poll later.
    Pending,
    /// The answer is too long for a datagram: open a stream.
    Fetch,
    /// The ask was for another life of the member.
    AnotherLife,
    /// The ask may have been taken in, but its outcome is forgotten.
    Expired,
}

impl Status {
    const ALL: [Self; 11] = [
        Self::Taken,
        Self::Answered,
        Self::NoReader,
        Self::Busy,
        Self::TooLarge,
        Self::Refused,
        Self::Dropped,
        Self::Pending,
        Self::Fetch,
        Self::AnotherLife,
        Self::Expired,
    ];

    pub(super) fn number(self) -> u8 {
        self as u8
    }

    /// An unknown status says nothing for certain.
    pub(super) fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Expired)
    }
}

/// A status and its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: Status,
    pub(super) payload: Arc<[u8]>,
}

impl From<Status> for Answer {
    fn from(status: Status) -> Self {
        Self { status, payload: Arc::default() }
    }
}

/// Why a member did not answer a [query](crate::Gossip::query).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QueryProblem {
    /// Its application refused.
    #[non_exhaustive]
    Refused {
        /// The application's reason.
        reason: String,
    },
    /// Its application dropped the request unanswered, or never saw it because that member took this node for departed.
    Dropped,
    /// The member has no reader for the topic.
    NoReader,
    /// Too many requests wait at the member.
    Busy,
    /// The request is too long for it.
    TooLarge,
    /// As far as this node can tell, no packet of the request reached the member.
    #[non_exhaustive]
    NotReached {
        /// Why the wait ended.
        ended_by: EndedBy,
    },
    /// It was asked, and no answer arrived. **It may have acted.**
    #[non_exhaustive]
    Silent {
        /// Why the wait ended.
        ended_by: EndedBy,
    },
}

impl QueryProblem {
    /// Whether the member may have acted. If not, it may safely be asked again.
    #[must_use]
    pub fn may_have_acted(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Dropped | Self::Silent { .. })
    }

    pub(crate) fn new(sent: bool, ended_by: EndedBy) -> Self {
        if sent { Self::Silent { ended_by } } else { Self::NotReached { ended_by } }
    }
}

impl fmt::Display for QueryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { reason } => write!(f, "refused: {}", crate::text::Escaped(reason)),
            Self::Dropped => f.write_str("dropped the request unanswered"),
            Self::NoReader => f.write_str("nobody there serves the topic"),
            Self::Busy => f.write_str("too many requests wait there"),
            Self::TooLarge => f.write_str("too long"),
            Self::NotReached { ended_by } => write!(f, "not reached, {ended_by}"),
            Self::Silent { ended_by } => write!(f, "no answer, {ended_by}"),
        }
    }
}

impl std::error::Error for QueryProblem {}

/// The outcome of an ask, for its caller. A message has an empty answer.
pub(crate) type Outcome = Result<Arc<[u8]>, QueryProblem>;

/// An ask that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) to: Life,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_number_and_an_unknown_one_says_nothing_for_certain() {
        for (number, status) in (0..).zip(Status::ALL) {
            assert_eq!((status.number(), Status::of(number)), (number, status));
        }
        assert_eq!(Status::of(11), Status::Expired);
    }
}
