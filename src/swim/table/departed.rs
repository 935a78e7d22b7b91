//! The departed members, in the order in which they are forgotten where they are too many.
//!
//! First those that never answered; then, of the host that has most, the one that departed first: who has many names could
//! have others forgotten, with what they have refuted.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use crate::swim::{member::MemberId, time::Time};

/// Its host if it was met (where others are is what is said of them), when it departed, its id.
pub(in crate::swim) type Departure = (Option<IpAddr>, Time, MemberId);

type Departures = BTreeSet<(Time, MemberId)>;

/// How many of a host there are, and when the first of them departed.
type Turn = (usize, Reverse<Time>, Option<IpAddr>);

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Departed {
    of: BTreeMap<Option<IpAddr>, Departures>,
    /// Of each host; the greatest gives way.
    turns: BTreeSet<Turn>,
    all: usize,
}

impl Departed {
    pub(super) fn len(&self) -> usize {
        self.all
    }

    pub(super) fn insert(&mut self, (host, at, id): Departure) {
        self.all += usize::from(self.change(host, |its| its.insert((at, id))));
    }

    pub(super) fn remove(&mut self, (host, at, id): Departure) {
        self.all -= usize::from(self.change(host, |its| its.remove(&(at, id))));
    }

    fn change(&mut self, host: Option<IpAddr>, act: impl FnOnce(&mut Departures) -> bool) -> bool {
        let its = self.of.entry(host).or_default();
        if let Some(turn) = turn(host, its) {
            self.turns.remove(&turn);
        }
        let changed = act(its);
        match turn(host, its) {
            Some(turn) => _ = self.turns.insert(turn),
            None => _ = self.of.remove(&host),
        }
        changed
    }

    pub(super) fn first_to_forget(&self) -> Option<MemberId> {
        let largest = || self.turns.last().and_then(|(.., host)| self.of.get(host));
        let its = self.of.get(&None).or_else(largest)?;
        its.first().map(|(_, id)| *id)
    }
}

fn turn(host: Option<IpAddr>, its: &Departures) -> Option<Turn> {
    its.first().map(|(at, _)| (its.len(), Reverse(*at), host))
}
