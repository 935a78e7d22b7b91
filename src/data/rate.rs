//! Rate limiting: the generic cell rate algorithm.

use std::time::Duration;

use crate::swim::Time;

/// The number per second, on average, and the number that may come at once.
pub(super) type Rate = (u32, u32);

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    paid_until: Time,
}

impl Bucket {
    /// Whether one more is within the rate; if so, counts it.
    pub(super) fn take(&mut self, now: Time, (per_second, burst): Rate) -> bool {
        let interval = Duration::from_secs(1) / per_second;
        let begin = self.paid_until.max(now);
        let fits = begin.since(now) <= interval * (burst - 1);
        if fits {
            self.paid_until = begin + interval;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_allows_a_burst_and_then_its_rate() {
        const OWN: Rate = (50, 256);
        let (mut bucket, mut now) = (Bucket::default(), Time::from_origin(Duration::from_secs(9)));
        assert_eq!((0..1000).filter(|_| bucket.take(now, OWN)).count(), 256);
        let mut taken = 0;
        for _ in 0..10_000 {
            now = now + Duration::from_millis(1);
            taken += usize::from(bucket.take(now, OWN));
        }
        assert!((499..=501).contains(&taken), "{taken}");
        now = now + Duration::from_secs(3600);
        assert_eq!((0..1000).filter(|_| bucket.take(now, OWN)).count(), 256);
    }
}
