//! Leave: a few members are told directly, and it is over once they answer.
//!
//! They pass the update on at once, so the leaver need not wait until it is disseminated. A member that does not answer is
//! told by stream, and others are told besides, until `leave_timeout`.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    carry::Priority,
    entry::Input,
    event::Output,
    member::{Identity, MemberId, MemberState, Record},
    node::Node,
    phase::Phase,
    time::Time,
    timers::Timer,
    transmit::Behind,
    updates::Urgency,
    validation::Sender,
};
use crate::wire::hash;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Leave {
    /// Members that were told and have not answered yet, the last [`MAX_TOLD`] of them.
    told: VecDeque<Told>,
    /// So many of the first were looked at, whether to tell them by stream.
    examined: usize,
    /// Those that were told by stream, once each.
    told_by_stream: Vec<Arc<str>>,
    /// Those whose ack says that they believed it, and a hash of the host of each.
    believed: Vec<(Arc<str>, u32)>,
    /// Those that sent a Retry, and were told again with the token.
    retold: Vec<Arc<str>>,
    /// Those that sent a Retry by stream, and have yet to send their token to the advertised address.
    without_token: Vec<Arc<str>>,
    /// Whether a member believed it, or no member lists this node.
    confirmed: bool,
    /// No member lists this node, so there is none to tell.
    pub(super) silent: bool,
    began: Time,
    ends: Time,
}

#[derive(Debug, Serialize, Deserialize)]
struct Told {
    seq: u32,
    name: Arc<str>,
    addr: SocketAddr,
    at: Time,
    /// The token that was shown.
    token: u32,
}

/// Pings whose answers are awaited.
pub(super) const MAX_TOLD: usize = 1024;
/// The part of `leave_timeout` after which a silent member is told by stream.
const PATIENCE: u32 = 4;

impl Leave {
    fn is_believed_by(&self, name: &str) -> bool {
        self.believed.iter().any(|(other, _)| **other == *name)
    }

    fn take_told(&mut self, at: usize) -> Option<Told> {
        self.examined -= usize::from(at < self.examined);
        self.told.remove(at)
    }
}

impl Node {
    /// Leaves the cluster. [`Output::LeaveDone`] follows within [`Config::leave_timeout`](super::Config), usually after one
    /// round trip; until then the node must be driven on. The node cannot join again: make a new one.
    pub fn leave(&mut self, now: Time) {
        self.given(now, || Input::Leave);
        self.advance(now);
        match self.phase {
            Phase::Leaving => {}
            Phase::Left => self.emit(Output::LeaveDone { confirmed: self.leave.confirmed }),
            // Its past life may be listed still, and would count as failed.
            Phase::Starting if self.has_past_life() => self.begin_leave(),
            // No other node lists this one, so there is none to tell; but one that it is joining may, from now on.
            Phase::Starting | Phase::Displaced => {
                let told = self.phase == Phase::Starting && self.joins.said_hello;
                self.leave.silent = !told;
                self.withdraw();
                self.end_leave_as(!told);
            }
            Phase::Live => self.begin_leave(),
        }
    }

    /// Whether an earlier life of this node was a member, as others or its own state file say.
    fn has_past_life(&self) -> bool {
        self.conflict.has_past() || self.rejoin.is_awaited()
    }

    fn begin_leave(&mut self) {
        let lists_none = self.phase == Phase::Starting && self.table.others() == 0;
        self.withdraw();
        self.announce();
        // A leave under a lesser identity than the accusation would not be believed.
        if let Some(held) = self.flaps.held() {
            self.leave_as_later_than(held);
        }
        (self.leave.began, self.leave.ends) = (self.now, self.now + self.config.leave_timeout);
        if lists_none {
            // The members that list the past life are not known yet.
            return self.end_leave_as(false);
        }
        self.repeat_leave();
    }

    /// Tells some more members, or gives up.
    pub(super) fn repeat_leave(&mut self) {
        if self.now >= self.leave.ends || self.table.others() == 0 {
            return self.end_leave();
        }
        self.tell_the_silent();
        for (name, addr) in self.pick_to_tell() {
            self.tell_leave(name, addr, false);
        }
        let next = (self.now + self.config.gossip_interval).min(self.leave.ends);
        self.set_timer_at(Timer::Leave, next);
    }

    /// Members that are suspected are told only where no others are.
    fn pick_to_tell(&mut self) -> Vec<(Arc<str>, SocketAddr)> {
        let fanout = self.config.gossip_fanout;
        let alive = self.pick_alive(fanout, None);
        if alive.is_empty() { self.pick_live(fanout, None, |_| true) } else { alive }
    }

    fn tell_leave(&mut self, name: Arc<str>, addr: SocketAddr, by_stream: bool) {
        if !self.updates.contains(MemberId::SELF) {
            self.updates.push(MemberId::SELF, Urgency::Urgent);
        }
        let by_stream = by_stream || self.carrier.carries_to(&name);
        let first = Behind::Updates(Some(Arc::clone(&self.name)));
        let seq = self.ping_by(by_stream.then_some(Priority::Urgent), addr, &name, first);
        let token = self.token_of(&name);
        if by_stream && !self.leave.told_by_stream.contains(&name) {
            self.leave.told_by_stream.push(Arc::clone(&name));
        }
        if self.leave.told.len() == MAX_TOLD {
            self.leave.take_told(0);
        }
        self.leave.told.push_back(Told { seq, name, addr, at: self.now, token });
    }

