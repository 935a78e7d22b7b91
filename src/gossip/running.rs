//! Puts the parts of a node together, starts its threads, and ends them.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, bounded, select};
use parking_lot::Mutex;

use super::{
    clock::wall_millis,
    clock_thread::{ClockThread, Outbox},
    config::GossipConfig,
    conversation::Conversations,
    counters::Counters,
    dial::Dial,
    directory::Directory,
    flight_recorder::FlightRecorder,
    inbound::Inbound,
    journal::Journal,
    outbound::Outbound,
    own_address::OwnAddress,
    peer_log::PeerLog,
    pools::Pools,
    publication::Publication,
    secrets::{DatagramSeal, Secrets},
    seed_lookup::SeedLookup,
    shared_node::SharedNode,
    sockets::{Sockets, Udp},
    state_keeper::StateKeeper,
};
use crate::{
    Error, Stop,
    data::Endpoint,
    log_line::{Field, Topic, log},
    swim::{Config, EarlierLife, JoinProblem, JoinResult, Metrics, Node, Start, Time},
    wire::hash,
};

/// How much longer than its own deadline a call waits for a leave.
const LEAVE_SLACK: Duration = Duration::from_millis(50);

/// A node with its threads. Dropping it, like [`shutdown`](Self::shutdown), leaves the cluster and ends every thread.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) node: Arc<SharedNode>,
    pub(super) publication: Arc<Publication>,
    pub(super) talk: Arc<Conversations>,
    pub(super) seeds: Arc<SeedLookup>,
    pub(super) config: Arc<Config>,
    /// The address where the node listens.
    pub(super) bound: SocketAddr,
    pub(super) seeds_tried: Receiver<JoinResult>,
    pub(super) recorder: FlightRecorder,
    state: StateKeeper,
    pools: Pools,
    /// `None` once a caller waits for the end of the threads.
    threads: Mutex<Option<Vec<JoinHandle<()>>>>,
    /// Raised once all threads have ended.
    gone: Stop,
    /// Whether the leave was begun.
    leaving: AtomicBool,
    tickets: AtomicU64,
}

/// The two threads of a node, before they run.
pub(super) struct Threads {
    pub(super) clock: ClockThread,
    pub(super) udp: Arc<Udp>,
    pub(super) inbound: Arc<Inbound>,
    pub(super) tcp: Arc<TcpListener>,
}

impl Running {
    /// The counters of the core and of the driver, and the gauges of both.
    pub(super) fn metrics(&self) -> Metrics {
        let mut metrics = self.node.call(|endpoint, _| {
            let recording_lost_inputs = endpoint.node.recording_lost_inputs();
            Metrics { recording_lost_inputs, ..endpoint.metrics() }
        });
        self.talk.counters.add_to(&mut metrics);
        self.talk.secrets.add_to(&mut metrics);
        metrics.recording = self.recorder.is_on().into();
        metrics.queued_jobs = self.pools.waiting() as u64;
        metrics.lost_events = self.publication.directory.lost();
        metrics.dropped_seeds += self.seeds.passed_over();
        metrics
    }

    /// Starts a node of a checked configuration. Its events go to the readers of `directory`.
    pub(super) fn start(
        config: GossipConfig,
        sockets: Sockets,
        directory: Arc<Directory>,
    ) -> Result<Self, Error> {
        let record = config.record.clone().map(|path| (path, config.record_limit));
        let (running, threads) = Self::assemble(config, sockets, directory)?;
        let recording = record.map_or(Ok(()), |(path, limit)| running.recorder.start(&path, limit));
        running.node.list_itself();
        let keeping =
            recording.and_then(|()| running.state.start(&running.node, &running.publication.directory));
        if let Err(error) = keeping.and_then(|()| running.spawn(threads)) {
            // Without its threads the node cannot leave, and no member knows it yet.
            let _ = running.abort();
            return Err(error);
        }
        running.tell_start();
        Ok(running)
    }

