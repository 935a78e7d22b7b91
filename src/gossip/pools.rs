//! The thread pools of a node, which are separate so that other work never delays probes and stream pings.
//!
//! Only the first frame shows whether a stream from outside is a stream ping. So all of them begin in the pool of *callers*,
//! where the first frame is read. A stream ping is answered there at once, with one small frame. An exchange moves on to a
//! pool of its own, so first frames are read however many exchanges are held open. Streams that this node opens are of a
//! known kind: *urgent* ones (stream pings of probes, and datagrams by stream on which a verdict or a leave depends) wait
//! neither for *questions*, which others can cause, nor for *exchanges* (of tables), and none of them waits for look-ups of
//! names. A join becomes an exchange once the other side has answered. Until then one thread runs all joins
//! ([`join_attempts`](super::join_attempts)), since most may be to addresses that are dead.

use super::{queue::Limits, workers::Workers};
use crate::swim::MAX_ATTEMPTS;

const CALLERS: Limits = Limits { threads: 3, waiting: 40, recalls: true };
const ANSWERS: Limits = Limits { threads: 4, waiting: 40, recalls: true };
const URGENT: Limits = Limits { threads: 3, waiting: 16, recalls: true };
const QUESTIONS: Limits = Limits { threads: 4, waiting: 6, recalls: true };
/// Exchanges that this node began. None is given up for another of this node.
const EXCHANGES: Limits = Limits { threads: 3, waiting: 16, recalls: false };
/// Messages and data in streams of this node. None is given up for another, since a caller waits for it.
const DATA: Limits = Limits { threads: 4, waiting: 16, recalls: false };
/// Messages and data in streams of others. The pools are separate: two nodes that wait for each other's answers must
/// not hold the threads that these answers need.
const DATA_ANSWERS: Limits = Limits { threads: 4, waiting: 16, recalls: true };
/// Look-ups block on the system's resolver, some for half a minute: those that are stuck must not keep another waiting.
const NAMES: Limits = Limits { threads: 32, waiting: 1024, recalls: false };
/// One thread runs all join attempts.
const JOINS: Limits = Limits { threads: 1, waiting: 1, recalls: false };

// The two to four threads that are not workers are not counted.
const _: () = assert!(
    CALLERS.threads
        + ANSWERS.threads
        + URGENT.threads
        + QUESTIONS.threads
        + EXCHANGES.threads
        + NAMES.threads
        + JOINS.threads
        + DATA.threads
        + DATA_ANSWERS.threads
        <= 58
);
// The core's bound of streams holds for both sides together: others must not use up this node's part of it.
const _: () = assert!(
    CALLERS.threads
        + ANSWERS.threads
        + ANSWERS.waiting
        + URGENT.threads
        + URGENT.waiting
        + QUESTIONS.threads
        + QUESTIONS.waiting
        + EXCHANGES.threads
        + EXCHANGES.waiting
        + DATA.threads
        + DATA.waiting
        + DATA_ANSWERS.threads
        + DATA_ANSWERS.waiting
        + MAX_ATTEMPTS
        <= 160
);

#[derive(Debug)]
pub(super) struct Pools {
    /// Streams from others, up to their first frame and a short answer.
    pub(super) callers: Workers,
    /// Exchanges in streams from others.
    pub(super) answers: Workers,
    /// Stream pings of this node's probes, and datagrams by stream on which a verdict or a leave depends.
    pub(super) urgent: Workers,
    /// Stream pings of this node's questions.
    pub(super) questions: Workers,
    /// This node's exchanges, and joins once they are answered.
    pub(super) exchanges: Workers,
    /// Messages and data in streams of this node.
    pub(super) data: Workers,
    /// Messages and data in streams of others.
    pub(super) data_answers: Workers,
    /// Look-ups of seeds.
    pub(super) names: Workers,
    /// The thread of the joins without an answer.
    pub(super) joins: Workers,
}

impl Pools {
    pub(super) fn new(name: &str) -> Self {
        let pool = |what: &str, limits| Workers::new(format!("{name}-{what}"), limits);
        Self {
            callers: pool("in", CALLERS),
            answers: pool("sync", ANSWERS),
            urgent: pool("urgent", URGENT),
            questions: pool("ask", QUESTIONS),
            exchanges: pool("out", EXCHANGES),
            data: pool("data", DATA),
            data_answers: pool("data-in", DATA_ANSWERS),
            names: pool("dns", NAMES),
            joins: pool("join", JOINS),
        }
    }

    fn all(&self) -> [&Workers; 9] {
        let Self { callers, answers, urgent, questions, exchanges, data, data_answers, names, joins } = self;
        [callers, answers, urgent, questions, exchanges, data, data_answers, names, joins]
    }

    /// How many jobs wait for a thread.
    pub(super) fn waiting(&self) -> usize {
        self.all().into_iter().map(Workers::waiting).sum()
    }

    /// Joins every thread.
    pub(super) fn close(&self) {
        self.all().into_iter().for_each(Workers::close);
    }
}
