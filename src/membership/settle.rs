//! Waiting until a membership is settled: enough peers are active, and nothing changes.

use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use serde::{Deserialize, Serialize};

use super::{Membership, snapshot::Snapshot};
use crate::{Error, blocking};

/// What [`Membership::settled`] waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
#[must_use = "`Membership::settled` waits for it"]
pub struct Settle {
    /// How many peers must be active. Defaults to 1.
    pub at_least: usize,
    /// How long nothing may have changed. If it is too short, peers are still coming; defaults to 1 s.
    pub quiet: Duration,
    /// How long to wait for both, at least [`quiet`](Self::quiet). Defaults to 30 s.
    pub limit: Duration,
}

impl Default for Settle {
    fn default() -> Self {
        Self { at_least: 1, quiet: Duration::from_secs(1), limit: Duration::from_secs(30) }
    }
}

impl Settle {
    /// One peer, one second without a change, and 30 seconds for both.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many peers must be active. Defaults to 1.
    pub fn at_least(self, peers: usize) -> Self {
        Self { at_least: peers, ..self }
    }

    /// How long nothing may have changed. Defaults to 1 s.
    pub fn quiet(self, quiet: Duration) -> Self {
        Self { quiet, ..self }
    }

    /// How long to wait for both. Defaults to 30 s.
    pub fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }
}

impl Membership {
    /// Waits until enough peers are active and nothing has changed for some time, and returns the peers then. A program
    /// calls it once, before it shares work among the peers for the first time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use syncswim::{Membership, Settle};
    ///
    /// let membership = Membership::new();
    /// membership.add(["a:1", "b:1"]);
    /// let quiet = Duration::from_millis(50);
    /// let peers = membership.settled(&Settle::new().at_least(2).quiet(quiet))?;
    /// assert_eq!(peers.active().len(), 2);
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if the set did not settle within `limit`; [`Error::Invalid`] if it cannot, because `quiet` is
    /// longer; [`Error::Stopped`] if the cluster of this membership ends meanwhile.
    pub fn settled(&self, settle: &Settle) -> Result<Snapshot, Error> {
        let Settle { at_least, quiet, limit } = *settle;
        if quiet > limit {
            let problem =
                format!("is {limit:?}, and `quiet` {quiet:?}: nothing can settle in less; raise `limit`");
            return Err(Error::invalid("limit", problem));
        }
        let watch = self.watch();
        // The first item is the state now, and no change.
        let _ = watch.try_recv();
        let begun = blocking::now();
        let mut changed = begun;
        loop {
            let peers = self.snapshot();
            if watch.try_recv().is_ok() {
                changed = blocking::now();
            }
            let now = blocking::now();
            let (active, calm) = (peers.active_len(), now.duration_since(changed));
            if active >= at_least && calm >= quiet {
                return Ok(peers);
            }
            let left = limit.saturating_sub(now.duration_since(begun));
            if left.is_zero() {
                let what = format!(
                    "{at_least} active peers and {quiet:?} without a change: there are {active}, and the last change was {calm:.0?} ago"
                );
                return Err(Error::Timeout { what, took: limit });
            }
            let wait = if active >= at_least { quiet.saturating_sub(calm).min(left) } else { left };
            match watch.recv_timeout(wait) {
                Ok(_) => changed = blocking::now(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Stopped),
            }
        }
    }
}
