//! Datagrams that are to be sent, and how they are written: with the newest updates, when the driver asks for them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    carry::Priority,
    contact::Contact,
    entry::{RecordedBytes, RecordedOutput},
    introduce::Introduction,
    member::{Identity, MemberId, Record},
    node::Node,
    validation::ReplyTo,
};
use crate::wire::{
    hash,
    message::{Ack, Carried, Digest, Failed, Nack, NewToken, Ping, PingReq, Retry, Seen},
    packet::{self, Header},
};

/// Datagrams that may wait to be sent; a driver that drains after each input never has nearly as many.
const MAX_TRANSMITS: usize = 4096;

/// A datagram to be, encoded only when it is sent: with the newest updates and into the caller's memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Transmit {
    to: SocketAddr,
    /// The mark of the recipient's name.
    mark: u32,
    /// The token that this member has shown, if it answers one that did.
    shown: u32,
    content: Content,
    /// Its bytes, at most, if a sender that is not proven caused it: what does not fit is left out.
    most: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Content {
    Ping {
        seq: u32,
        target: Arc<str>,
        behind: Behind,
    },
    /// A ping alone, beside one by stream: do datagrams get through again?
    Bare {
        seq: u32,
        target: Arc<str>,
    },
    /// With updates if the sender is proven, otherwise alone.
    Ack {
        seq: u32,
        /// Say where the ping came from.
        seen: bool,
        /// The ping said of this node what is not so: its own Alive comes behind the answer.
        denies: bool,
    },
    Retry {
        seq: u32,
        token: u32,
    },
    /// To a member whose claim about itself is older than the table: the newer claim, and the token that it has shown.
    Outdated {
        seq: u32,
        token: u32,
    },
    PingReq {
        seq: u32,
        target: Arc<str>,
        window: Duration,
    },
    Nack(u32),
    Updates,
}

/// The content after a ping.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Behind {
    /// No update: others may have caused the ping, and must not choose the recipients of updates, which would count as sent.
    Nothing,
    /// Updates, the one about this member before all others.
    Updates(Option<Arc<str>>),
    /// Updates, in a ping that another member asked for.
    Relayed,
    /// The claim about this member.
    Claim(Box<Introduction>),
}

impl Content {
    /// Whether others can cause it as often as they like. Updates behind it do not count as sent.
    fn is_caused(&self) -> bool {
        matches!(self, Self::Ack { .. } | Self::Nack(_) | Self::Ping { behind: Behind::Relayed, .. })
    }
}

impl Transmit {
    pub(super) fn new(to: SocketAddr, name: &str, content: Content) -> Self {
        Self { to, mark: hash::member(name), shown: 0, content, most: usize::MAX }
    }

    pub(super) fn to(&self) -> SocketAddr {
        self.to
    }

    /// Whether it asks for an answer, which comes in the same stream.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.content, Content::Ping { .. })
    }
}

/// How something goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Datagram,
    /// In a stream that is opened for it.
    Stream,
    /// As the answer in a stream.
    Back,
}

/// The destination of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Destination {
    /// The address.
    pub addr: SocketAddr,
    /// A hash of the name of the member it is for. A driver that seals datagrams includes it, so that no other node accepts
    /// them.
    pub recipient: u32,
}

impl Node {
    /// Writes the next datagram into `buffer`, replacing its content, and returns the destination.
    pub fn poll_transmit(&mut self, buffer: &mut Vec<u8>) -> Option<Destination> {
        if self.transmits.is_empty() {
            return None;
        }
        while let Some(transmit) = self.transmits.pop_front() {
            if self.encode(&transmit, buffer, Way::Datagram) {
                self.metrics.datagrams_sent += 1;
                self.metrics.bytes_sent += buffer.len() as u64;
                let to = Destination { addr: transmit.to, recipient: transmit.mark };
                self.gave(|| RecordedOutput::Datagram(to, RecordedBytes::new(buffer)));
                return Some(to);
            }
        }
        self.gave(|| RecordedOutput::NoDatagram);
        None
    }

