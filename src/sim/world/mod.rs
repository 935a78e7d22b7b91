//! A world: hosts, the packets between them, and one clock.

mod attacks;
mod broadcasts;
mod datagrams;
mod judged;
mod machines;
mod recordings;
mod run;
mod state_files;
mod streams;
mod views;

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use self::recordings::Recordings;
use super::{
    attacker::{Campaign, Ghosts},
    check::Checker,
    host::{Host, addr},
    network::Network,
    paths::Paths,
    program,
    queue::{Next, Queue},
};
use crate::{
    Membership,
    data::Endpoint,
    swim::{Config, Node, Output, StreamFailure, StreamId, Time},
};

/// Late enough that every departure, however old, has a time on this clock.
const ORIGIN: Time = Time::from_origin(Duration::from_secs(400 * 24 * 3600));

/// The receive buffer of a process that does not read; `syncswim` asks for a larger one.
const RECEIVE_BUFFER: usize = 2 << 20;

/// In bigger worlds the checks are not armed again, since it takes O(n²) to see that all is well.
const MOST_WATCHED: usize = 200;

/// The attacker's number in the network.
const OUTSIDE: usize = usize::MAX;

/// One end of a stream: the host, its life, and the node's identifier of the stream.
type End = (usize, u32, StreamId);

#[derive(Debug)]
enum Delivery {
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Connect { from: End, to: SocketAddr },
    Frame { to: End, bytes: Vec<u8> },
    Failure { to: End, failure: StreamFailure },
}

/// A cluster, its network and its time.
///
/// Everything happens in the calls that let time pass: [`run_for`](Self::run_for), [`run_until`](Self::run_until). After
/// each step the [checks](Checker) run; a broken promise is a panic that names the seed.
#[derive(Debug)]
pub struct World {
    /// The network.
    pub net: Network,
    /// Every machine, up or down.
    pub hosts: Vec<Host>,
    /// The source of choices that are to be replayed.
    pub rng: fastrand::Rng,
    /// Whether hosts keep their events; turn it off for thousands of nodes. Defaults to true.
    pub keep_events: bool,
    /// The checks for broken promises; `None` saves time and memory. Defaults to all checks.
    pub checker: Option<Checker>,
    /// Wake-ups are late by up to this time, as those of a busy system are. Defaults to zero.
    pub wake_delay: Duration,
    ghosts: Ghosts,
    campaigns: Vec<Campaign>,
    paths: Paths,
    /// Further addresses of hosts.
    aliases: HashMap<SocketAddr, usize>,
    /// When the checks look at the whole cluster next.
    looks_at: Time,
    seed: u64,
    now: Time,
    datagrams: u64,
    stream_bytes: u64,
    trace: u64,
    dropped_by_hosts: u64,
    queue: Queue<Delivery>,
    by_addr: HashMap<SocketAddr, usize>,
    links: HashMap<End, Link>,
    clogged: Vec<(usize, usize, Delivery)>,
    buffers: Vec<Vec<u8>>,
    recordings: Recordings,
    /// Whether nodes keep state files, and rejoin from them after a leave.
    state_files: Option<bool>,
}

