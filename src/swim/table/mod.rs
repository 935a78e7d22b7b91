//! The member table: a record of each known member, and what is derived from all records.
//!
//! Owns the invariants between the table's parts: exactly the live members are in the probe rings, in the
//! address index and in the digest. Decides nothing: the rules are in `claims`.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
};

use siphasher::sip::SipHasher13;

use self::{hosts::Hosts, index::Index, ring::ProbeRings};
use serde::{Deserialize, Serialize};

use super::{
    contact::Contact,
    member::{MemberId, MemberState, Record},
    secret::Tokens,
    suspicion::Suspicion,
    time::Time,
};
use crate::{address::host_of, collections::by_account::ByAccount, wire::hash};

mod hosts;
mod index;
mod ring;

/// A member at its place in the table: no other that has the place later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Occupant {
    id: MemberId,
    before: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Table {
    records: Vec<Option<Record>>,
    /// How many members had each place before and were forgotten.
    before: Vec<u32>,
    free: Vec<MemberId>,
    /// Every record, this node's among them.
    by_name: Index,
    by_mark: Index,
    /// The live members except for this node.
    by_addr: Index,
    /// A hasher keyed by the node's seed: attackers cannot choose names or addresses that collide, and the same seed gives
    /// the same table.
    keyed: SipHasher13,
    /// The same for marks, which are hashes already.
    mark_key: u64,
    /// The tokens that members may show.
    tokens: Tokens,
    /// The live members except for this node, in the order in which they are probed.
    pub(super) rings: ProbeRings,
    /// How many of the live are suspected, and how many of these have answered.
    suspects: usize,
    met_suspects: usize,
    /// How many of the departed are listed still.
    failed: usize,
    left: usize,
    /// The sums of the records' hashes: of the live members, the same for each bucket, and of those that were removed.
    digest: u64,
    bucket_digests: [[u64; 8]; hash::BUCKETS / 8],
    removals_digest: u64,
    /// The departed members, by a hash of the host where each answered last; 0 is of all that never did.
    departed: ByAccount<u32, (Time, MemberId)>,
    hosts: Hosts,
}

impl Table {
    pub(super) fn new(tokens: Tokens, rng: &mut fastrand::Rng) -> Self {
        let mut table = Self { tokens, ..Self::default() };
        table.keyed = SipHasher13::new_with_keys(rng.u64(..), rng.u64(..));
        table.mark_key = table.hash("marks");
        table
    }

    fn hash(&self, value: impl Hash) -> u64 {
        let mut hasher = self.keyed;
        value.hash(&mut hasher);
        hasher.finish()
    }

    /// Adds a record under a name that is not in the table.
    pub(super) fn insert(&mut self, mut record: Record, rng: &mut fastrand::Rng) -> MemberId {
        record.contact = Contact::default().at_new_address(self.tokens.of(&record.name, record.addr));
        let id = self.free.pop().unwrap_or_else(|| {
            self.records.push(None);
            self.before.push(0);
            MemberId((self.records.len() - 1) as u32)
        });
        debug_assert!(self.find(&record.name).is_none(), "{} is already in the table", record.name);
        self.by_name.insert(self.hash(&*record.name), id);
        self.by_mark.insert(self.hash_mark(record.mark), id);
        let live = record.state.is_live();
        self.add_digests(record.bucket, record.digest(), record.removal_digest());
        self.count_suspect(record.state, record.contact.met, 1);
        self.count_listed(record.state, record.tombstone, 1);
        if !live {
            self.departed.insert(record.contact.met_on_host, (record.since, id));
        }
        self.records[id.index()] = Some(record);
        if live {
            self.enter_ring(id, rng);
        }
        id
    }

