//! How a node stands in its cluster, and how its probes of each member go: for programs and people that watch over it.

use std::{fmt, str::FromStr, time::Duration};

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

/// How a node stands in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Standing {
    /// It contacts its seeds, and no other node was told of it yet.
    Starting,
    /// It is a member among others.
    Joined,
    /// It is live, and the only live member that it knows.
    Alone,
    /// Others do not reach it at the address that it advertises, or that is not an address of this host any more:
    /// [`Status::problems`] says which.
    Unreachable,
    /// It was declared failed more than once while it had trouble of its own (a stall, or several probes that failed while all
    /// relays were silent), and comes back once that is over (flap damping; the problem is that of Rapid, §7).
    Away,
    /// Another live node holds its name. This one watches on, and takes the name back once the other is silent.
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

/// One word: its name in lower case.
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
    /// A probe failed, and the relays that were asked said nothing either: datagrams of this node may get lost.
    Silence,
    /// It was held up, by a busy machine or a pause.
    Stall,
    /// Another member suspected it, or declared it failed.
    Accused,
}

/// That a node doubts its own health.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Doubt {
    /// Why.
    pub why: HealthDoubt,
    /// When it came about.
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

/// What [`Gossip::status`](crate::Gossip::status) says of a node, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// How it stands.
    pub standing: Standing,
    /// The live members that it knows; itself included, unless it leaves or has ended.
    pub live: usize,
    /// Awareness: 0 is well. Intervals and timeouts of its probes are this score plus 1 times as long as configured.
    pub health_score: u32,
    /// Why the score rose last, and when; `None` if it never did.
    pub doubt: Option<Doubt>,
    /// When a seed was reached last, one of the configuration or of a join.
    pub seeds_reached: Option<Time>,
    /// What hinders others from reaching it, or it from reaching others by datagram.
    pub problems: Vec<ReachProblem>,
    /// How the clocks of members compare with this node's. The datagrams of a node that has a key tell: `None` without one,
    /// before a member was heard for some seconds, and from [`Node::status`], which has no wall clock.
    pub clocks: Option<Clocks>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} live, health score {}", self.standing, self.live, self.health_score)?;
        if let Some(doubt) = self.doubt.as_ref().filter(|_| self.health_score > 0) {
            write!(f, " ({})", doubt.why)?;
        }
        self.problems.iter().try_for_each(|problem| write!(f, "; {problem}"))?;
        let clocks = self.clocks.as_ref().filter(|clocks| clocks.off > 0);
        clocks.map_or(Ok(()), |clocks| write!(f, "; {clocks}"))
    }
}

/// How the clocks of members compare with this node's, by the time of sending in their sealed datagrams: those that came from
/// a proven member within the last ten minutes. The time that a datagram was under way makes a clock seem behind by as much;
/// the shortest of five to ten seconds counts, so that a difference is wrong by some milliseconds. From members that are
/// heard from less often it is as old as what was heard last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Clocks {
    /// Members whose clocks were compared.
    pub compared: usize,
    /// Those whose clock differs by more than [`LIMIT_MS`](Self::LIMIT_MS).
    pub off: usize,
    /// By how many milliseconds the clock that differs most is ahead of this node's; negative if it is behind.
    pub largest_ms: i64,
    /// Which clock is wrong, if any.
    pub wrong: Option<WrongClock>,
}

impl Clocks {
    /// A clock that differs by more milliseconds is off: a sixth of the 30 seconds beyond which datagrams are dropped.
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
    /// This node's: at least two members, and more than half of all with this node, agree on how far it is off.
    #[non_exhaustive]
    Own {
        /// By how many milliseconds it is ahead of them; negative if it is behind.
        ahead_ms: i64,
    },
    /// Those of some members: this node and those that agree with it are more than half.
    Members,
    /// This node's or a member's: there are too few to tell, or too few agree.
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

/// One word: its name in lower case.
impl fmt::Display for WrongClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How this node's probes of a member go: see [`Gossip::probe_stats`](crate::Gossip::probe_stats).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProbeStats {
    /// The smoothed round-trip time of direct pings by datagram (SRTT of RFC 6298, §2); `None` before the first answer. It
    /// follows load, and suits timeouts; to compare members take [`Gossip::rtt`](crate::Gossip::rtt).
    pub round_trip: Option<Duration>,
    /// Its mean deviation (RTTVAR).
    pub deviation: Option<Duration>,
    /// When this node heard from it for certain the last time.
    pub heard: Option<Time>,
    /// Probes in a row that it did not answer; counted up to 255.
    pub missed: u32,
    /// Probes in a row that it answered by stream alone: datagrams do not get through.
    pub saved_by_stream: u32,
    /// By how many milliseconds its clock is ahead of this node's, as [`Clocks`] has it; negative if it is behind.
    pub clock_ahead_ms: Option<i64>,
}

impl Node {
    /// How this node stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let problems = self.reach.problems().chain(self.carrier.problem()).cloned().collect();
        Status {
            standing: self.standing(),
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

    /// How this node's probes of a member go; `None` for itself and for names that are not listed.
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
