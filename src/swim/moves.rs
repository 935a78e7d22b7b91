//! Moves: a member is said to live at another address than the one where it answers.
//!
//! Whoever could move members by hearsay would mute them: what is for them would go where they are not, and the tokens that
//! they show would be those for where they were. So of a member that did not miss this node's last probe, another's word about
//! another address is not believed. It is pinged there, in a gossip round, and lives there once it answers. Until then all
//! stays as it is, and the claim is not passed on. Who was restarted elsewhere answers within a round trip. It is probed next
//! where it was, too, and told what is said of it: whoever is there refutes, and whoever is silent is believed to have moved,
//! though this node may not reach it itself.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    carry::Priority,
    claims::Word,
    introduce::{Introduction, Unverified},
    member::{MemberId, Record},
    node::Node,
    share::Account,
    time::Time,
    transmit::Behind,
    validation::{Pinged, Sender},
};
use crate::wire::{hash, message::Alive, packet};

/// Moves that wait to be asked about; and those whose answer is awaited, of which the first makes room.
pub(super) const MAX_MOVES: usize = 64;

/// Members that are said to live elsewhere.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Moves {
    /// By the account of whoever said so; the first one has the next turn.
    said: VecDeque<(Account, VecDeque<Introduction>)>,
    asked: Pinged<Unverified>,
}

impl Moves {
    pub(super) fn new() -> Self {
        Self { said: VecDeque::new(), asked: Pinged::new(MAX_MOVES) }
    }

    fn waiting(&self) -> usize {
        self.said.iter().map(|(_, its)| its.len()).sum()
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.waiting().max(self.asked.len())
    }

    /// Where somebody is said to live already by the same account, or is asked there since less than `patience` ago.
    fn find(
        &mut self,
        new: &Introduction,
        account: Account,
        now: Time,
        patience: Duration,
    ) -> Option<&mut Introduction> {
        let recent = self.asked.waiting.iter_mut().filter(|(_, (at, _))| now.since(*at) < patience);
        let its = self.said.iter_mut().filter(|(of, _)| *of == account).flat_map(|(_, its)| its);
        let mut all = its.chain(recent.map(|(_, (_, asked))| asked));
        all.find(|other| (&other.name, other.addr) == (&new.name, new.addr))
    }

    fn push(&mut self, new: Introduction, account: Account) {
        match self.said.iter_mut().find(|(of, _)| *of == account) {
            Some((_, its)) => its.push_back(new),
            None => self.said.push_back((account, [new].into())),
        }
    }

    /// The first of the account whose turn it is.
    fn take_next(&mut self) -> Option<Introduction> {
        let (account, mut its) = self.said.pop_front()?;
        let next = its.pop_front();
        if !its.is_empty() {
            self.said.push_back((account, its));
        }
        next
    }

    /// Drops the first of the account that has most, and says whether there was one.
    fn make_room(&mut self) -> bool {
        let largest = self.said.iter_mut().max_by_key(|(_, its)| its.len());
        let dropped = largest.and_then(|(_, its)| its.pop_front());
        self.said.retain(|(_, its)| !its.is_empty());
        dropped.is_some()
    }
}

impl Node {
    /// Tells a member that is probed where it was that it is said to have moved: whoever believes that sends it nothing any more.
    pub(super) fn put_move(&self, packet: &mut packet::Writer<'_>, target: &str) {
        let known = || self.table.find(target).map(|id| self.table.get(id).identity);
        let asked = self.moves.asked.waiting.iter().map(|(_, (_, asked))| asked);
        let mut said = self.moves.said.iter().flat_map(|(_, its)| its).chain(asked);
        if let Some(said) = said.find(|said| *said.name == *target && Some(said.identity) > known()) {
            packet.message(&said.claim());
        }
    }

    /// Whether a claim moves a member that is listed, or has answered, and was not silent where it is.
    pub(super) fn may_answer_elsewhere(&self, id: MemberId, claim: &Alive<'_>) -> bool {
        let Record { addr, contact, state, .. } = self.table.get(id);
        *addr != claim.addr && (contact.met || state.is_live()) && !contact.silent
    }

    /// Whoever is at `teller` says that a member lives elsewhere: it is to be asked there, and probed next where it was.
    pub(super) fn ask_whether_it_moved(&mut self, id: MemberId, claim: &Alive<'_>, teller: SocketAddr) {
        if self.is_leaving() {
            return;
        }
        self.table.rings.probe_next(id);
        let Some(new) = self.introduced(claim).map(|introduced| introduced.introduction) else { return };
        let account = self.account_of(teller);
        if let Some(other) = self.moves.find(&new, account, self.now, self.config.gossip_interval) {
            if new.identity > other.identity {
                *other = new;
            }
        } else {
            if self.moves.waiting() == MAX_MOVES {
                self.metrics.dropped_unverified += u64::from(self.moves.make_room());
            }
            self.moves.push(new, account);
            self.schedule_gossip();
        }
    }

    /// Asks some of those that are said to have moved.
    pub(super) fn ask_those_that_moved(&mut self) {
        for _ in 0..self.config.gossip_fanout {
            let Some(new) = self.moves.take_next() else { return };
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