    /// Changes a record and everything that is derived from it.
    pub(super) fn update(&mut self, id: MemberId, rng: &mut fastrand::Rng, change: impl FnOnce(&mut Record)) {
        let record = self.get(id);
        let was_live = record.state.is_live();
        let (digests, departed) = (
            (record.digest(), record.removal_digest()),
            (!was_live).then_some((record.contact.met_on_host, record.since)),
        );
        let old = (record.addr, record.contact.met, record.contact.met_on_host);
        let (old_state, was_tombstone) = (record.state, record.tombstone);
        self.count_suspect(old_state, old.1, -1);
        self.count_listed(old_state, was_tombstone, -1);
        if let Some((host, since)) = departed {
            self.departed.remove(host, &(since, id));
        }
        change(self.get_mut(id));
        if self.get(id).addr != old.0 {
            let token = self.tokens.of(&self.get(id).name, self.get(id).addr);
            let contact = self.contact_mut(id);
            *contact = contact.at_new_address(token);
        }
        let record = self.get(id);
        let (state, tombstone) = (record.state, record.tombstone);
        let (live, new) =
            (record.state.is_live(), (record.addr, record.contact.met, record.contact.met_on_host));
        let departed = (!live && id != MemberId::SELF).then_some((record.contact.met_on_host, record.since));
        let (bucket, entry, removal) = (record.bucket, record.digest(), record.removal_digest());
        self.add_digests(bucket, digests.0 ^ entry, digests.1 ^ removal);
        self.count_suspect(state, new.1, 1);
        self.count_listed(state, tombstone, 1);
        if let Some((host, since)) = departed {
            self.departed.insert(host, (since, id));
        }
        if was_live && (!live || old != new) {
            self.exit_ring(id, old.0, old.2);
        }
        if live && (!was_live || old != new) {
            self.enter_ring(id, rng);
        }
    }

    /// Forgets a departed member; its id may be given to another.
    pub(super) fn forget(&mut self, id: MemberId) {
        if let Some(record) = self.records[id.index()].take_if(|record| !record.state.is_live()) {
            self.by_name.remove(self.hash(&*record.name), id);
            self.by_mark.remove(self.hash_mark(record.mark), id);
            self.departed.remove(record.contact.met_on_host, &(record.since, id));
            self.count_listed(record.state, record.tombstone, -1);
            self.add_digests(record.bucket, 0, record.removal_digest());
            self.before[id.index()] = self.before[id.index()].wrapping_add(1);
            self.free.push(id);
        }
    }

    /// Adds hashes of a record to the sums, or takes them out again.
    fn add_digests(&mut self, bucket: u8, entry: u64, removal: u64) {
        self.digest ^= entry;
        self.bucket_digests.as_flattened_mut()[usize::from(bucket)] ^= entry;
        self.removals_digest ^= removal;
    }

    fn count_suspect(&mut self, state: MemberState, met: bool, change: isize) {
        let of_met = if met { change } else { 0 };
        for (count, change) in [(&mut self.suspects, change), (&mut self.met_suspects, of_met)] {
            if state == MemberState::Suspect {
                *count = count.checked_add_signed(change).expect("what is taken out was counted");
            }
        }
    }

    fn count_listed(&mut self, state: MemberState, tombstone: bool, change: isize) {
        let count = match state {
            MemberState::Failed if !tombstone => &mut self.failed,
            MemberState::Left if !tombstone => &mut self.left,
            _ => return,
        };
        *count = count.checked_add_signed(change).expect("what is taken out was counted");
    }

    pub(super) fn find(&self, name: &str) -> Option<MemberId> {
        self.by_name.find(self.hash(name), |id| &*self.get(id).name == name)
    }

    /// A record with this mark, other than this node's, for which `is` holds.
    pub(super) fn find_mark(&self, mark: u32, is: impl Fn(&Record) -> bool) -> Option<MemberId> {
        self.by_mark.find(self.hash_mark(mark), |id| {
            id != MemberId::SELF && self.get(id).mark == mark && is(self.get(id))
        })
    }

    /// The same, if there are several then one that was met: names can be made up.
    pub(super) fn find_mark_rather_met(&self, mark: u32, is: impl Fn(&Record) -> bool) -> Option<MemberId> {
        let met = self.find_mark(mark, |record| record.contact.met && is(record));
        met.or_else(|| self.find_mark(mark, is))
    }

    /// The live member of this name.
    pub(super) fn find_live(&self, name: &str) -> Option<MemberId> {
        self.find(name).filter(|id| self.get(*id).state.is_live())
    }

    /// The listed member of this name, in whichever state.
    pub(super) fn find_listed(&self, name: &str) -> Option<MemberId> {
        self.find(name).filter(|id| !self.get(*id).tombstone)
    }

    /// How many records with a name's mark there are for which `is` holds, up to `most`.
    pub(super) fn count_mark(&self, mark: u32, most: usize, is: impl Fn(&Record) -> bool) -> usize {
        let of_mark = |id| self.get(id).mark == mark && is(self.get(id));
        self.by_mark.count(self.hash_mark(mark), most, of_mark)
    }