    /// Writes it. Returns whether there is something to send.
    pub(super) fn encode(&mut self, transmit: &Transmit, buffer: &mut Vec<u8>, way: Way) -> bool {
        let Transmit { to, mark, shown, ref content, most } = *transmit;
        let is_it = |record: &Record| record.addr == to || shown != 0 && record.contact.given == shown;
        let recipient = self.table.find_mark_rather_met(mark, is_it);
        // A sender that has shown its token may send from anywhere, but gets updates only at its own address, or in a stream,
        // whose source cannot be forged.
        let at_home = recipient.filter(|id| way == Way::Back || self.table.get(*id).addr == to);
        let contact = recipient.map(|id| self.table.get(id).contact);
        let token = contact.map_or(0, |contact| contact.held);
        let header = Header { cluster: self.cluster, sender: self.mark, token };
        let mut packet = packet::Writer::new(buffer, header, self.config.max_datagram.min(most));
        if way == Way::Stream {
            packet.message(&Carried {});
        }
        let empty = packet.len();
        self.upper.recipient = None;
        let (mut first, tells) = self.put_content(&mut packet, transmit, recipient, at_home);
        // The requester does not know that this node left, perhaps since it was stalled until all others had forgotten it.
        let answers = matches!(content, Content::Ack { .. } | Content::Retry { .. });
        if answers && shown != 0 && at_home.is_some() && self.is_leaving() && !self.leave.silent {
            first = Some(MemberId::SELF);
        }
        let first = first
            .or_else(|| contact.filter(|contact| self.introduces(content, *contact)).map(|_| MemberId::SELF));
        let told = at_home.filter(|_| tells && most == usize::MAX);
        self.add_updates(&mut packet, told, first, !content.is_caused());
        let worth_sending = packet.len() > empty || self.upper.is_awaited();
        packet.finish();
        worth_sending
    }

    /// Writes what a datagram is for. Returns whose claim comes behind it first, and whether updates follow.
    fn put_content(
        &mut self,
        packet: &mut packet::Writer<'_>,
        transmit: &Transmit,
        recipient: Option<MemberId>,
        at_home: Option<MemberId>,
    ) -> (Option<MemberId>, bool) {
        let Transmit { to, shown, ref content, .. } = *transmit;
        match content {
            Content::Ping { seq, target, behind } => {
                packet.message(&Ping { seq: *seq, target });
                let contact = recipient.map(|id| self.table.get(id).contact);
                // An answer with a token must have no more bytes than this ping.
                if contact.is_none_or(|contact| !contact.shown || contact.held == 0) {
                    packet.message(&NewToken { token: self.table.tokens().of(target, to) });
                }
                match behind {
                    Behind::Nothing => (None, false),
                    Behind::Relayed => (None, true),
                    Behind::Claim(said) => {
                        packet.message(&said.claim());
                        (None, false)
                    }
                    Behind::Updates(about) => {
                        // A leaver's own Left must fit: the answer says that it was believed.
                        if !self.is_leaving() {
                            self.put_verdict(packet, target);
                            self.put_move(packet, target);
                        }
                        (about.as_deref().and_then(|name| self.table.find(name)), true)
                    }
                }
            }
            Content::Ack { seq, seen, denies } => {
                packet.message(&Ack { seq: *seq });
                if *seen {
                    packet.message(&Seen { addr: to });
                }
                let Some(id) = recipient.filter(|_| shown != 0) else { return (None, false) };
                let is_live = self.put_digest(packet, id);
                // A departed member that pings is told so, and can refute.
                (denies.then_some(MemberId::SELF).or(at_home.filter(|_| !is_live)), true)
            }
            // To a sender that is not proven: no updates.
            Content::Retry { seq, token } => {
                packet.message(&Retry { seq: *seq, token: *token });
                (None, false)
            }
            Content::Outdated { seq, token } => {
                packet.message(&Retry { seq: *seq, token: *token });
                (at_home, false)
            }
            Content::Bare { seq, target } => {
                packet.message(&Ping { seq: *seq, target });
                (None, false)
            }
            Content::PingReq { seq, target, window } => {
                let window_ms = u32::try_from(window.as_millis()).unwrap_or(u32::MAX);
                packet.message(&PingReq { seq: *seq, target, window_ms });
                (None, true)
            }
            Content::Nack(seq) => {
                packet.message(&Nack { seq: *seq });
                (None, true)
            }
            Content::Updates => (None, true),
        }
    }

