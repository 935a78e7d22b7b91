//! The subscription to a membership's changes.

use std::{iter::FusedIterator, time::Duration};

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, TryRecvError};

use super::{
    backlog::{Backlog, Waiting},
    change::MembershipChange,
    fanout::Subscription,
};

/// A subscription to a [`Membership`](crate::Membership), from [`watch`](crate::Membership::watch). Dropping it cancels it.
///
/// The first item is the state at the moment of the call, possibly empty; then comes every change, in order. A watcher that
/// falls more than 64 changes or 4096 names behind gets the rest as one change from where it then is to the latest state, so
/// that applying what it reads always leads to the right set, in memory that grows with the peers and not with the changes.
///
/// Threads may share a watch by reference; each change then goes to one of them.
///
/// # Examples
///
/// ```
/// use syncswim::Membership;
///
/// let membership = Membership::new();
/// let watch = membership.watch();
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         for change in &watch {
///             println!("active {:?}, left {:?}, removed {:?}", change.active, change.left, change.removed);
///         }
///     });
///     membership.add(["a:1", "b:1"]);
///     drop(membership);
/// });
/// ```
#[derive(Debug)]
#[must_use = "dropping a watch cancels it"]
pub struct Watch(Subscription<Backlog>);

impl Watch {
    pub(crate) fn new(subscription: Subscription<Backlog>) -> Self {
        Self(subscription)
    }

    /// Waits for the next change.
    ///
    /// # Errors
    ///
    /// When the membership or its cluster has ended and everything was read.
    pub fn recv(&self) -> Result<MembershipChange, RecvError> {
        self.0.recv().map(Waiting::into_change)
    }

    /// Waits for the next change, at most `limit`.
    ///
    /// # Errors
    ///
    /// `Timeout` if none came in time; `Disconnected` as [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use crossbeam_channel::RecvTimeoutError;
    ///
    /// let membership = syncswim::Membership::new();
    /// let watch = membership.watch();
    /// assert!(watch.recv_timeout(Duration::from_secs(1)).is_ok());
    /// assert_eq!(watch.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    /// ```
    pub fn recv_timeout(&self, limit: Duration) -> Result<MembershipChange, RecvTimeoutError> {
        self.0.recv_timeout(limit).map(Waiting::into_change)
    }

    /// The next change if one waits.
    ///
    /// # Errors
    ///
    /// `Empty` if none waits; `Disconnected` as [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use crossbeam_channel::TryRecvError;
    ///
    /// let membership = syncswim::Membership::new();
    /// let watch = membership.watch();
    /// assert!(watch.try_recv().unwrap().is_empty());
    /// assert_eq!(watch.try_recv(), Err(TryRecvError::Empty));
    /// drop(membership);
    /// assert_eq!(watch.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    pub fn try_recv(&self) -> Result<MembershipChange, TryRecvError> {
        self.0.try_recv().map(Waiting::into_change)
    }

    /// Every change, waiting for each, until the membership or its cluster has ended. `for change in &watch` does the same.
    pub fn iter(&self) -> impl FusedIterator<Item = MembershipChange> + '_ {
        self.0.iter().map(Waiting::into_change).fuse()
    }

    /// For [`select!`](crossbeam_channel::select): when it fires, call [`try_recv`](Self::try_recv). Once per firing is
    /// enough, as it fires again while more waits, and always once the watch has ended. It may also find nothing: another
    /// thread was faster, or what waited was undone meanwhile.
    ///
    /// # Examples
    ///
    /// ```
    /// use crossbeam_channel::{TryRecvError, never, select};
    /// use syncswim::Membership;
    ///
    /// let membership = Membership::new();
    /// let (watch, work) = (membership.watch(), never::<u8>());
    /// drop(membership);
    /// loop {
    ///     select! {
    ///         recv(work) -> _ => unreachable!(),
    ///         recv(watch.receiver()) -> _ => match watch.try_recv() {
    ///             Ok(change) => println!("{change:?}"),
    ///             Err(TryRecvError::Empty) => {}
    ///             Err(TryRecvError::Disconnected) => break,
    ///         },
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn receiver(&self) -> &Receiver<()> {
        self.0.receiver()
    }
}

impl Iterator for Watch {
    type Item = MembershipChange;

    fn next(&mut self) -> Option<MembershipChange> {
        self.recv().ok()
    }
}

impl Iterator for &Watch {
    type Item = MembershipChange;

    fn next(&mut self) -> Option<MembershipChange> {
        self.recv().ok()
    }
}

impl FusedIterator for Watch {}
impl FusedIterator for &Watch {}
