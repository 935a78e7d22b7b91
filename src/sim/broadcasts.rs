//! Broadcasts in a world: how to send them, what came of them, and what must hold of them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

#[cfg(test)]
use crossbeam_channel::{Receiver, bounded};

use super::{check::Checker, world::World};
#[cfg(test)]
use crate::data::broadcasts::Outcome;
use crate::{
    data::{Endpoint, broadcasts::Delivery},
    swim::{Life, Metrics, Time},
};

/// For how long a broadcast can be had, and after which time every member that stayed must have it.
const KEEP: Duration = Duration::from_secs(60);
/// Members that are there for longer know what was sent before their time.
const SETTLED: Duration = Duration::from_secs(15);
/// Broadcasts in a minute that members keep for each other, whoever sends them.
const FEW: usize = 200;
/// Loss that is no partition yet.
const BEARABLE: f64 = 0.4;

/// A broadcast that a host's readers got.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// When.
    pub at: Time,
    /// Who sent it.
    pub origin: Arc<str>,
    /// Its number.
    pub seq: u64,
    /// What was sent.
    pub payload: Vec<u8>,
}

impl World {
    /// Has a host broadcast something, and says under which number; `None` if it sends too many.
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

    /// The same with confirmations.
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

    /// A node and the layer above it.
    pub(crate) fn data(&self, host: usize) -> &Endpoint {
        self.hosts[host].endpoint.as_ref().expect("the node is up")
    }

    /// What a host's readers got in its present life, if the world keeps events.
    #[must_use]
    pub fn received(&self, host: usize) -> &[Received] {
        &self.hosts[host].received
    }

    /// Takes what a node has for its readers.
    pub(super) fn take_broadcasts(&mut self, host: usize, endpoint: &mut Endpoint) {
        while let Some(delivery) = endpoint.broadcasts.poll_delivery() {
            if let Some(checker) = &mut self.checker {
                checker.broadcast(host, &delivery);
            }
            endpoint.deliver(&delivery);
            if let Delivery::Item { item, .. } = delivery
                && self.keep_events
            {
                let (at, origin, payload) = (self.now(), item.origin.name.clone(), item.payload.to_vec());
                self.hosts[host].received.push(Received { at, origin, seq: item.seq, payload });
            }
        }
    }

    /// The hosts that broadcasts must reach: they run for a while, nothing holds them up, and those like them list them as
    /// live. None, while nothing at all gets through somewhere.
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

    /// Has the rules of broadcasts look at the whole, once a second.
    pub(super) fn look_at_broadcasts(&self, checker: &mut Checker) {
        if checker.broadcasts.waits() {
            let broken = checker.broadcasts.look(self.now(), &self.connected());
            broken
                .into_iter()
                .for_each(|what| checker.report("who stays connected gets every broadcast", what));
        }
    }
}

/// What a host has got of one life of an origin.
#[derive(Debug, Default)]
struct Got {
    seqs: BTreeSet<u64>,
    last: u64,
    /// Numbers that were told to be missing and have not come.
    missing: u64,
}

/// A broadcast that these hosts must have in a minute.
#[derive(Debug)]
struct Owed {
    sent: Time,
    /// Of a host that is gone nobody repairs anything.
    from: (usize, u32),
    origin: Life,
    seq: u64,
    to: BTreeSet<(usize, u32)>,
}

/// What must hold of broadcasts:
///
/// - in a life of a host each comes at most once, and nothing comes that was not sent;
/// - those of one origin come in its order, unless one was told to be missing before;
/// - none comes again to a host that has it in its state file;
/// - whoever stays connected for a minute after the sending has it then.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// What the lives of origins sent, by number.
    sent: BTreeMap<Life, Vec<Vec<u8>>>,
    got: BTreeMap<(usize, Life), Got>,
    /// What the state files of hosts say that they got.
    kept: BTreeMap<(usize, Life), BTreeSet<u64>>,
    owed: Vec<Owed>,
    /// When the broadcasts of the last minute were sent.
    lately: VecDeque<Time>,
    /// Somebody forges broadcasts.
    lenient: bool,
}