#[derive(Debug)]
struct Link {
    peer: End,
    /// When the last packet sent arrives; none overtakes it.
    last: Time,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            net: Network::default(),
            hosts: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
            keep_events: true,
            checker: Some(Checker::default()),
            wake_delay: Duration::ZERO,
            ghosts: Ghosts::default(),
            campaigns: Vec::new(),
            paths: Paths::default(),
            aliases: HashMap::new(),
            looks_at: ORIGIN,
            seed,
            now: ORIGIN,
            datagrams: 0,
            stream_bytes: 0,
            trace: 0,
            dropped_by_hosts: 0,
            queue: Queue::new(),
            by_addr: HashMap::new(),
            links: HashMap::new(),
            clogged: Vec::new(),
            buffers: Vec::new(),
            recordings: Recordings::default(),
            state_files: None,
        }
    }

    /// Starts `n` nodes named n0, n1 … that all join through the first.
    pub fn start_cluster(&mut self, n: usize, config: impl Fn(String) -> Config) {
        for i in 0..n {
            let seeds = if i == 0 { vec![] } else { vec![addr(0)] };
            self.start(config(format!("n{i}")), addr(i), seeds);
        }
    }

    /// Starts a node on a new host and returns the host's number.
    ///
    /// # Panics
    /// If the configuration is not valid.
    pub fn start(&mut self, config: Config, addr: SocketAddr, seeds: Vec<SocketAddr>) -> usize {
        self.hosts.push(Host::new(config, addr, seeds));
        let host = self.hosts.len() - 1;
        self.boot(host);
        host
    }

    /// Gives a host a further address, which its node does not know.
    pub fn alias(&mut self, host: usize, addr: SocketAddr) {
        self.aliases.insert(addr, host);
    }

    /// Moves an address from another host to this one.
    #[cfg(test)]
    pub(crate) fn move_addr(&mut self, addr: SocketAddr, host: usize) {
        self.by_addr.insert(addr, host);
    }

    fn host_at(&self, addr: SocketAddr) -> Option<usize> {
        self.by_addr
            .get(&addr)
            .or_else(|| self.aliases.get(&addr))
            .copied()
            .or_else(|| self.paths.host_at(addr))
    }

    /// Delivers what waited for pairs that are no longer clogged.
    pub fn unclog(&mut self) {
        self.net.clogged.clear();
        for (_, _, delivery) in std::mem::take(&mut self.clogged) {
            self.queue.deliver(self.now, delivery);
        }
    }

    /// From now on honest nodes may be accused, until all has been well for a while.
    pub(in crate::sim) fn disturbed(&mut self) {
        if let Some(checker) = &mut self.checker {
            checker.disturbed();
        }
    }

    /// The seed of all randomness.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The world's clock.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Datagrams sent so far, lost ones too.
    #[must_use]
    pub fn datagrams(&self) -> u64 {
        self.datagrams
    }

    /// Bytes that came through streams so far, without headers of TCP and IP.
    #[must_use]
    pub fn stream_bytes(&self) -> u64 {
        self.stream_bytes
    }

    /// A hash of every datagram sent, its route and its time.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.trace
    }

    /// Datagrams dropped because a host did not listen for too long.
    #[must_use]
    pub fn dropped_by_hosts(&self) -> u64 {
        self.dropped_by_hosts
    }

    /// The node of a host that is up.
    ///
    /// # Panics
    /// If it is down.
    #[must_use]
    pub fn node(&self, host: usize) -> &Node {
        self.hosts[host].node().expect("the node is up")
    }

    /// The membership of a node, as a [`Cluster`](crate::Cluster) with a [`GossipDiscovery`](crate::GossipDiscovery) fills
    /// it for a program, with peers by name. So programs on top can be tested under crashes and partitions, with a seed. It
    /// follows the node until that is down; a restarted node has a new membership.
    ///
    /// ```
    /// use std::time::Duration;
    /// use syncswim::{sim::World, swim::Config};
    ///
    /// let mut world = World::new(7);
    /// world.start_cluster(3, Config::lan);
    /// let watch = world.membership(0).watch();
    /// world.run_for(Duration::from_secs(5));
    /// world.crash(2);
    /// world.run_for(Duration::from_secs(30));
    /// let last = watch.receiver(); // readable: something has changed
    /// assert!(!last.is_empty());
    /// assert!(world.membership(0).snapshot().is_failed("n2"));
    /// ```
    ///
    /// # Panics
    /// If the host is down.
    pub fn membership(&mut self, host: usize) -> Membership {
        let host = &mut self.hosts[host];
        let node = host.endpoint.as_ref().map(|endpoint| &endpoint.node).expect("the node is up");
        host.membership.get_or_insert_with(|| program::membership_of(node)).clone()
    }

    /// Gives a node a command, with the host's time, and handles its outputs.
    ///
    /// # Panics
    /// If the host is down.
    pub fn with<R>(&mut self, host: usize, command: impl FnOnce(&mut Node, Time) -> R) -> R {
        self.drive_with(host, |endpoint, now| command(&mut endpoint.node, now))
    }

    /// As [`with`](Self::with), for the node with its data layer.
    pub(crate) fn drive_with<R>(&mut self, host: usize, command: impl FnOnce(&mut Endpoint, Time) -> R) -> R {
        let now = self.now + self.hosts[host].clock;
        let result = command(self.hosts[host].endpoint.as_mut().expect("the node is up"), now);
        self.drive(host);
        result
    }

    /// Takes the next step, if it is due by `end`.
    fn step(&mut self, end: Time) -> bool {
        let Some((at, next)) = self.queue.pop(end) else { return false };
        self.now = self.now.max(at);
        if self.now >= self.looks_at {
            self.looks_at = self.now + Duration::from_secs(1);
            self.look_around();
            self.judge_all();
        }
        if !self.campaigns.is_empty() {
            self.go_on_attacking();
        }
        match next {
            Next::Delivery(delivery) => self.deliver(delivery),
            Next::Deadline(host) if self.hosts[host].wakes_at == Some(at) => {
                self.hosts[host].wakes_at = None;
                if self.hosts[host].blocked_until <= self.now {
                    self.hosts[host].blocked_io = None;
                }
                if self.hosts[host].deadline().is_some_and(|deadline| deadline <= self.now) {
                    self.time_out(host);
                } else {
                    self.reschedule(host);
                }
            }
            // The host's deadline has changed.
            Next::Deadline(_) => {}
        }
        true
    }

    /// Arms the checks again once all has been well for a while.
    fn look_around(&mut self) {
        let Some(mut checker) = self.checker.take() else { return };
        if !self.net.is_perfect() {
            checker.disturbed();
        }
        if !checker.is_armed() && self.hosts.len() <= MOST_WATCHED {
            let slowest = self.up().map(|host| self.hosts[host].config.probe_interval).max();
            checker.calm(self.now, self.is_calm(), slowest.unwrap_or_default());
        }
        self.look_at_broadcasts(&mut checker);
        self.checker = Some(checker);
    }

    fn time_out(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        let (endpoint, now) = (host.endpoint.as_mut().expect("it has a deadline"), self.now + host.clock);
        match &mut host.blocked_io {
            Some(blocked_io) => endpoint.node.handle_timeout_blocked(now, blocked_io),
            None => endpoint.handle_timeout(now),
        }
        self.drive(at);
    }

    fn reschedule(&mut self, host: usize) {
        let Some(deadline) = self.hosts[host].deadline() else { return };
        let waits = &self.hosts[host];
        if waits.wakes_at.is_some() && waits.wakes_for <= deadline {
            return;
        }
        // Without a delay no random number is drawn, so that a seed gives the same run as before.
        let late = match self.wake_delay {
            Duration::ZERO => Duration::ZERO,
            most => most.mul_f64(self.rng.f64()),
        };
        let at = deadline.max(self.now) + late;
        (self.hosts[host].wakes_at, self.hosts[host].wakes_for) = (Some(at), deadline);
        self.queue.wake(at, host);
    }

    fn deliver(&mut self, delivery: Delivery) {
        let host = match &delivery {
            Delivery::Datagram { to, .. } | Delivery::Connect { to, .. } => self.host_at(*to),
            Delivery::Frame { to, .. } | Delivery::Failure { to, .. } => Some(to.0),
        };
        let host = host.filter(|host| self.hosts[*host].is_up());
        if let Some(host) = host.filter(|host| self.hosts[*host].listens_at() > self.now) {
            return self.keep_for(host, delivery);
        }
        match (delivery, host) {
            (Delivery::Datagram { from, bytes, .. }, Some(host)) => {
                self.drive_with(host, |endpoint, now| endpoint.handle_datagram(now, from, &bytes));
                self.buffers.push(bytes);
            }
            (Delivery::Connect { from, .. }, Some(host)) => self.accept(from, host),
            (Delivery::Datagram { from, to, bytes }, None) => {
                if let Some(answer) = self.ghosts.answer(to, &bytes, self.now) {
                    self.inject(to, from, answer);
                }
            }
            (Delivery::Connect { from, to }, None) if self.ghosts.answers_at(to, self.now) => {
                self.connect_ghost(from, to);
            }
            (Delivery::Connect { from, .. }, None) => self.fail(from, StreamFailure::Refused, self.now),
            (Delivery::Frame { to, bytes }, Some(host)) if self.hosts[host].life == to.1 => {
                self.stream_bytes += bytes.len() as u64;
                self.drive_with(host, |endpoint, now| endpoint.handle_frame(now, to.2, &bytes));
                self.pump(to);
            }
            (Delivery::Failure { to, failure }, Some(host)) if self.hosts[host].life == to.1 => {
                self.links.remove(&to);
                self.drive_with(host, |endpoint, now| endpoint.handle_stream_failure(now, to.2, failure));
            }
            _ => {}
        }
    }

    fn connect_ghost(&mut self, from: End, to: SocketAddr) {
        if self.ghosts.takes_streams(to) && self.is_up(from) {
            self.answer_stream(from.0, from.2);
        }
    }

    /// The system queues data for a process that does not read, until its buffer is full.
    fn keep_for(&mut self, at: usize, delivery: Delivery) {
        let host = &mut self.hosts[at];
        let until = host.listens_at();
        if host.waiting.0 != until {
            host.waiting = (until, 0);
        }
        if let Delivery::Datagram { bytes, .. } = &delivery {
            host.waiting.1 += bytes.len();
            if host.waiting.1 > RECEIVE_BUFFER {
                self.dropped_by_hosts += 1;
                return;
            }
        }
        self.queue.deliver(until, delivery);
    }

    fn schedule(&mut self, from: usize, to: usize, at: Time, delivery: Delivery) {
        if self.net.is_clogged(from, to) {
            self.clogged.push((from, to, delivery));
        } else {
            self.queue.deliver(at, delivery);
        }
    }

    fn send_all(&mut self, host: usize, endpoint: &mut Endpoint) {
        let mut buffer = self.buffers.pop().unwrap_or_default();
        while let Some(to) = endpoint.poll_transmit(&mut buffer) {
            self.send(host, to.addr, &buffer);
        }
        self.buffers.push(buffer);
    }

    /// Handles all outputs of a node.
    fn drive(&mut self, host: usize) {
        let Some(mut endpoint) = self.hosts[host].endpoint.take() else { return };
        self.send_all(host, &mut endpoint);
        let (now, wall) = (self.now + self.hosts[host].clock, self.epoch());
        let mut told = false;
        while let Some(output) = endpoint.poll_output() {
            match output {
                Output::Event(event) => {
                    told = true;
                    if let Some(checker) = &mut self.checker {
                        checker.event(host, &event, self.net.is_perfect());
                    }
                    if let Some(membership) = &self.hosts[host].membership {
                        program::follow(membership, &event);
                    }
                    if let Some(state) = &mut self.hosts[host].state {
                        state.note(&event, wall);
                    }
                    if self.keep_events {
                        self.hosts[host].events.push((self.now, event));
                    }
                }
                Output::OpenStream { stream, addr, .. } => {
                    // In a world no stream waits for a thread.
                    endpoint.stream_began(now, stream);
                    self.connect(host, stream, addr);
                }
                Output::ResolveSeeds => endpoint.node.handle_seeds(now, &self.hosts[host].seeds),
                Output::JoinDone { ticket, result } => {
                    self.hosts[host].joins.push(result);
                    if let Some(checker) = &mut self.checker {
                        checker.join_done(host, ticket);
                    }
                }
                Output::SeedsTried { result } | Output::RejoinTried { result } => {
                    self.hosts[host].joins.push(result);
                }
                Output::LeaveDone { confirmed } => {
                    self.hosts[host].left = true;
                    if let Some(checker) = &mut self.checker {
                        checker.left(host, confirmed);
                    }
                }
            }
        }
        // Datagrams that the beginning of a stream caused.
        self.send_all(host, &mut endpoint);
        self.take_broadcasts(host, &mut endpoint);
        if let Some(checker) = &mut self.checker {
            checker.look_at(host, &endpoint.node);
            checker.look_at_data(host, &endpoint.broadcasts);
        }
        self.hosts[host].endpoint = Some(endpoint);
        self.keep_recorded(host);
        self.write_state(host);
        if self.hosts[host].left && self.hosts[host].stops_when_left {
            self.finish_state(host);
            return self.crash(host);
        }
        self.reschedule(host);
        if told {
            self.judge(host);
        }
    }
}
