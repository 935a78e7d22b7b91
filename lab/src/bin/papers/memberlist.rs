//! A model of memberlist (LAN configuration) for Rapid's experiments: its rules and numbers, on a clock of its own.
//!
//! Modelled: join by push-pull with the seed; updates in packets of 1,400 bytes to 3 random members each 200 ms and
//! behind pings and acks, newest of the least sent first, each sent 4·⌈log10(n + 1)⌉ times; push-pull with a random
//! member each 30 s, stretched by ⌈log2 n − 5⌉ + 1; probes with 3 relays and a stream; suspicion with α 4, β 6 and 2
//! confirmations, raised by whoever names an accuser; refutation; the dead are forgotten after 30 s. Not modelled:
//! latency (far below its timers), processors, Lifeguard's health score (nacks make it a matter of relays alone).

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
};

/// Milliseconds.
type Millis = u64;

const GOSSIP: Millis = 200;
const PROBE: Millis = 1000;
const PUSH_PULL: Millis = 30_000;
const FORGET: Millis = 30_000;
const FANOUT: usize = 3;
const RELAYS: usize = 3;
const CONFIRMATIONS: u32 = 2;
/// Entries of some 85 bytes in a packet of 1,400.
const PER_PACKET: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Alive,
    Suspect,
    Dead,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    state: State,
    incarnation: u32,
    since: Millis,
}

/// A claim about a member.
#[derive(Debug, Clone, Copy)]
struct Message {
    about: u32,
    state: State,
    incarnation: u32,
    /// The member that makes the claim, if it is a suspicion.
    from: u32,
}

struct Suspicion {
    accusers: Vec<u32>,
    started: Millis,
}

/// The place of the update about a member in the queue: how often it was sent, and since when (newest first).
type Place = (u32, Reverse<u64>, u32);

#[derive(Default)]
struct Node {
    up: bool,
    incarnation: u32,
    view: Vec<Entry>,
    /// All members that are not unknown, the node itself included.
    known: Vec<u32>,
    live: usize,
    order: Vec<u32>,
    suspicions: HashMap<u32, Suspicion>,
    queue: BTreeSet<Place>,
    queued: HashMap<u32, (Place, Message)>,
    /// How often each member changed from live to gone or back.
    transitions: HashMap<u32, u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Start,
    Gossip,
    Probe,
    PushPull,
    Accuse(u32),
    Expire(u32),
}

pub(crate) struct Cluster {
    now: Millis,
    nodes: Vec<Node>,
    timers: BinaryHeap<Reverse<(Millis, u32, Timer)>>,
    random: fastrand::Rng,
    queued: u64,
    /// Shares lost on the way to and from each node.
    pub(crate) loss: Vec<(f64, f64)>,
}

impl Cluster {
    pub(crate) fn new(seed: u64, n: usize) -> Self {
        let unknown = Entry { state: State::Unknown, incarnation: 0, since: 0 };
        let nodes = (0..n).map(|_| Node { view: vec![unknown; n], ..Node::default() }).collect();
        let random = fastrand::Rng::with_seed(seed);
        Self { now: 0, nodes, timers: BinaryHeap::new(), random, queued: 0, loss: vec![(0.0, 0.0); n] }
    }

    /// A cluster in which every node knows all others.
    pub(crate) fn formed(seed: u64, n: usize) -> Self {
        let mut cluster = Self::new(seed, n);
        let alive = Entry { state: State::Alive, incarnation: 1, since: 0 };
        for node in &mut cluster.nodes {
            (node.view, node.known, node.live) = (vec![alive; n], (0..n as u32).collect(), n);
            (node.up, node.incarnation) = (true, 1);
        }
        (0..n as u32).for_each(|at| cluster.set_periodic(at));
        cluster
    }

    pub(crate) fn start_at(&mut self, at: Millis, node: u32) {
        self.timers.push(Reverse((at, node, Timer::Start)));
    }

    pub(crate) fn crash(&mut self, node: u32) {
        self.nodes[node as usize].up = false;
    }

    pub(crate) fn views(&self) -> impl Iterator<Item = usize> {
        self.nodes.iter().filter(|node| node.up).map(|node| node.live)
    }

    /// How often a member changed from live to gone or back, in one view.
    pub(crate) fn transitions(&self, at: u32, about: u32) -> u32 {
        self.nodes[at as usize].transitions.get(&about).copied().unwrap_or(0)
    }

    pub(crate) fn run_until(&mut self, end: Millis) {
        while let Some(Reverse((at, node, timer))) =
            self.timers.peek().copied().filter(|next| next.0.0 <= end)
        {
            self.timers.pop();
            self.now = at;
            self.fire(node, timer);
        }
        self.now = end;
    }

    fn set(&mut self, node: u32, delay: Millis, timer: Timer) {
        self.timers.push(Reverse((self.now + delay, node, timer)));
    }

    fn set_periodic(&mut self, node: u32) {
        for (interval, timer) in
            [(GOSSIP, Timer::Gossip), (PROBE, Timer::Probe), (PUSH_PULL, Timer::PushPull)]
        {
            let phase = self.random.u64(..interval);
            self.set(node, phase, timer);
        }
    }

