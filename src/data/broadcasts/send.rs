//! The part of broadcasts in packets, and their own datagrams.

use super::{Broadcasts, confirm::Resend, item, queue::Offer};
use crate::{
    swim::{Destination, Life, Node, Time, WayTo},
    wire::{
        data::{Broadcast, Confirm, DataDigest},
        packet::Writer,
    },
};

impl Broadcasts {
    /// A datagram has come in, so one with Confirms may go out. (Of streams each broadcast counts: they cost more.)
    pub(crate) fn on_datagram(&mut self) {
        self.pending_confirms.earn();
    }

    /// Bytes that wait for packets.
    pub(crate) fn wanted(&self) -> usize {
        self.queue.bytes()
    }

    /// Adds broadcasts and Confirms to a packet for a member. A broadcast is done after `limit` transmissions, if this
    /// packet counts as one.
    pub(crate) fn fill(&mut self, node: &Node, to: &Life, limit: Option<u32>, packet: &mut Writer<'_>) {
        self.put_confirms(to, packet);
        if self.queue.is_empty() {
            return;
        }
        let alone = node.live() <= 2;
        self.queue.draw(limit, packet.room(), |item| match item.origin.name == to.name {
            true if alone => Offer::Needless,
            true => Offer::Passed,
            false if packet.message(&item.message()) => Offer::Taken(packet.room()),
            false => Offer::NoRoom,
        });
        if self.queue.is_empty() && self.check.is_none() {
            // This node passed it on often enough, but gossip may have missed a member.
            let interval = node.config().gossip_interval;
            self.check = Some(self.next_check.max(self.now) + interval.mul_f64(self.rng.f64()));
        }
    }

    fn put_confirms(&mut self, to: &Life, packet: &mut Writer<'_>) {
        self.pending_confirms.take(to, |epoch, seq| packet.message(&Confirm { epoch, seq }));
    }

    /// Writes the next datagram of broadcasts, and returns its destination.
    pub(crate) fn poll_transmit(&mut self, node: &mut Node, buffer: &mut Vec<u8>) -> Option<Destination> {
        if !self.sends {
            return None;
        }
        let to = self.write_datagram(node, buffer);
        match &to {
            Some(_) => node.count_data_datagram(buffer.len()),
            None => self.sends = false,
        }
        to
    }

    fn write_datagram(&mut self, node: &Node, buffer: &mut Vec<u8>) -> Option<Destination> {
        while let Some(Resend { to, item }) = self.resends.pop_front() {
            if let Some(destination) = node.begin_data_datagram(&to, buffer) {
                let mut packet = Writer::resume(buffer, node.config().max_datagram);
                let message = item.message();
                packet.message(&Broadcast { flags: message.flags | item::CONFIRM_ANYWAY, ..message });
                packet.finish();
                return Some(destination);
            }
        }
        while let Some(to) = self.pending_confirms.due(self.now) {
            // Its epoch may have risen.
            let Some(to) = node.live_life(&to.name).filter(|present| present.epoch >= to.epoch) else {
                continue;
            };
            // Without credit, the Confirm waits for a packet that goes there, or until the origin asks.
            if node.way_to(&to) != WayTo::Datagram || !self.pending_confirms.spend() {
                continue;
            }
            if let Some(destination) = node.begin_data_datagram(&to, buffer) {
                let mut packet = Writer::resume(buffer, node.config().max_datagram);
                self.put_confirms(&to, &mut packet);
                packet.finish();
                return Some(destination);
            }
        }
        self.write_check(node, buffer)
    }

    /// Writes the digest to a random member: one of the two may lack what the other knows.
    fn write_check(&mut self, node: &Node, buffer: &mut Vec<u8>) -> Option<Destination> {
        self.check.filter(|at| *at <= self.now)?;
        self.check = None;
        self.next_check = self.now + node.config().gossip_interval;
        let broadcasts = self.settled_digest(self.now);
        let to = node.any_live(self.rng.usize(..)).filter(|_| broadcasts != 0)?;
        let destination = node.begin_data_datagram(&to, buffer)?;
        let mut packet = Writer::resume(buffer, node.config().max_datagram);
        packet.message(&DataDigest { broadcasts, key_values: 0 });
        packet.finish();
        Some(destination)
    }

    /// Whether there is anything to add to packets.
    pub(crate) fn adds(&self, now: Time) -> bool {
        !self.queue.is_empty() || self.pending_confirms.next().is_some() || self.settled_digest(now) != 0
    }
}
