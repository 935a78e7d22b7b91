//! The network: whether and when a datagram arrives.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use crate::swim::Time;

/// How long a datagram is under way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Latency {
    /// Between the two, with equal probability.
    Uniform(Duration, Duration),
    /// The least time, plus a random one with this mean and a long tail.
    Exponential(Duration, Duration),
}

impl Latency {
    fn draw(self, rng: &mut fastrand::Rng) -> Duration {
        match self {
            Self::Uniform(least, most) => least + most.saturating_sub(least).mul_f64(rng.f64()),
            Self::Exponential(least, mean) => least + mean.mul_f64(-(1.0 - rng.f64()).ln()),
        }
    }
}

/// Loss in bursts (Gilbert–Elliott): each link is good or bad for random times with these means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Mean length of a good time.
    pub good: Duration,
    /// Mean length of a bad time.
    pub bad: Duration,
    /// Share of datagrams lost in a bad time.
    pub loss: f64,
}

#[derive(Debug, Clone, Copy)]
struct Spell {
    is_bad: bool,
    until: Time,
}

/// The conditions between hosts, which may be changed at any time. At first perfect, with 0.1 to 0.5 ms of latency.
#[derive(Debug)]
pub struct Network {
    /// The latency one way.
    pub latency: Latency,
    /// Additional latency from one host to another.
    pub farther: HashMap<(usize, usize), Duration>,
    /// Share of datagrams that are lost. [`lose`](Self::lose) makes a network that loses any packet alike.
    pub datagram_loss: f64,
    /// Share of the segments of streams that are lost, and sent again.
    pub segment_loss: f64,
    /// No datagram passes, though streams do.
    pub no_udp: bool,
    /// Hosts that no datagram gets to, though streams do.
    pub no_udp_into: BTreeSet<usize>,
    /// Hosts that no datagram gets out of, though streams do.
    pub no_udp_out_of: BTreeSet<usize>,
    /// Share of datagrams that arrive twice.
    pub duplication: f64,
    /// Share of datagrams that are delayed, and so overtaken by later ones.
    pub reordering: f64,
    /// How long these are delayed.
    pub hold_up: Duration,
    /// Losses that come in bursts, if any.
    pub burst: Option<Burst>,
    /// Directed pairs of hosts between which nothing passes.
    pub cut: BTreeSet<(usize, usize)>,
    /// Directed pairs of hosts between which everything waits until the pair is taken out.
    pub clogged: BTreeSet<(usize, usize)>,
    /// Share of datagrams lost on the way to a host.
    pub ingress_loss: HashMap<usize, f64>,
    /// Share of datagrams lost on the way from a host.
    pub egress_loss: HashMap<usize, f64>,
    sides: HashMap<usize, usize>,
    spells: HashMap<(usize, usize), Spell>,
}

/// When TCP retransmits a segment that was not acknowledged. Each wait is twice the one before.
#[derive(Debug, Clone, Copy)]
struct Retransmission {
    /// The first wait, in addition to the measured round trip.
    first: Duration,
    /// The longest wait.
    longest: Duration,
    tries: u32,
}

/// For a segment of data: RFC 6298, with Linux's least timeout instead of 1 s.
const DATA: Retransmission =
    Retransmission { first: Duration::from_millis(200), longest: Duration::from_secs(120), tries: 16 };
/// For a handshake, which has no measurement yet (RFC 6298 §2.1), with as many attempts as Linux makes.
const HANDSHAKE: Retransmission =
    Retransmission { first: Duration::from_secs(1), longest: Duration::from_secs(120), tries: 7 };

