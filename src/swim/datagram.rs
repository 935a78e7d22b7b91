//! A datagram that arrives: its sections are taken in one by one, and at most one datagram goes out in answer.

use std::net::SocketAddr;

use super::{
    claimant::Claimant, claims::Authority, entry::Input, introduce::Introduced, node::Node, time::Time,
    validation::Sender,
};
use crate::wire::{
    message::{Malformed, Message, Ping},
    packet::{self, Reject, Sections},
};

/// The sections of a datagram that were found so far.
#[derive(Debug, Default)]
pub(super) struct Heard<'a> {
    ping: Option<Ping<'a>>,
    /// It had a claim.
    pub(super) told: bool,
    /// A claim was dropped.
    pub(super) dropped: bool,
    /// A claim says that this node is another life, or has another incarnation.
    pub(super) mistaken: bool,
    /// The sender's claim about itself is older than the table.
    pub(super) outdated: bool,
    /// The sender's claim about itself, while the sender is not known yet: one is looked at.
    introduces: bool,
    pub(super) introduced: Option<Introduced>,
    /// A token for this node.
    pub(super) offered: bool,
    /// Sections that this protocol does not know: for the layer above, or of a later version.
    unknown: bool,
}

impl Node {
    /// Takes a datagram. At worst it is dropped and counted.
    pub fn handle_datagram(&mut self, now: Time, from: SocketAddr, bytes: &[u8]) {
        self.given(now, || Input::Datagram { from, bytes });
        self.advance(now);
        self.metrics.datagrams_received += 1;
        self.metrics.bytes_received += bytes.len() as u64;
        self.heard_from = None;
        self.upper.begin();
        let (header, sections) = match packet::open(bytes, self.cluster) {
            Ok(opened) => opened,
            Err(reject) => return self.count_reject(reject),
        };
        let mut sender = self.recognize(from, false, header.sender, header.token);
        sender.received = bytes.len();
        self.heard_from = sender.proven.then_some(header.sender);
        self.take_in(sender, sections);
    }

    /// Takes in the sections of a datagram, or of a frame in place of one.
    #[inline(always)]
    pub(super) fn take_in(&mut self, mut sender: Sender, sections: Sections<'_>) {
        let waiting = self.transmits.len();
        let mut heard = Heard::default();
        for (at, section) in sections.enumerate() {
            // Only the first section may ask for something.
            let message = section.and_then(|section| match at > 0 && section.stands_first() {
                true => Err(Malformed),
                false => section.message(),
            });
            match message {
                Ok(Some(message)) => self.handle_message(&mut sender, &message, &mut heard),
                Ok(None) => heard.unknown = true,
                Err(Malformed) => self.metrics.dropped_malformed += 1,
            }
        }
        if self.moves.was_told() {
            self.believe_what_was_told(&sender);
        }
        if heard.unknown {
            self.note_data_from(self.id_of(&sender).filter(|_| sender.proven));
        }
        // The answer depends on whether the rest was accepted.
        match heard.ping {
            Some(ping) => {
                // The answer replaces everything else that was to be sent.
                self.drop_transmits(waiting);
                self.answer_ping(&sender, &ping, heard);
            }
            None if heard.dropped && self.transmits.len() == waiting => {
                self.challenge_sender(&sender, heard.introduced);
            }
            None if self.transmits.len() == waiting => self.tell_new_acquaintance(&sender),
            None => {}
        }
        // One datagram in causes at most one datagram out.
        self.drop_transmits(waiting + 1);
        if !sender.proven {
            self.limit_transmits(waiting, sender.received);
        }
    }

    fn drop_transmits(&mut self, kept: usize) {
        self.metrics.dropped_transmits += self.transmits.len().saturating_sub(kept) as u64;
        self.transmits.truncate(kept);
    }

    fn handle_message<'a>(&mut self, sender: &mut Sender, message: &Message<'a>, heard: &mut Heard<'a>) {
        match message {
            Message::Ping(ping) => heard.ping = Some(*ping),
            Message::Ack(ack) => self.handle_answer(sender, ack.seq, None),
            Message::Retry(retry) => self.handle_answer(sender, retry.seq, Some(retry.token)),
            Message::Nack(nack) => self.handle_nack(nack.seq),
            Message::PingReq(request) => self.handle_ping_req(sender, request),
            Message::Digest(theirs) if sender.proven => self.compare_digest(sender, theirs.digest),
            Message::Digest(_) => {}
            // Valid only behind a ping for this node.
            Message::NewToken(new) if heard.ping.is_some_and(|ping| ping.target == &*self.name) => {
                heard.offered = true;
                self.on_new_token(sender, new.token);
            }
            Message::NewToken(_) => {}
            Message::Seen(seen) => self.note_observed(sender, seen.addr),
            claim if claim.is_claim() => {
                heard.told = true;
                if sender.proven {
                    heard.outdated |= self.is_outdated(claim, sender);
                    heard.mistaken |= self.is_mistaken(claim);
                    let claimant = self.table.claimant(self.id_of(sender), sender.source);
                    let by_itself = claimant.id.is_some_and(|id| claim.is_about(&self.table.get(id).name));
                    self.handle_claim(claim, by_itself, claimant);
                    if by_itself {
                        self.moves.forget_told();
                        self.note_shown(sender);
                    }
                } else {
                    let alive = self.introduction(sender, claim);
                    let first = alive.filter(|_| !std::mem::replace(&mut heard.introduces, true));
                    match first {
                        Some(alive) => heard.introduced = self.on_unverified_claim(sender, alive),
                        None => self.metrics.dropped_unverified += 1,
                    }
                    heard.dropped |= !sender.proven;
                }
            }
            // Stream messages have no meaning in a datagram.
            _ => self.metrics.dropped_malformed += 1,
        }
    }

    /// Applies a claim about a member, made by itself or by another.
    pub(super) fn handle_claim(&mut self, message: &Message<'_>, by_itself: bool, claimant: Claimant) {
        match message {
            Message::Alive(claim) => self.on_alive(claim, Authority::of(by_itself, claimant)),
            Message::Suspect(claim) => self.on_suspect(claim),
            Message::Failed(claim) => self.on_failed(claim, claimant),
            Message::Left(claim) => self.on_left(claim, by_itself, claimant),
            Message::Departed(claim) => self.on_departed(claim, by_itself, claimant),
            // No other is a claim.
            _ => {}
        }
    }

    pub(super) fn count_reject(&mut self, reject: Reject) {
        *match reject {
            Reject::Short => &mut self.metrics.dropped_short,
            Reject::Version => &mut self.metrics.dropped_version,
            Reject::Cluster => &mut self.metrics.dropped_cluster,
            Reject::Checksum => &mut self.metrics.dropped_checksum,
        } += 1;
    }
}
