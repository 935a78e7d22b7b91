//! A node together with the data layer: routes inputs to both, and hands out the outputs of both.

use std::{net::SocketAddr, sync::Arc};

use super::{
    broadcasts::{self, Broadcasts},
    key_values::{KeyValues, NotSet, Owners},
    messages::{Messages, Results, Via},
    rounds::Rounds,
    stamp::Stamps,
    sync::{DataKinds, Sync},
};
use crate::{
    collections::fanout::Subscription,
    swim::{Destination, Event, Life, Metrics, Node, Output, StreamFailure, StreamId, StreamStep, Time},
    wire::{
        data::DataMessage,
        message::Malformed,
        packet::{self, Writer},
    },
};

/// A node of the membership protocol with its data layer, driven as [`Node`] describes.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) node: Node,
    pub(super) messages: Messages,
    pub(crate) broadcasts: Broadcasts,
    pub(super) key_values: KeyValues,
    sync: Sync,
    rounds: Rounds,
    /// Whether additions to packets wait, perhaps for a round of gossip that may not begin yet.
    waits_for_round: bool,
    /// Large broadcasts that are sent to each member, with their results.
    pub(super) large: Vec<(Arc<broadcasts::Item>, Subscription<Results>)>,
}

impl Endpoint {
    /// For a node that knows of no earlier life yet: its epoch is still the one that its clock gave it.
    pub(crate) fn new(node: Node) -> Self {
        let stamps = Stamps::new(node.own_life().epoch, node.now());
        let key_values = KeyValues::new(&node, stamps.clone());
        let broadcasts = Broadcasts::new(&node, stamps);
        let (messages, sync, rounds) = (Messages::default(), Sync::default(), Rounds::default());
        let (waits_for_round, large) = (false, Vec::new());
        Self { node, messages, broadcasts, key_values, sync, rounds, waits_for_round, large }
    }

    /// Sets a key of this node's own map, or deletes it; returns the version, or `None` if there was nothing to delete.
    pub(crate) fn set(&mut self, now: Time, key: &str, value: Option<&[u8]>) -> Result<Option<u64>, NotSet> {
        let result = self.key_values.change(now, &self.node, key, value);
        self.settle(now);
        result
    }

    /// The maps of all owners, and a number that counts their changes.
    pub(crate) fn entries(&self) -> (u64, &Owners) {
        self.key_values.view()
    }

    /// Leaves the cluster.
    pub(crate) fn leave(&mut self, now: Time) {
        self.node.leave(now);
        self.settle(now);
    }

    /// Processes a datagram.
    pub(crate) fn handle_datagram(&mut self, now: Time, from: SocketAddr, bytes: &[u8]) {
        let waiting = self.node.waiting_transmits();
        self.node.handle_datagram(now, from, bytes);
        self.broadcasts.on_datagram();
        // One datagram in causes at most one datagram out.
        let is_answered = self.node.waiting_transmits() > waiting;
        self.take_in(now, bytes, |at| Via::Datagram { may_ask: at == 0 && !is_answered });
        self.settle(now);
    }

