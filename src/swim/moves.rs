//! Claims by another member that a member has moved to another address, or has restarted.
//!
//! Believing such a claim at once would let an attacker cut the member off: its traffic would go to the wrong address, its
//! tokens would no longer match, and its own claims would be older than the table. So as long as the member has not missed
//! this node's last probe, the claim is held back and not passed on: the member is pinged at the claimed address in a gossip
//! round, and the claim counts once it answers there. A real restart is thus believed after one round trip.
//!
//! At the known address the ping carries the claim. An answer with the token that this node issued comes from the same
//! process, and its own statement replaces the claim; a new process does not know that token. The member is also probed next
//! at the known address: if it is silent there, the claim counts, even where this node cannot reach the claimed address
//! itself.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    carry::Priority,
    claimant::Claimant,
    claims::Authority,
    introduce::Introduction,
    member::{MemberId, Record},
    node::Node,
    rules::{Rule, holds},
    time::Time,
    transmit::Behind,
    validation::{Pinged, Sender},
};
use crate::wire::{hash, message::Alive, packet};

/// Moves that wait to be asked about; and those whose answer is awaited, of which the first makes room.
pub(super) const MAX_MOVES: usize = 64;

/// A claim that a member is at another address, or another process at its address.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Move {
    claim: Introduction,
    /// The member says so itself.
    by_itself: bool,
}

/// Members that are claimed to be at another address, or to be another process at theirs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Moves {
    /// By the claimant's host; the first one has the next turn. Of each host members' own moves come first, one of each member.
    said: VecDeque<(u32, VecDeque<Move>)>,
    asked: Pinged<(Time, Move)>,
    /// A member answered at its address by a datagram that is being taken in, and was told this.
    told: Option<Introduction>,
}

impl Moves {
    pub(super) fn new() -> Self {
        Self { said: VecDeque::new(), asked: Pinged::new(MAX_MOVES), told: None }
    }

    fn waiting(&self) -> usize {
        self.said.iter().map(|(_, its)| its.len()).sum()
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.waiting().max(self.asked.len())
    }

    /// The claim that this one replaces: about the same member, by a claimant of the same host, and if it is not the member's own,
    /// about the same address.
    fn find_said(&mut self, new: &Move, host: u32) -> Option<&mut Move> {
        let mut its = self.said.iter_mut().filter(|(of, _)| *of == host).flat_map(|(_, its)| its);
        its.find(|other| {
            other.by_itself == new.by_itself
                && other.claim.name == new.claim.name
                && (new.by_itself || other.claim.addr == new.claim.addr)
        })
    }

    /// Claims that a ping was sent about less than `patience` ago: the answer concerns the claim in that ping.
    fn asked_lately(&self, now: Time, patience: Duration) -> impl Iterator<Item = &Move> {
        let recent = self.asked.waiting.iter().filter(move |(_, (at, _))| now.since(*at) < patience);
        recent.map(|(_, (_, asked))| asked)
    }

    /// Those of them that are about the same member at the same address.
    fn asked_alike<'a>(
        &'a self,
        new: &'a Introduction,
        now: Time,
        patience: Duration,
    ) -> impl Iterator<Item = &'a Introduction> {
        let asked = self.asked_lately(now, patience).map(|asked| &asked.claim);
        asked.filter(|asked| (&asked.name, asked.addr) == (&new.name, new.addr))
    }

    /// Whether another's claim about an address waits, or was asked about less than `patience` ago.
    fn is_said_by_others(&self, addr: SocketAddr, now: Time, patience: Duration) -> bool {
        let waiting = self.said.iter().flat_map(|(_, its)| its);
        let mut claims = waiting.chain(self.asked_lately(now, patience));
        claims.any(|asked| !asked.by_itself && asked.claim.addr == addr)
    }

    /// Whether a member answered that was told what is said of it.
    pub(super) fn was_told(&self) -> bool {
        self.told.is_some()
    }

    /// The member identifies itself.
    pub(super) fn forget_told(&mut self) {
        self.told = None;
    }

    fn push(&mut self, new: Move, host: u32) {
        match self.said.iter_mut().find(|(of, _)| *of == host) {
            Some((_, its)) => {
                let own = its.partition_point(|other| other.by_itself);
                its.insert(if new.by_itself { own } else { its.len() }, new);
            }
            None => self.said.push_back((host, [new].into())),
        }
    }

    /// The first of the host whose turn it is.
    fn take_next(&mut self) -> Option<Move> {
        let (host, mut its) = self.said.pop_front()?;
        let next = its.pop_front();
        if !its.is_empty() {
            self.said.push_back((host, its));
        }
        next
    }

    /// Drops a claim of the host with the most: the first by others about a member, if there is one. Returns whether there was any.
    fn make_room(&mut self) -> bool {
        let largest = self.said.iter_mut().max_by_key(|(_, its)| its.len());
        let dropped = largest.and_then(|(_, its)| {
            let by_others = its.iter().position(|other| !other.by_itself);
            its.remove(by_others.unwrap_or(0))
        });
        self.said.retain(|(_, its)| !its.is_empty());
        dropped.is_some()
    }
}

