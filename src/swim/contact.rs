//! This node's knowledge of how to reach a member: its observations, and the token that each side holds. The rules are in
//! `validation`.

use serde::{Deserialize, Serialize};

use super::{round_trip::RoundTrip, time::Time};

/// Challenges (pings to members that have not answered yet, besides their probes) for each member, at any address.
const MAX_CHALLENGES: u8 = 3;
/// After this many failed probes in a row, another member's Alive about the target is not believed.
const MISSED: u8 = 3;
/// After this many probes in a row that a member answered by stream alone, relays that say that datagrams reach it are not
/// believed. Where a tenth of them is lost, fewer happen by chance.
const RELAYED: u8 = 8;

/// The knowledge of the path to a member.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Contact {
    /// This node has met it: something that was sent to its address was answered.
    pub(super) met: bool,
    /// A hash of the host where it was met last, perhaps at another address: others can claim that a silent member moved,
    /// but they cannot make it up. 0 for none.
    pub(super) met_on_host: u32,
    /// It has shown the token that this node gave it.
    pub(super) shown: bool,
    /// The token that it may show.
    pub(super) given: u32,
    /// The token that it gave to this node; 0 before it did.
    pub(super) held: u32,
    /// Challenges since it was last heard from for certain: by datagram, and by stream.
    challenges: u8,
    challenges_by_stream: u8,
    /// Whether a datagram was among them, which was not answered yet.
    asked_by_datagram: bool,
    /// This node's probes of it that failed since then.
    missed: u8,
    /// It did not itself answer this node's last probe, and was not heard from since, even if relays say that they reach it.
    pub(super) silent: bool,
    /// This node's probes of it that it answered by stream alone, and through relays, since it answered a datagram.
    relayed: u8,
    /// When it was heard from for certain last; `Time::ZERO` before it was.
    heard: Time,
    /// When this node probed it last.
    pub(super) probed: Time,
    /// Hashes of the address, other than its own, where it last showed its token from, and of that host; 0 for none.
    pub(super) other_source: u32,
    pub(super) other_host: u32,
    /// The round trips of direct pings by datagram.
    pub(super) round_trip: RoundTrip,
}

impl Contact {
    /// At an address where it has not been heard from yet. The token that it gave is not shown there: another process may be
    /// there. Nor does a move allow further challenges of a member that never answered: otherwise moves would cause any
    /// number of pings.
    pub(super) fn at_new_address(self, token: u32) -> Self {
        let (challenges, challenges_by_stream) = self.challenges_kept();
        let Self { met_on_host, missed, probed, .. } = self;
        Self {
            given: token,
            met_on_host,
            missed,
            probed,
            challenges,
            challenges_by_stream,
            ..Self::default()
        }
    }

    fn challenges_kept(self) -> (u8, u8) {
        if self.met { (0, 0) } else { (self.challenges, self.challenges_by_stream) }
    }

    /// It was restarted: tokens of its past life are void.
    pub(super) fn begin_anew(&mut self) {
        (self.held, self.shown) = (0, false);
        (self.challenges, self.challenges_by_stream) = self.challenges_kept();
    }

    /// Whether it may be made up: it has never answered, here or elsewhere.
    pub(super) fn may_be_made_up(self) -> bool {
        self.met_on_host == 0
    }

    /// Something that was sent to its address was answered.
    pub(super) fn on_answer(&mut self, now: Time) {
        (self.challenges, self.challenges_by_stream, self.missed, self.heard) = (0, 0, 0, now);
        (self.silent, self.asked_by_datagram) = (false, false);
    }

    /// It is asked by datagram.
    pub(super) fn ask_by_datagram(&mut self) {
        self.asked_by_datagram = true;
    }

    /// It answered a datagram: relays are believed again.
    pub(super) fn on_datagram_answer(&mut self) {
        self.relayed = 0;
    }

    /// Counts a challenge, if one more may be sent.
    pub(super) fn count_challenge(&mut self, by_stream: bool) -> bool {
        let count = if by_stream { &mut self.challenges_by_stream } else { &mut self.challenges };
        let may = *count < MAX_CHALLENGES;
        *count += u8::from(may);
        may
    }

    /// Whether no further datagram may challenge it, and none of those that did was answered.
    pub(super) fn was_challenged_in_vain(self) -> bool {
        self.asked_by_datagram && self.challenges == MAX_CHALLENGES
    }

    /// A relay reached it.
    pub(super) fn reached(&mut self) {
        self.missed = 0;
    }

    /// A probe of it failed.
    pub(super) fn miss(&mut self) {
        self.missed = self.missed.saturating_add(1);
    }

    /// Counts that relays reached it, and this node only by stream. Returns whether that was so often that relays are not
    /// believed.
    pub(super) fn count_relayed(&mut self) -> bool {
        self.relayed = self.relayed.saturating_add(1);
        self.relayed >= RELAYED
    }

    /// Whether it did not answer this node's last probe.
    pub(super) fn missed_last(self) -> bool {
        self.missed > 0
    }

    pub(super) fn missed(self) -> u32 {
        self.missed.into()
    }

    pub(super) fn heard(self) -> Option<Time> {
        (self.heard != Time::ZERO).then_some(self.heard)
    }

    /// Whether it missed the last one or two probes: until it has missed three, others may vouch for it.
    pub(super) fn is_pressing(self) -> bool {
        self.missed_last() && !self.is_missed()
    }

    /// When it was heard from or probed last.
    pub(super) fn last_seen(self) -> Time {
        self.heard.max(self.probed)
    }

    /// Whether another member's Alive about it is not believed.
    pub(super) fn is_missed(self) -> bool {
        self.missed >= MISSED
    }

    /// Whether it accepts claims of this node, and is reached at its address.
    pub(super) fn takes_updates(self) -> bool {
        self.met && self.held != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else a member that moves all the time would be probed several times in each pass of the ring, in others' turns.
    #[test]
    fn a_move_does_not_make_a_member_unprobed() {
        let probed = Time::from_origin(std::time::Duration::from_secs(7));
        assert_eq!(Contact { probed, ..Contact::default() }.at_new_address(1).probed, probed);
    }
}
