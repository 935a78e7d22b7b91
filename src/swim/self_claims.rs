//! Claims about this node: it refutes them, takes its name back, or yields it.
//!
//! A node first learns of past lives of its name (phase *starting*) and raises its epoch above theirs; only then does it
//! announce itself. Later, it refutes a claim about itself that supersedes its own by a greater one. An Alive with
//! another address is a name conflict: another node has the same name.
//!
//! - With a later epoch it is a newcomer. This node, the incumbent, takes over that epoch with the next incarnation, and
//!   reports the conflict.
//! - With this node's own epoch it is an incumbent that did just that. This node asks at its address whether it is alive;
//!   if so, it yields the name and reports the conflict, if not, it refutes.
//!
//! Only members can report a conflict. A node that has yielded its name keeps asking the holder, and resumes once that
//! one is silent.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{
    bounds::superseding,
    event::{Event, Output},
    history::Observation,
    member::{Identity, MemberId},
    node::Node,
    phase::Phase,
    question::Question,
    time::Time,
    timers::Timer,
};
use crate::wire::message::{Alive, Message};

/// Probe intervals between two questions to the holder that the name was yielded to.
const CONFLICT_CHECK: u32 = 5;
/// How many of them in a row must go unanswered until this node resumes.
const CONFLICT_SILENT: u32 = 2;

/// Addresses of past lives that are remembered to be silent; the first makes room.
pub(super) const MAX_SILENT: usize = 8;

/// A claim of others that this node is not alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accusation {
    Suspect,
    Departed,
}

/// A conflict about the name of this node.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct NameConflict {
    /// Another holder, heard of while starting and not yet asked: (identity, address).
    pub(super) heard: Option<(Identity, SocketAddr)>,
    /// While starting, others listed a past life of this node as live.
    past: bool,
    /// Addresses at which a life up to this one was asked for and did not answer.
    silent: Vec<(SocketAddr, Identity)>,
    /// When the next question may be asked: each costs a connection to an address that others claimed.
    next_check: Time,
    next_report: Time,
    /// The holder that the name was yielded to.
    holder: Option<SocketAddr>,
    /// The greatest identity heard of the name since then.
    highest: Identity,
    /// By how much claims of others have raised this node's incarnation in its epoch.
    raised: u64,
    /// How often in a row the holder did not answer.
    unanswered: u32,
}

impl NameConflict {
    /// The holder did not answer. Returns whether it counts as gone.
    fn count_silence(&mut self) -> bool {
        self.unanswered += 1;
        self.unanswered >= CONFLICT_SILENT
    }

    /// No life up to this one answered at an address.
    fn note_silence(&mut self, addr: SocketAddr, identity: Identity) {
        self.silent.retain(|(silent, _)| *silent != addr);
        if self.silent.len() == MAX_SILENT {
            self.silent.remove(0);
        }
        self.silent.push((addr, identity));
    }

    fn is_silent(&self, addr: SocketAddr, identity: Identity) -> bool {
        self.silent.iter().any(|(silent, highest)| *silent == addr && identity <= *highest)
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.silent.len()
    }

    pub(super) fn holder(&self) -> Option<SocketAddr> {
        self.holder
    }

    /// Whether others list a life of this name that may be a past one of this node.
    pub(super) fn has_past(&self) -> bool {
        self.past || self.heard.is_some()
    }

    /// The name is this node's again.
    pub(super) fn settle(&mut self) {
        (self.holder, self.unanswered) = (None, 0);
    }
}

impl Node {
    /// Whether a claim says that this node is alive by another identity than its own.
    pub(super) fn is_mistaken(&self, claim: &Message<'_>) -> bool {
        let Message::Alive(Alive { name, epoch, incarnation, .. }) = *claim else { return false };
        *name == *self.name && self.table.get(MemberId::SELF).identity != Identity { epoch, incarnation }
    }

    pub(super) fn on_own_alive(&mut self, identity: Identity, addr: SocketAddr, tags: &[u8]) {
        let own = self.table.get(MemberId::SELF);
        let (ours, home) = (own.identity, own.addr);
        let at_home = home == addr;
        let echo = identity == ours && at_home && own.tags.encoded() == tags;
        // Before this node is announced, an older life at another address counts too: it may still be running.
        let settled = identity < ours && self.phase != Phase::Starting;
        if settled || echo || !self.check_plausible(Some(MemberId::SELF), identity) {
            return;
        }
        if self.is_leaving() {
            // At another address it is a later holder of the name.
            return if at_home {
                self.leave_as_later_than(identity)
            };
        }
        self.conflict.highest = self.conflict.highest.max(identity);
        match self.phase {
            Phase::Starting if at_home || self.conflict.is_silent(addr, identity) => {
                self.conflict.past = true;
                self.outlive(identity);
            }
            // A table may be made up, and name several.
            Phase::Starting => self.conflict.heard = self.conflict.heard.max(Some((identity, addr))),
            _ if at_home => {
                if !self.hold_refutation(identity) {
                    self.refute(identity);
                }
            }
            _ if identity.epoch > ours.epoch => self.take_name_back(identity, addr),
            _ if identity == ours && home < addr => self.take_name_back(identity, addr),
            _ => self.ask_about_conflict(identity, addr),
        }
    }

