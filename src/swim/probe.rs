//! Probing (SWIM §4.1, §4.3; Lifeguard §IV-A): one member per interval, directly, then through others.
//!
//! ```text
//! 0                   probe_timeout                     probe_interval      (both × health)
//! ping ───────────────▶ ping-req to k relays, stream ────▶ verdict, next round
//!                       └ each relay: ping … nack at 80 % of what is left
//! ```
//!
//! An ack counts only under the sequence number that the node which was asked was sent, and nobody else: the target and
//! each relay have one of their own, so that no relay can answer as the target.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    carry::Priority,
    history::Observation,
    member::{MemberId, MemberState, Record},
    node::Node,
    session::Purpose,
    status::HealthDoubt,
    time::Time,
    timers::Timer,
    transmit::{Behind, Content},
    validation::Sender,
};
use crate::wire::hash;

/// Bare pings by datagram in a round of a member that datagrams do not reach, half a `probe_timeout` apart: so each has at
/// least what is left after `probe_timeout` to be answered. The loss of one says little ([`carry.rs`](super::carry)).
const BARE_PINGS: u8 = 3;

/// The probe round under way.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Prober {
    round: Option<Round>,
    /// Rounds so far.
    pub(super) rounds: u64,
    /// The mark of the member that was heard from for certain last.
    pub(super) heard_from_last: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Round {
    target: Arc<str>,
    /// Which life of the target is probed.
    epoch: u64,
    addr: SocketAddr,
    seq: u32,
    began: Time,
    ends: Time,
    answered: bool,

    /// By datagram.
    by_datagram: bool,
    /// This node was stalled: silence proves nothing.
    discarded: bool,
    relays: Vec<Relay>,
    /// Bare pings that were sent.
    bare: u8,
}

/// A relay that was asked to ping the target.
#[derive(Debug, Serialize, Deserialize)]
struct Relay {
    /// The number of the request, which it alone was sent.
    seq: u32,
    mark: u32,
    /// It says that the target answered.
    acked: bool,
    /// It sent a nack in time; or it is a witness, and sent any answer.
    in_time: bool,
    /// Not drawn by lot, but chosen because it was heard from last. Its nack shows that others reach this node; what it says
    /// of the target does not count.
    witness: bool,
}

impl Round {
    /// Whether the target is reached by others. One of them may lie, so more must say that it is than that it is not.
    fn is_reached_by_others(&self) -> bool {
        let acked = self.relays.iter().filter(|relay| relay.acked).count();
        acked > self.relays.iter().filter(|relay| relay.is_against()).count()
    }
}

impl Relay {
    /// It says that the target did not answer, and not that it did later.
    fn is_against(&self) -> bool {
        self.in_time && !self.acked && !self.witness
    }
}

impl Prober {
    pub(super) fn discard_verdict(&mut self) {
        self.round.iter_mut().for_each(|round| round.discarded = true);
    }
}

impl Node {
    /// Ends the round with its verdict and begins the next.
    pub(super) fn next_probe(&mut self) {
        self.conclude_probe();
        if !self.watches() {
            return;
        }
        self.come_back_if_steady();
        let interval = self.health.scale(self.config.probe_interval);
        self.set_timer(Timer::Probe, interval);
        let Some(id) = self.table.next_to_probe(self.now, &mut self.rng) else {
            // There is no member to accuse wrongly.
            self.health.improve();
            return;
        };
        let record = self.table.get(id);
        let (target, addr, epoch) = (Arc::clone(&record.name), record.addr, record.identity.epoch);
        // Lifeguard's buddy system: every prober tells a suspect of the suspicion.
        let buddy = self.config.buddy && record.state == MemberState::Suspect;
        let first = buddy.then(|| Arc::clone(&target));
        let by_stream = self.carrier.carries_to(&target).then_some(Priority::Urgent);
        let seq = self.ping_by(by_stream, addr, &target, Behind::Updates(first));
        self.prober.rounds += 1;
        self.set_timer(Timer::Indirect, self.health.scale(self.config.probe_timeout));
        let (relays, ends) = (Vec::new(), self.now + interval);
        self.prober.round = Some(Round {
            target,
            epoch,
            addr,
            seq,
            began: self.now,
            ends,
            answered: false,
            by_datagram: false,
            discarded: false,
            relays,
            bare: 0,
        });
        if by_stream.is_some() {
            self.ping_bare();
        }
        self.look_whether_reached();
    }

    /// A member that is pinged by stream is pinged by datagrams too, without updates, to see whether they get through again.
    pub(super) fn ping_bare(&mut self) {
        let waits = |round: &&mut Round| !round.by_datagram && round.bare < BARE_PINGS;
        let Some(round) = self.prober.round.as_mut().filter(waits) else { return };
        round.bare += 1;
        let (addr, seq, target) = (round.addr, round.seq, Arc::clone(&round.target));
        let name = Arc::clone(&target);
        self.transmit_by_datagram(addr, &name, Content::Bare { seq, target });
        self.set_timer(Timer::Bare, self.health.scale(self.config.probe_timeout) / 2);
    }

