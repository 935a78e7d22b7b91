//! The thread that owns the datagram socket and the clock.
//!
//! It waits for a datagram until the next deadline, takes in all datagrams that have arrived, fires the timers that are due,
//! then sends the node's datagrams and publishes its events.

use std::{io, mem, net::SocketAddr, sync::Arc, time::Duration};

use super::{
    conversation::Outgoing,
    counters::Counters,
    entries::Entries,
    journal::Journal,
    outbound::Outbound,
    own_address::OwnAddress,
    peer_log::{Mismatch, PeerLog, Via},
    publication::Publication,
    secrets::{DatagramSeal, Dropped},
    seed_lookup::SeedLookup,
    shared_node::SharedNode,
    sockets::Udp,
};
use crate::{
    blocking::is_nothing,
    data::Endpoint,
    log_line::{Log, Topic, log},
    swim::{Config, Destination, Output, Time},
};

/// Bytes of datagrams that are taken in before the outputs are drained; a datagram counts as 1 KiB at least. This
/// bounds the events that one batch can cause.
const MAX_TAKEN: usize = 1 << 16;
/// Batches that are taken in before the timers that are due fire.
const MAX_TURNS: usize = 64;
/// Datagrams encoded under one lock.
const MAX_BATCH: usize = 64;
/// The pause after a receive error.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

pub(super) struct ClockThread {
    pub(super) node: Arc<SharedNode>,
    pub(super) publication: Arc<Publication>,
    pub(super) outbound: Outbound,
    pub(super) seeds: Arc<SeedLookup>,
    pub(super) counters: Arc<Counters>,
    /// For the allowed networks.
    pub(super) config: Arc<Config>,
    pub(super) seal: DatagramSeal,
    pub(super) own_address: OwnAddress,
    pub(super) outbox: Outbox,
    pub(super) journal: Journal,
    pub(super) peers: Arc<PeerLog>,
    /// The mark of this node's cluster.
    pub(super) cluster: u32,
}

impl ClockThread {
    /// Runs until the node stops.
    pub(super) fn run(mut self, udp: &Udp) {
        let mut buffer = vec![0; 1 << 16];
        while !self.node.stop.is_stopped() {
            self.own_address.check(&self.node, &self.config);
            self.turn(udp, &mut buffer);
        }
        self.journal.finish(self.node.now(), &mut Log);
    }

    /// Sends, waits for a datagram until the next deadline, and fires the timers that are due.
    pub(super) fn turn(&mut self, udp: &Udp, buffer: &mut [u8]) {
        self.node.wakeup.begin();
        let deadline = self.flush(udp);
        let longest = self.node.wakeup.longest_wait();
        let wait = deadline.map_or(longest, |at| at.since(self.node.now()).min(longest));
        let more = if wait.is_zero() { Ok(true) } else { self.receive(udp, buffer, wait) };
        let due = deadline.is_some_and(|at| at <= self.node.now());
        // A member that has answered in time must not be judged late: all that has arrived is taken in before timers fire.
        let heard = match more {
            Ok(true) if due => self.drain(udp, buffer),
            more => more.map(drop),
        };
        if let Err(error) = heard {
            self.counters.count(|counted| counted.receive_errors += 1);
            log(Topic::ReceiveFailed, &[("error", &error), ("node", &self.node.name)]);
            self.node.stop.wait(ERROR_PAUSE);
        }
        if due {
            self.node.drive(Endpoint::handle_timeout);
        }
    }

