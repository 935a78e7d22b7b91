//! Anti-entropy: when two nodes exchange their tables (push/pull), besides a join.
//!
//! Periodically with a random member; a few times soon after this node went live; and with a member whose digest of its
//! table differs while no updates are under way.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    dissemination::ENOUGH_MET, node::Node, phase::Phase, session::Purpose, share::Account, time::Time,
    timers::Timer, validation::Sender,
};

/// Exchanges soon after going live in a small cluster.
const FIRST_SYNCS: u32 = 3;

/// With updates about more members, about ten packets of them, gossip alone takes long: many join at once, or a
/// partition has ended.
const SWAMPED: usize = 400;

/// Accounts whose digests are put off apart from those of others.
pub(super) const MAX_APART: usize = 8;

/// When the next exchange may begin.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SyncPace {
    /// Exchanges after this node went live that are still to come soon.
    first_left: u32,
    for_digests: BackOff,
}

impl SyncPace {
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.for_digests.of_each.len()
    }
}

/// When a digest that differs may begin an exchange. After one that changed nothing, or failed, digests of the same
/// [`Account`] are ignored for longer and longer; and those of all, once exchanges with several changed nothing: a single
/// member may send false digests.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct BackOff {
    of_all: Pause,
    /// The pauses of accounts that had an exchange recently.
    of_each: Vec<(Account, Pause)>,
}

/// The effect of an exchange on this node's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taught {
    Something,
    Nothing,
    /// It failed, by the other side's fault.
    Failed,
}

/// Digests are ignored until then, and for how long the next time.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Pause {
    until: Time,
    length: Duration,
}

impl Pause {
    fn begin(&mut self, now: Time, shortest: Duration) {
        self.until = now + self.length.max(shortest);
    }

    fn lengthen(&mut self, shortest: Duration, longest: Duration) {
        self.length = self.length.saturating_mul(2).min(longest).max(shortest);
    }
}

impl BackOff {
    /// Whether a digest that differs may begin an exchange now.
    pub(crate) fn may_begin(&self, now: Time, with: Account) -> bool {
        let its = self.of_each.iter().find(|(other, _)| *other == with);
        self.of_all.until <= now && its.is_none_or(|(_, pause)| pause.until <= now)
    }

    /// It has begun one: the next are ignored for a while, and twice as long from the same account. Otherwise a member that
    /// sends digests all the time would be the first whenever one may begin.
    pub(crate) fn begin(&mut self, now: Time, with: Account, bounds: (Duration, Duration)) {
        let (shortest, longest) = bounds;
        self.of_all.begin(now, shortest);
        if let Some(pause) = self.pause_of(now, with, longest) {
            pause.begin(now, shortest.saturating_mul(2));
        }
    }

    /// An exchange has ended.
    pub(crate) fn adapt(&mut self, now: Time, with: Account, taught: Taught, bounds: (Duration, Duration)) {
        let (shortest, longest) = bounds;
        let its = self.pause_of(now, with, longest);
        match (taught, its) {
            (Taught::Something, its) => {
                its.into_iter().for_each(|pause| pause.length = Duration::ZERO);
                self.of_all.length = shortest;
            }
            (_, Some(pause)) => pause.lengthen(shortest, longest),
            (Taught::Nothing, None) => self.of_all.lengthen(shortest, longest),
            (Taught::Failed, None) => {}
        }
    }

    /// The pause of an account, if there is room for one more.
    fn pause_of(&mut self, now: Time, with: Account, longest: Duration) -> Option<&mut Pause> {
        // Nothing is held against those whose last exchange taught something.
        let is_over = |pause: &Pause| pause.length.is_zero() || now.since(pause.until) >= longest;
        self.of_each.retain(|(other, pause)| *other == with || pause.until > now || !is_over(pause));
        let at = self.of_each.iter().position(|(other, _)| *other == with).or_else(|| {
            let has_room = self.of_each.len() < MAX_APART;
            has_room.then(|| self.of_each.push((with, Pause { until: now, length: Duration::ZERO })))?;
            Some(self.of_each.len() - 1)
        });
        Some(&mut self.of_each[at?].1)
    }
}

