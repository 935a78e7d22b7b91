//! The observations by which a node explains a member's state: probes, accusations, refutations, and its own trouble. The
//! memory is allocated once; the oldest makes room.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Time,
    member::{Member, MemberId, MemberState},
    node::Node,
    status::{ProbeStats, Status},
    verdict::{Accuser, Origin},
};
use crate::{
    text::{Brief, Escaped},
    wire::hash,
};

/// A node's observation of a member, or of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Observation {
    /// It became a member, came back, or was restarted.
    Joined,
    /// The last sign of life before a probe was not answered.
    #[non_exhaustive]
    Heard {
        /// Its smoothed round-trip time then.
        round_trip: Option<Duration>,
    },
    /// It did not answer a probe: neither directly, nor through relays, nor by stream.
    #[non_exhaustive]
    Missed {
        /// The number of relays that were asked.
        relays: usize,
        /// The number of relays that reported in time that it does not answer them either.
        nacks: usize,
        /// This node's awareness then; 0 is the best.
        health_score: u32,
    },
    /// A probe was not answered, but this node was stalled meanwhile, so the probe does not count.
    Discarded,
    /// It is suspected from now on.
    Suspected,
    /// A member accuses it, or this node, because its own probe failed.
    #[non_exhaustive]
    Accused {
        /// The accuser.
        by: Accuser,
    },
    /// It refuted a suspicion.
    #[non_exhaustive]
    Refuted {
        /// The incarnation of the refutation.
        incarnation: u64,
    },
    /// It left.
    #[non_exhaustive]
    Left {
        /// From whom this node has it.
        origin: Origin,
        /// The member that removed it, if it was removed.
        removed_by: Option<Arc<str>>,
    },
    /// It was declared failed.
    #[non_exhaustive]
    Failed {
        /// From whom this node has it.
        origin: Origin,
    },
    /// This node was stalled.
    #[non_exhaustive]
    Stalled {
        /// For how long.
        pause: Duration,
    },
    /// This node refuted an accusation against itself.
    SelfRefuted,
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined => write!(f, "joined"),
            Self::Heard { round_trip: Some(time) } => {
                write!(f, "heard from last; round trip then: {time:.1?}")
            }
            Self::Heard { round_trip: None } => write!(f, "heard from last"),
            Self::Missed { relays, nacks, health_score } => write!(
                f,
                "did not answer a probe; relays asked: {relays}, of which {nacks} had no answer either; \
                 health score of this node: {health_score}"
            ),
            Self::Discarded => {
                write!(f, "did not answer a probe, which does not count: this node was held up")
            }
            Self::Suspected => write!(f, "suspected"),
            Self::Accused { by } => write!(f, "accused by {by}"),
            Self::Refuted { incarnation } => write!(f, "refuted the suspicion by incarnation {incarnation}"),
            Self::Left { origin: Origin::Own, removed_by: Some(_) } => write!(f, "removed, by this node"),
            Self::Left { origin, removed_by: Some(remover) } => {
                write!(f, "removed by {}, {}", Escaped(remover), said_by(*origin))
            }
            Self::Left { origin, removed_by: None } => write!(f, "left, {}", said_by(*origin)),
            Self::Failed { origin } => write!(f, "declared failed, {}", said_by(*origin)),
            Self::Stalled { pause } => write!(f, "(this node was held up for {pause:.1?})"),
            Self::SelfRefuted => write!(f, "(this node was accused itself, and refuted)"),
        }
    }
}

fn said_by(origin: Origin) -> &'static str {
    match origin {
        Origin::Own => "by this node",
        Origin::Member => "as it said itself",
        Origin::Others => "as another member said",
        Origin::Successor => "as a later life of its name is there",
    }
}

/// Why a member has its state, as far as this node remembers: see [`Gossip::explain`](crate::Gossip::explain).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The time of the question.
    pub at: Time,
    /// The member's name, as it was asked for.
    pub name: Arc<str>,
    /// The member, if it is listed.
    pub member: Option<Member>,
    /// This node's recent probes of it.
    pub probes: Option<ProbeStats>,
    /// The status of this node itself.
    pub status: Status,
    /// This node's observations of it, and of itself meanwhile, the oldest first.
    pub observations: Vec<Observed>,
    /// The time of the last observation, of any member, that had to make room: all later ones are remembered. `None` if none
    /// had to. What this node observed of a member before that first answered does not count: it is forgotten sooner.
    pub remembers_since: Option<Time>,
}

/// An observation, with its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Observed {
    /// The time.
    pub at: Time,
    /// The observation.
    pub what: Observation,
}

