//! The members that departed a moment ago and are told so: each may refute, and keeps its place in a full table meanwhile.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{member::MemberId, time::Time};

/// So many are told.
pub(super) const MAX_LATELY_DEPARTED: usize = 1024;

/// In the order of their departures.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct LatelyDeparted {
    members: Vec<Departed>,
    /// How many of a host.
    by_host: BTreeMap<u32, usize>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Departed {
    id: MemberId,
    /// A hash of the host where it answered last.
    host: u32,
    /// Whatever is said of it later.
    at: Time,
}

impl LatelyDeparted {
    /// Adds a member, if it is not there already. If there are too many, the first one of the host with most makes room:
    /// claims about the members of one host take no place from those of others. Returns whether one did.
    pub(super) fn add(&mut self, id: MemberId, host: u32, now: Time) -> bool {
        if self.contains(id) {
            return false;
        }
        let is_full = self.members.len() == MAX_LATELY_DEPARTED;
        if is_full {
            let most = self.by_host.values().max();
            self.remove_at(self.members.iter().position(|member| self.by_host.get(&member.host) == most));
        }
        self.members.push(Departed { id, host, at: now });
        *self.by_host.entry(host).or_default() += 1;
        is_full
    }

    pub(super) fn remove(&mut self, id: MemberId) {
        self.remove_at(self.members.iter().position(|departed| departed.id == id));
    }

    /// Removes those that departed so long ago.
    pub(super) fn remove_old(&mut self, now: Time, age: Duration) {
        while self.members.first().is_some_and(|departed| now.since(departed.at) >= age) {
            self.remove_at(Some(0));
        }
    }

    fn remove_at(&mut self, at: Option<usize>) {
        let Some(Departed { host, .. }) = at.map(|at| self.members.remove(at)) else { return };
        if let Entry::Occupied(mut of_host) = self.by_host.entry(host) {
            *of_host.get_mut() -= 1;
            if *of_host.get() == 0 {
                of_host.remove();
            }
        }
    }

    pub(super) fn contains(&self, id: MemberId) -> bool {
        self.members.iter().any(|departed| departed.id == id)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// One of them, by its number.
    pub(super) fn get(&self, at: usize) -> MemberId {
        self.members[at].id
    }

    #[cfg(any(test, feature = "sim", fuzzing))]
    pub(super) fn ids(&self) -> impl Iterator<Item = MemberId> {
        self.members.iter().map(|departed| departed.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_member_of_the_host_with_most_makes_room() {
        let mut departed = LatelyDeparted::default();
        let add = |departed: &mut LatelyDeparted, id, host| departed.add(MemberId(id), host, Time::ZERO);
        assert!(!add(&mut departed, 1, 1));
        assert!((2..=MAX_LATELY_DEPARTED as u32).all(|id| !add(&mut departed, id, 2)));
        assert!(!add(&mut departed, 2, 2), "it is there already");
        assert!(add(&mut departed, 5000, 3));
        assert_eq!(departed.len(), MAX_LATELY_DEPARTED);
        assert!(departed.contains(MemberId(1)) && !departed.contains(MemberId(2)));
        departed.remove(MemberId(1));
        assert_eq!(departed.get(0), MemberId(3));
        assert_eq!(departed.by_host.values().sum::<usize>(), departed.len());
        departed.remove_old(Time::ZERO, Duration::ZERO);
        assert!(departed.len() == 0 && departed.by_host.is_empty());
    }
}
