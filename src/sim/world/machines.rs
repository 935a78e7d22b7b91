//! What becomes of a machine and of its process, and what its application does.

use std::{net::SocketAddr, time::Duration};

use super::{ORIGIN, World};
use crate::{
    swim::{Node, Start, Time},
    wire::Tags,
};

impl World {
    pub(super) fn boot(&mut self, at: usize) {
        let seed = self.rng.u128(..);
        let right = self.epoch();
        let host = &mut self.hosts[at];
        let epoch = (right + host.clock.as_millis() as u64).saturating_add_signed(host.epoch_error);
        let start = Start { addr: host.addr, epoch, seed, tags: Tags::default() };
        let now = self.now + host.clock;
        let mut node = Node::new(host.config.clone(), start, now);
        if !host.seeds.is_empty() {
            node.seek_seeds(now);
        }
        host.node = Some(Box::new(node));
        host.left = false;
        host.life += 1;
        (host.wakes_at, host.stops_when_left) = (None, false);
        (host.paused_until, host.blocked_until, host.stuck) = (Time::ZERO, Time::ZERO, None);
        host.late_until = Time::ZERO;
        self.by_addr.insert(host.addr, at);
        if let Some(checker) = &mut self.checker {
            checker.started(at, &self.hosts[at]);
        }
        self.drive(at);
    }

    /// A new life of a host that is down, under its old name, at its address.
    pub fn restart(&mut self, host: usize) {
        self.crash(host);
        self.boot(host);
    }

    /// A new life of a host that is down, under its old name, at another address.
    pub fn restart_at(&mut self, host: usize, addr: SocketAddr) {
        self.crash(host);
        self.hosts[host].addr = addr;
        self.boot(host);
    }

    /// A new life of a host, which takes its epoch from a clock that is off by so many milliseconds.
    pub fn restart_with_clock_off(&mut self, host: usize, millis: i64) {
        self.crash(host);
        self.hosts[host].epoch_error = millis;
        self.boot(host);
        self.hosts[host].epoch_error = 0;
    }

    /// Milliseconds since 1970, by a clock that is right.
    pub(in crate::sim) fn epoch(&self) -> u64 {
        1_700_000_000_000 + self.now.since(ORIGIN).as_millis() as u64
    }

    /// The machine is gone, without a word.
    pub fn crash(&mut self, host: usize) {
        let down = &mut self.hosts[host];
        down.node = None;
        if self.by_addr.get(&down.addr) == Some(&host) {
            self.by_addr.remove(&down.addr);
        }
        self.links.retain(|end, link| end.0 != host && link.peer.0 != host);
        if let Some(checker) = &mut self.checker {
            checker.stopped(host);
        }
    }

    /// Stops a host's process for a while: what arrives waits, no timer runs.
    pub fn pause(&mut self, host: usize, length: Duration) {
        self.hosts[host].paused_until = self.now + length;
        self.disturbed();
    }

    /// Holds up a host's sends and what it should receive, while timers run (Lifeguard §V-D): each of its loops gets
    /// as far as its next send.
    pub fn block(&mut self, host: usize, length: Duration) {
        self.hosts[host].blocked_until = self.now + length;
        self.hosts[host].stuck.get_or_insert_default();
        self.hosts[host].wakes_at = None;
        self.reschedule(host);
        self.disturbed();
    }

    /// No timer of a host fires for a while, though it takes in what arrives.
    pub fn delay_timers(&mut self, host: usize, length: Duration) {
        self.hosts[host].late_until = self.now + length;
        self.disturbed();
    }

    /// Sets a host's clock forward.
    pub fn jump_clock(&mut self, host: usize, by: Duration) {
        self.hosts[host].clock += by;
        if let Some(checker) = &mut self.checker {
            checker.clock_jumped(host, by);
        }
        self.hosts[host].wakes_at = None;
        self.reschedule(host);
        self.disturbed();
    }

    /// Has a host join, which must report exactly once.
    ///
    /// # Panics
    /// If the host is down.
    pub fn join(&mut self, host: usize, ticket: u64, addrs: &[SocketAddr]) {
        if let Some(checker) = &mut self.checker {
            checker.join_asked(host, ticket);
        }
        self.with(host, |node, now| node.join(now, ticket, addrs));
    }

    /// Has a host say good-bye and go down once that is done.
    ///
    /// # Panics
    /// If the host is down.
    pub fn leave_and_stop(&mut self, host: usize) {
        self.hosts[host].stops_when_left = true;
        self.with(host, |node, now| node.leave(now));
    }
}
