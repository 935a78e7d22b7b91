//! What a node tells its driver, besides datagrams.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    member::{Member, MemberState},
    reach::ReachProblem,
    stream::{StreamId, StreamKind},
    time::Time,
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
        by: Origin,
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
    /// [datagrams](ReachProblem::Datagrams) again, at most once in 60 probe intervals, when they no longer reach more
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
    /// The reader of the events was too slow: read the members anew.
    #[non_exhaustive]
    Lagged {
        /// How many events were dropped.
        count: u64,
    },
}

/// From whom a node knows what it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Origin {
    /// This node itself: the suspicion that it held was not refuted in time, or it is the one that leaves, or that removed
    /// the member.
    Own,
    /// The member whom it is about.
    Member,
    /// Another member.
    Others,
    /// A later life of the same name, which announced itself.
    Successor,
}

/// The evidence for a failure, as this node saw it (SWIM §4.2, Lifeguard §IV-B).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Whose verdict it is: this node's own, or one that it was told.
    pub origin: Origin,
    /// The members that accused it, in the order in which this node heard of them; itself among them if its own probe
    /// failed. Empty if this node heard of no suspicion before the verdict.
    pub accusers: Vec<Accuser>,
    /// When this node first heard of the suspicion.
    pub suspected: Option<Time>,
    /// How long the member had from then on to refute, until the verdict fell or was heard of.
    pub waited: Duration,
}

/// A member whose own probe of another one failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Accuser {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it is this node itself.
    pub is_own: bool,
}

impl Accuser {
    pub(crate) fn of(name: &Arc<str>, own: &str) -> Self {
        Self { name: Arc::clone(name), is_own: **name == *own }
    }
}

/// Its name, or `this node`.
impl fmt::Display for Accuser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_own { f.write_str("this node") } else { Escaped(&self.name).fmt(f) }
    }
}

impl AsRef<str> for Accuser {
    fn as_ref(&self) -> &str {
        &self.name
    }
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
                write!(f, "{count} events were lost: call `follow` to read the members anew")
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.origin {
            Origin::Own => "it did not refute in time",
            Origin::Successor => "it has restarted",
            Origin::Member | Origin::Others => "another member said so",
        })?;
        if let [first, rest @ ..] = &self.accusers[..] {
            write!(f, "; accused by {first}")?;
            rest.iter().try_for_each(|accuser| write!(f, ", {accuser}"))?;
            write!(f, " {:.1} s before", self.waited.as_secs_f64())?;
        }
        Ok(())
    }
}

/// How a join ended: how many addresses were reached so far, at least one unless this node is its only seed.
pub type JoinResult = Result<usize, JoinProblem>;

/// What the driver must do or pass on, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Output {
    /// Pass the event on to whoever listens.
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
    /// Resolve the seeds anew and call [`Node::handle_seeds`](super::Node::handle_seeds).
    ResolveSeeds,
    /// A [`Node::join`](super::Node::join) ended; its ticket comes back.
    JoinDone(u64, JoinResult),
    /// A round of contacting the seeds ended; another follows later in any case.
    SeedsTried(JoinResult),
    /// A try to [rejoin](super::Node::rejoin) ended; another follows later if it failed.
    RejoinTried(JoinResult),
    /// The leave is over.
    #[non_exhaustive]
    LeaveDone {
        /// Whether a member has believed it, or there was none to tell. Else others may take this node for failed.
        confirmed: bool,
    },
}
