//! Whether a node keeps its bounds and its tables agree with each other, for tests and the simulator.

use std::net::SocketAddr;

use super::{
    anti_entropy::MAX_APART,
    flap::MAX_UNTOLD,
    introduce::MAX_ASKED,
    lately_departed::MAX_LATELY_DEPARTED,
    leave::MAX_TOLD,
    member::{MemberId, MemberState, Record},
    moves::MAX_MOVES,
    node::Node,
    phase::Phase,
    race::MAX_ATTEMPTS,
    relay::MAX_RELAYED,
    self_claims::MAX_SILENT,
    stream::MAX_STREAMS,
    validation::MAX_CHALLENGED,
};

/// Joins are not refused for the sake of other streams; each attempt has one at a time.
const STREAMS: usize = MAX_STREAMS + MAX_ATTEMPTS;
const STATES: [MemberState; 4] =
    [MemberState::Alive, MemberState::Suspect, MemberState::Failed, MemberState::Left];

impl Node {
    /// Checks every bound that is not held by construction: O(n). For tests; outside the promises of semantic
    /// versioning.
    ///
    /// # Errors
    /// The inconsistency, in words.
    pub fn audit(&self) -> Result<(), String> {
        let (live, departed) = (self.table.live(), self.table.departed());
        let bounds = [
            ("live members", live, self.config.max_members),
            ("departed members", departed, self.config.max_departed),
            ("updates", self.updates.len(), live + departed + 1),
            ("relayed probes", self.relays.len(), MAX_RELAYED),
            ("streams", self.streams.len(), STREAMS),
            ("unverified peers that are asked", self.unverified.len(), MAX_ASKED),
            ("members that are said to have moved", self.moves.len(), MAX_MOVES),
            ("members that were challenged", self.challenges.len(), MAX_CHALLENGED),
            ("members whom datagrams do not reach", self.carrier.len(), live + departed),
            ("failed members to reconnect to", self.reconnects.len(), self.config.max_reconnects),
            ("known addresses of members that are listed elsewhere", self.reconnects.known(), live),
            ("addresses of members that left", self.reconnects.left(), departed),
            ("members of an earlier life", self.rejoin.len(), self.config.max_reconnects),
            ("pings with a Left", self.told_of_leave(), MAX_TOLD),
            ("members that ask a leaver for proof", self.without_token(), live + departed),
            ("observations", self.history.len(), self.config.history),
            ("unsent datagrams and unread outputs", self.undrained(), 0),
            ("members that are told of their departure", self.lately_departed.len(), MAX_LATELY_DEPARTED),
            ("refuted verdicts that wait", self.flaps.len(), MAX_UNTOLD),
            ("silent addresses of past lives", self.conflict.len(), MAX_SILENT),
            ("accounts whose digests are put off", self.sync_pace.len(), MAX_APART),
            // Probe, gossip, sync … once each; the others once for each member, relay and stream.
            ("timers", self.timers.len(), 16 + live + departed + self.relays.len() + self.streams.len()),
        ];
        if let Some((what, length, bound)) = bounds.into_iter().find(|(_, length, bound)| length > bound) {
            return Err(format!("{length} {what}, more than {bound}"));
        }
        let mut kept = self
            .lately_departed
            .ids()
            .chain(self.updates.subjects())
            .chain(self.timers.members())
            .chain(self.table.rings.out_of_turn().iter().copied());
        if let Some(id) = kept.find(|id| !self.table.holds(*id)) {
            return Err(format!("{id:?} is kept, but names nobody"));
        }
        let walked = self.table.walk(0).filter(|(_, record)| record.state.is_live()).count();
        let itself = usize::from(!self.table.get(MemberId::SELF).state.is_live());
        if walked + itself != live {
            return Err(format!("{walked} records are live, but {live} are in the ring"));
        }
        if !self.table.has_right_digests() {
            return Err("the digests are not those of the records".into());
        }
        let counted = STATES.map(|state| self.table.listed(state));
        let is_in = |record: &Record, state| !record.tombstone && record.state == state;
        let listed =
            STATES.map(|state| self.table.walk(0).filter(|(_, record)| is_in(record, state)).count());
        match counted == listed {
            true => Ok(()),
            false => Err(format!("{listed:?} members are {STATES:?}, but {counted:?} were counted")),
        }
    }

    /// Whether it gave way to another holder of its name.
    pub(crate) fn is_displaced(&self) -> bool {
        self.phase == Phase::Displaced
    }

    /// By how much its probes are slowed, see [`health`](super::health).
    pub(crate) fn awareness(&self) -> u32 {
        self.health.score()
    }

    /// Whether it is well, and has not had trouble for a while.
    pub(crate) fn is_steady(&self) -> bool {
        self.health.score() == 0 && !self.has_trouble() && !self.flaps.is_held()
    }

    /// The live members that have answered it, by name.
    pub(crate) fn met_members(&self) -> impl Iterator<Item = &str> {
        self.table.rings.met().iter().map(|id| &*self.table.get(*id).name)
    }

    #[cfg(test)]
    pub(crate) fn worsen_awareness(&mut self, by: u32) {
        self.health.degrade(by, super::status::HealthDoubt::Stall, self.now);
    }

    /// The token that a node of this name may show to be believed, if it is reached at this address.
    pub(crate) fn token_for(&self, name: &str, addr: SocketAddr) -> u32 {
        self.table.tokens().of(name, addr)
    }

    #[cfg(test)]
    pub(crate) fn tighten_member_bound(&mut self, bound: usize) {
        self.config.max_members = bound;
    }
}
