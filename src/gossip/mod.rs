//! A running node: threads and sockets around one [`swim::Node`](crate::swim::Node).
//!
//! Owns the clock, the sockets, the threads and what callers see of the members. Holds no protocol rule.
//!
//! Threads of a node: `…-udp` owns the datagram socket and the clock, `…-tcp` accepts streams, and up to
//! eighteen workers run streams and look up names while there are any (`pools`); idle, there are two. Whoever changes the
//! cluster's key makes three more for that time.

mod advertise;
mod command;
mod config;
mod directory;
mod engine;
mod events;
mod external_sockets;
mod family;
mod framed_stream;
mod host_port;
mod interfaces;
mod join_attempts;
mod own_address;
mod pools;
mod queue;
mod resolve;
#[cfg(feature = "encryption")]
mod rotation;
#[cfg(feature = "encryption")]
mod secrets;
#[cfg(not(feature = "encryption"))]
#[path = "no_secrets.rs"]
mod secrets;
mod seed;
mod seed_lookup;
mod seeds;
mod sockets;
mod streams;
#[cfg(test)]
mod tests;
mod wakeup;
mod workers;

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, bounded, select};
use parking_lot::Mutex;

pub use config::{DEFAULT_PORT, GossipConfig};
pub use directory::Members;
use engine::Engine;
pub use events::{Events, EventsIter};
pub use host_port::HostPort;
use own_address::OwnAddress;
#[cfg(feature = "encryption")]
pub use rotation::{KeyStep, RotateOptions, RotatedNode, Rotation};
use secrets::{DatagramSeal, Secrets};
use seed_lookup::ReportTo;
use sockets::{Sockets, Udp};

use crate::{
    Error, Stop, Tags,
    swim::{JoinProblem, JoinResult, Joining, Member, Metrics, Node, Start},
};

/// How much longer than its own deadline a farewell is waited for.
const LEAVE_SLACK: Duration = Duration::from_millis(50);

/// A running node, for those who want more than a sorted list of peers.
///
/// Dropping it, like [`shutdown`](Self::shutdown), leaves the cluster and ends every thread.
///
/// ```
/// use syncswim::{Gossip, GossipConfig};
///
/// let a = Gossip::start(GossipConfig::local("a").bind(([127, 0, 0, 1], 0)))?;
/// let b = Gossip::start(GossipConfig::local("b").bind(([127, 0, 0, 1], 0)))?;
/// b.join([a.local().addr.to_string()])?;
/// assert_eq!(b.members().iter().map(|m| &*m.name).collect::<Vec<_>>(), ["a", "b"]);
/// b.shutdown()?;
/// # Ok::<(), syncswim::Error>(())
/// ```
#[must_use = "dropping it shuts the node down"]
pub struct Gossip {
    engine: Arc<Engine>,
    /// `None` once somebody waits for their end.
    threads: Mutex<Option<Vec<JoinHandle<()>>>>,
    /// Raised once they have ended.
    gone: Stop,
    /// Whether the farewell was begun.
    leaving: AtomicBool,
    seeds_tried: Receiver<JoinResult>,
    tickets: AtomicU64,
}

impl Gossip {
    /// Binds the sockets and starts the threads. The node then looks for its seeds by itself; without any, it
    /// is a cluster of one until it joins or is joined.
    ///
    /// # Errors
    /// [`Error::Config`] for a field that cannot work, `allow` without our own address for one,
    /// [`Error::Resolve`] for a `bind` or `advertise` that has no address, [`Error::Bind`] for an address that cannot be had,
    /// [`Error::Spawn`] if threads cannot. Nothing is left behind then.
    pub fn start(config: GossipConfig) -> Result<Self, Error> {
        config.validate()?;
        let sockets = Sockets::bind(&config)?;
        Self::run(config, sockets)
    }

