//! Probing (SWIM §4.1, §4.3; Lifeguard §IV-A): one member per interval, directly, then through others.
//!
//! ```text
//! 0                   probe_timeout                     probe_interval      (both × health)
//! ping ───────────────▶ ping-req to k relays, stream ────▶ verdict, next round
//!                       └ each relay: ping … nack at 80 % of what is left
//! ```
//!
//! An ack counts only from an address that was asked, under a number that was drawn at random.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    broadcast::Urgency,
    member::{MemberId, MemberState},
    node::{Awaited, Content, Node},
    own::Phase,
    sync::Purpose,
    timers::Timer,
};
use crate::wire::message::{Ping, PingReq};

/// Requests this node relays at the same time; more are refused and counted.
pub(super) const MAX_RELAYED: usize = 256;
/// The longest that a relay works for another.
const MAX_WINDOW: Duration = Duration::from_secs(60);

/// The probe round that is under way, and those we relay for others.
#[derive(Debug, Default)]
pub(super) struct Prober {
    round: Option<Round>,
    relayed: Awaited<Relayed>,
}

#[derive(Debug)]
struct Round {
    target: Arc<str>,
    addr: SocketAddr,
    seq: u32,
    ends: super::Time,
    answered: bool,
    /// We were held up: silence proves nothing.
    discarded: bool,
    relays: Vec<SocketAddr>,
    nacks: u32,
}

#[derive(Debug)]
struct Relayed {
    requester: SocketAddr,
    requested: u32,
    target: SocketAddr,
    /// What is left of the requester's time after the nack; `None` once the nack was sent.
    after_nack: Option<Duration>,
}

impl Prober {
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn relayed_len(&self) -> usize {
        self.relayed.len()
    }

    /// Nothing is probed any more.
    pub(super) fn end_round(&mut self) {
        self.round = None;
    }

    pub(super) fn discard_verdict(&mut self) {
        self.round.iter_mut().for_each(|round| round.discarded = true);
    }
}

impl Node {
    /// Ends the round with its verdict and begins the next.
    pub(super) fn next_probe(&mut self) {
        self.conclude_probe();
        if self.phase != Phase::Live {
            return;
        }
        self.come_back_if_steady();
        let interval = self.health.scale(self.config.probe_interval);
        self.set_timer(Timer::Probe, interval);
        let Some(id) = self.table.next_target(&mut self.rng) else {
            // Nobody is there whom we could accuse wrongly.
            self.health.improve();
            return;
        };
        let record = self.table.get(id);
        let (target, addr) = (Arc::clone(&record.name), record.addr);
        // Lifeguard's buddy system: a suspect hears of it from everybody who probes it.
        let first = (self.config.buddy && record.state == MemberState::Suspect).then_some(id);
        let seq = self.rng.u32(..);
        self.metrics.probes += 1;
        self.transmit(addr, Content::Ping { seq, target: Arc::clone(&target), first });
        self.set_timer(Timer::Indirect, self.health.scale(self.config.probe_timeout));
        let (relays, ends) = (Vec::new(), self.now + interval);
        self.prober.round =
            Some(Round { target, addr, seq, ends, answered: false, discarded: false, relays, nacks: 0 });
    }

    fn conclude_probe(&mut self) {
        self.timers.cancel(Timer::Indirect);
        let Some(round) = self.prober.round.take().filter(|round| !round.answered) else { return };
        self.metrics.probes_failed += 1;
        let still_live = self.table.find(&round.target).is_some_and(|id| self.table.get(id).state.is_live());
        if round.discarded || !still_live || self.phase != Phase::Live {
            return;
        }
        // Relays that are silent too make us doubt ourselves; without relays, any failure does.
        let asked = round.relays.len() as u32;
        let doubts = if self.config.nacks && asked > 0 { asked.saturating_sub(round.nacks) } else { 1 };
        self.health.degrade(doubts);
        if doubts > 0 {
            self.flaps.note_trouble(self.now);
        }
        self.accuse(&round.target);
    }

    /// The direct ping went unanswered: ask others to try, and try a stream.
    pub(super) fn probe_indirectly(&mut self) {
        let Some(round) = self.prober.round.as_ref().filter(|round| !round.answered) else { return };
        let (target, addr, seq, window) =
            (Arc::clone(&round.target), round.addr, round.seq, round.ends.since(self.now));
        self.metrics.probes_indirect += 1;
        let relays = self.pick_alive(self.config.indirect_probes, self.table.find(&target));
        for (_, relay) in &relays {
            self.transmit(*relay, Content::PingReq { seq, target: Arc::clone(&target), window });
        }
        if let Some(round) = &mut self.prober.round {
            round.relays = relays.into_iter().map(|(_, addr)| addr).collect();
        }
        if self.config.stream_fallback {
            self.open(Purpose::Probe { seq, target }, addr, window);
        }
    }