impl Node {
    /// Tells a member that is probed at its known address that others claim a move or a restart: members that believe the
    /// move send it nothing any more, and it refuses data that is meant for another process.
    pub(super) fn put_move(&self, packet: &mut packet::Writer<'_>, target: &str) {
        let Some(known) = self.table.find(target).map(|id| self.table.get(id)) else { return };
        let asked = self.moves.asked.waiting.iter().map(|(_, (_, asked))| asked);
        let said = self.moves.said.iter().flat_map(|(_, its)| its).chain(asked);
        let mut said = said.map(|said| &said.claim);
        if let Some(said) = said.find(|said| *said.name == *target && said.identity > known.identity) {
            packet.message(&said.claim());
        }
    }

    /// Whether a member that was not silent is claimed to be elsewhere, though it is listed or has answered, or to be
    /// another process, though this one would be known by its token.
    pub(super) fn may_answer_otherwise(&self, id: MemberId, claim: &Alive<'_>) -> bool {
        let Record { addr, contact, state, identity, .. } = self.table.get(id);
        let is_otherwise = match *addr != claim.addr {
            true => contact.met || state.is_live(),
            false => contact.shown && claim.epoch > identity.epoch,
        };
        is_otherwise && !contact.silent && holds(Rule::Moves)
    }

    /// Another claims that a member moved or restarted: the member is to be asked at the claimed address, and probed next at the
    /// known one.
    pub(super) fn ask_whether_it_moved(&mut self, id: MemberId, claim: &Alive<'_>, claimant: Claimant) {
        if self.is_leaving() {
            return;
        }
        self.table.probe_next(id);
        self.ask_there(claim, Some(claimant));
    }

    /// An Alive is refused, perhaps because names were made up at that address: the member is to be asked there, and counts if it
    /// answers. Without a claimant, it says so itself.
    pub(super) fn ask_whether_it_is_there(&mut self, claim: &Alive<'_>, claimant: Option<Claimant>) {
        // Others' claims one at a time: a datagram of many names would cause as many pings.
        let must_wait = || self.moves.is_said_by_others(claim.addr, self.now, self.config.gossip_interval);
        if !self.is_leaving() && (claimant.is_none() || !must_wait()) {
            self.ask_there(claim, claimant);
        }
    }

    fn ask_there(&mut self, claim: &Alive<'_>, claimant: Option<Claimant>) {
        let Some(introduced) = self.introduced(claim) else { return };
        let new = Move { claim: introduced.introduction, by_itself: claimant.is_none() };
        let itself = || self.table.claimant(self.table.find(claim.name), claim.addr);
        let host = claimant.unwrap_or_else(itself).host;
        if let Some(other) = self.moves.find_said(&new, host) {
            if new.claim.identity > other.claim.identity {
                *other = new;
            }
        } else if self.moves.asked_alike(&new.claim, self.now, self.config.gossip_interval).next().is_none() {
            if self.moves.waiting() == MAX_MOVES {
                self.metrics.dropped_unverified += u64::from(self.moves.make_room());
            }
            self.moves.push(new, host);
            self.schedule_gossip();
        }
    }

    /// Asks some members that are claimed to be elsewhere, or another process.
    pub(super) fn ask_about_moves(&mut self) {
        for _ in 0..self.config.gossip_fanout {
            let Some(new) = self.moves.take_next() else { return };
            if !new.by_itself && self.is_answered_soon(&new.claim) {
                continue;
            }
            let Introduction { name, addr, .. } = &new.claim;
            let known = self.table.find(name).map(|id| self.table.get(id).addr);
            let behind = match known == Some(*addr) {
                true => Behind::Claim(Box::new(new.claim.clone())),
                false => Behind::Nothing,
            };
            let seq = self.ping(*addr, name, behind, Priority::Provoked);
            self.metrics.dropped_unverified += u64::from(self.moves.asked.push(seq, (self.now, new)));
        }
        if !self.moves.said.is_empty() {
            self.schedule_gossip();
        }
    }

