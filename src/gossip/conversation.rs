//! Runs a stream between the node and the other side: sends what the node has to send, passes received frames to the node,
//! and tells it how the stream ended.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use super::{
    counters::Counters,
    dial::{Dial, StreamError},
    framed_stream::FramedStream,
    peer_log::{Mismatch, PeerLog, Via},
    queue::{Place, account_of},
    secrets::Secrets,
    shared_node::SharedNode,
    timed_socket::Deadline,
    workers::Workers,
};
use crate::{
    log_line::{Log, Topic, log},
    swim::{StreamFailure, StreamId, StreamStep},
};

/// The parts that every stream of a node uses.
#[derive(Debug)]
pub(super) struct Conversations {
    pub(super) node: Arc<SharedNode>,
    pub(super) secrets: Arc<Secrets>,
    pub(super) counters: Arc<Counters>,
    pub(super) dial: Dial,
    /// The mark of this node's cluster.
    pub(super) cluster: u32,
    pub(super) peers: Arc<PeerLog>,
}

/// The other side of a stream, and which of the two opened it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Other {
    /// This node opened the stream towards that address.
    Called(SocketAddr),
    /// The other side opened the stream, from that address.
    Caller(SocketAddr),
}

/// A stream that the node has to open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing {
    pub(super) stream: StreamId,
    pub(super) addr: SocketAddr,
    pub(super) timeout: Duration,
}

impl Conversations {
    /// Queues work on a stream of the node in a pool.
    pub(super) fn submit(
        self: &Arc<Self>,
        pool: &Workers,
        Outgoing { stream, addr, timeout }: Outgoing,
        work: impl FnOnce(&Self, Deadline<'_>) -> Result<(), StreamError> + Send + 'static,
    ) {
        let talk = Arc::clone(self);
        pool.submit(account_of(addr.ip()), timeout, move |place| {
            talk.node.guarded("stream", || match place {
                Some(place) => {
                    let deadline = Deadline::after(&talk.node.stop, timeout).at(place);
                    if let Err(error) = work(&talk, deadline) {
                        talk.give_up(stream, Other::Called(addr), place, error);
                    }
                }
                None => talk.fail(stream, StreamFailure::NotTried),
            });
        });
    }

    /// Work on a stream of the node begins: its timeout counts from now on.
    pub(super) fn begin(&self, stream: StreamId) {
        self.node.drive(|endpoint, now| endpoint.stream_began(now, stream));
        self.node.wake();
    }

    /// Follows the node's instructions until it closes the stream.
    pub(super) fn run(&self, stream: StreamId, mut framed: FramedStream<'_>) -> Result<(), StreamError> {
        let mut buffer = Vec::new();
        loop {
            match self.node.drive(|endpoint, now| endpoint.poll_stream(now, stream, &mut buffer)) {
                StreamStep::Send => framed.send(&mut buffer)?,
                StreamStep::Receive => self.receive(stream, &mut framed, &mut buffer)?,
                StreamStep::Close => {
                    self.node.wake();
                    return Ok(());
                }
            }
        }
    }

    /// Receives a frame and passes it to the node, unless the stream was opened to change keys.
    pub(super) fn receive(
        &self,
        stream: StreamId,
        framed: &mut FramedStream<'_>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        framed.receive(buffer)?;
        if framed.is_for_keys() {
            let mut frame = std::mem::take(buffer);
            answer_key_change(&self.secrets, &self.node.name, &mut frame);
            return framed.send(&mut frame).and(Err(io::Error::other("it was about keys, and is done")));
        }
        let mismatch = Mismatch::of_packet(buffer, self.cluster);
        self.node.drive(|endpoint, now| endpoint.handle_frame(now, stream, buffer));
        self.node.wake();
        // The node has ended the stream by then.
        mismatch.map_or(Ok(()), |mismatch| Err(mismatch.into()))
    }

    /// Tells the node about a stream that failed on a place: if the place was recalled, or the node stops, the failure is
    /// this node's own.
    pub(super) fn give_up(&self, stream: StreamId, other: Other, place: &Place, mut error: StreamError) {
        if place.is_recalled() {
            self.counters.count(|counted| counted.refused_streams += 1);
        }
        let is_cut_off = place.is_recalled() || self.node.stop.is_stopped();
        if error.failure == StreamFailure::TimedOut && is_cut_off {
            error.failure = StreamFailure::NotTried;
        }
        self.report_failure(stream, other, error);
    }

    pub(super) fn report_failure(
        &self,
        stream: StreamId,
        other: Other,
        StreamError { failure, error }: StreamError,
    ) {
        let (peer, opened_by) = match other {
            Other::Called(addr) => (addr, "us"),
            Other::Caller(addr) => (addr, "peer"),
        };
        match (Mismatch::of_error(&error), other) {
            (Some(mismatch), _) => self.peers.mismatch(mismatch, peer, Via::Stream, &mut Log),
            (None, Other::Called(_)) if failure == StreamFailure::Rejected && !self.is_alive_at(peer) => {
                self.peers.rejected(peer, &error, &mut Log);
            }
            _ => {}
        }
        let failed = match failure {
            StreamFailure::Refused => "refused",
            StreamFailure::TimedOut => "timed out",
            StreamFailure::Rejected => "rejected",
            StreamFailure::NotTried => "not tried",
        };
        log(
            Topic::StreamFailed,
            &[
                ("peer", &peer),
                ("opened_by", &opened_by),
                ("failure", &failed),
                ("error", &error),
                ("node", &self.node.name),
            ],
        );
        self.fail(stream, failure);
    }

    fn is_alive_at(&self, addr: SocketAddr) -> bool {
        self.node.with(|node, _| node.is_alive_at(addr))
    }

    pub(super) fn fail(&self, stream: StreamId, failure: StreamFailure) {
        self.node.drive(|endpoint, now| endpoint.handle_stream_failure(now, stream, failure));
        self.node.wake();
    }
}

#[cfg(feature = "encryption")]
use super::key_change::answer as answer_key_change;

#[cfg(not(feature = "encryption"))]
fn answer_key_change(_: &Secrets, _: &str, _: &mut Vec<u8>) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{gossip::running::Running, log_line::capture};

    #[test]
    fn a_mismatch_is_logged_with_the_peers_address_whichever_side_opened_the_stream() {
        let (running, _threads) = Running::idle();
        let stream = running.node.with(|node, now| node.accept_stream(now, peer(1)).unwrap());
        for (other, host) in [(Other::Called(peer(1)), 1), (Other::Caller(peer(2)), 2)] {
            let error = StreamError { failure: StreamFailure::Rejected, error: Mismatch::Cluster.into() };
            let lines = capture::lines(|| running.talk.report_failure(stream, other, error));
            let line = format!("wrong cluster peer=10.0.0.{host}:7 via=stream");
            assert!(lines.iter().any(|written| written.starts_with(&line)), "{lines:?}");
            let by = if host == 1 { "us" } else { "peer" };
            let line = format!("stream failed peer=10.0.0.{host}:7 opened_by={by} failure=rejected error=");
            assert!(lines.iter().any(|written| written.starts_with(&line)), "{lines:?}");
        }
        running.abort().unwrap();
    }

    fn peer(host: u8) -> SocketAddr {
        ([10, 0, 0, host], 7).into()
    }
}