    /// A live member with this claimed address, among those for which `is` holds: an address can be claimed for any member.
    pub(super) fn find_at(&self, addr: SocketAddr, is: impl Fn(&Record) -> bool) -> Option<MemberId> {
        self.by_addr.find(self.hash_addr(addr), |id| self.get(id).addr == addr && is(self.get(id)))
    }

    #[cfg(test)]
    pub(super) fn at_addr(&self, addr: SocketAddr) -> Option<MemberId> {
        self.find_at(addr, |_| true)
    }

    /// How many live members have this claimed address, up to `most`.
    pub(super) fn count_at_addr(&self, addr: SocketAddr, most: usize) -> usize {
        self.by_addr.count(self.hash_addr(addr), most, |id| self.get(id).addr == addr)
    }

    /// How many live members at an address of this host have not answered yet, up to `most`: O(unmet).
    pub(super) fn count_unmet_on(&self, host: IpAddr, most: usize) -> usize {
        let on_host = |id: &&MemberId| host_of(self.get(**id).addr.ip()) == host;
        self.rings.unmet().iter().filter(on_host).take(most).count()
    }

    pub(super) fn get(&self, id: MemberId) -> &Record {
        self.records[id.index()].as_ref().expect("an id is used only while its record is in the table")
    }

    fn get_mut(&mut self, id: MemberId) -> &mut Record {
        self.records[id.index()].as_mut().expect("an id is used only while its record is in the table")
    }

    pub(super) fn occupant(&self, id: MemberId) -> Occupant {
        Occupant { id, before: self.before[id.index()] }
    }

    /// The id of a member that was at a place, unless it was forgotten meanwhile.
    pub(super) fn find_occupant(&self, Occupant { id, before }: Occupant) -> Option<MemberId> {
        (self.before[id.index()] == before).then_some(id)
    }

    /// Whether an id names a record.
    #[cfg(any(test, feature = "sim", fuzzing))]
    pub(super) fn holds(&self, id: MemberId) -> bool {
        self.records.get(id.index()).is_some_and(Option::is_some)
    }

    pub(super) fn suspicion_mut(&mut self, id: MemberId) -> Option<&mut Suspicion> {
        self.get_mut(id).suspicion.as_deref_mut()
    }

