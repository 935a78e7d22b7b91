//! The broadcasts of the last minute, for members that missed them.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::item::Item;
use crate::{
    data::shares::Shares,
    swim::{Life, Time},
};

/// How long a broadcast can be requested again.
pub(super) const KEEP: Duration = Duration::from_secs(60);
/// The most broadcasts that are stored, and their bytes.
pub(super) const MAX_LOGGED: (usize, usize) = (256, 128 << 10);

#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<(Time, Arc<Item>)>,
    shares: Shares,
}

impl Log {
    /// Stores a broadcast; in a full log, the oldest of the account with the most makes room. Returns whether a broadcast
    /// was dropped before its time.
    pub(super) fn push(&mut self, now: Time, item: Arc<Item>) -> bool {
        self.expire(now);
        let mut evicted = false;
        while self.len() >= MAX_LOGGED.0 || self.shares.all().1 + item.size() > MAX_LOGGED.1 {
            evicted = true;
            self.evict();
        }
        self.shares.add(item.account, (1, item.size()));
        self.entries.push_back((now, item));
        evicted
    }

    /// Drops broadcasts that are too old.
    pub(super) fn expire(&mut self, now: Time) {
        while self.entries.front().is_some_and(|(at, _)| now.since(*at) >= KEEP) {
            self.remove(0);
        }
    }

    fn evict(&mut self) {
        let are_many = self.len() >= MAX_LOGGED.0;
        let largest = self.shares.largest(|size| if are_many { size.0 } else { size.1 });
        let oldest = self.entries.iter().position(|(_, item)| item.account == largest);
        self.remove(oldest.unwrap_or(0));
    }

    fn remove(&mut self, at: usize) {
        let Some((_, item)) = self.entries.remove(at) else { return };
        self.shares.remove(item.account, (1, item.size()));
    }

    /// The broadcasts of a life, in the order of their arrival.
    pub(super) fn of<'a>(&'a self, life: &Life) -> impl Iterator<Item = &'a Arc<Item>> {
        self.entries.iter().map(|(_, item)| item).filter(move |item| item.origin == *life)
    }

    /// The broadcasts of a life that arrived after this time.
    pub(super) fn since<'a>(&'a self, life: &Life, begin: Time) -> impl Iterator<Item = &'a Arc<Item>> {
        let entries = self.entries.iter().filter(move |(at, item)| *at >= begin && item.origin == *life);
        entries.map(|(_, item)| item)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn bytes(&self) -> usize {
        self.shares.all().1
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{item, life},
        *,
    };

    const BEGIN: Time = Time::ZERO;

    #[test]
    fn the_log_keeps_a_minute() {
        let mut log = Log::default();
        log.push(BEGIN, item("a", 1, 1));
        log.push(BEGIN + Duration::from_secs(1), item("a", 1, 2));
        log.expire(BEGIN + KEEP);
        assert_eq!((log.len(), log.of(&life("a", 1)).next().map(|item| item.seq)), (1, Some(2)));
        log.expire(BEGIN + KEEP + Duration::from_secs(1));
        assert_eq!((log.len(), log.shares.all()), (0, (0, 0)));
    }

    #[test]
    fn one_host_may_fill_the_log_under_any_names_until_others_need_their_share() {
        let mut log = Log::default();
        let count = |log: &Log, name| log.of(&life(name, 1)).count();
        (1..=400).for_each(|seq| _ = log.push(BEGIN, item("loud", 1, seq)));
        assert_eq!(count(&log, "loud"), MAX_LOGGED.0);
        (1..=64).for_each(|seq| {
            for name in ["b", "c", "d"] {
                log.push(BEGIN, item(name, 1, seq));
            }
        });
        assert_eq!(["loud", "b", "c", "d"].map(|name| count(&log, name)), [64; 4]);
        (401..=900).for_each(|seq| _ = log.push(BEGIN, item(&format!("l{seq}"), 1, 1)));
        let counts = ["loud", "b", "c", "d"].map(|name| count(&log, name));
        assert!(counts[1..].iter().all(|count| *count >= 63), "{counts:?}");
    }

    #[test]
    fn bytes_are_bounded_as_well() {
        let mut log = Log::default();
        for seq in 1..=1000 {
            let mut large = Arc::into_inner(item("a", 1, seq)).unwrap();
            large.payload = vec![0; 512].into();
            log.push(BEGIN, Arc::new(large));
        }
        assert!(log.bytes() <= MAX_LOGGED.1 && log.len() > 200, "{} of {}", log.len(), log.bytes());
    }
}
