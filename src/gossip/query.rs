//! Queries: a request to many members, with a report of who has answered and who has not.

use std::{fmt, iter::FusedIterator, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, bounded};

use super::{
    handle::Gossip,
    messages::{Reply, Sender},
};
use crate::{
    Error, Filter,
    data::messages::{AskKind, NewAsk, Outcome, Settled, TooMany},
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
    /// Asks all live members, without a payload, for 5 seconds.
    pub fn new(topic: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            payload: Arc::default(),
            to: Filter::all(),
            within: Duration::from_secs(5),
        }
    }

    /// What is asked, at most 1 MiB. Defaults to nothing. What does not fit in a datagram costs a stream for each member.
    pub fn payload(self, payload: &[u8]) -> Self {
        Self { payload: payload.into(), ..self }
    }

    /// Who is asked. Defaults to all.
    pub fn to(self, to: Filter) -> Self {
        Self { to, ..self }
    }

    /// How long answers are waited for. Defaults to 5 s.
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }
}

/// Why a member has not answered a query.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// Its application refused, for this reason; or dropped the request unanswered.
    Refused(String),
    /// Nobody there serves the topic.
    NoReader,
    /// Too many requests wait there.
    Busy,
    /// The request or the answer is too long.
    TooLarge,
    /// It is live as far as this node knows, and did not answer in time.
    Silent,
    /// It failed meanwhile, or was restarted.
    Died,
    /// It left meanwhile.
    Left,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => write!(f, "refused: {}", crate::text::Escaped(reason)),
            Self::NoReader => f.write_str("nobody there serves the topic"),
            Self::Busy => f.write_str("too many requests wait there"),
            Self::TooLarge => f.write_str("too long"),
            Self::Silent => f.write_str("no answer in time"),
            Self::Died => f.write_str("failed meanwhile"),
            Self::Left => f.write_str("left meanwhile"),
        }
    }
}

/// What a member said to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answered {
    /// The member.
    pub member: Sender,
    /// Its answer, or why there is none.
    pub result: Result<Reply, Why>,
}

/// What came of a query so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryReport {
    /// How many members were asked.
    pub asked: usize,
    /// How many have answered.
    pub answered: usize,
    /// Those that have not, and why, in the order in which that was known.
    pub unanswered: Vec<(Sender, Why)>,
    /// How long the half of the answers that came first took at most,
    pub p50: Option<Duration>,
    /// and 99 in 100 of them.
    pub p99: Option<Duration>,
}

impl QueryReport {
    /// Whether all have answered.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.answered == self.asked
    }

    /// How many have not answered for such a reason.
    #[must_use]
    pub fn count(&self, why: impl Fn(&Why) -> bool) -> usize {
        self.unanswered.iter().filter(|(_, reason)| why(reason)).count()
    }
}

/// For people: `7 of 9 answered; node-c: no answer in time, node-d: left meanwhile`.
impl fmt::Display for QueryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} answered", self.answered, self.asked)?;
        self.unanswered.iter().enumerate().try_for_each(|(i, (member, why))| {
            write!(f, "{} {member}: {why}", if i == 0 { ";" } else { "," })
        })
    }
}