    /// Puts the parts together. No thread runs yet.
    pub(super) fn assemble(
        config: GossipConfig,
        Sockets { udp, tcp, advertise }: Sockets,
        directory: Arc<Directory>,
    ) -> Result<(Self, Threads), Error> {
        check_own_network(&config.swim, advertise)?;
        let (udp, tcp) = (Arc::new(udp), Arc::new(tcp));
        let (bound, counters) = (udp.bound(), Arc::new(Counters::default()));
        let state = StateKeeper::read(&config, &counters)?;
        let secrets = Arc::new(Secrets::of(&config, &counters));
        let epoch = wall_millis();
        let seal = DatagramSeal::new(&secrets, &config.swim.name, epoch)?;
        warn_if_open(&config.swim.name, bound, &secrets);
        let overhead = config.sealing_overhead();
        let follows = config.advertise.is_none() && bound.ip().is_unspecified();
        let GossipConfig { mut swim, seeds, tags, .. } = config;
        let dial = Dial::new(bound, swim.max_datagram);
        swim.max_datagram -= overhead;
        let (name, config) = (swim.name.clone(), Arc::new(swim.clone()));
        let start = Start { addr: advertise, epoch, seed: random_seed(), tags };

        let (tried, seeds_tried) = bounded(16);
        let publication = Arc::new(Publication::new(directory, tried));
        let pools = Pools::new(&name);
        let node = SharedNode::new(name, Arc::clone(&publication), (&udp, &tcp), |now| {
            begin(Endpoint::new(Node::new(swim, start, now)), now, state.past(), !seeds.is_empty())
        });
        let node = Arc::new(node);
        let talk = Arc::new(Conversations {
            node: Arc::clone(&node),
            secrets,
            counters,
            dial,
            cluster: hash::cluster(&config.cluster),
            peers: Arc::new(PeerLog::new(&config.name)),
        });
        let own = (bound, udp.family());
        let seeds = Arc::new(SeedLookup::new(&node, &publication, &config, own, pools.names.clone(), seeds));
        let running = Self {
            recorder: FlightRecorder::new(Arc::clone(&node), Arc::clone(&talk.counters)),
            node,
            publication,
            talk,
            seeds,
            config,
            bound,
            seeds_tried,
            state,
            pools,
            threads: Mutex::new(Some(Vec::new())),
            gone: Stop::new(),
            leaving: AtomicBool::new(false),
            tickets: AtomicU64::new(0),
        };
        let inbound = Arc::new(Inbound::new(&running.talk, &running.config, &running.pools));
        let clock = running.clock_thread(seal, OwnAddress::new(advertise, follows));
        Ok((running, Threads { clock, udp, inbound, tcp }))
    }

    /// A node whose threads do not run, for the tests of its parts.
    #[cfg(test)]
    pub(super) fn idle() -> (Self, Threads) {
        let config = GossipConfig::local("a").bind(([127, 0, 0, 1], 0));
        let sockets = Sockets::bind(&config).unwrap();
        Self::assemble(config, sockets, Arc::default()).unwrap()
    }

    fn clock_thread(&self, seal: DatagramSeal, own_address: OwnAddress) -> ClockThread {
        ClockThread {
            node: Arc::clone(&self.node),
            publication: Arc::clone(&self.publication),
            outbound: Outbound::new(&self.talk, &self.pools),
            seeds: Arc::clone(&self.seeds),
            counters: Arc::clone(&self.talk.counters),
            config: Arc::clone(&self.config),
            seal,
            own_address,
            outbox: Outbox::default(),
            journal: Journal::new(&self.config.name, self.config.probe_interval),
            peers: Arc::clone(&self.talk.peers),
            cluster: self.talk.cluster,
        }
    }

    fn tell_start(&self) {
        let addr = self.node.with(|node, _| node.local().addr);
        let encryption = match (self.talk.secrets.requires(), self.talk.secrets.seals()) {
            (true, _) => "required",
            (false, true) => "sent",
            (false, false) => "off",
        };
        let fields: [Field<'_>; 5] = [
            ("addr", &addr),
            ("bound", &self.bound),
            ("cluster", &self.config.cluster),
            ("encryption", &encryption),
            ("node", &self.node.name),
        ];
        log(Topic::NodeStarted, &fields);
    }

    pub(super) fn spawn(&self, Threads { clock, udp, inbound, tcp }: Threads) -> Result<(), Error> {
        let keep = |thread| self.threads.lock().get_or_insert_default().push(thread);
        let node = Arc::clone(&self.node);
        keep(spawn(format!("{}-udp", node.name), move || node.guarded("clock", || clock.run(&udp)))?);
        let node = Arc::clone(&self.node);
        keep(spawn(format!("{}-tcp", node.name), move || node.guarded("acceptor", || inbound.accept(&tcp)))?);
        Ok(())
    }

