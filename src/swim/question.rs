//! Questions: does the holder of a name still answer to it at this address?
//!
//! Asked by stream and by datagram at once, when the driver begins; any answer counts. A name passes to another only if there
//! was no answer; a question that could not be sent, for lack of a thread or of room, decides nothing. Each address gets one
//! at a time of the questions that others cause.

use std::{net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    claims::Authority,
    introduce::Introduction,
    join::{Attempt, JoinId},
    member::Identity,
    node::Node,
    phase::Phase,
    session::{Purpose, Step},
    stream::{StreamFailure, StreamId, Streams},
    timers::Timer,
    transmit::{Behind, Content},
    validation::Sender,
};
use crate::{
    JoinProblem,
    wire::{
        hash,
        message::{StreamAck, StreamPing},
    },
};

/// Questions at the same time that others cause; more are not asked.
const MAX_CAUSED: usize = 8;
/// The part of `probe_timeout` that a question's ping still has after its stream was refused.
const AFTER_REFUSAL: u32 = 4;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Question {
    /// An unverified peer that called from such an address has the name of a live member that is elsewhere: does that member
    /// still answer?
    Holder(Introduction, SocketAddr),
    /// A member whose probes failed has called from its host, or is claimed to be at another address: does it answer?
    Returned(Introduction),
    /// Does another node answer to this node's name there?
    Conflict(Identity),
    /// The same, before the join through this seed goes on.
    PastLife(Identity, JoinId, SocketAddr),
}

impl Question {
    /// The name it asks for.
    pub(super) fn name<'a>(&'a self, own: &'a Arc<str>) -> &'a Arc<str> {
        match self {
            Self::Holder(introduction, _) | Self::Returned(introduction) => &introduction.name,
            Self::Conflict(_) | Self::PastLife(..) => own,
        }
    }

    /// Whether others cause it. Those about this node's own name are paced.
    fn is_caused(&self) -> bool {
        matches!(self, Self::Holder(..) | Self::Returned(_))
    }
}

impl Node {
    pub(super) fn ask(&mut self, question: Question, addr: SocketAddr) {
        let joins = matches!(question, Question::PastLife(..));
        let patience = if joins { self.config.probe_timeout } else { self.config.probe_interval };
        let caused = || self.questions().filter(|question| question.is_caused()).count();
        // Questions that others cause give way: they must not keep this node from asking for its own name.
        if question.is_caused() && (caused() >= MAX_CAUSED || self.is_being_asked(addr)) {
            self.metrics.dropped_unverified += 1;
            return;
        }
        let seq = self.numbers.draw();
        self.open(Purpose::Ask(question, seq), addr, patience);
    }

    /// The ping of a question. Not before its stream begins: the answer to the datagram that caused the question would take its
    /// place, and a host that refuses streams would count as silent without having been asked.
    pub(super) fn ping_for_question(&mut self, stream: StreamId) {
        let Some(session) = self.streams.sessions.get(&stream) else { return };
        let Purpose::Ask(question, seq) = &session.purpose else { return };
        let (seq, addr, name) = (*seq, session.peer, Arc::clone(question.name(&self.name)));
        let ping = Content::Ping { seq, target: Arc::clone(&name), behind: Behind::Nothing };
        // The stream goes there anyway.
        self.transmit_by_datagram(addr, &name, ping);
    }

    /// The stream of the question whose ping has this number, where it is asked, and the name that it asks for.
    fn question_of(&self, seq: u32) -> Option<(StreamId, SocketAddr, &Arc<str>)> {
        let mut asked = self.asked();
        let (stream, addr, question, _) = asked.find(|(_, _, _, its)| *its == seq)?;
        Some((stream, addr, question.name(&self.name)))
    }

    /// The ping of a question was answered: the stream need not be waited for. If it is the answer of a new life, which its
    /// token tells, that life has to say where it is.
    pub(super) fn take_question_answer(&mut self, sender: &mut Sender, seq: u32, token: Option<u32>) -> bool {
        let asked = self.question_of(seq).filter(|(_, _, name)| sender.mark == hash::member(name));
        let Some((stream, addr, name)) = asked.map(|(stream, addr, name)| (stream, addr, Arc::clone(name)))
        else {
            return false;
        };
        self.on_direct_answer(sender, &name, addr, token);
        self.end(stream, Ok(()));
        true
    }

    /// Whether a ping in this node's name is that of its own question, which has come back to it.
    pub(super) fn recognize_own_ping(&mut self, sender: &Sender, seq: u32) -> bool {
        if sender.mark != self.mark {
            return false;
        }
        let Some((stream, ..)) = self.question_of(seq) else { return false };
        self.nobody_else_answers(stream);
        true
    }

    /// A question has reached this node itself: the address is one of its host, and the holder asked for is not there.
    pub(super) fn nobody_else_answers(&mut self, stream: StreamId) {
        self.end(stream, Err(StreamFailure::TimedOut));
    }

