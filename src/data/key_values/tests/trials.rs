//! The promises about key–values, and what is needed to check them in clusters.

use std::{collections::BTreeMap, time::Duration};

use super::super::{KeyValues, NotSet, OwnerMap};
use crate::{
    sim::{World, addr},
    swim::{Config, Event},
};

pub(super) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A map as a reader sees it: epoch, version, and the keys with their values.
type Seen = (u64, u64, BTreeMap<String, Vec<u8>>);

/// Starts `n` nodes and waits until they see each other.
pub(super) fn cluster(seed: u64, n: usize, config: impl Fn(String) -> Config) -> World {
    let mut world = World::new(seed);
    world.start_cluster(n, config);
    world.run_until("one view", secs(10), |world| world.all_see(n));
    world.run_for(secs(3));
    world
}

pub(super) fn key_values(world: &World, host: usize) -> &KeyValues {
    &world.hosts[host].endpoint.as_ref().expect("it is up").key_values
}

pub(super) fn set(world: &mut World, host: usize, key: &str, value: &[u8]) -> u64 {
    try_set(world, host, key, Some(value)).unwrap().unwrap()
}

pub(super) fn delete(world: &mut World, host: usize, key: &str) -> Option<u64> {
    try_set(world, host, key, None).unwrap()
}

pub(super) fn try_set(
    world: &mut World,
    host: usize,
    key: &str,
    value: Option<&[u8]>,
) -> Result<Option<u64>, NotSet> {
    world.drive_with(host, |endpoint, now| endpoint.set(now, key, value))
}

pub(super) fn map_at<'a>(world: &'a World, host: usize, owner: &str) -> Option<&'a OwnerMap> {
    key_values(world, host).map(owner)
}

pub(super) fn value_at(world: &World, host: usize, owner: &str, key: &str) -> Option<Vec<u8>> {
    Some(map_at(world, host, owner)?.get(key)?.value.to_vec())
}

fn seen(map: &OwnerMap) -> Seen {
    let keys = map.iter().map(|(key, entry)| (key.to_string(), entry.value.to_vec()));
    (map.epoch, map.version, keys.collect())
}

/// What a host sees of the owners that are up.
fn live_maps(world: &World, host: usize) -> BTreeMap<String, Seen> {
    let live = world.up().map(|host| world.hosts[host].config.name.clone());
    let maps = live.filter_map(|name| Some((name.clone(), seen(map_at(world, host, &name)?))));
    maps.filter(|(_, (_, version, _))| *version > 0).collect()
}

/// Whether all nodes that are up see the maps as their owners have them.
pub(super) fn views_are_true(world: &World) -> bool {
    let own = |host: usize| {
        let name = world.hosts[host].config.name.clone();
        map_at(world, host, &name).map(|map| (name, seen(map)))
    };
    let truth: BTreeMap<_, _> = world.up().filter_map(own).collect();
    let truth = truth.into_iter().filter(|(_, (_, version, _))| *version > 0).collect();
    let mut hosts = world.up();
    hosts.all(|host| live_maps(world, host) == truth)
}

/// Lets time pass until views are true.
pub(super) fn run_until_true(world: &mut World, limit: Duration) -> Duration {
    world.run_until("true key-values", limit, views_are_true)
}

/// The promises that hold after each step: two digests are equal exactly if the maps are, versions never go back, and no key
/// that a node has seen deleted returns.
#[derive(Debug, Default)]
pub(super) struct Observer {
    /// By host, its life and owner: epoch and version.
    versions: BTreeMap<(usize, u64, String), (u64, u64)>,
    /// By host, its life, owner, epoch and key: the version seen last, deletions included.
    keys: BTreeMap<(usize, u64, String, u64, String), u64>,
    /// How many events of a host's life were processed.
    events: BTreeMap<(usize, u64), usize>,
}

impl Observer {
    pub(super) fn look(&mut self, world: &World) {
        let seed = world.seed();
        for host in world.up() {
            let node = world.node(host);
            let life = node.local().identity.epoch;
            let key_values = key_values(world, host);
            assert_eq!(key_values.audit(), Ok(()), "seed {seed}: host {host}");
            self.forget_reaped(world, host, life);
            for (owner, owned) in key_values.view().1.iter() {
                let map = &owned.map;
                let at = format!("seed {seed}: {owner} at host {host}");
                let listed = node.listed_life(owner);
                // A departed member's later life that has departed as well causes no event.
                let is_of_life =
                    listed.is_some_and(|(epoch, live)| epoch == map.epoch || !live && epoch > map.epoch);
                assert!(is_of_life, "{at}: of an old life");
                let seen = self.versions.entry((host, life, owner.to_string())).or_default();
                let now = (map.epoch, map.version);
                assert!(*seen <= now, "{at}: {seen:?}, then {now:?}");
                *seen = now;
                let at_key = |key: &str| (host, life, owner.to_string(), map.epoch, key.to_string());
                for (key, entry) in map.iter() {
                    let seen = self.keys.entry(at_key(key)).or_default();
                    assert!(*seen <= entry.version, "{at}: {key} of {seen} returns as {}", entry.version);
                    *seen = entry.version;
                }
                let first = (host, life, owner.to_string(), map.epoch, String::new());
                let gone = self.keys.range_mut(first..);
                let of_map =
                    gone.take_while(|(at, _)| (at.0, at.1, &*at.2, at.3) == (host, life, owner, map.epoch));
                for (at, seen) in of_map.filter(|(at, _)| map.get(&at.4).is_none()) {
                    *seen = map.version.max(*seen);
                    let _ = at;
                }
            }
        }
    }

    /// A map that was dropped with its owner begins anew, with as much as other members know of it.
    fn forget_reaped(&mut self, world: &World, host: usize, life: u64) {
        let events = &world.hosts[host].events;
        let seen = self.events.entry((host, life)).or_default();
        for (_, event) in events.get(*seen..).unwrap_or_default() {
            if let (Event::Reaped { .. }, Some(member)) = (event, event.member()) {
                self.versions.remove(&(host, life, member.name.to_string()));
            }
        }
        *seen = events.len();
    }

    /// Two nodes that see the same members have equal digests exactly if they have equal maps.
    pub(super) fn compare(world: &World) {
        let hosts: Vec<_> = world.up().collect();
        for pair in hosts.windows(2) {
            let [one, other] =
                [pair[0], pair[1]].map(|host| (key_values(world, host).digest, live_maps(world, host)));
            let live = pair.iter().map(|host| world.node(*host).members());
            let live = live.map(|members| members.into_iter().filter(|member| member.state.is_live()));
            let live: Vec<Vec<_>> =
                live.map(|members| members.map(|member| member.identity.epoch).collect()).collect();
            if live[0] == live[1] {
                assert!((one.0 == other.0) == (one.1 == other.1), "seed {}: hosts {pair:?}", world.seed());
            }
        }
    }
}

/// Starts a node that joins through the first.
pub(super) fn start_another(world: &mut World, config: Config) -> usize {
    let at = addr(world.hosts.len());
    world.start(config, at, vec![addr(0)])
}
