//! Dissemination of updates: in rounds of gossip, and piggybacked on every message to a member (SWIM §4.1).
//!
//! A round starts as soon as there is an update. Rounds may follow each other quickly a few times, but on average
//! there is at most one per interval: an idle cluster hears of a change within a few round trips, a busy one
//! sends full packets at a bounded rate, and an idle node sets no timer at all.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Time,
    carry::Priority,
    member::{MemberId, MemberState, Record, Removed},
    node::Node,
    phase::Phase,
    timers::Timer,
    transmit::Content,
    updates::{Urgency, transmit_limit},
};
use crate::wire::{
    message::{Accusers, Alive, Failed, Left, Suspect},
    packet::Writer,
};

/// The most bytes of accusers' names that an update about a suspect carries, so that it always fits in a packet.
const MAX_ACCUSER_BYTES: usize = 512;

/// Recipients of a round that may be suspected: where most members are, the others must hear too.
const MAX_SUSPECTED: usize = 1;
/// The largest sample drawn to find members that are not suspected.
const MAX_SAMPLE: usize = 64;

/// Rounds that may come early, on credit.
const BURST: u32 = 10;
/// Rounds on credit are this fraction of an interval apart, so that updates which come together go together.
const BURST_SPACING: u32 = 10;

/// Once this many members have answered, gossip pings no others to tell them of updates.
pub(super) const ENOUGH_MET: usize = 64;

/// When the next round may start: the generic cell rate algorithm.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Pace {
    earliest: Time,
    /// Up to when the past rounds would reach if they were one interval apart.
    paid_until: Time,
}

impl Pace {
    fn count_round(&mut self, now: Time, interval: Duration) {
        self.paid_until = self.paid_until.max(now) + interval;
        let credit = now + interval * BURST;
        self.earliest = now + interval / BURST_SPACING + self.paid_until.since(credit);
    }
}

impl Node {
    /// Queues an update about a member.
    pub(super) fn spread(&mut self, id: MemberId, urgency: Urgency) {
        self.updates.push(id, urgency);
        self.schedule_gossip();
    }

    /// Queues an update about this node.
    pub(super) fn announce(&mut self) {
        self.spread(MemberId::SELF, Urgency::Urgent);
    }

    pub(super) fn schedule_gossip(&mut self) {
        if !self.timers.is_set(Timer::Gossip) {
            self.set_timer_at(Timer::Gossip, self.pace.earliest);
        }
    }

    /// One round: updates to a few random members, and to one of those that departed a moment ago, which may not know it. A
    /// member that has not answered yet gets a ping instead, and the updates once it answers.
    pub(super) fn gossip(&mut self) {
        self.pace.count_round(self.now, self.config.gossip_interval);
        self.forget_old_departures();
        self.ask_about_moves();
        if self.phase == Phase::Displaced {
            // The name is another node's.
            self.updates.clear();
        }
        if self.updates.is_empty() && self.upper.wants == 0 {
            return;
        }
        let (met, departed) = (self.table.rings.met().len(), self.lately_departed.len());
        if self.table.others() + departed == 0 {
            self.updates.clear();
            return;
        }
        self.set_timer_at(Timer::Gossip, self.pace.earliest);
        let fanout = self.config.gossip_fanout;
        // One that departed, as often as if all were drawn alike, and in no member's place: departures can be made up.
        if departed > 0 && self.rng.usize(..met + departed) < departed * fanout {
            let pick = self.rng.usize(..departed);
            self.tell_or_challenge(self.lately_departed.get(pick));
        }
        let mut picks = self.sample_met(fanout);
        let (mut told, mut suspected) = (0, 0);
        for pick in picks.drain(..) {
            let id = self.table.rings.met()[pick];
            let is_suspected = self.table.get(id).state != MemberState::Alive;
            if told == fanout || is_suspected && suspected == MAX_SUSPECTED {
                continue;
            }
            (told, suspected) = (told + 1, suspected + usize::from(is_suspected));
            self.tell_or_challenge(id);
        }
        self.picks = picks;
        // An update that goes to this many at random reaches all.
        let unmet = if met < ENOUGH_MET { self.table.others() - met } else { 0 };
        let mut picks = self.sample(unmet, fanout);
        for pick in picks.drain(..) {
            self.challenge(self.table.other(met + pick), Priority::Updates);
        }
        self.picks = picks;
    }

