//! Introductions: what strangers may say, who are no members (yet).
//!
//! They may say that they are there, and nothing else: who is a member is for members to say. Whoever introduces itself
//! is listed, told of and probed only once it has shown that it is reached at the address it claims; nobody can have us
//! send to others more than it sent to us. And the name of a live member passes to a stranger elsewhere only if that
//! member was asked, and nobody answers to it where it lives.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use super::{
    carry::Priority,
    member::{Identity, MemberId},
    node::Node,
    question::Question,
    time::Time,
    validation::Sender,
};
use crate::{
    address::host_of,
    wire::{
        Tags, hash,
        message::{Alive, Message},
    },
};

/// Strangers that are asked whether they are there at the same time; the one asked first makes room.
pub(super) const MAX_ASKED: usize = 64;
/// Members of one host that may be listed because they called from there, before they have answered.
const MAX_UNVERIFIED_ON_HOST: usize = 64;
/// The same of all hosts.
const MAX_UNVERIFIED: usize = 4096;

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

/// What a stranger said of itself, and what it may show to be believed.
#[derive(Debug, Clone)]
pub(super) struct Introduced {
    introduction: Introduction,
    pub(super) token: u32,
}

/// Strangers that were pinged and have not answered, the one asked first at the front.
#[derive(Debug, Default)]
pub(super) struct UnverifiedPeers {
    asked: VecDeque<(u32, Time, Introduction)>,
}

impl UnverifiedPeers {
    /// The address that a stranger of this mark claims, if it is being asked there.
    pub(super) fn home_of(&self, mark: u32) -> Option<SocketAddr> {
        let is_it = |(.., other): &&(u32, Time, Introduction)| hash::member(&other.name) == mark;
        self.asked.iter().find(is_it).map(|(.., other)| other.addr)
    }
}

#[cfg(any(test, feature = "sim", fuzzing))]
impl UnverifiedPeers {
    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }
}

impl Node {
    /// A claim in a datagram whose sender did not prove itself. A stranger that shows the token for the address it claims
    /// becomes a member; one that could is returned.
    pub(super) fn on_unverified_claim(
        &mut self,
        sender: &mut Sender,
        claim: &Message<'_>,
    ) -> Option<Introduced> {
        let own = |alive: &&Alive<'_>| hash::member(alive.name) == sender.mark && alive.name != &*self.name;
        let alive = match claim {
            Message::Alive(alive) => Some(alive).filter(own),
            _ => None,
        };
        if alive.is_some_and(|alive| self.says_what_is_known(alive)) {
            return None;
        }
        let Some(alive) = alive.filter(|alive| self.table.find_live(alive.name).is_none()) else {
            self.drop_unverified();
            return None;
        };
        let introduced = self.introduced(alive)?;
        if sender.token == introduced.token {
            self.on_alive(alive, true);
            *sender = self.recognize(sender.source, sender.mark, sender.token);
            return None;
        }
        if alive.addr != sender.source {
            self.drop_unverified();
            return None;
        }
        Some(introduced)
    }

    /// A member that may not know yet that we know it.
    fn says_what_is_known(&self, alive: &Alive<'_>) -> bool {
        let identity = Identity { epoch: alive.epoch, incarnation: alive.incarnation };
        let known = self.table.find_live(alive.name).map(|id| self.table.get(id));
        known.is_some_and(|record| (record.addr, record.identity) == (alive.addr, identity))
    }

    /// Somebody introduces itself in a stream that it opened to us from this address, and did not prove who it is.
    pub(super) fn on_introduction(&mut self, peer: SocketAddr, alive: &Alive<'_>) {
        if alive.name == &*self.name {
            return self.drop_unverified();
        }
        match self.table.find_live(alive.name) {
            Some(holder) if self.table.get(holder).addr != alive.addr => self.ask_holder(holder, alive),
            // It was sent a token there, and will show it.
            Some(_) => self.drop_unverified(),
            None if !self.lives_there(peer, alive.addr) => {
                // Streams may come through a translator of addresses.
                if let Some(introduced) = self.introduced(alive) {
                    self.ping_unverified(introduced);
                }
            }
            // Our probes found it silent: it is to answer once.
            None if self.table.find(alive.name).is_some_and(|id| self.knows_better(id)) => {
                self.ask_whether_it_returned(alive);
            }
            None => self.on_alive(alive, false),
        }
    }

