//! Introductions: what strangers may say, who are no members (yet).
//!
//! They may say that they are there, and nothing else: who is a member is for members to say. The source of a
//! datagram proves nothing, so whoever introduces itself by datagram is listed, told of and probed only once it has
//! answered a ping at the address it claims; nobody can have us send to others more than it sent to us. And the name
//! of a live member passes to a stranger elsewhere only if nobody answers to it where that member lives.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use super::{
    member::{Identity, MemberId},
    node::{Content, Node},
    sync::Purpose,
    time::Time,
};
use crate::wire::{
    Tags,
    message::{Alive, Message},
};

/// Strangers that are asked whether they are there at the same time; the one asked first makes room.
pub(super) const MAX_ASKED: usize = 64;

/// What a stranger said of itself.
#[derive(Debug, Clone)]
pub(super) struct Introduction {
    name: Arc<str>,
    identity: Identity,
    addr: SocketAddr,
    tags: Tags,
}

impl Introduction {
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn claim(&self) -> Alive<'_> {
        let Identity { epoch, incarnation } = self.identity;
        Alive { name: &self.name, epoch, incarnation, addr: self.addr, tags: self.tags.encoded() }
    }
}

/// Strangers that were pinged and have not answered, the one asked first at the front.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    asked: VecDeque<(u32, Time, Introduction)>,
}

#[cfg(any(test, feature = "sim"))]
impl Strangers {
    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }
}

impl Node {
    /// A claim in a datagram that comes from no member's address.
    pub(super) fn hear_stranger(&mut self, from: SocketAddr, claim: &Message<'_>) {
        let Message::Alive(alive) = claim else { return self.drop_stranger() };
        if alive.addr != from || self.live_member(alive.name).is_some() {
            return self.drop_stranger();
        }
        match self.table.find(alive.name) {
            // It was a member, and there.
            Some(id) if self.table.get(id).addr == from => self.hear_alive(alive),
            _ => self.ask_stranger(alive),
        }
    }

    /// A claim in a stream that was opened to us from this address by somebody who calls itself so, and who is no
    /// member.
    pub(super) fn hear_caller(&mut self, peer: SocketAddr, caller: &str, claim: &Message<'_>) {
        let Message::Alive(alive) = claim else { return self.drop_stranger() };
        match self.live_member(alive.name) {
            _ if alive.name != caller => self.drop_stranger(),
            // A rival, and not its word alone decides.
            Some(MemberId::SELF) => self.hear_alive(alive),
            Some(holder) => self.ask_holder(holder, alive),
            None if alive.addr.ip() == peer.ip() => self.hear_alive(alive),
            // Streams may come through a translator of addresses.
            None => self.ask_stranger(alive),
        }
    }

    fn drop_stranger(&mut self) {
        self.metrics.dropped_strangers += 1;
    }

    /// Asks whether somebody answers to that name there; no oftener than the answer may take.
    fn ask_stranger(&mut self, alive: &Alive<'_>) {
        let patience = self.config.probe_timeout;
        let asked = &mut self.strangers.asked;
        if asked.iter().any(|(_, at, other)| other.addr == alive.addr && self.now.since(*at) < patience) {
            return;
        }
        let Some(introduction) = self.introduction(alive) else { return };
        let asked = &mut self.strangers.asked;
        asked.retain(|(.., other)| other.addr != introduction.addr);
        if asked.len() == MAX_ASKED {
            asked.pop_front();
            self.metrics.dropped_strangers += 1;
        }
        let (seq, addr, target) = (self.rng.u32(..), introduction.addr, Arc::clone(&introduction.name));
        self.strangers.asked.push_back((seq, self.now, introduction));
        self.transmit(addr, Content::Ping { seq, target, first: None });
    }

    pub(super) fn answers_introduction(&mut self, from: SocketAddr, seq: u32) -> bool {
        let asked = &mut self.strangers.asked;
        let Some(at) = asked.iter().position(|(asked, _, stranger)| *asked == seq && stranger.addr == from)
        else {
            return false;
        };
        if let Some((.., introduction)) = asked.remove(at) {
            // Meanwhile the name may have become somebody else's.
            match self.live_member(&introduction.name) {
                Some(_) => self.drop_stranger(),
                None => self.hear_alive(&introduction.claim()),
            }
        }
        true
    }

    fn live_member(&self, name: &str) -> Option<MemberId> {
        self.table.find(name).filter(|id| self.table.get(*id).state.is_live())
    }

    /// Somebody elsewhere has the name of a live member: does that member answer?
    fn ask_holder(&mut self, holder: MemberId, alive: &Alive<'_>) {
        let record = self.table.get(holder);
        let addr = record.addr;
        let identity = Identity { epoch: alive.epoch, incarnation: alive.incarnation };
        if identity > record.identity
            && let Some(introduction) = self.introduction(alive)
        {
            self.open(Purpose::AskHolder(introduction), addr, self.config.probe_interval);
        }
    }

    /// What an honest stranger can say of itself, to be kept for a moment.
    fn introduction(&mut self, alive: &Alive<'_>) -> Option<Introduction> {
        let Alive { name, epoch, incarnation, addr, tags } = *alive;
        if !self.config.allows(addr.ip()) {
            self.metrics.dropped_not_allowed += 1;
            return None;
        }
        let Ok(tags) = Tags::from_encoded(tags) else {
            self.metrics.dropped_malformed += 1;
            return None;
        };
        Some(Introduction { name: name.into(), identity: Identity { epoch, incarnation }, addr, tags })
    }
}