    /// Waits for a datagram. Returns whether one arrived, in which case more may wait behind it.
    fn receive(&mut self, udp: &Udp, buffer: &mut [u8], limit: Duration) -> io::Result<bool> {
        match udp.receive(buffer, limit) {
            Ok((len, from)) => {
                self.take_in(from, &mut buffer[..len]);
                Ok(true)
            }
            // A signal ended the wait: a datagram may have arrived.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) if is_nothing(&error) => {
                self.node.wakeup.timed_out();
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes in the datagrams that have arrived, and sends the answers.
    fn drain(&mut self, udp: &Udp, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..MAX_TURNS {
            if !udp.drain(buffer, MAX_TAKEN, |from, bytes| self.take_in(from, bytes))? {
                break;
            }
            self.flush(udp);
        }
        Ok(())
    }

    fn take_in(&mut self, from: SocketAddr, bytes: &mut [u8]) {
        // An empty datagram is a wake-up; one from another node would be dropped anyway.
        if bytes.is_empty() {
            return self.node.wakeup.arrived();
        }
        if !self.config.allows(from.ip()) {
            self.peers.not_allowed(from, Via::Datagram, &mut Log);
            let len = bytes.len() as u64;
            return self.counters.count_dropped(len, |counted| &mut counted.dropped_not_allowed);
        }
        match self.seal.open(bytes) {
            Ok(packet) => {
                if let Some(mismatch) = Mismatch::of_packet(packet, self.cluster) {
                    self.peers.mismatch(mismatch, from, Via::Datagram, &mut Log);
                }
                let sender = self.node.drive(|endpoint, now| {
                    endpoint.handle_datagram(now, from, packet);
                    endpoint.node.heard_from()
                });
                self.seal.on_opened(sender, &self.publication.directory, &mut Log);
            }
            Err(dropped) => tell_dropped(&self.peers, from, dropped),
        }
    }

    /// Drains the node: sends its datagrams and handles its outputs. Returns its next deadline.
    fn flush(&mut self, udp: &Udp) -> Option<Time> {
        loop {
            let outbox = &mut self.outbox;
            let (deadline, vitals, now) = self.node.drive(|endpoint, now| {
                outbox.fill(endpoint);
                (endpoint.poll_timeout(), endpoint.node.vitals(), now)
            });
            let full = outbox.used == MAX_BATCH;
            for (to, bytes) in outbox.take_datagrams() {
                if let Err(error) = udp.send(to.addr, self.seal.seal(to.recipient, bytes)) {
                    self.counters.count(|counted| counted.send_errors += 1);
                    if !udp.family().reaches(to.addr.ip()) {
                        self.peers.other_family(to.addr, udp.family(), &mut Log);
                    }
                    log(Topic::SendFailed, &[("to", &to.addr), ("error", &error), ("node", &self.node.name)]);
                }
            }
            if let Some(entries) = self.outbox.entries.take() {
                self.publication.entries_changed(&entries);
            }
            let mut outputs = mem::take(&mut self.outbox.outputs);
            outputs.drain(..).for_each(|output| self.act(now, output));
            self.outbox.outputs = outputs;
            self.journal.look(now, vitals, &mut Log);
            if !full {
                return deadline;
            }
        }
    }

    fn act(&mut self, now: Time, output: Output) {
        match output {
            Output::Event(event) => {
                let directory = &self.publication.directory;
                self.journal.event(now, &event, directory, &mut Log);
                directory.publish(&event);
            }
            Output::OpenStream { stream, addr, timeout, kind } => {
                self.outbound.begin(Outgoing { stream, addr, timeout }, kind);
            }
            Output::ResolveSeeds => self.seeds.begin_round(),
            Output::JoinDone { ticket, result } => self.publication.join_done(ticket, result),
            Output::SeedsTried { result } => {
                self.seeds.report_round(&result);
                self.publication.seeds_tried(result);
            }
            Output::RejoinTried { result } => {
                self.seeds.report_rejoin(&result);
                // A node that has found its cluster does not give up for lack of seeds. Attempts are counted in
                // `discovery/gossip.rs`.
                if result.is_ok() {
                    self.publication.seeds_tried(result);
                }
            }
            Output::LeaveDone { confirmed } => self.publication.leave_done(confirmed),
        }
    }
}

#[cfg(feature = "encryption")]
fn tell_dropped(peers: &PeerLog, from: SocketAddr, dropped: Dropped) {
    match dropped {
        Dropped::Mismatch(mismatch) => peers.mismatch(mismatch, from, Via::Datagram, &mut Log),
        Dropped::Stale { off_ms } => peers.clock_off(from, off_ms, &mut Log),
        Dropped::Forged => {}
    }
}

#[cfg(not(feature = "encryption"))]
fn tell_dropped(_: &PeerLog, _: SocketAddr, dropped: Dropped) {
    match dropped {}
}

/// The buffers of outgoing datagrams and outputs, which are reused.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    datagrams: Vec<(Option<Destination>, Vec<u8>)>,
    used: usize,
    outputs: Vec<Output>,
    /// The key–values, if they have changed, and the version that was taken last.
    entries: Option<Entries>,
    seen: u64,
}

impl Outbox {
    fn fill(&mut self, endpoint: &mut Endpoint) {
        while self.used < MAX_BATCH {
            if self.used == self.datagrams.len() {
                self.datagrams.push((None, Vec::new()));
            }
            let (to, bytes) = &mut self.datagrams[self.used];
            *to = endpoint.poll_transmit(bytes);
            if to.is_none() {
                break;
            }
            self.used += 1;
        }
        while let Some(output) = endpoint.poll_output() {
            self.outputs.push(output);
        }
        if endpoint.entries().0 != self.seen {
            let entries = Entries::of_endpoint(endpoint);
            self.seen = entries.version();
            self.entries = Some(entries);
        }
    }

    fn take_datagrams(&mut self) -> impl Iterator<Item = (Destination, &[u8])> {
        let used = mem::take(&mut self.used);
        self.datagrams[..used].iter().filter_map(|(to, bytes)| Some(((*to)?, bytes.as_slice())))
    }
}

#[cfg(test)]
#[path = "clock_thread_tests.rs"]
mod tests;
