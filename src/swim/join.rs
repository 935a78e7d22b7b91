//! Joining: exchanges of tables with given addresses, a few at a time; and the seeds, retried for ever.

use std::{net::SocketAddr, time::Duration};

use super::{
    event::{JoinProblem, JoinResult, Output},
    member::MemberId,
    node::Node,
    own::Phase,
    sync::{Purpose, StreamFailure},
    time::Time,
    timers::Timer,
};

/// Addresses of one join that are contacted at the same time, and that must be reached to stop.
const ENOUGH: usize = 3;
/// Joins under way at the same time; more are refused.
const MAX_JOINS: usize = 64;
/// The delay after the first failure to reach a seed; it doubles from there.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// A join under way. Never given twice, so that what comes late finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JoinId(u64);

/// Who asked for a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Seeds,
    Caller(u64),
}

#[derive(Debug, Default)]
pub(super) struct Joins {
    open: Vec<Join>,
    last: u64,
    seed_delay: Duration,
}

#[derive(Debug)]
struct Join {
    id: JoinId,
    asker: Asker,
    waiting: Vec<SocketAddr>,
    in_flight: usize,
    reached: usize,
    reported: bool,
    problem: JoinProblem,
}

/// What came of the attempt to join through one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attempt {
    Reached,
    /// It is an address of our own.
    Ourselves,
    Failed(JoinProblem),
}

impl Node {
    /// Contacts addresses to become part of their cluster. [`Output::JoinDone`] brings back `ticket` when the
    /// first is reached or the last has failed, once for each call. Our own address is passed over: a node that is its only seed
    /// is a cluster of one.
    pub fn join(&mut self, now: Time, ticket: u64, addrs: &[SocketAddr]) {
        self.advance(now);
        self.begin_join(Asker::Caller(ticket), addrs.to_vec());
    }

    /// Looks for the seeds from now on: [`Output::ResolveSeeds`] comes at once and again and again, with
    /// back-off and jitter.
    pub fn seek_seeds(&mut self, now: Time) {
        self.advance(now);
        self.set_timer(Timer::Seeds, Duration::ZERO);
    }

    /// The same, but the first time only after the usual delay: they are being joined already.
    pub fn seek_seeds_later(&mut self, now: Time) {
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
        if !self.joins.open.iter().any(|join| join.asker == Asker::Seeds) {
            self.emit(Output::ResolveSeeds);
        }
    }

    /// The seeds' addresses at this time; none if they could not be resolved.
    pub fn handle_seeds(&mut self, now: Time, addrs: &[SocketAddr]) {
        self.advance(now);
        if self.is_leaving() || self.joins.open.iter().any(|join| join.asker == Asker::Seeds) {
            return;
        }
        let is_reached = |addr| self.phase != Phase::Quiet && self.table.at_addr(addr).is_some();
        let strangers = addrs.iter().copied().filter(|addr| !is_reached(*addr)).collect::<Vec<_>>();
        if strangers.is_empty() && !addrs.is_empty() {
            return self.seeds_tried(Ok(addrs.len()));
        }
        self.begin_join(Asker::Seeds, strangers);
    }

    fn begin_join(&mut self, asker: Asker, mut addrs: Vec<SocketAddr>) {
        let own = self.table.get(MemberId::SELF).addr;
        let alone = !addrs.is_empty() && addrs.iter().all(|addr| *addr == own);
        addrs.retain(|addr| *addr != own);
        addrs.sort_unstable();
        addrs.dedup();
        self.rng.shuffle(&mut addrs);
        if alone || addrs.is_empty() {
            return self.report_join(asker, if alone { Ok(0) } else { Err(JoinProblem::NoAddress) });
        }
        if self.is_leaving() || self.joins.open.len() >= MAX_JOINS {
            return self.report_join(asker, Err(JoinProblem::Unavailable));
        }
        self.joins.last += 1;
        let id = JoinId(self.joins.last);
        self.joins.open.push(Join {
            id,
            asker,
            waiting: addrs,
            in_flight: 0,
            reached: 0,
            reported: false,
            problem: JoinProblem::NoAddress,
        });
        self.advance_join(id);
    }

    fn advance_join(&mut self, id: JoinId) {
        let Some(at) = self.joins.open.iter().position(|join| join.id == id) else { return };
        loop {
            let join = &mut self.joins.open[at];
            if join.in_flight + join.reached >= ENOUGH {
                break;
            }
            let Some(addr) = join.waiting.pop() else { break };
            join.in_flight += 1;
            self.open(Purpose::Join(id), addr, self.config.stream_timeout);
        }
        if self.joins.open[at].in_flight == 0 {
            let join = self.joins.open.swap_remove(at);
            if !join.reported {
                // Where nobody failed either, all were ourselves.
                let alone = join.problem == JoinProblem::NoAddress;
                self.report_join(join.asker, if alone { Ok(0) } else { Err(join.problem) });
            }
        }
    }

    pub(super) fn join_attempted(&mut self, id: JoinId, attempt: Attempt) {
        let Some(join) = self.joins.open.iter_mut().find(|join| join.id == id) else { return };
        join.in_flight = join.in_flight.saturating_sub(1);
        let mut first = None;
        match attempt {
            Attempt::Reached => {
                join.reached += 1;
                first = (!std::mem::replace(&mut join.reported, true)).then_some((join.asker, join.reached));
            }
            Attempt::Ourselves => {}
            // That the name is taken says more than that another address did not answer.
            Attempt::Failed(_) if matches!(join.problem, JoinProblem::NameTaken { .. }) => {}
            Attempt::Failed(problem) => join.problem = problem,
        }
        if let Some((asker, reached)) = first {
            self.report_join(asker, Ok(reached));
        }
        self.advance_join(id);
    }

    fn report_join(&mut self, asker: Asker, result: JoinResult) {
        match asker {
            Asker::Caller(ticket) => self.emit(Output::JoinDone(ticket, result)),
            Asker::Seeds => self.seeds_tried(result),
        }
    }

    fn seeds_tried(&mut self, result: JoinResult) {
        // Members may have found us though no seed answers: they must be probed like any, and told of us.
        let is_taken = matches!(result, Err(JoinProblem::NameTaken { .. }));
        if !is_taken && self.table.others() > 0 {
            self.go_live();
        }
        let longest = self.config.seed_max_delay;
        self.joins.seed_delay = match &result {
            Ok(_) => longest,
            Err(_) if self.joins.seed_delay.is_zero() || self.joins.seed_delay == longest => {
                FIRST_RETRY.min(longest)
            }
            Err(_) => (self.joins.seed_delay * 2).min(longest),
        };
        if !self.is_leaving() {
            let delay = self.jittered(self.joins.seed_delay);
            self.set_timer(Timer::Seeds, delay);
        }
        self.emit(Output::SeedsTried(result));
    }
}

impl JoinProblem {
    pub(super) fn from_failure(failure: StreamFailure, addr: SocketAddr) -> Self {
        match failure {
            StreamFailure::Refused => Self::Refused(addr),
            StreamFailure::TimedOut => Self::TimedOut(addr),
            StreamFailure::Rejected => Self::Rejected(addr),
            StreamFailure::NotTried => Self::Unavailable,
        }
    }
}
