//! A test bench: many nodes on a virtual clock and network, all of it drawn from one printed seed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    time::Duration,
};

use super::super::{
    Config, Event, MemberState, Node, Output, Start, StreamFailure, StreamId, StreamStep, Time,
};
use crate::wire::{Tags, hash};

/// Long enough ago that the age of every departure can be told.
pub(super) const ORIGIN: Time = Time::from_origin(Duration::from_secs(400 * 24 * 3600));

pub(super) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A node and the host it runs on; `None` while it is down.
pub(super) struct Host {
    pub(super) node: Option<Node>,
    pub(super) addr: SocketAddr,
    pub(super) seeds: Vec<SocketAddr>,
    pub(super) events: Vec<(Time, Event)>,
    pub(super) joins: Vec<Result<usize, super::super::JoinProblem>>,
    pub(super) left: bool,
    /// Takes in nothing and does nothing until then.
    pub(super) paused_until: Time,
}

enum Delivery {
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Connect { from: usize, stream: StreamId, to: SocketAddr },
    Frame { to: (usize, StreamId), bytes: Vec<u8> },
    Failure { to: (usize, StreamId), failure: StreamFailure },
}

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) now: Time,
    pub(super) hosts: Vec<Host>,
    pub(super) rng: fastrand::Rng,
    pub(super) latency: (Duration, Duration),
    /// Share of datagrams that get lost.
    pub(super) loss: f64,
    /// Directed pairs of hosts between which nothing passes.
    pub(super) cut: BTreeSet<(usize, usize)>,
    pub(super) datagrams: u64,
    /// A hash of every datagram, its route and time.
    pub(super) trace: u64,
    in_flight: BTreeMap<(Time, u64), Delivery>,
    sequence: u64,
    links: HashMap<(usize, StreamId), (usize, StreamId)>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self {
            seed,
            now: ORIGIN,
            hosts: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
            latency: (Duration::from_micros(100), Duration::from_micros(500)),
            loss: 0.0,
            cut: BTreeSet::new(),
            datagrams: 0,
            trace: 0,
            in_flight: BTreeMap::new(),
            sequence: 0,
            links: HashMap::new(),
        }
    }

    /// A world of `n` LAN nodes named n0, n1 …, all of them joined through the first and converged.
    pub(super) fn converged(seed: u64, n: usize) -> Self {
        Self::converged_with(seed, n, |_| {})
    }

    pub(super) fn converged_with(seed: u64, n: usize, tune: impl Fn(&mut Config)) -> Self {
        let mut world = Self::new(seed);
        for i in 0..n {
            let mut config = Config::lan(format!("n{i}"));
            tune(&mut config);
            let seeds = if i == 0 { vec![] } else { vec![addr(0)] };
            world.start(config, addr(i), seeds);
        }
        world.run_until("convergence", secs(60), |world| world.all_see(n));
        // The last news dies down.
        world.run_for(secs(5));
        world
    }

    /// Starts a node on a new host and returns the host's number.
    pub(super) fn start(&mut self, config: Config, addr: SocketAddr, seeds: Vec<SocketAddr>) -> usize {
        let node = self.make(config, addr, &seeds);
        let host = Host {
            node: Some(node),
            addr,
            seeds,
            events: Vec::new(),
            joins: Vec::new(),
            left: false,
            paused_until: Time::ZERO,
        };
        self.hosts.push(host);
        self.drive(self.hosts.len() - 1);
        self.hosts.len() - 1
    }

    fn make(&mut self, config: Config, addr: SocketAddr, seeds: &[SocketAddr]) -> Node {
        let epoch = 1_700_000_000_000 + self.now.since(ORIGIN).as_millis() as u64;
        let start = Start { addr, epoch, seed: self.rng.u64(..), tags: Tags::default() };
        let mut node = Node::new(config, start, self.now);
        if !seeds.is_empty() {
            node.seek_seeds(self.now);
        }
        node
    }

    /// A new life on a host that is down, at its old address.
    pub(super) fn restart(&mut self, host: usize, config: Config) {
        let (addr, seeds) = (self.hosts[host].addr, self.hosts[host].seeds.clone());
        let node = self.make(config, addr, &seeds);
        self.hosts[host].node = Some(node);
        self.hosts[host].left = false;
        self.drive(host);
    }

    pub(super) fn crash(&mut self, host: usize) {
        self.hosts[host].node = None;
        self.links.retain(|a, b| a.0 != host && b.0 != host);
    }

    pub(super) fn node(&self, host: usize) -> &Node {
        self.hosts[host].node.as_ref().expect("the node is up")
    }

    /// Gives a node a command and passes on what comes of it.
    pub(super) fn with<R>(&mut self, host: usize, command: impl FnOnce(&mut Node, Time) -> R) -> R {
        let result = command(self.hosts[host].node.as_mut().expect("the node is up"), self.now);
        self.drive(host);
        result
    }

    /// How `host` sees a name.
    pub(super) fn state(&self, host: usize, name: &str) -> Option<MemberState> {
        self.node(host).members().iter().find(|member| &*member.name == name).map(|member| member.state)
    }

    pub(super) fn up(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.hosts.len()).filter(|host| self.hosts[*host].node.is_some() && !self.hosts[*host].left)
    }

    pub(super) fn all_see(&self, n: usize) -> bool {
        self.up().all(|host| self.node(host).live() == n)
    }

    /// Whether everybody who is up lists exactly those who are up as live.
    pub(super) fn views_are_true(&self) -> bool {
        let names = |host: usize| self.node(host).local().name;
        let truth: BTreeSet<_> = self.up().map(names).collect();
        self.up().all(|host| {
            let members = self.node(host).members();
            members.iter().filter(|m| m.state.is_live()).map(|m| m.name.clone()).collect::<BTreeSet<_>>()
                == truth
        })
    }

    /// Cuts both directions between two groups.
    pub(super) fn partition(&mut self, left: &[usize], right: &[usize]) {
        for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))) {
            self.cut.extend([(a, b), (b, a)]);
        }
    }

    pub(super) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until something holds; fails with the seed if it does not in time.
    pub(super) fn run_until(
        &mut self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&World) -> bool,
    ) -> Duration {
        let (start, end) = (self.now, self.now + limit);
        while !holds(self) {
            if !self.step(end) {
                let views: Vec<_> = self.up().map(|host| (host, self.node(host).live())).collect();
                panic!("seed {}: no {what} within {limit:?}; live members seen: {views:?}", self.seed);
            }
        }
        self.now.since(start)
    }

    /// Does what comes next, if it comes before `end`.
    fn step(&mut self, end: Time) -> bool {
        let timers = (0..self.hosts.len()).filter_map(|host| Some((self.due(host)?, host)));
        let timer = timers.min();
        let delivery = self.in_flight.keys().next().copied();
        // On a tie what arrived comes first, as drivers must have it.
        match (delivery, timer) {
            (Some(key), timer) if key.0 <= end && timer.is_none_or(|(at, _)| key.0 <= at) => {
                let delivery = self.in_flight.remove(&key).expect("it is there");
                self.now = self.now.max(key.0);
                self.deliver(delivery);
            }
            (_, Some((at, host))) if at <= end => {
                self.now = self.now.max(at);
                self.with(host, |node, now| node.handle_timeout(now));
            }
            _ => return false,
        }
        true
    }

    fn due(&self, host: usize) -> Option<Time> {
        let at = self.hosts[host].node.as_ref()?.poll_timeout()?;
        Some(at.max(self.hosts[host].paused_until))
    }

    fn deliver(&mut self, delivery: Delivery) {
        let host = match &delivery {
            Delivery::Datagram { to, .. } | Delivery::Connect { to, .. } => self.host_at(*to),
            Delivery::Frame { to, .. } | Delivery::Failure { to, .. } => Some(to.0),
        };
        let host = host.filter(|host| self.hosts[*host].node.is_some());
        if let Some(wake) = host.map(|host| self.hosts[host].paused_until).filter(|wake| *wake > self.now) {
            // The kernel keeps it for a paused process.
            return self.schedule(wake, delivery);
        }
        match (delivery, host) {
            (Delivery::Datagram { from, bytes, .. }, Some(host)) => {
                self.with(host, |node, now| node.handle_datagram(now, from, &bytes));
            }
            (Delivery::Connect { from, stream, .. }, Some(host)) => self.accept(from, stream, host),
            (Delivery::Connect { from, stream, .. }, None) => {
                self.fail((from, stream), StreamFailure::Refused);
            }
            (Delivery::Frame { to, bytes }, Some(host)) => {
                self.with(host, |node, now| node.handle_frame(now, to.1, &bytes));
                self.pump(to);
            }
            (Delivery::Failure { to, failure }, Some(host)) => {
                self.links.remove(&to);
                self.with(host, |node, now| node.handle_stream_failure(now, to.1, failure));
            }
            (_, None) => {}
        }
    }

    fn host_at(&self, addr: SocketAddr) -> Option<usize> {
        self.hosts.iter().position(|host| host.addr == addr && host.node.is_some())
    }

    fn accept(&mut self, from: usize, stream: StreamId, host: usize) {
        let peer = self.hosts[from].addr;
        let Some(accepted) = self.with(host, |node, now| node.accept_stream(now, peer)) else {
            return self.fail((from, stream), StreamFailure::Rejected);
        };
        self.links.insert((from, stream), (host, accepted));
        self.links.insert((host, accepted), (from, stream));
        self.pump((from, stream));
    }

    /// Lets one end of a stream say what it has to say.
    fn pump(&mut self, end: (usize, StreamId)) {
        if self.hosts[end.0].node.is_none() {
            return;
        }
        let mut buffer = Vec::new();
        loop {
            match self.with(end.0, |node, now| node.poll_stream(now, end.1, &mut buffer)) {
                StreamStep::Send => {
                    if let Some(to) =
                        self.links.get(&end).copied().filter(|to| !self.cut.contains(&(end.0, to.0)))
                    {
                        let at = self.now + self.latency.1;
                        self.schedule(at, Delivery::Frame { to, bytes: buffer.clone() });
                    }
                }
                StreamStep::Receive => return,
                StreamStep::Close => {
                    if let Some(peer) = self.links.remove(&end) {
                        self.fail(peer, StreamFailure::Rejected);
                    }
                    return;
                }
            }
        }
    }

    fn fail(&mut self, to: (usize, StreamId), failure: StreamFailure) {
        // Behind whatever was sent before.
        let at = self.now + self.latency.1;
        self.schedule(at, Delivery::Failure { to, failure });
    }

    fn schedule(&mut self, at: Time, delivery: Delivery) {
        self.sequence += 1;
        self.in_flight.insert((at, self.sequence), delivery);
    }

    /// Passes on everything a node has produced.
    fn drive(&mut self, host: usize) {
        let mut buffer = Vec::new();
        let Some(mut node) = self.hosts[host].node.take() else { return };
        while let Some(to) = node.poll_transmit(&mut buffer) {
            self.send(host, to, &buffer);
        }
        while let Some(output) = node.poll_output() {
            match output {
                Output::Event(event) => self.hosts[host].events.push((self.now, event)),
                Output::OpenStream { stream, addr, .. } => {
                    let cut = self.host_at(addr).is_some_and(|to| self.cut.contains(&(host, to)));
                    if !cut {
                        let at = self.now + self.latency.1;
                        self.schedule(at, Delivery::Connect { from: host, stream, to: addr });
                    }
                }
                Output::ResolveSeeds => {
                    let seeds = self.hosts[host].seeds.clone();
                    node.handle_seeds(self.now, &seeds);
                }
                Output::JoinDone(_, result) | Output::SeedsTried(result) => {
                    self.hosts[host].joins.push(result)
                }
                Output::LeaveDone => self.hosts[host].left = true,
            }
        }
        self.hosts[host].node = Some(node);
    }

    fn send(&mut self, from: usize, to: SocketAddr, bytes: &[u8]) {
        self.datagrams += 1;
        let route = self.hosts[from].addr.to_string() + &to.to_string() + &self.now.to_string();
        let what = hash::entry(&route, u64::from(crc32fast::hash(bytes)), self.datagrams);
        self.trace = self.trace.rotate_left(1) ^ what;
        let target = self.host_at(to);
        let cut = target.is_some_and(|target| self.cut.contains(&(from, target)));
        if cut || self.rng.f64() < self.loss {
            return;
        }
        let (least, most) = self.latency;
        let latency = least + (most - least).mul_f64(self.rng.f64());
        let from = self.hosts[from].addr;
        self.schedule(self.now + latency, Delivery::Datagram { from, to, bytes: bytes.to_vec() });
    }
}

/// The address of the i-th host.
pub(super) fn addr(i: usize) -> SocketAddr {
    ([10, 0, (i >> 8) as u8, i as u8], 7946).into()
}
