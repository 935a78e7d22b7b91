//! The effect of a claim about another member.
//!
//! One rule decides all: a claim wins if (epoch, incarnation, state) is greater than what the table holds, compared in that
//! order, with alive < suspect < failed < left. Equal or lesser claims change nothing, with few exceptions: one more accuser
//! can shorten a suspicion, and a departure that is claimed under a lesser incarnation counts as an accusation. So updates
//! may arrive in any order, twice or never, and tables converge. A node's own observation can override a claim for a while:
//! [`hearsay`](super::hearsay), [`moves`](super::moves).

use std::{net::SocketAddr, sync::Arc};

use super::{
    bounds::Arrival,
    claimant::Claimant,
    event::{Event, Output},
    history::Observation,
    member::{Identity, Member, MemberId, MemberState, Record},
    node::Node,
    rules::{Rule, holds},
    timers::Timer,
    updates::Urgency,
    validation::Sender,
    verdict::Origin,
};
use crate::wire::{
    Tags,
    message::{Alive, Message},
};

/// The authority for a claim that a member is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Authority {
    /// Its own.
    Itself,
    /// Any member's: the subject has answered at the address.
    AnsweredThere,
    /// Another's.
    Other(Claimant),
}

impl Authority {
    /// Its own, or another's.
    pub(super) fn of(by_itself: bool, claimant: Claimant) -> Self {
        if by_itself { Self::Itself } else { Self::Other(claimant) }
    }
}

impl Node {
    pub(super) fn on_alive(&mut self, claim: &Alive<'_>, authority: Authority) {
        if !self.config.allows(claim.addr.ip()) && claim.addr != self.table.get(MemberId::SELF).addr {
            self.metrics.dropped_not_allowed += 1;
            return;
        }
        let identity = Identity { epoch: claim.epoch, incarnation: claim.incarnation };
        if claim.name == &*self.name {
            return self.on_own_alive(identity, claim.addr, claim.tags);
        }
        // At its own address a node is the only one.
        if claim.addr == self.table.get(MemberId::SELF).addr {
            self.metrics.refused_members += 1;
            return;
        }
        let known = self.table.find(claim.name);
        if let Some(id) = known.filter(|id| authority != Authority::Itself && self.is_contested(*id, claim)) {
            // The member is suspected: whichever of the two is alive refutes.
            if self.raise_suspicion(id, identity) {
                self.spread(id, Urgency::Urgent);
            }
            return;
        }
        if let Some(id) = known.filter(|id| identity <= self.table.get(*id).identity) {
            if authority == Authority::Itself {
                self.on_late_alive(id, identity, claim);
            }
            return;
        }
        if !self.check_plausible(known, identity) {
            return;
        }
        let Ok(tags) = Tags::from_encoded(claim.tags) else {
            self.metrics.dropped_malformed += 1;
            return;
        };
        let claimant = match authority {
            Authority::Other(claimant) => Some(claimant),
            Authority::Itself | Authority::AnsweredThere => None,
        };
        let by_itself = claimant.is_none();
        // Elsewhere than at its address a member has shown nothing, unless it has answered there.
        let shown = |record: &Record| match record.addr == claim.addr {
            true => by_itself || record.contact.met,
            false => authority == Authority::AnsweredThere,
        };
        let is_there = known.map_or(by_itself, |id| shown(self.table.get(id)));
        let arrival = Arrival { known, name: claim.name, addr: claim.addr, is_there, by_itself };
        match (known, claimant) {
            (Some(id), Some(_)) if self.knows_better(id) => self.ignore_return(id, claim),
            (Some(id), Some(claimant)) if self.may_answer_otherwise(id, claim) => {
                self.ask_whether_it_moved(id, claim, claimant)
            }
            _ if !self.make_room(&arrival) => {
                self.metrics.refused_members += 1;
                if !arrival.is_there && self.gives_way_at(claim.addr) {
                    self.ask_whether_it_is_there(claim, claimant);
                }
            }
            (Some(id), _) => {
                let checks = !by_itself && self.is_to_be_checked(id);
                match self.table.get(id).state.is_live() {
                    true => self.renew(id, identity, claim.addr, tags),
                    false => self.revive(id, identity, claim.addr, tags),
                }
                if by_itself && !self.table.get(id).contact.met {
                    self.reconnects.set_known(claim.name, claim.addr);
                }
                if checks {
                    self.table.probe_next(id);
                }
            }
            (None, _) => self.add(claim, identity, tags),
        }
        self.make_room_for_departed();
    }

    fn add(&mut self, claim: &Alive<'_>, identity: Identity, tags: Tags) {
        let mut record = self.record(claim.name, claim.addr, MemberState::Alive, identity);
        record.tags = tags;
        let id = self.table.insert(record, &mut self.rng);
        self.keep_known(id, None);
        self.remember(id, Observation::Joined);
        self.emit_member(|member| Event::Joined { member }, id);
        self.spread(id, Urgency::Routine);
    }

    /// Whether another's claim gives another address or other tags to the identity of a live member: two processes that never
    /// heard of each other took one identity, and neither claim would ever win.
    fn is_contested(&self, id: MemberId, claim: &Alive<'_>) -> bool {
        let record = self.table.get(id);
        record.state.is_live()
            && record.identity == Identity { epoch: claim.epoch, incarnation: claim.incarnation }
            && (record.addr != claim.addr
                || record.tags.encoded() != claim.tags && Tags::from_encoded(claim.tags).is_ok())
    }