    /// Some distinct indices below `n`, in memory that is to be put back.
    fn sample(&mut self, n: usize, k: usize) -> Vec<usize> {
        let mut picks = std::mem::take(&mut self.picks);
        sample(&mut self.rng, n, k, &mut picks);
        picks
    }

    /// A sample that is expected to hold `k` members that are not suspected, and a few more.
    fn sample_for(&mut self, k: usize, among: usize) -> Vec<usize> {
        let share = among.div_ceil(self.table.able());
        self.sample(among, (k * share).min(MAX_SAMPLE))
    }

    /// The same of those that were met. Where hosts have several, every other one is drawn by host: names are free, and many of
    /// one host would keep updates and relays from the others.
    fn sample_met(&mut self, k: usize) -> Vec<usize> {
        let (met, hosts) = (self.table.rings.met().len(), self.table.hosts().max(1));
        let crowding = met.div_ceil(hosts);
        let mut picks = self.sample_for(k * crowding, met);
        if crowding > 1 {
            let mut place = self.rng.usize(..2);
            for at in 0..picks.len() {
                let beside = self.table.met_beside(self.table.rings.met()[picks[at]]);
                if place <= at && self.rng.usize(..beside) == 0 {
                    picks.swap(place, at);
                    place += 2;
                }
            }
        }
        picks
    }

    fn tell_or_challenge(&mut self, id: MemberId) {
        if self.table.get(id).contact.takes_updates() {
            self.send_updates(id);
        } else {
            self.challenge(id, Priority::Updates);
        }
    }

    pub(super) fn send_updates(&mut self, id: MemberId) {
        let record = self.table.get(id);
        let (addr, name) = (record.addr, Arc::clone(&record.name));
        self.transmit(addr, &name, Content::Updates);
    }

    /// Fills a packet with `first` and, if it goes to a member that takes it, with this node's own update and then the
    /// others: otherwise an attacker that keeps creating updates could delay this node's refutation. An update in a packet
    /// that others caused does not count as a transmission: otherwise an attacker could use up all updates by pings.
    pub(super) fn add_updates(
        &mut self,
        packet: &mut Writer<'_>,
        recipient: Option<MemberId>,
        first: Option<MemberId>,
        counts: bool,
    ) {
        let limit = counts.then(|| transmit_limit(self.config.retransmit_mult, self.table.live()));
        let Self { table, updates, phase, upper, .. } = self;
        let first = first.filter(|id| put_update(packet, table.get(*id)));
        // Others would drop it.
        let Some(recipient) = recipient.filter(|id| table.get(*id).contact.takes_updates()) else { return };
        if *phase == Phase::Displaced {
            return;
        }
        // The first update is about this node or about the recipient. The latter does not count as a transmission.
        let tells_itself = first == Some(MemberId::SELF)
            || updates.contains(MemberId::SELF) && put_update(packet, table.get(MemberId::SELF));
        if let Some(limit) = limit.filter(|_| tells_itself) {
            updates.count_transmission(MemberId::SELF, limit);
        }
        upper.recipient = Some(recipient).filter(|id| table.get(*id).state.is_live());
        upper.limit = limit;
        packet.keep(upper.kept_room(packet.room()));
        let only_recipient = table.others() == 1;
        updates.draw(limit, packet.room(), |id| {
            let record = table.get(id);
            let of_itself = recipient == id && record.state == MemberState::Alive;
            if of_itself && only_recipient {
                // There is no other member to send it to: the update runs out.
                return Some(packet.room());
            }
            let is_there = first == Some(id) || tells_itself && id == MemberId::SELF;
            (!is_there && !of_itself && put_update(packet, record)).then(|| packet.room())
        });
    }

    /// Up to `k` random members that are alive and not suspected, without this node and `except`: such as have answered, if
    /// there are any.
    pub(super) fn pick_alive(&mut self, k: usize, except: Option<MemberId>) -> Vec<(Arc<str>, SocketAddr)> {
        self.pick_live(k, except, |record| record.state == MemberState::Alive)
    }

    /// The same of those that are live, and `is_one`.
    pub(super) fn pick_live(
        &mut self,
        k: usize,
        except: Option<MemberId>,
        is_one: impl Fn(&Record) -> bool,
    ) -> Vec<(Arc<str>, SocketAddr)> {
        let are_met = self.table.rings.met().len() > usize::from(except.is_some());
        // A few more than asked for: some are passed over.
        let mut picks =
            if are_met { self.sample_met(k + 4) } else { self.sample_for(k + 4, self.table.others()) };
        let chosen = picks
            .drain(..)
            .map(|at| self.table.other(at))
            .filter(|id| Some(*id) != except)
            .map(|id| self.table.get(id))
            .filter(|record| is_one(record))
            .take(k)
            .map(|record| (Arc::clone(&record.name), record.addr))
            .collect();
        self.picks = picks;
        chosen
    }
}

