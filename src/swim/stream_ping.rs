//! Stream pings: does the holder of a name answer at this address? Asked by a probe or a question.

use super::{
    node::Node,
    phase::Phase,
    session::{Session, Step},
    stream::{StreamFailure, StreamId},
};
use crate::wire::{
    message::{StreamAck, StreamPing},
    packet,
};

impl Node {
    /// Writes the ping or its answer, and says what comes next.
    pub(super) fn write_stream_ping(&self, frame: &mut packet::Writer<'_>, session: &Session) -> Step {
        if session.step == Step::Ask {
            frame.message(&StreamPing { target: session.asked(&self.name) });
            Step::AwaitAnswer
        } else {
            frame.message(&StreamAck { name: &self.name });
            Step::Over
        }
    }

    pub(super) fn on_stream_ping(&mut self, stream: StreamId, ping: &StreamPing<'_>) {
        let holds = !self.is_leaving() && self.phase != Phase::Displaced;
        let meant = ping.target == &*self.name && holds;
        if meant {
            self.note_pinged();
        }
        self.set_step(stream, if meant { Step::SendAnswer } else { Step::Over });
    }

    pub(super) fn on_stream_ack(&mut self, stream: StreamId, ack: &StreamAck<'_>) {
        let Some(session) = self.streams.sessions.get(&stream) else { return };
        let answered = ack.name == &**session.asked(&self.name);
        self.end(stream, if answered { Ok(()) } else { Err(StreamFailure::Rejected) });
    }
}