impl Retransmission {
    /// When a packet that takes `way` arrives, if it is retransmitted until it does: `arrives` says whether the attempt
    /// after this wait arrives, and `None` that no later one will either.
    fn succeeds_after(
        self,
        way: Duration,
        round_trip: Duration,
        mut arrives: impl FnMut(Duration) -> Option<bool>,
    ) -> Option<Duration> {
        let (mut waited, mut wait) = (Duration::ZERO, self.first + round_trip);
        for _ in 0..self.tries {
            if arrives(waited)? {
                return Some(waited + way);
            }
            waited += wait;
            wait = (wait * 2).min(self.longest);
        }
        None
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            latency: Latency::Uniform(Duration::from_micros(100), Duration::from_micros(500)),
            farther: HashMap::new(),
            datagram_loss: 0.0,
            segment_loss: 0.0,
            no_udp: false,
            no_udp_into: BTreeSet::new(),
            no_udp_out_of: BTreeSet::new(),
            duplication: 0.0,
            reordering: 0.0,
            hold_up: Duration::from_millis(50),
            burst: None,
            cut: BTreeSet::new(),
            clogged: BTreeSet::new(),
            ingress_loss: HashMap::new(),
            egress_loss: HashMap::new(),
            sides: HashMap::new(),
            spells: HashMap::new(),
        }
    }
}

impl Network {
    /// Cuts off a group of hosts from all others, in both directions. Groups cut off by different calls cannot
    /// reach each other either.
    pub fn isolate(&mut self, group: impl IntoIterator<Item = usize>) {
        let side = self.sides.values().max().map_or(1, |most| most + 1);
        self.sides.extend(group.into_iter().map(|host| (host, side)));
    }

    /// Ends the partitions that [`isolate`](Self::isolate) made.
    pub fn rejoin(&mut self) {
        self.sides.clear();
    }

    /// Loses this share of all packets of any kind.
    pub fn lose(&mut self, share: f64) {
        (self.datagram_loss, self.segment_loss) = (share, share);
    }

    /// Ends all partitions, cuts, clogs and filters, and all loss, duplication and reordering.
    pub fn heal(&mut self) {
        let farther = std::mem::take(&mut self.farther);
        *self = Self { latency: self.latency, farther, ..Self::default() };
    }

    fn way(&self, from: usize, to: usize, rng: &mut fastrand::Rng) -> Duration {
        let farther = if self.farther.is_empty() { None } else { self.farther.get(&(from, to)) };
        self.latency.draw(rng) + farther.copied().unwrap_or_default()
    }

    /// Whether datagrams are filtered somewhere.
    #[must_use]
    pub fn filters_udp(&self) -> bool {
        self.no_udp || !self.no_udp_into.is_empty() || !self.no_udp_out_of.is_empty()
    }

    fn is_udp_filtered(&self, from: usize, to: usize) -> bool {
        self.no_udp || self.no_udp_out_of.contains(&from) || self.no_udp_into.contains(&to)
    }

    /// Whether the network has no effect but latency. Filtered UDP alone is a condition that nodes withstand, as streams
    /// pass.
    #[must_use]
    pub fn is_perfect(&self) -> bool {
        self.datagram_loss == 0.0
            && self.segment_loss == 0.0
            && self.burst.is_none()
            && self.cut.is_empty()
            && self.clogged.is_empty()
            && self.sides.is_empty()
            && self.ingress_loss.is_empty()
            && self.egress_loss.is_empty()
    }

    /// Whether datagrams get through between any two hosts, with at most this share lost.
    pub(super) fn lets_through(&self, loss: f64) -> bool {
        let udp = !self.no_udp && self.no_udp_into.is_empty() && self.no_udp_out_of.is_empty();
        let links = self.cut.is_empty() && self.clogged.is_empty() && self.sides.is_empty();
        let one_way = self.ingress_loss.is_empty() && self.egress_loss.is_empty() && self.burst.is_none();
        udp && links && one_way && self.datagram_loss <= loss && self.segment_loss <= loss
    }

