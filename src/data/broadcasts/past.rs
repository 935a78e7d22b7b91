//! Names of members that are no longer listed. Others may still repeat their broadcasts, so this node remembers for a time
//! which of them have arrived.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    collections::by_account::ByAccount,
    swim::{Account, Time},
};

/// The most names; beyond that, the first name of the account with the most is forgotten.
pub(super) const MAX_PAST: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Past {
    by_name: BTreeMap<Arc<str>, (Time, Option<Account>)>,
    by_time: BTreeSet<(Time, Arc<str>)>,
    by_account: ByAccount<Option<Account>, (Time, Arc<str>)>,
}

impl Past {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Adds a name until `until`. Returns the name that makes room for it, if any.
    pub(super) fn add(&mut self, until: Time, name: &Arc<str>, account: Option<Account>) -> Option<Arc<str>> {
        self.remove(name);
        let first = if self.len() < MAX_PAST {
            None
        } else {
            self.by_account.first_of_largest().map(|(_, name)| Arc::clone(name))
        };
        first.iter().for_each(|first| self.remove(first));
        self.by_name.insert(Arc::clone(name), (until, account));
        self.by_time.insert((until, Arc::clone(name)));
        self.by_account.insert(account, (until, Arc::clone(name)));
        first
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some((name, (until, account))) = self.by_name.remove_entry(name) {
            let place = (until, name);
            self.by_account.remove(account, &place);
            self.by_time.remove(&place);
        }
    }

    /// The next name whose time is over.
    pub(super) fn pop_over(&mut self, now: Time) -> Option<Arc<str>> {
        let name =
            self.by_time.first().filter(|(until, _)| *until <= now).map(|(_, name)| Arc::clone(name))?;
        self.remove(&name);
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_origin(Duration::from_secs(secs))
    }

    #[test]
    fn many_names_of_one_host_evict_only_each_other() {
        let mut past = Past::default();
        assert_eq!(past.add(at(1), &"b".into(), Some(2.into())), None);
        for i in 0..2 * MAX_PAST as u64 {
            let first = past.add(at(2 + i), &format!("a{i}").into(), Some(1.into()));
            assert!(first.is_none_or(|first| first.starts_with('a')));
        }
        assert_eq!((past.len(), past.by_time.len(), past.by_account.len()), (MAX_PAST, MAX_PAST, MAX_PAST));
        assert_eq!(past.pop_over(at(1)).as_deref(), Some("b"));
    }

    #[test]
    fn a_name_that_returns_is_past_no_longer_and_one_that_goes_again_has_its_time_anew() {
        let mut past = Past::default();
        past.add(at(1), &"a".into(), None);
        past.remove("a");
        assert_eq!(past.pop_over(at(9)), None);
        past.add(at(1), &"a".into(), None);
        past.add(at(5), &"a".into(), None);
        assert_eq!((past.pop_over(at(4)), past.pop_over(at(5)).as_deref()), (None, Some("a")));
        assert_eq!((past.len(), past.by_account.len()), (0, 0));
    }
}
