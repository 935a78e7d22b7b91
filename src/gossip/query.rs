//! Queries: a request to many members, with a report of the members that answered and those that did not.

use std::{fmt, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, TryRecvError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{
    handle::Gossip,
    messages::{Answer, MemberLife, too_many},
    shared_node::SharedNode,
};
use crate::{
    Error, Filter, QueryProblem,
    collections::fanout::Subscription,
    data::messages::{AskKind, NewAsk, Results, Settled},
    reader::{Reader, reads},
    swim::Life,
};

/// A request to all live members that a filter matches.
///
/// ```
/// use std::time::Duration;
/// use syncswim::{Filter, Query};
///
/// let query = Query::new("uptime").to(Filter::tag("role", "db")).within(Duration::from_secs(2));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a query is begun by `Gossip::query`"]
pub struct Query {
    topic: String,
    payload: Arc<[u8]>,
    to: Filter,
    within: Duration,
}

impl Query {
    /// A query of all live members, with an empty payload and a limit of 5 s.
    pub fn new(topic: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            payload: Arc::default(),
            to: Filter::all(),
            within: Duration::from_secs(5),
        }
    }

    /// The payload, at most 1 MiB. Defaults to an empty one. A payload that does not fit in a datagram costs a stream for
    /// each member, as in [`Gossip::send_within`].
    pub fn payload(self, payload: impl AsRef<[u8]>) -> Self {
        Self { payload: payload.as_ref().into(), ..self }
    }

    /// The members to ask. Defaults to all.
    pub fn to(self, to: Filter) -> Self {
        Self { to, ..self }
    }

    /// How long to wait for answers. Defaults to 5 s.
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }
}

/// The result of a query for one member.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryAnswer {
    /// The member.
    pub member: MemberLife,
    /// Its answer, or why it gave none.
    pub result: Result<Answer, QueryProblem>,
}

/// A member that did not answer a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueryMiss {
    /// The member.
    pub member: MemberLife,
    /// Why, and whether the member may have acted.
    pub why: QueryProblem,
}

/// The results of a query so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueryReport {
    /// How many members the query asks.
    pub asked: usize,
    /// How many have answered.
    pub answered: usize,
    /// The members that have not answered, or have refused, in the order in which that became known.
    pub missing: Vec<QueryMiss>,
    /// The median of the times until an answer.
    pub p50: Option<Duration>,
    /// The 99th percentile of these times.
    pub p99: Option<Duration>,
}

impl QueryReport {
    /// Whether at least one member was asked, and all have answered.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.asked > 0 && self.answered == self.asked
    }

    /// How many members have not answered for such a reason.
    #[must_use]
    pub fn count(&self, why: impl Fn(&QueryProblem) -> bool) -> usize {
        self.missing.iter().filter(|one| why(&one.why)).count()
    }
}

/// For people: `7 of 9 answered; node-c: no answer, the time was over, node-d: not reached, it left`.
impl fmt::Display for QueryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.asked == 0 {
            return f.write_str("nobody was asked: no live member matches");
        }
        write!(f, "{} of {} answered", self.answered, self.asked)?;
        self.missing.iter().enumerate().try_for_each(|(i, QueryMiss { member, why })| {
            write!(f, "{} {member}: {why}", if i == 0 { ";" } else { "," })
        })
    }
}