impl Rules {
    #[cfg(test)]
    pub(super) fn be_lenient(&mut self) {
        self.lenient = true;
    }

    /// A host is about to send something: it reads that itself before the number is known.
    fn expects(&mut self, life: &Life, payload: &[u8]) {
        self.sent.entry(life.clone()).or_default().push(payload.to_vec());
    }

    fn sent(
        &mut self,
        now: Time,
        from: (usize, u32),
        (origin, seq): (Life, Option<u64>),
        to: BTreeSet<(usize, u32)>,
    ) {
        match seq {
            Some(seq) => {
                self.lately.retain(|at| now.since(*at) < KEEP);
                self.lately.push_back(now);
                if self.lately.len() > FEW {
                    // Members keep no more.
                    self.owed.clear();
                } else {
                    self.owed.push(Owed { sent: now, from, origin, seq, to });
                }
            }
            None => _ = self.sent.get_mut(&origin).and_then(Vec::pop),
        }
    }

    pub(super) fn stopped(&mut self, host: usize) {
        self.got.retain(|(at, _), _| *at != host);
    }

    /// What a host got so far is in its state file.
    pub(super) fn file_written(&mut self, host: usize) {
        for ((at, origin), got) in &self.got {
            if *at == host {
                self.kept.entry((host, origin.clone())).or_default().extend(&got.seqs);
            }
        }
    }

    /// What a host has on its disk may be older than what was written.
    pub(super) fn file_lost(&mut self, host: usize) {
        self.kept.retain(|(at, _), _| *at != host);
    }

    fn waits(&self) -> bool {
        !self.owed.is_empty()
    }

    /// A host's readers get something; says what is wrong with it.
    pub(super) fn delivered(&mut self, host: usize, delivery: &Delivery) -> Option<(&'static str, String)> {
        let Delivery::Item { item, gap, late } = delivery else { return None };
        let what =
            |what| format!("host {host}: {what} {}.{} of {}", item.origin.epoch, item.seq, item.origin.name);
        let sent = self.sent.get(&item.origin).and_then(|sent| sent.get(item.seq as usize - 1));
        if sent.is_none_or(|sent| **sent != *item.payload) && !self.lenient {
            return Some(("nothing is received that nobody broadcast", what("forged")));
        }
        let place = (host, item.origin.clone());
        let kept = self.kept.get(&place).is_some_and(|kept| kept.contains(&item.seq));
        let got = self.got.entry(place).or_default();
        if !got.seqs.insert(item.seq) {
            return Some(("a broadcast is received once", what("twice")));
        }
        if kept {
            return Some(("what is in a state file is not received again", what("again")));
        }
        let in_order = match late {
            true => item.seq < got.last && got.missing > 0,
            false => item.seq > got.last,
        };
        (got.last, got.missing) = (got.last.max(item.seq), got.missing + gap - u64::from(*late && in_order));
        (!in_order).then(|| ("broadcasts of an origin come in its order", what("out of order")))
    }

    /// Who is not connected any more need not get anything. Who was for a minute and lacks something is named.
    fn look(&mut self, now: Time, connected: &BTreeSet<(usize, u32)>) -> Option<String> {
        let mut broken = None;
        let Self { owed, got, .. } = self;
        owed.retain_mut(|owed| {
            owed.to.retain(|host| connected.contains(host));
            let is_due = now.since(owed.sent) >= KEEP + Duration::from_secs(1);
            if is_due && connected.contains(&owed.from) {
                let has = |host: usize| {
                    got.get(&(host, owed.origin.clone())).is_some_and(|got| got.seqs.contains(&owed.seq))
                };
                if let Some((host, _)) = owed.to.iter().find(|(host, _)| !has(*host)) {
                    broken = Some(format!("host {host} lacks {} of {:?}", owed.seq, owed.origin));
                }
            }
            !is_due && !owed.to.is_empty() && connected.contains(&owed.from)
        });
        broken
    }
}
