//! Bounds on what others are believed: how far an identity may jump, and how many members may be listed.

use std::net::SocketAddr;

use super::{
    departures::ClaimedDeparture,
    event::Event,
    member::{Identity, MemberId, MemberState, Record},
    node::Node,
    time::Time,
    timers::Timer,
    verdict::Origin,
};
use crate::wire::hash;

const DAY: u64 = 24 * 3600 * 1000;
const YEAR: u64 = 365 * DAY;
/// The latest epoch that a node takes from its clock: the year 2100, in milliseconds since 1970.
const LATEST_START: u64 = 4_102_444_800_000;
/// The latest epoch that is accepted when the clock says 1970: as many milliseconds later as have passed since then. So a
/// claim of the latest epoch of a name can be superseded a millisecond later, also at members that did not hear it.
const LATEST: u64 = LATEST_START + 25 * YEAR;
/// A clock that says less, 1 January 2026, is wrong: this program is younger.
const EARLIEST: u64 = 1_767_225_600_000;
/// How far an incarnation may lie ahead of the one in the table: far more than a member changes its tags between two exchanges,
/// and twice as far as others can raise it.
const INCARNATION_AHEAD: u64 = 1 << 20;
/// The highest incarnation accepted of an epoch that is new.
const LAST_INCARNATION: u64 = 1 << 40;

/// Live members at one address: more than one while a process is replaced by one of another name.
const MAX_AT_ADDR: usize = 4;
/// Records whose names have the same mark. In a full table two have one by chance; an attacker finds a name with a given mark
/// in a minute.
const MAX_OF_MARK: usize = 16;
/// Records on one host whose names have the same mark.
const MAX_OF_MARK_ON_HOST: usize = 2;

/// The epoch that a node begins with. With a clock beyond the bound it is random: two lives must not have one epoch, or
/// the second would be taken for the first, which may have left.
pub(super) fn first_epoch(clock: u64, rng: &mut fastrand::Rng) -> u64 {
    if clock < LATEST_START { clock } else { LATEST_START + rng.u64(..YEAR) }
}

/// The time of the wall clock at [`Time::ZERO`], if it showed `epoch` at `now`, as far as it can be right.
pub(super) fn clock_at_zero(epoch: u64, now: Time) -> u64 {
    epoch.max(EARLIEST).saturating_sub(now.nanos() / 1_000_000)
}

/// The identity that supersedes a claim about this node, after claims have raised it by `raised` in its epoch. If that is
/// more than all tables would follow, it is the next epoch, which every table that accepted the claim accepts a millisecond
/// later.
pub(super) fn superseding(ours: Identity, claimed: Identity, raised: &mut u64) -> Identity {
    let Identity { epoch, incarnation } = claimed;
    let before = if epoch == ours.epoch { ours.incarnation.saturating_sub(*raised) } else { 0 };
    let next = incarnation.saturating_add(1);
    *raised = next.saturating_sub(before);
    if *raised > INCARNATION_AHEAD / 2 {
        *raised = 0;
        return Identity { epoch: epoch.saturating_add(1), incarnation: 0 };
    }
    Identity { epoch, incarnation: next }
}

/// A member that is about to be listed as live, or to move.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    /// Its record, if there is one.
    pub(super) known: Option<MemberId>,
    pub(super) name: &'a str,
    pub(super) addr: SocketAddr,
    /// It has shown that it is reached there.
    pub(super) is_there: bool,
    /// It says so itself.
    pub(super) by_itself: bool,
}

/// Draws of a member that makes room for another.
const MAX_DRAWS: usize = 16;

/// There is no room for it.
struct Refused;

impl Node {
    /// Whether an identity is within the bounds; one that is not is counted.
    pub(super) fn check_plausible(&mut self, known: Option<MemberId>, claimed: Identity) -> bool {
        let plausible = self.is_plausible(known, claimed);
        self.metrics.dropped_implausible += u64::from(!plausible);
        plausible
    }

