//! The log lines about members and about the node itself: decides which line is due, from the events of the core and its
//! vitals.
//!
//! The clock thread owns the journal, so it needs no lock. The journal decides, and leaves the writing to a [`Sink`].

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{directory::Directory, pace::Pace};
use crate::{
    log_line::{Field, Names, Seconds, Sink, Throttle, Topic},
    swim::{Event, Member, MemberState, Origin, ReachProblem, Time, Verdict, Vitals},
};

/// The awareness at and above which the node's own health is bad: its probes take four times as long as with a score of 0.
pub(super) const BAD_SCORE: u32 = 3;
/// For how many probe intervals the node's health must be bad before it is logged.
pub(super) const BAD_INTERVALS: u32 = 10;

#[derive(Debug)]
pub(super) struct Journal {
    /// This node's name.
    node: Arc<str>,
    pace: Pace,
    throttle: Throttle,
    seen: Vitals,
    health: HealthWatch,
}

impl Journal {
    pub(super) fn new(node: &str, probe_interval: Duration) -> Self {
        Self {
            node: node.into(),
            pace: Pace::default(),
            throttle: Throttle::default(),
            seen: Vitals::default(),
            health: HealthWatch {
                patience: probe_interval.saturating_mul(BAD_INTERVALS),
                ..Default::default()
            },
        }
    }

    /// Logs an event. The event is not in `directory` yet, which shows the member before it.
    pub(super) fn event(&mut self, now: Time, event: &Event, directory: &Directory, sink: &mut impl Sink) {
        if topic_of(event).is_some_and(|topic| sink.is_on(topic)) {
            let joined = if let Event::Joined { member } = event { Some(&member.name) } else { None };
            let before = joined.and_then(|name| directory.named(name));
            self.pace.tick(now, &self.node, sink);
            self.write(now, event, before.as_ref(), sink);
        }
    }