    /// A member that our probes found silent is said to be there.
    pub(super) fn ask_whether_it_returned(&mut self, alive: &Alive<'_>) {
        if let Some(introduced) = self.introduced(alive) {
            self.ask(Question::Returned(introduced.introduction), alive.addr);
        }
    }

    /// Whether who calls from an address may be listed at another of the same host before it has answered there.
    fn lives_there(&self, peer: SocketAddr, home: SocketAddr) -> bool {
        home.ip() == peer.ip()
            && self.table.unverified() < MAX_UNVERIFIED
            && self.table.count_unverified_on(host_of(home.ip()), MAX_UNVERIFIED_ON_HOST)
                < MAX_UNVERIFIED_ON_HOST
    }

    fn drop_unverified(&mut self) {
        self.metrics.dropped_unverified += 1;
    }

    /// Asks whether somebody answers to that name there; no oftener than the answer may take.
    pub(super) fn ping_unverified(&mut self, introduced: Introduced) {
        let introduction = introduced.introduction;
        let patience = self.config.probe_timeout;
        let asked = &mut self.unverified.asked;
        if asked
            .iter()
            .any(|(_, at, other)| other.addr == introduction.addr && self.now.since(*at) < patience)
        {
            return;
        }
        asked.retain(|(.., other)| other.addr != introduction.addr);
        if asked.len() == MAX_ASKED {
            asked.pop_front();
            self.metrics.dropped_unverified += 1;
        }
        let seq = self.ping(introduction.addr, &introduction.name, None, Priority::Provoked);
        self.unverified.asked.push_back((seq, self.now, introduction));
    }

    pub(super) fn take_introduction_answer(&mut self, sender: &Sender, seq: u32) -> bool {
        let asked = &mut self.unverified.asked;
        let Some(at) = asked.iter().position(|(asked, ..)| *asked == seq) else { return false };
        let Some((.., introduction)) = asked.remove(at) else { return false };
        // Meanwhile the name may have become somebody else's.
        if sender.mark != hash::member(&introduction.name)
            || self.table.find_live(&introduction.name).is_some()
        {
            self.drop_unverified();
        } else {
            // There is room for one that comes back to where it answered.
            self.verified_at(&introduction.name, introduction.addr);
            self.on_alive(&introduction.claim(), true);
            // If it is new, or has moved, its record is there only now.
            self.verified_at(&introduction.name, introduction.addr);
        }
        true
    }

    /// Somebody elsewhere has the name of a live member: does that member answer?
    fn ask_holder(&mut self, holder: MemberId, alive: &Alive<'_>) {
        let record = self.table.get(holder);
        let addr = record.addr;
        let identity = Identity { epoch: alive.epoch, incarnation: alive.incarnation };
        if identity > record.identity
            && let Some(introduced) = self.introduced(alive)
        {
            self.ask(Question::Holder(introduced.introduction), addr);
        }
    }

    /// What an honest stranger can say of itself, to be kept for a moment.
    fn introduced(&mut self, alive: &Alive<'_>) -> Option<Introduced> {
        let Alive { name, epoch, incarnation, addr, tags } = *alive;
        if !self.config.allows(addr.ip()) {
            self.metrics.dropped_not_allowed += 1;
            return None;
        }
        let Ok(tags) = Tags::from_encoded(tags) else {
            self.metrics.dropped_malformed += 1;
            return None;
        };
        let token = self.table.tokens().of(name, addr);
        let identity = Identity { epoch, incarnation };
        Some(Introduced { introduction: Introduction { name: name.into(), identity, addr, tags }, token })
    }
}
