//! The rules for broadcasts, and the broadcasts that hosts received. How they are sent is in `world/broadcasts.rs`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    Stamp,
    data::broadcasts::{CONFIRM, Delivery},
    swim::{Life, Time},
};

/// How long a broadcast is available, and the time after which every member that stayed connected must have it.
const KEEP: Duration = Duration::from_secs(60);
/// How many broadcasts in a minute members store for each other, from all senders.
const FEW: usize = 200;

/// A broadcast that a host's readers received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// The time of receipt.
    pub at: Time,
    /// The sender's name.
    pub origin: Arc<str>,
    /// Its number.
    pub seq: u64,
    /// Its stamp, as it counts at this host.
    pub stamp: Stamp,
    /// Its content.
    pub payload: Vec<u8>,
}

/// The broadcasts that a host has received of one life of an origin.
#[derive(Debug, Default)]
struct Got {
    seqs: BTreeSet<u64>,
    last: u64,
    /// How many numbers were reported as missing and have not arrived.
    missing: u64,
}

/// A broadcast that these hosts must have in a minute.
#[derive(Debug)]
struct Expected {
    sent: Time,
    /// The sending host and its life: broadcasts of a host that is gone are not repaired.
    from: (usize, u32),
    origin: Life,
    seq: u64,
    to: BTreeSet<(usize, u32)>,
}

/// The rules for broadcasts:
///
/// - in a life of a host each arrives at most once, and none arrives that was not sent;
/// - those of one origin arrive in its order, unless one was reported as missing before;
/// - none is delivered again to a host that has it in its state file;
/// - every host that stays connected for a minute after the sending has it then.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// The content of what the lives of origins sent, by number.
    sent: BTreeMap<Life, Vec<Vec<u8>>>,
    got: BTreeMap<(usize, Life), Got>,
    /// The received numbers in the state files of hosts.
    kept: BTreeMap<(usize, Life), BTreeSet<u64>>,
    expected: Vec<Expected>,
    /// When the broadcasts of the last minute were sent.
    lately: VecDeque<Time>,
    /// Whether an attacker forges broadcasts.
    lenient: bool,
}

impl Rules {
    #[cfg(test)]
    pub(super) fn be_lenient(&mut self) {
        self.lenient = true;
    }

    /// Notes a broadcast before it is sent: the host reads its own broadcast before the number is known.
    pub(super) fn expects(&mut self, life: &Life, payload: &[u8]) {
        self.sent.entry(life.clone()).or_default().push(payload.to_vec());
    }

    pub(super) fn sent(
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
                    // Members store no more than `FEW`, so from here on these broadcasts need not arrive.
                    self.expected.clear();
                } else {
                    self.expected.push(Expected { sent: now, from, origin, seq, to });
                }
            }
            None => _ = self.sent.get_mut(&origin).and_then(Vec::pop),
        }
    }

    pub(super) fn stopped(&mut self, host: usize) {
        self.got.retain(|(at, _), _| *at != host);
    }

    /// The state file of a host now has all that the host received so far.
    pub(super) fn file_written(&mut self, host: usize) {
        for ((at, origin), got) in &self.got {
            if *at == host {
                self.kept.entry((host, origin.clone())).or_default().extend(&got.seqs);
            }
        }
    }

    /// The state file on a host's disk may be older than the last write.
    pub(super) fn file_lost(&mut self, host: usize) {
        self.kept.retain(|(at, _), _| *at != host);
    }

    pub(super) fn waits(&self) -> bool {
        !self.expected.is_empty()
    }

    /// A host's readers receive a broadcast. Returns the rule that this breaks, if any.
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
        // A broadcast that was given up may still be delivered to a member that is asked to confirm it.
        let may_come = in_order || *late && (item.flags & CONFIRM != 0 || item.is_large());
        (!may_come).then(|| ("broadcasts of an origin come in its order", what("out of order")))
    }

    /// Hosts that are no longer connected need not receive anything. Returns a host that was connected for a minute and
    /// lacks a broadcast.
    pub(super) fn look(&mut self, now: Time, connected: &BTreeSet<(usize, u32)>) -> Option<String> {
        let mut broken = None;
        let Self { expected, got, .. } = self;
        expected.retain_mut(|expected| {
            expected.to.retain(|host| connected.contains(host));
            let is_due = now.since(expected.sent) >= KEEP + Duration::from_secs(1);
            if is_due && connected.contains(&expected.from) {
                let has = |host: usize| {
                    got.get(&(host, expected.origin.clone()))
                        .is_some_and(|got| got.seqs.contains(&expected.seq))
                };
                if let Some((host, _)) = expected.to.iter().find(|(host, _)| !has(*host)) {
                    broken = Some(format!("host {host} lacks {} of {:?}", expected.seq, expected.origin));
                }
            }
            !is_due && !expected.to.is_empty() && connected.contains(&expected.from)
        });
        broken
    }
}
