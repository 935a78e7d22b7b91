//! What the threads of a node share, and the thread that owns the datagram socket and the clock.
//!
//! That thread waits for a datagram until the next deadline, takes in all that has arrived, fires what is due
//! and sends what came of it. Everybody else locks the node, feeds it, and wakes this thread: only it sends
//! datagrams and publishes events, so they go out in order and under no lock.

use std::{
    any::Any,
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use super::{
    advertise::{System, is_reached_from},
    directory::Directory,
    family::Family,
    join_attempts::JoinAttempts,
    own_address::OwnAddress,
    pools::Pools,
    secrets::{DatagramSeal, Secrets},
    seeds::Seeds,
    sockets::Udp,
    streams,
    wakeup::Wakeup,
};
use crate::{
    Error, Stop,
    blocking::is_nothing,
    error::message_of,
    swim::{self, Destination, JoinProblem, JoinResult, Metrics, Node, Output, Time},
    warn::Throttle,
    wire::hash,
};

/// The core's time starts this far back, so that the age of every departure can be told.
const ORIGIN: Duration = Duration::from_secs(20_000 * 3600);
/// Bytes taken in before what came of them is passed on; a datagram counts as a thousand at least. It bounds the events
/// that one turn can cause.
const MAX_TAKEN: usize = 1 << 16;
/// So many times, before what is due gets its turn.
const MAX_TURNS: usize = 64;
/// Datagrams encoded under one lock.
const MAX_BATCH: usize = 64;
/// The pause after a receive error that is none of ours.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) name: String,
    /// What stands for the name in sealed datagrams.
    mark: u32,
    pub(super) stream_timeout: Duration,
    pub(super) stop: Stop,
    /// Raised once the farewell is over.
    pub(super) left: Stop,
    /// Nobody has confirmed it.
    pub(super) unheard: AtomicBool,
    /// Where this node reaches itself.
    pub(super) myself: SocketAddr,
    /// Where this node listens.
    pub(super) bound: SocketAddr,
    family: Family,
    pub(super) warnings: Throttle,
    pub(super) directory: Directory,
    pub(super) pools: Pools,
    pub(super) join_attempts: JoinAttempts,
    pub(super) waiting_joins: Mutex<HashMap<u64, Sender<JoinResult>>>,
    pub(super) seeds: Mutex<Seeds>,
    pub(super) seeds_tried: Sender<JoinResult>,
    /// What the driver counted.
    pub(super) io: Mutex<Metrics>,
    pub(super) secrets: Secrets,
    /// For its networks.
    pub(super) config: swim::Config,
    failure: Mutex<Option<Failure>>,
    wake_handles: Mutex<Option<WakeHandles>>,
    node: Mutex<Node>,
    clock: Clock,
    wakes: Wakeup,
}

/// Both sockets, for those who wake the threads that wait on them. Gone once the node is shut, so that each
/// socket closes with its thread and no handle keeps a port.
#[derive(Debug)]
struct WakeHandles {
    udp: Arc<Udp>,
    tcp: Arc<TcpListener>,
}

/// A panic: who, and what it said.
#[derive(Debug, Clone)]
struct Failure {
    what: String,
    message: String,
}

/// The driver's clock.
#[derive(Debug)]
struct Clock(Instant);

#[expect(clippy::disallowed_methods, reason = "this is the driver's clock")]
impl Clock {
    fn now(&self) -> Time {
        Time::from_origin(ORIGIN + Instant::now().saturating_duration_since(self.0))
    }
}