    /// The knowledge of the path to a member, except whether it is met, which [`update`](Self::update) changes.
    pub(super) fn contact_mut(&mut self, id: MemberId) -> &mut Contact {
        &mut self.get_mut(id).contact
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The records from a place on, with the place of each: a walk that may pause between packets.
    pub(super) fn walk(&self, from: usize) -> impl Iterator<Item = (usize, &Record)> {
        let records = self.records.get(from..).unwrap_or_default();
        records.iter().enumerate().filter_map(move |(i, record)| Some((from + i, record.as_ref()?)))
    }

    /// The next member to probe.
    pub(super) fn next_to_probe(&mut self, now: Time, rng: &mut fastrand::Rng) -> Option<MemberId> {
        let Self { rings, records, hosts, .. } = self;
        let first =
            |waiting: &[MemberId]| waiting.iter().copied().min_by_key(order_of_probes(records, waiting));
        let overdue = |met: &[MemberId]| {
            let host = hosts.begin_turn()?;
            let on_host = |id: &&MemberId| contact(records, **id).met_on_host == host;
            met.iter().filter(on_host).min_by_key(|id| contact(records, **id).probed).copied()
        };
        let next = rings.next(now, rng, first, overdue)?;
        let contact = self.contact_mut(next);
        contact.probed = now;
        let host = contact.met_on_host;
        self.hosts.probe(host);
        Some(next)
    }

    /// Makes a member be probed out of its turn, as soon as that may be. One that has never answered becomes the next in its
    /// ring instead: it may be a made-up name, and out-of-turn probes are not for such names.
    pub(super) fn probe_next(&mut self, id: MemberId) {
        let Self { rings, records, .. } = self;
        match records[id.index()].as_ref().is_some_and(|record| record.contact.may_be_made_up()) {
            true => rings.move_up(id),
            false => rings.probe_out_of_turn(id, |waiting| {
                waiting.iter().copied().max_by_key(order_of_probes(records, waiting))
            }),
        }
    }

    /// How many of the live members answered last on a host, by its hash.
    #[cfg(test)]
    pub(super) fn met_on_host(&self, host: u32) -> usize {
        self.hosts.members(host)
    }

    /// How many of the live members answered last on the host where this one did.
    pub(super) fn met_beside(&self, id: MemberId) -> usize {
        self.hosts.members(self.get(id).contact.met_on_host).max(1)
    }

    /// On how many hosts live members answered last.
    pub(super) fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// Live members except for this node.
    pub(super) fn others(&self) -> usize {
        self.rings.len()
    }

    /// One of them, by its number: the met come first.
    pub(super) fn other(&self, at: usize) -> MemberId {
        let met = self.rings.met();
        met.get(at).copied().unwrap_or_else(|| self.rings.unmet()[at - met.len()])
    }

    /// Live members, this node included.
    pub(super) fn live(&self) -> usize {
        self.others() + 1
    }

    /// The size of the cluster for formulas that made-up names must not move: the members that were met and this node, but at
    /// least a sixteenth of the live, as a node that has just started has met few.
    pub(super) fn estimated_size(&self) -> usize {
        (self.rings.met().len() + 1).max(self.live() / 16)
    }

    /// Live members that are not suspected, and so could confirm a suspicion.
    pub(super) fn able(&self) -> usize {
        self.live() - self.suspects
    }

    /// Whether more members that have answered are suspected than not: most of the cluster has vanished, or this node has.
    pub(super) fn most_are_suspected(&self) -> bool {
        2 * self.met_suspects > self.estimated_size()
    }

    /// How many members are listed in this state, this node included.
    pub(super) fn listed(&self, state: MemberState) -> usize {
        match state {
            // This node counts as live, but leaves too.
            MemberState::Alive => self.able() - usize::from(!self.get(MemberId::SELF).state.is_live()),
            MemberState::Suspect => self.suspects,
            MemberState::Failed => self.failed,
            MemberState::Left => self.left,
        }
    }

    /// Departed members that are remembered.
    pub(super) fn departed(&self) -> usize {
        self.departed.len()
    }

    /// The departed member to forget first: one that never answered; if there is none, the one that departed first of the
    /// host with the most.
    pub(super) fn first_to_forget(&self) -> Option<MemberId> {
        self.departed.first_of(0).or_else(|| self.departed.first_of_largest()).map(|(_, id)| *id)
    }

    /// An order-independent hash of the live members, their identities and addresses.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// The same for each bucket of the table.
    pub(super) fn bucket_digests(&self) -> &[u64] {
        self.bucket_digests.as_flattened()
    }

    /// An order-independent hash of the removed members, as long as they are remembered: updates about them pass some nodes by,
    /// and the digest of the live members does not show it.
    pub(super) fn removals_digest(&self) -> u64 {
        self.removals_digest
    }

    /// The digest, those of the buckets, and that of the removed members, summed up again.
    #[cfg(any(test, feature = "sim", fuzzing))]
    pub(super) fn has_right_digests(&self) -> bool {
        let mut fresh = Self::default();
        for (_, record) in self.walk(0) {
            fresh.add_digests(record.bucket, record.digest(), record.removal_digest());
        }
        (self.digest, self.removals_digest) == (fresh.digest, fresh.removals_digest)
            && self.bucket_digests == fresh.bucket_digests
    }

    fn enter_ring(&mut self, id: MemberId, rng: &mut fastrand::Rng) {
        if id != MemberId::SELF {
            let Record { addr, contact, .. } = self.get(id);
            let (addr, Contact { met, met_on_host, probed, .. }) = (*addr, *contact);
            self.by_addr.insert(self.hash_addr(addr), id);
            self.rings.enter(id, met, probed, rng);
            self.hosts.enter(met_on_host);
        }
    }

    /// Takes out a member that was at this address, and answered last on this host.
    fn exit_ring(&mut self, id: MemberId, addr: SocketAddr, met_on_host: u32) {
        if id != MemberId::SELF {
            self.by_addr.remove(self.hash_addr(addr), id);
            self.hosts.exit(met_on_host);
            self.rings.exit(id);
        }
    }

    /// Whether a live member on another host has answered.
    pub(super) fn has_met_elsewhere(&self, host: IpAddr) -> bool {
        let host = self.hash_host(SocketAddr::new(host, 0));
        self.hosts.len() > usize::from(self.hosts.members(host) > 0)
    }

    /// Keyed, so that attackers cannot choose the place of a mark in the index.
    fn hash_mark(&self, mark: u32) -> u64 {
        hash::mix(u64::from(mark) ^ self.mark_key)
    }

    /// A short hash of an address that datagrams come from, never 0.
    pub(super) fn hash_source(&self, source: SocketAddr) -> u32 {
        self.hash_addr(source) as u32 | 1
    }

    /// A short hash of a host, never 0: behind a translator of addresses, each stream has another port.
    pub(super) fn hash_host(&self, addr: SocketAddr) -> u32 {
        self.hash_addr(SocketAddr::new(host_of(addr.ip()), 0)) as u32 | 1
    }

    /// An IPv4 address goes into one word: every datagram's is looked up, and hashing its fields takes twice as long.
    fn hash_addr(&self, addr: SocketAddr) -> u64 {
        match addr {
            SocketAddr::V4(addr) => self.hash(u64::from(addr.ip().to_bits()) << 16 | u64::from(addr.port())),
            SocketAddr::V6(addr) => self.hash(addr),
        }
    }
}

fn contact(records: &[Option<Record>], id: MemberId) -> Contact {
    records[id.index()].as_ref().map(|record| record.contact).unwrap_or_default()
}

/// The order of out-of-turn probes, least first: members that missed the last one or two probes (until they have missed three,
/// others may vouch for them), those of the host with the fewest such members first; then the member that was neither heard from
/// nor probed for longest. So a silent member is delayed neither by members that answer, nor by many names of one host that
/// answer now and then.
fn order_of_probes<'a>(
    records: &'a [Option<Record>],
    waiting: &[MemberId],
) -> impl Fn(&MemberId) -> (bool, usize, Time) + use<'a> {
    let mut pressing = BTreeMap::<u32, usize>::new();
    let contacts = waiting.iter().map(|id| contact(records, *id));
    for contact in contacts.filter(|contact| contact.is_pressing()) {
        *pressing.entry(contact.met_on_host).or_default() += 1;
    }
    move |id| {
        let contact = contact(records, *id);
        let others = if contact.is_pressing() { pressing[&contact.met_on_host] } else { 0 };
        (!contact.is_pressing(), others, contact.last_seen())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc, time::Duration};

    use super::{super::member::Identity, *};

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
                if rng.u32(..10) == 0 && (!live || table.others() > 3) {
                    let state = if live { MemberState::Failed } else { MemberState::Alive };
                    table.update(change, &mut rng, |r| r.state = state);
                    last.remove(&change);
                }
                // Each puts the others off by a round; this many can fall between two probes of one.
                let extra = if seed % 2 == 0 { 0 } else { 2 * largest };
                if extra > 0 && rng.u32(..5) == 0 && table.get(change).state.is_live() {
                    table.rings.probe_out_of_turn(change, |waiting| waiting.last().copied());
                }
                largest = largest.max(table.live());
                let target = table.next_to_probe(Time::ZERO, &mut rng).expect("somebody is live");
                if let Some(before) = last.insert(target, round) {
                    assert!(round - before < 2 * (largest - 1) + extra, "seed {seed}, round {round}");
                }
            }
        }
    }

    #[test]
    fn a_host_with_few_members_is_probed_however_many_another_has() {
        for seed in 0..50 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut table = table(105, &mut rng);
            // n1 to n4 are alone on their hosts.
            let host = |id: MemberId| id.0.min(5);
            for id in (1..105).map(MemberId) {
                let meet = |r: &mut Record| (r.contact.met, r.contact.met_on_host) = (true, host(id));
                table.update(id, &mut rng, meet);
            }
            let (mut last, mut longest) = (HashMap::new(), HashMap::new());
            for round in 0_usize..1000 {
                let now = Time::from_origin(Duration::from_secs(round as u64));
                let target = table.next_to_probe(now, &mut rng).expect("somebody is live");
                let gap = round - last.insert(target, round).unwrap_or_default();
                let longest = longest.entry(host(target)).or_insert(0);
                *longest = gap.max(*longest);
            }
            assert!((1..5).all(|host| longest[&host] <= 15), "seed {seed}: {longest:?}");
            assert!(longest[&5] <= 3 * 105 && last.len() == 104, "seed {seed}: {longest:?}");
        }
    }

    /// The first to be probed out of turn among members of one host that missed so many probes, and were heard from and probed
    /// at these seconds.
    fn first_probed(members: [(u32, u64, u64); 3]) -> u32 {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut table = table(4, &mut rng);
        let at = |secs| Time::from_origin(Duration::from_secs(secs));
        for (id, (missed, heard, probed)) in (1..).map(MemberId).zip(members) {
            table.update(id, &mut rng, |r| (r.contact.met, r.contact.met_on_host) = (true, 1));
            let contact = table.contact_mut(id);
            contact.on_answer(at(heard));
            contact.probed = at(probed);
            (0..missed).for_each(|_| contact.miss());
            table.probe_next(id);
        }
        table.next_to_probe(at(10), &mut rng).expect("somebody is live").0
    }

    #[test]
    fn the_member_neither_heard_from_nor_probed_for_longest_is_probed_first() {
        assert_eq!(first_probed([(0, 5, 1), (0, 1, 9), (0, 3, 3)]), 3);
    }

    #[test]
    fn a_member_that_missed_one_or_two_probes_is_probed_first_and_one_that_missed_three_in_its_turn() {
        let first = [1, 2, 3].map(|missed| first_probed([(0, 1, 1), (missed, 5, 5), (0, 2, 2)]));
        assert_eq!(first, [2, 2, 1]);
    }

    #[test]
    fn the_ring_the_addresses_and_the_digest_hold_exactly_the_live_members() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut table = table(30, &mut rng);
        let host = table.hash_host(addr(1));
        for step in 0..5_000 {
            let id = MemberId(rng.u32(1..30));
            let state = *rng.choice(&[MemberState::Alive, MemberState::Suspect, MemberState::Left]).unwrap();
            let (port, bump) = (1 + id.0 as u16 + 100 * rng.u16(..2), rng.u64(..2));
            table.update(id, &mut rng, |r| {
                r.state = state;
                r.addr = addr(port);
                (r.contact.met, r.contact.met_on_host) =
                    (step % 3 == 0, if step % 3 == 0 { host } else { 0 });
                r.identity.incarnation += bump;
            });
            if rng.bool() {
                table.next_to_probe(Time::ZERO, &mut rng);
            }
            let live: Vec<_> = table.walk(1).filter(|(_, r)| r.state.is_live()).collect();
            assert_eq!(table.others(), live.len(), "step {step}");
            assert_eq!(table.by_addr.len(), live.len());
            for (at, r) in &live {
                assert!(table.rings.holds(MemberId(*at as u32), r.contact.met));
                assert_eq!(table.at_addr(r.addr).map(MemberId::index), Some(*at));
            }
            let unmet = live.iter().filter(|(_, r)| !r.contact.met).count();
            assert_eq!(table.count_unmet_on(addr(1).ip(), 100), unmet);
            let suspects = live.iter().filter(|(_, r)| r.state == MemberState::Suspect);
            let met_suspects = suspects.clone().filter(|(_, r)| r.contact.met).count();
            assert_eq!((table.suspects, table.met_suspects), (suspects.count(), met_suspects));
            let known = live.iter().filter(|(_, r)| r.contact.met_on_host == host).count();
            assert_eq!((table.met_on_host(host), table.hosts()), (known, known.min(1)));
            assert!(!table.has_met_elsewhere(host_of(addr(1).ip())));
            let digest = table.walk(0).fold(0, |sum, (_, r)| sum ^ r.digest());
            assert_eq!(table.digest(), digest);
        }
    }

    #[test]
    fn addresses_and_marks_that_differ_a_little_hash_to_other_places() {
        let table = Table::default();
        let addrs = (0..4).flat_map(|host| (1..=16).map(move |port| ([10, 0, 0, host], port).into()));
        let mut places: Vec<_> = addrs.map(|addr| table.hash_addr(addr)).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 64);
        assert!((0..32).all(|bit| table.hash_mark(1 << bit) != table.hash_mark(0)));
    }

    #[test]
    fn a_table_of_one_has_nobody_to_probe() {
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(table(1, &mut rng).next_to_probe(Time::ZERO, &mut rng), None);
    }

    #[test]
    fn a_live_member_cannot_be_forgotten_and_a_departed_ones_place_is_reused() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut table = table(3, &mut rng);
        table.forget(MemberId(1));
        assert_eq!(table.find("n1"), Some(MemberId(1)));
        table.update(MemberId(1), &mut rng, |r| r.state = MemberState::Left);
        assert_eq!(table.departed(), 1);
        let past = table.occupant(MemberId(1));
        assert_eq!(table.find_occupant(past), Some(MemberId(1)));
        table.forget(MemberId(1));
        assert_eq!(table.find("n1"), None);
        assert_eq!(table.insert(record(9), &mut rng), MemberId(1));
        assert_eq!(table.find_occupant(past), None, "it is not the other, whatever its name and mark");
    }
}
