//! The map of one owner, as one member knows it: Scuttlebutt's rule (van Renesse et al. 2008), as chitchat has it.
//!
//! The owner counts its changes. A node that holds a map knows all changes up to a version, except replaced ones, and
//! perhaps some beyond, which came out of order. A deletion leaves a tombstone. A tombstone that is dropped raises the
//! floor: a node whose version is below the floor may have missed the deletion, so it forgets the map and gets all of it
//! again.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry as Place},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::Part;
use crate::{
    data::{Stamp, shares::Size},
    swim::Time,
    wire::data::{KeyValue, KeyValueDelta, MAX_TOPIC},
};

/// The most keys of one owner.
pub(crate) const MAX_KEYS: usize = 256;
/// The most bytes of one owner's keys and values.
pub(crate) const MAX_MAP: usize = 64 << 10;
/// The most deletions that are remembered; the oldest makes room.
const MAX_TOMBSTONES: usize = 256;
/// A reader holds up to this many times as much as an owner may, since changes come out of order.
const SLACK: usize = 2;

/// How many changes are looked at to estimate the bytes of a delta.
const MAX_LOOKED_AT: usize = 16;

/// The flags of a [`KeyValue`].
pub(super) const DELETED: u8 = 1;
pub(super) const ELSEWHERE: u8 = 2;

/// The value of a key, of one owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// The value that the owner has set.
    pub value: Arc<[u8]>,
    /// The number of this change of the owner, counted from 1 in each life of the owner.
    pub version: u64,
    /// When the owner set it, by the owner's clock. The stamp is greater than every stamp that the owner had received, so a
    /// value that was set because of another counts as later at all members, unless the clock of an owner is more than ten
    /// minutes ahead of the others. A stamp that is further ahead of this node's clock on arrival counts as ten minutes
    /// ahead of that time (`implausible_entries`). Such a value counts as later where it arrived later, so two members may
    /// disagree for good about which of two values is the later one.
    pub stamp: Stamp,
}

/// A key with its value, or its tombstone: a last-writer-wins register, with one writer.
#[derive(Debug, Clone)]
pub(super) struct Register {
    pub(super) entry: Entry,
    /// The stamp that the owner gave it, which this node passes on.
    given: u64,
    /// The version before this one in the owner's map, if the sender knew it.
    previous: Option<u64>,
    /// When this node learned that the key is deleted.
    deleted: Option<Time>,
}

impl Register {
    pub(super) fn new(said: &KeyValue<'_>, now: Time) -> Self {
        let KeyValue { version, stamp, step, .. } = *said;
        let deleted = said.flags & DELETED != 0;
        let value = if deleted { &[] } else { said.value };
        Self {
            entry: Entry { value: value.into(), version, stamp: Stamp(stamp) },
            given: stamp,
            previous: version.checked_sub(step).filter(|_| step > 0),
            deleted: deleted.then_some(now),
        }
    }

    /// Replaces the stamp that this node orders it by.
    pub(super) fn counts_as(mut self, stamp: u64) -> Self {
        self.entry.stamp = Stamp(stamp);
        self
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.deleted.is_some()
    }

