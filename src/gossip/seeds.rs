//! The seeds that are tried repeatedly.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// Seeds of joins that are stored beside those of the configuration; beyond that, the oldest is dropped.
const MAX_JOINED: usize = 256;
/// Seeds of a discovery that are stored; further ones are ignored.
const MAX_OFFERED: usize = 1024;
/// Addresses whose seed is remembered, for log lines.
const MAX_FOUND: usize = 1024;

/// First the seeds of the configuration, then those of joins by age, then those of a discovery, without duplicates.
#[derive(Debug, Default)]
pub(super) struct Seeds {
    all: Vec<String>,
    configured: usize,
    offered: Vec<String>,
    found: BTreeMap<SocketAddr, String>,
    /// Seeds that are being looked up, with the number of callers that wait for each.
    lookups: BTreeMap<String, usize>,
    /// Seeds whose last look-up failed.
    failed: BTreeSet<String>,
    passed_over: u64,
}

impl Seeds {
    pub(super) fn new(configured: Vec<String>) -> Self {
        Self { configured: configured.len(), all: configured, ..Self::default() }
    }

    pub(super) fn to_vec(&self) -> Vec<String> {
        let offered = self.offered.iter().filter(|seed| !self.all.contains(seed));
        self.all.iter().chain(offered).cloned().collect()
    }

    /// How many seeds were dropped so far because there were too many.
    pub(super) fn passed_over(&self) -> u64 {
        self.passed_over
    }

    pub(super) fn len(&self) -> usize {
        self.to_vec().len()
    }

    /// All seeds in the order of look-up: those whose last look-up failed come last, as they may block their thread again.
    pub(super) fn begin_round(&mut self) -> Vec<String> {
        self.found.clear();
        let mut seeds = self.to_vec();
        self.failed.retain(|seed| seeds.contains(seed));
        seeds.sort_by_key(|seed| self.failed.contains(seed));
        seeds
    }

    /// Adds the seeds of a join that succeeded. Returns whether they are the first.
    pub(super) fn remember(&mut self, seeds: Vec<String>) -> bool {
        let were_none = self.all.is_empty();
        let skip = seeds.len().saturating_sub(MAX_JOINED);
        self.passed_over += skip as u64;
        for seed in seeds.into_iter().skip(skip) {
            if !self.all.contains(&seed) {
                self.all.push(seed);
            }
        }
        let too_many = self.all.len().saturating_sub(self.configured + MAX_JOINED);
        self.passed_over += too_many as u64;
        self.all.drain(self.configured..self.configured + too_many);
        were_none && !self.all.is_empty()
    }

    /// Replaces the seeds of a discovery. Returns the new ones.
    pub(super) fn offer(&mut self, mut offered: Vec<String>) -> Vec<String> {
        self.passed_over += offered.len().saturating_sub(MAX_OFFERED) as u64;
        offered.truncate(MAX_OFFERED);
        let new = offered.iter().filter(|seed| !self.offered.contains(seed) && !self.all.contains(seed));
        let new = new.cloned().collect();
        self.offered = offered;
        new
    }

    /// Whether the caller must begin a look-up; otherwise one is under way, whose result counts for both.
    pub(super) fn begin_lookup(&mut self, seed: &str) -> bool {
        let waiting = self.lookups.entry(seed.into()).or_default();
        *waiting += 1;
        *waiting == 1
    }

    /// Ends a look-up. Returns how many callers have waited for it.
    pub(super) fn end_lookup(&mut self, seed: &str, failed: bool) -> usize {
        if failed {
            self.failed.insert(seed.into());
        } else {
            self.failed.remove(seed);
        }
        self.lookups.remove(seed).unwrap_or(1)
    }

    pub(super) fn found(&mut self, seed: &str, addrs: &[SocketAddr]) {
        for addr in addrs.iter().take(MAX_FOUND.saturating_sub(self.found.len())) {
            self.found.insert(*addr, seed.into());
        }
    }

    /// The seed that an address came from, if its text differs from the address.
    pub(super) fn text_of(&self, addr: SocketAddr) -> Option<String> {
        self.found.get(&addr).filter(|seed| **seed != addr.to_string()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_of_joins_are_bounded_and_the_oldest_give_way_but_none_of_the_configuration() {
        let mut seeds = Seeds::new(vec!["configured".into()]);
        for at in 0..10 * MAX_JOINED {
            assert!(!seeds.remember(vec!["configured".into(), at.to_string(), at.to_string()]));
        }
        let all = seeds.to_vec();
        assert_eq!((all.len(), &*all[0], &*all[MAX_JOINED]), (1 + MAX_JOINED, "configured", "2559"));
        let mut seeds = Seeds::new(vec![]);
        assert!(
            !seeds.remember(vec![]) && seeds.remember(vec!["a".into()]) && !seeds.remember(vec!["b".into()])
        );
        seeds.remember((0..1_000).map(|at| at.to_string()).collect());
        assert_eq!(seeds.to_vec().len(), MAX_JOINED);
    }

    #[test]
    fn seeds_of_a_discovery_are_replaced_and_new_ones_are_returned() {
        let texts = |seeds: &[&str]| seeds.iter().map(|seed| (*seed).to_owned()).collect::<Vec<_>>();
        let mut seeds = Seeds::new(texts(&["a"]));
        assert_eq!(seeds.offer(texts(&["a", "b", "c"])), ["b", "c"]);
        assert_eq!(seeds.to_vec(), ["a", "b", "c"]);
        assert_eq!(seeds.offer(texts(&["c", "d"])), ["d"]);
        assert_eq!(seeds.to_vec(), ["a", "c", "d"]);
        seeds.offer((0..5_000).map(|at| at.to_string()).collect());
        assert_eq!((seeds.len(), seeds.passed_over()), (1 + MAX_OFFERED, 5_000 - MAX_OFFERED as u64));
    }

    #[test]
    fn a_seed_is_looked_up_once_at_a_time_and_failed_ones_come_last() {
        let mut seeds = Seeds::new(["a", "b", "c"].map(String::from).to_vec());
        assert!(seeds.begin_lookup("a") && !seeds.begin_lookup("a") && seeds.begin_lookup("b"));
        assert_eq!((seeds.end_lookup("a", true), seeds.end_lookup("b", false)), (2, 1));
        assert_eq!(seeds.begin_round(), ["b", "c", "a"]);
        assert!(seeds.begin_lookup("a"));
        seeds.end_lookup("a", false);
        assert_eq!(seeds.begin_round(), ["a", "b", "c"]);
    }

    #[test]
    fn the_seed_that_an_address_came_from_is_known() {
        let mut seeds = Seeds::default();
        let addr = |at: u32| SocketAddr::from((std::net::Ipv4Addr::from_bits(at), 1));
        seeds.found("db", &(1..3_000).map(addr).collect::<Vec<_>>());
        assert_eq!((seeds.text_of(addr(1)).as_deref(), seeds.found.len()), (Some("db"), MAX_FOUND));
        seeds.begin_round();
        assert_eq!(seeds.text_of(addr(1)), None);
    }
}
