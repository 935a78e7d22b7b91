//! Round-trip times: what direct probes of a member measured, and which members are near.
//!
//! The second smallest of the last four samples counts: a delay only ever adds to a round trip, so a low percentile of a few
//! samples is steadier than their mean (Ledlie, Gardner, Seltzer: *Network Coordinates in the Wild*, NSDI 2007, §4).

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{member::Member, time::Time};
use crate::wire::hash;

/// Samples that are kept of each member.
const SAMPLES: usize = 4;
/// Round trips that differ by less, or by less than an eighth, are as good as equal: busy hosts add as much.
const NOISE: Duration = Duration::from_millis(1);

/// The round-trip time of a datagram to a member: see [`Gossip::rtt`](crate::Gossip::rtt).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rtt {
    /// The second smallest of the last [`samples`](Self::samples), or the only one. It is a measure of distance. The time
    /// that answers take at present, with the effect of load, is [`ProbeStats::round_trip`](crate::ProbeStats::round_trip).
    pub time: Duration,
    /// The number of probes that it is taken from: at most 4.
    pub samples: usize,
    /// How long ago the last of these was answered.
    pub age: Duration,
}

/// As `1.2ms, of 4 probes, 3.1 s ago`.
impl fmt::Display for Rtt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, samples, age } = self;
        write!(f, "{time:.1?}, of {samples} probes, {:.1} s ago", age.as_secs_f64())
    }
}

/// The round trips of direct pings by datagram to a member, in microseconds: smoothed with their deviation (RFC 6298, §2, with
/// its α = 1/8 and β = 1/4), and the last of them.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct RoundTrip {
    smoothed: u32,
    deviation: u32,
    /// The last first; 0 stands for none.
    latest: [u32; SAMPLES],
    /// When the last was measured.
    at: Time,
}

impl RoundTrip {
    pub(super) fn take(&mut self, sample: Duration, now: Time) {
        // Never 0, which says that there was none.
        let sample = u32::try_from(sample.as_micros()).unwrap_or(u32::MAX).max(1);
        self.latest.rotate_right(1);
        (self.latest[0], self.at) = (sample, now);
        if self.smoothed == 0 {
            (self.smoothed, self.deviation) = (sample, sample / 2);
            return;
        }
        let mean =
            |old: u32, new: u32, share: u64| ((u64::from(old) * (share - 1) + u64::from(new)) / share) as u32;
        self.deviation = mean(self.deviation, self.smoothed.abs_diff(sample), 4);
        self.smoothed = mean(self.smoothed, sample, 8).max(1);
    }

    pub(super) fn smoothed(self) -> Option<Duration> {
        (self.smoothed > 0).then(|| Duration::from_micros(self.smoothed.into()))
    }

    pub(super) fn deviation(self) -> Option<Duration> {
        self.smoothed().map(|_| Duration::from_micros(self.deviation.into()))
    }

    pub(super) fn rtt(self, now: Time) -> Option<Rtt> {
        let mut samples = self.latest;
        samples.sort_unstable();
        let measured = &samples[samples.partition_point(|sample| *sample == 0)..];
        let low = measured.get(1).or(measured.first())?;
        let (time, samples) = (Duration::from_micros((*low).into()), measured.len());
        Some(Rtt { time, samples, age: now.since(self.at) })
    }
}

/// The nearest first. Those that differ by noise alone count as equally near, so that the order does not change with each
/// sample; of these each node prefers others, so that not all choose the same.
pub(crate) fn by_distance(own: &str, mut measured: Vec<(Member, Rtt)>) -> Vec<(Member, Rtt)> {
    let preference =
        |name: &str| hash::mix(u64::from(hash::member(own)) << 32 | u64::from(hash::member(name)));
    measured.sort_unstable_by_key(|(_, rtt)| rtt.time);
    let mut rest = &mut measured[..];
    while let Some((_, nearest)) = rest.first() {
        let most = nearest.time + NOISE.max(nearest.time / 8);
        let (equal, farther) = rest.split_at_mut(rest.partition_point(|(_, rtt)| rtt.time <= most));
        equal.sort_by_cached_key(|(member, _)| preference(&member.name));
        rest = farther;
    }
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn round_trips_are_smoothed_as_rfc_6298_prescribes() {
        let mut trip = RoundTrip::default();
        assert_eq!((trip.smoothed(), trip.deviation()), (None, None));
        trip.take(millis(100), Time::ZERO);
        assert_eq!((trip.smoothed(), trip.deviation()), (Some(millis(100)), Some(millis(50))));
        trip.take(millis(180), Time::ZERO);
        // 3/4 · 50 + 1/4 · |100 − 180|, and 7/8 · 100 + 1/8 · 180.
        let expected = (Duration::from_micros(110_000), Duration::from_micros(57_500));
        assert_eq!((trip.smoothed(), trip.deviation()), (Some(expected.0), Some(expected.1)));
    }

    #[test]
    fn round_trips_of_no_time_and_of_ages_are_told() {
        let mut trip = RoundTrip::default();
        trip.take(Duration::ZERO, Time::ZERO);
        assert_eq!(trip.smoothed(), Some(Duration::from_micros(1)));
        (0..1000).for_each(|_| trip.take(Duration::MAX, Time::ZERO));
        assert!(trip.smoothed() > Some(Duration::from_secs(4000)));
    }

    #[test]
    fn of_the_last_four_samples_the_second_smallest_counts() {
        let (mut trip, at) = (RoundTrip::default(), |second| Time::ZERO + Duration::from_secs(second));
        assert_eq!(trip.rtt(at(9)), None);
        let mut told = Vec::new();
        for (second, sample) in [30, 10, 90, 20, 25, 80, 80].into_iter().enumerate() {
            trip.take(millis(sample), at(second as u64));
            let rtt = trip.rtt(at(9)).expect("it was measured");
            assert_eq!(rtt.age, Duration::from_secs(9 - second as u64));
            told.push((rtt.samples, rtt.time));
        }
        let expected = [(1, 30), (2, 30), (3, 30), (4, 20), (4, 20), (4, 25), (4, 25)];
        assert_eq!(told, expected.map(|(samples, time)| (samples, millis(time))));
    }
}
