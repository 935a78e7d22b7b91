//! The flag that asks threads to end. Any thread may raise it, once and for all.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use parking_lot::Mutex;

/// A flag that asks threads to end, in place of the cancellation of a context. Any clone can raise it and every clone sees it;
/// threads that [wait](Self::wait) for it wake at once. It is never lowered.
///
/// # Examples
///
/// ```
/// use std::{thread, time::Duration};
/// use syncswim::Stop;
///
/// let stop = Stop::new();
/// let worker = thread::spawn({
///     let stop = stop.clone();
///     move || while !stop.wait(Duration::from_secs(30)) { /* every 30 s, until stopped */ }
/// });
/// stop.stop();
/// worker.join().unwrap();
/// ```
#[derive(Clone)]
pub struct Stop {
    // To raise the flag is to drop the only sender, which disconnects all receivers. Nothing is ever sent.
    raise: Arc<Mutex<Option<Sender<Infallible>>>>,
    raised: Receiver<Infallible>,
}

impl Stop {
    /// A flag that is not raised.
    #[must_use]
    pub fn new() -> Self {
        let (raise, raised) = bounded(0);
        Self { raise: Arc::new(Mutex::new(Some(raise))), raised }
    }

    /// Raises the flag. Raising it again does nothing.
    pub fn stop(&self) {
        self.raise.lock().take();
    }

    /// Whether the flag is raised.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.raised.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Waits until the flag is raised, at most `limit`. Returns whether it is raised, so that `while !stop.wait(interval)` is a
    /// loop of periodic work.
    pub fn wait(&self, limit: Duration) -> bool {
        self.raised.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
    }

    /// For [`select!`](crossbeam_channel::select): never has a message, and disconnects when the flag is raised (or when the
    /// last `Stop` is dropped, for a clone of the receiver that outlives it).
    ///
    /// # Examples
    ///
    /// ```
    /// use syncswim::{Stop, crossbeam_channel::{never, select}};
    ///
    /// let (stop, work) = (Stop::new(), never::<u8>());
    /// stop.stop();
    /// select! {
    ///     recv(work) -> _ => unreachable!(),
    ///     recv(stop.receiver()) -> _ => println!("stopped"),
    /// }
    /// ```
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Infallible> {
        &self.raised
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

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_clone_raises_the_flag_of_all() {
        let stop = Stop::new();
        assert!(!stop.is_stopped() && !stop.wait(Duration::ZERO));
        stop.clone().stop();
        stop.stop();
        assert!(stop.is_stopped() && stop.wait(Duration::ZERO));
        assert_eq!(format!("{stop:?}"), "Stop { stopped: true }");
    }

    #[test]
    fn a_waiter_wakes_when_stopped_however_long_it_meant_to_wait() {
        for limit in [LONG, Duration::MAX] {
            let stop = Stop::new();
            std::thread::scope(|scope| {
                let waiter = scope.spawn(|| stop.wait(limit));
                stop.stop();
                assert!(waiter.join().unwrap());
            });
        }
    }
}
