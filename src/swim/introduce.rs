//! Introductions: a datagram or stream of an unverified peer may carry one claim, its own Alive.
//!
//! It is listed, disseminated and probed only once it has shown that it is reached at the address it claims, so nobody can
//! make this node send more to others than arrived here. The name of a live member passes to an unverified peer at another
//! address only if that member was asked and does not answer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    carry::Priority,
    claims::Authority,
    member::{Identity, MemberId},
    node::Node,
    question::Question,
    session::Purpose,
    time::Time,
    transmit::{Behind, Content},
    validation::{Pinged, Sender},
};
use crate::{
    address::host_of,
    wire::{
        Tags, hash,
        message::{Alive, Message},
    },
};

/// Unverified peers that are pinged at the same time; the one pinged first makes room.
pub(super) const MAX_ASKED: usize = 64;
/// Members that are asked at the same time whether they have returned: a driver has four threads for questions.
const MAX_RETURNED: usize = 2;
/// Members of one host that may be listed because they called from there, before they have answered.
const MAX_UNMET_ON_HOST: usize = 64;
/// The same of all hosts.
const MAX_UNMET: usize = 4096;

/// The claim of an unverified peer about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Introduction {
    pub(super) name: Arc<str>,
    pub(super) identity: Identity,
    pub(super) addr: SocketAddr,
    pub(super) tags: Tags,
}

impl Introduction {
    pub(super) fn claim(&self) -> Alive<'_> {
        let Identity { epoch, incarnation } = self.identity;
        Alive { name: &self.name, epoch, incarnation, addr: self.addr, tags: self.tags.encoded() }
    }
}

/// The same, with the token that it may show to be believed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Introduced {
    pub(super) introduction: Introduction,
    pub(super) token: u32,
}

/// When an unverified peer was pinged, and what it claims.
pub(super) type Unverified = (Time, Introduction);

impl Pinged<Unverified> {
    /// The address that an unverified peer of this mark claims, if it is being pinged there.
    pub(super) fn home_of(&self, mark: u32) -> Option<SocketAddr> {
        let mut peers = self.waiting.iter().map(|(_, (_, peer))| peer);
        peers.find(|peer| hash::member(&peer.name) == mark).map(|peer| peer.addr)
    }

    /// Whether a claimed address is being pinged already, under any name or this one.
    fn is_pinged(&self, addr: SocketAddr, name: Option<&str>, now: Time, patience: Duration) -> bool {
        let is_it = |peer: &Introduction| peer.addr == addr && name.is_none_or(|name| *peer.name == *name);
        self.waiting.iter().any(|(_, (at, peer))| is_it(peer) && now.since(*at) < patience)
    }
}

impl Node {
    /// The claim by which the sender of a datagram introduces itself, if it is one.
    pub(super) fn introduction<'m, 'a>(
        &self,
        sender: &Sender,
        claim: &'m Message<'a>,
    ) -> Option<&'m Alive<'a>> {
        let own = |alive: &&Alive<'_>| hash::member(alive.name) == sender.mark && alive.name != &*self.name;
        match claim {
            Message::Alive(alive) => Some(alive).filter(own),
            _ => None,
        }
    }

    /// The introduction in a datagram of an unverified peer. One that shows the token for the address it claims becomes a
    /// member; one that may yet be proven is returned.
    pub(super) fn on_unverified_claim(
        &mut self,
        sender: &mut Sender,
        alive: &Alive<'_>,
    ) -> Option<Introduced> {
        if self.says_what_is_known(alive) {
            return None;
        }
        if self.table.find_live(alive.name).is_some() {
            self.drop_unverified();
            return None;
        }
        let introduced = self.introduced(alive)?;
        if self.check_token(sender, introduced.token, alive.addr) {
            self.on_alive(alive, Authority::AnsweredThere);
            let received = sender.received;
            *sender = self.recognize(sender.source, sender.by_stream, sender.mark, sender.token);
            sender.received = received;
            return None;
        }
        if alive.addr != sender.source {
            self.drop_unverified();
            return None;
        }
        Some(introduced)
    }

    /// Whether it is a listed member that does not know it yet.
    fn says_what_is_known(&self, alive: &Alive<'_>) -> bool {
        let identity = Identity { epoch: alive.epoch, incarnation: alive.incarnation };
        let known = self.table.find_live(alive.name).map(|id| self.table.get(id));
        known.is_some_and(|record| (record.addr, record.identity) == (alive.addr, identity))
    }

    /// The introduction of an unverified caller, in the stream that it opened from this address.
    pub(super) fn on_introduction(&mut self, peer: SocketAddr, alive: &Alive<'_>) {
        if alive.name == &*self.name {
            return self.drop_unverified();
        }
        match self.table.find_live(alive.name) {
            Some(holder) if self.table.get(holder).addr != alive.addr => self.ask_holder(holder, peer, alive),
            // It was sent a token to that address, and will show it.
            Some(_) => self.drop_unverified(),
            // Streams may pass a NAT, and a member whose probes failed may not be there: it has to answer first, by whichever
            // way gets through.
            // So does one at an address where names were made up: their room is for those that answer there.
            None if !self.lives_there(peer, alive.addr)
                || self.was_missed(alive.name)
                || self.gives_way_at(alive.addr) =>
            {
                if let Some(introduced) = self.introduced(alive) {
                    self.ping_unverified(introduced, Some(peer));
                }
            }
            None => {
                let claimant = self.table.claimant_at(peer);
                self.on_alive(alive, Authority::Other(claimant));
            }
        }
    }