    /// Whether an identity is within the bounds, which are the same for every claimant. As far as the members' clocks agree, a
    /// node can refute anything that others accept.
    pub(super) fn is_plausible(&self, known: Option<MemberId>, claimed: Identity) -> bool {
        let highest = match known.map(|id| (id, self.table.get(id).identity)) {
            // Others may have been led to it step by step.
            Some((MemberId::SELF, _)) => u64::MAX,
            Some((_, Identity { epoch, incarnation })) if epoch == claimed.epoch => {
                incarnation.saturating_add(INCARNATION_AHEAD)
            }
            _ => LAST_INCARNATION,
        };
        claimed.epoch <= self.latest_epoch() && claimed.incarnation <= highest
    }

    /// The latest epoch that is accepted now. A lie can have raised that of an earlier life of this node beyond it, if its clock
    /// was ahead.
    pub(crate) fn latest_epoch(&self) -> u64 {
        LATEST.saturating_add(self.clock).saturating_add(self.now.nanos() / 1_000_000)
    }

    /// Makes room for an Alive that adds a live member, or moves one. Returns whether there is room: no member is evicted
    /// for one that is refused. The departed may be one too many until it has arrived: it may be one of them.
    pub(super) fn make_room(&mut self, arrival: &Arrival<'_>) -> bool {
        let returns = arrival.known.is_none_or(|id| !self.table.get(id).state.is_live());
        if returns && self.is_full(arrival) {
            self.forget_old_departures();
        }
        let (Ok(at_addr), Ok(of_mark)) = (self.room_at(arrival), self.room_of_mark(arrival)) else {
            return false;
        };
        let made_up = if returns && self.is_full(arrival) {
            let Some(made_up) = self.draw_made_up() else { return false };
            Some(made_up)
        } else {
            None
        };
        let at_addr = at_addr.filter(|id| Some(*id) != of_mark);
        let made_up = made_up.filter(|id| ![of_mark, at_addr].contains(&Some(*id)));
        of_mark.into_iter().chain(at_addr).for_each(|id| self.evict(id));
        if let Some(id) = made_up.filter(|_| self.is_full(arrival)) {
            self.evict(id);
        }
        true
    }

    /// A live member that never answered. Among those that did not answer yet where they are, others may have been moved.
    fn draw_made_up(&mut self) -> Option<MemberId> {
        (0..MAX_DRAWS).find_map(|_| {
            let drawn = self.rng.choice(self.table.rings.unmet()).copied()?;
            self.table.get(drawn).contact.may_be_made_up().then_some(drawn)
        })
    }

    /// Whether as many live members claim an address as may.
    fn is_crowded(&self, addr: SocketAddr) -> bool {
        self.table.count_at_addr(addr, MAX_AT_ADDR) == MAX_AT_ADDR
    }

    /// Whether as many claim an address as may, and one of them would give way to a member that answers there.
    pub(super) fn gives_way_at(&self, addr: SocketAddr) -> bool {
        self.is_crowded(addr) && self.unmet_at(addr).is_some()
    }

    /// A member that has not answered at an address, rather one that has answered nowhere.
    fn unmet_at(&self, addr: SocketAddr) -> Option<MemberId> {
        let made_up = self.table.find_at(addr, |record| record.contact.may_be_made_up());
        made_up.or_else(|| self.table.find_at(addr, |record| !record.contact.met))
    }

    /// Whether one more live member may be listed at an address, or who makes room: one that has not answered there, for one
    /// that is there, by what it has shown. Names can be made up, and others moved there; those are remembered as departed.
    fn room_at(&self, arrival: &Arrival<'_>) -> Result<Option<MemberId>, Refused> {
        let stays = |id| {
            let record = self.table.get(id);
            record.state.is_live() && record.addr == arrival.addr
        };
        if arrival.known.is_some_and(stays) || !self.is_crowded(arrival.addr) {
            return Ok(None);
        }
        self.unmet_at(arrival.addr).filter(|_| arrival.is_there).map(Some).ok_or(Refused)
    }

