//! The hosts of live members, each by a hash of where a member answered last: how many are on it, and whether it was probed lately.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Hosts {
    by_hash: BTreeMap<u32, Host>,
    /// How often it was the turn of members that have answered, and which host is looked at next.
    turns: u64,
    next: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Host {
    members: u32,
    /// The turn in which one of them was probed last.
    probed: u64,
}

impl Hosts {
    /// A live member answered last on a host; 0 is of those that never answered.
    pub(super) fn enter(&mut self, host: u32) {
        if host != 0 {
            let new = Host { members: 0, probed: self.turns };
            self.by_hash.entry(host).or_insert(new).members += 1;
        }
    }

    pub(super) fn exit(&mut self, host: u32) {
        if let Some(of) = self.by_hash.get_mut(&host) {
            of.members -= 1;
            if of.members == 0 {
                self.by_hash.remove(&host);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub(super) fn members(&self, host: u32) -> usize {
        self.by_hash.get(&host).map_or(0, |of| of.members as usize)
    }

    /// Begins a turn, and names a host none of whose members was probed in two turns for each host. One host is looked at in
    /// each turn, so each has a probe within three turns for each host, however many members others have. Where all have one
    /// it is never so.
    pub(super) fn begin_turn(&mut self) -> Option<u32> {
        self.turns += 1;
        let (&host, of) =
            self.by_hash.range(self.next..).next().or_else(|| self.by_hash.first_key_value())?;
        self.next = host.wrapping_add(1);
        (self.turns - of.probed > 2 * self.by_hash.len() as u64).then_some(host)
    }

    /// A member of it is probed in this turn.
    pub(super) fn probe(&mut self, host: u32) {
        if let Some(of) = self.by_hash.get_mut(&host) {
            of.probed = self.turns;
        }
    }
}
