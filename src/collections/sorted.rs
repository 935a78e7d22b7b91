//! A sorted map whose copies share what did not change, so that a copy can be taken under a lock.
//!
//! The entries lie in chunks of at most [`MOST`], under one list of chunks. To take a copy counts one reference. A change
//! then copies the list and one chunk, some hundred entries, if a copy still shares them, and nothing otherwise.

use std::{cmp::Ordering, mem, sync::Arc};

/// Entries in a chunk. The list has about n / 170 chunks: at 200,000 entries a change after a copy clones a thousand
/// references and one chunk.
const MOST: usize = 256;
/// A chunk with fewer entries is merged with a neighbour if both together fill at most half of a chunk.
const FEW: usize = MOST / 8;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct SortedMap<K, V> {
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

#[derive(Debug, Clone)]
struct Chunk<K, V> {
    /// At most the least key of the chunk, and greater than all keys of the chunk before. (The first chunk also takes keys
    /// that are less.)
    from: K,
    entries: Arc<Vec<(K, V)>>,
}

/// Where a key is or would be. Valid until the next change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    chunk: usize,
    at: usize,
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::default(), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> SortedMap<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All entries, by ascending key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.entries.iter()).map(|(key, value)| (key, value))
    }

    /// Where `key` is, or else where it would be.
    pub(crate) fn find(&self, key: &K) -> Result<Place, Place> {
        self.find_by(|known| known.cmp(key))
    }

    /// The same without a key: `compare` tells how a key of the map compares with the key in question.
    pub(crate) fn find_by(&self, compare: impl Fn(&K) -> Ordering) -> Result<Place, Place> {
        let behind = self.chunks.partition_point(|chunk| compare(&chunk.from).is_le());
        let chunk = behind.saturating_sub(1);
        let Some(Chunk { entries, .. }) = self.chunks.get(chunk) else {
            return Err(Place { chunk: 0, at: 0 });
        };
        let place = |at| Place { chunk, at };
        entries.binary_search_by(|(known, _)| compare(known)).map(place).map_err(place)
    }

    /// The entry at a place that `find` has found.
    pub(crate) fn at(&self, place: Place) -> (&K, &V) {
        let (key, value) = &self.chunks[place.chunk].entries[place.at];
        (key, value)
    }

    /// The value at a place that `find` has found, to be changed.
    pub(crate) fn value_mut(&mut self, place: Place) -> &mut V {
        &mut self.entries_mut(place.chunk)[place.at].1
    }

    /// Replaces the value at a place that `find` has found.
    pub(crate) fn replace(&mut self, place: Place, value: V) {
        self.entries_mut(place.chunk)[place.at].1 = value;
    }

    /// Inserts at a place where `find` has missed the key.
    pub(crate) fn insert(&mut self, place: Place, key: K, value: V) {
        self.len += 1;
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(place.chunk) else {
            return chunks.push(Chunk::of(vec![(key, value)]));
        };
        let entries = Arc::make_mut(&mut chunk.entries);
        entries.insert(place.at, (key, value));
        if entries.len() > MOST {
            // Keys that are added in ascending order fill each chunk before the next one.
            let is_last = place.chunk + 1 == chunks.len() && place.at == MOST;
            let rest = chunks[place.chunk].split(if is_last { MOST } else { MOST / 2 });
            chunks.insert(place.chunk + 1, rest);
        }
    }

    /// Removes the entry at a place that `find` has found.
    pub(crate) fn remove(&mut self, place: Place) -> (K, V) {
        self.len -= 1;
        let removed = self.entries_mut(place.chunk).remove(place.at);
        if self.chunks[place.chunk].entries.len() < FEW {
            self.merge_with_neighbour(place.chunk);
        }
        removed
    }

    fn entries_mut(&mut self, chunk: usize) -> &mut Vec<(K, V)> {
        Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[chunk].entries)
    }

    fn merge_with_neighbour(&mut self, at: usize) {
        let len = |at: usize| self.chunks.get(at).map_or(MOST, |chunk| chunk.entries.len());
        let first = match (at.checked_sub(1).map_or(MOST, len), len(at + 1)) {
            (before, _) if before + len(at) <= MOST / 2 => at - 1,
            (_, behind) if behind + len(at) <= MOST / 2 => at,
            _ if len(at) == 0 => return drop(Arc::make_mut(&mut self.chunks).remove(at)),
            _ => return,
        };
        let chunks = Arc::make_mut(&mut self.chunks);
        let second = chunks.remove(first + 1);
        let second = Arc::try_unwrap(second.entries).unwrap_or_else(|shared| shared.to_vec());
        Arc::make_mut(&mut chunks[first].entries).extend(second);
    }
}