    /// Whether this claim, or a greater one, was just asked about at the same address: perhaps by the member's own word.
    fn is_answered_soon(&self, claim: &Introduction) -> bool {
        let mut asked = self.moves.asked_alike(claim, self.now, self.config.gossip_interval);
        asked.any(|asked| asked.identity >= claim.identity)
    }

    /// It answers at the claimed address, perhaps with a token.
    pub(super) fn take_move_answer(&mut self, sender: &mut Sender, seq: u32, token: Option<u32>) -> bool {
        let Some((_, Move { claim: new, .. })) = self.moves.asked.take(seq) else { return false };
        if sender.mark != hash::member(&new.name) {
            return true;
        }
        let is_same = self.is_who_was_there(sender, &new);
        if !is_same {
            self.on_alive(&new.claim(), Authority::AnsweredThere);
        }
        self.on_direct_answer(sender, &new.name, new.addr, token);
        match token {
            None if is_same => self.moves.told = Some(new),
            // It has not looked at the claim.
            Some(_) if is_same => self.metrics.dropped_unverified += 1,
            _ => {}
        }
        true
    }

    /// A datagram was taken in. If a member answered by it that was told what is said of it, and said nothing of itself, it
    /// is true.
    #[cold]
    pub(super) fn believe_what_was_told(&mut self, sender: &Sender) {
        if let Some(told) = self.moves.told.take() {
            self.on_alive(&told.claim(), Authority::AnsweredThere);
            self.note_shown(sender);
        }
    }

    /// Whether the answer from a member's address shows the token that this node gave to the member there.
    fn is_who_was_there(&self, sender: &Sender, new: &Introduction) -> bool {
        let known = self.table.find(&new.name).map(|id| self.table.get(id));
        known.is_some_and(|known| {
            known.addr == new.addr && known.contact.shown && known.contact.given == sender.token
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::member::Identity, *};
    use crate::wire::Tags;

    fn of(name: &str, port: u16, by_itself: bool) -> Move {
        let (identity, addr) = (Identity::new(1, u64::from(port)), ([10, 0, 0, 1], port).into());
        Move { claim: Introduction { name: name.into(), identity, addr, tags: Tags::default() }, by_itself }
    }

    /// The ports of those that wait, in the order in which they are asked.
    fn order(mut moves: Moves) -> Vec<u16> {
        std::iter::from_fn(|| moves.take_next()).map(|its| its.claim.addr.port()).collect()
    }

    #[test]
    fn a_members_own_move_is_asked_about_before_the_claims_of_others_from_its_host() {
        let mut moves = Moves::new();
        moves.push(of("a", 1, false), 7);
        moves.push(of("b", 2, false), 7);
        moves.push(of("c", 3, true), 7);
        moves.push(of("d", 4, true), 7);
        assert!(moves.find_said(&of("c", 3, false), 7).is_none(), "others may say what they like");
        *moves.find_said(&of("c", 6, true), 7).expect("its own move waits") = of("c", 6, true);
        assert_eq!(order(moves), [6, 4, 1, 2]);
    }

    #[test]
    fn the_claims_of_others_make_room_before_a_members_own() {
        let mut moves = Moves::new();
        for (port, by_itself) in [(1, true), (2, false), (3, false)] {
            moves.push(of("a", port, by_itself), 7);
        }
        moves.push(of("b", 4, false), 8);
        assert!(moves.make_room() && moves.make_room());
        assert_eq!(order(moves), [1, 4]);
    }

    #[test]
    fn what_a_member_says_of_itself_keeps_no_claim_of_others_waiting() {
        let mut moves = Moves::new();
        moves.push(of("a", 1, true), 7);
        moves.push(of("b", 2, false), 7);
        let is_said = |port| {
            let addr = ([10, 0, 0, 1], port).into();
            moves.is_said_by_others(addr, Time::ZERO, Duration::ZERO)
        };
        assert_eq!([is_said(1), is_said(2)], [false, true]);
    }
}
