//! Streams between hosts.

use std::{net::SocketAddr, time::Duration};

use super::{Delivery, End, Link, World};
use crate::swim::{StreamFailure, StreamId, StreamStep, Time};

impl World {
    pub(super) fn accept(&mut self, from: End, host: usize) {
        // The peer's port means nothing, as that of real streams.
        let own = self.hosts[host].addr;
        let peer = self.paths.source(from.0, self.hosts[from.0].addr, own, self.now, &mut self.rng);
        let Some(accepted) = self.drive_with(host, |endpoint, now| endpoint.accept_stream(now, peer)) else {
            return self.fail(from, StreamFailure::Rejected, self.now);
        };
        let end = (host, self.hosts[host].life, accepted);
        self.links.insert(from, Link { peer: end, last: self.now });
        self.links.insert(end, Link { peer: from, last: self.now });
        self.pump(from);
    }

    /// Whether this end's host is still in the same life.
    pub(super) fn is_up(&self, end: End) -> bool {
        self.hosts[end.0].is_up() && self.hosts[end.0].life == end.1
    }

    /// Sends what one end of a stream has to send.
    pub(super) fn pump(&mut self, end: End) {
        if !self.is_up(end) {
            return;
        }
        let mut buffer = Vec::new();
        loop {
            match self.drive_with(end.0, |endpoint, now| endpoint.poll_stream(now, end.2, &mut buffer)) {
                StreamStep::Send => self.send_frame(end, std::mem::take(&mut buffer)),
                StreamStep::Receive => return,
                StreamStep::Close => {
                    if let Some(link) = self.links.remove(&end) {
                        self.fail(link.peer, StreamFailure::Rejected, link.last);
                    }
                    return;
                }
            }
        }
    }

    fn send_frame(&mut self, end: End, bytes: Vec<u8>) {
        let Some(to) = self.links.get(&end).map(|link| link.peer) else { return };
        let sent = self.now.max(self.hosts[end.0].blocked_until);
        let Some(delay) = self.net.pass_segment(end.0, to.0, sent, &mut self.rng) else { return };
        let Some(link) = self.links.get_mut(&end) else { return };
        link.last = link.last.max(sent + delay);
        let at = link.last;
        self.schedule(end.0, to.0, at, Delivery::Frame { to, bytes });
    }

    /// Tells one end that the stream is over, after everything that was sent to it before.
    pub(super) fn fail(&mut self, to: End, failure: StreamFailure, behind: Time) {
        let at = behind.max(self.now) + Duration::from_millis(1);
        self.queue.deliver(at, Delivery::Failure { to, failure });
    }

    pub(super) fn connect(&mut self, from: usize, stream: StreamId, addr: SocketAddr) {
        let end = (from, self.hosts[from].life, stream);
        let sent = self.now.max(self.hosts[from].blocked_until);
        // Whether a host listens there is checked on arrival.
        let to = self.host_at(addr).unwrap_or(from);
        if !self.paths.admits_stream(to, self.hosts[to].addr, addr) {
            return;
        }
        let Some(delay) = self.net.pass_handshake(from, to, sent, &mut self.rng) else { return };
        self.schedule(from, to, sent + delay, Delivery::Connect { from: end, to: addr });
    }
}
