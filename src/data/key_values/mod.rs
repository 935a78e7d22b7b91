//! Key–values: a small map that each member owns. Only the owner writes, everybody reads.
//!
//! Changes spread as updates do ([`queue`]), in the room that updates leave; a value that is too long for a datagram is
//! announced, and receivers fetch it from the member that announced it ([`announced`]). A member that missed changes gets them
//! in a [sync](super::sync): the digest behind an ack covers the version of each live owner's map ([`exchange`]). A member may
//! claim anything about another's map, but within the bounds of a [`map`], and the owner can supersede the claim. [`room`]
//! bounds all maps together.

mod announced;
mod exchange;
mod map;
mod queue;
mod room;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(super) use exchange::Exchange;
pub use map::Entry;
pub(crate) use map::{MAX_KEYS, MAX_MAP, OwnerMap};

use self::{
    announced::Announced,
    map::{DELETED, ELSEWHERE, Register},
    queue::Waiting,
};
use super::{
    rate::{Bucket, Rate},
    shares::{Shares, Size},
    stamp::Stamps,
};
use crate::{
    collections::sorted::{Place, SortedMap},
    swim::{Account, Event, Life, Metrics, Node, Time},
    wire::{
        data::{KeyValue, MAX_SMALL, MAX_TOPIC, MAX_VALUE, is_topic},
        hash::BUCKETS,
        packet::Writer,
    },
};

/// Changes per second of a node's own map, on average, and those that may come at once.
const CHANGES: Rate = (10, 64);
/// The most bytes of all owners' keys and values; an account may hold no more than what is free.
const MAX_ENTRIES: usize = 64 << 20;
/// The most keys of all owners, deleted ones included; an account may hold no more than what is free.
const MAX_REGISTERS: usize = 1 << 20;
/// The highest version that is believed from anybody but the owner. An owner can go on above it.
const HIGHEST_VERSION: u64 = 1 << 62;
/// Or this far above the known version of the map.
const AHEAD: u64 = 1 << 20;
/// How far above its version an owner follows a claim of others. They may have believed some hundred claims, each `AHEAD` of
/// the last, that the owner missed; and an owner cannot use up its versions in one life.
const OWNER_AHEAD: u64 = AHEAD << 8;

/// The maps of all owners at one moment. A copy shares everything.
pub(crate) type Owners = SortedMap<Arc<str>, Owned>;

/// An owner's map, and its share of the digest.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    pub(crate) map: Arc<OwnerMap>,
    is_live: bool,
    share: u64,
    account: Option<Account>,
    /// The version up to which changes were refused for want of room; 0 if none was.
    refused: u64,
}

impl Owned {
    /// The version up to which no member needs to send changes: they are known, or were refused.
    fn known(&self) -> u64 {
        self.map.version.max(self.refused)
    }

    fn knows(&self, said: &KeyValue<'_>) -> bool {
        said.version <= self.refused || self.map.knows(said.key, said.version)
    }
}

/// Why a change was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotSet {
    /// The key is empty, or has characters that keys may not have.
    BadKey,
    /// The part that is too large, and its size.
    TooLarge(Part, usize),
    /// Too many recent changes.
    Busy,
}

/// The part that a limit applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
    Keys,
    Map,
}

#[derive(Debug)]
pub(crate) struct KeyValues {
    own: Arc<str>,
    owners: Owners,
    /// Counts the changes of `owners`.
    generation: u64,
    /// The digest of the maps of live owners, in total and by bucket.
    digest: u64,
    buckets: [u64; BUCKETS],
    /// The keys of all maps, deleted ones included, and their bytes; and the most of both.
    shares: Shares,
    most: Size,
    /// The sizes when a change was refused, and how often there was room again since the start.
    short_at: Option<Size>,
    retries: u64,
    /// When owners that have not answered are next checked for an account of their own.
    next_count: Time,
    stamps: Stamps,
    rate: Bucket,
    waiting: Waiting,
    /// Since when changes wait to be sent.
    unsettled: Option<Time>,
    announced: Announced,
    /// The member from which to fetch an announced value.
    fetch: Option<Life>,
    /// An owner to ask, since others claim versions of its map that only the owner is believed about.
    to_ask: Option<Life>,
    /// When tombstones are next checked for their age.
    sweep: Option<Time>,
    counted: Counted,
}

