//! Key–values for programs: snapshots, and watches that report what has changed since.
//!
//! A watch holds two snapshots, which share all equal parts: the one that its reader has seen, and the latest. The
//! difference is found when it is read, so the number of changes takes no memory, and the writer never waits.

use std::{fmt, sync::Arc};

use crossbeam_channel::{Receiver, TryRecvError};
use serde::{Deserialize, Serialize};

use crate::{
    collections::fanout::{Queue, Subscription},
    data::{Endpoint, Entry, OwnerMap, Owners, find},
    reader::{Reader, reads},
    text::Escaped,
};

/// The key–values of all listed members at one moment. Cheap to clone, immutable.
#[derive(Clone, Default)]
pub struct Entries {
    /// Counts the changes.
    version: u64,
    owners: Owners,
}

/// The key–values of one member, from [`Entries::of`].
#[derive(Clone, Copy)]
pub struct EntriesOf<'a>(Option<&'a OwnerMap>);

impl Entries {
    pub(super) fn of_endpoint(endpoint: &Endpoint) -> Self {
        let (version, owners) = endpoint.entries();
        Self { version, owners: owners.clone() }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The key–values of one member: none if it has none, or is not listed.
    #[must_use]
    pub fn of(&self, owner: &str) -> EntriesOf<'_> {
        EntriesOf(find(&self.owners, owner).map(|owned| &*owned.map))
    }

    /// The member that set this key last, by their [stamps](Entry::stamp): its name and the entry. All members that have
    /// these entries agree on it, if no clock is more than ten minutes ahead of another. O(n) with n members that have any
    /// key.
    #[must_use]
    pub fn latest(&self, key: &str) -> Option<(&str, &Entry)> {
        let all = self.owners.iter().filter_map(|(owner, owned)| Some((&**owner, owned.map.get(key)?)));
        all.max_by_key(|(owner, entry)| (entry.stamp, *owner))
    }

    /// All members that have this key, by name, with their entries.
    pub fn with_key<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        self.owners.iter().filter_map(move |(owner, owned)| Some((&**owner, owned.map.get(key)?)))
    }

    /// All entries, by owner and key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Entry)> {
        self.owners
            .iter()
            .flat_map(|(owner, owned)| owned.map.iter().map(|(key, entry)| (&**owner, &**key, entry)))
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owners.iter().map(|(_, owned)| owned.map.len()).sum()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owners.iter().all(|(_, owned)| owned.map.len() == 0)
    }
}

impl<'a> EntriesOf<'a> {
    /// The member's entry for this key.
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'a Entry> {
        self.0?.get(key)
    }

    /// All entries of the member, by key.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        self.0.into_iter().flat_map(OwnerMap::iter).map(|(key, entry)| (&**key, entry))
    }

    /// The number of its entries.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.map_or(0, OwnerMap::len)
    }

    /// Whether it has no entries.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// All entries of [`Entries`], by owner and key.
#[must_use = "iterators do nothing unless they are read"]
pub struct EntriesIter<'a>(Box<dyn Iterator<Item = (&'a str, &'a str, &'a Entry)> + Send + Sync + 'a>);

/// All entries of [`EntriesOf`] one member, by key.
#[must_use = "iterators do nothing unless they are read"]
pub struct EntriesOfIter<'a>(Box<dyn Iterator<Item = (&'a str, &'a Entry)> + Send + Sync + 'a>);

impl<'a> Iterator for EntriesIter<'a> {
    type Item = (&'a str, &'a str, &'a Entry);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<'a> Iterator for EntriesOfIter<'a> {
    type Item = (&'a str, &'a Entry);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl fmt::Debug for EntriesIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntriesIter").finish_non_exhaustive()
    }
}

impl fmt::Debug for EntriesOfIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntriesOfIter").finish_non_exhaustive()
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = (&'a str, &'a str, &'a Entry);
    type IntoIter = EntriesIter<'a>;

    fn into_iter(self) -> EntriesIter<'a> {
        EntriesIter(Box::new(self.iter()))
    }
}

