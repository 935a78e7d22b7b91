//! Every deadline of a node, in one ordered structure.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{member::MemberId, stream::StreamId, time::Time};

/// A kind of deadline. Each has one deadline at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Timer {
    /// The probe round ends and the next begins.
    Probe,
    /// The direct ping was not answered: ask others.
    Indirect,
    /// A member that is pinged by stream is pinged by datagram once more.
    Bare,
    /// A relay's time is up.
    Nack(u32),
    /// A suspicion runs out.
    Suspicion(MemberId),
    /// Updates wait to be sent.
    Gossip,
    /// The periodic exchange of tables.
    Sync,
    /// A failed member is to be tried at its last address.
    Reconnect,
    /// The seeds are to be contacted.
    Seeds,
    /// More addresses of joins are to be tried.
    Race,
    /// The leave is repeated, or given up.
    Leave,
    /// A departed member becomes a tombstone, later is forgotten.
    Reap(MemberId),
    /// The holder that the name was yielded to is asked again whether it is there.
    Conflict,
    /// A stream took too long.
    Stream(#[serde(with = "super::stored::StreamIdForm")] StreamId),
    /// Members of an earlier life are to be tried.
    Rejoin,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Timers {
    order: BTreeSet<(Time, Timer)>,
    #[serde(with = "super::stored::sorted")]
    at: HashMap<Timer, Time>,
}

impl Timers {
    /// Sets or moves a deadline. The last moment that can be told is never reached: what would be due then is not set,
    /// or it would be due without end.
    pub(super) fn set(&mut self, timer: Timer, at: Time) {
        self.cancel(timer);
        if at == Time::MAX {
            return;
        }
        self.order.insert((at, timer));
        self.at.insert(timer, at);
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.at.contains_key(&timer)
    }

    /// The members that timers are set for.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn members(&self) -> impl Iterator<Item = MemberId> {
        self.order.iter().filter_map(|(_, timer)| match timer {
            Timer::Suspicion(id) | Timer::Reap(id) => Some(*id),
            _ => None,
        })
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// The next deadline.
    pub(super) fn next(&self) -> Option<Time> {
        self.order.first().map(|(at, _)| *at)
    }

    /// The next of some, and when it is due.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn next_of(&self, is_one: impl Fn(Timer) -> bool) -> Option<(Time, Timer)> {
        self.order.iter().copied().find(|(_, timer)| is_one(*timer))
    }

    /// Takes the earliest timer that is due.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<Timer> {
        let (_, timer) = *self.order.first().filter(|(at, _)| *at <= now)?;
        self.cancel(timer);
        Some(timer)
    }

    /// Extends every suspicion by a stall.
    pub(super) fn extend_suspicions(&mut self, by: Duration) {
        let suspicions: Vec<_> =
            self.order.iter().copied().filter(|(_, timer)| matches!(timer, Timer::Suspicion(_))).collect();
        suspicions.into_iter().for_each(|(at, timer)| self.set(timer, at + by));
    }
}