    /// Fires the timers that are due.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if self.node.poll_timeout().is_some_and(|at| at <= now) {
            self.node.handle_timeout(now);
        }
        self.messages.act(&mut self.node, now);
        self.broadcasts.handle_timeout(now, &self.node);
        self.settle(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let sent = Time::earlier(self.messages.poll_timeout(), self.broadcasts.poll_timeout());
        let state = Time::earlier(self.key_values.poll_timeout(), self.sync.poll_timeout(&self.node));
        let round = self.waits_for_round.then(|| self.next_round());
        Time::earlier(round, Time::earlier(self.node.poll_timeout(), Time::earlier(sent, state)))
    }

    /// Writes the next datagram into `buffer`, and returns its destination.
    pub(crate) fn poll_transmit(&mut self, buffer: &mut Vec<u8>) -> Option<Destination> {
        let Some(to) = self.node.poll_transmit(buffer) else {
            // The additions may have been all that waited.
            self.ask_for_room(self.node.now());
            let to = self.messages.poll_transmit(&mut self.node, buffer);
            return to.or_else(|| self.broadcasts.poll_transmit(&mut self.node, buffer));
        };
        self.add(buffer);
        Some(to)
    }

    /// The next output that the driver must do or pass on.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        let output = self.node.poll_output()?;
        if let Output::Event(event) = &output {
            self.on_event(event);
        }
        Some(output)
    }

    /// Checks the sums and bounds of all parts.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn audit_state(&self) -> Result<(), String> {
        self.messages.audit();
        self.broadcasts.audit().and_then(|()| self.key_values.audit())
    }

    /// Counters and gauges of the node and of this layer.
    pub(crate) fn metrics(&self) -> Metrics {
        let mut metrics = self.node.metrics();
        self.messages.add_to(&mut metrics);
        self.broadcasts.add_to(&mut metrics);
        self.key_values.add_to(&mut metrics);
        metrics.data_syncs += self.sync.begun();
        metrics
    }

    /// Takes a stream that another node opened.
    pub(crate) fn accept_stream(&mut self, now: Time, from: SocketAddr) -> Option<StreamId> {
        self.node.accept_stream(now, from)
    }

    /// The driver begins to work on a stream.
    pub(crate) fn stream_began(&mut self, now: Time, stream: StreamId) {
        self.node.stream_began(now, stream);
    }

    /// The next step of a stream.
    pub(crate) fn poll_stream(&mut self, now: Time, stream: StreamId, buffer: &mut Vec<u8>) -> StreamStep {
        if self.messages.has(stream) && self.messages.write_frame(&mut self.node, now, stream, buffer) {
            return StreamStep::Send;
        }
        let mut step = self.node.poll_stream(now, stream, buffer);
        if step == StreamStep::Send {
            self.add(buffer);
        } else if step == StreamStep::Receive && self.sync.has(stream) {
            let parts = DataKinds { broadcasts: &mut self.broadcasts, key_values: &mut self.key_values };
            step = self.sync.poll(now, &mut self.node, &parts, stream, buffer);
        }
        self.settle(now);
        step
    }

    /// Processes a frame.
    pub(crate) fn handle_frame(&mut self, now: Time, stream: StreamId, bytes: &[u8]) {
        self.node.handle_frame(now, stream, bytes);
        // Any other frame carries a datagram.
        let is_data = self.node.data_stream(stream).is_some();
        let via = if is_data { Via::Stream(stream) } else { Via::Datagram { may_ask: false } };
        self.take_in(now, bytes, |_| via);
        self.settle(now);
    }

    /// A stream could not be opened, broke or took too long.
    pub(crate) fn handle_stream_failure(&mut self, now: Time, stream: StreamId, failure: StreamFailure) {
        self.node.handle_stream_failure(now, stream, failure);
        self.settle(now);
    }

    /// Processes the sections of the last input that are for this layer, if a live member is proven to have sent them.
    fn take_in(&mut self, now: Time, bytes: &[u8], via: impl Fn(usize) -> Via) {
        let Some(from) = self.node.data_sender() else { return };
        for (at, section) in packet::sections(bytes).enumerate() {
            let via = via(at);
            let is_in_place = match (section, via) {
                (Ok(section), _) if !section.is_data() => continue,
                (Ok(section), _) => match section.data_message() {
                    Ok(Some(message)) => self.on_message(now, &from, via, &message),
                    // A section of a later version.
                    Ok(None) => true,
                    Err(Malformed) => false,
                },
                (Err(_), Via::Stream(_)) => false,
                // The protocol has counted it.
                (Err(_), Via::Datagram { .. }) => true,
            };
            if !is_in_place {
                self.node.count_malformed();
                if let Via::Stream(stream) = via {
                    return self.node.close_data_stream(now, stream);
                }
            }
        }
    }

    /// Processes a section. Returns whether it has its place there.
    fn on_message(&mut self, now: Time, from: &Life, via: Via, message: &DataMessage<'_>) -> bool {
        let mut parts = DataKinds { broadcasts: &mut self.broadcasts, key_values: &mut self.key_values };
        match (via, message) {
            (Via::Datagram { .. }, DataMessage::Broadcast(said)) => {
                parts.broadcasts.on_broadcast(now, &self.node, from, said);
            }
            (Via::Datagram { .. }, DataMessage::Confirm(confirm)) => {
                parts.broadcasts.on_confirm(now, from, *confirm);
            }
            (Via::Datagram { .. }, DataMessage::KeyValue(said)) => {
                parts.key_values.on_change(now, &self.node, from, said);
            }
            (Via::Datagram { .. }, DataMessage::DataDigest(told)) => {
                self.sync.compare(now, &mut self.node, &parts, from, told);
            }
            (Via::Stream(stream), message)
                if !self.messages.has(stream) && self.sync.takes(stream, message) =>
            {
                return self.sync.on_section(now, &self.node, &mut parts, (stream, from), message);
            }
            _ => {
                let all = parts.broadcasts;
                let mut large = |node: &Node, from: &Life, topic: &str, bytes: &[u8]| {
                    all.on_large(now, node, from, topic, bytes)
                };
                return self.messages.on_message(&mut self.node, &mut large, now, from, via, message).is_ok();
            }
        }
        true
    }

    /// Adds sections to the packet that the protocol wrote last, if its recipient may get more.
    fn add(&mut self, buffer: &mut Vec<u8>) {
        let state = self.key_values.is_waiting() || self.key_values.digest() != 0;
        if !state && !self.broadcasts.adds(self.node.now()) {
            return;
        }
        let Some((to, limit)) = self.node.data_recipient() else { return };
        let first = packet::sections(buffer).next();
        let is_ack = first.is_some_and(|first| first.is_ok_and(packet::Section::is_ack));
        let before = buffer.len();
        let mut packet = Writer::resume(buffer, self.node.config().max_datagram);
        self.fill(&to, limit, is_ack, &mut packet);
        packet.finish();
        if limit.is_some() && buffer.len() > before {
            self.rounds.note(self.node.now(), self.node.config().gossip_interval);
        }
        self.node.count_added(buffer.len() - before);
    }

    fn fill(&mut self, to: &Life, limit: Option<u32>, is_ack: bool, packet: &mut Writer<'_>) {
        let parts = DataKinds { broadcasts: &mut self.broadcasts, key_values: &mut self.key_values };
        if is_ack && let Some(told) = Sync::told_digest(self.node.now(), &self.node, &parts) {
            packet.message(&told);
        }
        self.broadcasts.fill(&self.node, to, limit, packet);
        self.key_values.fill(&self.node, to, limit, packet);
    }

    fn on_event(&mut self, event: &Event) {
        self.messages.on_event(&self.node, event);
        self.broadcasts.on_event(&self.node, event);
        self.key_values.on_event(event);
    }

    /// Handles streams that have ended, runs work that is due, and tells the protocol how many bytes wait for packets.
    pub(super) fn settle(&mut self, now: Time) {
        if self.node.is_leaving() {
            self.abandon(now);
        }
        self.messages.close_needless(&mut self.node, now);
        self.confirm_large(now);
        let parts = DataKinds { broadcasts: &mut self.broadcasts, key_values: &mut self.key_values };
        while let Some((stream, result)) = self.node.poll_data_stream_end() {
            self.sync.ended(&self.node, &parts, stream, result);
            self.messages.stream_ended(&mut self.node, now, stream);
        }
        parts.broadcasts.settle(&self.node);
        parts.key_values.settle(now, &self.node);
        for origin in [parts.key_values.take_to_ask(), parts.broadcasts.take_to_ask()].into_iter().flatten() {
            self.sync.ask(now, &mut self.node, &parts, &origin);
        }
        self.hasten_sync(now);
        let parts = DataKinds { broadcasts: &mut self.broadcasts, key_values: &mut self.key_values };
        self.sync.settle(now, &mut self.node, &parts);
        // If that began one, the next has its time now.
        self.hasten_sync(now);
        self.ask_for_room(now);
    }

    /// Chooses the member of the next sync that waits for no digest. Members that lack a confirmed broadcast come last, and never
    /// have all syncs: they may be out of reach.
    fn hasten_sync(&mut self, now: Time) {
        let Self { node, sync, broadcasts, key_values, .. } = self;
        if sync.is_urgent(node) {
            return;
        }
        let may_begin = |with: &Life| sync.may_begin(node, with);
        let asked = key_values.poll_fetch(may_begin).or_else(|| broadcasts.poll_ask(node, may_begin));
        let whole = node.config().stream_timeout;
        let next = match asked {
            Some(with) => Some((with, whole)),
            None if sync.is_idle() => broadcasts.poll_by_stream(now, may_begin),
            None => None,
        };
        if let Some((with, limit)) = next {
            sync.hasten(with, limit.min(whole));
        }
    }

    /// Asks the protocol for room only while a round for data may begin, or while updates have rounds anyway.
    fn ask_for_room(&mut self, now: Time) {
        let may = self.next_round() <= now || self.node.has_updates();
        let wanted = self.wanted();
        self.waits_for_round = wanted > 0 && !may;
        self.node.want_room(now, if may { wanted } else { 0 });
    }

    /// How many bytes wait for a packet.
    fn wanted(&self) -> usize {
        let most = self.node.config().max_datagram;
        let wanted = self.broadcasts.wanted() + if self.key_values.is_waiting() { most } else { 0 };
        wanted.min(most)
    }

    fn next_round(&self) -> Time {
        self.rounds.next(self.node.config().gossip_interval)
    }
}