    fn fire(&mut self, at: u32, timer: Timer) {
        if timer == Timer::Start {
            return self.start(at);
        }
        if !self.nodes[at as usize].up {
            return;
        }
        match timer {
            Timer::Start => {}
            Timer::Gossip => {
                self.set(at, GOSSIP, timer);
                for to in self.pick(at, FANOUT, true) {
                    self.send_updates(at, to);
                }
            }
            Timer::Probe => {
                self.set(at, PROBE, timer);
                self.probe(at);
            }
            Timer::PushPull => {
                let n = self.nodes[at as usize].live as f64;
                let stretch = if n > 32.0 { (n.log2() - 5.0).ceil() as u64 + 1 } else { 1 };
                self.set(at, PUSH_PULL * stretch, timer);
                if let Some(to) =
                    self.pick(at, 1, false).first().copied().filter(|to| self.stream_opens(at, *to))
                {
                    self.push_pull(at, to);
                }
            }
            Timer::Accuse(about) => {
                let incarnation = self.nodes[at as usize].view[about as usize].incarnation;
                self.hear(at, Message { about, state: State::Suspect, incarnation, from: at });
            }
            Timer::Expire(about) => self.expire(at, about),
        }
    }

    fn start(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        (node.up, node.incarnation) = (true, 1);
        self.hear(at, Message { about: at, state: State::Alive, incarnation: 1, from: at });
        if at != 0 {
            self.push_pull(at, 0);
        }
        self.set_periodic(at);
    }

    /// Random members that are alive or suspect, and also recently dead ones.
    fn pick(&mut self, at: u32, most: usize, dead_too: bool) -> Vec<u32> {
        let mut picked = Vec::new();
        let (node, now) = (&self.nodes[at as usize], self.now);
        for _ in 0..(3 * node.known.len()).min(64) {
            let Some(about) = self.random.choice(&node.known).copied() else { break };
            let entry = node.view[about as usize];
            let wanted = match entry.state {
                State::Alive | State::Suspect => true,
                State::Dead => dead_too && now - entry.since <= FORGET,
                State::Unknown => false,
            };
            if about != at && wanted && !picked.contains(&about) {
                picked.push(about);
                if picked.len() == most {
                    break;
                }
            }
        }
        picked
    }

    /// Whether a datagram arrives.
    fn arrives(&mut self, from: u32, to: u32) -> bool {
        let (egress, ingress) = (self.loss[from as usize].1, self.loss[to as usize].0);
        self.nodes[to as usize].up && self.random.f64() >= egress && self.random.f64() >= ingress
    }

    /// Within half a second, each of its packets can be tried once.
    fn stream_opens(&mut self, from: u32, to: u32) -> bool {
        (0..2).all(|_| self.arrives(from, to) && self.arrives(to, from))
    }

    fn send_updates(&mut self, from: u32, to: u32) {
        let node = &mut self.nodes[from as usize];
        if node.queue.is_empty() {
            return;
        }
        let limit = 4 * (node.live as f64 + 1.0).log10().ceil() as u32;
        let mut packet = Vec::with_capacity(PER_PACKET);
        let places: Vec<Place> = node.queue.iter().take(PER_PACKET).copied().collect();
        for place in places {
            node.queue.remove(&place);
            let (sent, since, about) = place;
            if let Some((_, message)) = node.queued.remove(&about) {
                packet.push(message);
                if sent + 1 < limit {
                    let place = (sent + 1, since, about);
                    node.queue.insert(place);
                    node.queued.insert(about, (place, message));
                }
            }
        }
        if self.arrives(from, to) {
            packet.into_iter().for_each(|message| self.hear(to, message));
        }
    }

    fn probe(&mut self, at: u32) {
        let Some(target) = self.next_target(at) else { return };
        let round_trip = |cluster: &mut Self, a: u32, b: u32| cluster.arrives(a, b) && cluster.arrives(b, a);
        self.send_updates(at, target);
        if self.nodes[target as usize].up {
            self.send_updates(target, at);
        }
        let mut answered = round_trip(self, at, target);
        if !answered {
            for relay in self.pick(at, RELAYS, false) {
                answered |= relay != target
                    && self.arrives(at, relay)
                    && round_trip(self, relay, target)
                    && self.arrives(relay, at);
            }
            answered |= self.stream_opens(at, target);
        }
        if !answered {
            self.set(at, PROBE, Timer::Accuse(target));
        }
    }

    /// Round-robin; at the end of each round the dead are forgotten.
    fn next_target(&mut self, at: u32) -> Option<u32> {
        let (node, now) = (&mut self.nodes[at as usize], self.now);
        for _ in 0..2 {
            while let Some(target) = node.order.pop() {
                if target != at && matches!(node.view[target as usize].state, State::Alive | State::Suspect) {
                    return Some(target);
                }
            }
            let view = &mut node.view;
            node.known.retain(|about| {
                let entry = &mut view[*about as usize];
                let forgotten = entry.state == State::Dead && now - entry.since > FORGET;
                if forgotten {
                    entry.state = State::Unknown;
                }
                !forgotten
            });
            node.order.clone_from(&node.known);
            self.random.shuffle(&mut node.order);
        }
        None
    }