    /// Whether this node's probes of a member failed.
    fn was_missed(&self, name: &str) -> bool {
        self.table.find(name).is_some_and(|id| self.knows_better(id))
    }

    /// Another claims that a member whose probes failed is alive.
    pub(super) fn ask_whether_it_returned(&mut self, alive: &Alive<'_>) {
        if self.may_ask_who_returned(alive) {
            if let Some(introduced) = self.introduced(alive) {
                self.ask(Question::Returned(introduced.introduction), alive.addr);
            }
        } else {
            self.drop_unverified();
        }
    }

    /// Returned members can be made up, with addresses without a node: other questions must find room.
    fn may_ask_who_returned(&self, alive: &Alive<'_>) -> bool {
        let mut asked = 0;
        let is_asked = self.streams.sessions.values().any(|session| match &session.purpose {
            Purpose::Ask(Question::Returned(introduction), _) => {
                asked += 1;
                *introduction.name == *alive.name || host_of(session.peer.ip()) == host_of(alive.addr.ip())
            }
            _ => false,
        });
        !is_asked && asked < MAX_RETURNED
    }

    /// Whether a caller may be listed at another port of its host before it has answered there.
    fn lives_there(&self, peer: SocketAddr, home: SocketAddr) -> bool {
        home.ip() == peer.ip()
            && self.table.rings.unmet().len() < MAX_UNMET
            && self.table.count_unmet_on(host_of(home.ip()), MAX_UNMET_ON_HOST) < MAX_UNMET_ON_HOST
    }

    fn drop_unverified(&mut self) {
        self.metrics.dropped_unverified += 1;
    }

    /// Pings the claimed address, no oftener than an answer may take: by datagram, and by stream too if it was claimed in one.
    /// A caller from that host is not kept waiting by what others claim about the address.
    pub(super) fn ping_unverified(&mut self, introduced: Introduced, caller: Option<SocketAddr>) {
        let introduction = introduced.introduction;
        let (addr, name) = (introduction.addr, Arc::clone(&introduction.name));
        let by_stream = caller.is_some();
        let calls_from_there = caller.is_some_and(|caller| caller.ip() == addr.ip());
        let under = calls_from_there.then_some(&*name);
        if self.unverified.is_pinged(addr, under, self.now, self.config.probe_timeout) {
            return;
        }
        // A datagram opens no stream: its source may be forged.
        let seq = self.ping_by(None, addr, &name, Behind::Nothing);
        if by_stream {
            let ping = Content::Ping { seq, target: Arc::clone(&name), behind: Behind::Nothing };
            self.carry(addr, &name, ping, Priority::Provoked);
        }
        // In place of an older ping of it there.
        self.unverified.waiting.retain(|(_, (_, peer))| (peer.addr, &peer.name) != (addr, &name));
        let full = self.unverified.push(seq, (self.now, introduction));
        self.metrics.dropped_unverified += u64::from(full);
    }

    pub(super) fn take_introduction_answer(&mut self, sender: &Sender, seq: u32) -> bool {
        let Some((_, introduction)) = self.unverified.take(seq) else { return false };
        // Meanwhile the name may be another member's.
        if sender.mark != hash::member(&introduction.name)
            || self.table.find_live(&introduction.name).is_some()
        {
            self.drop_unverified();
        } else {
            // There is room for one that comes back to where it answered.
            self.note_answer_at(&introduction.name, introduction.addr);
            self.on_alive(&introduction.claim(), Authority::AnsweredThere);
            // If it is new, or has moved, its record is there only now.
            self.note_answer_at(&introduction.name, introduction.addr);
        }
        true
    }

    /// An unverified peer at another address has the name of a live member: does that member answer? One question for each
    /// account of such peers: both names and where they are can be made up.
    fn ask_holder(&mut self, holder: MemberId, peer: SocketAddr, alive: &Alive<'_>) {
        let record = self.table.get(holder);
        let addr = record.addr;
        let identity = Identity { epoch: alive.epoch, incarnation: alive.incarnation };
        if identity <= record.identity {
            return;
        }
        let account = self.table.account_of(peer);
        let causes = |question: &Question| matches!(question, Question::Holder(_, by) if account.is_of(*by));
        if self.questions().any(causes) {
            return self.drop_unverified();
        }
        if let Some(introduced) = self.introduced(alive) {
            self.ask(Question::Holder(introduced.introduction, peer), addr);
        }
    }

    /// Checks an introduction.
    pub(super) fn introduced(&mut self, alive: &Alive<'_>) -> Option<Introduced> {
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
