//! Joining: exchanges of tables with given addresses, which race (`race.rs`); and the seeds, retried without end.
//!
//! A join need not know all its addresses when it begins: names may still be looked up. Each look-up adds what it found,
//! so a name server that is silent delays nobody but its own names.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    entry::Input,
    event::{JoinResult, Output},
    member::MemberId,
    node::Node,
    phase::Phase,
    race::Pace,
    stream::StreamFailure,
    time::Time,
    timers::Timer,
};
use crate::JoinProblem;

/// Addresses of one join that must be reached to stop.
pub(super) const ENOUGH: usize = 3;
/// Addresses that one join tries; more are not looked at.
pub(super) const MAX_ADDRS: usize = 1024;
/// Holders of this node's name that one join asks for.
const MAX_HOLDERS: usize = 16;
/// Joins under way at the same time; more are refused.
const MAX_JOINS: usize = 64;
/// The delay after the first failure to reach a seed; it doubles from there.
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(50);

/// A join under way. Never given twice, so that what comes late finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JoinId(u64);

/// The origin of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JoinOrigin {
    /// The node itself: [`Output::SeedsTried`] reports the result.
    Seeds,
    /// A caller, with its ticket: [`Output::JoinDone`] reports the result.
    Ticket {
        /// The ticket.
        ticket: u64,
    },
    /// The node itself, at the addresses of its earlier life's members: [`Output::RejoinTried`] reports the result.
    Remembered,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Joins {
    pub(super) open: Vec<Join>,
    last: u64,
    /// The delay before the seeds are tried again, while they fail.
    seed_delay: Duration,
    /// When a seed was reached last.
    pub(super) reached: Option<Time>,
    /// A node that was joined may have heard of this one.
    pub(super) said_hello: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Join {
    pub(super) id: JoinId,
    #[serde(with = "super::stored::JoinOriginForm")]
    origin: JoinOrigin,
    pub(super) waiting: Vec<SocketAddr>,
    pub(super) in_flight: usize,
    pub(super) reached: usize,
    pub(super) pace: Pace,
    /// Holders of this node's name that were asked for.
    holders: usize,
    /// Look-ups that may still add addresses.
    lookups: usize,
    /// All that were added, so that none is tried twice.
    known: BTreeSet<SocketAddr>,
    /// Those of them that are members already.
    members: usize,
    found_ourselves: bool,
    /// Whether a look-up found nothing.
    unresolved: bool,
    reported: bool,
    problem: JoinProblem,
}

impl Join {
    fn is_over(&self) -> bool {
        self.in_flight == 0 && self.waiting.is_empty() && (self.lookups == 0 || self.reached >= ENOUGH)
    }

    fn result(&self) -> JoinResult {
        match &self.problem {
            _ if self.members > 0 => Ok(self.members),
            // Where nothing failed, all were this node itself.
            JoinProblem::NoAddress if self.found_ourselves && !self.unresolved => Ok(0),
            problem => Err(problem.clone()),
        }
    }
}

/// The result of the attempt to join through one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attempt {
    Reached,
    /// It is this node's own address.
    Ourselves,
    Failed(JoinProblem),
}

impl Node {
    /// Contacts addresses to become part of their cluster. [`Output::JoinDone`] returns `ticket` when the first is reached
    /// or the last has failed, once for each call. This node's own address is skipped: a node that is its only seed is a
    /// cluster of one.
    ///
    /// Three are tried at once, and every 250 ms as many again while none answers, up to 24 for all joins together; attempts
    /// that stay silent for a second give way to others that wait (after RFC 8305, section 5).
    pub fn join(&mut self, now: Time, ticket: u64, addrs: &[SocketAddr]) {
        self.join_while_resolving(now, ticket, addrs, 0);
    }

    /// The same while names are still looked up: this many calls of [`handle_lookup`](Self::handle_lookup) follow, and the join
    /// has not failed before the last of them.
    pub fn join_while_resolving(&mut self, now: Time, ticket: u64, addrs: &[SocketAddr], lookups: usize) {
        self.given(now, || Input::Join { ticket, addrs: addrs.into(), lookups });
        self.advance(now);
        self.begin_join(JoinOrigin::Ticket { ticket }, addrs, lookups);
    }

    /// Looks for the seeds from now on: [`Output::ResolveSeeds`] comes at once and then repeatedly, with
    /// back-off and jitter.
    pub fn seek_seeds(&mut self, now: Time) {
        self.given(now, || Input::SeekSeeds);
        self.advance(now);
        self.set_timer(Timer::Seeds, Duration::ZERO);
    }

    /// The same, but the first attempt comes only after the usual delay, since the seeds are being joined already.
    pub fn seek_seeds_later(&mut self, now: Time) {
        self.given(now, || Input::SeekSeedsLater);
        self.advance(now);
        let delay = self.jittered(self.config.seed_max_delay);
        self.set_timer(Timer::Seeds, delay);
    }

