//! What a node tells its driver, besides datagrams.

use std::{fmt, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    member::{Member, MemberState},
    reach::ReachProblem,
    stream::{StreamId, StreamKind},
    verdict::{Origin, Verdict},
};
use crate::{JoinProblem, text::Escaped};

/// A change in the cluster, with the member as it is after the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A member is there that was not: new, back after it left or failed, or restarted.
    #[non_exhaustive]
    Joined {
        /// As it is now.
        member: Member,
    },
    /// A live member's tags or address changed, or it refuted a suspicion.
    #[non_exhaustive]
    Updated {
        /// As it is now.
        member: Member,
        /// As it was before.
        previous: Member,
    },
    /// A live member does not answer and has some time to refute.
    #[non_exhaustive]
    Suspected {
        /// As it is now.
        member: Member,
    },
    /// A member left on purpose, or was [removed](crate::Gossip::remove) after it had failed; of one that was removed,
    /// [`Member::removed_by`] says by whom.
    #[non_exhaustive]
    Left {
        /// As it is now.
        member: Member,
        /// Who said so: the member, another one that had heard of it, or this node, if it leaves or has removed the member.
        origin: Origin,
    },
    /// A member did not refute in time, or was replaced by a later life of itself.
    #[non_exhaustive]
    Failed {
        /// As it is now.
        member: Member,
        /// Who accused it, and how long it had to refute.
        verdict: Verdict,
    },
    /// A departed member is listed no longer, after its time or because it was removed; or, in a full table, one that never
    /// answered.
    #[non_exhaustive]
    Reaped {
        /// As it was last.
        member: Member,
    },
    /// Another live process announces this node's name. `member` is this node.
    #[non_exhaustive]
    Conflict {
        /// This node.
        member: Member,
        /// Where the other one is.
        other: SocketAddr,
    },
    /// Others cannot reach this node as they should. Once for each problem while it lasts; of
    /// [datagrams](ReachProblem::Datagrams) at most once in 60 probe intervals, and again when they no longer reach more
    /// members.
    #[non_exhaustive]
    ReachabilityLost {
        /// What is wrong; its text says what to do.
        problem: ReachProblem,
    },
    /// A [`ReachabilityLost`](Self::ReachabilityLost) is over.
    #[non_exhaustive]
    ReachabilityRestored {
        /// What was wrong.
        problem: ReachProblem,
    },
    /// The reader of the events was too slow: read the members again.
    #[non_exhaustive]
    Lagged {
        /// How many events were dropped.
        count: u64,
    },
}

impl Event {
    /// Whether a member refuted a suspicion.
    pub(crate) fn is_refutation(&self) -> bool {
        let Self::Updated { member, previous } = self else { return false };
        (previous.state, member.state) == (MemberState::Suspect, MemberState::Alive)
    }

    /// The member it is about, if it is about one.
    #[must_use]
    pub fn member(&self) -> Option<&Member> {
        match self {
            Self::Joined { member }
            | Self::Updated { member, .. }
            | Self::Suspected { member }
            | Self::Left { member, .. }
            | Self::Failed { member, .. }
            | Self::Reaped { member }
            | Self::Conflict { member, .. } => Some(member),
            Self::ReachabilityLost { .. } | Self::ReachabilityRestored { .. } | Self::Lagged { .. } => None,
        }
    }
}

/// One line, for a log.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { member } => write!(f, "joined: {member}"),
            Self::Updated { member, .. } => write!(f, "updated: {member}"),
            Self::Suspected { member } => write!(f, "suspected: {member} does not answer"),
            Self::Left { member: member @ Member { removed_by: Some(remover), .. }, .. } => {
                write!(f, "removed: {member}, by {}", Escaped(remover))
            }
            Self::Left { member, .. } => write!(f, "left: {member}"),
            Self::Failed { member, verdict } => write!(f, "failed: {member}: {verdict}"),
            Self::Reaped { member } => write!(f, "reaped: {member}"),
            Self::Conflict { member, other } => {
                write!(f, "conflict: another process at {other} has this node's name {}", member.name)
            }
            Self::ReachabilityLost { problem } => write!(f, "reachability lost: {problem}"),
            Self::ReachabilityRestored { problem } => write!(f, "reachability restored; it was: {problem}"),
            Self::Lagged { count } => {
                write!(f, "{count} events were lost: call `follow` to read the members again")
            }
        }
    }
}

/// How a join ended: how many addresses were reached so far, at least one unless this node is its only seed.
pub type JoinResult = Result<usize, JoinProblem>;

/// What the driver must do or pass on, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Pass the event on to its subscribers.
    Event(Event),
    /// Open a stream: call [`Node::stream_began`](super::Node::stream_began) when the work begins, then follow
    /// [`Node::poll_stream`](super::Node::poll_stream), and give up `timeout` later. What cannot begin, not even within
    /// `timeout`, fails as [`StreamFailure::NotTried`](super::StreamFailure::NotTried). The node may give it up sooner
    /// ([`Node::is_open`](super::Node::is_open)).
    #[non_exhaustive]
    OpenStream {
        /// Its name in all calls about it.
        stream: StreamId,
        /// Whereto.
        addr: SocketAddr,
        /// For the whole stream, from its beginning.
        timeout: Duration,
        /// What must not wait for what.
        kind: StreamKind,
    },
    /// Resolve the seeds again and call [`Node::handle_seeds`](super::Node::handle_seeds).
    ResolveSeeds,
    /// A [`Node::join`](super::Node::join) ended.
    #[non_exhaustive]
    JoinDone {
        /// The driver's name for it.
        ticket: u64,
        /// How it ended.
        result: JoinResult,
    },
    /// A round of contacting the seeds ended; another follows later in any case.
    #[non_exhaustive]
    SeedsTried {
        /// How it ended.
        result: JoinResult,
    },
    /// A try to [rejoin](super::Node::rejoin) ended; another follows later if it failed.
    #[non_exhaustive]
    RejoinTried {
        /// How it ended.
        result: JoinResult,
    },
    /// The leave is over.
    #[non_exhaustive]
    LeaveDone {
        /// Whether a member believed the leave, or there was none to tell. If false, others may take this node for failed.
        confirmed: bool,
    },
}
