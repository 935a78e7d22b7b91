//! The member table: who is known, in which standing, and in which order they are probed.
//!
//! Owns the invariants between the table's parts: exactly the live members are in the probe ring, in the
//! address index and in the digest. Decides nothing: the rules are in `claims`.

use std::{
    collections::BTreeSet,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    sync::Arc,
};

use super::{index::Index, suspicion::Suspicion, time::Time};
use crate::wire::{Tags, hash};

/// The standing of a member, as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MemberState {
    /// It answers, or nobody says otherwise.
    Alive,
    /// Some member's probes went unanswered; it may still refute. It counts as live.
    Suspect,
    /// A suspicion ran out without being refuted.
    Failed,
    /// It said good-bye.
    Left,
}

impl MemberState {
    /// Alive or suspect.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Failed => "failed",
            Self::Left => "left",
        })
    }
}

/// Which life of a name, and which word of that life: a later identity supersedes an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Identity {
    /// Start time of this life in milliseconds since 1970, raised above any epoch heard for the name.
    pub epoch: u64,
    /// Raised by the member itself with each refutation and each change of its tags.
    pub incarnation: u64,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.incarnation)
    }
}

/// What a node knows about one member, at one moment. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its unique name.
    pub name: Arc<str>,
    /// Where it is reached, over UDP and TCP.
    pub addr: SocketAddr,
    /// Its standing.
    pub state: MemberState,
    /// What it says about itself.
    pub tags: Tags,
    /// Which life and word this is.
    pub identity: Identity,
}

/// A place in the table. Reused after its member was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MemberId(pub(super) u32);

impl MemberId {
    /// This node itself.
    pub(super) const SELF: MemberId = MemberId(0);

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: Arc<str>,
    pub(super) addr: SocketAddr,
    pub(super) state: MemberState,
    pub(super) tags: Tags,
    pub(super) identity: Identity,
    /// When `state` was entered.
    pub(super) since: Time,
    /// Departed and no longer shown; kept so that old news cannot bring it back.
    pub(super) hidden: bool,
    pub(super) suspicion: Option<Box<Suspicion>>,
    ring_at: u32,
}

impl Record {
    pub(super) fn new(
        name: Arc<str>,
        addr: SocketAddr,
        state: MemberState,
        identity: Identity,
        since: Time,
    ) -> Self {
        let tags = Tags::default();
        Self { name, addr, state, tags, identity, since, hidden: false, suspicion: None, ring_at: 0 }
    }

    pub(super) fn view(&self) -> Member {
        let Self { name, addr, state, tags, identity, .. } = self;
        Member { name: name.clone(), addr: *addr, state: *state, tags: tags.clone(), identity: *identity }
    }

    fn digest(&self) -> u64 {
        if !self.state.is_live() {
            return 0;
        }
        hash::entry(&self.name, self.identity.epoch, self.identity.incarnation)
    }
}

#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Option<Record>>,
    free: Vec<MemberId>,
    /// Every record.
    by_name: Index,
    /// The live members but for ourselves.
    by_addr: Index,
    /// Has taken in a key from the node's seed: nobody can choose names or addresses that collide, and the same seed gives
    /// the same table.
    keyed: DefaultHasher,
    /// The live members but for ourselves; before `cursor` those already probed in this round.
    ring: Vec<MemberId>,
    cursor: usize,
    digest: u64,
    /// The departed members but for ourselves, longest gone first.
    departed: BTreeSet<(Time, MemberId)>,
}

impl Table {
    pub(super) fn new(rng: &mut fastrand::Rng) -> Self {
        let mut table = Self::default();
        table.keyed.write_u128(rng.u128(..));
        table
    }

    fn hash(&self, value: impl Hash) -> u64 {
        let mut hasher = self.keyed.clone();
        value.hash(&mut hasher);
        hasher.finish()
    }