    /// One join of the seeds at a time: while one is under way, the next waits for it.
    pub(super) fn resolve_seeds(&mut self) {
        if self.is_leaving() {
            return;
        }
        // However long the answer or a join under way takes, they are not forgotten.
        let latest = self.config.seed_max_delay.saturating_add(self.config.stream_timeout);
        self.set_timer(Timer::Seeds, latest);
        if let Some(join) = self.joins.open.iter_mut().find(|join| join.origin == JoinOrigin::Seeds) {
            // Look-ups that take so long are not waited for.
            join.lookups = 0;
            self.advance_joins();
        }
        if !self.joins.open.iter().any(|join| join.origin == JoinOrigin::Seeds) {
            self.emit(Output::ResolveSeeds);
        }
    }

    /// Takes the seeds' present addresses; empty if they could not be resolved. While seeds are being joined, these are
    /// added.
    pub fn handle_seeds(&mut self, now: Time, addrs: &[SocketAddr]) {
        self.handle_seeds_while_resolving(now, addrs, 0);
    }

    /// The same while names among them are still looked up: this many calls of [`handle_lookup`](Self::handle_lookup) follow.
    pub fn handle_seeds_while_resolving(&mut self, now: Time, addrs: &[SocketAddr], lookups: usize) {
        self.given(now, || Input::Seeds { addrs: addrs.into(), lookups });
        self.advance(now);
        if self.is_leaving() {
            return;
        }
        let Some(join) = self.joins.open.iter_mut().find(|join| join.origin == JoinOrigin::Seeds) else {
            return self.begin_join(JoinOrigin::Seeds, addrs, lookups);
        };
        join.lookups = join.lookups.saturating_add(lookups);
        let id = join.id;
        self.add_addrs(id, addrs);
        self.advance_joins();
    }

    /// Takes the result of one look-up of a join; `more` further look-ups have come of it. If the join of the seeds no
    /// longer waits for it, it begins another.
    pub fn handle_lookup(&mut self, now: Time, origin: JoinOrigin, addrs: &[SocketAddr], more: usize) {
        self.given(now, || Input::Lookup { origin, addrs: addrs.into(), more });
        self.advance(now);
        let is_it =
            |join: &&mut Join| join.origin == origin && (join.lookups > 0 || origin == JoinOrigin::Seeds);
        let Some(join) = self.joins.open.iter_mut().find(is_it) else {
            if origin == JoinOrigin::Seeds && !self.is_leaving() && (more > 0 || !addrs.is_empty()) {
                self.begin_join(origin, addrs, more);
            }
            return;
        };
        join.lookups = join.lookups.saturating_sub(1).saturating_add(more);
        join.unresolved |= more == 0 && addrs.is_empty();
        let id = join.id;
        self.add_addrs(id, addrs);
        self.advance_joins();
    }

    pub(super) fn begin_join(&mut self, origin: JoinOrigin, addrs: &[SocketAddr], lookups: usize) {
        let full = self.joins.open.len() >= MAX_JOINS;
        self.metrics.refused_joins += u64::from(full);
        if self.is_leaving() || full {
            return self.report_join(origin, Err(JoinProblem::Unavailable), true);
        }
        self.joins.last += 1;
        let id = JoinId(self.joins.last);
        self.joins.open.push(Join {
            id,
            origin,
            waiting: Vec::new(),
            in_flight: 0,
            reached: 0,
            pace: Pace::default(),
            holders: 0,
            lookups,
            known: BTreeSet::new(),
            members: 0,
            found_ourselves: false,
            unresolved: false,
            reported: false,
            problem: JoinProblem::NoAddress,
        });
        self.add_addrs(id, addrs);
        self.advance_joins();
    }

    /// In random order; without this node's own address and seeds that are members.
    fn add_addrs(&mut self, id: JoinId, addrs: &[SocketAddr]) {
        let own = self.table.get(MemberId::SELF).addr;
        let Some(join) = self.joins.open.iter_mut().find(|join| join.id == id) else { return };
        let passes_members =
            join.origin == JoinOrigin::Seeds && self.phase != Phase::Starting && !self.reach.is_unreached();
        for addr in addrs {
            if *addr == own {
                join.found_ourselves = true;
                continue;
            }
            let full = join.known.len() >= MAX_ADDRS && !join.known.contains(addr);
            self.metrics.dropped_seeds += u64::from(full);
            if full || !join.known.insert(*addr) {
                continue;
            }
            if passes_members && self.table.find_at(*addr, |record| record.contact.met).is_some() {
                join.members += 1;
            } else {
                join.waiting.push(*addr);
            }
        }
        // The order in which they were given tells nothing.
        join.waiting.sort_unstable();
        self.rng.shuffle(&mut join.waiting);
    }

