//! Finds records by a hash of one of their parts, without a copy of that part.
//!
//! A map from names or addresses would hold each of them a second time: 120 bytes a member, half of the table.
//! This holds eight bytes a place. Open addressing with linear probing; removal closes the gap (Knuth,
//! TAOCP 6.4, algorithm R), so that no tombstones pile up.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

use crate::swim::member::MemberId;

const FREE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Place {
    hash: u32,
    /// `FREE` if the place is empty.
    id: u32,
}

const EMPTY: Place = Place { hash: 0, id: FREE };

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Index {
    /// None, or a power of two, of which a quarter is free.
    places: Vec<Place>,
    len: usize,
}

impl Index {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The record with this hash for which `is` holds.
    #[inline]
    pub(super) fn find(&self, hash: u64, is: impl Fn(MemberId) -> bool) -> Option<MemberId> {
        self.place_of(hash as u32, |id| is(MemberId(id))).map(|at| MemberId(self.places[at].id))
    }

    /// For how many records with this hash `is` holds, up to `most`.
    #[inline]
    pub(super) fn count(&self, hash: u64, most: usize, is: impl Fn(MemberId) -> bool) -> usize {
        let count = Cell::new(0);
        self.find(hash, |id| {
            count.set(count.get() + usize::from(is(id)));
            count.get() >= most
        });
        count.get()
    }

    /// Adds a record that is not in the index.
    pub(super) fn insert(&mut self, hash: u64, id: MemberId) {
        if (self.len + 1) * 4 > self.places.len() * 3 {
            self.grow();
        }
        self.put(Place { hash: hash as u32, id: id.0 });
        self.len += 1;
    }

    /// Takes out a record, if it is in the index under this hash.
    pub(super) fn remove(&mut self, hash: u64, id: MemberId) {
        let Some(mut gap) = self.place_of(hash as u32, |other| other == id.0) else { return };
        self.len -= 1;
        let mask = self.places.len() - 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let place = self.places[at];
            if place.id == FREE {
                break;
            }
            // It may move into the gap unless it would end up before the place where it is looked for first.
            let home = place.hash as usize & mask;
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.places[gap] = place;
                gap = at;
            }
        }
        self.places[gap] = EMPTY;
    }

    fn place_of(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<usize> {
        let mask = self.places.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let place = self.places[at];
            if place.id == FREE {
                return None;
            }
            if place.hash == hash && is(place.id) {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    fn put(&mut self, place: Place) {
        let mask = self.places.len() - 1;
        let mut at = place.hash as usize & mask;
        while self.places[at].id != FREE {
            at = (at + 1) & mask;
        }
        self.places[at] = place;
    }

    fn grow(&mut self) {
        let size = (self.places.len() * 2).max(8);
        let places = std::mem::replace(&mut self.places, vec![EMPTY; size]);
        places.into_iter().filter(|place| place.id != FREE).for_each(|place| self.put(place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Few hashes and many records, so that they get in each other's way, at the end of the array too.
    #[test]
    fn it_holds_what_a_map_would_whatever_collides() {
        let hashes = [0, 1, 6, 7, 7 + 8, u64::from(u32::MAX), 1 << 40];
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut index, mut model) = (Index::default(), BTreeMap::new());
            for step in 0..300 {
                let id = rng.u32(..24);
                match model.remove(&id) {
                    Some(hash) => index.remove(hash, MemberId(id)),
                    None => {
                        let hash = *rng.choice(&hashes).expect("there are some");
                        model.insert(id, hash);
                        index.insert(hash, MemberId(id));
                    }
                }
                assert_eq!(index.len(), model.len(), "seed {seed}, step {step}");
                for (id, hash) in &model {
                    let found = index.find(*hash, |other| other.0 == *id);
                    assert_eq!(found, Some(MemberId(*id)), "seed {seed}, step {step}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_there_is_not_found_and_its_removal_changes_nothing() {
        let mut index = Index::default();
        index.remove(3, MemberId(1));
        index.insert(3, MemberId(1));
        index.remove(3, MemberId(2));
        index.remove(4, MemberId(1));
        assert_eq!(index.find(3, |_| true), Some(MemberId(1)));
        assert_eq!(index.find(3, |_| false), None);
        assert_eq!(index.find(4, |_| true), None);
    }
}