impl Engine {
    #[expect(clippy::disallowed_methods, reason = "this is the driver's clock")]
    pub(super) fn new(
        name: String,
        udp: &Arc<Udp>,
        tcp: &Arc<TcpListener>,
        seeds: Vec<String>,
        seeds_tried: Sender<JoinResult>,
        secrets: Secrets,
        make: impl FnOnce(Time) -> Node,
    ) -> Self {
        let clock = Clock(Instant::now());
        let node = make(clock.now());
        Self {
            stream_timeout: node.config().stream_timeout,
            stop: Stop::new(),
            left: Stop::new(),
            unheard: AtomicBool::new(false),
            myself: udp.myself(),
            bound: udp.bound(),
            family: udp.family(),
            warnings: Throttle::default(),
            directory: Directory::default(),
            pools: Pools::new(&name),
            join_attempts: JoinAttempts::default(),
            waiting_joins: Mutex::default(),
            seeds: Mutex::new(Seeds::new(seeds)),
            seeds_tried,
            io: Mutex::default(),
            secrets,
            config: node.config().clone(),
            failure: Mutex::default(),
            wake_handles: Mutex::new(Some(WakeHandles { udp: Arc::clone(udp), tcp: Arc::clone(tcp) })),
            node: Mutex::new(node),
            clock,
            wakes: Wakeup::default(),
            mark: hash::member(&name),
            name,
        }
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Runs something on the locked node. Nothing in it may block; [`wake`](Self::wake) afterwards.
    pub(super) fn with_node<R>(&self, act: impl FnOnce(&mut Node, Time) -> R) -> R {
        let mut node = self.node.lock();
        act(&mut node, self.clock.now())
    }

    /// Makes the node a member before anybody can ask or listen: its own *joined* is the first thing it says.
    pub(super) fn list_myself(&self) {
        if let Some(Output::Event(event)) = self.with_node(|node, _| node.poll_output()) {
            self.directory.publish(&event);
        }
    }

    /// [`with_node`](Self::with_node) for a caller's thread: a panic in the core ends the node, then goes on to the caller.
    pub(super) fn command<R>(&self, act: impl FnOnce(&mut Node, Time) -> R) -> R {
        catch_unwind(AssertUnwindSafe(|| self.with_node(act))).unwrap_or_else(|panic| {
            self.fail("caller", &*panic);
            resume_unwind(panic)
        })
    }

    /// Has the clock thread look at the node: there may be something to send, or an earlier deadline.
    pub(super) fn wake(&self) {
        if !self.wakes.ask() {
            return;
        }
        let udp = self.wake_handles.lock().as_ref().map(|wake_handles| Arc::clone(&wake_handles.udp));
        if let Some(Err(error)) = udp.map(|udp| udp.wake()) {
            self.wakes.not_sent();
            log::debug!("{}: cannot wake: {error}", self.name);
        }
    }

    /// Runs a thread's work; a panic ends the whole node, so that there is no half of one.
    pub(super) fn guarded(&self, what: &str, work: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            self.fail(what, &*panic);
        }
    }

    fn fail(&self, what: &str, panic: &(dyn Any + Send)) {
        let failure = Failure { what: format!("{what} of node {}", self.name), message: message_of(panic) };
        let first = self.failure.lock().get_or_insert(failure).clone();
        self.shut();
        // Last of all: it may be the logger that panics.
        log::error!("{} panicked: {}", first.what, first.message);
    }

    /// What ended the node, if it did not end because it was asked to.
    pub(super) fn failure(&self) -> Option<Error> {
        let failure = self.failure.lock().clone();
        failure.map(|Failure { what, message }| Error::Panicked { what, message })
    }

    /// What to tell those who ask something of a node that has ended.
    pub(super) fn ended(&self) -> Error {
        self.failure().unwrap_or(Error::Stopped)
    }

    /// Ends every thread and wakes everybody who waits.
    pub(super) fn shut(&self) {
        self.stop.stop();
        let wake_handles = self.wake_handles.lock().take();
        if let Some(WakeHandles { udp, tcp }) = wake_handles {
            udp.end_wait();
            streams::end_accept(&tcp, self.myself);
        }
        self.waiting_joins.lock().clear();
        self.directory.close();
    }

    pub(super) fn count(&self, add: impl FnOnce(&mut Metrics)) {
        add(&mut self.io.lock());
    }

    /// Counts a datagram that the node never sees.
    pub(super) fn count_dropped(&self, len: u64, reason: impl FnOnce(&mut Metrics) -> &mut u64) {
        self.count(|counted| {
            counted.datagrams_received += 1;
            counted.bytes_received += len;
            *reason(counted) += 1;
        });
    }

