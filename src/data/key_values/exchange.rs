//! Key–values in a [sync](crate::data::sync): each side sends the digests of all buckets, then the heads of maps in buckets
//! that differ, then the changes that the other side lacks. Accounts take turns, each with its smallest changes first, so
//! that the maps of one account do not keep those of others waiting.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    KeyValues, Owned, OwnerMap, find,
    map::{ELSEWHERE, MAX_KEYS, MAX_MAP, Register},
};
use crate::{
    swim::{Account, Node, Time},
    wire::{
        data::{DataMessage, KeyValue, KeyValueBuckets, KeyValueDelta, KeyValueHead},
        hash::{self, BUCKETS},
        packet::Writer,
    },
};

/// Once this many bytes of changes are sent, a side begins no further map in an exchange; the rest is for the next.
const MAX_TOLD: usize = 4 << 20;
/// Changes in a delta, tombstones among them, and their bytes.
const MAX_CHANGES: usize = 4 * MAX_KEYS;
const MAX_DELTA: usize = 2 * MAX_MAP;

/// The key–values part of one stream.
#[derive(Debug, Default)]
pub(in crate::data) struct Exchange {
    /// The other side's digests by bucket, once it has sent them.
    theirs: Option<[u64; BUCKETS]>,
    /// Epoch and version of the maps that the other side knows.
    heads: BTreeMap<Arc<str>, (u64, u64)>,
    /// What this side still has to send in this turn.
    plan: VecDeque<Say>,
    told: usize,
    /// The value of [`KeyValues`]' `retries` when this side sent its heads.
    retries: u64,
    /// The delta that the other side is sending.
    delta: Option<Delta>,
}

#[derive(Debug)]
enum Say {
    Buckets(Box<[u64; BUCKETS]>),
    Head(Arc<str>, (u64, u64)),
    /// The changes of a map above a version, as of the beginning of the turn, and their bytes; `begun` once the delta is
    /// announced.
    Delta {
        owner: Arc<str>,
        map: Arc<OwnerMap>,
        above: u64,
        bytes: usize,
        begun: bool,
    },
}

#[derive(Debug)]
struct Delta {
    owner: Arc<str>,
    epoch: u64,
    version: u64,
    floor: u64,
    changes: Vec<(Arc<str>, Register)>,
    bytes: usize,
}

impl KeyValues {
    /// Plans one of the four turns. `anew`: the other side knows nothing yet.
    pub(in crate::data) fn begin_turn(&self, exchange: &mut Exchange, turn: u8, anew: bool) {
        (exchange.told, exchange.retries) = (0, self.retries);
        let plan = &mut exchange.plan;
        plan.clear();
        if turn < 2 {
            plan.push_back(Say::Buckets(Box::new(self.buckets)));
        }
        let Some(theirs) = exchange.theirs else { return };
        let differs = |owner: &str| anew || theirs[hash::bucket(owner)] != self.buckets[hash::bucket(owner)];
        // Maps of departed owners go to newcomers only.
        let told = self.owners.iter().filter(|(owner, owned)| (anew || owned.is_live) && differs(owner));
        let told: Vec<_> = told.collect();
        if turn == 1 || turn == 2 {
            let known = told.iter().filter(|(_, owned)| owned.known() > 0);
            plan.extend(known.map(|(owner, owned)| {
                let head = (owned.map.epoch, owned.known());
                Say::Head(Arc::clone(owner), head)
            }));
        }
        if turn >= 2 {
            let held = told.into_iter().filter(|(_, owned)| owned.map.version > 0);
            let lacking = held.filter_map(|(owner, Owned { map, account, .. })| {
                let above = lacks(exchange.heads.get(owner).copied(), map)?;
                let (owner, map, bytes) = (Arc::clone(owner), Arc::clone(map), map.bytes_above(above));
                Some((*account, Say::Delta { owner, map, above, bytes, begun: false }))
            });
            plan.extend(in_turns(lacking.collect()));
        }
    }