impl Node {
    fn sync_bounds(&self) -> (Duration, Duration) {
        (self.config.probe_interval, self.config.sync_interval)
    }

    /// A push/pull with the member at an address has ended, or failed by that member's fault.
    pub(super) fn adapt_sync_pace(&mut self, with: SocketAddr, digest_before: Option<u64>) {
        let taught = match digest_before {
            None => Taught::Failed,
            Some(before) if before == self.table.digest() => Taught::Nothing,
            Some(_) => Taught::Something,
        };
        let (account, bounds) = (self.table.account_of(with), self.sync_bounds());
        self.sync_pace.for_digests.adapt(self.now, account, taught, bounds);
    }

    /// A member told its settled digest: if it differs from this node's, tables are exchanged.
    pub(super) fn compare_digest(&mut self, sender: &Sender, theirs: u64) {
        let ours = self.settled_digest();
        let differ = ours != 0 && theirs != 0 && ours != theirs;
        let live = self.id_of(sender).map(|id| self.table.get(id)).filter(|record| record.state.is_live());
        let Some(addr) = live.map(|record| record.addr).filter(|_| differ) else { return };
        let account = self.table.account_of(addr);
        if self.sync_pace.for_digests.may_begin(self.now, account)
            && self.open(Purpose::Sync, addr, self.config.stream_timeout).is_some()
        {
            let bounds = self.sync_bounds();
            self.sync_pace.for_digests.begin(self.now, account, bounds);
        }
    }

    /// The table's digest, or 0 while updates are under way and tables are bound to differ: unless there are this many that an
    /// exchange of tables is faster.
    pub(super) fn settled_digest(&self) -> u64 {
        let told = self.updates.is_empty() || self.updates.len() > SWAMPED;
        let settled = told && matches!(self.phase, Phase::Starting | Phase::Live);
        if settled { self.table.digest() } else { 0 }
    }

    /// A node that goes live in a small cluster exchanges tables again soon, a few times: many may have started at once, and
    /// updates about those that came later may have passed it by, or got lost.
    pub(super) fn schedule_first_syncs(&mut self) {
        if self.table.others() < ENOUGH_MET {
            self.sync_pace.first_left = FIRST_SYNCS;
        }
        let delay = self.next_sync_delay().mul_f64(0.5 + self.rng.f64() / 2.0);
        self.set_timer(Timer::Sync, delay);
    }

    /// The first exchanges double their distance; then they are periodic.
    fn next_sync_delay(&mut self) -> Duration {
        let Some(left) = self.sync_pace.first_left.checked_sub(1) else {
            return self.scaled_sync_interval();
        };
        self.sync_pace.first_left = left;
        self.config.gossip_interval * 2_u32.pow(FIRST_SYNCS - 1 - left) / 2
    }

    pub(super) fn sync_periodically(&mut self) {
        if !self.watches() {
            return;
        }
        let delay = self.next_sync_delay();
        let next = self.jittered(delay);
        self.set_timer(Timer::Sync, next);
        self.sync_with_anybody();
    }

    pub(super) fn sync_with_anybody(&mut self) {
        if let Some((_, addr)) = self.pick_alive(1, None).pop() {
            self.open(Purpose::Sync, addr, self.config.stream_timeout);
        }
    }

    pub(super) fn scaled_sync_interval(&self) -> Duration {
        self.config.sync_interval.saturating_mul(sync_stretch(self.table.estimated_size()))
    }
}

/// Exchanges are stretched in large clusters: by 1 up to 32 members, then by `⌈log2 n − 5⌉ + 1`.
fn sync_stretch(n: usize) -> u32 {
    match n {
        0..=32 => 1,
        n => (n - 1).ilog2() + 1 - 5 + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_clusters_sync_less_often() {
        for (n, stretch) in
            [(1, 1), (32, 1), (33, 2), (64, 2), (65, 3), (128, 3), (1000, 6), (2000, 7), (10_000, 10)]
        {
            assert_eq!(sync_stretch(n), stretch, "n = {n}");
        }
    }
}
