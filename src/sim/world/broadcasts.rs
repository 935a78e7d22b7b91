//! Sends broadcasts of hosts, and passes the results to the checks.

use std::{collections::BTreeSet, time::Duration};

#[cfg(test)]
use crossbeam_channel::{Receiver, bounded};

use super::World;
#[cfg(test)]
use crate::data::broadcasts::Outcome;
use crate::{
    Stamp,
    data::{Endpoint, broadcasts::Delivery},
    sim::{broadcasts::Received, check::Checker},
    swim::Metrics,
};

/// Members that have run for longer know what was sent before they joined.
const SETTLED: Duration = Duration::from_secs(15);
/// The greatest loss that does not count as a partition.
const BEARABLE: f64 = 0.4;

impl World {
    /// Broadcasts from a host, and returns the broadcast's number; `None` if the host sends too many.
    ///
    /// # Panics
    /// If the host is down.
    pub fn broadcast(&mut self, host: usize, topic: &str, payload: &[u8]) -> Option<u64> {
        let life = self.node(host).own_life();
        if let Some(checker) = &mut self.checker {
            checker.broadcasts.expects(&life, payload);
        }
        let seq = self.drive_with(host, |endpoint, now| endpoint.broadcast(now, topic, payload, 0)).ok();
        let (now, connected) = (self.now(), self.connected());
        if let Some(checker) = &mut self.checker {
            let from = (host, self.hosts[host].life);
            checker.broadcasts.sent(now, from, (life, seq), connected);
        }
        seq
    }

    /// The same with confirmations, and with a limit of time.
    #[cfg(test)]
    pub(crate) fn broadcast_confirmed(
        &mut self,
        host: usize,
        topic: &str,
        payload: &[u8],
        limit: Duration,
    ) -> Receiver<Outcome> {
        let (caller, outcome) = bounded(1);
        let life = self.node(host).own_life();
        if let Some(checker) = &mut self.checker {
            checker.broadcasts.expects(&life, payload);
        }
        self.drive_with(host, |endpoint, now| {
            endpoint.broadcast_confirmed(now, topic, payload, limit, caller)
        })
        .expect("it is within the rate");
        outcome
    }

    /// The counters and gauges of a host that is up.
    ///
    /// # Panics
    /// If it is down.
    #[must_use]
    pub fn metrics(&self, host: usize) -> Metrics {
        self.data(host).metrics()
    }

    /// A node and its data layer.
    pub(crate) fn data(&self, host: usize) -> &Endpoint {
        self.hosts[host].endpoint.as_ref().expect("the node is up")
    }

    /// The broadcasts that a host's readers received in its present life, if the world keeps events.
    #[must_use]
    pub fn received(&self, host: usize) -> &[Received] {
        &self.hosts[host].received
    }

    /// Takes the broadcasts that a node has for its readers.
    pub(in crate::sim) fn take_broadcasts(&mut self, host: usize, endpoint: &mut Endpoint) {
        while let Some(delivery) = endpoint.broadcasts.poll_delivery() {
            if let Some(checker) = &mut self.checker {
                checker.broadcast(host, &delivery);
            }
            endpoint.deliver(&delivery);
            if let Delivery::Item { item, .. } = delivery
                && self.keep_events
            {
                let (at, origin, payload) = (self.now(), item.origin.name.clone(), item.payload.to_vec());
                let (seq, stamp) = (item.seq, Stamp(item.stamp));
                self.hosts[host].received.push(Received { at, origin, seq, stamp, payload });
            }
        }
    }

    /// The hosts that broadcasts must reach: they have run for a while without disturbance, and other such hosts list them
    /// as live. Empty while some link passes nothing at all.
    fn connected(&self) -> BTreeSet<(usize, u32)> {
        if !self.net.lets_through(BEARABLE) {
            return BTreeSet::new();
        }
        let settled = |host: &usize| {
            let host = &self.hosts[*host];
            host.is_well(self.now()) && self.now().since(host.booted) >= SETTLED
        };
        let settled: Vec<usize> = self.up().filter(settled).collect();
        let lists = |by: usize, host: usize| {
            let name = &self.hosts[host].config.name;
            self.node(by).member(name).is_some_and(|member| member.state.is_live())
        };
        let is_listed = |host: &usize| settled.iter().all(|by| lists(*by, *host));
        settled.iter().copied().filter(is_listed).map(|host| (host, self.hosts[host].life)).collect()
    }

    /// Runs the rules of broadcasts on the whole world, once a second.
    pub(in crate::sim) fn look_at_broadcasts(&self, checker: &mut Checker) {
        if checker.broadcasts.waits() {
            let broken = checker.broadcasts.look(self.now(), &self.connected());
            broken
                .into_iter()
                .for_each(|what| checker.report("who stays connected gets every broadcast", what));
        }
    }
}