#[derive(Debug, Default)]
struct Counted {
    refused: u64,
    implausible: u64,
    unqueued: u64,
    /// How many maps were copied to find out their size.
    #[cfg(test)]
    copied: u64,
}

impl KeyValues {
    pub(super) fn new(node: &Node, stamps: Stamps) -> Self {
        Self {
            own: node.own_life().name,
            owners: Owners::default(),
            generation: 0,
            digest: 0,
            buckets: [0; BUCKETS],
            shares: Shares::default(),
            most: (MAX_REGISTERS, MAX_ENTRIES),
            short_at: None,
            retries: 0,
            next_count: Time::ZERO,
            stamps,
            rate: Bucket::default(),
            waiting: Waiting::default(),
            unsettled: None,
            announced: Announced::default(),
            fetch: None,
            to_ask: None,
            sweep: None,
            counted: Counted::default(),
        }
    }

    /// Sets a key of this node's own map, or deletes it; returns the version, or `None` if there was nothing to delete.
    pub(super) fn change(
        &mut self,
        now: Time,
        node: &Node,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<Option<u64>, NotSet> {
        let size = value.map_or(0, <[u8]>::len);
        for (part, size, limit) in [(Part::Key, key.len(), MAX_TOPIC), (Part::Value, size, MAX_VALUE)] {
            if size > limit {
                return Err(NotSet::TooLarge(part, size));
            }
        }
        if !is_topic(key) {
            return Err(NotSet::BadKey);
        }
        let nothing = OwnerMap::default();
        let known = self.map(&self.own).unwrap_or(&nothing);
        if value.is_none() && known.get(key).is_none() {
            return Ok(None);
        }
        if let Some((part, size)) = value.and_then(|value| known.excess(key, value)) {
            return Err(NotSet::TooLarge(part, size));
        }
        if !self.rate.take(now, CHANGES) {
            return Err(NotSet::Busy);
        }
        let stamp = self.stamps.next(now);
        let Life { name, epoch } = node.own_life();
        self.ensure(&name, epoch, true, None);
        let version = self.alter(&name, |map| map.change(key, value, stamp, now)).unwrap_or_default();
        self.plan_sweep(now, node, value.is_none());
        self.spread(now, &name, key);
        Ok(Some(version))
    }

    /// The maps of all owners, and a number that counts their changes.
    pub(super) fn view(&self) -> (u64, &Owners) {
        (self.generation, &self.owners)
    }

    /// Whether something waits to be sent by datagram.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The digest, or 0 while changes are on their way and maps are bound to differ; if that lasts too long, the digest all
    /// the same.
    pub(super) fn settled_digest(&self, now: Time, node: &Node) -> u64 {
        let lasts = |since| now.since(since) > node.config().probe_interval;
        if self.unsettled.is_none_or(lasts) { self.digest } else { 0 }
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// The member from which to fetch an announced value, if a sync with it may begin.
    pub(super) fn poll_fetch(&mut self, may_begin: impl Fn(&Life) -> bool) -> Option<Life> {
        self.fetch.take_if(|with| may_begin(with))
    }

    /// The owner to ask, since others claim versions that only the owner is believed about.
    pub(super) fn take_to_ask(&mut self) -> Option<Life> {
        self.to_ask.take()
    }

    /// Adds changes to a packet for a member. A change is done after `limit` transmissions, if this packet counts as one.
    pub(super) fn fill(&mut self, node: &Node, to: &Life, limit: Option<u32>, packet: &mut Writer<'_>) {
        let Self { waiting, owners, .. } = self;
        // Of two members, the other one has its own keys.
        let nobody_lacks_it = node.live() <= 2;
        waiting.draw(limit, packet.room(), |owner, key| {
            let register = find(owners, owner).and_then(|owned| Some((&owned.map, owned.map.register(key)?)));
            // The key is gone, or the map is of another life: the entry runs out.
            let Some((map, (key, register))) = register else { return Some(packet.room()) };
            let mut said = map.tell(owner, key, register);
            if said.value.len() > MAX_SMALL {
                (said.flags, said.value) = (said.flags | ELSEWHERE, &[]);
            }
            // The recipient owns the key and knows the change, unless it is forged: it is ahead of all known versions.
            let is_told = *owner != *to.name || said.version > map.version;
            let is_done = if is_told { packet.message(&said) } else { nobody_lacks_it };
            is_done.then(|| packet.room())
        });
        self.note_unsettled(node.now());
    }

    /// Processes a change that a member sends in a datagram.
    pub(super) fn on_change(&mut self, now: Time, node: &Node, from: &Life, said: &KeyValue<'_>) {
        let listed = node.listed_life(said.owner).filter(|(epoch, _)| *epoch == said.epoch);
        if self.defend_own(node, said.owner, said.epoch, said.version)
            || !self.may_apply(node, said.owner, said.epoch)
            || self.owned(said.owner, said.epoch).is_some_and(|owned| owned.knows(said))
            || !self.check_plausible(said.owner, said.epoch, said.version, &*from.name == said.owner)
            || self.refuses(said.owner, said.epoch, said.version)
        {
            return;
        }
        if said.flags & ELSEWHERE != 0 {
            let (account, key) =
                (node.account_of_said(said.owner), (self.name_of(said.owner), said.key.into()));
            let by = node.account_of_said(&from.name);
            if self.announced.add(now, key, account, by, said.version) {
                self.fetch = Some(from.clone());
            }
            return;
        }
        let owner = self.name_of(said.owner);
        let is_live = listed.is_some_and(|(_, is_live)| is_live);
        self.ensure(&owner, said.epoch, is_live, node.account_of_said(&owner));
        let register = self.register_of(now, said);
        if self.insert(&owner, said.key.into(), register) {
            self.announced.came(&(Arc::clone(&owner), said.key.into()), said.version);
            self.plan_sweep(now, node, said.flags & DELETED != 0);
            self.spread(now, &owner, said.key);
        }
    }

    /// A change as it was received, with the stamp that this node orders it by.
    fn register_of(&mut self, now: Time, said: &KeyValue<'_>) -> Register {
        let counts = self.stamps.on_stamp(now, said.stamp);
        self.counted.implausible += u64::from(counts < said.stamp);
        Register::new(said, now).counts_as(counts)
    }

    /// Follows the events of members.
    pub(super) fn on_event(&mut self, event: &Event) {
        let Some(member) = event.member() else { return };
        let Some(owned) = find(&self.owners, &member.name) else { return };
        let is_own = member.name == self.own;
        let is_over = matches!(event, Event::Reaped { .. }) || owned.map.epoch < member.identity.epoch;
        if is_over && !is_own {
            self.remove(&member.name);
        } else if member.identity.epoch == owned.map.epoch {
            self.set_live(&member.name, member.state.is_live());
        }
    }

    /// Runs work that is due.
    pub(super) fn settle(&mut self, now: Time, node: &Node) {
        for ((owner, key), version) in self.announced.take_expired(now) {
            let is_known = self.map(&owner).is_some_and(|map| map.knows(&key, version));
            self.counted.implausible += u64::from(!is_known && node.listed_life(&owner).is_some());
        }
        if self.owners.len() == 0 && self.waiting.is_empty() && self.sweep.is_none() {
            return;
        }
        self.count_anew(now, node);
        let own = node.own_life();
        if self.map(&own.name).is_some_and(|map| map.epoch != own.epoch) {
            self.alter(&own.name, |map| map.epoch = own.epoch);
        }
        if node.live() == 1 {
            self.waiting.clear();
        }
        self.note_unsettled(now);
        if self.sweep.is_some_and(|at| at <= now) {
            self.forget_deleted(now, node);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.sweep
    }

    pub(super) fn add_to(&self, metrics: &mut Metrics) {
        metrics.entries += self.owners.iter().map(|(_, owned)| owned.map.len() as u64).sum::<u64>();
        metrics.entry_bytes += self.bytes() as u64;
        metrics.queued_entries += self.waiting.len() as u64;
        metrics.refused_entries += self.counted.refused;
        metrics.implausible_entries += self.counted.implausible;
        metrics.unqueued_entries += self.counted.unqueued;
    }

    fn map(&self, owner: &str) -> Option<&OwnerMap> {
        find(&self.owners, owner).map(|owned| &*owned.map)
    }

    /// The map of an owner, if it is of this life.
    fn map_of(&self, owner: &str, epoch: u64) -> Option<&OwnerMap> {
        self.owned(owner, epoch).map(|owned| &*owned.map)
    }

    fn owned(&self, owner: &str, epoch: u64) -> Option<&Owned> {
        find(&self.owners, owner).filter(|owned| owned.map.epoch == epoch)
    }

    /// The shared copy of a name in memory, if there is one.
    fn name_of(&self, owner: &str) -> Arc<str> {
        place_of(&self.owners, owner)
            .map_or_else(|| owner.into(), |place| Arc::clone(self.owners.at(place).0))
    }

    /// Returns whether a claim is about this node's own life, where only this node writes. If the claimed version is beyond
    /// the present one, the count goes on above the claim, so that all members believe this node again.
    fn defend_own(&mut self, node: &Node, owner: &str, epoch: u64, version: u64) -> bool {
        if *owner != *self.own {
            return false;
        }
        let own = node.own_life();
        let known = self.map(owner).map_or(0, |map| map.version);
        let highest = HIGHEST_VERSION.max(known.saturating_add(OWNER_AHEAD)).min(u64::MAX - AHEAD);
        if epoch == own.epoch && version > known && version <= highest {
            self.ensure(&own.name, epoch, true, None);
            self.alter(&own.name, |map| map.jump_above(version));
        }
        true
    }

    /// Whether changes of an owner's life count: it is listed, or later than the life of the map, which is then over.
    fn may_apply(&self, node: &Node, owner: &str, epoch: u64) -> bool {
        node.listed_life(owner).is_some_and(|(listed, _)| listed == epoch)
            && self.map(owner).is_none_or(|map| map.epoch <= epoch)
    }

    /// Returns whether a version is believed, and counts it if not. A version above the bound is believed only from the
    /// owner, or close to the known version.
    fn check_plausible(&mut self, owner: &str, epoch: u64, version: u64, by_owner: bool) -> bool {
        let known = self.map_of(owner, epoch).map_or(0, |map| map.version);
        let highest = if by_owner { u64::MAX - 1 } else { HIGHEST_VERSION.max(known.saturating_add(AHEAD)) };
        if version > highest && !by_owner {
            self.to_ask = Some(Life { name: self.name_of(owner), epoch });
        }
        let plausible = 0 < version && version <= highest;
        self.counted.implausible += u64::from(!plausible);
        plausible
    }

    /// Queues a change for others.
    fn spread(&mut self, now: Time, owner: &Arc<str>, key: &str) {
        let Some(owned) = find(&self.owners, owner) else { return };
        let Some((key, _)) = owned.map.register(key) else { return };
        if !self.waiting.push(owner, key, owned.account) {
            self.counted.unqueued += 1;
        }
        self.note_unsettled(now);
    }

    fn note_unsettled(&mut self, now: Time) {
        self.unsettled = if self.waiting.is_empty() { None } else { self.unsettled.or(Some(now)) };
    }

    /// While there are tombstones, they are checked sixteen times within the time for which they are kept.
    fn plan_sweep(&mut self, now: Time, node: &Node, has_tombstones: bool) {
        if has_tombstones && self.sweep.is_none() {
            self.sweep = Some(now + node.config().forget_after / 16);
        }
    }

    fn forget_deleted(&mut self, now: Time, node: &Node) {
        self.sweep = None;
        let with = self.owners.iter().filter(|(_, owned)| owned.map.has_tombstones());
        let names: Vec<_> = with.map(|(name, _)| Arc::clone(name)).collect();
        for name in &names {
            self.alter(name, |map| map.forget_deleted(now, node.config().forget_after));
        }
        let is_left = |name: &Arc<str>| self.map(name).is_some_and(OwnerMap::has_tombstones);
        let has_tombstones = names.iter().any(is_left);
        self.plan_sweep(now, node, has_tombstones);
    }
}

/// An owner's map.
pub(crate) fn find<'a>(owners: &'a Owners, owner: &str) -> Option<&'a Owned> {
    Some(owners.at(place_of(owners, owner)?).1)
}

fn place_of(owners: &Owners, owner: &str) -> Option<Place> {
    owners.find_by(|known| (**known).cmp(owner)).ok()
}
