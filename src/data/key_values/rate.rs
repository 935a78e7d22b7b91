//! How often a node may change its own keys: the generic cell rate algorithm.

use std::time::Duration;

use crate::swim::Time;

/// Changes in a row, and the time after which one more may come.
const BURST: u32 = 64;
const SPACING: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Rate {
    /// Up to when the past changes would reach if they were one spacing apart.
    paid_until: Time,
}

impl Rate {
    /// Whether one more change may come now.
    pub(super) fn admit(&mut self, now: Time) -> bool {
        let paid = self.paid_until.max(now) + SPACING;
        let admitted = paid.since(now) <= SPACING * BURST;
        if admitted {
            self.paid_until = paid;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_four_at_once_then_ten_a_second() {
        let mut rate = Rate::default();
        let mut admitted = 0;
        for tick in 0..10_000 {
            admitted += u32::from(rate.admit(Time::from_origin(Duration::from_millis(tick))));
            assert!(admitted <= BURST + tick as u32 / 100);
        }
        assert_eq!(admitted, BURST + 99);
    }
}
