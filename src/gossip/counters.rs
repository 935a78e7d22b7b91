//! The driver's counters, beside the metrics of the protocol: they count what the core never sees.

use parking_lot::Mutex;

use crate::swim::Metrics;

/// The counters of all threads of a node.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<Metrics>);

impl Counters {
    pub(super) fn count(&self, add: impl FnOnce(&mut Metrics)) {
        add(&mut self.0.lock());
    }

    /// Counts a datagram that is dropped before the core sees it, by the reason.
    pub(super) fn count_dropped(&self, len: u64, reason: impl FnOnce(&mut Metrics) -> &mut u64) {
        self.count(|counted| {
            counted.datagrams_received += 1;
            counted.bytes_received += len;
            *reason(counted) += 1;
        });
    }

    /// Adds these counters to the metrics of the protocol.
    pub(super) fn add_to(&self, metrics: &mut Metrics) {
        metrics.add(&self.0.lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_datagram_counts_as_received_with_its_bytes_and_its_reason() {
        let counters = Counters::default();
        counters.count_dropped(7, |counted| &mut counted.dropped_short);
        counters.count_dropped(5, |counted| &mut counted.dropped_short);
        let mut metrics = Metrics::default();
        counters.add_to(&mut metrics);
        let counted = (metrics.datagrams_received, metrics.bytes_received, metrics.dropped_short);
        assert_eq!(counted, (2, 12, 2));
    }
}