    pub(super) fn is_clogged(&self, from: usize, to: usize) -> bool {
        !self.clogged.is_empty() && self.clogged.contains(&(from, to))
    }

    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        if !self.sides.is_empty() && self.sides.get(&from) != self.sides.get(&to) {
            return true;
        }
        !self.cut.is_empty() && self.cut.contains(&(from, to))
    }

    /// How long each copy of a datagram is under way: none if it is lost, two if it is duplicated.
    pub(super) fn pass(
        &mut self,
        from: usize,
        to: usize,
        now: Time,
        rng: &mut fastrand::Rng,
    ) -> [Option<Duration>; 2] {
        let blocked = self.is_udp_filtered(from, to) || self.is_cut(from, to);
        if blocked || self.loses(self.datagram_loss, from, to, now, rng) {
            return [None, None];
        }
        let mut copy = |network: &Self| {
            let late = network.reordering > 0.0 && rng.f64() < network.reordering;
            network.way(from, to, rng) + if late { network.hold_up } else { Duration::ZERO }
        };
        let first = copy(self);
        let again = self.duplication > 0.0 && rng.f64() < self.duplication;
        [Some(first), again.then(|| self.way(from, to, rng) + self.hold_up)]
    }

    /// How long a segment of a stream is under way; `None` if it never gets through.
    pub(super) fn pass_segment(
        &mut self,
        from: usize,
        to: usize,
        now: Time,
        rng: &mut fastrand::Rng,
    ) -> Option<Duration> {
        let way = self.way(from, to, rng);
        DATA.succeeds_after(way, way * 2, |waited| {
            // A cut is checked at once: a stream that meets one is given up at its owner's deadline.
            (!self.is_cut(from, to)).then_some(())?;
            Some(!self.loses(self.segment_loss, from, to, now + waited, rng))
        })
    }

    /// How long it takes until a stream is open on both sides; `None` if it never is.
    pub(super) fn pass_handshake(
        &mut self,
        from: usize,
        to: usize,
        now: Time,
        rng: &mut fastrand::Rng,
    ) -> Option<Duration> {
        let (there, back) = (self.way(from, to, rng), self.way(to, from, rng));
        HANDSHAKE.succeeds_after(there + back, Duration::ZERO, |waited| {
            (!self.is_cut(from, to) && !self.is_cut(to, from)).then_some(())?;
            let lost = self.loses(self.segment_loss, from, to, now + waited, rng)
                || self.loses(self.segment_loss, to, from, now + waited + there, rng);
            Some(!lost)
        })
    }

    fn loses(&mut self, loss: f64, from: usize, to: usize, now: Time, rng: &mut fastrand::Rng) -> bool {
        let share = |losses: &HashMap<usize, f64>, host| match losses.is_empty() {
            true => 0.0,
            false => losses.get(host).copied().unwrap_or(0.0),
        };
        let losses = [
            loss,
            share(&self.egress_loss, &from),
            share(&self.ingress_loss, &to),
            self.burst_loss(from, to, now, rng),
        ];
        losses.into_iter().any(|loss| loss > 0.0 && rng.f64() < loss)
    }

    fn burst_loss(&mut self, from: usize, to: usize, now: Time, rng: &mut fastrand::Rng) -> f64 {
        let Some(burst) = self.burst else { return 0.0 };
        let mut length = |mean: Duration| mean.mul_f64(-(1.0 - rng.f64()).ln()) + Duration::from_nanos(1);
        let spell = self
            .spells
            .entry((from, to))
            .or_insert_with(|| Spell { is_bad: false, until: now + length(burst.good) });
        while spell.until <= now {
            spell.is_bad = !spell.is_bad;
            spell.until = spell.until + length(if spell.is_bad { burst.bad } else { burst.good });
        }
        if spell.is_bad { burst.loss } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share_lost(network: &mut Network, gap: Duration) -> f64 {
        let mut rng = fastrand::Rng::with_seed(1);
        let sent = 100_000_u32;
        let lost = (0..sent).filter(|i| {
            let now = Time::ZERO + gap * *i;
            network.pass(0, 1, now, &mut rng)[0].is_none()
        });
        lost.count() as f64 / f64::from(sent)
    }

    #[test]
    fn losses_add_up_as_independent_ones_do() {
        let mut network = Network { datagram_loss: 0.1, ..Network::default() };
        network.ingress_loss.insert(1, 0.5);
        network.egress_loss.insert(1, 1.0);
        let share = share_lost(&mut network, Duration::ZERO);
        assert!((share - 0.55).abs() < 0.01, "{share}");
    }

    #[test]
    fn bursts_have_their_mean_share_and_come_together() {
        let burst = Burst { good: Duration::from_secs(9), bad: Duration::from_secs(1), loss: 1.0 };
        let mut network = Network { burst: Some(burst), ..Network::default() };
        let share = share_lost(&mut network, Duration::from_millis(100));
        assert!((share - 0.1).abs() < 0.02, "{share}");
        let mut rng = fastrand::Rng::with_seed(2);
        let fates: Vec<_> = (0..10_000_u32)
            .map(|i| network.pass(2, 3, Time::ZERO + Duration::from_millis(100) * i, &mut rng)[0].is_none())
            .collect();
        let (lost, after_lost) =
            fates.windows(2).filter(|w| w[0]).fold((0, 0), |(l, a), w| (l + 1, a + u32::from(w[1])));
        assert!(f64::from(after_lost) / f64::from(lost) > 0.7, "a loss is followed by a loss");
    }

    /// The time of each of 10,000 packets in milliseconds, if only retransmissions take time; `None` if a packet is
    /// given up.
    fn waits(
        network: &mut Network,
        pass: impl Fn(&mut Network, &mut fastrand::Rng) -> Option<Duration>,
    ) -> Vec<Option<u128>> {
        network.latency = Latency::Uniform(Duration::ZERO, Duration::ZERO);
        let mut rng = fastrand::Rng::with_seed(3);
        (0..10_000).map(|_| Some(pass(network, &mut rng)?.as_millis())).collect()
    }

    #[test]
    fn loss_of_datagrams_and_of_streams_is_set_separately() {
        let segment = |network: &mut Network, rng: &mut _| network.pass_segment(0, 1, Time::ZERO, rng);
        let handshake = |network: &mut Network, rng: &mut _| network.pass_handshake(0, 1, Time::ZERO, rng);
        let mut datagrams = Network { datagram_loss: 0.25, ..Network::default() };
        assert!((share_lost(&mut datagrams, Duration::ZERO) - 0.25).abs() < 0.01);
        assert!(waits(&mut datagrams, segment).iter().all(|wait| *wait == Some(0)));
        assert!(waits(&mut datagrams, handshake).iter().all(|wait| *wait == Some(0)));
        let mut segments = Network { segment_loss: 0.25, ..Network::default() };
        assert!(share_lost(&mut segments, Duration::ZERO) == 0.0 && !segments.is_perfect());
        let share = |waits: &[_], wait| waits.iter().filter(|w| **w == Some(wait)).count() as f64 / 1e4;
        // A segment is sent once, a handshake once in each direction; each retransmission waits twice as long.
        let lost = waits(&mut segments, segment);
        assert!((share(&lost, 0) - 0.75).abs() < 0.02 && (share(&lost, 600) - 0.75 / 16.0).abs() < 0.01);
        let lost = waits(&mut segments, handshake);
        assert!((share(&lost, 0) - 0.5625).abs() < 0.02 && (share(&lost, 1000) - 0.246).abs() < 0.02);
        assert!(lost.contains(&None), "after the seventh it is given up");
    }

    #[test]
    fn filtered_udp_stops_datagrams_in_its_direction_and_no_stream() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut passes = |network: &mut Network, from, to| {
            assert!(network.pass_segment(from, to, Time::ZERO, &mut rng).is_some());
            network.pass(from, to, Time::ZERO, &mut rng)[0].is_some()
        };
        let mut into = Network { no_udp_into: BTreeSet::from([1]), ..Network::default() };
        assert!(!passes(&mut into, 0, 1) && passes(&mut into, 1, 0));
        let mut out_of = Network { no_udp_out_of: BTreeSet::from([1]), ..Network::default() };
        assert!(passes(&mut out_of, 0, 1) && !passes(&mut out_of, 1, 0));
        let mut wholly = Network { no_udp: true, ..Network::default() };
        assert!(!passes(&mut wholly, 0, 1) && wholly.is_perfect() && wholly.filters_udp());
        wholly.heal();
        assert!(!wholly.filters_udp());
    }

    #[test]
    fn groups_that_are_isolated_reach_only_themselves() {
        let mut network = Network::default();
        network.isolate([1, 2]);
        network.isolate([3]);
        let cut = |a, b| network.is_cut(a, b);
        assert!(!cut(1, 2) && cut(1, 3) && cut(1, 0) && cut(0, 3) && !cut(0, 4));
        network.heal();
        assert!(!network.is_cut(1, 3) && network.is_perfect());
    }
}