impl Gossip {
    /// Asks the live members that the query's filter matches at this moment, this node included if it matches, and returns
    /// their results as they arrive. The query ends when each of them has answered, refused, failed or left, or its time is
    /// up, or this node leaves: exactly one result for each. This node asks the members directly, some at a time; gossip has
    /// no part in it. If the filter matches no member, the query ends at once, and is [not
    /// complete](QueryReport::is_complete).
    ///
    /// The program should read answers as they arrive: while more than 8 MiB of them are unread, no answer that does not fit
    /// in a datagram is fetched, and members whose answers are not fetched in time end as
    /// [`EndedBy::Unread`](crate::EndedBy::Unread).
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig, Query};
    ///
    /// let a = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// let b = Gossip::start(GossipConfig::local("b").bind("127.0.0.1:0"))?;
    /// b.join([a.local().addr.to_string()])?;
    /// let answers = b.query(&Query::new("syncswim/info"))?;
    /// for answer in &answers {
    ///     println!("{}: {:?}", answer.member.name, answer.result);
    /// }
    /// assert!(answers.report().is_complete(), "{}", answers.report());
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if the topic has not 1 to 64 bytes or has characters that break or disguise a line (control
    /// characters, line separators, changes of direction), or the time is 0; [`Error::TooLarge`]; [`Error::Busy`] if 16
    /// queries are under way; [`Error::Left`], [`Error::Stopped`] or [`Error::Panicked`] if this node has left or ended. No
    /// member was asked then.
    pub fn query(&self, query: &Query) -> Result<QueryAnswers, Error> {
        let Query { topic, payload, to, within } = query;
        self.check_asking(topic, payload, ("within", *within))?;
        let members = self.members();
        let life =
            |member: &crate::Member| Life { name: Arc::clone(&member.name), epoch: member.identity.epoch };
        let own = &self.running.config.name;
        let to: Vec<Life> = members.live().filter(|member| to.matches(member, own)).map(life).collect();
        let asked = to.len();
        let (topic, payload) = (topic.as_str().into(), Arc::clone(payload));
        let new = NewAsk { kind: AskKind::Request, topic, payload, within: *within };
        let node = Arc::clone(&self.running.node);
        let (id, settled) = node.call(|endpoint, now| endpoint.query(now, to, new)).map_err(too_many)?;
        node.wake();
        let report = QueryReport { asked, ..QueryReport::default() };
        Ok(QueryAnswers { node, id, settled, seen: Mutex::new(Seen { report, took: Vec::new() }) })
    }
}

/// A subscription to the answers of a query, from [`Gossip::query`], as they arrive. It ends when no more can arrive, or
/// with the node. Dropping it cancels the query: members that were not asked yet will not be. Threads may share it by
/// reference; each answer then goes to one of them.
#[must_use = "dropping it cancels the query"]
pub struct QueryAnswers {
    node: Arc<SharedNode>,
    id: u64,
    settled: Subscription<Results>,
    seen: Mutex<Seen>,
}

/// The results that were read.
#[derive(Debug)]
struct Seen {
    report: QueryReport,
    took: Vec<Duration>,
}

impl QueryAnswers {
    /// The report on the results that were read so far.
    #[must_use]
    pub fn report(&self) -> QueryReport {
        let Seen { report, mut took } = {
            let seen = self.seen.lock();
            Seen { report: seen.report.clone(), took: seen.took.clone() }
        };
        took.sort_unstable();
        QueryReport { p50: percentile(&took, 50), p99: percentile(&took, 99), ..report }
    }

    /// Reads the remaining results, and returns the report on all of them.
    #[must_use]
    pub fn finish(self) -> QueryReport {
        self.iter().for_each(drop);
        self.report()
    }

    fn take(&self, Settled { to, outcome, took }: Settled) -> QueryAnswer {
        let member = MemberLife::of(to);
        let mut seen = self.seen.lock();
        match &outcome {
            Ok(_) => {
                seen.report.answered += 1;
                seen.took.push(took);
            }
            Err(why) => {
                seen.report.missing.push(QueryMiss { member: member.clone(), why: why.clone() });
            }
        }
        let result = outcome.map(|payload| Answer { from: member.clone(), payload, took });
        QueryAnswer { member, result }
    }
}

impl Reader for QueryAnswers {
    type Item = QueryAnswer;

    fn receiver(&self) -> &Receiver<()> {
        self.settled.receiver()
    }

    fn try_recv(&self) -> Result<QueryAnswer, TryRecvError> {
        self.settled.try_recv().map(|settled| self.take(settled))
    }
}

reads!(QueryAnswers, QueryAnswer, "answer", "nothing more can come");

/// The percentile of sorted times, by nearest rank.
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

impl Drop for QueryAnswers {
    fn drop(&mut self) {
        self.node.drive(|endpoint, now| endpoint.cancel_query(now, self.id));
        self.node.wake();
    }
}

impl fmt::Debug for QueryAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryAnswers").field("report", &self.report()).finish_non_exhaustive()
    }
}
