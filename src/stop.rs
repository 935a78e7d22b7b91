//! The flag that replaces context cancellation.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use parking_lot::Mutex;

/// A flag that is raised once and can be waited for. Clones share it; any thread may raise it.
///
/// ```
/// use std::time::Duration;
/// use syncswim::Stop;
///
/// let stop = Stop::new();
/// assert!(!stop.wait(Duration::from_millis(1)));
/// stop.clone().stop();
/// assert!(stop.is_stopped() && stop.wait(Duration::MAX));
/// ```
#[derive(Clone)]
pub struct Stop {
    /// Raising the flag is dropping the only sender: that wakes everybody at once and needs no message.
    raised: Arc<Mutex<Option<Sender<Infallible>>>>,
    receiver: Receiver<Infallible>,
}

impl Stop {
    /// A flag that is not raised.
    #[must_use]
    pub fn new() -> Self {
        let (sender, receiver) = bounded(0);
        Self { raised: Arc::new(Mutex::new(Some(sender))), receiver }
    }

    /// Raises the flag. Further calls do nothing.
    pub fn stop(&self) {
        *self.raised.lock() = None;
    }

    /// Whether the flag is raised.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.receiver.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Sleeps until the flag is raised, at most `limit`; says whether it is raised.
    pub fn wait(&self, limit: Duration) -> bool {
        match self.receiver.recv_timeout(limit) {
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
            Ok(never) => match never {},
        }
    }

    /// For `select!`: never yields a message, and is disconnected once the flag is raised.
    ///
    /// ```
    /// use crossbeam_channel::{never, select};
    /// use syncswim::Stop;
    ///
    /// let (stop, work) = (Stop::new(), never::<()>());
    /// stop.stop();
    /// select! {
    ///     recv(stop.receiver()) -> _ => println!("stopping"),
    ///     recv(work) -> job => unreachable!("{job:?}"),
    /// }
    /// ```
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Infallible> {
        &self.receiver
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").field("stopped", &self.is_stopped()).finish()
    }
}
