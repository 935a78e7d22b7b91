//! Values that were announced in a datagram, as they are too long for one, and have not come.
//!
//! Who announces a value may not have it, or not give it. So what comes of its key meanwhile is passed on all the same, the
//! value is fetched a few times only, and after a while it is no longer waited for: a sync brings it, if there is one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    data::shares::Shares,
    swim::{Account, Time},
};

/// The most of them; the first of the account that has most makes room.
pub(super) const MAX_ANNOUNCED: usize = 256;
/// How often one is fetched because members of one account announce it, and the accounts that are heard: about as many as pass on
/// a change to a node in a large cluster. So one that has no value cannot keep others from being asked.
const MAX_FETCHES: u32 = 16;
const MAX_ANNOUNCERS: usize = 16;
/// How long one is waited for.
const AWAITED: Duration = Duration::from_secs(60);

/// An owner and one of its keys.
pub(super) type AnnouncedKey = (Arc<str>, Box<str>);

#[derive(Debug)]
struct Awaited {
    version: u64,
    /// The account that it counts for.
    account: Option<Account>,
    until: Time,
    /// How often members of each account announced it.
    times: BTreeMap<Option<Account>, u32>,
}

#[derive(Debug, Default)]
pub(super) struct Announced {
    values: BTreeMap<AnnouncedKey, Awaited>,
    shares: Shares,
    /// No value is over before.
    next: Option<Time>,
}

impl Announced {
    /// A member has announced a value. Returns whether to fetch it from that member.
    pub(super) fn add(
        &mut self,
        now: Time,
        key: AnnouncedKey,
        account: Option<Account>,
        by: Option<Account>,
        version: u64,
    ) -> bool {
        if let Some(known) = self.values.get_mut(&key) {
            known.version = version.max(known.version);
            if known.times.len() == MAX_ANNOUNCERS && !known.times.contains_key(&by) {
                return false;
            }
            let times = known.times.entry(by).or_default();
            *times += u32::from(*times <= MAX_FETCHES);
            return *times <= MAX_FETCHES;
        }
        if self.values.len() >= MAX_ANNOUNCED {
            let largest = self.shares.largest(|size| size.0);
            let first = self.values.iter().find(|(_, awaited)| awaited.account == largest);
            if let Some(key) = first.map(|(key, _)| key.clone()) {
                self.remove(&key);
            }
        }
        let until = now + AWAITED;
        self.next.get_or_insert(until);
        self.values.insert(key, Awaited { version, account, until, times: [(by, 1)].into() });
        self.shares.add(account, (1, 0));
        true
    }

    /// A version of a key has come. Returns whether one was announced.
    pub(super) fn came(&mut self, key: &AnnouncedKey, version: u64) -> bool {
        let Some(awaited) = self.values.get(key) else { return false };
        if awaited.version <= version {
            self.remove(key);
        }
        true
    }

    /// Removes those that were waited for long enough, with their versions.
    pub(super) fn take_expired(&mut self, now: Time) -> Vec<(AnnouncedKey, u64)> {
        if self.next.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let over = self.values.iter().filter(|(_, awaited)| awaited.until <= now);
        let over: Vec<_> = over.map(|(key, awaited)| (key.clone(), awaited.version)).collect();
        over.iter().for_each(|(key, _)| self.remove(key));
        self.next = self.values.values().map(|awaited| awaited.until).min();
        over
    }

    fn remove(&mut self, key: &AnnouncedKey) {
        if let Some(awaited) = self.values.remove(key) {
            self.shares.remove(awaited.account, (1, 0));
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn audit(&self) -> Result<(), String> {
        match self.values.len() {
            length if length > MAX_ANNOUNCED || self.shares.all() != (length, 0) => {
                Err("too many values are announced, or counted wrongly".into())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a member announces waits until it is fetched, and makes room for what comes first if it is of a host that has most.
    #[test]
    fn values_that_names_of_one_host_announce_do_not_displace_those_of_others() {
        let mut announced = Announced::default();
        let mut add = |owner: &str, host: u32| {
            let account = Some(host.into());
            announced.add(Time::ZERO, (owner.into(), "k".into()), account, account, 1);
        };
        add("a", 2);
        (0..1000).for_each(|i| add(&format!("b{i}"), 1));
        let is_left = announced.values.contains_key(&("a".into(), "k".into()));
        assert_eq!((is_left, announced.values.len()), (true, MAX_ANNOUNCED));
        assert_eq!(announced.audit(), Ok(()));
    }
}
