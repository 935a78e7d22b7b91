//! Runs discoveries on threads: the first that fails stops all, and the last one to end ends the watches.

use std::{
    convert::Infallible,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::{BoxError, Discovery, Error, Membership, Stop, error::message_of, membership::SourceId};

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
/// Its watches end with it: with its last discovery, or when it is dropped before its start.
#[must_use = "nothing runs before `start`"]
pub struct Cluster {
    watched: Watched,
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
    // Behind a mutex only to be `Sync`.
    discovery: Mutex<Box<dyn Discovery>>,
}

#[derive(Default)]
struct Run {
    stop: Stop,
    failure: Mutex<Option<Error>>,
}

/// The cluster owns it before its start. Then every thread holds one reference, so that the watches end with the last thread,
/// however it ends.
struct Watched {
    membership: Membership,
    /// Never used: that it is dropped says it all.
    _finished: Sender<Infallible>,
}

impl Cluster {
    /// A cluster with an empty membership and no discovery.
    pub fn new() -> Self {
        let (_finished, finished) = bounded(0);
        let watched = Watched { membership: Membership::new(), _finished };
        Self { watched, finished, discoveries: Vec::new() }
    }

    /// Adds a discovery. Several may tell of the same peers: see [`Discovery::start`].
    pub fn with_discovery(mut self, discovery: impl Discovery) -> Self {
        let name = discovery.name().into_owned();
        let discovery: Box<dyn Discovery> = Box::new(discovery);
        self.discoveries.push(Named { name, discovery: discovery.into() });
        self
    }

    /// The membership. This handle speaks for the application, not for a discovery: what it says is final until a discovery
    /// says something new.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.watched.membership
    }

    /// Binds every discovery on this thread, in order, then starts each on a thread of its own, called `syncswim-` and its
    /// name. A cluster without discoveries is finished at once, and so are its watches.
    ///
    /// # Errors
    ///
    /// The first [`Error::Discovery`] or [`Error::Panicked`] of a `bind`; [`Error::Spawn`] if the system refuses a thread.
    /// Nothing runs then, everything bound is released, and the watches have ended.
    pub fn start(self) -> Result<ClusterHandle, Error> {
        let Self { watched, finished, mut discoveries } = self;
        let membership = watched.membership.clone();
        let watched = Arc::new(watched);
        let bind = |named: &mut Named| guard(&named.name, || named.discovery.get_mut().bind());
        if let Err(error) = discoveries.iter_mut().try_for_each(bind) {
            for Named { name, discovery } in discoveries {
                release(&name, discovery.into_inner())
                    .unwrap_or_else(|error| log::error!("{}", error.report()));
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

    /// Asks every discovery to end, without waiting for it.
    pub fn stop(&self) {
        self.run.stop.stop();
    }

    /// The flag that [`stop`](Self::stop) raises, and so does a discovery that fails. A clone can be raised from anywhere,
    /// such as a signal handler's thread.
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

    /// Disconnected once every discovery has ended: for `select!`, or to wait with a limit before
    /// [`join`](Self::join).
    #[must_use]
    pub fn finished(&self) -> &Receiver<Infallible> {
        &self.finished
    }

    /// Waits until every discovery has ended: after [`stop`](Self::stop), a failure, or by itself.
    ///
    /// # Errors
    ///
    /// The first failure: [`Error::Discovery`] or [`Error::Panicked`], naming the discovery.
    pub fn join(mut self) -> Result<(), Error> {
        self.wait();
        self.run.failure.lock().take().map_or(Ok(()), Err)
    }

    fn spawn(&mut self, named: Named, id: SourceId, watched: Arc<Watched>) -> Result<(), Error> {
        let Named { name, discovery } = named;
        let (membership, run) = (self.membership.for_source(id), Arc::clone(&self.run));
        let what = format!("the thread of discovery `{name}`");
        // A NUL in a thread's name is a panic.
        let builder = thread::Builder::new().name(format!("syncswim-{name}").replace('\0', ""));
        let thread = builder.spawn(move || {
            let stop = &run.stop;
            let mut discovery = discovery.into_inner();
            let ended = guard(&name, || discovery.start(&membership, stop));
            // What it holds is released before anyone sees the end.
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
            // A handle that ended up inside one of its own discoveries cannot wait for that one.
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
        // Unlocked before the user's logger and error run.
        let failure = self.run.failure.lock().take();
        if let Some(error) = failure {
            log::error!("{}", error.report());
        }
    }
}

impl Run {
    /// Keeps the first failure, and stops everything.
    fn fail(&self, error: Error) {
        // A later one is the user's, too, and is dropped under no lock.
        let later = {
            let mut first = self.failure.lock();
            if first.is_some() { Some(error) } else { first.replace(error) }
        };
        self.stop.stop();
        drop(later);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.membership.close();
    }
}

/// Runs a discovery's code, and makes an error of whatever it ends with.
fn guard(name: &str, call: impl FnOnce() -> Result<(), BoxError>) -> Result<(), Error> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|source| Error::Discovery { name: name.into(), source }),
        Err(panic) => Err(Error::Panicked { what: name.into(), message: message_of(&*panic) }),
    }
}

/// Drops a discovery under a guard of its own: a drop that panics while another panic unwinds would abort the process.
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