    pub(super) fn join(&self, seeds: Vec<String>) -> Result<usize, Error> {
        self.check_present()?;
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (done, result) = bounded(1);
        let failure = self.seeds.join(ticket, &seeds, done);
        let result = result.recv().map_err(|_| self.node.ended())?;
        match result {
            Ok(reached) => {
                // If one of the seeds is this node itself, seeds that cannot be used are reported nevertheless.
                let failure = failure.lock().take().filter(|_| reached == 0);
                failure.map_or(Ok(()), Err)?;
                self.seeds.remember(seeds);
                Ok(reached)
            }
            Err(problem) => {
                // If the node has left or ended meanwhile, that is the error.
                self.check_present()?;
                let failure = failure.lock().take().filter(|_| problem == JoinProblem::NoAddress);
                Err(failure.unwrap_or_else(|| self.seeds.join_error(&seeds, problem)))
            }
        }
    }

    pub(super) fn leave(&self) -> Result<(), Error> {
        self.check_running()?;
        self.leaving.store(true, Ordering::Release);
        let limit = self.node.call(|endpoint, now| {
            endpoint.leave(now);
            endpoint.node.config().leave_timeout + LEAVE_SLACK
        });
        self.node.wake();
        let left = &self.publication.left;
        select! {
            recv(left.receiver()) -> _ => self.leave_outcome(),
            recv(self.node.stop.receiver()) -> _ => {
                if left.is_stopped() { self.leave_outcome() } else { Err(self.node.ended()) }
            }
            default(limit) => Err(Error::Timeout { what: "the end of the leave".into(), took: limit }),
        }
    }

    /// The result of the leave.
    fn leave_outcome(&self) -> Result<(), Error> {
        match self.publication.was_leave_confirmed() {
            true => Ok(()),
            false => Err(Error::LeaveUnconfirmed { took: self.config.leave_timeout }),
        }
    }

    pub(super) fn shutdown(&self) -> Result<(), Error> {
        if let Err(error @ (Error::Timeout { .. } | Error::LeaveUnconfirmed { .. })) = self.leave() {
            let error = error.report();
            log(Topic::LeaveUnconfirmed, &[("error", &error), ("node", &self.node.name)]);
        }
        self.abort()
    }

    pub(super) fn abort(&self) -> Result<(), Error> {
        self.node.shut();
        // Under no lock: other callers meanwhile wait for the flag.
        let threads = self.threads.lock().take();
        match threads {
            Some(threads) => self.join_threads(threads),
            None => while !self.gone.wait(Duration::MAX) {},
        }
        self.node.failure().map_or(Ok(()), Err)
    }

    fn join_threads(&self, threads: Vec<JoinHandle<()>>) {
        for thread in threads {
            // A panic of the thread, if any, was caught and stored.
            let _ = thread.join();
        }
        self.recorder.stop();
        self.state.finish();
        self.pools.close();
        self.gone.stop();
    }

    pub(super) fn check_running(&self) -> Result<(), Error> {
        if self.node.stop.is_stopped() { Err(self.node.ended()) } else { Ok(()) }
    }

    /// Checks that the node runs and has not left.
    pub(super) fn check_present(&self) -> Result<(), Error> {
        self.check_running()?;
        if self.leaving.load(Ordering::Acquire) { Err(Error::Left) } else { Ok(()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown() {
            let error = error.report();
            log(Topic::EndedBadly, &[("error", &error), ("node", &self.node.name)]);
        }
    }
}

/// Checks that the allowed networks include this node. An empty list is intended: it allows no peer.
fn check_own_network(swim: &Config, advertise: SocketAddr) -> Result<(), Error> {
    let lists_others = swim.allow.as_ref().is_some_and(|networks| !networks.is_empty());
    if lists_others && !swim.allows(advertise.ip()) {
        let problem = format!("does not hold {advertise}, where others reach this node; add its network");
        return Err(Error::config("allow", problem));
    }
    Ok(())
}

/// Warns that anybody who can send to this node can join and lie, unless it requires encryption or is bound to
/// loopback.
fn warn_if_open(name: &str, bound: SocketAddr, secrets: &Secrets) {
    if !secrets.requires() && !bound.ip().to_canonical().is_loopback() {
        let hint = "anybody who can send there can join and lie; require encryption";
        log(Topic::EncryptionOff, &[("bound", &bound), ("hint", &hint), ("node", &name)]);
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let what = format!("thread {name}");
    std::thread::Builder::new().name(name).spawn(work).map_err(|source| Error::Spawn { what, source })
}

/// A new node that looks for members of an earlier life, or contacts seeds.
fn begin(mut endpoint: Endpoint, now: Time, past: Option<&EarlierLife>, seeks: bool) -> Endpoint {
    if let Some(past) = past {
        endpoint.node.rejoin(now, past);
    }
    if seeks {
        endpoint.node.seek_seeds(now);
    }
    endpoint
}

/// The standard library's hasher is keyed by the system's randomness.
fn random_seed() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(wall_millis()));
    half() << 64 | half()
}
