//! What becomes of an ask: on the wire, and as its caller is told.

use std::{sync::Arc, time::Duration};

use crate::swim::Life;

/// What a member says of an [`Ask`](crate::wire::data::Ask).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The message is in a mailbox.
    Taken,
    /// The payload is the answer to the request.
    Answered,
    /// Nobody reads the topic.
    NoReader,
    /// There is no room for it.
    Busy,
    /// It is too long.
    TooLarge,
    /// The application refuses it. The payload says why.
    Refused,
    /// The application dropped the request.
    Dropped,
    /// The request waits for the application: ask later.
    Pending,
    /// The answer is too long for a datagram: open a stream.
    Fetch,
    /// It is for another life of the member.
    AnotherLife,
    /// It was taken in perhaps, but what became of it is remembered no longer.
    Forgotten,
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
        Self::Forgotten,
    ];

    pub(super) fn number(self) -> u8 {
        self as u8
    }

    /// One that is not known says nothing for certain.
    pub(super) fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Forgotten)
    }
}

/// A status and what comes with it.
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

/// What became of an ask, for its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The message is in the member's mailbox, once.
    Taken,
    /// The answer to a request.
    Answered(Arc<[u8]>),
    NoReader,
    Busy,
    TooLarge,
    /// With the reason.
    Refused(String),
    /// The member's application dropped the request unanswered.
    Dropped,
    /// No answer in time.
    Silent {
        sent: bool,
    },
    /// The member failed, or was restarted.
    Died {
        sent: bool,
    },
    Left {
        sent: bool,
    },
}

/// An ask that is over.
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
        assert_eq!(Status::of(11), Status::Forgotten);
    }
}