    /// Ends the joins that are over, and begins the attempts that may begin.
    pub(super) fn advance_joins(&mut self) {
        if self.is_leaving() {
            self.give_joins_up();
        }
        self.begin_attempts();
        while let Some(at) = self.joins.open.iter().position(Join::is_over) {
            let join = self.joins.open.swap_remove(at);
            if !join.reported {
                // A node that found itself alone looks again soon: others may start at the same time.
                let failed = join.problem != JoinProblem::NoAddress || join.members == 0;
                self.report_join(join.origin, join.result(), failed);
            }
        }
    }

    /// Callers are told at once, and attempts under way end by themselves.
    fn give_joins_up(&mut self) {
        let mut callers = Vec::new();
        for join in &mut self.joins.open {
            (join.waiting, join.lookups) = (Vec::new(), 0);
            if matches!(join.origin, JoinOrigin::Ticket { .. })
                && !std::mem::replace(&mut join.reported, true)
            {
                callers.push((join.origin, Err(join.problem.clone())));
            }
        }
        callers.into_iter().for_each(|(origin, result)| self.report_join(origin, result, true));
    }

    /// Whether one more holder of this node's name may be asked for on the way of a join: a seed could name others for ever.
    pub(super) fn count_holder_question(&mut self, id: JoinId) -> bool {
        let Some(join) = self.joins.open.iter_mut().find(|join| join.id == id) else { return false };
        join.holders += 1;
        join.holders <= MAX_HOLDERS
    }

    pub(super) fn join_attempted(&mut self, id: JoinId, attempt: Attempt) {
        let Some(join) = self.joins.open.iter_mut().find(|join| join.id == id) else { return };
        join.in_flight = join.in_flight.saturating_sub(1);
        let mut first = None;
        match attempt {
            Attempt::Reached => {
                join.reached += 1;
                self.joins.reached = Some(self.now);
                first = (!std::mem::replace(&mut join.reported, true)).then_some((join.origin, join.reached));
            }
            Attempt::Ourselves => join.found_ourselves = true,
            // A taken name is a better report than another address that did not answer.
            Attempt::Failed(_) if matches!(join.problem, JoinProblem::NameTaken { .. }) => {}
            Attempt::Failed(problem) => join.problem = problem,
        }
        if join.reached >= ENOUGH {
            join.waiting.clear();
            self.withdraw_silent_attempts(id);
        }
        if let Some((origin, reached)) = first {
            self.report_join(origin, Ok(reached), false);
        }
        self.advance_joins();
    }

    /// The seeds were joined, yet no member reaches this node: they are tried again.
    pub(super) fn seeds_joined_in_vain(&mut self) {
        if self.timers.is_set(Timer::Seeds) {
            self.seeds_tried(Ok(0), true);
        }
    }

    /// With whether some could not be reached that should be tried again soon.
    fn report_join(&mut self, origin: JoinOrigin, result: JoinResult, failed: bool) {
        match origin {
            JoinOrigin::Ticket { ticket } => self.emit(Output::JoinDone { ticket, result }),
            JoinOrigin::Seeds => self.seeds_tried(result, failed),
            JoinOrigin::Remembered => self.rejoin_tried(result),
        }
    }

    fn seeds_tried(&mut self, result: JoinResult, failed: bool) {
        let result = self.judge_join(result);
        self.live_with_company(&result);
        let longest = self.config.seed_max_delay;
        let delay = if failed || result.is_err() {
            self.joins.seed_delay = (self.joins.seed_delay * 2).max(FIRST_RETRY).min(longest);
            self.joins.seed_delay
        } else {
            self.joins.seed_delay = Duration::ZERO;
            longest
        };
        if !self.is_leaving() {
            let delay = self.jittered(delay);
            self.set_timer(Timer::Seeds, delay);
        }
        self.emit(Output::SeedsTried { result });
    }

    /// Members may have found this node even if none of the addresses that it tried answers: it has to probe them, and to
    /// announce itself.
    pub(super) fn live_with_company(&mut self, result: &JoinResult) {
        let is_taken = matches!(result, Err(JoinProblem::NameTaken { .. }));
        if !is_taken && self.table.others() > 0 {
            self.go_live();
        }
    }
}

impl JoinProblem {
    pub(super) fn from_failure(failure: StreamFailure, addr: SocketAddr) -> Self {
        match failure {
            StreamFailure::Refused => Self::Refused { addr },
            StreamFailure::TimedOut => Self::TimedOut { addr },
            StreamFailure::Rejected => Self::Rejected { addr },
            StreamFailure::NotTried => Self::NotTried { addr },
        }
    }
}
