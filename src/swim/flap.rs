//! Flap damping: a node that keeps being declared failed delays its refutation until its own probes go well.
//!
//! A node with bad reception is declared failed, learns of it, refutes, and is declared failed again: every other node
//! sees it flap (Rapid, Figure 9). So a node that was declared failed, is accused again, *and* has trouble of its own
//! refutes only after its own probes have gone well for a while. Until then it is *away*. Trouble is a stall, or several probes
//! that failed while all relays were silent. An accusation that somebody made up is refuted at once, however often it comes,
//! for the node's own probes decide.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    member::{Identity, Member, MemberId},
    node::Node,
    time::Time,
};

/// Probe rounds without trouble after which an away node refutes.
const STEADY: u32 = 60;
/// This many probes that fail while their relays are silent, within [`SPELL`] rounds, are trouble. Fewer are none: relays
/// may be silent on purpose when a member has crashed. Where fewer members are left to be probed, each of them once is
/// enough: once a member is suspected, its silence shows nothing about this node.
const SILENCES: usize = 3;
/// Probe rounds within which they have to fail.
const SPELL: u64 = 16;
/// Probe intervals after which a verdict against this node is forgotten, and that another member refuted one.
pub(super) const MEMORY: u32 = 600;
/// Probe intervals after which it refutes in any case: an attacker that holds most of its relays can cause trouble.
pub(super) const LONGEST: u32 = 1000;
/// Members that are yet to be told of a verdict; the first makes room.
pub(super) const MAX_UNTOLD: usize = 64;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Flaps {
    /// The last verdict against this node and when it was heard. Also one about an older identity: its refutation came too
    /// late.
    verdict: Option<(Identity, Time)>,
    /// When this node last had trouble: a stall, or one of several probes that failed with silent relays.
    trouble: Option<Time>,
    /// The rounds of its last [`SILENCES`] such probes, the oldest first.
    silences: VecDeque<u64>,
    /// While away: the identity that the refutation has to supersede.
    held: Option<Identity>,
    held_since: Time,
    /// Until then it does not become away again.
    present_until: Time,
    /// Verdicts on others that were refuted at the same time, to be told with the next probe.
    untold: VecDeque<(Arc<str>, Identity)>,
}

/// The moment, and the lengths of a probe interval: as configured, and stretched by awareness.
#[derive(Debug, Clone, Copy)]
struct Clock {
    now: Time,
    interval: Duration,
    stretched: Duration,
}

impl Flaps {
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.untold.len()
    }

    pub(super) fn note_trouble(&mut self, now: Time) {
        self.trouble = Some(now);
    }

    /// The probe of this round failed, and its relays were silent: trouble, if it is the last of `enough` within a spell.
    fn note_silence(&mut self, round: u64, enough: usize, now: Time) {
        self.silences.push_back(round);
        if self.silences.len() > SILENCES {
            self.silences.pop_front();
        }
        let first = self.silences.len().checked_sub(enough).and_then(|at| self.silences.get(at));
        if first.is_some_and(|first| round.saturating_sub(*first) < SPELL) {
            self.note_trouble(now);
        }
    }

    /// Has this node away.
    #[cfg(test)]
    pub(super) fn hold(&mut self, accused: Identity) {
        self.held = Some(accused);
    }

    /// The accusation that is not refuted yet.
    pub(super) fn held(&self) -> Option<Identity> {
        self.held
    }

    /// Nothing is held back any more: this node has yielded its name, or has announced itself all the same.
    pub(super) fn drop_held(&mut self) {
        self.held = None;
    }

    /// The verdict that a member is yet to be told of.
    pub(super) fn verdict_on(&self, name: &str) -> Option<Identity> {
        self.untold.iter().find(|(untold, _)| &**untold == name).map(|(_, identity)| *identity)
    }

    /// The member is told of the verdict, or forgotten.
    pub(super) fn note_told(&mut self, name: &str) {
        self.untold.retain(|(untold, _)| &**untold != name);
    }

    /// Adds a verdict. Returns whether the oldest had to make room.
    fn add_verdict(&mut self, name: Arc<str>, identity: Identity) -> bool {
        let full = self.untold.len() == MAX_UNTOLD && self.untold.pop_front().is_some();
        self.untold.push_back((name, identity));
        full
    }

    fn note_verdict(&mut self, accused: Identity, clock: Clock) {
        let old = |at| clock.now.since(at) >= clock.interval.saturating_mul(MEMORY);
        if self.verdict.is_none_or(|(identity, at)| accused > identity || old(at)) {
            self.verdict = Some((accused, clock.now));
        }
    }

    /// An accusation after a verdict, with trouble of its own: the node is away. Says whether that begins now.
    fn hold_if_flapping(&mut self, accused: Identity, clock: Clock) -> bool {
        let recent = |at| clock.now.since(at) < clock.interval.saturating_mul(MEMORY);
        let again = self.verdict.is_some_and(|(identity, at)| accused > identity && recent(at));
        let may = clock.now >= self.present_until && !self.is_held();
        let begins = again && may && !self.is_steady(clock);
        if begins {
            (self.held, self.held_since) = (Some(accused), clock.now);
        }
        begins
    }

    /// The identity that is to be refuted now, as the node is well or was away for long. It then stays for as long as it was
    /// away; otherwise an attacker that causes verdicts and trouble could renew its absence at once.
    fn release(&mut self, clock: Clock) -> Option<Identity> {
        let longest = clock.interval.saturating_mul(LONGEST);
        let away = clock.now.since(self.held_since);
        let over = self.is_steady(clock) || away >= longest;
        let held = self.held.take_if(|_| over)?;
        self.present_until = clock.now + away;
        Some(held)
    }

    /// Whether the last trouble is long ago.
    fn is_steady(&self, clock: Clock) -> bool {
        self.trouble.is_none_or(|at| clock.now.since(at) >= clock.stretched.saturating_mul(STEADY))
    }
}