    /// A stream ping: another node asks whether this one holds the name, unless it is this node's own.
    pub(super) fn on_stream_ping(&mut self, stream: StreamId, token: u32, ping: &StreamPing<'_>) {
        let holds = !self.is_leaving() && self.phase != Phase::Displaced;
        let meant = ping.target == &*self.name && !self.recognize_own_stream(token) && holds;
        if meant {
            self.note_pinged();
        }
        self.set_step(stream, if meant { Step::SendAnswer } else { Step::Over });
    }

    /// The answer to the stream ping of a question or of a probe.
    pub(super) fn on_stream_ack(&mut self, stream: StreamId, ack: &StreamAck<'_>) {
        let Some(session) = self.streams.sessions.get(&stream) else { return };
        let answered = ack.name == &**session.asked(&self.name);
        self.end(stream, if answered { Ok(()) } else { Err(StreamFailure::Rejected) });
    }

    pub(super) fn conclude_question(
        &mut self,
        question: Question,
        peer: SocketAddr,
        result: Result<(), StreamFailure>,
    ) {
        match (question, result) {
            (Question::Holder(..), Ok(()) | Err(StreamFailure::NotTried)) => {
                self.metrics.dropped_unverified += 1
            }
            (Question::Holder(introduction, _), Err(_)) => {
                // Meanwhile it may live elsewhere.
                match self.table.find_live(&introduction.name) {
                    Some(id) if self.table.get(id).addr == peer => {
                        // So it has moved.
                        self.table.contact_mut(id).silent = true;
                        let holder = self.table.claimant_at(peer);
                        self.on_alive(&introduction.claim(), Authority::Other(holder));
                    }
                    _ => self.metrics.dropped_unverified += 1,
                }
            }
            (Question::Returned(introduction), Ok(())) => {
                self.note_answer_at(&introduction.name, peer);
                self.on_alive(&introduction.claim(), Authority::AnsweredThere);
            }
            (Question::Returned(_), Err(_)) => {}
            (Question::Conflict(_), Err(StreamFailure::NotTried)) => {}
            (Question::Conflict(claimed), Ok(())) => self.confirm_conflict(claimed, peer),
            (Question::Conflict(claimed), Err(_)) => self.dismiss_conflict(claimed),
            (Question::PastLife(_, join, _), Err(StreamFailure::NotTried)) => {
                self.join_attempted(join, Attempt::Failed(JoinProblem::NotTried { addr: peer }));
            }
            (Question::PastLife(_, join, _), Ok(())) => {
                self.report_conflict(peer);
                self.join_attempted(join, Attempt::Failed(JoinProblem::NameTaken { holder: peer }));
            }
            (Question::PastLife(past, join, seed), Err(_)) => {
                self.past_life_is_silent(past, peer);
                self.open(Purpose::Join(join), seed, self.config.stream_timeout);
            }
        }
    }

    /// The questions under way: their streams, where they are asked, and the numbers of their pings.
    fn asked(&self) -> impl Iterator<Item = (StreamId, SocketAddr, &Question, u32)> {
        let Streams { opened, sessions, .. } = &self.streams;
        opened.iter().filter_map(|(stream, addr)| match &sessions.get(stream)?.purpose {
            Purpose::Ask(question, seq) => Some((*stream, *addr, question, *seq)),
            _ => None,
        })
    }

    pub(super) fn questions(&self) -> impl Iterator<Item = &Question> {
        self.asked().map(|(_, _, question, _)| question)
    }

    /// Whether a question is under way at an address.
    pub(super) fn is_being_asked(&self, addr: SocketAddr) -> bool {
        self.asked().any(|(_, at, _, _)| at == addr)
    }

    /// A stream that was rejected or refused leaves a question open (a firewall may refuse streams): the ping may still be
    /// answered, in what is left of the question's time or a part of `probe_timeout`. Says whether it is waited for.
    pub(super) fn keep_waiting(&mut self, stream: StreamId, result: Result<(), StreamFailure>) -> bool {
        let waits = match result {
            Err(StreamFailure::Rejected) => None,
            Err(StreamFailure::Refused) => Some(self.config.probe_timeout / AFTER_REFUSAL),
            _ => return false,
        };
        let session = self.streams.sessions.get_mut(&stream).filter(|session| session.asks());
        let Some(session) = session.filter(|session| session.step != Step::Closed) else { return false };
        (session.step, session.began) = (Step::Closed, true);
        if let Some(waits) = waits {
            self.set_timer(Timer::Stream(stream), waits);
        }
        true
    }

    /// After a stall: questions under way decide nothing.
    pub(super) fn withdraw_questions(&mut self) {
        let asked: Vec<_> = self.asked().map(|(stream, ..)| stream).collect();
        for stream in asked {
            self.end(stream, Err(StreamFailure::NotTried));
        }
    }
}
