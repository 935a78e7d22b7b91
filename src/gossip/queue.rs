//! A fair queue: the jobs that wait for a thread and those that run, by accounts.
//!
//! It owns no thread and reads no clock. An account is the host that a job is done for or with ([`account_of`]). An account
//! may use all threads that no other account wants. While others wait, it has a *share*, a quarter of the threads and at
//! least one, so that one address, or a few, cannot hold all of them:
//!
//! - the next job belongs to the account with the fewest running jobs; among equals, accounts take turns;
//! - if all threads run and an account below its share waits, the oldest job of the account with the most running jobs, if
//!   that is more than its share, is asked to give its place back;
//! - if no more may wait, the account with the most waiting jobs loses its last, unless that is the newcomer's own account.

use std::{
    collections::{HashSet, VecDeque},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use crate::address::host_of;

/// The host that a job is for; `None` for the node itself.
pub(super) type Account = Option<IpAddr>;

/// Each host is an account.
pub(super) fn account_of(ip: IpAddr) -> Account {
    Some(host_of(ip))
}

/// The bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Jobs that run at the same time.
    pub(super) threads: usize,
    /// Jobs that may wait.
    pub(super) waiting: usize,
    /// Whether running jobs are recalled for waiting ones.
    pub(super) recalls: bool,
}

impl Limits {
    /// The threads of one account while others wait.
    fn share(self) -> usize {
        (self.threads / 4).max(1)
    }
}

/// A job's claim on a thread, which the queue may recall.
#[derive(Debug, Clone, Default)]
pub(super) struct Place(Arc<AtomicBool>);

impl Place {
    /// Whether the job must end, so that another can run.
    pub(super) fn is_recalled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn recall(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[derive(Debug)]
pub(super) struct Queue<J> {
    limits: Limits,
    waiting: VecDeque<Waiting<J>>,
    /// The oldest first.
    running: Vec<(Account, Place)>,
}

#[derive(Debug)]
struct Waiting<J> {
    account: Account,
    /// When the job expires; it is not begun after that.
    until: Option<Instant>,
    job: J,
}

impl<J> Queue<J> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, waiting: VecDeque::new(), running: Vec::new() }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Queues a job; returns the one that was displaced for lack of room, this or another.
    pub(super) fn push(&mut self, account: Account, until: Option<Instant>, job: J) -> Option<J> {
        let displaced = if self.waiting.len() < self.limits.waiting {
            None
        } else {
            match self.displace(account) {
                None => return Some(job),
                displaced => displaced,
            }
        };
        self.waiting.push_back(Waiting { account, until, job });
        self.recall();
        displaced
    }

    /// Makes room for one more waiting job of an account, if another account has more.
    fn displace(&mut self, newcomer: Account) -> Option<J> {
        let of = |account| self.waiting.iter().filter(|waiting| waiting.account == account).count();
        // Among accounts with equally many jobs, the one whose job came last.
        let largest =
            self.waiting.iter().map(|waiting| waiting.account).max_by_key(|account| of(*account))?;
        if of(largest) <= of(newcomer) + 1 {
            return None;
        }
        let last = self.waiting.iter().rposition(|waiting| waiting.account == largest)?;
        self.waiting.remove(last).map(|waiting| waiting.job)
    }

    /// The next job to run; call [`end`](Self::end) once it has run.
    pub(super) fn next(&mut self) -> Option<(Place, J)> {
        if self.running.len() >= self.limits.threads {
            return None;
        }
        let accounts = self.waiting.iter().map(|waiting| waiting.account).enumerate();
        let (at, account) = accounts.min_by_key(|(_, account)| self.running_of(*account))?;
        let Waiting { job, .. } = self.waiting.remove(at)?;
        self.put_last(account);
        let place = Place::default();
        self.running.push((account, place.clone()));
        self.recall();
        Some((place, job))
    }

    /// Moves the waiting jobs of an account that had its turn behind those of others.
    fn put_last(&mut self, account: Account) {
        let (its, others): (VecDeque<_>, _) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.account == account);
        self.waiting = others;
        self.waiting.extend(its);
    }

    /// Frees the place of a job that has ended.
    pub(super) fn end(&mut self, place: &Place) {
        self.running.retain(|(_, of)| !of.is(place));
    }

    /// Removes and returns the jobs that have expired.
    pub(super) fn take_late(&mut self, now: Instant) -> Vec<J> {
        let is_late = |waiting: &Waiting<J>| waiting.until.is_some_and(|until| until <= now);
        if !self.waiting.iter().any(is_late) {
            return Vec::new();
        }
        let (late, rest): (VecDeque<_>, _) = std::mem::take(&mut self.waiting).into_iter().partition(is_late);
        self.waiting = rest;
        late.into_iter().map(|waiting| waiting.job).collect()
    }

    /// Removes and returns all waiting jobs.
    pub(super) fn take_waiting(&mut self) -> Vec<J> {
        std::mem::take(&mut self.waiting).into_iter().map(|waiting| waiting.job).collect()
    }

    fn running_of(&self, account: Account) -> usize {
        self.running.iter().filter(|(of, _)| *of == account).count()
    }

    /// Recalls as many places as there are waiting accounts that run fewer jobs than their share.
    fn recall(&mut self) {
        if !self.limits.recalls || self.running.len() < self.limits.threads {
            return;
        }
        let share = self.limits.share();
        let short = self.waiting.iter().map(|waiting| waiting.account);
        let short: HashSet<_> = short.filter(|account| self.running_of(*account) < share).collect();
        let recalled = self.running.iter().filter(|(_, place)| place.is_recalled()).count();
        for _ in recalled..short.len() {
            let kept = |account| {
                let is_kept = |(of, place): &&(Account, Place)| *of == account && !place.is_recalled();
                self.running.iter().filter(is_kept).count()
            };
            let Some(most) = self.running.iter().map(|(of, _)| *of).max_by_key(|of| kept(*of)) else {
                return;
            };
            let oldest = self.running.iter().find(|(of, place)| *of == most && !place.is_recalled());
            let Some((_, oldest)) = oldest.filter(|_| kept(most) > share) else { return };
            oldest.recall();
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