    /// Writes what this turn still has to send. Returns whether that was all.
    pub(in crate::data) fn say(exchange: &mut Exchange, packet: &mut Writer<'_>) -> bool {
        while let Some(next) = exchange.plan.front_mut() {
            if next.is_new() && exchange.told >= MAX_TOLD {
                exchange.plan.clear();
                break;
            }
            let (before, counts) = (packet.len(), next.bytes() > 0);
            let is_all = next.write(packet);
            exchange.told += if counts { packet.len() - before } else { 0 };
            if !is_all {
                return false;
            }
            exchange.plan.pop_front();
        }
        true
    }

    /// Processes a section of the other side. Returns whether the section is about key–values.
    pub(in crate::data) fn on_section(
        &mut self,
        now: Time,
        node: &Node,
        exchange: &mut Exchange,
        from: &str,
        message: &DataMessage<'_>,
    ) -> bool {
        match message {
            DataMessage::KeyValueBuckets(said) => exchange.theirs = buckets_of(said),
            DataMessage::KeyValueHead(said) => {
                if !self.defend_own(node, said.owner, said.epoch, said.version)
                    && node.listed_life(said.owner).is_some()
                {
                    exchange.heads.insert(self.name_of(said.owner), (said.epoch, said.version));
                }
            }
            DataMessage::KeyValueDelta(said) => {
                self.end_turn(now, node, exchange);
                // If the map was refused when its head was sent, this delta lacks the beginning.
                let anew = exchange.retries != self.retries;
                exchange.delta = if anew { None } else { self.begin_delta(node, from, said) };
            }
            DataMessage::KeyValue(said) => {
                if let Some(delta) = &mut exchange.delta {
                    let register = self.register_of(now, said);
                    if !delta.take(said, register) {
                        self.counted.refused += 1;
                        exchange.delta = None;
                    }
                }
            }
            _ => return false,
        }
        true
    }

    /// Whether the other side still knows more than this node.
    pub(in crate::data) fn is_behind(&self, node: &Node, exchange: &Exchange) -> bool {
        exchange.heads.iter().any(|(owner, (epoch, version))| {
            let known = find(&self.owners, owner).map_or((0, 0), |owned| (owned.map.epoch, owned.known()));
            known < (*epoch, *version) && self.may_apply(node, owner, *epoch)
        })
    }

    fn begin_delta(&mut self, node: &Node, from: &str, said: &KeyValueDelta<'_>) -> Option<Delta> {
        let KeyValueDelta { owner, epoch, version, floor } = *said;
        let known = self.owned(owner, epoch).map_or(0, Owned::known);
        if self.defend_own(node, owner, epoch, version)
            || version <= known
            || floor > version
            || !self.may_apply(node, owner, epoch)
            || !self.check_plausible(owner, epoch, version, *from == *owner)
            || self.refuses(owner, epoch, version)
        {
            return None;
        }
        Some(Delta { owner: self.name_of(owner), epoch, version, floor, changes: Vec::new(), bytes: 0 })
    }

    /// The other side has said all of a map, or of its turn.
    pub(in crate::data) fn end_turn(&mut self, now: Time, node: &Node, exchange: &mut Exchange) {
        let Some(Delta { owner, epoch, version, floor, changes, bytes }) = exchange.delta.take() else {
            return;
        };
        // The owner may have departed meanwhile.
        let Some((_, is_live)) = node.listed_life(&owner).filter(|_| self.may_apply(node, &owner, epoch))
        else {
            return;
        };
        let keys: Vec<_> =
            changes.iter().map(|(key, register)| (Arc::clone(key), register.entry.version)).collect();
        let deletes = changes.iter().any(|(_, register)| register.is_deleted());
        self.ensure(&owner, epoch, is_live, node.account_of_said(&owner));
        let delta = KeyValueDelta { owner: &owner, epoch, version, floor };
        if !self.grow(&owner, version, (changes.len(), bytes), |map| map.apply(&delta, changes)) {
            return;
        }
        self.plan_sweep(now, node, deletes);
        for (key, version) in keys {
            if self.announced.came(&(Arc::clone(&owner), (*key).into()), version) {
                self.spread(now, &owner, &key);
            }
        }
    }
}

