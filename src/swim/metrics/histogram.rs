//! A histogram of durations. Its buckets are fixed, so that it needs no further memory and those of several nodes can be
//! added.

use std::{ops::AddAssign, time::Duration};

use serde::{Deserialize, Serialize};

const BOUNDS: usize = 14;

/// Counts of durations by length, in fixed buckets from half a millisecond to ten seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Histogram {
    /// The count of each bucket alone; the last one is for everything longer than the last bound.
    counts: [u64; BOUNDS + 1],
    sum: Duration,
}

impl Histogram {
    /// The longest duration of each bucket but the last, which has no end.
    pub const BOUNDS: &[Duration] = &[
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_millis(2500),
        Duration::from_secs(5),
        Duration::from_secs(10),
    ];

    pub(crate) fn observe(&mut self, duration: Duration) {
        let bucket = Self::BOUNDS.iter().position(|bound| duration <= *bound).unwrap_or(BOUNDS);
        self.counts[bucket] += 1;
        self.sum = self.sum.saturating_add(duration);
    }

    /// The number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all durations.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// For each of [`BOUNDS`](Self::BOUNDS), the number of durations that were not longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        let counts = self.counts.into_iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        Self::BOUNDS.iter().copied().zip(counts)
    }
}

impl AddAssign<&Self> for Histogram {
    fn add_assign(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, others)| *count += others);
        self.sum = self.sum.saturating_add(other.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_longer_durations_to_the_last() {
        let mut histogram = Histogram::default();
        for duration in [Duration::ZERO, Histogram::BOUNDS[0], Histogram::BOUNDS[1], Duration::MAX] {
            histogram.observe(duration);
        }
        let counts: Vec<u64> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts[..3], [2, 3, 3]);
        assert_eq!((counts[13], histogram.count(), histogram.sum()), (3, 4, Duration::MAX));
    }

    #[test]
    fn the_bounds_ascend() {
        assert!(Histogram::BOUNDS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn the_histograms_of_two_nodes_add_up() {
        let (mut one, mut both) = (Histogram::default(), Histogram::default());
        one.observe(Duration::from_millis(3));
        both += &one;
        both += &one;
        assert_eq!((both.count(), both.sum()), (2, Duration::from_millis(6)));
    }
}
