//! The cluster: runs discoveries on threads of their own; the first that fails stops the rest.

use std::{
    fmt, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use parking_lot::Mutex;

use crate::{BoxError, Discovery, Error, Membership, Stop, gossip::panic_message, membership::Source};

/// A membership and the discoveries that fill it.
///
/// ```
/// use syncswim::{Cluster, GossipConfig, GossipDiscovery};
///
/// let config = GossipConfig::local("node-a").bind(([127, 0, 0, 1], 0));
/// let cluster = Cluster::new().with_discovery(GossipDiscovery::new(config));
/// let changes = cluster.membership().watch(); // first item: the state now; then every change
/// let running = cluster.start()?; // sockets are bound, threads are up
/// assert!(changes.recv()?.is_empty());
/// assert_eq!(changes.recv()?.active.len(), 1);
/// running.stop(); // any thread may raise the flag
/// running.join()?; // wait for every thread; the first error, if one ended it
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Cluster {
    membership: Membership,
    /// Never contended: the lock only lets a cluster be shared though its discoveries cannot.
    discoveries: Mutex<Vec<Box<dyn Discovery>>>,
}

impl Cluster {
    /// A cluster without discoveries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a discovery. Several complement each other: a peer is active while any of them says so.
    #[must_use]
    pub fn with_discovery(mut self, discovery: impl Discovery) -> Self {
        self.discoveries.get_mut().push(Box::new(discovery));
        self
    }

    /// Who is in the cluster. What is said through this handle stands above what discoveries said before.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Binds every discovery on this thread, then starts one thread for each.
    ///
    /// # Errors
    /// [`Error::Discovery`] for the first that cannot be bound, [`Error::Spawn`] if a thread cannot be
    /// started. Nothing is left running then.
    pub fn start(self) -> Result<ClusterHandle, Error> {
        let Self { membership, discoveries } = self;
        let mut discoveries = discoveries.into_inner();
        for discovery in &mut discoveries {
            let name = discovery.name();
            catching(&name, || discovery.bind())?;
        }
        let run = Arc::new(Run {
            stop: Stop::new(),
            running: AtomicUsize::new(discoveries.len()),
            membership: membership.clone(),
            failure: Mutex::default(),
        });
        if discoveries.is_empty() {
            membership.close();
        }
        let mut handle = ClusterHandle { membership, run, threads: Vec::new() };
        for (source, discovery) in (0..).zip(discoveries) {
            // A thread that cannot be started drops the handle, which stops and joins the others.
            let thread = handle.run.spawn(source, discovery)?;
            handle.threads.push(thread);
        }
        Ok(handle)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.discoveries.lock().iter().map(|discovery| discovery.name()).collect();
        f.debug_struct("Cluster").field("membership", &self.membership).field("discoveries", &names).finish()
    }
}

/// What the threads of a running cluster share.
#[derive(Debug)]
struct Run {
    stop: Stop,
    running: AtomicUsize,
    membership: Membership,
    failure: Mutex<Option<Error>>,
}

impl Run {
    fn spawn(
        self: &Arc<Self>,
        source: Source,
        mut discovery: Box<dyn Discovery>,
    ) -> Result<JoinHandle<()>, Error> {
        let run = Arc::clone(self);
        let name = discovery.name();
        let what = format!("the thread of discovery `{name}`");
        let thread = std::thread::Builder::new().name(format!("syncswim-{name}"));
        let work = move || {
            let membership = run.membership.for_source(source);
            let result = catching(&name, || discovery.start(&membership, &run.stop));
            // Whatever it holds is let go before anybody is told that it ended.
            let dropped = catching(&name, || {
                drop(discovery);
                Ok(())
            });
            run.ended(result.and(dropped));
        };
        thread.spawn(work).map_err(|source| Error::Spawn { what, source })
    }

    fn ended(&self, result: Result<(), Error>) {
        if let Err(error) = result {
            log::error!("{error}");
            self.failure.lock().get_or_insert(error);
            self.stop.stop();
        }
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.membership.close();
        }
    }
}

/// Runs a discovery's code; its error and its panic become errors that name it.
fn catching(name: &str, code: impl FnOnce() -> Result<(), BoxError>) -> Result<(), Error> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(result) => result.map_err(|source| Error::Discovery { name: name.to_owned(), source }),
        Err(panic) => {
            let what = format!("discovery {name}");
            Err(Error::Panicked { what, message: panic_message(&*panic) })
        }
    }
}

/// A running cluster. Dropping it stops the cluster and waits for its end.
#[must_use = "dropping it stops the cluster"]
pub struct ClusterHandle {
    membership: Membership,
    run: Arc<Run>,
    threads: Vec<JoinHandle<()>>,
}

impl ClusterHandle {
    /// Who is in the cluster.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Raises the stop flag; [`join`](Self::join) waits for what follows.
    pub fn stop(&self) {
        self.run.stop.stop();
    }

    /// The stop flag, for other threads to raise or to wait for.
    #[must_use]
    pub fn stop_flag(&self) -> &Stop {
        &self.run.stop
    }

    /// Whether every discovery has ended. A cluster without discoveries is finished from the start.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.run.running.load(Ordering::Acquire) == 0
    }

    /// Waits until every discovery has ended: after a stop, after a failure, or because all are done.
    ///
    /// # Errors
    /// The first failure, which stopped the rest: [`Error::Discovery`] or [`Error::Panicked`].
    pub fn join(mut self) -> Result<(), Error> {
        self.wait();
        self.run.failure.lock().take().map_or(Ok(()), Err)
    }

    fn wait(&mut self) {
        for thread in mem::take(&mut self.threads) {
            // Panics were caught inside and are kept as the failure.
            let _ = thread.join();
        }
    }
}

impl Drop for ClusterHandle {
    fn drop(&mut self) {
        self.stop();
        self.wait();
    }
}

impl fmt::Debug for ClusterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterHandle")
            .field("membership", &self.membership)
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
