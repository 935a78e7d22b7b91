//! The queries of this node: the members that each still has to ask, and its unread results.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    time::Duration,
};

use super::{
    ask::NewAsk,
    status::{QueryProblem, Settled},
};
use crate::{
    collections::fanout::{Fanout, Queue},
    error::EndedBy,
    swim::{Life, Time},
};

/// Queries that may run at the same time.
pub(super) const MAX_QUERIES: usize = 16;
/// The most bytes of answers that wait for the readers of one query. Beyond that no stream is opened for the query, so only
/// small answers, and those in streams that are already open, come on top.
const MAX_UNREAD_BYTES: usize = 8 << 20;

/// The pause before this node checks again whether the reader has read.
pub(super) const READING_PAUSE: Duration = Duration::from_millis(100);

/// The results of members that were asked, until they are read.
#[derive(Debug, Default)]
pub(crate) struct Results {
    unread: VecDeque<Settled>,
    bytes: usize,
}

impl Results {
    fn push(&mut self, settled: Settled) {
        self.bytes += size(&settled);
        self.unread.push_back(settled);
    }
}

impl Queue for Results {
    type Item = Settled;

    fn pop(&mut self) -> Option<Settled> {
        let settled = self.unread.pop_front()?;
        self.bytes -= size(&settled);
        Some(settled)
    }

    fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }
}

fn size(settled: &Settled) -> usize {
    settled.outcome.as_ref().map_or(0, |payload| payload.len())
}

#[derive(Debug)]
pub(super) struct Query {
    pub(super) new: NewAsk,
    pub(super) began: Time,
    pub(super) deadline: Time,
    /// Members that were not asked yet.
    pub(super) waiting: VecDeque<Life>,
    /// How many of the others have not settled.
    pub(super) asked: usize,
    pub(super) answers: Fanout<Results>,
}

#[derive(Debug, Default)]
pub(super) struct Queries {
    all: BTreeMap<u64, Query>,
    /// The query that had the last turn.
    turn: u64,
}

impl Queries {
    /// Whether there are as many queries as there may be.
    pub(super) fn are_all(&self) -> bool {
        self.all.len() >= MAX_QUERIES
    }

    pub(super) fn insert(&mut self, id: u64, query: Query) {
        self.all.insert(id, query);
    }

    /// The queries whose readers have so many unread answers that no further ones are fetched.
    pub(super) fn unread(&self) -> BTreeSet<u64> {
        let mut unread = BTreeSet::new();
        for (id, query) in &self.all {
            query.answers.publish(|results| {
                if results.bytes > MAX_UNREAD_BYTES {
                    unread.insert(*id);
                }
            });
        }
        unread
    }

    /// Removes a query whose readers have gone.
    pub(super) fn remove(&mut self, id: u64) -> Option<Query> {
        self.all.remove(&id)
    }

    /// Whether any member waits to be asked.
    pub(super) fn is_waiting(&self) -> bool {
        self.all.values().any(|query| !query.waiting.is_empty())
    }

    /// The next member to ask; the queries take turns.
    pub(super) fn next(&mut self) -> Option<(u64, Life, &Query)> {
        let later = self.all.range((Bound::Excluded(self.turn), Bound::Unbounded));
        let mut others = later.chain(self.all.range(..=self.turn));
        let id = others.find(|(_, query)| !query.waiting.is_empty()).map(|(id, _)| *id)?;
        self.turn = id;
        let query = self.all.get_mut(&id)?;
        let to = query.waiting.pop_front()?;
        query.asked += 1;
        Some((id, to, query))
    }

    /// An ask of a query has ended. Returns the query's deadline if this was the last one.
    pub(super) fn settle(&mut self, id: u64, settled: Settled) -> Option<Time> {
        let query = self.all.get_mut(&id)?;
        query.asked -= 1;
        query.answers.publish(|results| results.push(settled.clone()));
        self.remove_if_over(id)
    }

    /// Members that were not asked yet will not be.
    pub(super) fn end(&mut self, now: Time, id: u64, ended_by: EndedBy) {
        let Some(query) = self.all.get_mut(&id) else { return };
        let took = now.since(query.began);
        for to in std::mem::take(&mut query.waiting) {
            let settled = Settled { to, outcome: Err(QueryProblem::new(false, ended_by)), took };
            query.answers.publish(|results| results.push(settled.clone()));
        }
        self.remove_if_over(id);
    }

    /// Returns the deadline of a query that is over.
    fn remove_if_over(&mut self, id: u64) -> Option<Time> {
        let query = self.all.get(&id)?;
        let is_over = query.asked == 0 && query.waiting.is_empty();
        is_over.then(|| self.all.remove(&id)).flatten().map(|query| query.deadline)
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.all.keys().copied().collect()
    }
}