    /// Logs changes of the node itself, and lines that are due for earlier events.
    pub(super) fn look(&mut self, now: Time, vitals: Vitals, sink: &mut impl Sink) {
        self.pace.tick(now, &self.node, sink);
        let before = std::mem::replace(&mut self.seen, vitals);
        let node: &str = &self.node;
        if vitals.refutations > before.refutations {
            let count = vitals.refutations - before.refutations;
            let incarnation = vitals.incarnation;
            let fields: [Field<'_>; 3] = [("count", &count), ("incarnation", &incarnation), ("node", &node)];
            self.limited(now, Topic::SelfRefuted, &fields, sink);
        }
        if vitals.stalls > before.stalls {
            let (lasted, score) = (Seconds(vitals.last_stall), vitals.health_score);
            let fields: [Field<'_>; 3] = [("lasted", &lasted), ("score", &score), ("node", &node)];
            self.limited(now, Topic::NodeStalled, &fields, sink);
        }
        if vitals.flaps_damped > before.flaps_damped {
            let hint = "failed again while its own probes fail; it comes back once it is well";
            self.limited(now, Topic::NodeAway, &[("hint", &hint), ("node", &node)], sink);
        }
        self.health.look(now, vitals.health_score, node, sink);
    }

    /// Writes the lines that were to be written later, since the node ends.
    pub(super) fn finish(&mut self, now: Time, sink: &mut impl Sink) {
        self.pace.finish(now, &self.node, sink);
    }

    fn write(&mut self, now: Time, event: &Event, before: Option<&Member>, sink: &mut impl Sink) {
        let node = Arc::clone(&self.node);
        let node: &str = &node;
        match event {
            Event::Joined { member } => self.joined(now, member, before, sink),
            Event::Updated { member, previous } if event.is_refutation() => {
                if self.pace.admit(now, Topic::MemberRefuted, &member.name) {
                    let (suspected, incarnation) =
                        (Seconds(member.since.since(previous.since)), member.identity.incarnation);
                    let fields: [Field<'_>; 2] = [("suspected", &suspected), ("incarnation", &incarnation)];
                    about(Topic::MemberRefuted, member, &fields, node, sink);
                }
            }
            Event::Updated { member, .. } => {
                let fields: [Field<'_>; 2] = [("tags", &member.tags), ("identity", &member.identity)];
                about(Topic::MemberUpdated, member, &fields, node, sink);
            }
            Event::Suspected { member } => about(Topic::MemberSuspected, member, &[], node, sink),
            Event::Reaped { member } => {
                about(Topic::MemberReaped, member, &[("state", &member.state)], node, sink);
            }
            Event::Left { member: member @ Member { removed_by: Some(remover), .. }, .. } => {
                if self.pace.admit(now, Topic::MemberRemoved, &member.name) {
                    about(Topic::MemberRemoved, member, &[("removed_by", remover)], node, sink);
                }
            }
            Event::Left { member, origin } => {
                if self.pace.admit(now, Topic::MemberLeft, &member.name) {
                    let by = if *origin == Origin::Others { "others" } else { "itself" };
                    about(Topic::MemberLeft, member, &[("said_by", &by)], node, sink);
                }
            }
            Event::Failed { member, verdict } => {
                if self.pace.admit(now, Topic::MemberFailed, &member.name) {
                    failed(member, verdict, node, sink);
                }
            }
            Event::Conflict { member, other } => {
                let fields: [Field<'_>; 4] =
                    [("name", &member.name), ("addr", &member.addr), ("other", other), ("node", &node)];
                self.limited(now, Topic::NameConflict, &fields, sink);
            }
            Event::ReachabilityLost { problem } => self.lost(now, problem, sink),
            Event::ReachabilityRestored { problem } => self.restored(problem, sink),
            Event::Lagged { .. } => {}
        }
    }

    fn joined(&mut self, now: Time, member: &Member, before: Option<&Member>, sink: &mut impl Sink) {
        let failed = before.filter(|before| before.state == MemberState::Failed);
        let topic = if failed.is_some() { Topic::MemberReturned } else { Topic::MemberJoined };
        if !self.pace.admit(now, topic, &member.name) {
            return;
        }
        match failed {
            Some(before) => {
                let failed_for = Seconds(member.since.since(before.since));
                let restarted = member.identity.epoch != before.identity.epoch;
                let fields: [Field<'_>; 2] = [("failed_for", &failed_for), ("restarted", &restarted)];
                about(topic, member, &fields, &self.node, sink);
            }
            None => about(topic, member, &[("tags", &member.tags)], &self.node, sink),
        }
    }

    fn lost(&self, now: Time, problem: &ReachProblem, sink: &mut impl Sink) {
        let (topic, node) = (lost_of(problem), &*self.node);
        match problem {
            ReachProblem::Datagrams { members, count } => {
                let hint = "only streams (TCP) get through; let UDP through, both ways";
                let members = Names(members);
                let fields: [Field<'_>; 4] =
                    [("count", count), ("members", &members), ("hint", &hint), ("node", &node)];
                self.limited(now, topic, &fields, sink);
            }
            ReachProblem::Unreachable { addr, observed } => {
                let hint = "check advertise, and that firewalls let UDP and TCP in";
                let seen = Observed(*observed);
                let fields: [Field<'_>; 4] =
                    [("addr", addr), ("observed", &seen), ("hint", &hint), ("node", &node)];
                self.limited(now, topic, &fields, sink);
            }
            ReachProblem::AddressGone { addr } => {
                let hint = "give it back to this host, or restart with another advertise";
                let fields: [Field<'_>; 3] = [("addr", addr), ("hint", &hint), ("node", &node)];
                self.limited(now, topic, &fields, sink);
            }
        }
    }

    fn restored(&self, problem: &ReachProblem, sink: &mut impl Sink) {
        let (topic, node) = (restored_of(problem), &*self.node);
        self.throttle.forget(lost_of(problem));
        match problem {
            ReachProblem::Datagrams { members, count } => {
                let members = Names(members);
                sink.write(topic, &[("count", count), ("members", &members), ("node", &node)]);
            }
            ReachProblem::Unreachable { addr, .. } | ReachProblem::AddressGone { addr } => {
                sink.write(topic, &[("addr", addr), ("node", &node)]);
            }
        }
    }

    /// Writes a line unless there was one with this topic recently.
    fn limited(&self, now: Time, topic: Topic, fields: &[Field<'_>], sink: &mut impl Sink) {
        self.throttle.write_at(now.since_origin(), topic, "", fields, sink);
    }
}

/// Bad health that lasts, and its end.
#[derive(Debug, Default)]
struct HealthWatch {
    /// How long it must last before it is logged.
    patience: Duration,
    /// The time since which the score is high.
    high: Option<Time>,
    /// The value of `high` at the last log line about it.
    told: Option<Time>,
}

impl HealthWatch {
    fn look(&mut self, now: Time, score: u32, node: &str, sink: &mut impl Sink) {
        if score < BAD_SCORE {
            self.high = None;
        } else {
            let since = *self.high.get_or_insert(now);
            let lasted = now.since(since);
            if self.told.is_none() && lasted >= self.patience {
                self.told = Some(since);
                let lasted = Seconds(lasted);
                sink.write(Topic::HealthBad, &[("score", &score), ("lasted", &lasted), ("node", &node)]);
            }
        }
        if score == 0
            && let Some(since) = self.told.take()
        {
            let lasted = Seconds(now.since(since));
            sink.write(Topic::HealthRecovered, &[("lasted", &lasted), ("node", &node)]);
        }
    }
}

/// The line of an event; whether a member joins or returns is not known yet.
fn topic_of(event: &Event) -> Option<Topic> {
    Some(match event {
        Event::Joined { .. } => Topic::MemberJoined,
        Event::Updated { .. } if event.is_refutation() => Topic::MemberRefuted,
        Event::Updated { .. } => Topic::MemberUpdated,
        Event::Suspected { .. } => Topic::MemberSuspected,
        Event::Left { member, .. } if member.removed_by.is_some() => Topic::MemberRemoved,
        Event::Left { .. } => Topic::MemberLeft,
        Event::Failed { .. } => Topic::MemberFailed,
        Event::Reaped { .. } => Topic::MemberReaped,
        Event::Conflict { .. } => Topic::NameConflict,
        Event::ReachabilityLost { problem } => lost_of(problem),
        Event::ReachabilityRestored { problem } => restored_of(problem),
        Event::Lagged { .. } => return None,
    })
}

fn lost_of(problem: &ReachProblem) -> Topic {
    match problem {
        ReachProblem::Datagrams { .. } => Topic::DatagramsLost,
        ReachProblem::Unreachable { .. } => Topic::AddressUnreachable,
        ReachProblem::AddressGone { .. } => Topic::AddressGone,
    }
}

fn restored_of(problem: &ReachProblem) -> Topic {
    match problem {
        ReachProblem::Datagrams { .. } => Topic::DatagramsRestored,
        ReachProblem::Unreachable { .. } | ReachProblem::AddressGone { .. } => Topic::AddressRestored,
    }
}

/// A line about a member: its name and address, then `fields`, then this node's name.
fn about(topic: Topic, member: &Member, fields: &[Field<'_>], node: &str, sink: &mut impl Sink) {
    let mut all: Vec<Field<'_>> = vec![("name", &member.name), ("addr", &member.addr)];
    all.extend_from_slice(fields);
    all.push(("node", &node));
    sink.write(topic, &all);
}

fn failed(member: &Member, verdict: &Verdict, node: &str, sink: &mut impl Sink) {
    let whose = match verdict.origin {
        Origin::Own => "own",
        Origin::Successor => "restarted",
        Origin::Member | Origin::Others => "heard",
    };
    let own_probe = verdict.accusers.iter().any(|accuser| accuser.is_own);
    let confirmed = verdict.accusers.len().saturating_sub(1);
    let (accusers, waited) = (Names(&verdict.accusers), Seconds(verdict.waited));
    let fields: [Field<'_>; 5] = [
        ("verdict", &whose),
        ("own_probe", &own_probe),
        ("accused_by", &accusers),
        ("confirmed", &confirmed),
        ("waited", &waited),
    ];
    about(Topic::MemberFailed, member, &fields, node, sink);
}

/// An address that may be unknown.
struct Observed(Option<SocketAddr>);

impl std::fmt::Display for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(addr) => write!(f, "{addr}"),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
