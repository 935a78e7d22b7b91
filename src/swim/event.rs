//! The events and other outputs of a node, besides datagrams.

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
    /// A member joined: it is new, back after it left or failed, or restarted.
    #[non_exhaustive]
    Joined {
        /// The member as it is now.
        member: Member,
    },
    /// A live member's tags or address changed, or it refuted a suspicion.
    #[non_exhaustive]
    Updated {
        /// The member as it is now.
        member: Member,
        /// The member as it was before.
        previous: Member,
    },
    /// A live member does not answer and has some time to refute.
    #[non_exhaustive]
    Suspected {
        /// The member as it is now.
        member: Member,
    },
    /// A member left on purpose, or was [removed](crate::Gossip::remove) after it had failed; then [`Member::removed_by`]
    /// names the member that removed it.
    #[non_exhaustive]
    Left {
        /// The member as it is now.
        member: Member,
        /// From whom this node has it: the member, another one that had heard of it, or this node, if it leaves or has
        /// removed the member.
        origin: Origin,
    },
    /// A member did not refute in time, or was replaced by a later life of itself.
    #[non_exhaustive]
    Failed {
        /// The member as it is now.
        member: Member,
        /// The evidence: which members accused it, and how long it had to refute.
        verdict: Verdict,
    },
    /// A departed member is no longer listed, after its time or because it was removed; or, in a full table, a member that
    /// never answered.
    #[non_exhaustive]
    Reaped {
        /// The member as it was last.
        member: Member,
    },
    /// Another live process announces this node's name. `member` is this node.
    #[non_exhaustive]
    Conflict {
        /// This node.
        member: Member,
        /// The address of the other process.
        other: SocketAddr,
    },
    /// Others cannot reach this node as they should. Reported once for each problem while it lasts; the problem
    /// [datagrams](ReachProblem::Datagrams) at most once in 60 probe intervals, and again when the members that they do not
    /// reach are others.
    #[non_exhaustive]
    ReachabilityLost {
        /// The problem; its text says what to do.
        problem: ReachProblem,
    },
    /// A [`ReachabilityLost`](Self::ReachabilityLost) is over.
    #[non_exhaustive]
    ReachabilityRestored {
        /// The problem that is over.
        problem: ReachProblem,
    },
    /// The reader of the events was too slow, and must read the members again.
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

/// The result of a join: how many addresses were reached so far, at least one unless this node is its only seed.
pub type JoinResult = Result<usize, JoinProblem>;

/// What the driver must do or pass on, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Pass the event on to its subscribers.
    Event(Event),
    /// Open a stream: call [`Node::stream_began`](super::Node::stream_began) when the work begins, then follow
    /// [`Node::poll_stream`](super::Node::poll_stream), and give up `timeout` later. A stream whose work cannot begin, not
    /// even within `timeout`, fails as [`StreamFailure::NotTried`](super::StreamFailure::NotTried). The node may give it up
    /// sooner ([`Node::is_open`](super::Node::is_open)).
    #[non_exhaustive]
    OpenStream {
        /// Its identifier in all calls about it.
        stream: StreamId,
        /// The address to connect to.
        addr: SocketAddr,
        /// The time for the whole stream, from its beginning.
        timeout: Duration,
        /// Its kind, which decides what it must not wait for.
        kind: StreamKind,
    },
    /// Resolve the seeds again and call [`Node::handle_seeds`](super::Node::handle_seeds).
    ResolveSeeds,
    /// A [`Node::join`](super::Node::join) ended.
    #[non_exhaustive]
    JoinDone {
        /// The driver's identifier of the join.
        ticket: u64,
        /// Its result.
        result: JoinResult,
    },
    /// A round of contacting the seeds ended; another always follows later.
    #[non_exhaustive]
    SeedsTried {
        /// Its result.
        result: JoinResult,
    },
    /// An attempt to [rejoin](super::Node::rejoin) ended; another follows later if it failed.
    #[non_exhaustive]
    RejoinTried {
        /// Its result.
        result: JoinResult,
    },
    /// The leave is over.
    #[non_exhaustive]
    LeaveDone {
        /// Whether a member accepted the leave, or there was none to tell. If false, others may declare this node failed.
        confirmed: bool,
    },
}
