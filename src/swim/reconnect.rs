//! Reconnect: failed members are pinged at their last address, with back-off, without end.
//!
//! An answer is followed by a push/pull, in which each side learns whom the other declared failed, and all who are alive
//! refute. So a partition ends without seeds. Members that left are not tried. Members of an earlier life (`rejoin.rs`) are
//! tried like failed ones, until they are listed.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    carry::Priority, member::MemberId, node::Node, phase::Phase, session::Purpose, share::Account,
    time::Time, timers::Timer, transmit::Behind, validation::Sender,
};

/// Failed members that have one account.
const MAX_OF_ACCOUNT: usize = 64;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Reconnects {
    #[serde(with = "super::stored::sorted")]
    failed: HashMap<Arc<str>, FailedPeer>,
    due: BTreeSet<(Time, Arc<str>)>,
    max: usize,
    /// The ping that is under way.
    asked: Option<(u32, Arc<str>, SocketAddr)>,
    last: Option<Time>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct FailedPeer {
    addr: SocketAddr,
    next: Time,
    delay: Duration,
}

impl Reconnects {
    pub(super) fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.failed.len()
    }

    /// Remembers an address of this account; says whether another had to make room: the one whose next try is furthest off, of
    /// the same account if that has its share.
    fn remember(&mut self, name: Arc<str>, peer: FailedPeer, account: Account) -> bool {
        self.forget(&name);
        let is_its = |peer: &FailedPeer| account.is_of(peer.addr);
        let crowded = self.failed.values().filter(|peer| is_its(peer)).count() >= MAX_OF_ACCOUNT;
        let full = crowded || self.failed.len() >= self.max;
        let gives_way = |name: &Arc<str>| !crowded || self.failed.get(name).is_some_and(is_its);
        if full && let Some((_, name)) = self.due.iter().rev().find(|(_, name)| gives_way(name)).cloned() {
            self.forget(&name);
        }
        self.due.insert((peer.next, Arc::clone(&name)));
        self.failed.insert(name, peer);
        full
    }

    pub(super) fn forget(&mut self, name: &str) {
        if let Some((name, peer)) = self.failed.remove_entry(name) {
            self.due.remove(&(peer.next, name));
        }
    }

    fn first(&self) -> Option<(Arc<str>, FailedPeer)> {
        let (_, name) = self.due.first()?;
        Some((Arc::clone(name), *self.failed.get(name)?))
    }
}

impl Node {
    /// Remembers the address of a failed member; not of one that never answered, which may be made up.
    pub(super) fn reconnect_later(&mut self, id: MemberId, name: Arc<str>, addr: SocketAddr) {
        if self.table.get(id).contact.met {
            self.reconnect_from_now_on(name, addr);
            self.schedule_reconnect();
        }
    }

    pub(super) fn reconnect_from_now_on(&mut self, name: Arc<str>, addr: SocketAddr) {
        let first = self.jittered(self.config.probe_interval * 2);
        let peer = FailedPeer { addr, next: self.now + first, delay: first };
        let full = self.reconnects.remember(name, peer, self.account_of(addr));
        self.metrics.evicted_reconnects += u64::from(full);
    }

    pub(super) fn schedule_reconnect(&mut self) {
        let Some((next, _)) = self.reconnects.due.first() else { return };
        let earliest = self.reconnects.last.map_or(Time::ZERO, |last| last + self.config.probe_interval);
        self.set_timer_at(Timer::Reconnect, (*next).max(earliest));
    }

    /// Tries the one that is due; at most one per probe interval.
    pub(super) fn try_reconnect(&mut self) {
        let Some((name, peer)) = self.reconnects.first().filter(|_| self.phase == Phase::Live) else {
            return;
        };
        self.reconnects.last = Some(self.now);
        if self.table.find_at(peer.addr, |record| record.contact.met).is_some() {
            // Somebody else answers there now.
            self.reconnects.forget(&name);
        } else {
            let delay = (peer.delay * 2).min(self.config.reconnect_max_delay);
            let next = self.now + self.jittered(delay);
            let account = self.account_of(peer.addr);
            self.reconnects.remember(Arc::clone(&name), FailedPeer { next, delay, ..peer }, account);
            let about = Behind::Updates(Some(Arc::clone(&name)));
            let seq = self.ping(peer.addr, &name, about, Priority::Updates);
            self.reconnects.asked = Some((seq, name, peer.addr));
            self.metrics.reconnects_tried += 1;
        }
        self.schedule_reconnect();
    }

    pub(super) fn take_reconnect_answer(
        &mut self,
        sender: &mut Sender,
        seq: u32,
        token: Option<u32>,
    ) -> bool {
        let Some((_, name, addr)) = self.reconnects.asked.take_if(|asked| asked.0 == seq) else {
            return false;
        };
        self.on_direct_answer(sender, &name, addr, token);
        self.open(Purpose::Sync, addr, self.config.stream_timeout);
        true
    }
}
