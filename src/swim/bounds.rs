//! Bounds on what others are believed: how far an identity may jump, and how many members may be listed.

use std::net::SocketAddr;

use super::{
    event::Event,
    member::{Identity, MemberId, MemberState, Record},
    node::Node,
    time::Time,
    timers::Timer,
};
use crate::wire::hash;

const YEAR: u64 = 365 * 24 * 3600 * 1000;
/// The latest epoch that a node takes from its clock: the year 2100, in milliseconds since 1970.
const LATEST_START: u64 = 4_102_444_800_000;
/// The latest epoch that is accepted when the clock says 1970: as many milliseconds later as have passed since then. So
/// whoever claims the latest epoch of a name can be superseded a millisecond later, also where the claim was not heard.
const LATEST: u64 = LATEST_START + 25 * YEAR;
/// A clock that says less, 1 January 2026, is wrong: this program is younger.
const EARLIEST: u64 = 1_767_225_600_000;
/// How far an incarnation may lie ahead of the one in the table: far more than a member refutes between two exchanges.
const INCARNATION_AHEAD: u64 = 1 << 20;
/// The highest incarnation accepted of an epoch that is new. A refutation from there on begins a new epoch.
const LAST_INCARNATION: u64 = 1 << 40;

/// Live members at one address: more than one while a process is replaced by one of another name.
const MAX_AT_ADDR: usize = 4;
/// Records whose names have the same mark.
const MAX_OF_MARK: usize = 4;

/// The epoch that a node begins with. With a clock beyond the bound it is random: two lives must not have one epoch, or
/// the second would be taken for the first, which may have left.
pub(super) fn first_epoch(clock: u64, rng: &mut fastrand::Rng) -> u64 {
    if clock < LATEST_START { clock } else { LATEST_START + rng.u64(..YEAR) }
}

/// What a wall clock that said `epoch` at `now` said at [`Time::ZERO`], as far as it can be right.
pub(super) fn clock_at_zero(epoch: u64, now: Time) -> u64 {
    epoch.max(EARLIEST).saturating_sub(now.nanos() / 1_000_000)
}

/// Whether an earlier life of this node can have had an epoch: others have accepted it.
pub(super) fn is_possible(epoch: u64) -> bool {
    epoch < 2 * LATEST
}

/// The identity that supersedes a claim about this node. Where other tables might not accept so high an incarnation, it
/// is the next epoch, which every table accepts that accepted the claim, a millisecond later.
pub(super) fn superseding(ours: Identity, claimed: Identity) -> Identity {
    let Identity { epoch, incarnation } = claimed;
    let jumps = epoch == ours.epoch && incarnation > ours.incarnation.saturating_add(INCARNATION_AHEAD / 2);
    if jumps || incarnation >= LAST_INCARNATION {
        Identity { epoch: epoch.saturating_add(1), incarnation: 0 }
    } else {
        Identity { epoch, incarnation: incarnation + 1 }
    }
}

impl Node {
    /// Whether an identity is within the bounds, the same for every claim, whoever makes it; one that is not is counted. As far
    /// as the members' clocks agree, a node can refute whatever others accept.
    pub(super) fn check_plausible(&mut self, known: Option<MemberId>, claimed: Identity) -> bool {
        let known = known.map(|id| self.table.get(id).identity);
        let highest = known
            .filter(|known| known.epoch == claimed.epoch)
            .map_or(LAST_INCARNATION, |known| known.incarnation.saturating_add(INCARNATION_AHEAD));
        let plausible = claimed.epoch <= self.latest_epoch() && claimed.incarnation <= highest;
        self.metrics.dropped_implausible += u64::from(!plausible);
        plausible
    }

    /// The latest epoch that is accepted now.
    pub(super) fn latest_epoch(&self) -> u64 {
        LATEST.saturating_add(self.clock).saturating_add(self.now.nanos() / 1_000_000)
    }

    /// Whether one more live member may be listed at an address. One that `is_there`, by what it has shown, may take the place
    /// of one that never answered there: names can be made up.
    fn has_room_at(&self, addr: SocketAddr, is_there: bool) -> bool {
        self.has_place_at(addr) || is_there && self.unmet_at(addr).is_some()
    }

    fn has_place_at(&self, addr: SocketAddr) -> bool {
        self.table.count_at_addr(addr, MAX_AT_ADDR) < MAX_AT_ADDR
    }

    fn unmet_at(&self, addr: SocketAddr) -> Option<MemberId> {
        self.table.find_at(addr, |record| !record.contact.met)
    }

    /// The same for a member that moves there; makes the room.
    pub(super) fn make_room_at(&mut self, addr: SocketAddr, is_there: bool) -> bool {
        let has_room = self.has_room_at(addr, is_there);
        if has_room && !self.has_place_at(addr) {
            self.evict(self.unmet_at(addr));
        }
        has_room
    }

    /// An attacker can choose names whose marks are the same.
    pub(super) fn has_room_for_mark(&self, name: &str) -> bool {
        self.table.count_mark(hash::member(name), MAX_OF_MARK) < MAX_OF_MARK
    }

    /// The member of the same mark that makes room for a live one: departed or not, one that never answered; for a member that
    /// speaks for itself also a departed one that did.
    fn makes_room_for_mark(&self, name: &str, by_itself: bool) -> Option<MemberId> {
        let mark = hash::member(name);
        let departed = |record: &Record| !record.state.is_live();
        let unmet = |record: &Record| !record.contact.met;
        let found = self.table.find_mark(mark, |record| departed(record) && unmet(record));
        found
            .or_else(|| self.table.find_mark(mark, departed).filter(|_| by_itself))
            .or_else(|| self.table.find_mark(mark, unmet).filter(|_| by_itself))
    }

    /// From a full table a member that never answered is evicted; a sixteenth of the table is kept for members that return.
    fn is_full(&self, known: Option<MemberId>) -> bool {
        let returns = known.is_some_and(|id| self.table.get(id).contact.met);
        let kept = if returns { 0 } else { self.config.max_members / 16 };
        self.table.live() >= self.config.max_members - kept
    }

    /// Makes room for one more live member, and says whether there is any: nobody is evicted for one that is refused.
    pub(super) fn make_room(
        &mut self,
        known: Option<MemberId>,
        name: &str,
        addr: SocketAddr,
        is_there: bool,
        by_itself: bool,
    ) -> bool {
        let crowded = !self.has_place_at(addr);
        let marked = known.is_none() && !self.has_room_for_mark(name);
        if !crowded && !marked && !self.is_full(known) {
            return true;
        }
        let of_mark = if marked { self.makes_room_for_mark(name, by_itself) } else { None };
        let unmet = !self.table.rings.unmet().is_empty();
        if !self.has_room_at(addr, is_there) || marked && of_mark.is_none() || self.is_full(known) && !unmet {
            return false;
        }
        if let Some(id) = of_mark {
            if self.table.get(id).state.is_live() { self.evict(Some(id)) } else { self.evict_departed(id) }
        }
        self.make_room_at(addr, is_there);
        if self.is_full(known) {
            let unmet = self.rng.choice(self.table.rings.unmet()).copied();
            self.evict(unmet);
        }
        true
    }

    /// Takes a live member out of the table that never answered.
    fn evict(&mut self, unmet: Option<MemberId>) {
        let Some(id) = unmet else { return };
        self.metrics.evicted_members += 1;
        self.timers.cancel(Timer::Suspicion(id));
        self.table.update(id, &mut self.rng, |record| {
            (record.state, record.suspicion) = (MemberState::Failed, None);
        });
        self.emit_member(|member| Event::Reaped { member }, id);
        self.forget(id);
    }
}
