//! What a table holds of each account. Names are free: what others can hold of a node is shared by host.

use std::collections::BTreeMap;

use crate::swim::Account;

/// How many of something, and their bytes.
pub(super) type Size = (usize, usize);

/// What a table holds, in all and of each account; `None` is this node's own, and [`Account::STRANGERS`] what others say of whoever
/// has not answered.
#[derive(Debug, Default)]
pub(super) struct Shares {
    all: Size,
    of: BTreeMap<Option<Account>, Size>,
}

impl Shares {
    pub(super) fn all(&self) -> Size {
        self.all
    }

    /// Whether there is room for more of an account: what it has and this are no more than what is free. So one alone has half of a
    /// table, and half of what came last besides: a newcomer finds room, for the last place too. Of tables whose contents come and go all
    /// that want more come to have the same (dynamic thresholds, Choudhury and Hahne 1998). Nothing is taken back: if n fill a
    /// table one after the other, they leave the 2ⁿ-th part of it.
    pub(super) fn has_room(&self, account: Option<Account>, more: Size, most: Size) -> bool {
        let own = self.of.get(&account).copied().unwrap_or_default();
        own.0 + self.all.0 + more.0 <= most.0 && own.1 + self.all.1 + more.1 <= most.1
    }

    /// Whether there is room for more of an account that may have so much: all together have less than twice that.
    pub(super) fn has_room_of_each(&self, account: Option<Account>, more: Size, each: Size) -> bool {
        // As what is there of an account is, it counts twice: of itself and of all.
        let twice = |size: Size| (size.0.saturating_mul(2), size.1.saturating_mul(2));
        self.has_room(account, twice(more), twice(each))
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

    /// The account that has most, which makes room where what is held may be dropped.
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
}
