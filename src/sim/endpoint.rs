//! A node for the fuzzer, driven as [`Node`] is, with its data layer, which receives messages too.

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
};

use crate::{
    data,
    swim::{Destination, Node, Output, StreamFailure, StreamId, StreamStep, Time},
};

/// A node with its data layer.
#[derive(Debug)]
pub struct Endpoint(data::Endpoint);

/// Commands and getters are those of the node.
impl Deref for Endpoint {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.0.node
    }
}

impl DerefMut for Endpoint {
    fn deref_mut(&mut self) -> &mut Node {
        &mut self.0.node
    }
}

#[allow(missing_docs, reason = "they are those of a node")]
impl Endpoint {
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self(data::Endpoint::new(node))
    }

    pub fn handle_datagram(&mut self, now: Time, from: SocketAddr, bytes: &[u8]) {
        self.0.handle_datagram(now, from, bytes);
        self.0.hand_out();
    }

    pub fn handle_timeout(&mut self, now: Time) {
        self.0.handle_timeout(now);
        self.0.hand_out();
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.0.poll_timeout()
    }

    pub fn poll_transmit(&mut self, buffer: &mut Vec<u8>) -> Option<Destination> {
        self.0.poll_transmit(buffer)
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.0.poll_output()
    }

    pub fn accept_stream(&mut self, now: Time, from: SocketAddr) -> Option<StreamId> {
        self.0.accept_stream(now, from)
    }

    pub fn stream_began(&mut self, now: Time, stream: StreamId) {
        self.0.stream_began(now, stream);
    }

    pub fn poll_stream(&mut self, now: Time, stream: StreamId, buffer: &mut Vec<u8>) -> StreamStep {
        self.0.poll_stream(now, stream, buffer)
    }

    pub fn handle_frame(&mut self, now: Time, stream: StreamId, bytes: &[u8]) {
        self.0.handle_frame(now, stream, bytes);
        self.0.hand_out();
    }

    pub fn handle_stream_failure(&mut self, now: Time, stream: StreamId, failure: StreamFailure) {
        self.0.handle_stream_failure(now, stream, failure);
    }

    /// # Errors
    /// The inconsistency.
    pub fn audit(&self) -> Result<(), String> {
        self.0.node.audit()?;
        self.0.audit_state()
    }
}