impl Say {
    /// Bytes of a delta's keys and values, for deletions of the keys.
    fn bytes(&self) -> usize {
        match self {
            Self::Delta { bytes, .. } => *bytes,
            _ => 0,
        }
    }

    /// Whether this is a delta that was not begun.
    fn is_new(&self) -> bool {
        matches!(self, Self::Delta { begun: false, .. })
    }

    /// Writes as much as fits. Returns whether that was all.
    fn write(&mut self, packet: &mut Writer<'_>) -> bool {
        match self {
            Self::Buckets(digests) => {
                let digests = digests.map(u64::to_le_bytes);
                packet.message(&KeyValueBuckets { digests: digests.as_flattened() })
            }
            Self::Head(owner, (epoch, version)) => {
                packet.message(&KeyValueHead { owner, epoch: *epoch, version: *version })
            }
            Self::Delta { owner, map, above, begun, .. } => {
                let OwnerMap { epoch, version, floor, .. } = **map;
                *begun = *begun || packet.message(&KeyValueDelta { owner, epoch, version, floor });
                if !*begun {
                    return false;
                }
                while let Some((key, register)) = map.next_above(*above) {
                    if !packet.message(&map.tell(owner, key, register)) {
                        return false;
                    }
                    *above = register.entry.version;
                }
                true
            }
        }
    }
}

impl Delta {
    /// Takes in a change, if it belongs to the delta and is within the bounds.
    fn take(&mut self, said: &KeyValue<'_>, register: Register) -> bool {
        self.bytes += said.key.len() + said.value.len();
        let fits = self.changes.len() < MAX_CHANGES && self.bytes <= MAX_DELTA;
        let is_of_map =
            *said.owner == *self.owner && said.epoch == self.epoch && said.version <= self.version;
        let taken = fits && is_of_map && said.version > 0 && said.flags & ELSEWHERE == 0;
        if taken {
            self.changes.push((said.key.into(), register));
        }
        taken
    }
}

/// Orders deltas: the smallest of each account, then the next of each, and so on. In each round this node's own comes first.
fn in_turns(mut deltas: Vec<(Option<Account>, Say)>) -> impl Iterator<Item = Say> {
    deltas.sort_by_key(|(_, say)| say.bytes());
    let mut turns = BTreeMap::new();
    let mut ordered: Vec<_> = deltas
        .into_iter()
        .map(|(account, say)| {
            let turn = turns.entry(account).or_insert(0_usize);
            *turn += 1;
            ((*turn, account.is_some()), say)
        })
        .collect();
    ordered.sort_by_key(|(turn, _)| *turn);
    ordered.into_iter().map(|(_, say)| say)
}

/// The version above which a member that knows a map up to this epoch and version lacks changes; `None` if it lacks none.
fn lacks(head: Option<(u64, u64)>, map: &OwnerMap) -> Option<u64> {
    match head {
        Some((epoch, version)) if epoch == map.epoch => {
            let above = if version < map.floor { 0 } else { version };
            (version < map.version).then_some(above)
        }
        Some((epoch, _)) => (epoch < map.epoch).then_some(0),
        None => Some(0),
    }
}

fn buckets_of(said: &KeyValueBuckets<'_>) -> Option<[u64; BUCKETS]> {
    let (digests, rest) = said.digests.as_chunks::<8>();
    let digests: [[u8; 8]; BUCKETS] = digests.try_into().ok()?;
    rest.is_empty().then(|| digests.map(u64::from_le_bytes))
}