    fn token_of(&self, name: &str) -> u32 {
        self.table.find(name).map_or(0, |id| self.table.get(id).contact.held)
    }

    /// A member that did not answer for a while may get no datagrams: `gossip_fanout` of them are told by stream, once each. If
    /// as many pings wait as may, the first are looked at sooner.
    fn tell_the_silent(&mut self) {
        let patience = self.config.leave_timeout / PATIENCE;
        if !self.config.stream_fallback {
            return;
        }
        let mut told = 0;
        while let Some(one) =
            self.leave.told.get(self.leave.examined).filter(|_| told < self.config.gossip_fanout)
        {
            if self.now.since(one.at) < patience && self.leave.told.len() < MAX_TOLD {
                return;
            }
            let (name, addr) = (Arc::clone(&one.name), one.addr);
            self.leave.examined += 1;
            if !self.leave.is_believed_by(&name) && !self.leave.told_by_stream.contains(&name) {
                self.tell_leave(name, addr, true);
                told += 1;
            }
        }
    }

    /// Other members hold a greater identity of this node than the Left bears: it is raised, or they would not believe it.
    pub(super) fn leave_as_later_than(&mut self, identity: Identity) {
        let ours = self.table.get(MemberId::SELF).identity;
        if identity > ours && !self.leave.silent {
            let later = self.superseding(identity);
            self.table.update(MemberId::SELF, &mut self.rng, |own| own.identity = later);
            self.announce();
        }
    }

    /// Takes an answer to a Left. An ack says that it was believed. A Retry with a token is answered with that token, once; one
    /// without comes from a member that leaves as well.
    pub(super) fn take_leave_answer(&mut self, sender: &mut Sender, seq: u32, token: Option<u32>) -> bool {
        let is_it = |told: &Told| told.seq == seq && sender.mark == hash::member(&told.name);
        let Some(at) = self.leave.told.iter().position(is_it) else { return false };
        let Some(Told { name, addr, token: shown, .. }) = self.leave.take_told(at) else { return false };
        self.on_direct_answer(sender, &name, addr, token.filter(|token| *token != 0));
        if let Some(token) = token {
            let came = sender.by_stream && self.token_of(&name) != shown;
            if token != 0 || came {
                self.retell(name, addr, sender.by_stream);
            } else if sender.by_stream {
                self.await_token(name);
            }
            return true;
        }
        let host = self.table.claimant(self.table.find(&name), addr).host;
        if !self.leave.is_believed_by(&name) {
            self.leave.believed.push((name, host));
        }
        if self.phase == Phase::Leaving && self.is_believed_by_enough() {
            self.end_leave();
        }
        true
    }

    /// Whether as many members believe it as a round of gossip goes to, on two hosts if there are as many: the names of one
    /// host could all be one process, which passes nothing on.
    fn is_believed_by_enough(&self) -> bool {
        let believed = &self.leave.believed;
        // Members that never answered are counted only where there are no others.
        let (met, others) = (self.table.rings.met().len(), self.table.others());
        let enough = self.config.gossip_fanout.min(if met > 0 { met } else { others });
        let is_of_one_host = believed.iter().all(|(_, host)| *host == believed[0].1);
        believed.len() >= enough && (self.table.hosts() < 2 || !is_of_one_host)
    }

    fn retell(&mut self, name: Arc<str>, addr: SocketAddr, by_stream: bool) {
        if self.phase == Phase::Leaving && !self.leave.retold.contains(&name) {
            self.leave.retold.push(Arc::clone(&name));
            self.tell_leave(name, addr, by_stream);
        }
    }

    /// A member does not know the token that it was shown: since an address changed, perhaps. It sends another.
    fn await_token(&mut self, name: Arc<str>) {
        if let Some(id) = self.table.find(&name) {
            self.table.contact_mut(id).held = 0;
        }
        if !self.leave.without_token.contains(&name) {
            self.leave.without_token.push(name);
        }
    }

    /// A member sent its token. If it sent a Retry by stream before, it is told again.
    pub(super) fn prove_leave(&mut self, id: MemberId) {
        if self.phase != Phase::Leaving {
            return;
        }
        let Record { name, addr, .. } = self.table.get(id);
        let (name, addr) = (Arc::clone(name), *addr);
        if self.leave.without_token.contains(&name) {
            self.retell(name, addr, true);
        }
    }

    /// How many pings with the Left wait for their answers.
    #[cfg(any(test, feature = "sim", fuzzing))]
    pub(super) fn told_of_leave(&self) -> usize {
        self.leave.told.len()
    }

    /// The members that have yet to send their token.
    #[cfg(any(test, feature = "sim", fuzzing))]
    pub(super) fn without_token(&self) -> usize {
        self.leave.without_token.len()
    }

    fn end_leave(&mut self) {
        self.end_leave_as(!self.leave.believed.is_empty() || self.leave.silent || self.is_alone());
    }

    /// Whether no member is left that could declare this node failed. Members that failed since the leave began may still be
    /// there.
    fn is_alone(&self) -> bool {
        let failed =
            |record: &Record| record.state == MemberState::Failed && record.since >= self.leave.began;
        self.table.others() == 0 && !self.table.walk(0).any(|(_, record)| failed(record))
    }

    fn end_leave_as(&mut self, confirmed: bool) {
        self.timers.cancel(Timer::Leave);
        self.leave_ended();
        self.leave.confirmed = confirmed;
        self.emit(Output::LeaveDone { confirmed });
    }
}