    /// Each tells the other all it knows; a dead member is told as a suspicion.
    fn push_pull(&mut self, a: u32, b: u32) {
        if !self.nodes[b as usize].up {
            return;
        }
        for (from, to) in [(b, a), (a, b)] {
            let table: Vec<_> = (self.nodes[from as usize].known.iter())
                .map(|about| (*about, self.nodes[from as usize].view[*about as usize]))
                .collect();
            for (about, Entry { state, incarnation, .. }) in table {
                let state = if state == State::Dead { State::Suspect } else { state };
                self.hear(to, Message { about, state, incarnation, from });
            }
        }
    }

    fn hear(&mut self, at: u32, message: Message) {
        let Message { about, state, incarnation, .. } = message;
        if about == at && state != State::Alive {
            return self.refute(at, message);
        }
        let entry = self.nodes[at as usize].view[about as usize];
        let counts = match state {
            State::Alive => self.on_alive(at, message),
            State::Suspect => self.on_suspect(at, message),
            State::Dead => self.nodes[at as usize].on_dead(message),
            State::Unknown => false,
        };
        if counts {
            let since = if entry.state == state { entry.since } else { self.now };
            self.nodes[at as usize].view[about as usize] = Entry { state, incarnation, since };
            self.tell(at, message);
        }
    }

    fn refute(&mut self, at: u32, message: Message) {
        let node = &mut self.nodes[at as usize];
        if message.incarnation >= node.incarnation {
            node.incarnation = message.incarnation + 1;
            node.view[at as usize].incarnation = node.incarnation;
            let refutation = Message { state: State::Alive, incarnation: node.incarnation, ..message };
            self.tell(at, refutation);
        }
    }

    /// Processes a message and returns whether it has an effect, as `on_suspect` and `on_dead` do.
    fn on_alive(&mut self, at: u32, Message { about, incarnation, .. }: Message) -> bool {
        let node = &mut self.nodes[at as usize];
        let entry = node.view[about as usize];
        let new = entry.state == State::Unknown;
        if !new && incarnation <= entry.incarnation {
            return false;
        }
        if new {
            node.known.push(about);
            let place = self.random.usize(..=node.order.len());
            node.order.insert(place, about);
        }
        if matches!(entry.state, State::Unknown | State::Dead) {
            node.live += 1;
            *node.transitions.entry(about).or_default() += 1;
        }
        node.suspicions.remove(&about);
        true
    }

    fn on_suspect(&mut self, at: u32, message: Message) -> bool {
        let Message { about, from, .. } = message;
        let now = self.now;
        let node = &mut self.nodes[at as usize];
        if !node.view[about as usize].yields_to(message) {
            return false;
        }
        if let Some(suspicion) = node.suspicions.get_mut(&about) {
            let full = suspicion.accusers.len() > CONFIRMATIONS as usize;
            if full || suspicion.accusers.contains(&from) {
                return false;
            }
            suspicion.accusers.push(from);
        } else {
            node.suspicions.insert(about, Suspicion { accusers: vec![from], started: now });
        }
        let due = node.due(about);
        self.timers.push(Reverse((due.max(now), at, Timer::Expire(about))));
        true
    }

    /// Queues an update, and replaces the queued one about the same member.
    fn tell(&mut self, at: u32, message: Message) {
        self.queued += 1;
        let place = (0, Reverse(self.queued), message.about);
        let node = &mut self.nodes[at as usize];
        if let Some((old, _)) = node.queued.insert(message.about, (place, message)) {
            node.queue.remove(&old);
        }
        node.queue.insert(place);
    }

    fn expire(&mut self, at: u32, about: u32) {
        let node = &self.nodes[at as usize];
        if node.suspicions.contains_key(&about) && node.due(about) <= self.now {
            let incarnation = node.view[about as usize].incarnation;
            self.hear(at, Message { about, state: State::Dead, incarnation, from: at });
        }
    }
}

impl Entry {
    /// Whether an accusation or a death in this message has an effect.
    fn yields_to(self, message: Message) -> bool {
        message.incarnation >= self.incarnation && matches!(self.state, State::Alive | State::Suspect)
    }
}

impl Node {
    fn on_dead(&mut self, message: Message) -> bool {
        let about = message.about;
        if !self.view[about as usize].yields_to(message) {
            return false;
        }
        self.suspicions.remove(&about);
        self.live -= 1;
        *self.transitions.entry(about).or_default() += 1;
        true
    }

    fn due(&self, about: u32) -> Millis {
        let suspicion = &self.suspicions[&about];
        let least = 4.0 * (self.live as f64).log10().max(1.0) * PROBE as f64;
        let most = 6.0 * least;
        let confirmed = (suspicion.accusers.len() as f64).ln() / f64::from(CONFIRMATIONS + 1).ln();
        suspicion.started + (most - (most - least) * confirmed).max(least) as Millis
    }
}
