//! A node and what its members say to each other: takes inputs, routes them, hands out what both produced.

use std::net::SocketAddr;

use super::messages::{Messages, Via};
use crate::{
    swim::{Destination, Event, Life, Metrics, Node, Output, StreamFailure, StreamId, StreamStep, Time},
    wire::{
        data::DataMessage,
        message::Malformed,
        packet::{self, Writer},
    },
};

/// A node of the membership protocol and the layer above it, driven as [`Node`] says.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) node: Node,
    pub(super) messages: Messages,
}

impl Endpoint {
    pub(crate) fn new(node: Node) -> Self {
        Self { node, messages: Messages::default() }
    }

    /// Takes in a datagram.
    pub(crate) fn handle_datagram(&mut self, now: Time, from: SocketAddr, bytes: &[u8]) {
        let waiting = self.node.waiting_transmits();
        self.node.handle_datagram(now, from, bytes);
        // One datagram in causes at most one datagram out.
        let is_answered = self.node.waiting_transmits() > waiting;
        self.take_in(now, bytes, |at| Via::Datagram { may_ask: at == 0 && !is_answered });
        self.settle(now);
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if self.node.poll_timeout().is_some_and(|at| at <= now) {
            self.node.handle_timeout(now);
        }
        self.messages.act(&mut self.node, now);
        self.settle(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.node.poll_timeout().into_iter().chain(self.messages.poll_timeout()).min()
    }

    /// Writes the next datagram into `buffer`, and says whereto.
    pub(crate) fn poll_transmit(&mut self, buffer: &mut Vec<u8>) -> Option<Destination> {
        let Some(to) = self.node.poll_transmit(buffer) else {
            return self.messages.poll_transmit(&mut self.node, buffer);
        };
        self.add(buffer);
        Some(to)
    }

    /// The next thing to do or to pass on.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        let output = self.node.poll_output()?;
        if let Output::Event(event) = &output {
            self.on_event(event);
        }
        Some(output)
    }

    /// Counters and gauges of the node and of this layer.
    pub(crate) fn metrics(&self) -> Metrics {
        let mut metrics = self.node.metrics();
        self.messages.add_to(&mut metrics);
        metrics
    }

    /// Takes in a stream that another node opened.
    pub(crate) fn accept_stream(&mut self, now: Time, from: SocketAddr) -> Option<StreamId> {
        self.node.accept_stream(now, from)
    }

    /// The driver begins to work on a stream.
    pub(crate) fn stream_began(&mut self, now: Time, stream: StreamId) {
        self.node.stream_began(now, stream);
    }

    /// What to do next with a stream.
    pub(crate) fn poll_stream(&mut self, now: Time, stream: StreamId, buffer: &mut Vec<u8>) -> StreamStep {
        if self.messages.has(stream) && self.messages.write_frame(&mut self.node, now, stream, buffer) {
            return StreamStep::Send;
        }
        let step = self.node.poll_stream(now, stream, buffer);
        if step == StreamStep::Send {
            self.add(buffer);
        }
        self.settle(now);
        step
    }

    /// Takes in a frame.
    pub(crate) fn handle_frame(&mut self, now: Time, stream: StreamId, bytes: &[u8]) {
        self.node.handle_frame(now, stream, bytes);
        self.take_in(now, bytes, |_| Via::Stream(stream));
        self.settle(now);
    }

    /// A stream could not be opened, broke off or took too long.
    pub(crate) fn handle_stream_failure(&mut self, now: Time, stream: StreamId, failure: StreamFailure) {
        self.node.handle_stream_failure(now, stream, failure);
        self.settle(now);
    }

    /// Takes in the sections of the last input that are for this layer, if they are proven to come from a live member.
    fn take_in(&mut self, now: Time, bytes: &[u8], via: impl Fn(usize) -> Via) {
        let Some(from) = self.node.data_sender() else { return };
        for (at, section) in packet::sections(bytes).flatten().enumerate() {
            if !section.is_data() {
                continue;
            }
            match section.data_message() {
                Ok(Some(message)) => self.on_message(now, &from, via(at), &message),
                // Of a later version.
                Ok(None) => {}
                Err(Malformed) => self.node.count_malformed(),
            }
        }
    }

    fn on_message(&mut self, now: Time, from: &Life, via: Via, message: &DataMessage<'_>) {
        if self.messages.on_message(&mut self.node, now, from, via, message).is_err() {
            self.node.count_malformed();
        }
    }

    /// Adds to a packet that the protocol wrote, if it goes to a member that takes more.
    fn add(&mut self, buffer: &mut Vec<u8>) {
        let Some(to) = self.node.data_recipient() else { return };
        let before = buffer.len();
        let mut packet = Writer::resume(buffer, self.node.config().max_datagram);
        self.fill(&to, &mut packet);
        packet.finish();
        self.node.count_added(buffer.len() - before);
    }

    fn fill(&mut self, _to: &Life, _packet: &mut Writer<'_>) {}

    fn on_event(&mut self, event: &Event) {
        self.messages.on_event(&self.node, event);
    }

    /// Learns of streams that have ended, and says how much there is to add to packets.
    pub(super) fn settle(&mut self, now: Time) {
        while let Some((stream, _)) = self.node.poll_data_stream_end() {
            self.messages.stream_ended(&self.node, now, stream);
        }
    }
}
