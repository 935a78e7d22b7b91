//! Leaving: said to a few members directly, and over once they answer.
//!
//! What they heard they pass on at once, so the leaver need not wait for its news to make its rounds; who does
//! not answer is replaced by another, until `leave_timeout`.

use std::{net::SocketAddr, sync::Arc};

use super::{
    claims::superseding,
    event::{Event, Output},
    member::{Identity, MemberId, MemberState},
    node::Node,
    own::Phase,
    time::Time,
    timers::Timer,
    validation::Sender,
};

#[derive(Debug, Default)]
pub(super) struct Farewell {
    /// Told, but not yet heard back from.
    told: Vec<(u32, Arc<str>, SocketAddr)>,
    /// Those that believed it.
    believed: Vec<Arc<str>>,
    /// Those that asked for proof, and were told again.
    retold: Vec<Arc<str>>,
    /// There was nobody to take leave of.
    pub(super) silent: bool,
    ends: Time,
}

impl Node {
    /// Says good-bye. [`Output::LeaveDone`] follows within [`Config::leave_timeout`](super::Config), usually
    /// after one round trip; until then the node must be driven on. It cannot come back: make a new one.
    pub fn leave(&mut self, now: Time) {
        self.advance(now);
        match self.phase {
            Phase::Leaving => {}
            Phase::Left => self.emit(Output::LeaveDone),
            // Nobody was told of us, or somebody else has our name: there is nobody to take leave of.
            Phase::Quiet | Phase::Displaced => {
                self.farewell.silent = true;
                self.withdraw();
                self.end_farewell();
            }
            Phase::Live => self.begin_farewell(),
        }
    }

    fn begin_farewell(&mut self) {
        self.withdraw();
        self.announce();
        self.farewell.ends = self.now + self.config.leave_timeout;
        self.repeat_farewell();
    }

    /// From now on whatever tells of us, an exchange that is under way too, tells that we left.
    fn withdraw(&mut self) {
        self.phase = Phase::Leaving;
        let now = self.now;
        self.table
            .update(MemberId::SELF, &mut self.rng, |own| (own.state, own.since) = (MemberState::Left, now));
        self.emit_member(Event::Left, MemberId::SELF);
        for timer in [Timer::Probe, Timer::Indirect, Timer::Sync, Timer::Heal, Timer::Seeds] {
            self.timers.cancel(timer);
        }
        self.advance_joins();
    }

    /// Tells some more members, or gives up.
    pub(super) fn repeat_farewell(&mut self) {
        if self.now >= self.farewell.ends || self.table.others() == 0 {
            return self.end_farewell();
        }
        for (name, addr) in self.pick_alive(self.config.gossip_fanout, None) {
            self.tell_farewell(name, addr);
        }
        let next = (self.now + self.config.gossip_interval).min(self.farewell.ends);
        self.timers.set(Timer::Farewell, next);
    }

    fn tell_farewell(&mut self, name: Arc<str>, addr: SocketAddr) {
        let seq = self.ping_with_own_news(Arc::clone(&name), addr);
        self.farewell.told.push((seq, name, addr));
    }

    /// Others know a greater identity of ours than the one that we leave under: under that one nobody would believe it.
    pub(super) fn leave_as_later_than(&mut self, identity: Identity) {
        let ours = self.table.get(MemberId::SELF).identity;
        if identity > ours && !self.farewell.silent {
            self.table.update(MemberId::SELF, &mut self.rng, |own| {
                own.identity = superseding(own.identity, identity)
            });
            self.announce();
        }
    }

    /// An ack says that the farewell was believed. Who asks for proof is told once more, with it; who leaves too, and
    /// has none to give, is no help.
    pub(super) fn answers_farewell(&mut self, sender: &mut Sender, seq: u32, token: Option<u32>) -> bool {
        let Some(at) = self.farewell.told.iter().position(|told| told.0 == seq) else { return false };
        let (_, name, addr) = self.farewell.told.swap_remove(at);
        self.on_direct_answer(sender, &name, addr, token.filter(|token| *token != 0));
        if let Some(token) = token {
            if token != 0 && self.phase == Phase::Leaving && !self.farewell.retold.contains(&name) {
                self.farewell.retold.push(Arc::clone(&name));
                self.tell_farewell(name, addr);
            }
            return true;
        }
        if !self.farewell.believed.contains(&name) {
            self.farewell.believed.push(name);
        }
        let enough = self.config.gossip_fanout.min(self.table.others());
        if self.phase == Phase::Leaving && self.farewell.believed.len() >= enough {
            self.end_farewell();
        }
        true
    }

    fn end_farewell(&mut self) {
        self.timers.cancel(Timer::Farewell);
        self.phase = Phase::Left;
        self.emit(Output::LeaveDone);
    }
}