    /// Starts a node on sockets that somebody else bound: a service manager (socket activation), another network namespace,
    /// a test that must know the port before. [`bind`](GossipConfig::bind) is not looked at; everything else of the
    /// configuration is, and the advertised address is found as it is for sockets of our own.
    ///
    /// Both must be bound to one address and port; the UDP socket must not be connected, the TCP socket must listen. They are
    /// made blocking, and nobody else may read from them, also not through a duplicate. The receive buffer is asked for.
    ///
    /// Streams to others are sockets that the node opens itself: from the same address, unless it is unspecified, and any
    /// port. They, and the look-up of routes and names, take place in the network namespace of the thread that calls this;
    /// so for sockets of another namespace, enter it before. Options of the sockets (marks, devices) do not pass on to them.
    ///
    /// ```
    /// use std::net::{TcpListener, UdpSocket};
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let tcp = TcpListener::bind("127.0.0.1:0")?;
    /// let udp = UdpSocket::bind(tcp.local_addr()?)?;
    /// let port = tcp.local_addr()?.port();
    /// let node = Gossip::start_on(GossipConfig::local("a"), udp, tcp)?;
    /// assert_eq!(node.bound_addr().port(), port);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] for a field that cannot work, or with the field `sockets` for sockets that cannot,
    /// [`Error::Resolve`] for an `advertise` that has no address, [`Error::Spawn`] if threads cannot be had. The sockets are
    /// closed then.
    pub fn start_on(config: GossipConfig, udp: UdpSocket, tcp: TcpListener) -> Result<Self, Error> {
        config.validate_but_addresses()?;
        let sockets = Sockets::adopt(&config, udp, tcp)?;
        Self::run(config, sockets)
    }

    fn run(config: GossipConfig, sockets: Sockets) -> Result<Self, Error> {
        let Sockets { udp, tcp, advertise } = sockets;
        // An empty list is meant: it allows nobody.
        let lists_others = config.swim.allow.as_ref().is_some_and(|networks| !networks.is_empty());
        if lists_others && !config.swim.allows(advertise.ip()) {
            let problem = format!("does not hold {advertise}, where others reach this node; add its network");
            return Err(Error::Config { field: "allow", problem });
        }
        let (udp, tcp) = (Arc::new(udp), Arc::new(tcp));
        let secrets = Secrets::of(&config);
        let epoch = wall_millis();
        let datagram_seal = DatagramSeal::new(&secrets, epoch)?;
        warn_if_open(&config.swim.name, udp.bound(), &secrets);
        let GossipConfig { mut swim, seeds, tags, .. } = config;
        swim.max_datagram -= secrets.overhead();
        let start = Start { addr: advertise, epoch, seed: random_seed(), tags };
        let seek = !seeds.is_empty();
        let (tried, seeds_tried) = bounded(16);
        let engine = Engine::new(swim.name.clone(), &udp, &tcp, seeds, tried, secrets, |now| {
            let mut node = Node::new(swim, start, now);
            if seek {
                node.seek_seeds(now);
            }
            node
        });
        let gossip = Self {
            engine: Arc::new(engine),
            threads: Mutex::new(Some(Vec::new())),
            gone: Stop::new(),
            leaving: AtomicBool::new(false),
            seeds_tried,
            tickets: AtomicU64::new(0),
        };
        gossip.engine.list_myself();
        if let Err(error) = gossip.spawn_threads(udp, tcp, datagram_seal, OwnAddress::new(advertise.ip())) {
            // Without its threads it cannot say good-bye, and nobody knows it yet.
            let _ = gossip.abort();
            return Err(error);
        }
        Ok(gossip)
    }

    fn spawn_threads(
        &self,
        udp: Arc<Udp>,
        tcp: Arc<TcpListener>,
        datagram_seal: DatagramSeal,
        own_address: OwnAddress,
    ) -> Result<(), Error> {
        let keep = |thread| self.threads.lock().get_or_insert_default().push(thread);
        let (engine, name) = (Arc::clone(&self.engine), format!("{}-udp", self.engine.name));
        keep(spawn(name, move || engine.guarded("clock", || engine.run(&udp, datagram_seal, own_address)))?);
        let (engine, name) = (Arc::clone(&self.engine), format!("{}-tcp", self.engine.name));
        keep(spawn(name, move || engine.guarded("acceptor", || streams::accept(&engine, &tcp)))?);
        Ok(())
    }