/// Several lines, for people: the state, then one line for each observation with its age.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ago = |at: Time| self.at.since(at).as_secs_f64();
        let name = Brief(&self.name);
        match &self.member {
            Some(member) => write!(f, "{name}: {} for {:.1} s", member.state, ago(member.since))?,
            None => write!(f, "{name}: not listed")?,
        }
        if let Some(probes) = &self.probes {
            if let (Some(round_trip), Some(deviation)) = (probes.round_trip, probes.deviation) {
                write!(f, "; round trip {round_trip:.1?} ± {deviation:.1?}")?;
            }
            if let Some(heard) = probes.heard {
                write!(f, "; heard {:.1} s ago", ago(heard))?;
            }
            if probes.missed > 0 {
                write!(f, "; unanswered probes in a row: {}", probes.missed)?;
            }
            if probes.saved_by_stream > 0 {
                write!(f, "; probes in a row answered by stream alone: {}", probes.saved_by_stream)?;
            }
            if let Some(ahead_ms) = probes.clock_ahead_ms {
                write!(f, "; clock {:+.3} s", ahead_ms as f64 / 1000.0)?;
            }
        }
        write!(f, "\nthis node: {}", self.status)?;
        if let Some(since) = self.remembers_since {
            write!(f, "\n(what was observed until {:.1} s ago may be forgotten)", ago(since))?;
        }
        if self.observations.is_empty() {
            let forgets = self.remembers_since.is_some();
            write!(f, "\nnothing {}", if forgets { "is remembered" } else { "was observed of it" })?;
        }
        self.observations
            .iter()
            .try_for_each(|Observed { at, what }| write!(f, "\n{:>9.1} s ago  {what}", ago(*at)))
    }
}

/// The observations of a node: of members that have answered and of itself; and a quarter of others, whose names an attacker
/// may have made up to push other observations out.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct History {
    of_met: Kept,
    of_others: Kept,
}

/// With the mark of the member.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    observed: VecDeque<(Time, u32, Observation)>,
    most: usize,
    /// The latest time of those that are kept no longer.
    forgotten: Option<Time>,
}

impl Kept {
    fn new(most: usize) -> Self {
        Self { observed: VecDeque::with_capacity(most), most, forgotten: None }
    }

    fn push(&mut self, now: Time, mark: u32, what: Observation) {
        if self.observed.len() == self.most {
            let oldest = self.observed.pop_front().map_or(now, |(at, ..)| at);
            self.forgotten = self.forgotten.max(Some(oldest));
        }
        if self.most > 0 {
            self.observed.push_back((now, mark, what));
        }
    }
}

impl History {
    pub(super) fn new(most: usize) -> Self {
        Self { of_met: Kept::new(most - most / 4), of_others: Kept::new(most / 4) }
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.of_met.observed.len() + self.of_others.observed.len()
    }
}

impl Node {
    pub(super) fn remember(&mut self, id: MemberId, what: Observation) {
        self.remember_at(id, self.now, what);
    }

    fn remember_at(&mut self, id: MemberId, at: Time, what: Observation) {
        let (is_met, mark) = (self.is_among_met(id), self.table.get(id).mark);
        let kept = if is_met { &mut self.history.of_met } else { &mut self.history.of_others };
        kept.push(at, mark, what);
    }

    fn is_among_met(&self, id: MemberId) -> bool {
        id == MemberId::SELF || !self.table.get(id).contact.may_be_made_up()
    }

    /// A member departed, as `by` said.
    pub(super) fn remember_departure(&mut self, id: MemberId, origin: Origin) {
        let record = self.table.get(id);
        let removed_by = record.removed.as_deref().map(|removed| Arc::clone(&removed.by));
        let what = match record.state {
            MemberState::Failed => Observation::Failed { origin },
            _ => Observation::Left { origin, removed_by },
        };
        self.remember(id, what);
    }

    /// A member misses a probe, or moves while it is silent. What it answered before is not remembered one by one: in an idle
    /// cluster that would soon push out all else.
    pub(super) fn remember_last_sign(&mut self, id: MemberId) {
        let record = self.table.get(id);
        if let (Some(heard), 0) = (record.contact.heard(), record.contact.missed()) {
            let round_trip = record.contact.round_trip.smoothed();
            self.remember_at(id, heard, Observation::Heard { round_trip });
        }
    }

    /// About a member that may be known no longer.
    pub(super) fn remember_named(&mut self, name: &str, what: Observation) {
        match self.table.find(name) {
            Some(id) => self.remember(id, what),
            None => self.history.of_others.push(self.now, hash::member(name), what),
        }
    }

    /// Explains a member's state. The explanation also shows the observations of names that share its hash.
    #[must_use]
    pub fn explain(&self, now: Time, name: &str) -> Explanation {
        let mark = hash::member(name);
        let about = |of: u32| of == mark || of == self.mark;
        let History { of_met, of_others } = &self.history;
        let all = of_others.observed.iter().chain(&of_met.observed);
        let mut kept: Vec<_> = all.filter(|(_, of, _)| about(*of)).collect();
        kept.sort_by_key(|(at, ..)| *at);
        // For this node itself, from the first observation on that concerns the member.
        let kept = kept.into_iter().skip_while(|(_, of, _)| *of != mark);
        let observations = kept.map(|(at, _, what)| Observed { at: *at, what: what.clone() }).collect();
        let is_met = self.table.find(name).is_some_and(|id| self.is_among_met(id));
        let of_others = of_others.forgotten.filter(|_| !is_met);
        Explanation {
            at: self.now.max(now),
            name: Arc::from(name),
            member: self.member(name),
            probes: self.probe_stats(name),
            status: self.status(),
            observations,
            remembers_since: of_met.forgotten.max(of_others),
        }
    }
}