    /// Adds a record under a name that is not in the table.
    pub(super) fn insert(&mut self, record: Record, rng: &mut fastrand::Rng) -> MemberId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            MemberId((self.slots.len() - 1) as u32)
        });
        debug_assert!(self.find(&record.name).is_none(), "{} is already in the table", record.name);
        self.by_name.insert(self.hash(&*record.name), id);
        let (live, since) = (record.state.is_live(), record.since);
        self.digest ^= record.digest();
        self.slots[id.index()] = Some(record);
        if live {
            self.enter_ring(id, rng);
        } else {
            self.departed.insert((since, id));
        }
        id
    }

    /// Changes a record and everything that is derived from it.
    pub(super) fn update(&mut self, id: MemberId, rng: &mut fastrand::Rng, change: impl FnOnce(&mut Record)) {
        let record = self.slots[id.index()].as_mut().expect("an id is valid until it is forgotten");
        let (was_live, old_addr, old_digest) = (record.state.is_live(), record.addr, record.digest());
        self.departed.remove(&(record.since, id));
        change(record);
        let (live, addr) = (record.state.is_live(), record.addr);
        self.digest ^= old_digest ^ record.digest();
        if !live && id != MemberId::SELF {
            self.departed.insert((record.since, id));
        }
        if was_live && live && addr != old_addr {
            self.drop_addr(id, old_addr);
            self.hold_addr(id, addr);
        } else if was_live && !live {
            self.drop_addr(id, old_addr);
            self.exit_ring(id);
        } else if live && !was_live {
            self.enter_ring(id, rng);
        }
    }

    /// Forgets a departed member; its id may be given to another.
    pub(super) fn forget(&mut self, id: MemberId) {
        if let Some(record) = self.slots[id.index()].take_if(|record| !record.state.is_live()) {
            self.by_name.remove(self.hash(&*record.name), id);
            self.departed.remove(&(record.since, id));
            self.free.push(id);
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<MemberId> {
        self.by_name.find(self.hash(name), |id| &*self.get(id).name == name)
    }

    /// The live member that is reached at this address.
    pub(super) fn at_addr(&self, addr: SocketAddr) -> Option<MemberId> {
        self.by_addr.find(self.hash_addr(addr), |id| self.get(id).addr == addr)
    }

    pub(super) fn get(&self, id: MemberId) -> &Record {
        self.slots[id.index()].as_ref().expect("an id is valid until it is forgotten")
    }

    pub(super) fn suspicion_mut(&mut self, id: MemberId) -> Option<&mut Suspicion> {
        self.slots[id.index()].as_mut()?.suspicion.as_deref_mut()
    }

    /// The records from a place on, with the place of each: a walk that may pause between packets.
    pub(super) fn walk(&self, from: usize) -> impl Iterator<Item = (usize, &Record)> {
        let slots = self.slots.get(from..).unwrap_or_default();
        slots.iter().enumerate().filter_map(move |(i, slot)| Some((from + i, slot.as_ref()?)))
    }

    /// The live members but for ourselves, in no particular order.
    pub(super) fn others(&self) -> &[MemberId] {
        &self.ring
    }

    /// Live members, ourselves included.
    pub(super) fn live(&self) -> usize {
        self.ring.len() + 1
    }

    /// Departed members that are remembered.
    pub(super) fn departed(&self) -> usize {
        self.departed.len()
    }

    /// The departed member that is gone for longest.
    pub(super) fn longest_gone(&self) -> Option<MemberId> {
        self.departed.first().map(|(_, id)| *id)
    }

    /// An order-independent hash of the live members and their identities.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// The same for each part of the table: O(n).
    pub(super) fn part_digests(&self) -> [u64; hash::PARTS] {
        let mut digests = [0; hash::PARTS];
        for (_, record) in self.walk(0) {
            digests[hash::part(&record.name)] ^= record.digest();
        }
        digests
    }

    /// The next member to probe (SWIM §4.3): round-robin through a ring that is shuffled on each wrap.
    pub(super) fn next_target(&mut self, rng: &mut fastrand::Rng) -> Option<MemberId> {
        if self.cursor >= self.ring.len() {
            self.cursor = 0;
            rng.shuffle(&mut self.ring);
            for (at, id) in self.ring.iter().enumerate() {
                self.slots[id.index()].as_mut().expect("the ring holds valid ids").ring_at = at as u32;
            }
        }
        let target = self.ring.get(self.cursor).copied()?;
        self.cursor += 1;
        Some(target)
    }

    /// Has a live member probed next, also if it was probed in this round already: then all others come one
    /// round later.
    pub(super) fn probe_next(&mut self, id: MemberId) {
        let at = self.get(id).ring_at as usize;
        if at < self.cursor {
            self.cursor -= 1;
        }
        self.ring.swap(at, self.cursor);
        self.place(at);
        self.place(self.cursor);
    }

    /// Puts a new member at a random place of the ring (SWIM §4.3), so that it is probed within `2n - 1` rounds.
    fn enter_ring(&mut self, id: MemberId, rng: &mut fastrand::Rng) {
        if id == MemberId::SELF {
            return;
        }
        self.hold_addr(id, self.get(id).addr);
        self.ring.push(id);
        let last = self.ring.len() - 1;
        let at = rng.usize(..=last);
        self.ring.swap(at, last);
        self.place(at);
        self.place(last);
    }

    /// Closes the gap without letting anybody be skipped in this round.
    fn exit_ring(&mut self, id: MemberId) {
        if id == MemberId::SELF {
            return;
        }
        let mut gap = self.get(id).ring_at as usize;
        if gap < self.cursor {
            self.cursor -= 1;
            self.ring.swap(gap, self.cursor);
            self.place(gap);
            gap = self.cursor;
        }
        self.ring.swap_remove(gap);
        if gap < self.ring.len() {
            self.place(gap);
        }
    }

    fn place(&mut self, at: usize) {
        let id = self.ring[at];
        self.slots[id.index()].as_mut().expect("the ring holds valid ids").ring_at = at as u32;
    }

    fn hold_addr(&mut self, id: MemberId, addr: SocketAddr) {
        self.by_addr.insert(self.hash_addr(addr), id);
    }

    /// An IPv4 address goes into one word: every datagram's is looked up, and hashing part by part takes twice as long.
    fn hash_addr(&self, addr: SocketAddr) -> u64 {
        match addr {
            SocketAddr::V4(addr) => self.hash(u64::from(addr.ip().to_bits()) << 16 | u64::from(addr.port())),
            SocketAddr::V6(addr) => self.hash(addr),
        }
    }

    fn drop_addr(&mut self, id: MemberId, addr: SocketAddr) {
        self.by_addr.remove(self.hash_addr(addr), id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn addr(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    fn record(i: u16) -> Record {
        let identity = Identity { epoch: 1, incarnation: 0 };
        Record::new(Arc::from(format!("n{i}")), addr(i + 1), MemberState::Alive, identity, Time::ZERO)
    }

    fn table(n: u16, rng: &mut fastrand::Rng) -> Table {
        let mut table = Table::default();
        (0..n).for_each(|i| {
            table.insert(record(i), rng);
        });
        table
    }

    #[test]
    fn every_member_is_probed_at_most_2n_minus_1_rounds_apart() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut table = table(9, &mut rng);
            let (mut largest, mut last) = (9, HashMap::new());
            for round in 0_usize..400 {
                let change = MemberId(rng.u32(1..9));
                let live = table.get(change).state.is_live();
                if rng.u32(..10) == 0 && (!live || table.others().len() > 3) {
                    let state = if live { MemberState::Failed } else { MemberState::Alive };
                    table.update(change, &mut rng, |r| r.state = state);
                    last.remove(&change);
                }
                // Each puts the others off by a round; so many can fall between two probes of one.
                let extra = if seed % 2 == 0 { 0 } else { 2 * largest };
                if extra > 0 && rng.u32(..5) == 0 && table.get(change).state.is_live() {
                    table.probe_next(change);
                }
                largest = largest.max(table.live());
                let target = table.next_target(&mut rng).expect("somebody is live");
                if let Some(before) = last.insert(target, round) {
                    assert!(round - before < 2 * (largest - 1) + extra, "seed {seed}, round {round}");
                }
            }
        }
    }

    #[test]
    fn whoever_is_to_be_probed_next_is_probed_next() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut table = table(20, &mut rng);
        for step in 0..1000 {
            let id = MemberId(rng.u32(1..20));
            table.probe_next(id);
            assert_eq!(table.next_target(&mut rng), Some(id), "step {step}");
            table.next_target(&mut rng);
        }
    }

    #[test]
    fn without_changes_each_round_probes_everybody_once() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut table = table(20, &mut rng);
        for _ in 0..5 {
            let mut seen: Vec<_> = (0..19).map(|_| table.next_target(&mut rng).unwrap()).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 19);
        }
    }

    #[test]
    fn the_ring_the_addresses_and_the_digest_hold_exactly_the_live_members() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut table = table(30, &mut rng);
        for step in 0..5_000 {
            let id = MemberId(rng.u32(1..30));
            let state = *rng.choice(&[MemberState::Alive, MemberState::Suspect, MemberState::Left]).unwrap();
            let (port, bump) = (1 + id.0 as u16 + 100 * rng.u16(..2), rng.u64(..2));
            table.update(id, &mut rng, |r| {
                r.state = state;
                r.addr = addr(port);
                r.identity.incarnation += bump;
            });
            if rng.bool() {
                table.next_target(&mut rng);
            }
            let live: Vec<_> = table.walk(1).filter(|(_, r)| r.state.is_live()).collect();
            assert_eq!(table.others().len(), live.len(), "step {step}");
            assert_eq!(table.by_addr.len(), live.len());
            for (at, r) in &live {
                assert_eq!(table.ring[r.ring_at as usize].index(), *at);
                assert_eq!(table.at_addr(r.addr).map(MemberId::index), Some(*at));
            }
            let digest = table.walk(0).fold(0, |sum, (_, r)| sum ^ r.digest());
            assert_eq!(table.digest(), digest);
        }
    }

    #[test]
    fn a_table_of_one_has_nobody_to_probe() {
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(table(1, &mut rng).next_target(&mut rng), None);
    }

    #[test]
    fn a_live_member_cannot_be_forgotten_and_a_departed_ones_place_is_reused() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut table = table(3, &mut rng);
        table.forget(MemberId(1));
        assert_eq!(table.find("n1"), Some(MemberId(1)));
        table.update(MemberId(1), &mut rng, |r| r.state = MemberState::Left);
        assert_eq!(table.departed(), 1);
        table.forget(MemberId(1));
        assert_eq!(table.find("n1"), None);
        assert_eq!(table.insert(record(9), &mut rng), MemberId(1));
    }
}