    /// Contacts seeds, of [any kind](GossipConfig::seeds), now and waits until the first is reached; afterwards they are tried again and again like those of the
    /// configuration. Returns how many were reached by then: 0 if this node is its own seed.
    ///
    /// Seeds of a join that failed are not kept. At most 256 are; beyond that, those of the earliest join give way.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no seed, if one is not `host:port` or `host`, or if `allow` or the address family of
    /// `bind` holds none of them, [`Error::Resolve`] if no seed has an address, [`Error::NameTaken`] if a live node has our
    /// name, [`Error::Join`] if none could be reached, [`Error::Left`] after [`leave`](Self::leave), [`Error::Stopped`] if
    /// the node has ended.
    pub fn join<S: AsRef<str>>(&self, seeds: impl IntoIterator<Item = S>) -> Result<usize, Error> {
        self.check_present()?;
        let seeds: Vec<String> = seeds.into_iter().map(|seed| seed.as_ref().to_owned()).collect();
        check_seeds(&seeds)?;
        let failure = Arc::default();
        let report_to = ReportTo::Caller(Arc::clone(&failure));
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (done, result) = bounded(1);
        let (addrs, names) = self.engine.sort_out(&seeds, &report_to);
        self.engine.join(ticket, &addrs, names.len(), done);
        for seed in names {
            self.engine.begin_lookup(Joining::Ticket(ticket), seed, report_to.clone());
        }
        let result = result.recv().map_err(|_| self.engine.ended())?;
        match result {
            Ok(reached) => {
                self.remember_seeds(seeds);
                Ok(reached)
            }
            Err(problem) => {
                // It may be that alone which was the problem.
                self.check_present()?;
                let failure = failure.lock().take().filter(|_| problem == JoinProblem::NoAddress);
                Err(failure.unwrap_or_else(|| self.engine.join_error(&seeds, &problem)))
            }
        }
    }

    fn remember_seeds(&self, seeds: Vec<String>) {
        let first = self.engine.seeds.lock().remember(seeds);
        if first {
            self.engine.command(|node, now| node.seek_seeds_later(now));
        }
    }

    /// Every listed member, this node included, by ascending name. O(1); see [`Members`] for what reading them costs.
    #[must_use]
    pub fn members(&self) -> Members {
        self.engine.directory.members()
    }

    /// This node, as others see it.
    #[must_use]
    pub fn local(&self) -> Member {
        self.engine.command(|node, _| node.local())
    }

    /// Where this node listens, over UDP and TCP, with the port that was bound. Others are told the address of
    /// [`local`](Self::local), which differs where this one is unspecified or another is advertised.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("0.0.0.0:0").advertise("127.0.0.1:7946"))?;
    /// assert!(node.bound_addr().ip().is_unspecified() && node.bound_addr().port() != 0);
    /// assert_eq!(node.local().addr.to_string(), "127.0.0.1:7946");
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    #[must_use]
    pub fn bound_addr(&self) -> SocketAddr {
        self.engine.bound
    }

    /// Subscribes to all events from now on.
    pub fn events(&self) -> Events {
        self.engine.directory.events()
    }

    /// The members at this moment, and a subscription to exactly what happens to them afterwards: no event is missing, and
    /// none tells of what the members show already. For a start, and after [`Event::Lost`](crate::Event::Lost).
    pub fn follow(&self) -> (Members, Events) {
        self.engine.directory.follow()
    }

    /// Shows other tags to the cluster.
    ///
    /// # Errors
    /// [`Error::Left`] after [`leave`](Self::leave), [`Error::Stopped`] if the node has ended.
    pub fn set_tags(&self, tags: Tags) -> Result<(), Error> {
        self.check_present()?;
        self.engine.command(|node, now| node.set_tags(now, tags));
        self.engine.wake();
        Ok(())
    }

    /// Says good-bye and waits until some members have heard it, at most
    /// [`leave_timeout`](crate::swim::Config::leave_timeout); whoever gets no datagrams is told by stream. The node goes on answering until it is shut
    /// down, but cannot join again or show other tags.
    ///
    /// # Errors
    /// [`Error::Unheard`] if no member confirmed it: others may take this node for failed; [`Error::Stopped`] if the node has
    /// ended; [`Error::Timeout`] if it did not get to it in time.
    pub fn leave(&self) -> Result<(), Error> {
        self.check_running()?;
        self.leaving.store(true, Ordering::Release);
        let limit = self.engine.command(|node, now| {
            node.leave(now);
            node.config().leave_timeout + LEAVE_SLACK
        });
        self.engine.wake();
        select! {
            recv(self.engine.left.receiver()) -> _ => self.farewell(),
            recv(self.engine.stop.receiver()) -> _ => {
                if self.engine.left.is_stopped() { self.farewell() } else { Err(self.engine.ended()) }
            }
            default(limit) => Err(Error::Timeout { what: "the farewell", limit }),
        }
    }

    /// What came of it.
    fn farewell(&self) -> Result<(), Error> {
        match self.engine.unheard.load(Ordering::Acquire) {
            true => Err(Error::Unheard { limit: self.engine.config.leave_timeout }),
            false => Ok(()),
        }
    }