impl Gossip {
    /// Asks the live members that the query's filter matches at this moment, this node included if it does, and hands out
    /// what they say as it comes. It ends when each of them has answered, refused, failed or left, or its time is up: exactly
    /// one result for each. Members are asked directly, some at a time; gossip has no part in it.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig, Query};
    ///
    /// let a = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// let b = Gossip::start(GossipConfig::local("b").bind("127.0.0.1:0"))?;
    /// b.join([a.local().addr.to_string()])?;
    /// let mut answers = b.query(&Query::new("syncswim/info"))?;
    /// for answered in &mut answers {
    ///     println!("{}: {:?}", answered.member.name, answered.result);
    /// }
    /// assert!(answers.report().is_complete(), "{}", answers.report());
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] if the topic has not 1 to 64 bytes, [`Error::TooLarge`], [`Error::Busy`] if 16 queries are under way;
    /// [`Error::Left`], [`Error::Stopped`] or [`Error::Panicked`] if this node has left or ended. Nobody was asked then.
    pub fn query(&self, query: &Query) -> Result<Answers, Error> {
        let Query { topic, payload, to, within } = query;
        self.check_asking(topic, payload)?;
        let members = self.members();
        let life =
            |member: &crate::Member| Life { name: Arc::clone(&member.name), epoch: member.identity.epoch };
        let own = &self.running.config.name;
        let to: Vec<Life> = members.live().filter(|member| to.matches(member, own)).map(life).collect();
        let asked = to.len();
        let (caller, settled) = bounded(asked);
        let topic: Arc<str> = topic.as_str().into();
        let new = || NewAsk {
            kind: AskKind::Request,
            topic: Arc::clone(&topic),
            payload: Arc::clone(payload),
            within: *within,
            caller: caller.clone(),
        };
        let begun = self.running.node.call(|endpoint, now| endpoint.query(now, to, new));
        let (what, limit) = ("this node".into(), "16 queries under way");
        begun.map_err(|TooMany| Error::Busy { what, limit, remedy: "wait for one of them" })?;
        self.running.node.wake();
        let report = QueryReport { asked, ..QueryReport::default() };
        Ok(Answers { settled, report, took: Vec::new() })
    }
}

/// The answers to a query, from [`Gossip::query`], as they come in. It ends when nothing more can come, or with the node.
#[derive(Debug)]
#[must_use = "it hands out the answers"]
pub struct Answers {
    settled: Receiver<Settled>,
    report: QueryReport,
    took: Vec<Duration>,
}

impl Answers {
    /// Waits for the next answer, at most this long.
    ///
    /// # Errors
    /// After that time, or when nothing more can come.
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<Answered, RecvTimeoutError> {
        self.settled.recv_timeout(limit).map(|settled| self.take(settled))
    }

    /// Takes the next answer if there is one.
    ///
    /// # Errors
    /// When there is none, or nothing more can come.
    pub fn try_recv(&mut self) -> Result<Answered, TryRecvError> {
        self.settled.try_recv().map(|settled| self.take(settled))
    }

    /// What came of the query, as far as it was read: read all to know all.
    #[must_use]
    pub fn report(&self) -> QueryReport {
        let mut took = self.took.clone();
        took.sort_unstable();
        let share =
            |percent: usize| took.get((took.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        QueryReport { p50: share(50), p99: share(99), ..self.report.clone() }
    }

    /// Reads the rest, and says what came of the query.
    #[must_use]
    pub fn finish(mut self) -> QueryReport {
        self.by_ref().for_each(drop);
        self.report()
    }

    fn take(&mut self, Settled { to, outcome, took }: Settled) -> Answered {
        let member = Sender::of(to);
        let why = match outcome {
            Outcome::Taken | Outcome::Answered(_) => None,
            Outcome::Refused(ref reason) => Some(Why::Refused(reason.clone())),
            Outcome::Dropped => Some(Why::Refused("it dropped the request unanswered".into())),
            Outcome::NoReader => Some(Why::NoReader),
            Outcome::Busy => Some(Why::Busy),
            Outcome::TooLarge => Some(Why::TooLarge),
            Outcome::Silent { .. } => Some(Why::Silent),
            Outcome::Died { .. } => Some(Why::Died),
            Outcome::Left { .. } => Some(Why::Left),
        };
        let payload = if let Outcome::Answered(payload) = outcome { payload } else { Arc::default() };
        let result = why.map_or(Ok(Reply { from: member.clone(), payload, took }), Err);
        match &result {
            Ok(_) => {
                self.report.answered += 1;
                self.took.push(took);
            }
            Err(why) => self.report.unanswered.push((member.clone(), why.clone())),
        }
        Answered { member, result }
    }
}

impl Iterator for Answers {
    type Item = Answered;

    fn next(&mut self) -> Option<Answered> {
        let settled = self.settled.recv().ok()?;
        Some(self.take(settled))
    }
}

impl FusedIterator for Answers {}