    fn conclude_probe(&mut self) {
        self.timers.cancel(Timer::Indirect);
        self.timers.cancel(Timer::Bare);
        let Some(round) = self.prober.round.take() else { return };
        if round.answered {
            if !round.by_datagram && !round.discarded {
                self.answered_by_stream(&round);
            }
            return;
        }
        self.note_silence(&round);
        let target = self.table.find(&round.target).map(|id| self.table.get(id));
        let same = |record: &&Record| record.identity.epoch == round.epoch && record.addr == round.addr;
        let target = target.filter(|record| record.state.is_live()).filter(same);
        let is_same = target.is_some();
        if round.is_reached_by_others() {
            if is_same {
                self.reached(&round.target);
            }
            self.health.improve();
            return self.reached_by_datagram(None);
        }
        self.metrics.probes_failed += 1;
        if round.discarded {
            return self.remember_named(&round.target, Observation::Discarded);
        }
        let Some(target) = target.filter(|_| self.watches()) else { return self.note_void_round(&round) };
        // Awareness worsens (Lifeguard §IV-A), but not by a target that never answered, which may be a made-up name, nor by
        // one that is suspected already and expected to be silent.
        if target.contact.met && target.state != MemberState::Suspect {
            self.degrade_health(&round.relays);
        }
        if let Some(id) = self.table.find(&round.target) {
            self.note_missed(id, &round.relays);
        }
        let nacks: Vec<_> =
            round.relays.iter().filter(|relay| relay.is_against()).map(|relay| relay.mark).collect();
        self.accuse(&round.target, round.epoch, &nacks);
    }

    /// The target answered by stream alone. Relays that say that they reach it are believed a few times: one of them may lie.
    fn answered_by_stream(&mut self, round: &Round) {
        let is_relayed = round.relays.iter().any(|relay| relay.acked);
        let Some(id) = self.table.find(&round.target) else { return };
        if !is_relayed || self.table.contact_mut(id).count_relayed() {
            self.saved_by_stream(&round.target);
        }
    }

    /// The target did not answer itself.
    fn note_silence(&mut self, round: &Round) {
        let Some(id) = self.table.find(&round.target).filter(|_| !round.discarded) else { return };
        let contact = self.table.contact_mut(id);
        contact.silent |= contact.heard() <= Some(round.began);
    }

    /// Meanwhile others said that the target lives elsewhere, or that it is another life, so that it cannot be accused. If it
    /// was silent itself, the probe has still failed, and it is probed at the claimed address; otherwise others could keep
    /// every round from counting.
    fn note_void_round(&mut self, round: &Round) {
        let Some(id) = self.table.find_live(&round.target).filter(|_| self.watches()) else { return };
        if self.table.get(id).contact.silent {
            self.note_missed(id, &round.relays);
            self.table.probe_next(id);
        }
    }

    /// A member did not answer a probe, and this is remembered.
    fn note_missed(&mut self, id: MemberId, relays: &[Relay]) {
        self.remember_last_sign(id);
        self.table.contact_mut(id).miss();
        let drawn = relays.iter().filter(|relay| !relay.witness);
        let (relays, nacks) = (drawn.clone().count(), drawn.filter(|relay| relay.is_against()).count());
        let health_score = self.health.score();
        self.remember(id, Observation::Missed { relays, nacks, health_score });
    }

    /// A probe failed. If a relay answered in time, this node is well. If none did, awareness worsens by each relay that is
    /// not suspected by now; without relays, by one.
    fn degrade_health(&mut self, relays: &[Relay]) {
        if self.config.nacks && relays.iter().any(|relay| relay.in_time) {
            return self.health.improve();
        }
        let alive = |record: &Record| record.state == MemberState::Alive;
        let is_alive = |relay: &&Relay| self.table.find_mark(relay.mark, alive).is_some();
        let by = match self.config.nacks && !relays.is_empty() {
            true => relays.iter().filter(is_alive).count() as u32,
            false => 1,
        };
        if by > 0 {
            self.health.degrade(by, HealthDoubt::Silence, self.now);
            self.on_silent_relays();
        }
    }

    /// The direct ping went unanswered: ask others to try, and try a stream.
    pub(super) fn probe_indirectly(&mut self) {
        let Some(round) = self.prober.round.as_ref().filter(|round| !round.answered) else { return };
        let (target, addr, probed, window) =
            (Arc::clone(&round.target), round.addr, round.seq, round.ends.since(self.now));
        self.metrics.probes_indirect += 1;
        let random = self.pick_relays(self.table.find(&target));
        let witness = self.pick_witness(self.table.find(&target), &random);
        let mut relays = Vec::with_capacity(random.len() + 1);
        for (at, (name, addr)) in random.iter().chain(&witness).enumerate() {
            let seq = self.numbers.draw();
            let request = Content::PingReq { seq, target: Arc::clone(&target), window };
            self.transmit_by_datagram(*addr, name, request);
            let (mark, witness) = (hash::member(name), at >= random.len());
            relays.push(Relay { seq, mark, acked: false, in_time: false, witness });
        }
        if let Some(round) = &mut self.prober.round {
            round.relays = relays;
        }
        if self.config.stream_fallback {
            self.open(Purpose::Probe { seq: probed, target }, addr, window);
        }
    }

