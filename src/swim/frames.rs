//! The frames of a stream: what is sent next, and which rule takes in what came.

use super::{
    contact::Contact,
    entry::{Input, RecordedBytes, RecordedOutput},
    node::Node,
    session::{Purpose, Session, Step},
    stream::{StreamFailure, StreamId, StreamStep},
    time::Time,
};
use crate::wire::{
    frame::MAX_FRAME,
    message::{BucketDigests, BucketSelection, End, Message, Same, StreamAck, StreamPing},
    packet::{self, Header},
};

/// The most bytes taken from one stream: a full table of the largest records.
const MAX_STREAM_BYTES: usize = 64 << 20;

impl Node {
    /// The next step of a stream; a frame to send is put into `buffer`, without its length prefix.
    pub fn poll_stream(&mut self, now: Time, stream: StreamId, buffer: &mut Vec<u8>) -> StreamStep {
        self.given(now, || Input::PollStream(stream));
        self.advance(now);
        self.upper.recipient = None;
        let step = self.take_step(stream, buffer);
        let frame = (step == StreamStep::Send).then(|| &**buffer);
        self.gave(|| RecordedOutput::Stream(step, frame.map(RecordedBytes::new)));
        step
    }

    fn take_step(&mut self, stream: StreamId, buffer: &mut Vec<u8>) -> StreamStep {
        let Some(session) = self.streams.sessions.get(&stream) else { return StreamStep::Close };
        let token = self.frame_token(stream, session);
        let header = Header { cluster: self.cluster, sender: self.mark, token };
        let mut frame = packet::Writer::new(buffer, header, MAX_FRAME);
        let next = match session.step {
            Step::Ask => {
                frame.message(&StreamPing { target: session.asked(&self.name) });
                Step::AwaitAnswer
            }
            Step::SendAnswer => {
                frame.message(&StreamAck { name: &self.name });
                Step::Over
            }
            Step::SendHello => self.write_hello(&mut frame, session),
            Step::SendBucketDigests => {
                let digests: Vec<_> =
                    self.table.bucket_digests().iter().map(|digest| digest.to_le_bytes()).collect();
                frame.message(&BucketDigests { digests: digests.as_flattened() });
                Step::AwaitSelection
            }
            Step::SendSelection => {
                frame.message(&BucketSelection { buckets: session.buckets });
                Step::AwaitTable
            }
            Step::SendSame => {
                frame.message(&Same {});
                Step::Over
            }
            Step::SendTable(from) => self.write_table(&mut frame, from, session),
            Step::SendEnd => {
                frame.message(&End {});
                Step::Over
            }
            Step::SendCarried => return self.send_carried(stream, buffer),
            Step::AwaitTable
            | Step::AwaitEnd
            | Step::AwaitAnswer
            | Step::AwaitOpening
            | Step::AwaitSelection
            | Step::AwaitReturn
            | Step::AwaitCarried
            | Step::Data => return StreamStep::Receive,
            Step::Over => {
                self.end(stream, Ok(()));
                return StreamStep::Close;
            }
            Step::Closed => return StreamStep::Close,
        };
        frame.finish();
        self.joins.said_hello |=
            session.step == Step::SendHello && matches!(session.purpose, Purpose::Join(_));
        self.set_step(stream, next);
        StreamStep::Send
    }

    /// The token that this node shows to the other side.
    fn frame_token(&self, stream: StreamId, session: &Session) -> u32 {
        match (session.token, &session.purpose) {
            // To be known by, if it is this node itself that is reached.
            (_, Purpose::Join(_)) if session.step == Step::SendHello => self.own_token(stream),
            (_, Purpose::Ask(..)) => self.own_token(stream),
            (0, _) => {
                let find =
                    |is: fn(&Contact) -> bool| self.table.find_at(session.peer, |one| is(&one.contact));
                // Others can be claimed to be there, too.
                let gave_one = find(|it| it.takes_updates()).or_else(|| find(|it| it.held != 0));
                gave_one.map_or(0, |id| self.table.get(id).contact.held)
            }
            (token, _) => token,
        }
    }

    /// Takes a frame. Anything but this protocol ends the stream.
    pub fn handle_frame(&mut self, now: Time, stream: StreamId, bytes: &[u8]) {
        self.given(now, || Input::Frame { stream, bytes });
        self.advance(now);
        self.upper.begin();
        let Some(session) = self.streams.sessions.get_mut(&stream) else { return };
        session.received = session.received.saturating_add(bytes.len());
        if session.received > MAX_STREAM_BYTES {
            self.metrics.refused_streams += 1;
            return self.end(stream, Err(StreamFailure::Rejected));
        }
        let (header, sections) = match packet::open(bytes, self.cluster) {
            Ok(opened) => opened,
            Err(reject) => {
                self.count_reject(reject);
                return self.end(stream, Err(StreamFailure::Rejected));
            }
        };
        // One member speaks in a stream: it could otherwise speak for several.
        if header.sender != 0 {
            if ![0, header.sender].contains(&session.mark) {
                return self.reject(stream);
            }
            session.mark = header.sender;
        }
        if self.is_carried(stream, &sections) {
            return self.on_carried(stream, header, sections);
        }
        if self.is_data_frame(stream, &sections) {
            if !self.on_data_frame(stream, header) {
                self.reject(stream);
            }
            return;
        }
        self.recognize_caller(stream, header.token);
        for section in sections {
            let Ok(section) = section else { return self.reject(stream) };
            match section.message() {
                Ok(Some(message)) if self.handle_stream_message(stream, header.token, &message) => {}
                Ok(None) => {}
                // One member's record must not keep all others from being exchanged.
                Err(_) if section.is_claim() => self.metrics.dropped_malformed += 1,
                _ => return self.reject(stream),
            }
        }
    }

    fn reject(&mut self, stream: StreamId) {
        self.metrics.dropped_malformed += 1;
        self.end(stream, Err(StreamFailure::Rejected));
    }

    /// Processes a message. Returns whether it belongs here.
    fn handle_stream_message(&mut self, stream: StreamId, token: u32, message: &Message<'_>) -> bool {
        let Some(session) = self.streams.sessions.get(&stream) else { return true };
        match (session.step, message) {
            (Step::AwaitOpening, Message::StreamPing(ping)) => self.on_stream_ping(stream, token, ping),
            (Step::AwaitAnswer, Message::StreamAck(ack)) => self.on_stream_ack(stream, ack),
            _ => return self.on_push_pull(stream, token, message),
        }
        true
    }
}
