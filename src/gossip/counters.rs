//! What the driver counts, beside the metrics of the protocol: what the core never sees.

use parking_lot::Mutex;

use crate::swim::Metrics;

/// Counted by all threads of a node.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<Metrics>);

impl Counters {
    pub(super) fn count(&self, add: impl FnOnce(&mut Metrics)) {
        add(&mut self.0.lock());
    }

    /// Counts a datagram that the core never sees, and why.
    pub(super) fn count_dropped(&self, len: u64, reason: impl FnOnce(&mut Metrics) -> &mut u64) {
        self.count(|counted| {
            counted.datagrams_received += 1;
            counted.bytes_received += len;
            *reason(counted) += 1;
        });
    }

    /// Adds all that was counted to the metrics of the protocol.
    pub(super) fn add_to(&self, metrics: &mut Metrics) {
        metrics.add(&self.0.lock());
    }
}
