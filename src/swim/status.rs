//! The standing of a node, and its probes of each member, for programs and people that monitor it.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Time,
    member::{MemberId, MemberState},
    node::Node,
    phase::Phase,
    reach::ReachProblem,
    round_trip::Rtt,
};
use crate::{Error, text::Quoted};

/// The standing of a node in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Standing {
    /// It contacts its seeds, and no other node knows it yet.
    Starting,
    /// It is a member among others.
    Joined,
    /// It is live, and knows no other live member.
    Alone,
    /// Others do not reach it at its advertised address, or that is no longer an address of this host: [`Status::problems`]
    /// says which.
    Unreachable,
    /// It was declared failed more than once while it had trouble of its own (a stall, or several probes that failed while
    /// all relays were silent), and refutes once that is over (flap damping; the problem is that of Rapid, §7).
    Away,
    /// Another live node holds its name. This one only watches, and takes the name back once the other is silent.
    Displaced,
    /// It is leaving, or has left.
    Leaving,
    /// Its threads have ended.
    Ended,
}

impl Standing {
    const ALL: [Self; 8] = [
        Self::Starting,
        Self::Joined,
        Self::Alone,
        Self::Unreachable,
        Self::Away,
        Self::Displaced,
        Self::Leaving,
        Self::Ended,
    ];

    const fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Joined => "joined",
            Self::Alone => "alone",
            Self::Unreachable => "unreachable",
            Self::Away => "away",
            Self::Displaced => "displaced",
            Self::Leaving => "leaving",
            Self::Ended => "ended",
        }
    }
}

