//! What claims about ourselves make us do: refute, take our name back, or yield it.
//!
//! A node first hears what its name did before (phase *quiet*) and raises its epoch above all of it; only
//! then does it announce itself. Later, a claim that supersedes what we say about ourselves is answered by a
//! greater one. An *alive* from elsewhere means that somebody else has our name:
//!
//! - with a later epoch, a newcomer: we are the incumbent, so we take over its epoch with the next
//!   incarnation, and report the conflict;
//! - with *our* epoch, an incumbent that did just that to us (nobody else has reason to use our epoch): we ask
//!   at its address whether it lives, and if so, yield, and report the conflict. If not, we refute.
//!
//! Only members can tell us of a rival; and who has yielded asks the rival again and again, and resumes once it is
//! silent.

use std::net::SocketAddr;

use super::{
    claims::superseding,
    event::{Event, Output},
    member::{Identity, MemberId},
    node::Node,
    question::Question,
    time::Time,
    timers::Timer,
};

/// Probe intervals between two questions to the rival that we yielded to.
const CONFLICT_CHECK: u32 = 5;
/// So often in a row it must be silent.
const CONFLICT_SILENT: u32 = 2;

/// How far a node's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody was told of us yet.
    Quiet,
    /// A member among others.
    Live,
    /// Another live node has our name: we watch, but neither announce ourselves nor accuse anybody.
    Displaced,
    /// Saying good-bye.
    Leaving,
    /// The good-bye is said.
    Left,
}

/// What others hold against us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accusation {
    Suspect,
    Departed,
}

/// Other holders of our name.
#[derive(Debug, Default)]
pub(super) struct NameConflict {
    /// Heard of while quiet, not yet asked: (identity, address).
    pub(super) heard: Option<(Identity, SocketAddr)>,
    /// The latest life that was asked for at its address and did not answer.
    pub(super) silent: Option<Identity>,
    /// When somebody may be asked again: each question costs a connection to an address we were told.
    next_check: Time,
    next_report: Time,
    /// Whom we yielded to.
    holder: Option<SocketAddr>,
    /// The greatest identity heard of our name since then.
    highest: Identity,
    /// How often in a row the holder did not answer.
    unanswered: u32,
}