impl Node {
    fn flap_clock(&self) -> Clock {
        let interval = self.config.probe_interval;
        Clock { now: self.now, interval, stretched: self.health.scale(interval) }
    }

    /// Whether this node's own probes have gone badly recently.
    pub(super) fn has_trouble(&self) -> bool {
        !self.flaps.is_steady(self.flap_clock())
    }

    /// The probe of this round failed, and its relays, which were not suspected, were silent.
    pub(super) fn on_silent_relays(&mut self) {
        let enough = self.table.others().clamp(1, SILENCES);
        self.flaps.note_silence(self.prober.rounds, enough, self.now);
    }

    /// Other members declared this node failed, perhaps under an older identity.
    pub(super) fn on_own_verdict(&mut self, accused: Identity) {
        self.damp(accused);
        self.flaps.note_verdict(accused, self.flap_clock());
    }

    /// Withholds the refutation of an accusation if this node flaps. Returns whether it does.
    pub(super) fn hold_refutation(&mut self, accused: Identity) -> bool {
        self.damp(accused);
        self.flaps.held = self.flaps.held.map(|held| held.max(accused));
        self.flaps.is_held()
    }

    /// Becomes away if this node flaps.
    fn damp(&mut self, accused: Identity) {
        if self.flaps.hold_if_flapping(accused, self.flap_clock()) {
            self.updates.remove(MemberId::SELF);
            self.metrics.flaps_damped += 1;
        }
    }

    /// A failed member has refuted under the same epoch, but may not know that the verdict had fallen. A few random members
    /// probe it next and tell it, for its own flap damping; enough that hardly ever none does.
    pub(super) fn tell_verdict(&mut self, id: MemberId, past: &Member) {
        if self.volunteer(self.config.verifiers.saturating_mul(2)) {
            let full = self.flaps.add_verdict(Arc::clone(&past.name), past.identity);
            self.metrics.evicted_verdicts += u64::from(full);
            self.table.probe_next(id);
        }
    }

    /// Refutes what was held back, once this node is well.
    pub(super) fn come_back_if_steady(&mut self) {
        if let Some(held) = self.flaps.release(self.flap_clock()) {
            self.reach.begin(self.now);
            self.refute(held.max(self.table.get(MemberId::SELF).identity));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(seconds: u64) -> Clock {
        let interval = Duration::from_secs(1);
        Clock { now: Time::ZERO + Duration::from_secs(seconds), interval, stretched: interval }
    }

    #[test]
    fn silent_relays_are_trouble_only_when_several_probes_meet_them_within_a_spell() {
        let troubled = |rounds: &[u64], enough| {
            let mut flaps = Flaps::default();
            rounds.iter().for_each(|round| flaps.note_silence(*round, enough, Time::ZERO));
            flaps.trouble.is_some()
        };
        assert!(!troubled(&[1, 2], 3), "too few");
        assert!(troubled(&[1, 2, 3], 3));
        assert!(troubled(&[1, 2], 2) && troubled(&[1], 1));
        assert!(troubled(&[1, 15, SPELL], 3));
        assert!(!troubled(&[1, 16, 1 + SPELL], 3), "the first is too long ago");
        assert!(troubled(&[1, 17, 18, 19], 3), "of more the last count");
    }

    #[test]
    fn a_node_that_was_away_stays_for_as_long_before_it_is_away_again() {
        let accused = |incarnation| Identity { epoch: 1, incarnation };
        let mut flaps = Flaps::default();
        let mut troubled = |seconds: u64, incarnation| {
            flaps.note_trouble(clock(seconds).now);
            flaps.note_verdict(accused(incarnation), clock(seconds));
            let held = flaps.hold_if_flapping(accused(incarnation + 1), clock(seconds));
            (held, flaps.release(clock(seconds)))
        };
        let longest = u64::from(LONGEST);
        assert_eq!(troubled(100, 1), (true, None));
        assert_eq!(troubled(100 + longest, 5), (false, Some(accused(2))), "it was away for long");
        assert_eq!(troubled(99 + 2 * longest, 10), (false, None), "not again at once");
        assert_eq!(troubled(100 + 2 * longest, 15), (true, None));
    }

    #[test]
    fn of_verdicts_the_newest_counts_until_it_is_old() {
        let incarnation = |incarnation| Identity { epoch: 1, incarnation };
        let mut flaps = Flaps::default();
        let mut kept = |accused, clock| {
            flaps.note_verdict(accused, clock);
            flaps.verdict.map(|(identity, _)| identity)
        };
        assert_eq!(kept(incarnation(5), clock(0)), Some(incarnation(5)));
        assert_eq!(kept(incarnation(4), clock(1)), Some(incarnation(5)), "it was superseded before");
        assert_eq!(kept(incarnation(6), clock(2)), Some(incarnation(6)));
        assert_eq!(
            kept(incarnation(6), clock(5)),
            Some(incarnation(6)),
            "the same is not remembered for longer"
        );
        let later = 2 + u64::from(MEMORY);
        assert_eq!(kept(incarnation(3), clock(later - 1)), Some(incarnation(6)));
        assert_eq!(kept(incarnation(3), clock(later)), Some(incarnation(3)));
    }
}
