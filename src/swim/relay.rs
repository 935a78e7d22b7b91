//! Relayed probes (SWIM §4.1; Lifeguard §IV-A for the nack): a node pings a member for another one that gets no answer from it.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    member::{MemberId, MemberState},
    node::Node,
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

/// Probes for others, one for each requester, by the number of the ping.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Relays {
    #[serde(with = "super::stored::sorted")]
    by_seq: HashMap<u32, Relayed>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Relayed {
    requester: ReplyTo,
    /// The requester's host.
    host: IpAddr,
    requested: u32,
    target: Arc<str>,
    addr: SocketAddr,
    /// The rest of the requester's time after the nack; `None` once the nack was sent.
    after_nack: Option<Duration>,
}

impl Relays {
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.by_seq.len()
    }

    /// The number under which a probe is relayed for this member, wherever it asked from. Another may have its mark, but none
    /// its token.
    fn find(&self, requester: &ReplyTo) -> Option<u32> {
        let is_its = |relayed: &Relayed| relayed.requester.is_same(requester);
        self.by_seq.iter().find_map(|(seq, relayed)| is_its(relayed).then_some(*seq))
    }

    /// The probe that makes room for one of a host: of the host with most, if that has two more, the one whose number is least,
    /// which is as good as drawn.
    fn displaced_for(&self, host: IpAddr) -> Option<u32> {
        let mut of_hosts = BTreeMap::new();
        self.by_seq.values().for_each(|relayed| *of_hosts.entry(relayed.host).or_insert(0) += 1);
        let (most, count) = of_hosts.iter().max_by_key(|(_, count)| **count)?;
        let of_newcomer = of_hosts.get(&host).copied().unwrap_or(0);
        let its = self.by_seq.iter().filter(|(_, relayed)| relayed.host == *most).map(|(seq, _)| *seq);
        its.min().filter(|_| *count > of_newcomer + 1)
    }
}

impl Node {
    /// Relays for members only, and to such as it knows. Each requester has one probe under way, so a new request replaces its last, and
    /// while there is no room, hosts have as many as each other: names are free. Not for a request by stream: the answer would
    /// find no stream.
    pub(super) fn handle_ping_req(&mut self, sender: &Sender, request: &PingReq<'_>) {
        // The requester may not have heard yet that a target has departed: without an answer it would seem that this node
        // did not receive the request.
        let target = self.table.find(request.target).filter(|id| *id != MemberId::SELF);
        let may_ask = sender.proven && !sender.by_stream;
        let asks = self.id_of(sender).filter(|id| may_ask && self.table.get(*id).state.is_live());
        let (Some(target), Some(asks)) = (target, asks) else {
            self.metrics.refused_relays += 1;
            return;
        };
        let requester = sender.reply_to();
        // It may still answer, but as none that the requester could take for live; or it is gone for long.
        if self.table.get(target).state == MemberState::Left || self.table.get(target).tombstone {
            self.metrics.refused_relays += 1;
            return if self.config.nacks {
                self.reply(requester, Content::Nack(request.seq))
            };
        }
        let host = host_of(self.table.get(asks).addr.ip());
        if let Some(last) = self.relays.find(&requester) {
            self.stop_relaying(last);
        }
        if self.relays.by_seq.len() >= MAX_RELAYED {
            self.metrics.refused_relays += 1;
            let Some(displaced) = self.relays.displaced_for(host) else { return };
            self.stop_relaying(displaced);
        }
        let record = self.table.get(target);
        let (target, addr) = (Arc::clone(&record.name), record.addr);
        // There may be no node at the address of a failed member.
        let behind = if record.state.is_live() { Behind::Relayed } else { Behind::Nothing };
        // No probe takes longer, where all have one configuration.
        let longest = self.config.probe_interval.saturating_mul(self.config.health_max);
        let window = Duration::from_millis(request.window_ms.into()).min(longest);
        // By datagram: that they get through is what the answer says.
        let seq = self.ping_by(None, addr, &target, behind);
        // At 80 % of the time the nack still arrives before the requester's verdict (Lifeguard, footnote 5).
        let nack_at = window * 4 / 5;
        self.set_timer(Timer::Nack(seq), nack_at);
        let after_nack = Some(window - nack_at);
        let requested = request.seq;
        let relayed = Relayed { requester, host, requested, target, addr, after_nack };
        self.relays.by_seq.insert(seq, relayed);
    }

    fn stop_relaying(&mut self, seq: u32) {
        self.relays.by_seq.remove(&seq);
        self.timers.cancel(Timer::Nack(seq));
    }

    pub(super) fn take_relayed_answer(&mut self, sender: &mut Sender, seq: u32, token: Option<u32>) -> bool {
        let asked = |relayed: &Relayed| hash::member(&relayed.target) == sender.mark;
        if !self.relays.by_seq.get(&seq).is_some_and(asked) {
            return false;
        }
        self.timers.cancel(Timer::Nack(seq));
        if let Some(relayed) = self.relays.by_seq.remove(&seq) {
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
        let Some(relayed) = self.relays.by_seq.get_mut(&seq) else { return };
        let (requester, requested) = (relayed.requester, relayed.requested);
        match relayed.after_nack.take() {
            Some(rest) => {
                if self.config.nacks {
                    self.reply(requester, Content::Nack(requested));
                }
                self.set_timer(Timer::Nack(seq), rest);
            }
            None => {
                self.relays.by_seq.remove(&seq);
            }
        }
    }
}