impl<K: Clone, V: Clone> Chunk<K, V> {
    fn of(mut entries: Vec<(K, V)>) -> Self {
        entries.reserve_exact(MOST + 1 - entries.len());
        Self { from: entries[0].0.clone(), entries: Arc::new(entries) }
    }

    fn split(&mut self, at: usize) -> Self {
        let entries = Arc::make_mut(&mut self.entries);
        let rest = entries.split_off(at);
        // `split_off` may keep all the room on one side.
        let mut kept = Vec::with_capacity(MOST + 1);
        kept.append(entries);
        drop(mem::replace(entries, kept));
        Self::of(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Map = SortedMap<u16, u32>;

    fn set(map: &mut Map, key: u16, value: u32) {
        match map.find(&key) {
            Ok(place) => map.replace(place, value),
            Err(place) => map.insert(place, key, value),
        }
    }

    fn unset(map: &mut Map, key: u16) {
        if let Ok(place) = map.find(&key) {
            assert_eq!(map.remove(place).0, key);
        }
    }

    fn check(map: &Map, model: &BTreeMap<u16, u32>) {
        assert!(map.iter().eq(model));
        assert_eq!(map.len(), model.len());
        let sizes: Vec<_> = map.chunks.iter().map(|chunk| chunk.entries.len()).collect();
        assert!(sizes.iter().all(|size| (1..=MOST).contains(size)), "{sizes:?}");
        let bounds = map.chunks.iter().skip(1).map(|chunk| (&chunk.from, &chunk.entries[0].0));
        assert!(bounds.into_iter().all(|(from, first)| from <= first));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn the_map_is_sorted_and_its_copies_never_change(
            steps in prop::collection::vec((0..6u8, 0..2_000u16, 1..700u16), 1..40),
        ) {
            let (mut map, mut model, mut copies) = (Map::default(), BTreeMap::new(), Vec::new());
            for (step, (what, from, many)) in steps.into_iter().enumerate() {
                // Runs up, down, and scattered, so that chunks split and merge at every place.
                let keys: Vec<_> = (0..many).map(|at| match what % 3 {
                    0 => from + at,
                    1 => from + many - at,
                    _ => (from + at * 7) % 2_700,
                }).collect();
                copies.push((map.clone(), model.clone()));
                for key in keys {
                    if what < 3 {
                        set(&mut map, key, step as u32);
                        model.insert(key, step as u32);
                    } else {
                        unset(&mut map, key);
                        model.remove(&key);
                    }
                }
                check(&map, &model);
            }
            copies.iter().for_each(|(map, model)| check(map, model));
        }
    }

    #[test]
    fn ascending_keys_fill_their_chunks() {
        let mut map = Map::default();
        (0..10_000).for_each(|key| set(&mut map, key, 0));
        assert_eq!(map.chunks.len(), 10_000_usize.div_ceil(MOST));
    }

    #[test]
    fn a_change_after_a_copy_copies_one_chunk_and_without_one_none() {
        let mut map = Map::default();
        (0..10_000).for_each(|key| set(&mut map, key, 0));
        let chunks =
            |map: &Map| map.chunks.iter().map(|chunk| Arc::as_ptr(&chunk.entries)).collect::<Vec<_>>();
        let alone = chunks(&map);
        set(&mut map, 5_000, 1);
        assert_eq!(chunks(&map), alone);
        let copy = map.clone();
        set(&mut map, 5_000, 2);
        unset(&mut map, 5_001);
        let shared =
            chunks(&map).iter().zip(chunks(&copy)).filter(|(ours, theirs)| **ours == *theirs).count();
        assert_eq!(shared, alone.len() - 1);
    }

    #[test]
    fn as_keys_go_their_chunks_go_too() {
        let mut map = Map::default();
        (0..20_000).for_each(|key| set(&mut map, key, 0));
        (0..20_000).filter(|key| key % 100 != 0).for_each(|key| unset(&mut map, key));
        assert!(map.chunks.len() <= 8, "{} chunks for {} entries", map.chunks.len(), map.len());
        (0..20_000).for_each(|key| unset(&mut map, key));
        assert_eq!((map.len(), map.chunks.len()), (0, 0));
    }

    #[test]
    fn a_chunk_has_the_room_of_a_full_one_and_no_more() {
        let mut map = Map::default();
        for key in 0..2000_u16 {
            set(&mut map, key.wrapping_mul(7919) % 4001, 0);
            assert!(map.chunks.iter().all(|chunk| chunk.entries.capacity() == MOST + 1));
        }
    }
}
