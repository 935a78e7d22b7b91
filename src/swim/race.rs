//! How the attempts of joins race: Happy Eyeballs (RFC 8305, section 5) for addresses of which most may be dead.
//!
//! A join begins with three attempts. Each time the *connection attempt delay* passes and none has answered, as many again
//! begin; one that fails is replaced at once. Once one answers, no more are added except for those that fail. An attempt is
//! *silent* until its first frame comes, for a system may accept streams for a process that hangs. A silent attempt has its
//! whole `stream_timeout`, unless others wait for its place: then it gives way after [`PATIENCE`]. So a slow seed is waited
//! for, and dead ones are passed by [`MAX_ATTEMPTS`] a second.

use std::{cmp::Reverse, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Time,
    join::{ENOUGH, Join, JoinId},
    node::Node,
    session::Purpose,
    stream::{StreamFailure, StreamId},
    timers::Timer,
};

/// Attempts of all joins together.
pub(crate) const MAX_ATTEMPTS: usize = 24;
/// RFC 8305, section 8: the recommended connection attempt delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How long an attempt may be silent while others wait for its place.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many attempts a join may have under way until one is reached.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Pace(usize);

impl Default for Pace {
    fn default() -> Self {
        Self(ENOUGH)
    }
}

impl Node {
    /// Begins what may begin, the join with the fewest attempts first.
    pub(super) fn begin_attempts(&mut self) {
        while self.attempts() < MAX_ATTEMPTS {
            let may = |join: &&Join| self.wants(join) && join.in_flight < self.width(join);
            let neediest = self.joins.open.iter().filter(may).min_by_key(|join| join.in_flight);
            let Some(id) = neediest.map(|join| join.id) else { break };
            let Some(join) = self.joins.open.iter_mut().find(|join| join.id == id) else { break };
            let Some(addr) = join.waiting.pop() else { break };
            join.in_flight += 1;
            self.open(Purpose::Join(id), addr, self.config.stream_timeout);
        }
        if !self.joins.open.iter().any(|join| self.wants(join)) {
            self.timers.cancel(Timer::Race);
        } else if !self.timers.is_set(Timer::Race) {
            self.set_timer(Timer::Race, ATTEMPT_DELAY);
        }
    }

    /// Another connection attempt delay has passed while addresses wait.
    pub(super) fn race_on(&mut self) {
        if self.is_leaving() {
            return self.advance_joins();
        }
        let slow: Vec<_> =
            self.joins.open.iter().filter(|join| self.answered(join) == 0).map(|join| join.id).collect();
        for join in self.joins.open.iter_mut().filter(|join| slow.contains(&join.id)) {
            join.pace.0 = (join.pace.0 * 2).min(MAX_ATTEMPTS);
        }
        self.begin_attempts();
        while let Some(stream) = self.give_way() {
            self.end(stream, Err(StreamFailure::TimedOut));
        }
    }

    /// The silent attempt that is to make room for one that waits: of the same join, or where all places are taken, of one
    /// that has more.
    fn give_way(&self) -> Option<StreamId> {
        let full = self.attempts() >= MAX_ATTEMPTS;
        let mut needy: Vec<_> = self.joins.open.iter().filter(|join| self.wants(join)).collect();
        needy.sort_by_key(|join| join.in_flight);
        needy.into_iter().filter(|needy| full || needy.in_flight >= self.width(needy)).find_map(|needy| {
            let gives = |join: &&Join| join.id == needy.id || full && join.in_flight > needy.in_flight;
            let patient = |join: &Join| {
                let (stream, since) = self.silent(join.id).next()?;
                (self.now.since(since) >= PATIENCE).then_some((join.in_flight, Reverse(since), stream))
            };
            let donors = self.joins.open.iter().filter(gives).filter_map(patient);
            donors.max().map(|(.., stream)| stream)
        })
    }

    /// Enough are reached: attempts without an answer are withdrawn.
    pub(super) fn withdraw_silent_attempts(&mut self, id: JoinId) {
        let silent: Vec<_> = self.silent(id).map(|(stream, _)| stream).collect();
        for stream in silent {
            self.take_session(stream);
            if let Some(join) = self.joins.open.iter_mut().find(|join| join.id == id) {
                join.in_flight = join.in_flight.saturating_sub(1);
            }
        }
    }

    /// Whether a join has addresses waiting, and too few answers.
    fn wants(&self, join: &Join) -> bool {
        !join.waiting.is_empty() && self.answered(join) + join.reached < ENOUGH
    }

    /// How many attempts a join may have under way.
    fn width(&self, join: &Join) -> usize {
        if join.reached > 0 { ENOUGH - join.reached.min(ENOUGH) } else { join.pace.0 }
    }

    fn attempts(&self) -> usize {
        self.joins.open.iter().map(|join| join.in_flight).sum()
    }

    /// Attempts under way that were answered.
    fn answered(&self, join: &Join) -> usize {
        join.in_flight.saturating_sub(self.silent(join.id).count())
    }

    /// The attempts of a join without an answer, and since when, the oldest first.
    fn silent(&self, id: JoinId) -> impl Iterator<Item = (StreamId, Time)> {
        self.streams.opened.keys().filter_map(move |stream| {
            let session = self.streams.sessions.get(stream)?;
            let is_silent =
                matches!(session.purpose, Purpose::Join(join) if join == id) && !session.is_answered();
            is_silent.then_some((*stream, session.since))
        })
    }
}
