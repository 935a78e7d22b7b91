//! Moves: a member is said to live at another address than the one where it answers.
//!
//! Whoever could move members by hearsay would mute them: what is for them would go where they are not, and the tokens that
//! they show would be those for where they were. So of a member that did not miss this node's last probe, another's word about
//! another address is not believed. It is pinged there, in a gossip round, and lives there once it answers. Until then all
//! stays as it is, and the claim is not passed on. Who was restarted elsewhere answers within a round trip. It is probed next
//! where it was, too, and told what is said of it: whoever is there refutes, and whoever is silent is believed to have moved,
//! though this node may not reach it itself.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    carry::Priority,
    claims::Word,
    introduce::{Introduction, Unverified},
    member::{MemberId, Record},
    node::Node,
    rules::{Rule, holds},
    share::Account,
    time::Time,
    transmit::Behind,
    validation::{Pinged, Sender},
};
use crate::wire::{hash, message::Alive, packet};

/// Moves that wait to be asked about, of which the first of the account that told most makes room; and those whose answer is
/// awaited, of which the first does.
pub(super) const MAX_MOVES: usize = 64;

/// Members that are said to live elsewhere.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Moves {
    /// Each with the account of whoever said so.
    said: VecDeque<(Option<Account>, Introduction)>,
    asked: Pinged<Unverified>,
}

impl Moves {
    pub(super) fn new() -> Self {
        Self { said: VecDeque::new(), asked: Pinged::new(MAX_MOVES) }
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.said.len().max(self.asked.len())
    }

    /// How many are said by an account.
    fn count(&self, account: Option<Account>) -> usize {
        self.said.iter().filter(|(by, _)| *by == account).count()
    }

    /// Takes the first of the account that has most, or fewest.
    fn take(&mut self, most: bool) -> Option<Introduction> {
        let ends = |at: &usize| self.count(self.said[*at].0);
        let places = 0..self.said.len();
        let at = if most { places.rev().max_by_key(ends) } else { places.min_by_key(ends) };
        self.said.remove(at?).map(|(_, said)| said)
    }

    /// Where somebody is said to live already that is asked there, or was less than `patience` ago.
    fn find(&mut self, new: &Introduction, now: Time, patience: Duration) -> Option<&mut Introduction> {
        let recent = self.asked.waiting.iter_mut().filter(|(_, (at, _))| now.since(*at) < patience);
        let said = self.said.iter_mut().map(|(_, said)| said);
        let mut all = said.chain(recent.map(|(_, (_, asked))| asked));
        all.find(|other| (&other.name, other.addr) == (&new.name, new.addr))
    }
}

impl Node {
    /// Tells a member that is probed where it was that it is said to have moved: who says so does not reach it there.
    pub(super) fn put_move(&self, packet: &mut packet::Writer<'_>, target: &str) {
        let known = || self.table.find(target).map(|id| self.table.get(id).identity);
        let asked = self.moves.asked.waiting.iter().map(|(_, (_, asked))| asked);
        let mut said = self.moves.said.iter().map(|(_, said)| said).chain(asked);
        if let Some(said) = said.find(|said| *said.name == *target && Some(said.identity) > known()) {
            packet.message(&said.claim());
        }
    }

    /// Whether a claim moves a member that is listed, or has answered, and was not silent where it is.
    pub(super) fn may_answer_elsewhere(&self, id: MemberId, claim: &Alive<'_>) -> bool {
        let Record { addr, contact, state, .. } = self.table.get(id);
        *addr != claim.addr && (contact.met || state.is_live()) && !contact.silent && holds(Rule::Moves)
    }

    /// Another member says that it lives elsewhere: it is to be asked there, and probed next where it was.
    pub(super) fn ask_whether_it_moved(&mut self, id: MemberId, claim: &Alive<'_>) {
        if self.is_leaving() {
            return;
        }
        self.table.rings.probe_next(id);
        let Some(new) = self.introduced(claim).map(|introduced| introduced.introduction) else { return };
        if let Some(other) = self.moves.find(&new, self.now, self.config.gossip_interval) {
            if new.identity > other.identity {
                *other = new;
            }
        } else {
            if self.moves.said.len() == MAX_MOVES {
                self.metrics.dropped_unverified += u64::from(self.moves.take(true).is_some());
            }
            let by =
                self.heard_from.and_then(|mark| self.table.find_mark(mark, |record| record.state.is_live()));
            let account = by.map(|id| self.account_of(self.table.get(id).addr));
            self.moves.said.push_back((account, new));
            self.schedule_gossip();
        }
    }

    /// Asks some of those that are said to have moved.
    pub(super) fn ask_those_that_moved(&mut self) {
        for _ in 0..self.config.gossip_fanout {
            let Some(new) = self.moves.take(false) else { return };
            let seq = self.ping(new.addr, &new.name, Behind::Nothing, Priority::Provoked);
            self.metrics.dropped_unverified += u64::from(self.moves.asked.push(seq, (self.now, new)));
        }
        if !self.moves.said.is_empty() {
            self.schedule_gossip();
        }
    }

    /// It answers where it is said to be, perhaps with a token.
    pub(super) fn take_move_answer(&mut self, sender: &mut Sender, seq: u32, token: Option<u32>) -> bool {
        let Some((_, new)) = self.moves.asked.take(seq) else { return false };
        if sender.mark == hash::member(&new.name) {
            self.on_alive(&new.claim(), Word::Answered);
            self.on_direct_answer(sender, &new.name, new.addr, token);
        }
        true
    }
}
