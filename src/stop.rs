//! The flag that asks threads to end: raised once, by anyone, and then for ever.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use parking_lot::Mutex;

/// A flag that ends things: any clone raises it, every clone sees it, and whoever waits on it wakes at once.
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
    // Raising the flag is dropping the only sender: it reaches all receivers, and there is nothing to read.
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

    /// Waits until the flag is raised, at most `limit`. True once it is raised: the loop condition of periodic work.
    pub fn wait(&self, limit: Duration) -> bool {
        self.raised.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
    }

    /// For [`select!`](crossbeam_channel::select): yields nothing, ever, and disconnects when the flag is raised
    /// (or when a clone of this receiver has outlived the last `Stop`).
    ///
    /// # Examples
    ///
    /// ```
    /// use crossbeam_channel::{never, select};
    /// use syncswim::Stop;
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