impl<'a> IntoIterator for EntriesOf<'a> {
    type Item = (&'a str, &'a Entry);
    type IntoIter = EntriesOfIter<'a>;

    fn into_iter(self) -> EntriesOfIter<'a> {
        EntriesOfIter(Box::new(self.iter()))
    }
}

/// Equal if owners, keys and entries are equal.
impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Entries {}

/// Equal if keys and entries are equal.
impl PartialEq for EntriesOf<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for EntriesOf<'_> {}

/// Owners with their keys and values.
impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.owners.iter().map(|(owner, owned)| (owner, EntriesOf(Some(&owned.map)))))
            .finish()
    }
}

/// Keys with their values.
impl fmt::Debug for EntriesOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// A change of a key, or of all keys of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EntryChange {
    /// A member has set a key.
    #[non_exhaustive]
    Set {
        /// The member.
        owner: Arc<str>,
        /// The key.
        key: Arc<str>,
        /// The new entry.
        entry: Entry,
    },
    /// A member has deleted a key.
    #[non_exhaustive]
    Deleted {
        /// The member.
        owner: Arc<str>,
        /// The key.
        key: Arc<str>,
    },
    /// All key–values of a member are gone: it is listed no longer, or has begun a new life. A watch reports this only for a
    /// member of which it has reported a key before.
    #[non_exhaustive]
    OwnerGone {
        /// The member.
        owner: Arc<str>,
    },
}

/// One line, for a log: the owner and the key, and how long its value is.
impl fmt::Display for EntryChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { owner, key, entry } => {
                write!(f, "{} set {}: {} bytes", Escaped(owner), Escaped(key), entry.value.len())
            }
            Self::Deleted { owner, key } => write!(f, "{} deleted {}", Escaped(owner), Escaped(key)),
            Self::OwnerGone { owner } => write!(f, "{}: all entries are gone", Escaped(owner)),
        }
    }
}

/// What a watch's reader has not read.
#[derive(Debug)]
pub(super) struct Unread {
    /// The entries that the reader has seen; `None` before its first item.
    seen: Option<Entries>,
    latest: Entries,
}

impl Unread {
    pub(super) fn new(latest: Entries) -> Self {
        Self { seen: None, latest }
    }

    /// A reader that subscribed a moment ago may have seen later entries.
    pub(super) fn push(&mut self, latest: &Entries) {
        if latest.version > self.latest.version {
            self.latest = latest.clone();
        }
    }
}

impl Queue for Unread {
    type Item = (Option<Entries>, Entries);

    fn pop(&mut self) -> Option<Self::Item> {
        (!self.is_empty()).then(|| (self.seen.replace(self.latest.clone()), self.latest.clone()))
    }

    fn is_empty(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.version == self.latest.version)
    }
}

/// A subscription to key–values, from [`Gossip::watch_entries`](super::Gossip::watch_entries). Dropping it cancels it.
///
/// Each item is a list of changes. The first one leads from nothing to the state at the moment of the call, and may be
/// empty. Each later one leads from the end of the one before to the latest state: a slow reader misses no key, but it does
/// not see values that were set and replaced meanwhile. A reader never slows the node.
#[derive(Debug)]
#[must_use = "dropping a watch cancels it"]
pub struct EntryWatch {
    subscription: Subscription<Unread>,
    key: Option<Box<str>>,
}

impl EntryWatch {
    pub(super) fn new(subscription: Subscription<Unread>, key: Option<&str>) -> Self {
        Self { subscription, key: key.map(Into::into) }
    }

    fn changes(&self, (seen, latest): (Option<Entries>, Entries)) -> Option<Vec<EntryChange>> {
        let is_first = seen.is_none();
        let changes = changes_between(&seen.unwrap_or_default(), &latest, self.key.as_deref());
        (is_first || !changes.is_empty()).then_some(changes)
    }
}

impl Reader for EntryWatch {
    type Item = Vec<EntryChange>;

    fn receiver(&self) -> &Receiver<()> {
        self.subscription.receiver()
    }

