//! Reconnect: failed members are pinged at their last address, with back-off, without end.
//!
//! An answer is followed by a push/pull, in which each side learns whom the other declared failed, and all who are alive
//! refute. So a partition ends without seeds. Members that left are not tried. Members of an earlier life (`rejoin.rs`) are
//! tried like failed ones.
//!
//! What is listed is probed instead. Where others list a failed member, it may never have been: the address where it was known
//! is kept until it answers, and tried again if it fails before.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    carry::Priority,
    member::{MemberId, Record},
    node::Node,
    phase::Phase,
    session::Purpose,
    share::Account,
    time::Time,
    timers::Timer,
    transmit::Behind,
    validation::Sender,
};

/// Failed members that have one account.
const MAX_OF_ACCOUNT: usize = 64;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Reconnects {
    #[serde(with = "super::stored::sorted")]
    failed: HashMap<Arc<str>, FailedPeer>,
    due: BTreeSet<(Time, Arc<str>)>,
    /// The same by account, those of the host and of the address of each.
    due_of: BTreeMap<Account, BTreeSet<(Time, Arc<str>)>>,
    /// Where failed members were known that others list again, until they answer.
    relisted: BTreeMap<Arc<str>, SocketAddr>,
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

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn relisted(&self) -> usize {
        self.relisted.len()
    }

    /// A member of this name left.
    pub(super) fn forget_left(&mut self, name: &str) {
        self.forget(name);
        self.forget_relisted(name);
    }

    /// A member of this name has answered where it is listed.
    pub(super) fn forget_relisted(&mut self, name: &str) -> Option<SocketAddr> {
        self.relisted.remove(name)
    }

    /// Remembers an address of this account. Returns whether another had to make room: the one whose next attempt is
    /// furthest off, of the same account if that has its share.
    fn remember(&mut self, name: Arc<str>, peer: FailedPeer, account: Account) -> bool {
        self.forget(&name);
        let crowded = self.due_of.get(&account).filter(|its| its.len() >= MAX_OF_ACCOUNT);
        let full = crowded.is_some() || self.failed.len() >= self.max;
        if full && let Some((_, name)) = crowded.unwrap_or(&self.due).last().cloned() {
            self.forget(&name);
        }
        let due = (peer.next, Arc::clone(&name));
        for account in Account::both_of(peer.addr) {
            self.due_of.entry(account).or_default().insert(due.clone());
        }
        self.due.insert(due);
        self.failed.insert(name, peer);
        full
    }

    fn forget(&mut self, name: &str) -> Option<(Arc<str>, SocketAddr)> {
        let (name, peer) = self.failed.remove_entry(name)?;
        let due = (peer.next, name);
        self.due.remove(&due);
        for account in Account::both_of(peer.addr) {
            if let Entry::Occupied(mut its) = self.due_of.entry(account) {
                its.get_mut().remove(&due);
                if its.get().is_empty() {
                    its.remove();
                }
            }
        }
        Some((due.1, peer.addr))
    }

    fn first(&self) -> Option<(Arc<str>, FailedPeer)> {
        let (_, name) = self.due.first()?;
        Some((Arc::clone(name), *self.failed.get(name)?))
    }
}

impl Node {
    /// A member is listed. If it failed before, and may be made up where it is listed, the known address is kept.
    pub(super) fn relist(&mut self, id: MemberId) {
        let record = self.table.get(id);
        if let Some((name, addr)) = self.reconnects.forget(&record.name)
            && record.contact.may_be_made_up()
        {
            self.reconnects.relisted.insert(name, addr);
        }
    }

    /// Remembers the address of a failed member. One that never answered may be made up, as may where it is said to be: only an
    /// address where it was known before it was listed counts.
    pub(super) fn reconnect_later(&mut self, id: MemberId) {
        let Record { name, addr, contact, .. } = self.table.get(id);
        let known = self.reconnects.forget_relisted(name);
        if let Some(addr) = known.or((!contact.may_be_made_up()).then_some(*addr)) {
            self.reconnect_from_now_on(Arc::clone(name), addr);
            self.schedule_reconnect();
        }
    }

    pub(super) fn reconnect_from_now_on(&mut self, name: Arc<str>, addr: SocketAddr) {
        let first = self.jittered(self.config.probe_interval * 2);
        let peer = FailedPeer { addr, next: self.now + first, delay: first };
        let full = self.reconnects.remember(name, peer, self.table.account_of(addr));
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
            // Another node answers there now.
            self.reconnects.forget(&name);
        } else {
            let delay = (peer.delay * 2).min(self.config.reconnect_max_delay);
            let next = self.now + self.jittered(delay);
            let account = self.table.account_of(peer.addr);
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

#[cfg(test)]
mod tests {
    use super::{super::share::LOOKED_AT, *};

    /// The failed member of a number, of which each host has 80.
    fn failed(at: u32) -> (Arc<str>, FailedPeer) {
        let host = [10, 0, (at / 80 / 256) as u8, (at / 80 % 256) as u8];
        let addr = SocketAddr::from((host, 1 + (at % 80) as u16));
        // The later its number, the sooner it is tried.
        let next = Time::ZERO + Duration::from_secs(100_000 - u64::from(at));
        (format!("n{at}").into(), FailedPeer { addr, next, delay: Duration::ZERO })
    }

    fn remember(reconnects: &mut Reconnects, at: u32) -> bool {
        let (name, peer) = failed(at);
        let account = Account::both_of(peer.addr)[0];
        reconnects.remember(name, peer, account)
    }

    #[test]
    fn the_one_whose_try_is_furthest_off_makes_room_within_a_full_account_or_among_all() {
        let mut reconnects = Reconnects::new(100);
        let has = |reconnects: &Reconnects, at: u32| reconnects.failed.contains_key(&*format!("n{at}"));
        let evicted = (0..80).filter(|at| remember(&mut reconnects, *at)).count();
        assert_eq!((evicted, reconnects.len()), (80 - MAX_OF_ACCOUNT, MAX_OF_ACCOUNT));
        assert!(!has(&reconnects, 15) && has(&reconnects, 16), "of its account");
        assert!(!remember(&mut reconnects, 79), "it is known, and replaced");
        let kept = |reconnects: &Reconnects| {
            let of_accounts: usize = reconnects.due_of.values().map(BTreeSet::len).sum();
            (reconnects.due.len(), of_accounts)
        };
        assert_eq!(kept(&reconnects), (64, 2 * 64));
        let evicted = (80..117).filter(|at| remember(&mut reconnects, *at)).count();
        assert_eq!((evicted, reconnects.len()), (1, 100));
        assert!(!has(&reconnects, 16) && has(&reconnects, 17), "of all");
        (0..117).for_each(|at| _ = reconnects.forget(&format!("n{at}")));
        assert_eq!((kept(&reconnects), reconnects.due_of.len()), ((0, 0), 0));
    }

    #[test]
    fn to_remember_a_member_does_not_look_at_all_others() {
        const MEMBERS: u32 = 8_000;
        let mut reconnects = Reconnects::new(4_096);
        LOOKED_AT.set(0);
        (0..MEMBERS).for_each(|at| _ = remember(&mut reconnects, at));
        assert_eq!(reconnects.len(), 4_096);
        let each = LOOKED_AT.get() / MEMBERS as usize;
        assert!(each <= 4, "{each} addresses for each");
    }
}
