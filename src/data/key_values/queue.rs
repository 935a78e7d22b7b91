//! The changes that wait to be sent. As for updates of membership, each key has one place, its present state is sent, and it
//! is sent a limited number of times.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    data::shares::Shares,
    swim::{Account, Subject, UpdateQueue, Urgency},
};

/// The most waiting keys; an account may hold no more places than are free. A change without a place reaches others by
/// repair.
const MAX_WAITING: usize = 4096;

/// A place in [`Waiting::places`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PlaceId(u32);

impl Subject for PlaceId {
    fn of(number: u32) -> Self {
        Self(number)
    }

    fn number(self) -> u32 {
        self.0
    }
}

/// An owner and a key of it.
type OwnedKey = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
pub(super) struct Waiting {
    queue: UpdateQueue<PlaceId>,
    /// The keys by place, each with the account that it counts for.
    places: Vec<Option<(OwnedKey, Option<Account>)>>,
    free: Vec<PlaceId>,
    by_key: BTreeMap<OwnedKey, PlaceId>,
    shares: Shares,
    done: Vec<PlaceId>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Queues a key again. Returns whether there was room.
    pub(super) fn push(&mut self, owner: &Arc<str>, key: &Arc<str>, account: Option<Account>) -> bool {
        let owned_key = (Arc::clone(owner), Arc::clone(key));
        if let Some(place) = self.by_key.get(&owned_key) {
            self.queue.push(*place, Urgency::Urgent);
            return true;
        }
        if !self.shares.has_room(account, (1, 0), (MAX_WAITING, usize::MAX)) {
            return false;
        }
        self.shares.add(account, (1, 0));
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            PlaceId(self.places.len() as u32 - 1)
        });
        self.places[place.0 as usize] = Some((owned_key.clone(), account));
        self.by_key.insert(owned_key, place);
        self.queue.push(place, Urgency::Urgent);
        true
    }

    /// Offers keys to `put`, as [`UpdateQueue::draw`] does.
    pub(super) fn draw(
        &mut self,
        limit: Option<u32>,
        room: usize,
        mut put: impl FnMut(&str, &str) -> Option<usize>,
    ) {
        let Self { queue, places, done, .. } = self;
        queue.draw(limit, room, |place| {
            let ((owner, key), _) = places[place.0 as usize].as_ref()?;
            let left = put(owner, key);
            if left.is_some() {
                done.push(place);
            }
            left
        });
        while let Some(place) = self.done.pop() {
            if !self.queue.contains(place) {
                self.release(place);
            }
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn release(&mut self, place: PlaceId) {
        if let Some((owned_key, account)) = self.places[place.0 as usize].take() {
            self.by_key.remove(&owned_key);
            self.shares.remove(account, (1, 0));
            self.free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(waiting: &mut Waiting, limit: impl Into<Option<u32>>) -> Vec<String> {
        let mut drawn = Vec::new();
        waiting.draw(limit.into(), 1000, |owner, key| {
            drawn.push(format!("{owner}/{key}"));
            Some(1000)
        });
        drawn
    }

    #[test]
    fn a_key_has_one_place_and_is_sent_so_often_from_its_last_change_on() {
        let mut waiting = Waiting::default();
        let (owner, [x, y]) = (Arc::from("a"), ["x", "y"].map(Arc::from));
        assert!(waiting.push(&owner, &x, None) && waiting.push(&owner, &y, None));
        (0..9).for_each(|_| assert_eq!(draw(&mut waiting, None), ["a/x", "a/y"], "it does not count"));
        assert_eq!(draw(&mut waiting, 2), ["a/x", "a/y"]);
        assert!(waiting.push(&owner, &x, None));
        assert_eq!((waiting.len(), draw(&mut waiting, 2)), (2, vec!["a/y".into(), "a/x".into()]));
        assert_eq!(draw(&mut waiting, 2), ["a/x"]);
        assert!(waiting.is_empty() && waiting.by_key.is_empty() && waiting.free.len() == 2);
        assert!(waiting.push(&owner, &y, None) && waiting.places.len() == 2, "places are used again");
    }

    #[test]
    fn the_queue_is_bounded_and_names_of_one_host_do_not_hold_back_keys_of_others() {
        let mut waiting = Waiting::default();
        let push = |waiting: &mut Waiting, host: u32, i: usize| {
            waiting.push(&format!("{host}/{i}").into(), &"k".into(), Some(host.into()))
        };
        let count = |waiting: &mut Waiting, host| (0..9000).filter(|i| push(waiting, host, *i)).count();
        assert_eq!([1, 2, 3].map(|host| count(&mut waiting, host)), [2048, 1024, 512]);
        assert!(!push(&mut waiting, 1, 9000) && push(&mut waiting, 1, 0), "it has its place");
        assert_eq!(waiting.len(), waiting.shares.all().0);
        waiting.draw(Some(1), usize::MAX, |_, _| Some(usize::MAX));
        assert_eq!((waiting.len(), waiting.shares.all()), (0, (0, 0)));
    }
}