    pub(super) fn on_own_accusation(&mut self, identity: Identity, accusation: Accusation) {
        let ours = self.table.get(MemberId::SELF).identity;
        let bounded = identity <= ours || self.check_plausible(Some(MemberId::SELF), identity);
        let verdict = accusation == Accusation::Departed && self.phase == Phase::Live;
        if bounded && verdict && identity.epoch == ours.epoch {
            self.on_own_verdict(identity);
        }
        if !bounded || identity < ours {
            return;
        }
        self.metrics.own_suspicions += 1;
        if self.is_leaving() {
            // In a later epoch it may be true: that one is another process.
            return if identity.epoch == ours.epoch {
                self.leave_as_later_than(identity)
            };
        }
        match self.phase {
            Phase::Starting => self.outlive(identity),
            // The holder of the name has departed.
            Phase::Displaced if accusation == Accusation::Departed => {
                self.resume();
                self.supersede(identity);
            }
            Phase::Displaced => {}
            _ => {
                if !self.hold_refutation(identity) {
                    self.health.degrade_by_hearsay(self.now);
                    self.refute(identity);
                }
            }
        }
    }

    /// While starting: raises the epoch above that of a past life.
    pub(super) fn outlive(&mut self, past: Identity) {
        if self.table.get(MemberId::SELF).identity.epoch > past.epoch {
            return;
        }
        self.take_identity(Identity { epoch: past.epoch.saturating_add(1), incarnation: 0 });
    }

    pub(super) fn refute(&mut self, accused: Identity) {
        self.metrics.refutations += 1;
        self.remember(MemberId::SELF, Observation::SelfRefuted);
        self.supersede(accused);
    }

    /// Announces an identity greater than the claimed one. A claim about a later epoch may be true of that life, so it is
    /// superseded by an epoch later still.
    fn supersede(&mut self, claimed: Identity) {
        let ours = self.table.get(MemberId::SELF).identity;
        let later = Identity { epoch: claimed.epoch.saturating_add(1), incarnation: 0 };
        let identity = if claimed.epoch == ours.epoch { self.superseding(claimed) } else { later };
        self.become_known_as(identity);
    }

    /// The identity by which this node supersedes a claim.
    pub(super) fn superseding(&mut self, claimed: Identity) -> Identity {
        superseding(self.table.get(MemberId::SELF).identity, claimed, &mut self.conflict.raised)
    }

    fn become_known_as(&mut self, identity: Identity) {
        self.flaps.drop_held();
        self.take_identity(identity);
        self.announce();
    }

    fn take_identity(&mut self, identity: Identity) {
        let previous = self.local();
        self.table.update(MemberId::SELF, &mut self.rng, |own| own.identity = identity);
        if previous.identity.epoch != identity.epoch {
            self.emit_member(|member| Event::Updated { member, previous }, MemberId::SELF);
        }
    }

    fn take_name_back(&mut self, claimed: Identity, other: SocketAddr) {
        self.report_conflict(other);
        self.resume();
        // Under the newcomer's epoch, which tells it that this node is the incumbent.
        let identity = self.superseding(claimed);
        self.become_known_as(identity);
    }

    /// At most once in a probe interval: members could make conflicts up.
    pub(super) fn report_conflict(&mut self, other: SocketAddr) {
        if self.conflict.next_report.pass(self.now, self.config.probe_interval) {
            let member = self.local();
            self.emit(Output::Event(Event::Conflict { member, other }));
        }
    }

    fn ask_about_conflict(&mut self, claimed: Identity, addr: SocketAddr) {
        let may = self.phase == Phase::Live;
        if may && self.conflict.next_check.pass(self.now, self.config.probe_interval) {
            self.ask(Question::Conflict(claimed), addr);
        }
    }

    /// Asks whether the holder of the name is still there.
    pub(super) fn ask_about_conflict_again(&mut self) {
        let Some(holder) = self.conflict.holder.filter(|_| self.phase == Phase::Displaced) else { return };
        self.set_timer(Timer::Conflict, self.config.probe_interval.saturating_mul(CONFLICT_CHECK));
        self.ask(Question::Conflict(self.conflict.highest), holder);
    }

    /// Another node answered to this node's name. It counts unless this node has superseded that identity meanwhile.
    pub(super) fn confirm_conflict(&mut self, claimed: Identity, other: SocketAddr) {
        self.conflict.unanswered = 0;
        if self.phase == Phase::Live && claimed >= self.table.get(MemberId::SELF).identity {
            self.conflict.holder = Some(other);
            self.yield_name();
            self.set_timer(Timer::Conflict, self.config.probe_interval.saturating_mul(CONFLICT_CHECK));
            self.report_conflict(other);
        }
    }

    /// No node answered to the name there: the claim was outdated, or the holder of the name is gone.
    pub(super) fn dismiss_conflict(&mut self, claimed: Identity) {
        let ours = self.table.get(MemberId::SELF).identity;
        if self.phase == Phase::Live && claimed >= ours {
            // Others may have claimed more meanwhile, at addresses that were not asked.
            self.refute(claimed.max(self.conflict.highest));
        } else if self.phase == Phase::Displaced && self.conflict.count_silence() {
            self.resume();
            self.supersede(self.conflict.highest.max(ours));
        }
    }

    /// No node answered to the name at the address of an earlier life, before the join goes on: a node that is starting
    /// supersedes that life.
    pub(super) fn past_life_is_silent(&mut self, claimed: Identity, asked: SocketAddr) {
        self.conflict.note_silence(asked, claimed);
        if self.phase == Phase::Starting {
            self.conflict.past = true;
            self.outlive(claimed);
        }
    }
}
