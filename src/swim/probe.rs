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

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

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
    validation::{ReplyTo, Sender},
};
use crate::{
    address::host_of,
    wire::{hash, message::PingReq},
};

/// Requests this node relays at the same time; more are refused and counted.
pub(super) const MAX_RELAYED: usize = 256;
/// Bare pings by datagram in a round of a member that datagrams do not reach, half a `probe_timeout` apart: so each has at
/// least what is left after `probe_timeout` to be answered. The loss of one says little ([`carry.rs`](super::carry)).
const BARE_PINGS: u8 = 3;

/// The probe round under way, and probes that are relayed for others.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Prober {
    round: Option<Round>,
    /// Rounds so far.
    pub(super) rounds: u64,
    /// The mark of the member that was heard from for certain last.
    pub(super) heard_from_last: u32,
    /// Probes for others, one for each requester, by the number of the ping.
    #[serde(with = "super::stored::sorted")]
    relayed: HashMap<u32, Relayed>,
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
    /// It said in time that the target did not; a witness, whatever it said.
    in_time: bool,
    /// Not drawn by lot, but chosen because it was heard from last. Its nack shows that others reach this node; what it says
    /// of the target does not count.
    witness: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Relayed {
    requester: ReplyTo,
    /// The requester's host.
    host: IpAddr,
    requested: u32,
    target: Arc<str>,
    addr: SocketAddr,
    /// What is left of the requester's time after the nack; `None` once the nack was sent.
    after_nack: Option<Duration>,
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
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn relayed_len(&self) -> usize {
        self.relayed.len()
    }

    /// The number under which a probe is relayed for this member, wherever it asked from. Another may have its mark, but none
    /// its token.
    fn relayed_for(&self, requester: &ReplyTo) -> Option<u32> {
        let is_its = |relayed: &Relayed| relayed.requester.is_same(requester);
        self.relayed.iter().find_map(|(seq, relayed)| is_its(relayed).then_some(*seq))
    }

    /// The probe that makes room for one of a host: of the host with most, if that has two more, the one whose number is least,
    /// which is as good as drawn.
    fn displaced_for(&self, host: IpAddr) -> Option<u32> {
        let mut of_hosts = BTreeMap::new();
        self.relayed.values().for_each(|relayed| *of_hosts.entry(relayed.host).or_insert(0) += 1);
        let (most, count) = of_hosts.iter().max_by_key(|(_, count)| **count)?;
        let of_newcomer = of_hosts.get(&host).copied().unwrap_or(0);
        let its = self.relayed.iter().filter(|(_, relayed)| relayed.host == *most).map(|(seq, _)| *seq);
        its.min().filter(|_| *count > of_newcomer + 1)
    }

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
            // There is nobody to accuse wrongly.
            self.health.improve();
            return;
        };
        let record = self.table.get(id);
        let (target, addr, epoch) = (Arc::clone(&record.name), record.addr, record.identity.epoch);
        // Lifeguard's buddy system: a suspect hears of it from everybody who probes it.
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
            self.remember_last_sign(id);
            self.table.contact_mut(id).miss();
            let drawn = round.relays.iter().filter(|relay| !relay.witness);
            let (relays, nacks) = (drawn.clone().count(), drawn.filter(|relay| relay.is_against()).count());
            let health_score = self.health.score();
            self.remember(id, Observation::Missed { relays, nacks, health_score });
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
            self.table.contact_mut(id).miss();
            self.table.probe_next(id);
        }
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

    /// Relays for members only, and to such as it knows. Each requester has one probe under way, so a new request replaces
    /// its last, and while there is no room, hosts have as many as each other: names are free. Not for a request by stream:
    /// the answer would find no stream.
    pub(super) fn handle_ping_req(&mut self, sender: &Sender, request: &PingReq<'_>) {
        // The requester may not have heard yet that the target departed: silence would look as if this node did not hear the
        // requester.
        let target = self.table.find(request.target).filter(|id| *id != MemberId::SELF);
        let may_ask = sender.proven && !sender.by_stream;
        let asks = self.id_of(sender).filter(|id| may_ask && self.table.get(*id).state.is_live());
        let (Some(target), Some(asks)) = (target, asks) else {
            self.metrics.refused_relays += 1;
            return;
        };
        let requester = sender.reply_to();
        // It may still answer, but as none that the requester could take for live; or this node does not know where it was.
        if self.table.get(target).state == MemberState::Left || self.table.get(target).addr.port() == 0 {
            self.metrics.refused_relays += 1;
            return if self.config.nacks {
                self.reply(requester, Content::Nack(request.seq))
            };
        }
        let host = host_of(self.table.get(asks).addr.ip());
        if let Some(last) = self.prober.relayed_for(&requester) {
            self.stop_relaying(last);
        }
        if self.prober.relayed.len() >= MAX_RELAYED {
            self.metrics.refused_relays += 1;
            let Some(displaced) = self.prober.displaced_for(host) else { return };
            self.stop_relaying(displaced);
        }
        let record = self.table.get(target);
        let (target, addr) = (Arc::clone(&record.name), record.addr);
        // No probe takes longer, where all have one configuration.
        let longest = self.config.probe_interval.saturating_mul(self.config.health_max);
        let window = Duration::from_millis(request.window_ms.into()).min(longest);
        // By datagram: that they get through is what the answer says.
        let seq = self.ping_by(None, addr, &target, Behind::Relayed);
        // At 80 % of the time the nack still arrives before the requester's verdict (Lifeguard, footnote 5).
        let nack_at = window * 4 / 5;
        self.set_timer(Timer::Nack(seq), nack_at);
        let after_nack = Some(window - nack_at);
        let requested = request.seq;
        let relayed = Relayed { requester, host, requested, target, addr, after_nack };
        self.prober.relayed.insert(seq, relayed);
    }

    fn stop_relaying(&mut self, seq: u32) {
        self.prober.relayed.remove(&seq);
        self.timers.cancel(Timer::Nack(seq));
    }

    fn take_relayed_answer(&mut self, sender: &mut Sender, seq: u32, token: Option<u32>) -> bool {
        let asked = |relayed: &Relayed| hash::member(&relayed.target) == sender.mark;
        if !self.prober.relayed.get(&seq).is_some_and(asked) {
            return false;
        }
        self.timers.cancel(Timer::Nack(seq));
        if let Some(relayed) = self.prober.relayed.remove(&seq) {
            self.reply(
                relayed.requester,
                Content::Ack { seq: relayed.requested, seen: false, denies: false },
            );
            self.on_direct_answer(sender, &relayed.target, relayed.addr, token);
        }
        true
    }

    /// First the nack is due; what comes after it is still passed on until the requester's time is up.
    pub(super) fn relay_time_is_up(&mut self, seq: u32) {
        let Some(relayed) = self.prober.relayed.get_mut(&seq) else { return };
        let (requester, requested) = (relayed.requester, relayed.requested);
        match relayed.after_nack.take() {
            Some(rest) => {
                if self.config.nacks {
                    self.reply(requester, Content::Nack(requested));
                }
                self.set_timer(Timer::Nack(seq), rest);
            }
            None => {
                self.prober.relayed.remove(&seq);
            }
        }
    }
}