    /// The clock thread.
    pub(super) fn run(
        self: &Arc<Self>,
        udp: &Udp,
        mut datagram_seal: DatagramSeal,
        mut own_address: OwnAddress,
    ) {
        let mut buffer = vec![0; 1 << 16];
        let mut outbox = Outbox::default();
        while !self.stop.is_stopped() {
            self.look_around(&mut own_address);
            self.turn(udp, &mut datagram_seal, &mut buffer, &mut outbox);
        }
    }

    /// Sends, waits for a datagram until the next deadline, and fires what is due.
    fn turn(
        self: &Arc<Self>,
        udp: &Udp,
        datagram_seal: &mut DatagramSeal,
        buffer: &mut [u8],
        outbox: &mut Outbox,
    ) {
        self.wakes.begin();
        let deadline = self.flush(udp, datagram_seal, outbox);
        let longest = self.wakes.longest_wait();
        let wait = deadline.map_or(longest, |at| at.since(self.clock.now()).min(longest));
        let more = if wait.is_zero() { Ok(true) } else { self.receive(udp, datagram_seal, buffer, wait) };
        let due = deadline.is_some_and(|at| at <= self.clock.now());
        // Before anybody is judged late, everything that has arrived is heard.
        let heard = match more {
            Ok(true) if due => self.drain(udp, datagram_seal, buffer, outbox),
            more => more.map(drop),
        };
        if let Err(error) = heard {
            self.count(|counted| counted.receive_errors += 1);
            log::debug!("{}: receive failed: {error}", self.name);
            self.stop.wait(ERROR_PAUSE);
        }
        if due {
            self.with_node(|node, now| node.handle_timeout(now));
        }
    }

