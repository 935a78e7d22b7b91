//! A subscription to the changes of a membership. The changes that wait for it are in the [`backlog`](super::backlog).

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, TryRecvError};

use super::{
    backlog::{Backlog, Waiting},
    change::MembershipChange,
};
use crate::{
    collections::fanout::Subscription,
    reader::{Reader, iterates},
};

/// A subscription to a [`Membership`](crate::Membership), from [`watch`](crate::Membership::watch). Dropping it cancels it.
///
/// The first item is the state at the moment of the call, possibly empty; then comes every change, in order. For a
/// watcher that falls more than 64 changes or 4096 names behind, all later changes are folded into one change, from the
/// last one that waits to the latest state. So what it reads always leads to the right set, in memory that grows with
/// the number of peers and not with that of changes.
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
        Reader::recv(self)
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
    /// use syncswim::RecvTimeoutError;
    ///
    /// let membership = syncswim::Membership::new();
    /// let watch = membership.watch();
    /// assert!(watch.recv_timeout(Duration::from_secs(1)).is_ok());
    /// assert_eq!(watch.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    /// ```
    pub fn recv_timeout(&self, limit: Duration) -> Result<MembershipChange, RecvTimeoutError> {
        Reader::recv_timeout(self, limit)
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
    /// use syncswim::TryRecvError;
    ///
    /// let membership = syncswim::Membership::new();
    /// let watch = membership.watch();
    /// assert!(watch.try_recv().unwrap().is_empty());
    /// assert_eq!(watch.try_recv(), Err(TryRecvError::Empty));
    /// drop(membership);
    /// assert_eq!(watch.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    pub fn try_recv(&self) -> Result<MembershipChange, TryRecvError> {
        Reader::try_recv(self)
    }

    /// Every change, waiting for each, until the membership or its cluster has ended. `for change in &watch` does the same.
    pub fn iter(&self) -> impl Iterator<Item = MembershipChange> {
        self
    }

    /// For [`select!`](crossbeam_channel::select): the receiver is ready while a change waits, and always once the
    /// watch has ended. Then call [`try_recv`](Self::try_recv) once. This may find nothing, if another thread has taken
    /// the change or it was undone in the meantime.
    ///
    /// # Examples
    ///
    /// ```
    /// use syncswim::{Membership, TryRecvError, crossbeam_channel::{never, select}};
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
        Reader::receiver(self)
    }
}

impl Reader for Watch {
    type Item = MembershipChange;

    fn receiver(&self) -> &Receiver<()> {
        self.0.receiver()
    }

    fn try_recv(&self) -> Result<MembershipChange, TryRecvError> {
        self.0.try_recv().map(Waiting::into_change)
    }
}

iterates!(Watch, MembershipChange);
