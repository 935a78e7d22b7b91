//! Machines and their processes, and the calls of their applications.

use std::{net::SocketAddr, time::Duration};

use super::{ORIGIN, World};
use crate::{
    data::Endpoint,
    sim::paths::Nat,
    swim::{Node, Start, Time},
    wire::Tags,
};

impl World {
    pub(super) fn boot(&mut self, at: usize) {
        self.learn_new_address(at);
        let found = self.read_state(at);
        let seed = self.rng.u128(..);
        let right = self.epoch();
        let host = &mut self.hosts[at];
        let epoch = (right + host.clock.as_millis() as u64).saturating_add_signed(host.epoch_error);
        let start = Start { addr: host.addr, epoch, seed, tags: Tags::default() };
        let now = self.now + host.clock;
        let mut endpoint = Endpoint::new(Node::new(host.config.clone(), start, now));
        let (node, seeks) = (&mut endpoint.node, !host.seeds.is_empty());
        self.record_life(at, node);
        found.iter().for_each(|found| node.rejoin(now, &found.past));
        self.begin_state(at, node);
        if seeks {
            node.seek_seeds(now);
        }
        let host = &mut self.hosts[at];
        endpoint.broadcasts.restore(found.iter().flat_map(|found| found.heads.iter()));
        host.endpoint = Some(Box::new(endpoint));
        host.left = false;
        host.life += 1;
        (host.booted, host.received) = (self.now, Vec::new());
        (host.wakes_at, host.stops_when_left) = (None, false);
        (host.paused_until, host.blocked_until, host.blocked_io) = (Time::ZERO, Time::ZERO, None);
        host.late_until = Time::ZERO;
        self.by_addr.insert(host.addr, at);
        if let Some(checker) = &mut self.checker {
            checker.started(at, &self.hosts[at]);
        }
        self.drive(at);
    }

    /// Begins a new life of a host, under its old name, at its address; a host that is up crashes first.
    pub fn restart(&mut self, host: usize) {
        self.crash(host);
        self.boot(host);
    }

    /// Begins a new life of a host, which takes its epoch from a clock that is off by this many milliseconds.
    pub fn restart_with_clock_off(&mut self, host: usize, millis: i64) {
        self.crash(host);
        self.hosts[host].epoch_error = millis;
        if let Some(checker) = &mut self.checker {
            checker.judge.end();
            checker.clock_may_be_behind(&self.hosts[host].config.name);
        }
        self.boot(host);
        self.hosts[host].epoch_error = 0;
    }

    /// Milliseconds since 1970, by a clock that is right.
    pub(crate) fn epoch(&self) -> u64 {
        1_700_000_000_000 + self.now.since(ORIGIN).as_millis() as u64
    }

    /// The machine crashes, without a leave.
    pub fn crash(&mut self, host: usize) {
        self.end_recording(host);
        self.end_state(host);
        let down = &mut self.hosts[host];
        (down.endpoint, down.membership) = (None, None);
        if self.by_addr.get(&down.addr) == Some(&host) {
            self.by_addr.remove(&down.addr);
        }
        self.links.retain(|end, link| end.0 != host && link.peer.0 != host);
        if let Some(checker) = &mut self.checker {
            checker.stopped(host);
        }
    }

    /// From now on a host's packets leave from behind a translator of addresses, which forwards packets to its advertised
    /// address. Each binding is another mapped address.
    pub fn map_source(&mut self, host: usize, nat: Nat, binding: u8) {
        self.paths.map(host, nat, binding);
    }

    /// From now on a host has a second address, and sends from either at random.
    pub fn add_second_address(&mut self, host: usize) {
        self.paths.add_second(host);
    }

    /// From now on a host sends from its advertised address.
    pub fn unmap_source(&mut self, host: usize) {
        self.paths.unmap(host);
    }

    /// Closes a host's advertised address, or opens it again. While it is closed, others reach the host only with
    /// answers to packets from there, though the host reaches them.
    pub fn close(&mut self, host: usize, closed: bool) {
        self.paths.close(host, closed);
        self.note_reach(host);
    }

    /// Ends the effect of [`close`](Self::close) for all hosts.
    pub fn open_all(&mut self) {
        self.paths.closed().into_iter().for_each(|host| self.close(host, false));
    }

    /// A host gets another address, which its node does not know until it is restarted. No host has the old one.
    pub fn replace_address(&mut self, host: usize, n: u8) {
        self.paths.replace(host, n);
        self.links.retain(|end, link| end.0 != host && link.peer.0 != host);
        self.note_reach(host);
    }

    /// Restarts the nodes whose address was replaced.
    pub(in crate::sim) fn restart_moved(&mut self) {
        for host in self.paths.moved() {
            if self.hosts[host].is_up() {
                self.restart(host);
            }
        }
    }

    /// The node of a host whose address was replaced finds the new one.
    pub fn follow_address(&mut self, host: usize) {
        self.by_addr.remove(&self.hosts[host].addr);
        self.learn_new_address(host);
        let addr = self.hosts[host].addr;
        self.by_addr.insert(addr, host);
        self.with(host, |node, now| node.set_addr(now, addr));
    }

    /// Tells the checks whether others may fail to reach a host at its advertised address.
    fn note_reach(&mut self, host: usize) {
        let out_of_reach = self.paths.is_out_of_reach(host);
        if let Some(checker) = &mut self.checker {
            checker.out_of_reach(&self.hosts[host].config.name, out_of_reach);
        }
    }

    /// A node that restarts advertises the present address of its host, and so do seeds that others look up.
    fn learn_new_address(&mut self, host: usize) {
        let Some(new) = self.paths.take_new(host) else { return };
        let old = std::mem::replace(&mut self.hosts[host].addr, new);
        let seeds = self.hosts.iter_mut().flat_map(|host| &mut host.seeds);
        seeds.filter(|seed| **seed == old).for_each(|seed| *seed = new);
        self.note_reach(host);
    }

    /// Stops a host's process for a while: arriving data waits, and no timer fires.
    pub fn pause(&mut self, host: usize, length: Duration) {
        self.hosts[host].paused_until = self.now + length;
        self.disturbed();
    }

    /// Suspends a host's machine, whose clock stands still; it must have been set forward by as much before.
    #[cfg(test)]
    pub(crate) fn suspend(&mut self, host: usize, length: Duration) {
        self.pause(host, length);
        self.hosts[host].clock -= length;
        self.hosts[host].wakes_at = None;
        self.reschedule(host);
    }

    /// Blocks a host's sends and delays its incoming data, while timers fire (Lifeguard §V-D): each of its loops runs up to
    /// its next send.
    pub fn block(&mut self, host: usize, length: Duration) {
        self.hosts[host].blocked_until = self.now + length;
        self.hosts[host].blocked_io.get_or_insert_default();
        self.hosts[host].wakes_at = None;
        self.reschedule(host);
        self.disturbed();
    }

    /// No timer of a host fires for a while, though it takes in arriving data.
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

    /// Calls join on a host, which must report exactly once.
    ///
    /// # Panics
    /// If the host is down.
    pub fn join(&mut self, host: usize, ticket: u64, addrs: &[SocketAddr]) {
        if let Some(checker) = &mut self.checker {
            checker.join_asked(host, ticket);
        }
        self.with(host, |node, now| node.join(now, ticket, addrs));
    }

    /// Calls leave on a host, which goes down once the leave is done.
    ///
    /// # Panics
    /// If the host is down.
    pub fn leave_and_stop(&mut self, host: usize) {
        self.hosts[host].stops_when_left = true;
        self.drive_with(host, |endpoint, now| endpoint.leave(now));
    }
}