    /// Waits for a datagram and says whether there was one: then more may wait behind it.
    fn receive(
        &self,
        udp: &Udp,
        datagram_seal: &mut DatagramSeal,
        buffer: &mut [u8],
        limit: Duration,
    ) -> io::Result<bool> {
        match udp.receive(buffer, limit) {
            Ok((len, from)) => {
                self.take_in(datagram_seal, from, &mut buffer[..len]);
                Ok(true)
            }
            // A signal ended the wait: who knows what has arrived.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) if is_nothing(&error) => {
                self.wakes.timed_out();
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes in and answers what has arrived.
    fn drain(
        self: &Arc<Self>,
        udp: &Udp,
        datagram_seal: &mut DatagramSeal,
        buffer: &mut [u8],
        outbox: &mut Outbox,
    ) -> io::Result<()> {
        for _ in 0..MAX_TURNS {
            if !udp.drain(buffer, MAX_TAKEN, |from, bytes| self.take_in(datagram_seal, from, bytes))? {
                break;
            }
            self.flush(udp, datagram_seal, outbox);
        }
        Ok(())
    }

    fn take_in(&self, datagram_seal: &mut DatagramSeal, from: SocketAddr, bytes: &mut [u8]) {
        // Empty ones are our own wake-ups; from others they would be dropped all the same.
        if bytes.is_empty() {
            return self.wakes.arrived();
        }
        if !self.config.allows(from.ip()) {
            return self.count_dropped(bytes.len() as u64, |counted| &mut counted.dropped_not_allowed);
        }
        if let Some(packet) = datagram_seal.open(self, self.mark, bytes) {
            self.with_node(|node, now| node.handle_datagram(now, from, packet));
        }
    }

    /// Sends and passes on everything the node has produced; returns its next deadline.
    fn flush(
        self: &Arc<Self>,
        udp: &Udp,
        datagram_seal: &mut DatagramSeal,
        outbox: &mut Outbox,
    ) -> Option<Time> {
        loop {
            let deadline = {
                let mut node = self.node.lock();
                outbox.fill(&mut node);
                node.poll_timeout()
            };
            let full = outbox.used == MAX_BATCH;
            for (to, bytes) in outbox.take_datagrams() {
                if let Err(error) = udp.send(to.addr, datagram_seal.seal(self, to.recipient, bytes)) {
                    self.count(|counted| counted.send_errors += 1);
                    log::trace!("{}: cannot send to {}: {error}", self.name, to.addr);
                }
            }
            for output in outbox.outputs.drain(..) {
                self.act(output);
            }
            if !full {
                return deadline;
            }
        }
    }

    fn act(self: &Arc<Self>, output: Output) {
        match output {
            Output::Event(event) => {
                self.log(&event);
                self.directory.publish(&event);
            }
            Output::OpenStream { stream, addr, timeout, kind } => {
                streams::begin_outbound(self, stream, addr, timeout, kind)
            }
            Output::ResolveSeeds => self.resolve_seeds(),
            Output::JoinDone(ticket, result) => {
                let waiting = self.waiting_joins.lock().remove(&ticket);
                if let Some(waiting) = waiting {
                    let _ = waiting.try_send(result);
                }
            }
            Output::SeedsTried(result) => {
                self.report_seeds(&result);
                // Nobody listening, or not fast enough, is no harm: the next try reports again.
                let _ = self.seeds_tried.try_send(result);
            }
            Output::LeaveDone { heard } => {
                self.unheard.store(!heard, Ordering::Release);
                self.left.stop();
            }
        }
    }

    /// Why a seed cannot be joined at an address.
    pub(super) fn refusal(&self, addr: SocketAddr) -> Option<String> {
        if !self.config.allows(addr.ip()) {
            return Some(format!(
                "is at {addr}, which `allow` does not hold; add its network, or take another"
            ));
        }
        let (bound, family) = (self.bound.ip(), self.family);
        if !is_reached_from(bound.to_canonical(), addr.ip().to_canonical(), &System) {
            return Some(format!(
                "is at {addr}, on another host, which `bind` {bound} does not reach; bind to 0.0.0.0 or [::]"
            ));
        }
        (!family.reaches(addr.ip())).then(|| {
            format!(
                "is at {addr}, and `bind` {bound} is of {family}; bind to [::] for both, or take another seed"
            )
        })
    }

    /// The node's part of a join, while so many names are looked up: its result comes to the one who waits.
    pub(super) fn join(&self, ticket: u64, addrs: &[SocketAddr], lookups: usize, done: Sender<JoinResult>) {
        self.waiting_joins.lock().insert(ticket, done);
        self.command(|node, now| node.join_while_resolving(now, ticket, addrs, lookups));
        if self.stop.is_stopped() {
            self.waiting_joins.lock().clear();
        }
        self.wake();
    }

    /// Why no seed could be joined, in words.
    pub(super) fn join_error(&self, seeds: &[String], problem: &JoinProblem) -> Error {
        match problem {
            JoinProblem::NameTaken { holder } => Error::NameTaken { name: self.name.clone(), addr: *holder },
            JoinProblem::Unreached { addr } => Error::Unreached { addr: *addr },
            problem => Error::Join { seeds: some_of(seeds), problem: problem.to_string() },
        }
    }
}

/// Seeds for people to read: of many, the first.
fn some_of(seeds: &[String]) -> String {
    const MOST: usize = 5;
    match seeds.len().saturating_sub(MOST) {
        0 => seeds.join(", "),
        more => format!("{} and {more} more", seeds[..MOST].join(", ")),
    }
}

/// Memory for what goes out, used again and again.
#[derive(Debug, Default)]
struct Outbox {
    datagrams: Vec<(Option<Destination>, Vec<u8>)>,
    used: usize,
    outputs: Vec<Output>,
}

impl Outbox {
    fn fill(&mut self, node: &mut Node) {
        while self.used < MAX_BATCH {
            if self.used == self.datagrams.len() {
                self.datagrams.push((None, Vec::new()));
            }
            let (to, bytes) = &mut self.datagrams[self.used];
            *to = node.poll_transmit(bytes);
            if to.is_none() {
                break;
            }
            self.used += 1;
        }
        while let Some(output) = node.poll_output() {
            self.outputs.push(output);
        }
    }

    fn take_datagrams(&mut self) -> impl Iterator<Item = (Destination, &[u8])> {
        let used = std::mem::take(&mut self.used);
        self.datagrams[..used].iter().filter_map(|(to, bytes)| Some(((*to)?, bytes.as_slice())))
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