    pub(super) fn handle_ping(&mut self, from: SocketAddr, ping: &Ping<'_>) {
        if ping.target == &*self.name {
            self.transmit(from, Content::Ack(ping.seq));
        } else {
            self.metrics.dropped_wrong_target += 1;
        }
    }

    pub(super) fn handle_ack(&mut self, from: SocketAddr, seq: u32) {
        let awaited = self.answers_probe(from, seq)
            || self.answers_relayed(from, seq)
            || self.answers_heal(from, seq)
            || self.answers_farewell(from, seq)
            || self.answers_introduction(from, seq);
        if !awaited {
            self.metrics.dropped_stray_answers += 1;
        }
    }

    fn answers_probe(&mut self, from: SocketAddr, seq: u32) -> bool {
        let Some(round) = self.prober.round.as_mut().filter(|round| round.seq == seq) else {
            return false;
        };
        if round.addr != from && !round.relays.contains(&from) {
            return false;
        }
        if !std::mem::replace(&mut round.answered, true) {
            self.health.improve();
            self.timers.cancel(Timer::Indirect);
        }
        true
    }

    /// The target of our probe answered over a stream, though not by datagram.
    pub(super) fn stream_probe_answered(&mut self, seq: u32) {
        if let Some(round) = self.prober.round.as_mut().filter(|round| round.seq == seq && !round.answered) {
            round.answered = true;
            self.health.improve();
            self.metrics.probes_saved_by_stream += 1;
        }
    }

    pub(super) fn handle_nack(&mut self, from: SocketAddr, seq: u32) {
        match self.prober.round.as_mut().filter(|round| round.seq == seq && round.relays.contains(&from)) {
            Some(round) => round.nacks += 1,
            None => self.metrics.dropped_stray_answers += 1,
        }
    }

    /// Relays for members only, and only to members: nobody else can have us send anywhere.
    pub(super) fn handle_ping_req(&mut self, from: SocketAddr, request: &PingReq<'_>) {
        let target = self
            .table
            .find(request.target)
            .filter(|id| *id != MemberId::SELF && self.table.get(*id).state.is_live());
        let room = self.prober.relayed.len() < MAX_RELAYED;
        let Some(target) = target.filter(|_| room && self.table.at_addr(from).is_some()) else {
            self.metrics.refused_relays += 1;
            return;
        };
        let record = self.table.get(target);
        let (name, addr) = (Arc::clone(&record.name), record.addr);
        let window = Duration::from_millis(request.window_ms.into()).min(MAX_WINDOW);
        let seq = self.rng.u32(..);
        self.transmit(addr, Content::Ping { seq, target: name, first: None });
        // At 80 % of the time the nack still arrives before the requester's verdict (Lifeguard, footnote 5).
        let nack_at = window * 4 / 5;
        self.set_timer(Timer::Nack(seq), nack_at);
        let after_nack = Some(window - nack_at);
        self.prober
            .relayed
            .insert(seq, Relayed { requester: from, requested: request.seq, target: addr, after_nack });
    }

    fn answers_relayed(&mut self, from: SocketAddr, seq: u32) -> bool {
        if self.prober.relayed.get(&seq).is_none_or(|relayed| relayed.target != from) {
            return false;
        }
        self.timers.cancel(Timer::Nack(seq));
        if let Some(relayed) = self.prober.relayed.remove(&seq) {
            self.transmit(relayed.requester, Content::Ack(relayed.requested));
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
                    self.transmit(requester, Content::Nack(requested));
                }
                self.set_timer(Timer::Nack(seq), rest);
            }
            None => {
                self.prober.relayed.remove(&seq);
            }
        }
    }

    /// Tells a member of our own standing at once, whatever else waits.
    pub(super) fn ping_with_own_news(&mut self, target: Arc<str>, addr: SocketAddr) -> u32 {
        let seq = self.rng.u32(..);
        if !self.news.contains(MemberId::SELF) {
            self.news.push(MemberId::SELF, Urgency::Urgent);
        }
        self.transmit(addr, Content::Ping { seq, target, first: Some(MemberId::SELF) });
        seq
    }
}