    /// Tells a member that it was declared failed, if it is yet to be told.
    fn put_verdict(&mut self, packet: &mut packet::Writer<'_>, target: &str) {
        if let Some(Identity { epoch, incarnation }) = self.flaps.verdict_on(target)
            && packet.message(&Failed { name: target, epoch, incarnation })
        {
            self.flaps.note_told(target);
        }
    }

    /// Sends a live member the digest, once it is settled. Returns whether the member is live.
    fn put_digest(&mut self, packet: &mut packet::Writer<'_>, id: MemberId) -> bool {
        let is_live = self.table.get(id).state.is_live();
        let digest = self.settled_digest();
        if digest != 0 && is_live {
            packet.message(&Digest { digest });
        }
        is_live
    }

    /// Whether a datagram begins with this node's own Alive: to a member that has not shown its token, and so may not list
    /// this node. It would accept no other claim.
    fn introduces(&self, content: &Content, contact: Contact) -> bool {
        let may_answer = matches!(content, Content::Ping { .. } | Content::Updates);
        may_answer && !contact.shown && self.takes_part()
    }

    /// Has something sent to the node `name` at `to`, by datagram or by stream, whichever reaches it.
    pub(super) fn transmit(&mut self, to: SocketAddr, name: &str, content: Content) {
        if self.carrier.carries_to(name) {
            return self.carry(to, name, content, Priority::Updates);
        }
        self.transmit_by_datagram(to, name, content);
    }

    pub(super) fn transmit_by_datagram(&mut self, to: SocketAddr, name: &str, content: Content) {
        self.push_transmit(Transmit::new(to, name, content));
    }

    /// Pings the node `name` at `to`, by datagram or by stream, whichever reaches it.
    pub(super) fn ping(
        &mut self,
        to: SocketAddr,
        name: &Arc<str>,
        behind: Behind,
        priority: Priority,
    ) -> u32 {
        self.ping_by(self.carrier.carries_to(name).then_some(priority), to, name, behind)
    }

    /// Pings by stream, with this priority, or by datagram. Returns the sequence number.
    pub(super) fn ping_by(
        &mut self,
        stream: Option<Priority>,
        to: SocketAddr,
        name: &Arc<str>,
        behind: Behind,
    ) -> u32 {
        let seq = self.numbers.draw();
        let ping = Content::Ping { seq, target: Arc::clone(name), behind };
        match stream {
            Some(priority) => self.carry(to, name, ping, priority),
            None => self.transmit_by_datagram(to, name, ping),
        }
        seq
    }

    /// Has something sent back to where a datagram came from.
    pub(super) fn reply(&mut self, recipient: ReplyTo, content: Content) {
        let ReplyTo { source: to, mark, token: shown } = recipient;
        self.push_transmit(Transmit { to, mark, shown, content, most: usize::MAX });
    }

    /// From a place in the queue on, nothing that is sent has more bytes.
    pub(super) fn limit_transmits(&mut self, from: usize, most: usize) {
        self.transmits.iter_mut().skip(from).for_each(|transmit| transmit.most = most);
    }

    fn push_transmit(&mut self, transmit: Transmit) {
        if self.transmits.len() < MAX_TRANSMITS {
            self.transmits.push_back(transmit);
        } else {
            self.metrics.dropped_transmits += 1;
        }
    }
}
