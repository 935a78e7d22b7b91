//! Runs discoveries on threads. The first one that fails stops all others; the watches end when the last one has ended.

use std::{
    convert::Infallible,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::Discovery;
use crate::{
    BoxError, Error, Membership, Stop,
    error::message_of,
    log_line::{Topic, log},
    membership::SourceId,
};

/// A membership and the discoveries that will fill it.
///
/// # Examples
///
/// ```
/// use syncswim::{Cluster, Membership, NoDiscovery, Stop};
///
/// let cluster = Cluster::new()
///     .with_discovery(NoDiscovery::new(["a:1"]))
///     .with_discovery(|membership: &Membership, _: &Stop| {
///         membership.add(["b:1"]);
///         Err("out of ideas")
///     });
/// let changes = cluster.membership().watch();
/// let running = cluster.start()?;
/// for change in &changes {
///     println!("{change:?}");
/// }
/// assert_eq!(running.join().unwrap_err().report(), "discovery `closure` failed: out of ideas");
/// # Ok::<(), syncswim::Error>(())
/// ```
///
/// The watches of its membership end when its last discovery has ended, or when it is dropped before its start.
#[must_use = "nothing runs before `start`"]
pub struct Cluster {
    watched: WatchCloser,
    finished: Receiver<Infallible>,
    discoveries: Vec<Named>,
}

/// A started [`Cluster`]. Dropping it stops the cluster and waits for its threads; an error is then only logged.
///
/// # Examples
///
/// ```
/// use syncswim::{Cluster, NoDiscovery};
///
/// let running = Cluster::new().with_discovery(NoDiscovery::new(["a:1"])).start()?;
/// let stop = running.stop_flag().clone();
/// let elsewhere = std::thread::spawn(move || stop.stop());
/// running.join()?;
/// elsewhere.join().unwrap();
/// # Ok::<(), syncswim::Error>(())
/// ```
#[must_use = "dropping it stops the cluster"]
pub struct ClusterHandle {
    membership: Membership,
    run: Arc<Run>,
    threads: Vec<JoinHandle<()>>,
    finished: Receiver<Infallible>,
}

struct Named {
    name: String,
    // The mutex is never contended: it only makes this type `Sync`.
    discovery: Mutex<Box<dyn Discovery>>,
}

#[derive(Default)]
struct Run {
    stop: Stop,
    failure: Mutex<Option<Error>>,
}

/// Closes the membership's watches when it is dropped. The cluster owns it before the start. Then every thread holds one
/// reference, so that the watches end with the last thread, however that ends.
struct WatchCloser {
    membership: Membership,
    /// Nothing is sent: dropping it disconnects [`ClusterHandle::receiver`].
    _finished: Sender<Infallible>,
}

impl Cluster {
    /// A cluster with an empty membership and no discovery.
    pub fn new() -> Self {
        let (_finished, finished) = bounded(0);
        let watched = WatchCloser { membership: Membership::new(), _finished };
        Self { watched, finished, discoveries: Vec::new() }
    }

    /// Adds a discovery. Several may report the same peers: see [`Discovery::start`].
    pub fn with_discovery(mut self, discovery: impl Discovery) -> Self {
        let name = discovery.name().into_owned();
        let discovery: Box<dyn Discovery> = Box::new(discovery);
        self.discoveries.push(Named { name, discovery: discovery.into() });
        self
    }

    /// The membership. Reports through this handle are the application's: about a peer they decide until a discovery reports
    /// something new about it.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.watched.membership
    }

    /// Binds every discovery on this thread, in order, then starts each on a thread of its own, which is named `syncswim-`
    /// and the discovery's name. A cluster without discoveries is finished at once, and its watches end.
    ///
    /// # Errors
    ///
    /// The first [`Error::Discovery`] or [`Error::Panicked`] of a [`Discovery::bind`]; [`Error::Spawn`] if the system refuses
    /// a thread. Then no discovery runs, everything that was bound is released, and the watches have ended.
    pub fn start(self) -> Result<ClusterHandle, Error> {
        let Self { watched, finished, mut discoveries } = self;
        let membership = watched.membership.clone();
        let watched = Arc::new(watched);
        let bind = |named: &mut Named| guard(&named.name, || named.discovery.get_mut().bind());
        if let Err(error) = discoveries.iter_mut().try_for_each(bind) {
            for Named { name, discovery } in discoveries {
                release(&name, discovery.into_inner())
                    .unwrap_or_else(|error| log(Topic::EndedBadly, &[("error", &error.report())]));
            }
            return Err(error);
        }
        let threads = Vec::with_capacity(discoveries.len());
        let mut handle = ClusterHandle { membership, run: Arc::default(), threads, finished };
        for (id, named) in discoveries.into_iter().enumerate() {
            handle.spawn(named, SourceId(id), Arc::clone(&watched))?;
        }
        Ok(handle)
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl ClusterHandle {
    /// The membership, as [`Cluster::membership`]. It can be read after the cluster has finished.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Asks every discovery to end, and does not wait for it.
    pub fn stop(&self) {
        self.run.stop.stop();
    }

    /// The flag that [`stop`](Self::stop) raises. A discovery that fails raises it, too. Any thread may raise a clone of it,
    /// such as that of a signal handler.
    #[must_use]
    pub fn stop_flag(&self) -> &Stop {
        &self.run.stop
    }

    /// Whether every discovery has ended, so that [`join`](Self::join) would not wait.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Whether [`join`](Self::join) will return an error.
    pub(crate) fn has_failed(&self) -> bool {
        self.run.failure.lock().is_some()
    }

    /// A receiver that never has a message, and disconnects once every discovery has ended: for `select!`, or to wait with a
    /// limit before [`join`](Self::join).
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Infallible> {
        &self.finished
    }

    /// Waits for all threads, as [`JoinHandle::join`] does for one: until every discovery has ended, after
    /// [`stop`](Self::stop), after a failure, or by itself. Then no thread, socket or descriptor of them is left.
    ///
    /// # Errors
    ///
    /// The first failure: [`Error::Discovery`] or [`Error::Panicked`], naming the discovery.
    pub fn join(mut self) -> Result<(), Error> {
        self.wait();
        self.run.failure.lock().take().map_or(Ok(()), Err)
    }

    fn spawn(&mut self, named: Named, id: SourceId, watched: Arc<WatchCloser>) -> Result<(), Error> {
        let Named { name, discovery } = named;
        let (membership, run) = (self.membership.for_source(id), Arc::clone(&self.run));
        let what = format!("the thread of discovery `{name}`");
        // A NUL in a thread's name is a panic.
        let builder = thread::Builder::new().name(format!("syncswim-{name}").replace('\0', ""));
        let thread = builder.spawn(move || {
            let stop = &run.stop;
            let mut discovery = discovery.into_inner();
            let ended = guard(&name, || discovery.start(&membership, stop));
            // The discovery's sockets are released before `join` returns and the watches end.
            if let Err(error) = ended.and(release(&name, discovery)) {
                run.fail(error);
            }
            drop(watched);
        });
        self.threads.push(thread.map_err(|source| Error::Spawn { what, source })?);
        Ok(())
    }

    fn wait(&mut self) {
        for thread in self.threads.drain(..) {
            // A handle that is dropped by one of its own discoveries cannot wait for this one.
            if thread.thread().id() == thread::current().id() {
                continue;
            }
            let what = thread.thread().name().unwrap_or_default().to_owned();
            if let Err(panic) = thread.join() {
                self.run.fail(Error::Panicked { what, message: message_of(&*panic) });
            }
        }
    }
}

impl Drop for ClusterHandle {
    fn drop(&mut self) {
        self.stop();
        self.wait();
        // The lock is released before code of the user runs: the logger and the texts of the error may be such code.
        let failure = self.run.failure.lock().take();
        if let Some(error) = failure {
            log(Topic::EndedBadly, &[("error", &error.report())]);
        }
    }
}

impl Run {
    /// Stores the first failure, and stops everything.
    fn fail(&self, error: Error) {
        // A later error is dropped after the lock is released, because its drop may be code of the user.
        let later = {
            let mut first = self.failure.lock();
            if first.is_some() { Some(error) } else { first.replace(error) }
        };
        self.stop.stop();
        drop(later);
    }
}

impl Drop for WatchCloser {
    fn drop(&mut self) {
        self.membership.close();
    }
}

/// Runs code of a discovery. An error or a panic becomes an error that names the discovery.
fn guard(name: &str, call: impl FnOnce() -> Result<(), BoxError>) -> Result<(), Error> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|source| Error::Discovery { name: name.into(), source }),
        Err(panic) => Err(Error::Panicked { what: name.into(), message: message_of(&*panic) }),
    }
}

/// Drops a discovery, guarded by itself: a drop that panics while another panic unwinds would abort the process.
fn release(name: &str, discovery: Box<dyn Discovery>) -> Result<(), Error> {
    guard(name, || {
        drop(discovery);
        Ok(())
    })
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.discoveries.iter().map(|named| &named.name).collect();
        f.debug_struct("Cluster").field("membership", self.membership()).field("discoveries", &names).finish()
    }
}

impl fmt::Debug for ClusterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ClusterHandle");
        out.field("membership", &self.membership).field("stop", &self.run.stop);
        out.field("finished", &self.is_finished()).finish()
    }
}
