//! Items in an order, by the account that they count for: when there are too many, the first of the account with the most
//! makes room, so that one account cannot push out the items of others.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "A: Ord + Deserialize<'de>, T: Ord + Deserialize<'de>"))]
pub(crate) struct ByAccount<A, T> {
    of: BTreeMap<A, BTreeSet<T>>,
    /// How many an account has, and its first one: the last gives way.
    largest: BTreeSet<(usize, Reverse<T>, A)>,
    all: usize,
}

impl<A, T> Default for ByAccount<A, T> {
    fn default() -> Self {
        Self { of: BTreeMap::new(), largest: BTreeSet::new(), all: 0 }
    }
}

impl<A: Ord + Copy, T: Ord + Clone> ByAccount<A, T> {
    pub(crate) fn len(&self) -> usize {
        self.all
    }

    pub(crate) fn insert(&mut self, account: A, thing: T) {
        self.all += usize::from(self.change(account, |its| its.insert(thing)));
    }

    pub(crate) fn remove(&mut self, account: A, thing: &T) {
        self.all -= usize::from(self.change(account, |its| its.remove(thing)));
    }

    /// The first of an account.
    pub(crate) fn first_of(&self, account: A) -> Option<&T> {
        self.of.get(&account)?.first()
    }

    /// The first of the account that has most: of several, of the one whose first is before those of the others.
    pub(crate) fn first_of_largest(&self) -> Option<&T> {
        self.largest.last().and_then(|(.., account)| self.first_of(*account))
    }

    fn change(&mut self, account: A, act: impl FnOnce(&mut BTreeSet<T>) -> bool) -> bool {
        let place = |its: &BTreeSet<T>| its.first().map(|first| (its.len(), Reverse(first.clone()), account));
        let its = self.of.entry(account).or_default();
        if let Some(before) = place(its) {
            self.largest.remove(&before);
        }
        let changed = act(its);
        match place(its) {
            Some(after) => _ = self.largest.insert(after),
            None => _ = self.of.remove(&account),
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_item_of_the_largest_account_makes_room() {
        let mut all = ByAccount::default();
        assert_eq!(all.first_of_largest(), None);
        let things = [(1, 5), (2, 4), (2, 3), (3, 2), (3, 1)];
        things.iter().for_each(|(account, thing)| all.insert(*account, *thing));
        all.insert(3, 1);
        assert_eq!((all.len(), all.first_of(2), all.first_of(9)), (5, Some(&3), None));
        assert_eq!(all.first_of_largest(), Some(&1), "of two that have as many, the first");
        all.remove(3, &1);
        assert_eq!(all.first_of_largest(), Some(&3));
        all.remove(2, &9);
        things.iter().for_each(|(account, thing)| all.remove(*account, thing));
        assert_eq!((all.len(), all.of.len(), all.largest.len()), (0, 0, 0));
    }
}
