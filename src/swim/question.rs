//! Questions: does whoever has this name still answer to it, at this address?
//!
//! Asked by datagram and by stream at once; any answer counts. Only silence lets a name pass: a question that could not
//! be put, for want of a thread or of room, has no answer. One at a time for each address.

use std::{net::SocketAddr, sync::Arc};

use super::{
    event::JoinProblem,
    introduce::Introduction,
    join::{Attempt, JoinId},
    member::Identity,
    node::Node,
    sync::{Purpose, Session, Step, StreamFailure, StreamId},
    transmit::Content,
    validation::Sender,
};
use crate::wire::hash;

#[derive(Debug, Clone)]
pub(super) enum Question {
    /// A stranger elsewhere has the name of a live member: does that member still answer?
    Holder(Introduction),
    /// Does somebody live under our name there?
    Rival(Identity),
    /// The same, before the join through this seed goes on.
    PastLife(Identity, JoinId, SocketAddr),
}

impl Question {
    /// Whose presence it asks for.
    pub(super) fn name<'a>(&'a self, own: &'a Arc<str>) -> &'a Arc<str> {
        match self {
            Self::Holder(introduction) => introduction.name(),
            Self::Rival(_) | Self::PastLife(..) => own,
        }
    }
}

impl Node {
    pub(super) fn ask(&mut self, question: Question, addr: SocketAddr) {
        let patience = match question {
            Question::PastLife(..) => self.config.probe_timeout,
            _ => self.config.probe_interval,
        };
        let joins = matches!(question, Question::PastLife(..));
        if !joins && self.is_being_asked(addr) {
            self.metrics.dropped_strangers += 1;
            return;
        }
        let (seq, name) = (self.numbers.draw(), Arc::clone(question.name(&self.name)));
        if self.open(Purpose::Ask(question, seq), addr, patience) {
            self.transmit(addr, &name, Content::Ping { seq, target: Arc::clone(&name), first: None });
        }
    }

    /// The ping of a question was answered: the stream need not be waited for.
    pub(super) fn answers_question(&mut self, sender: &Sender, seq: u32) -> bool {
        let Some((stream, name)) = self.asked_under(seq) else { return false };
        let answered = sender.mark == hash::member(&name);
        if answered {
            self.end(stream, Ok(()));
        }
        answered
    }

    pub(super) fn conclude_question(
        &mut self,
        question: Question,
        peer: SocketAddr,
        result: Result<(), StreamFailure>,
    ) {
        match (question, result) {
            (Question::Holder(_), Ok(()) | Err(StreamFailure::NotTried)) => {
                self.metrics.dropped_strangers += 1
            }
            (Question::Holder(introduction), Err(_)) => self.hear_alive(&introduction.claim(), None),
            (Question::Rival(_), Err(StreamFailure::NotTried)) => {}
            (Question::Rival(_), Ok(())) => self.rival_answered(peer),
            (Question::Rival(claimed), Err(_)) => self.rival_is_silent(claimed),
            (Question::PastLife(_, join, _), Err(StreamFailure::NotTried)) => {
                self.join_attempted(join, Attempt::Failed(JoinProblem::Unavailable));
            }
            (Question::PastLife(_, join, _), Ok(())) => {
                self.report_conflict(peer);
                self.join_attempted(join, Attempt::Failed(JoinProblem::NameTaken { holder: peer }));
            }
            (Question::PastLife(past, join, seed), Err(_)) => {
                self.past_life_is_silent(past);
                self.open(Purpose::Join(join), seed, self.config.stream_timeout);
            }
        }
    }

    /// Whether a question is under way at an address.
    pub(super) fn is_being_asked(&self, addr: SocketAddr) -> bool {
        self.exchanges.opened.iter().any(|(stream, peer)| {
            let session = self.exchanges.sessions.get(stream);
            *peer == addr && session.is_some_and(|session| matches!(session.purpose, Purpose::Ask(..)))
        })
    }

    /// The stream of the question that was asked under this number as well, and whose name it is about.
    pub(super) fn asked_under(&self, seq: u32) -> Option<(StreamId, Arc<str>)> {
        self.exchanges.opened.iter().find_map(|(stream, _)| {
            match &self.exchanges.sessions.get(stream)?.purpose {
                Purpose::Ask(question, asked) if *asked == seq => {
                    Some((*stream, Arc::clone(question.name(&self.name))))
                }
                _ => None,
            }
        })
    }

    /// Whoever hangs up on a question is there, under whichever name: until its time is over the ping may be answered.
    pub(super) fn hung_up(&mut self, stream: StreamId, result: Result<(), StreamFailure>) -> bool {
        let asks = |session: &Session| matches!(session.purpose, Purpose::Ask(..));
        let waits =
            result == Err(StreamFailure::Rejected) && self.exchanges.sessions.get(&stream).is_some_and(asks);
        if waits {
            self.set_step(stream, Step::Closed);
        }
        waits
    }

    /// What was asked while we were held up has no answer.
    pub(super) fn withdraw_questions(&mut self) {
        let asks = |stream: &&StreamId| {
            let session = self.exchanges.sessions.get(stream);
            session.is_some_and(|session| matches!(session.purpose, Purpose::Ask(..)))
        };
        let asked: Vec<_> = self.exchanges.opened.keys().filter(asks).copied().collect();
        for stream in asked {
            self.end(stream, Err(StreamFailure::NotTried));
        }
    }
}