    /// Whether one more name of its mark may be listed, in all and on its host, and which member makes room: a departed one
    /// that never answered; or, for a member that announces itself, a live one that never answered. An attacker can choose
    /// names with the same mark, and answer under them: members that have answered never give way.
    fn room_of_mark(&self, arrival: &Arrival<'_>) -> Result<Option<MemberId>, Refused> {
        let host = self.table.hash_host(arrival.addr);
        let on_host = |record: &Record| self.counts_on(record) == host;
        let mark = hash::member(arrival.name);
        let crowds = |most, is: &dyn Fn(&Record) -> bool| self.table.count_mark(mark, most, is) == most;
        // Few names have this mark, or it is one of those on that host already: nothing to decide.
        if arrival.known.is_some_and(|id| on_host(self.table.get(id)))
            || !crowds(MAX_OF_MARK_ON_HOST, &|_| true)
        {
            return Ok(None);
        }
        let is_one: &dyn Fn(&Record) -> bool = match () {
            () if crowds(MAX_OF_MARK_ON_HOST, &on_host) => &on_host,
            () if arrival.known.is_none() && !self.has_room_for_mark(arrival.name) => &|_| true,
            () => return Ok(None),
        };
        let gives_way = |record: &Record| record.contact.may_be_made_up() && is_one(record);
        let find =
            |live| self.table.find_mark(mark, |record| record.state.is_live() == live && gives_way(record));
        let found = find(false).or_else(|| find(true).filter(|_| arrival.by_itself));
        found.map(Some).ok_or(Refused)
    }

    /// Whether one more name of a mark may count on a host. Several can say at the same time that they moved there.
    pub(super) fn has_room_for_mark_on(&self, mark: u32, host: u32) -> bool {
        let on_host = |record: &Record| self.counts_on(record) == host;
        self.table.count_mark(mark, MAX_OF_MARK_ON_HOST, on_host) < MAX_OF_MARK_ON_HOST
    }

    /// A hash of the host that a member counts on: of one that has answered, where it did last, as others can move it.
    fn counts_on(&self, record: &Record) -> u32 {
        match record.contact.met_on_host {
            0 => self.table.hash_host(record.addr),
            met_on_host => met_on_host,
        }
    }

    /// Whether one more name of its mark may be remembered.
    pub(super) fn has_room_for_mark(&self, name: &str) -> bool {
        self.table.count_mark(hash::member(name), MAX_OF_MARK, |_| true) < MAX_OF_MARK
    }

    /// Whether the table is full for this arrival; from a full one a member that never answered is evicted. A sixteenth of
    /// it is reserved for members that return. A member that was claimed to have departed keeps its place while it can still
    /// hear of it: else the claimant could take the place.
    fn is_full(&self, arrival: &Arrival<'_>) -> bool {
        let (live, most) = (self.table.live(), self.config.max_members);
        let has_place = arrival.known.is_some_and(|id| self.lately_departed.contains(id));
        let returns = arrival.known.is_some_and(|id| !self.table.get(id).contact.may_be_made_up());
        let kept = match () {
            () if has_place => 0,
            () if returns => self.lately_departed.len(),
            () => self.lately_departed.len().max(most / 16),
        };
        live + kept >= most
    }

    /// Takes a member out of the table that never answered; one that did, at another address, has failed.
    fn evict(&mut self, id: MemberId) {
        let record = self.table.get(id);
        if !record.state.is_live() {
            return self.evict_departed(id);
        }
        self.metrics.evicted_members += 1;
        if !record.contact.may_be_made_up() {
            let departure = ClaimedDeparture::of_failure(record.identity, Origin::Others);
            return self.take_departure(id, &departure, self.now);
        }
        self.timers.cancel(Timer::Suspicion(id));
        self.table.update(id, &mut self.rng, |record| {
            (record.state, record.suspicion) = (MemberState::Failed, None);
        });
        self.emit_member(|member| Event::Reaped { member }, id);
        self.reconnect_later(id);
        self.forget(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two lives must not have one epoch.
    #[test]
    fn from_the_latest_start_on_the_first_epoch_is_random() {
        let drawn = |clock| {
            let epochs = (0..20).map(|seed| first_epoch(clock, &mut fastrand::Rng::with_seed(seed)));
            epochs.collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(drawn(LATEST_START - 1), 1);
        assert!(drawn(LATEST_START) > 1 && drawn(u64::MAX) > 1);
    }
}