impl Node {
    /// Whether it looks after the others: who has yielded its name does so for itself, and passes nothing on.
    pub(super) fn watches(&self) -> bool {
        matches!(self.phase, Phase::Live | Phase::Displaced)
    }

    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving | Phase::Left)
    }

    /// Becomes a member: whatever our name did before is known by now.
    pub(super) fn go_live(&mut self) {
        if self.phase != Phase::Quiet {
            return;
        }
        self.phase = Phase::Live;
        self.reach.begin(self.now);
        let offset = self.config.probe_interval.mul_f64(self.rng.f64());
        self.set_timer(Timer::Probe, offset);
        self.schedule_first_syncs();
        self.schedule_reconnect();
        self.announce();
    }

    pub(super) fn on_own_alive(&mut self, identity: Identity, addr: SocketAddr, tags: &[u8]) {
        let own = self.table.get(MemberId::SELF);
        let (ours, home) = (own.identity, own.addr);
        let at_home = home == addr;
        let echo = identity == ours && at_home && own.tags.encoded() == tags;
        // Until we are announced, an older life elsewhere matters too: it may still be lived.
        let settled = identity < ours && self.phase != Phase::Quiet;
        if settled || echo || !self.check_plausible(Some(MemberId::SELF), identity, false) {
            return;
        }
        if self.is_leaving() {
            // Elsewhere it is somebody who comes after us.
            return if at_home {
                self.leave_as_later_than(identity)
            };
        }
        self.conflict.highest = self.conflict.highest.max(identity);
        match self.phase {
            Phase::Quiet if at_home || Some(identity) <= self.conflict.silent => self.outlive(identity),
            Phase::Quiet => self.conflict.heard = Some((identity, addr)),
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
        let bounded = identity <= ours || self.check_plausible(Some(MemberId::SELF), identity, false);
        let verdict = accusation == Accusation::Departed && self.phase == Phase::Live;
        if bounded && verdict && identity.epoch == ours.epoch {
            self.note_verdict(identity);
        }
        if !bounded || identity < ours {
            return;
        }
        if self.is_leaving() {
            // Of a later life it may be true: that one comes after us.
            return if identity.epoch == ours.epoch {
                self.leave_as_later_than(identity)
            };
        }
        match self.phase {
            Phase::Quiet => self.outlive(identity),
            // Our rival is gone: the name is ours again.
            Phase::Displaced if accusation == Accusation::Departed => {
                self.resume();
                self.supersede(identity);
            }
            Phase::Displaced => {}
            _ => {
                if !self.hold_refutation(identity) {
                    self.health.degrade_by_hearsay();
                    self.refute(identity);
                }
            }
        }
    }

    /// Before anybody knows us: makes sure that this life is later than that one.
    fn outlive(&mut self, past: Identity) {
        if self.table.get(MemberId::SELF).identity.epoch > past.epoch {
            return;
        }
        self.table.update(MemberId::SELF, &mut self.rng, |own| {
            own.identity = Identity { epoch: past.epoch.saturating_add(1), incarnation: 0 };
        });
        self.emit_member(Event::Updated, MemberId::SELF);
    }

    pub(super) fn refute(&mut self, accused: Identity) {
        self.metrics.refutations += 1;
        self.supersede(accused);
    }

    /// What was said of another life than ours, one with a later epoch, is superseded by a later life: of that one it may
    /// be true.
    fn supersede(&mut self, claimed: Identity) {
        let ours = self.table.get(MemberId::SELF).identity;
        self.become_known_as(if claimed.epoch == ours.epoch {
            superseding(ours, claimed)
        } else {
            Identity { epoch: claimed.epoch.saturating_add(1), incarnation: 0 }
        });
    }

    fn become_known_as(&mut self, identity: Identity) {
        let new_life = self.table.get(MemberId::SELF).identity.epoch != identity.epoch;
        self.table.update(MemberId::SELF, &mut self.rng, |own| own.identity = identity);
        if new_life {
            self.emit_member(Event::Updated, MemberId::SELF);
        }
        self.announce();
    }

    fn take_name_back(&mut self, claimed: Identity, rival: SocketAddr) {
        self.report_conflict(rival);
        self.resume();
        // Under the newcomer's epoch, so that it sees that it meets an incumbent.
        self.become_known_as(superseding(self.table.get(MemberId::SELF).identity, claimed));
    }

    fn resume(&mut self) {
        self.phase = Phase::Live;
        self.reach.begin(self.now);
        (self.conflict.holder, self.conflict.unanswered) = (None, 0);
        self.timers.cancel(Timer::Conflict);
        for (timer, interval) in
            [(Timer::Probe, self.config.probe_interval), (Timer::Sync, self.scaled_sync_interval())]
        {
            if !self.timers.is_set(timer) {
                self.set_timer(timer, interval);
            }
        }
        self.schedule_reconnect();
    }

    /// At most once in a probe interval: what members say of a rival may be made up.
    pub(super) fn report_conflict(&mut self, rival: SocketAddr) {
        if self.now < self.conflict.next_report {
            return;
        }
        self.conflict.next_report = self.now + self.config.probe_interval;
        let member = self.local();
        self.emit(Output::Event(Event::Conflict { member, rival }));
    }

    fn ask_about_conflict(&mut self, claimed: Identity, addr: SocketAddr) {
        if self.phase == Phase::Live && self.now >= self.conflict.next_check {
            self.conflict.next_check = self.now + self.config.probe_interval;
            self.ask(Question::Conflict(claimed), addr);
        }
    }

    /// Whether whoever we yielded to is still there.
    pub(super) fn ask_about_conflict_again(&mut self) {
        let Some(holder) = self.conflict.holder.filter(|_| self.phase == Phase::Displaced) else { return };
        self.set_timer(Timer::Conflict, self.config.probe_interval.saturating_mul(CONFLICT_CHECK));
        self.ask(Question::Conflict(self.conflict.highest), holder);
    }

    /// Somebody answered to our name at another address.
    /// Meanwhile we may have outgrown what it claimed.
    pub(super) fn confirm_conflict(&mut self, claimed: Identity, rival: SocketAddr) {
        self.conflict.unanswered = 0;
        if self.phase == Phase::Live && claimed >= self.table.get(MemberId::SELF).identity {
            self.phase = Phase::Displaced;
            self.conflict.holder = Some(rival);
            self.timers.cancel(Timer::Reconnect);
            self.set_timer(Timer::Conflict, self.config.probe_interval.saturating_mul(CONFLICT_CHECK));
            self.updates.clear();
            self.report_conflict(rival);
        }
    }

    /// Nobody answered to our name there: what we heard was a ghost, or whoever we yielded to is gone.
    pub(super) fn dismiss_conflict(&mut self, claimed: Identity) {
        match self.phase {
            Phase::Live if claimed >= self.table.get(MemberId::SELF).identity => self.refute(claimed),
            Phase::Displaced => {
                self.conflict.unanswered += 1;
                if self.conflict.unanswered >= CONFLICT_SILENT {
                    self.resume();
                    self.supersede(self.conflict.highest.max(self.table.get(MemberId::SELF).identity));
                }
            }
            _ => {}
        }
    }

    /// The same, while quiet: now we may announce ourselves over it.
    pub(super) fn past_life_is_silent(&mut self, claimed: Identity) {
        self.conflict.silent = self.conflict.silent.max(Some(claimed));
        if self.phase == Phase::Quiet {
            self.outlive(claimed);
        }
    }
}