    fn try_recv(&self) -> Result<Vec<EntryChange>, TryRecvError> {
        loop {
            if let Some(changes) = self.changes(self.subscription.try_recv()?) {
                return Ok(changes);
            }
        }
    }
}

reads!(EntryWatch, Vec<EntryChange>, "list of changes", "the node has ended and everything was read");

/// The changes from one snapshot to another, of one key or of all: first what is gone, then what is new.
fn changes_between(before: &Entries, after: &Entries, key: Option<&str>) -> Vec<EntryChange> {
    let mut changes = Vec::new();
    for (owner, owned) in before.owners.iter() {
        let next = find(&after.owners, owner).map(|owned| &owned.map);
        if next.is_some_and(|next| Arc::ptr_eq(next, &owned.map)) {
            continue;
        }
        let mut old = keys_of(&owned.map, key);
        match next.filter(|next| next.epoch() == owned.map.epoch()) {
            Some(next) => changes.extend(
                old.filter(|(key, _)| next.get(key).is_none())
                    .map(|(key, _)| EntryChange::Deleted { owner: Arc::clone(owner), key: Arc::clone(key) }),
            ),
            None if old.next().is_some() => changes.push(EntryChange::OwnerGone { owner: Arc::clone(owner) }),
            None => {}
        }
    }
    for (owner, owned) in after.owners.iter() {
        let before = find(&before.owners, owner).map(|owned| &owned.map);
        if before.is_some_and(|before| Arc::ptr_eq(before, &owned.map)) {
            continue;
        }
        let before = before.filter(|before| before.epoch() == owned.map.epoch());
        let is_new = |(key, entry): &(&Arc<str>, &Entry)| {
            before.and_then(|before| before.get(key)).is_none_or(|old| old != *entry)
        };
        let set = |(key, entry): (&Arc<str>, &Entry)| EntryChange::Set {
            owner: Arc::clone(owner),
            key: Arc::clone(key),
            entry: entry.clone(),
        };
        changes.extend(keys_of(&owned.map, key).filter(is_new).map(set));
    }
    changes
}

/// The keys of a map, or only the given one.
fn keys_of<'a>(map: &'a OwnerMap, key: Option<&'a str>) -> impl Iterator<Item = (&'a Arc<str>, &'a Entry)> {
    map.iter().filter(move |(known, _)| key.is_none_or(|key| *key == ***known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gossip, GossipConfig};

    #[test]
    fn entries_are_empty_until_one_is_set_and_those_of_a_member_are_listed_by_key() {
        assert!(Entries::default().is_empty());
        let node = Gossip::start(GossipConfig::local("a").bind(([127, 0, 0, 1], 0))).unwrap();
        node.set("y", b"2").unwrap();
        node.set("x", b"1").unwrap();
        let entries = node.entries();
        assert!(!entries.is_empty());
        let values = entries.of("a").iter().map(|(key, entry)| (key, &*entry.value));
        assert_eq!(values.collect::<Vec<_>>(), [("x", &b"1"[..]), ("y", b"2")]);
        assert_eq!(entries.of("b").iter().count(), 0);
        node.set("x", b"2").unwrap();
        assert_ne!(node.entries(), entries);
        assert_ne!(node.entries().of("a"), entries.of("a"));
        assert_eq!((entries.clone(), entries.of("b")), (entries.clone(), entries.of("c")));
    }

    #[test]
    fn a_reader_has_something_to_read_at_first_and_after_each_change() {
        let later = |version| Entries { version, ..Entries::default() };
        let mut unread = Unread::new(later(1));
        assert!(!unread.is_empty() && unread.pop().is_some());
        assert!(unread.is_empty() && unread.pop().is_none());
        unread.push(&later(1));
        assert!(unread.is_empty(), "it has seen that");
        unread.push(&later(2));
        assert!(!unread.is_empty());
        let (seen, latest) = unread.pop().unwrap();
        assert_eq!((seen.map(|seen| seen.version), latest.version), (Some(1), 2));
    }
}