    /// Random members. One that datagrams do not reach cannot help, and its silence shows nothing.
    fn pick_relays(&mut self, target: Option<MemberId>) -> Vec<(Arc<str>, SocketAddr)> {
        let mut relays = self.pick_alive(self.config.indirect_probes, target);
        relays.retain(|(name, _)| !self.carrier.carries_to(name));
        relays
    }

    /// The witness, the member that was heard from last: it is alive even where most of a cluster has vanished, relays
    /// included. An attacker that sends all the time would be it in each round, so it says nothing of the target.
    fn pick_witness(
        &self,
        target: Option<MemberId>,
        relays: &[(Arc<str>, SocketAddr)],
    ) -> Option<(Arc<str>, SocketAddr)> {
        let alive = |record: &Record| record.state == MemberState::Alive;
        let last =
            self.table.find_mark(self.prober.heard_from_last, alive).filter(|id| Some(*id) != target)?;
        let Record { name, addr, .. } = self.table.get(last);
        let is_one = relays.iter().any(|(relay, _)| relay == name) || self.carrier.carries_to(name);
        (self.config.nacks && self.config.indirect_probes > 0 && !is_one).then(|| (Arc::clone(name), *addr))
    }

    /// An answer to a ping of this node, perhaps with the token that it is to show.
    pub(super) fn handle_answer(&mut self, sender: &mut Sender, seq: u32, token: Option<u32>) {
        let awaited = self.take_probe_answer(sender, seq, token)
            || self.take_relays_answer(seq)
            || self.take_relayed_answer(sender, seq, token)
            || self.take_reconnect_answer(sender, seq, token)
            || self.take_leave_answer(sender, seq, token)
            || self.take_challenge_answer(sender, seq, token)
            || self.take_move_answer(sender, seq, token)
            || self.take_question_answer(sender, seq, token)
            || self.take_introduction_answer(sender, seq);
        if !awaited {
            self.metrics.dropped_stray_answers += 1;
        }
    }

    fn take_probe_answer(&mut self, sender: &mut Sender, seq: u32, token: Option<u32>) -> bool {
        let round = self.prober.round.as_mut();
        let is_targets = |round: &&mut Round| round.seq == seq && sender.mark == hash::member(&round.target);
        let Some(round) = round.filter(is_targets) else { return false };
        let (target, addr) = (Arc::clone(&round.target), round.addr);
        let first = !std::mem::replace(&mut round.answered, true);
        round.by_datagram |= !sender.by_stream;
        if first && !sender.by_stream && round.bare <= 1 {
            // Only the direct ping has this number, and it went out once: no answer is taken for that of another (Karn).
            let round_trip = self.now.since(round.began);
            self.note_round_trip(&target, round_trip);
        }
        if first {
            self.health.improve();
            self.timers.cancel(Timer::Indirect);
        }
        self.on_direct_answer(sender, &target, addr, token);
        true
    }

    /// A relay says that the target answered it.
    fn take_relays_answer(&mut self, seq: u32) -> bool {
        let Some(round) = self.prober.round.as_mut() else { return false };
        let Some(relay) = round.relays.iter_mut().find(|relay| relay.seq == seq) else { return false };
        if relay.witness {
            relay.in_time = true;
        } else {
            relay.acked = true;
        }
        true
    }

    /// Not while this node is held up: the answer may have waited as long.
    fn note_round_trip(&mut self, target: &str, round_trip: Duration) {
        if self.pause(self.now).is_some() {
            return;
        }
        self.metrics.probe_round_trip.observe(round_trip);
        if let Some(id) = self.table.find(target) {
            let now = self.now;
            self.table.contact_mut(id).round_trip.take(round_trip, now);
        }
    }

    /// The target of the probe answered by stream.
    pub(super) fn stream_probe_answered(&mut self, seq: u32) {
        if let Some(round) = self.prober.round.as_mut().filter(|round| round.seq == seq && !round.answered) {
            round.answered = true;
            let (target, addr) = (Arc::clone(&round.target), round.addr);
            self.health.improve();
            self.note_answer_at(&target, addr);
        }
    }

    pub(super) fn handle_nack(&mut self, seq: u32) {
        let mut relays = self.prober.round.iter_mut().flat_map(|round| &mut round.relays);
        match relays.find(|relay| relay.seq == seq) {
            Some(relay) => relay.in_time = true,
            None => self.metrics.dropped_stray_answers += 1,
        }
    }
}