/// Writes an update: the present state of a member, if it fits.
pub(super) fn put_update(packet: &mut Writer<'_>, record: &Record) -> bool {
    let Record { name, identity, .. } = record;
    let (epoch, incarnation) = (identity.epoch, identity.incarnation);
    match record.state {
        MemberState::Alive => put_alive(packet, record),
        MemberState::Suspect => {
            let accusers = accusers(record);
            packet.message(&Suspect { name, epoch, incarnation, accusers })
        }
        MemberState::Failed => packet.message(&Failed { name, epoch, incarnation }),
        MemberState::Left => {
            let removed = record.removed.as_deref().map(Removed::told);
            packet.message(&Left { name, epoch, incarnation, removed })
        }
    }
}

/// Writes all about a live member, suspected or not.
pub(super) fn put_alive(packet: &mut Writer<'_>, record: &Record) -> bool {
    packet.message(&Alive {
        name: &record.name,
        epoch: record.identity.epoch,
        incarnation: record.identity.incarnation,
        addr: record.addr,
        tags: record.tags.encoded(),
    })
}

fn accusers(record: &Record) -> Accusers<'_> {
    let mut bytes = 0;
    let names = record.suspicion.iter().flat_map(|suspicion| suspicion.accusers());
    names
        .take_while(|name| {
            bytes += name.len();
            bytes <= MAX_ACCUSER_BYTES
        })
        .collect()
}

/// Up to `k` distinct indices below `n`, uniformly, in O(k²) for any `n` (Floyd's algorithm).
fn sample(rng: &mut fastrand::Rng, n: usize, k: usize, picks: &mut Vec<usize>) {
    picks.clear();
    for top in n.saturating_sub(k)..n {
        let pick = rng.usize(..=top);
        picks.push(if picks.contains(&pick) { top } else { pick });
    }
    rng.shuffle(picks);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_come_in_short_bursts_but_no_more_than_one_per_interval_on_average() {
        let interval = Duration::from_millis(200);
        let (mut pace, mut now, mut rounds) = (Pace::default(), Time::ZERO, Vec::new());
        while now < Time::ZERO + Duration::from_secs(10) {
            pace.count_round(now, interval);
            rounds.push(now);
            now = pace.earliest;
        }
        assert_eq!(rounds[3], Time::ZERO + interval * 3 / 10);
        assert!((50..=61).contains(&rounds.len()), "{}", rounds.len());
    }

    #[test]
    fn samples_are_distinct_in_range_and_complete() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut picks = Vec::new();
        for (n, k) in [(0, 3), (1, 3), (3, 3), (10, 3), (10, 0), (5, 9)] {
            let mut hits = vec![0; n];
            for _ in 0..2000 {
                sample(&mut rng, n, k, &mut picks);
                assert_eq!(picks.len(), k.min(n));
                picks.iter().for_each(|pick| hits[*pick] += 1);
            }
            let expected = 2000 * k.min(n) / n.max(1);
            assert!(hits.iter().all(|h: &usize| h.abs_diff(expected) <= expected / 4), "{n} {k}: {hits:?}");
        }
    }

    #[test]
    fn of_accusers_with_long_names_as_many_are_named_as_fit_into_512_bytes() {
        use super::super::{member::Identity, suspicion::Suspicion};
        for (bytes, fit) in [(128, 4), (129, 3), (1, 8)] {
            let mut suspicion = Suspicion::new(Time::ZERO, Duration::ZERO, Duration::ZERO, 7);
            for i in 0..8 {
                assert!(suspicion.accuse(&Arc::from(i.to_string().repeat(bytes))));
            }
            let identity = Identity { epoch: 1, incarnation: 0 };
            let addr = SocketAddr::from(([127, 0, 0, 1], 1));
            let mut record = Record::new("a".into(), addr, MemberState::Suspect, identity, Time::ZERO);
            record.suspicion = Some(Box::new(suspicion));
            assert_eq!(accusers(&record).iter().count(), fit);
        }
    }
}
