//! Datagrams between hosts.

use std::net::SocketAddr;

use super::{Delivery, OUTSIDE, World};
use crate::wire::hash;

impl World {
    /// Sends a datagram from outside of the cluster, with any source address.
    pub(in crate::sim) fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let Some(target) = self.host_at(to).filter(|target| self.admits(*target, from, to)) else { return };
        let copies = self.net.pass(OUTSIDE, target, self.now, &mut self.rng);
        for delay in copies.into_iter().flatten() {
            let delivery = Delivery::Datagram { from, to, bytes: bytes.clone() };
            self.schedule(OUTSIDE, target, self.now + delay, delivery);
        }
    }

    /// Whether a datagram to an address of a host gets through a firewall or translator before that host.
    fn admits(&self, host: usize, from: SocketAddr, to: SocketAddr) -> bool {
        self.paths.admits(host, self.hosts[host].addr, from, to, self.now)
    }

    pub(super) fn send(&mut self, from: usize, to: SocketAddr, bytes: &[u8]) {
        self.datagrams += 1;
        let sent = self.now.max(self.hosts[from].blocked_until);
        let route = (from as u64) << 48 | u64::from(to.port()) << 32 | u64::from(crc32fast::hash(bytes));
        self.trace =
            hash::mix(self.trace ^ route ^ (self.now.since_origin().as_nanos() as u64).rotate_left(17));
        let from_addr = self.paths.source(from, self.hosts[from].addr, to, self.now, &mut self.rng);
        let target = match self.host_at(to) {
            Some(target) if !self.admits(target, from_addr, to) => return,
            Some(target) => target,
            None if self.ghosts.answers_at(to, self.now) => OUTSIDE,
            None => return,
        };
        let copies = self.net.pass(from, target, sent, &mut self.rng);
        for delay in copies.into_iter().flatten() {
            let mut copy = self.buffers.pop().unwrap_or_default();
            copy.clear();
            copy.extend_from_slice(bytes);
            let delivery = Delivery::Datagram { from: from_addr, to, bytes: copy };
            self.schedule(from, target, sent + delay, delivery);
        }
    }
}