    /// Where members see this node's datagrams come from, if that is not the address that it advertises, and if a member
    /// said so lately: a translator of addresses is on the way, say. That is normal as long as the advertised address works;
    /// if it does not, [`Event::ReachabilityLost`](crate::Event::ReachabilityLost) says so.
    #[must_use]
    pub fn observed_addr(&self) -> Option<SocketAddr> {
        self.engine.command(|node, _| node.observed_addr())
    }

    /// Counters and gauges of the protocol.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let mut metrics = self.engine.command(|node, _| node.metrics());
        metrics.add(&self.engine.io.lock());
        metrics
    }

    /// Leaves, then ends every thread and closes every socket. Calls after the first only wait for it.
    ///
    /// # Errors
    /// What had ended the node before, if something had: [`Error::Panicked`], at each call.
    pub fn shutdown(&self) -> Result<(), Error> {
        if let Err(error @ (Error::Timeout { .. } | Error::Unheard { .. })) = self.leave() {
            log::warn!("{}: {error}", self.engine.name);
        }
        self.abort()
    }

    /// Ends every thread and closes every socket without a farewell: to the others it looks like a crash.
    ///
    /// # Errors
    /// As [`shutdown`](Self::shutdown).
    pub fn abort(&self) -> Result<(), Error> {
        self.engine.shut();
        // Under no lock: others who come here meanwhile wait for the flag.
        let threads = self.threads.lock().take();
        match threads {
            Some(threads) => self.join_threads(threads),
            None => while !self.gone.wait(Duration::MAX) {},
        }
        self.engine.failure().map_or(Ok(()), Err)
    }

    fn join_threads(&self, threads: Vec<JoinHandle<()>>) {
        for thread in threads {
            // Its panic, if any, was caught and kept.
            let _ = thread.join();
        }
        self.engine.pools.close();
        self.gone.stop();
    }

    /// Disconnected once the node has ended.
    pub(crate) fn ended(&self) -> &Receiver<std::convert::Infallible> {
        self.engine.stop.receiver()
    }

    /// Replaces the seeds that come from a discovery; those that are new are contacted at once.
    pub(crate) fn offer_seeds(&self, seeds: Vec<String>) {
        self.engine.offer_seeds(seeds);
    }

    /// How each round of contacting the seeds ended.
    pub(crate) fn seeds_tried(&self) -> &Receiver<JoinResult> {
        &self.seeds_tried
    }

    /// Why the seeds could not be joined, as an error.
    pub(crate) fn seeds_error(&self, problem: &crate::swim::JoinProblem) -> Error {
        let seeds = self.engine.seeds.lock().to_vec();
        self.engine.join_error(&seeds, problem)
    }

    fn check_running(&self) -> Result<(), Error> {
        if self.engine.stop.is_stopped() { Err(self.engine.ended()) } else { Ok(()) }
    }

    /// That the node runs and has not said good-bye.
    fn check_present(&self) -> Result<(), Error> {
        self.check_running()?;
        if self.leaving.load(Ordering::Acquire) { Err(Error::Left) } else { Ok(()) }
    }
}

impl Drop for Gossip {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown() {
            log::error!("{}: {}", self.engine.name, error.report());
        }
    }
}

impl fmt::Debug for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gossip").field("local", &self.local()).finish_non_exhaustive()
    }
}

fn check_seeds(seeds: &[String]) -> Result<(), Error> {
    if seeds.is_empty() {
        let problem = "has nobody to join; give host:port of at least one node".into();
        return Err(Error::Config { field: "seeds", problem });
    }
    seeds.iter().try_for_each(|seed| resolve::check(seed))
}

/// Whoever can send to this node can join and lie, unless it has a key or only its own host reaches it.
fn warn_if_open(name: &str, bound: SocketAddr, secrets: &Secrets) {
    if !secrets.requires() && !bound.ip().to_canonical().is_loopback() {
        log::warn!(
            "{name}: listens on {bound} without requiring encryption: whoever can send there can join and lie"
        );
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let what = format!("thread {name}");
    std::thread::Builder::new().name(name).spawn(work).map_err(|source| Error::Spawn { what, source })
}

#[expect(clippy::disallowed_methods, reason = "the driver tells the core which life this is")]
fn wall_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The standard library's hasher is keyed by the system's randomness.
fn random_seed() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(wall_millis()));
    half() << 64 | half()
}
