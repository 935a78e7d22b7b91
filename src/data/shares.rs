//! Per-account shares of a table. Names are free to invent, so what others can occupy is limited per host.

use std::collections::BTreeMap;

use crate::swim::Account;

/// A number of items, and their bytes.
pub(super) type Size = (usize, usize);

/// The items of a table and their bytes, in total and by account. `None` is this node itself, and [`Account::UNMET`] stands
/// for all members that have not answered.
#[derive(Debug, Default)]
pub(super) struct Shares {
    all: Size,
    of: BTreeMap<Option<Account>, Size>,
}

impl Shares {
    pub(super) fn all(&self) -> Size {
        self.all
    }

    /// Whether an account may hold `more` in a table of size `most`: its share must not exceed the free rest. So one account
    /// alone has half of a table (the item that crosses the half still fits), and a newcomer finds room, also for the last
    /// place. In a table whose contents come and go, all accounts that want more converge to equal shares (dynamic
    /// thresholds, Choudhury and Hahne 1998). No item is taken back: n accounts that fill a table one after the other leave
    /// the 2ⁿ-th part of it free.
    pub(super) fn has_room(&self, account: Option<Account>, more: Size, most: Size) -> bool {
        let own = self.of.get(&account).copied().unwrap_or_default();
        let fits = |own: usize, all: usize, more: usize, most: usize| {
            more == 0 || own.saturating_add(all).saturating_add(more) <= most
        };
        fits(own.0, self.all.0, more.0, most.0) && fits(own.1, self.all.1, more.1, most.1)
    }

    pub(super) fn add(&mut self, account: Option<Account>, more: Size) {
        for held in [&mut self.all, self.of.entry(account).or_default()] {
            *held = (held.0.saturating_add(more.0), held.1.saturating_add(more.1));
        }
    }

    pub(super) fn remove(&mut self, account: Option<Account>, less: Size) {
        let Some(own) = self.of.get_mut(&account) else { return };
        for held in [&mut self.all, &mut *own] {
            *held = (held.0.saturating_sub(less.0), held.1.saturating_sub(less.1));
        }
        if *own == (0, 0) {
            self.of.remove(&account);
        }
    }

    /// The account with the most, which loses an item where items may be dropped.
    pub(super) fn largest(&self, by: impl Fn(&Size) -> usize) -> Option<Account> {
        self.of.iter().max_by_key(|(_, size)| by(size)).and_then(|(account, _)| *account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_has_half_of_a_table_and_another_finds_room_in_a_full_one() {
        let (mut shares, most) = (Shares::default(), (1024, 1 << 20));
        let fill = |shares: &mut Shares, account: u32| {
            let account = Some(Account::from(account));
            let mut count = 0;
            while shares.has_room(account, (1, 1), most) {
                shares.add(account, (1, 1));
                count += 1;
            }
            count
        };
        assert_eq!([1, 2, 3].map(|account| fill(&mut shares, account)), [512, 256, 128]);
        (0..512).for_each(|_| shares.remove(Some(1.into()), (1, 1)));
        assert_eq!((fill(&mut shares, 3), fill(&mut shares, 2)), (256, 64));
        assert_eq!((shares.all(), shares.of.len()), ((704, 704), 2));
        assert!(!shares.has_room(Some(4.into()), (1, 1 << 20), most), "bytes are bounded as well");
    }

    /// Also in a table whose largest item is not small.
    #[test]
    fn an_item_may_lie_across_the_half_of_a_share_and_no_sum_wraps() {
        let (mut shares, most, one) = (Shares::default(), (usize::MAX, 1000), Some(Account::from(1)));
        while shares.has_room(one, (1, 300), most) {
            shares.add(one, (1, 300));
        }
        assert_eq!(shares.all(), (2, 600));
        assert!(shares.has_room(Some(2.into()), (1, 400), most), "all that is left is for others");
        assert!(!shares.has_room(one, (usize::MAX, usize::MAX), most));
    }
}