/// As one word: its name in lower case.
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// From its text.
impl FromStr for Standing {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::Invalid`] if the text is not one of these words.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == text).ok_or_else(|| {
            let all = Self::ALL.map(|standing| standing.as_str()).join(", ");
            Error::invalid("standing", format!("is {}; it must be one of {all}", Quoted(text)))
        })
    }
}

/// Why a node doubts its own health (Lifeguard's awareness, §IV-A).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthDoubt {
    /// A probe failed, and the relays that were asked sent no nack either: this node's datagrams may be lost.
    Silence,
    /// It was stalled, by a busy machine or a pause.
    Stall,
    /// Another member suspected it, or declared it failed.
    Accused,
}

/// A node's doubt of its own health.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Doubt {
    /// The reason.
    pub why: HealthDoubt,
    /// The time when it arose.
    pub at: Time,
}

impl fmt::Display for HealthDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silence => "a probe failed and its relays were silent",
            Self::Stall => "it was held up",
            Self::Accused => "another member accused it",
        })
    }
}

/// The status of a node at one moment, from [`Gossip::status`](crate::Gossip::status).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Its standing.
    pub standing: Standing,
    /// The number of live members that it knows, itself included, unless it leaves or has ended. A displaced node counts
    /// itself in place of the holder of its name.
    pub live: usize,
    /// Awareness: 0 is the best. Intervals and timeouts of its probes are this score plus 1 times as long as configured.
    pub health_score: u32,
    /// The reason and time of the last rise of the score; `None` if it never rose.
    pub doubt: Option<Doubt>,
    /// When a seed of the configuration or of a join was last reached.
    pub seeds_reached: Option<Time>,
    /// The address of the live node that holds this one's name, while this one is displaced.
    pub holder: Option<SocketAddr>,
    /// What keeps others from reaching it, or it from reaching others by datagram.
    pub problems: Vec<ReachProblem>,
    /// The comparison of members' clocks with this node's, from sealed datagrams: `None` without a key, before datagrams of
    /// a member have arrived for some seconds, and from [`Node::status`], which has no wall clock.
    pub clocks: Option<Clocks>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.standing)?;
        if let Some(holder) = self.holder {
            write!(f, " by a node at {holder}")?;
        }
        write!(f, ", {} live, health score {}", self.live, self.health_score)?;
        if let Some(doubt) = self.doubt.as_ref().filter(|_| self.health_score > 0) {
            write!(f, " ({})", doubt.why)?;
        }
        self.problems.iter().try_for_each(|problem| write!(f, "; {problem}"))?;
        let clocks = self.clocks.as_ref().filter(|clocks| clocks.off > 0);
        clocks.map_or(Ok(()), |clocks| write!(f, "; {clocks}"))
    }
}

/// The comparison of members' clocks with this node's, by the time of sending in their sealed datagrams: those that arrived
/// from a proven member within the last ten minutes. The time that a datagram was under way makes a clock seem behind by as
/// much; the shortest such time in five to ten seconds counts, so a difference is wrong by some milliseconds. For members
/// that send less often, it is as old as their last datagram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Clocks {
    /// The number of members whose clocks were compared.
    pub compared: usize,
    /// The number of those whose clock differs by more than [`LIMIT_MS`](Self::LIMIT_MS).
    pub off: usize,
    /// How many milliseconds the clock with the largest difference is ahead of this node's; negative if it is behind.
    pub largest_ms: i64,
    /// Which clock is wrong, if any.
    pub wrong: Option<WrongClock>,
}

impl Clocks {
    /// A clock that differs by more milliseconds counts as off: a sixth of the 30 seconds beyond which datagrams are
    /// dropped.
    pub const LIMIT_MS: u64 = 5_000;
}

impl fmt::Display for Clocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        if let Some(WrongClock::Own { ahead_ms }) = self.wrong {
            return write!(f, "clock {:+.1} s from most members'", seconds(ahead_ms));
        }
        let (off, compared, largest) = (self.off, self.compared, seconds(self.largest_ms));
        write!(f, "clocks of {off} of {compared} members off, at most {largest:+.1} s")
    }
}

/// Which clock is wrong, as far as a comparison with several can tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WrongClock {
    /// This node's: at least two members, and more than half of all including this node, agree on its difference.
    #[non_exhaustive]
    Own {
        /// How many milliseconds it is ahead of theirs; negative if it is behind.
        ahead_ms: i64,
    },
    /// Those of some members: this node and the members that agree with it are more than half.
    Members,
    /// It may be this node's or a member's: there are too few members to tell, or too few agree.
    Unclear,
}

impl WrongClock {
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Own { .. } => "own",
            Self::Members => "members",
            Self::Unclear => "unclear",
        }
    }
}

/// As one word: its name in lower case.
impl fmt::Display for WrongClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// This node's recent probes of a member: see [`Gossip::probe_stats`](crate::Gossip::probe_stats).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProbeStats {
    /// The smoothed round-trip time of direct pings by datagram (SRTT of RFC 6298, §2); `None` before the first answer. It
    /// includes the effect of load, and suits timeouts; [`Gossip::rtt`](crate::Gossip::rtt) is better to compare members.
    pub round_trip: Option<Duration>,
    /// Its mean deviation (RTTVAR).
    pub deviation: Option<Duration>,
    /// When this node last heard from it for certain.
    pub heard: Option<Time>,
    /// Probes in a row that it did not answer; counted up to 255.
    pub missed: u32,
    /// Probes in a row that it answered by stream alone: datagrams do not get through.
    pub saved_by_stream: u32,
    /// How many milliseconds its clock is ahead of this node's, as in [`Clocks`]; negative if it is behind.
    pub clock_ahead_ms: Option<i64>,
}

impl Node {
    /// The status of this node.
    #[must_use]
    pub fn status(&self) -> Status {
        let problems = self.reach.problems().chain(self.carrier.problem()).cloned().collect();
        let standing = self.standing();
        Status {
            holder: self.conflict.holder().filter(|_| standing == Standing::Displaced),
            standing,
            live: self.table.listed(MemberState::Alive) + self.table.listed(MemberState::Suspect),
            health_score: self.health.score(),
            doubt: self.health.doubt().cloned(),
            seeds_reached: self.joins.reached,
            problems,
            clocks: None,
        }
    }

    fn standing(&self) -> Standing {
        match self.phase {
            Phase::Starting => Standing::Starting,
            Phase::Displaced => Standing::Displaced,
            Phase::Leaving | Phase::Left => Standing::Leaving,
            Phase::Live if !self.takes_part() => Standing::Away,
            Phase::Live if self.reach.problems().next().is_some() => Standing::Unreachable,
            Phase::Live if self.live() <= 1 => Standing::Alone,
            Phase::Live => Standing::Joined,
        }
    }

    /// This node's recent probes of a member; `None` for this node itself and for names that are not listed.
    #[must_use]
    pub fn probe_stats(&self, name: &str) -> Option<ProbeStats> {
        let id = self.table.find(name).filter(|id| *id != MemberId::SELF)?;
        let record = self.table.get(id);
        let (contact, saved_by_stream) = (record.contact, self.carrier.saved(name));
        (!record.tombstone).then(|| ProbeStats {
            round_trip: contact.round_trip.smoothed(),
            deviation: contact.round_trip.deviation(),
            heard: contact.heard(),
            missed: contact.missed(),
            saved_by_stream,
            clock_ahead_ms: None,
        })
    }

    /// The round-trip time to a listed member; `None` before this node has measured it at its present address.
    #[must_use]
    pub fn rtt(&self, now: Time, name: &str) -> Option<Rtt> {
        let id = self.table.find_listed(name).filter(|id| *id != MemberId::SELF)?;
        self.table.get(id).contact.round_trip.rtt(self.now.max(now))
    }
}