    /// Bytes of key and value; a tombstone has none.
    fn size(&self, key: &str) -> usize {
        if self.is_deleted() { 0 } else { key.len() + self.entry.value.len() }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct OwnerMap {
    pub(super) epoch: u64,
    /// All changes up to this version are known, except replaced ones.
    pub(super) version: u64,
    /// The latest change whose tombstone was dropped.
    pub(super) floor: u64,
    registers: BTreeMap<Arc<str>, Register>,
    by_version: BTreeMap<u64, Arc<str>>,
    bytes: usize,
    tombstones: usize,
}

impl OwnerMap {
    pub(super) fn new(epoch: u64) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// The owner's life.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The keys that are not deleted, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
        self.registers
            .iter()
            .filter(|(_, register)| !register.is_deleted())
            .map(|(key, register)| (key, &register.entry))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.registers.get(key).filter(|register| !register.is_deleted()).map(|register| &register.entry)
    }

    pub(super) fn register(&self, key: &str) -> Option<(&Arc<str>, &Register)> {
        self.registers.get_key_value(key)
    }

    /// The number of keys that are not deleted.
    pub(crate) fn len(&self) -> usize {
        self.registers.len() - self.tombstones
    }

    /// The number of keys, deleted ones included, and the bytes of the other keys and their values.
    pub(super) fn size(&self) -> Size {
        (self.registers.len(), self.bytes)
    }

    /// Bytes of the changes above a version, up to [`version`](Self::version), or a bound on them: only a few are looked at.
    pub(super) fn bytes_above(&self, version: u64) -> usize {
        let known =
            self.by_version.range(version.saturating_add(1)..).take_while(|(at, _)| **at <= self.version);
        let size = |key: &Arc<str>| Some(key.len() + self.registers.get(key)?.entry.value.len());
        let mut first = known.map(|(_, key)| size(key).unwrap_or_default());
        let few: usize = if version == 0 { usize::MAX } else { first.by_ref().take(MAX_LOOKED_AT).sum() };
        let all = self.bytes + self.tombstones * MAX_TOPIC;
        if first.next().is_none() { few.min(all) } else { all }
    }

    pub(super) fn has_tombstones(&self) -> bool {
        self.tombstones > 0
    }

    /// The part that would be too large with this value, and its size.
    pub(super) fn excess(&self, key: &str, value: &[u8]) -> Option<(Part, usize)> {
        let old = self.registers.get(key);
        let keys = self.len() + usize::from(old.is_none_or(Register::is_deleted));
        let held = old.map_or(0, |register| register.size(key));
        let bytes = self.bytes - held + key.len() + value.len();
        let sizes = [(Part::Map, bytes, MAX_MAP), (Part::Keys, keys, MAX_KEYS)];
        sizes.into_iter().find(|(_, size, limit)| size > limit).map(|(part, size, _)| (part, size))
    }

    /// The owner sets a key, or deletes it.
    pub(super) fn change(&mut self, key: &str, value: Option<&[u8]>, stamp: u64, now: Time) -> u64 {
        let (version, previous) = (self.version.saturating_add(1), Some(self.version));
        let entry = Entry { value: value.unwrap_or_default().into(), version, stamp: Stamp(stamp) };
        let deleted = value.is_none().then_some(now);
        self.put(key.into(), Register { entry, given: stamp, previous, deleted });
        self.version = version;
        self.drop_surplus();
        version
    }

    /// Another member claims a later version of this node's own map. The count goes on above that version, and all members
    /// get the map again, as if each key had been set again.
    pub(super) fn jump_above(&mut self, version: u64) {
        self.version = version.saturating_add(1);
        self.floor = self.version;
        self.drop_tombstones(|_| true);
        for key in std::mem::take(&mut self.by_version).into_values() {
            let Some(mut register) = self.discard(&key) else { continue };
            register.previous = Some(self.version);
            self.version = self.version.saturating_add(1);
            register.entry.version = self.version;
            self.put(key, register);
        }
    }

    /// Whether a reader may accept that many more keys and bytes.
    pub(super) fn has_room_for(&self, keys: usize, bytes: usize) -> bool {
        self.registers.len() + keys <= SLACK * (MAX_KEYS + MAX_TOMBSTONES)
            && self.bytes + bytes <= SLACK * MAX_MAP
    }

    /// How many keys and bytes a change adds, before anything but the replaced change is dropped.
    pub(super) fn adds(&self, key: &str, register: &Register) -> (usize, usize) {
        let of_key = self.registers.get(key).map(|old| old.size(key));
        let same_version = self.by_version.get(&register.entry.version).filter(|other| ***other != *key);
        let of_version = same_version.and_then(|key| Some(self.registers.get(key)?.size(key)));
        let (keys, bytes) = [of_key, of_version]
            .into_iter()
            .flatten()
            .fold((0, 0), |(keys, bytes): (usize, usize), size| (keys + 1, bytes + size));
        (1_usize.saturating_sub(keys), register.size(key).saturating_sub(bytes))
    }

    /// Whether this version or a newer one of a key is known.
    pub(super) fn knows(&self, key: &str, version: u64) -> bool {
        version <= self.version
            || self.registers.get(key).is_some_and(|register| register.entry.version >= version)
    }

    /// Inserts a change that is not known.
    pub(super) fn insert(&mut self, key: Arc<str>, register: Register) {
        self.put(key, register);
        self.catch_up();
        self.drop_surplus();
    }

    /// The version before this one in the map, if all versions between are known to be replaced.
    fn previous(&self, version: u64) -> Option<u64> {
        let before = self.by_version.range(..version).next_back().map_or(0, |(before, _)| *before);
        (self.floor < version && version <= self.version).then(|| before.max(self.floor))
    }

    /// The message that tells a key's change.
    pub(super) fn tell<'a>(&'a self, owner: &'a str, key: &'a str, register: &'a Register) -> KeyValue<'a> {
        let Entry { version, ref value, .. } = register.entry;
        let step = self.previous(version).map_or(0, |previous| version - previous);
        let flags = if register.is_deleted() { DELETED } else { 0 };
        KeyValue { owner, epoch: self.epoch, version, step, stamp: register.given, flags, key, value }
    }

    /// The first change above a version that is not out of order.
    pub(super) fn next_above(&self, version: u64) -> Option<(&Arc<str>, &Register)> {
        let above = version.checked_add(1)?;
        let (_, key) = self.by_version.range(above..).next().filter(|(next, _)| **next <= self.version)?;
        self.registers.get_key_value(&**key)
    }

    /// Applies a delta of another member, all at once.
    pub(super) fn apply(&mut self, delta: &KeyValueDelta<'_>, changes: Vec<(Arc<str>, Register)>) {
        if delta.version <= self.version {
            return;
        }
        if delta.floor > self.version {
            // The delta is the whole map: a key that is not in it was deleted. A key in it may have come here out of order,
            // in a later version.
            let told: BTreeSet<&Arc<str>> = changes.iter().map(|(key, _)| key).collect();
            let is_gone = |version: &u64, key: &Arc<str>| *version <= delta.version && !told.contains(key);
            let held = self.by_version.iter().filter(|(version, key)| is_gone(version, key));
            let gone: Vec<_> = held.map(|(_, key)| Arc::clone(key)).collect();
            gone.iter().for_each(|key| self.remove(key));
            self.floor = delta.floor;
        }
        for (key, register) in changes {
            // A known change whose key is not held was replaced by a later one.
            let known = self.registers.get(&key).map_or(self.version, |held| held.entry.version);
            if known < register.entry.version {
                self.put(key, register);
            }
        }
        self.version = delta.version;
        if !self.has_room_for(0, 0) {
            // Changes that came out of order make room: if they are true, they come again.
            let above = self.version.saturating_add(1);
            let beyond: Vec<_> = self.by_version.range(above..).map(|(_, key)| Arc::clone(key)).collect();
            beyond.iter().for_each(|key| self.remove(key));
        }
        self.catch_up();
        self.drop_surplus();
    }

    /// Drops tombstones that are older than `after`.
    pub(super) fn forget_deleted(&mut self, now: Time, after: Duration) {
        self.drop_tombstones(|deleted| now.since(deleted) >= after);
    }

    /// Changes that came out of order may be in order now.
    fn catch_up(&mut self) {
        let mut version = self.version;
        for key in self.by_version.range(version.saturating_add(1)..).map(|(_, key)| key) {
            match self.registers.get(key).map(|register| (register.previous, register.entry.version)) {
                Some((Some(previous), next)) if previous <= version => version = next,
                _ => break,
            }
        }
        self.version = version;
    }

    /// The floor rises past a dropped tombstone, so a tombstone that is out of order stays.
    fn drop_tombstones(&mut self, mut is_over: impl FnMut(Time) -> bool) {
        let known = self.version;
        let gone = self.registers.iter().filter(|(_, register)| register.entry.version <= known);
        let gone = gone.filter(|(_, register)| register.deleted.is_some_and(&mut is_over));
        let gone: Vec<_> = gone.map(|(key, register)| (Arc::clone(key), register.entry.version)).collect();
        for (key, version) in gone {
            self.remove(&key);
            self.floor = self.floor.max(version);
        }
    }

    fn drop_surplus(&mut self) {
        while self.tombstones > MAX_TOMBSTONES {
            let is_tombstone = |key: &Arc<str>| self.registers.get(key).is_some_and(Register::is_deleted);
            let oldest = self.by_version.iter().find(|(_, key)| is_tombstone(key));
            let Some((version, key)) = oldest.map(|(version, key)| (*version, Arc::clone(key))) else {
                return;
            };
            if version > self.version {
                return;
            }
            self.remove(&key);
            self.floor = self.floor.max(version);
        }
    }

    /// Checks the sums over the keys.
    #[cfg(any(test, fuzzing))]
    pub(super) fn audit(&self) -> Result<(), String> {
        let bytes: usize = self.registers.iter().map(|(key, register)| register.size(key)).sum();
        let tombstones = self.registers.values().filter(|register| register.is_deleted()).count();
        let is_listed = |(key, register): (&Arc<str>, &Register)| {
            self.by_version.get(&register.entry.version) == Some(key)
        };
        let is_whole = self.by_version.len() == self.registers.len() && self.registers.iter().all(is_listed);
        match () {
            () if !is_whole || (bytes, tombstones) != (self.bytes, self.tombstones) => {
                Err("a map does not know its own keys".into())
            }
            () if !self.has_room_for(0, 0) => {
                Err(format!("{} keys, {bytes} bytes of one map", self.registers.len()))
            }
            () => Ok(()),
        }
    }

    fn put(&mut self, key: Arc<str>, register: Register) {
        self.remove(&key);
        self.tombstones += usize::from(register.is_deleted());
        self.bytes += register.size(&key);
        // Of two keys that claim one version the later one counts: no honest owner sends such a pair.
        if let Some(other) = self.by_version.insert(register.entry.version, Arc::clone(&key)) {
            self.discard(&other);
        }
        self.registers.insert(key, register);
    }

    fn remove(&mut self, key: &Arc<str>) {
        if let Some(register) = self.discard(key) {
            self.by_version.remove(&register.entry.version);
        }
    }

    fn discard(&mut self, key: &Arc<str>) -> Option<Register> {
        let Place::Occupied(place) = self.registers.entry(Arc::clone(key)) else { return None };
        let register = place.remove();
        self.tombstones -= usize::from(register.is_deleted());
        self.bytes -= register.size(key);
        Some(register)
    }
}