    /// The member's own Alive, older than what the table holds, because others have since claimed a suspicion or departure
    /// under a greater identity. If the member is listed as live, its tags are still taken from this Alive, unless the listed
    /// ones are newer. Otherwise repeated suspicions could keep its tags from ever being seen.
    fn on_late_alive(&mut self, id: MemberId, identity: Identity, claim: &Alive<'_>) {
        let record = self.table.get(id);
        if !record.state.is_live() {
            return self.note_refuted(id, record.state, identity);
        }
        let is_later =
            identity.epoch == record.identity.epoch && identity.incarnation > record.tags_incarnation;
        if !is_later || claim.addr != record.addr || claim.tags == record.tags.encoded() {
            return;
        }
        let Ok(tags) = Tags::from_encoded(claim.tags) else {
            self.metrics.dropped_malformed += 1;
            return;
        };
        let previous = record.view();
        let change =
            |record: &mut Record| (record.tags, record.tags_incarnation) = (tags, identity.incarnation);
        self.table.update(id, &mut self.rng, change);
        self.emit_member(|member| Event::Updated { member, previous }, id);
    }

    /// Whether this node's own probes of a member fail: then another member's Alive is not believed, only the member's own,
    /// or its answer.
    pub(super) fn knows_better(&self, id: MemberId) -> bool {
        self.table.get(id).contact.is_missed() && holds(Rule::Returns)
    }

    /// Whether another member's Alive is believed although the member missed this node's last probe. It is then probed next, so
    /// that forged refutations are exposed after the three probes that `knows_better` waits for, not after as many passes of the
    /// ring.
    fn is_to_be_checked(&self, id: MemberId) -> bool {
        self.table.get(id).contact.missed_last()
    }

    /// Another member says that it is alive, which is not believed. If at another address, it is asked there.
    fn ignore_return(&mut self, id: MemberId, claim: &Alive<'_>) {
        self.metrics.ignored_returns += 1;
        if self.table.get(id).addr != claim.addr {
            self.ask_whether_it_returned(claim);
        }
    }

    /// Whether a sender's claim about itself is older than the table: another process made a claim in its name.
    pub(super) fn is_outdated(&self, claim: &Message<'_>, sender: &Sender) -> bool {
        let (name, epoch, incarnation) = match claim {
            Message::Alive(claim) => (claim.name, claim.epoch, claim.incarnation),
            Message::Left(claim) => (claim.name, claim.epoch, claim.incarnation),
            _ => return false,
        };
        let record = self.id_of(sender).map(|id| self.table.get(id)).filter(|record| &*record.name == name);
        record.is_some_and(|record| Identity { epoch, incarnation } < record.identity)
    }

    /// A live member has a new identity: other tags, another address, a refutation, or a restart.
    fn renew(&mut self, id: MemberId, identity: Identity, addr: SocketAddr, tags: Tags) {
        let old = self.table.get(id);
        let restarted = old.identity.epoch != identity.epoch;
        let changed = old.state != MemberState::Alive || old.addr != addr || old.tags != tags;
        let previous = old.view();
        if restarted {
            let verdict = old.verdict(&self.name, self.now, Origin::Successor);
            let member = Member { state: MemberState::Failed, since: self.now, ..previous.clone() };
            self.emit(Output::Event(Event::Failed { member, verdict }));
        }
        self.settle(id, identity, addr, tags);
        if restarted {
            self.remember(id, Observation::Failed { origin: Origin::Successor });
            self.remember(id, Observation::Joined);
            self.emit_member(|member| Event::Joined { member }, id);
        } else if changed {
            if previous.state == MemberState::Suspect {
                self.remember(id, Observation::Refuted { incarnation: identity.incarnation });
            }
            self.emit_member(|member| Event::Updated { member, previous }, id);
        }
        self.spread(id, Urgency::Routine);
    }

    /// A departed member is back.
    fn revive(&mut self, id: MemberId, identity: Identity, addr: SocketAddr, tags: Tags) {
        self.timers.cancel(Timer::Reap(id));
        let past = self.table.get(id).view();
        self.settle(id, identity, addr, tags);
        self.lately_departed.remove(id);
        self.note_refuted(id, past.state, identity);
        if past.identity.epoch == identity.epoch && past.state == MemberState::Failed {
            self.tell_verdict(id, &past);
        }
        self.remember(id, Observation::Joined);
        self.emit_member(|member| Event::Joined { member }, id);
        self.spread(id, Urgency::Routine);
    }

    fn settle(&mut self, id: MemberId, identity: Identity, addr: SocketAddr, tags: Tags) {
        let now = self.now;
        self.timers.cancel(Timer::Suspicion(id));
        let Record { identity: past, addr: before, contact, ref name, .. } = *self.table.get(id);
        let lived = contact.met.then_some(before);
        if (past.epoch, before) != (identity.epoch, addr) {
            self.doubt_saved(&Arc::clone(name));
        }
        if before != addr && contact.silent {
            // The new address begins without signs of life: with it goes when the member was heard from.
            self.remember_last_sign(id);
        }
        self.table.update(id, &mut self.rng, |record| {
            let restarted = record.identity.epoch != identity.epoch;
            if restarted || record.state != MemberState::Alive {
                record.since = now;
            }
            if restarted {
                record.contact.begin_anew();
            }
            record.state = MemberState::Alive;
            (record.identity, record.addr) = (identity, addr);
            (record.tags, record.tags_incarnation) = (tags, identity.incarnation);
            (record.suspicion, record.removed, record.tombstone) = (None, None, false);
        });
        self.keep_known(id, lived);
    }

    pub(super) fn record(
        &self,
        name: &str,
        addr: SocketAddr,
        state: MemberState,
        identity: Identity,
    ) -> Record {
        Record::new(Arc::from(name), addr, state, identity, self.now)
    }
}
