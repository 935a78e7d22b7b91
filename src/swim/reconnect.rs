//! Reconnect: failed members are pinged at their last address, with back-off, without end.
//!
//! An answer is followed by a push/pull, in which each side learns whom the other declared failed, and all who are alive
//! refute. So a partition ends without seeds. Members of an earlier life (`rejoin.rs`) are tried like failed ones. Members that
//! left are not tried, but by a node that is alone: one of them may be back, and know nobody else.
//!
//! What is listed is probed instead. Where others say that a member is now, it may never have been: the address where it was
//! known is kept until it answers or says so itself, and tried again if it fails before.

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
    /// Where live members were known that others list elsewhere, until they answer there.
    known: BTreeMap<Arc<str>, SocketAddr>,
    max: usize,
    /// The ping that is under way.
    asked: Option<(u32, Arc<str>, SocketAddr)>,
    last: Option<Time>,
    /// Where members were known that left by themselves, until they are forgotten; and when a node that is alone tries the next
    /// of them.
    left: BTreeMap<Arc<str>, SocketAddr>,
    next_left: Time,
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
    pub(super) fn known(&self) -> usize {
        self.known.len()
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn left(&self) -> usize {
        self.left.len()
    }

    /// A member that left is listed or failed, was removed, or is forgotten.
    pub(super) fn forget_left(&mut self, name: &str) -> Option<SocketAddr> {
        self.left.remove(name)
    }

    /// A member that has not answered where it is listed says itself that it is there.
    pub(super) fn set_known(&mut self, name: &str, addr: SocketAddr) {
        self.known.insert(name.into(), addr);
    }

    /// A member of this name has answered where it is listed.
    pub(super) fn forget_known(&mut self, name: &str) -> Option<SocketAddr> {
        self.known.remove(name)
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

    fn forget(&mut self, name: &str) -> Option<SocketAddr> {
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
        Some(peer.addr)
    }

    fn first_due(&self, now: Time) -> Option<(Arc<str>, FailedPeer)> {
        let (_, name) = self.due.first().filter(|(at, _)| *at <= now)?;
        Some((Arc::clone(name), *self.failed.get(name)?))
    }
}

impl Node {
    /// A member is listed, perhaps elsewhere than before. If it has not answered there, the address is kept where it failed,
    /// `lived` until now, or left.
    pub(super) fn keep_known(&mut self, id: MemberId, lived: Option<SocketAddr>) {
        let Record { name, contact, .. } = self.table.get(id);
        let failed = self.reconnects.forget(name);
        let left = self.reconnects.forget_left(name);
        if let Some(known) = failed.or(lived).or(left).filter(|_| !contact.met) {
            self.reconnects.known.entry(Arc::clone(name)).or_insert(known);
        }
    }

    /// A member left, or was removed. Where nothing else is known, its address is that of its record, if it has ever answered.
    pub(super) fn note_left(&mut self, name: &Arc<str>, addr: Option<SocketAddr>, was_removed: bool) {
        let failed = self.reconnects.forget(name);
        let left = self.reconnects.forget_left(name);
        let known = self.reconnects.forget_known(name).or(failed).or(addr).or(left);
        let Some(addr) = known.filter(|_| !was_removed) else { return };
        if self.reconnects.left.is_empty() {
            // Its process is just ending.
            self.reconnects.next_left = self.now + self.jittered(self.config.reconnect_max_delay);
        }
        self.reconnects.left.insert(Arc::clone(name), addr);
        self.schedule_reconnect();
    }

    /// Remembers the address of a failed member. One that never answered may be made up, as may where others say that it is: the
    /// address where it was known before comes first.
    pub(super) fn reconnect_later(&mut self, id: MemberId) {
        let Record { name, addr, contact, .. } = self.table.get(id);
        let (known, left) = (self.reconnects.forget_known(name), self.reconnects.forget_left(name));
        if let Some(addr) = known.or(left).or((!contact.may_be_made_up()).then_some(*addr)) {
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
        let failed = self.reconnects.due.first().map(|(next, _)| *next);
        let left = self.may_try_left().then_some(self.reconnects.next_left);
        let Some(next) = Time::earlier(failed, left) else { return };
        let earliest = self.reconnects.last.map_or(Time::ZERO, |last| last + self.config.probe_interval);
        self.set_timer_at(Timer::Reconnect, next.max(earliest));
    }

    /// Tries the one that is due; at most one per probe interval.
    pub(super) fn try_reconnect(&mut self) {
        if self.phase != Phase::Live {
            return;
        }
        self.reconnects.last = Some(self.now);
        // Of many failed members one is always due.
        if self.reconnects.next_left <= self.now && self.may_try_left() {
            self.try_left();
        } else if let Some((name, peer)) = self.reconnects.first_due(self.now) {
            self.try_failed(name, peer);
        }
        self.schedule_reconnect();
    }

    fn try_failed(&mut self, name: Arc<str>, peer: FailedPeer) {
        if self.table.find_at(peer.addr, |record| record.contact.met).is_some() {
            // Another node answers there now.
            self.reconnects.forget(&name);
            return;
        }
        let delay = (peer.delay * 2).min(self.config.reconnect_max_delay);
        let next = self.now + self.jittered(delay);
        let account = self.table.account_of(peer.addr);
        self.reconnects.remember(Arc::clone(&name), FailedPeer { next, delay, ..peer }, account);
        self.ping_to_reconnect(name, peer.addr);
    }

    /// Whether no other member is live that has answered, and some left.
    fn may_try_left(&self) -> bool {
        self.table.rings.met().is_empty() && !self.reconnects.left.is_empty()
    }

    fn try_left(&mut self) {
        let drawn = self.rng.usize(..self.reconnects.left.len());
        let left = self.reconnects.left.iter().nth(drawn).map(|(name, addr)| (Arc::clone(name), *addr));
        self.reconnects.next_left = self.now + self.jittered(self.config.reconnect_max_delay);
        if let Some((name, addr)) = left {
            self.ping_to_reconnect(name, addr);
        }
    }

    fn ping_to_reconnect(&mut self, name: Arc<str>, addr: SocketAddr) {
        let seq = self.ping(addr, &name, Behind::Updates(Some(Arc::clone(&name))), Priority::Updates);
        self.reconnects.asked = Some((seq, name, addr));
        self.metrics.reconnects_tried += 1;
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
