//! A model of SWIM's own three variants (Das, Gupta, Motivala 2002, §3 and §4) in its Figure 4, on a clock of its own.
//!
//! Modelled: round-robin probes with one relay and a verdict at the end of the period; failures and joins sent by a
//! multicast, or behind pings, ping-reqs and acks, half of the places for failed members; suspicions, refuted by a higher
//! incarnation. A member that hears that it was declared failed drops out for good. The paper leaves open which member
//! admits others when the coordinator itself drops out (here the oldest remaining one), and whether a lost join is tried
//! again (both can be played). Not modelled: latency (far below a period) and processors.

/// Milliseconds.
type Millis = u64;

const PERIOD: Millis = 2000;
const JOIN_EACH: Millis = 5000;
const END: Millis = 175_000;
const MEMBERS: usize = 17;
const LOSS: f64 = 0.1;
/// At most six updates in a message, as many about the failed as about others.
const PER_LIST: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    Basic,
    Infection,
    Suspicion,
}

/// In the order in which one state overrides the other within an incarnation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    #[default]
    Unknown,
    Alive,
    Suspect,
    Failed,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    state: State,
    incarnation: u32,
    since: Millis,
    /// How often it was passed on.
    sent: u32,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// Its own entry says whether it has joined, and whether it has dropped out.
    view: [Entry; MEMBERS],
    /// The members to probe in the rest of this round.
    order: Vec<usize>,
    unanswered: Option<usize>,
}

impl Node {
    fn live(&self) -> impl Iterator<Item = usize> {
        (0..MEMBERS).filter(|about| matches!(self.view[*about].state, State::Alive | State::Suspect))
    }

    /// How many periods a suspicion takes, and in how many messages an update is passed on.
    fn limit(&self) -> u32 {
        3 * (self.live().count() as f64 + 1.0).ln().ceil() as u32
    }
}

#[derive(Debug)]
pub(crate) struct Group {
    variant: Variant,
    /// Whether a lost join is tried again in the next period.
    retries: bool,
    now: Millis,
    nodes: Vec<Node>,
    random: fastrand::Rng,
}

impl Group {
    /// Plays Figure 4. Returns the largest and the last size of the group, in the view of its oldest member.
    pub(crate) fn play(variant: Variant, retries: bool, seed: u64) -> (usize, usize) {
        let (nodes, random) = (vec![Node::default(); MEMBERS], fastrand::Rng::with_seed(seed));
        let mut group = Self { variant, retries, now: 0, nodes, random };
        let mut turns = Vec::new();
        for node in 0..MEMBERS {
            let start = JOIN_EACH * node as Millis + group.random.u64(..PERIOD);
            turns.extend((start..END).step_by(PERIOD as usize).map(|at| (at, node)));
        }
        turns.sort_unstable();
        let (mut largest, mut last) = (0, 0);
        for (now, node) in turns {
            group.now = now;
            group.turn(node);
            last = group.oldest().map_or(0, |oldest| group.nodes[oldest].live().count());
            largest = last.max(largest);
        }
        (largest, last)
    }

    fn up(&self, at: usize) -> bool {
        self.nodes[at].view[at].state == State::Alive
    }

    fn oldest(&self) -> Option<usize> {
        (0..MEMBERS).find(|at| self.up(*at))
    }

    /// A period of a node ends, and the next one begins.
    fn turn(&mut self, at: usize) {
        match self.nodes[at].view[at].state {
            State::Unknown => self.join(at),
            State::Failed => {}
            _ => {
                self.judge(at);
                self.probe(at);
            }
        }
    }

    fn join(&mut self, at: usize) {
        let alive = Entry { state: State::Alive, since: self.now, ..Entry::default() };
        if let Some(coordinator) = self.oldest() {
            if !(self.arrives() && self.arrives()) {
                self.nodes[at].view[at].state = if self.retries { State::Unknown } else { State::Failed };
                return;
            }
            self.tell(coordinator, at, alive);
            let known = |entry| Entry { sent: u32::MAX, ..entry };
            self.nodes[at].view = self.nodes[coordinator].view.map(known);
        }
        self.nodes[at].view[at] = alive;
    }

    /// A member that did not answer is failed, or a suspect; one that has been a suspect for too long is failed.
    fn judge(&mut self, at: usize) {
        let timeout = PERIOD * Millis::from(self.nodes[at].limit());
        let first = if self.variant == Variant::Suspicion { State::Suspect } else { State::Failed };
        let unanswered = self.nodes[at].unanswered.take().map(|about| (about, first));
        let late = |entry: Entry| entry.state == State::Suspect && self.now - entry.since >= timeout;
        let expired = (0..MEMBERS).filter(|about| late(self.nodes[at].view[*about]));
        let verdicts: Vec<_> = expired.map(|about| (about, State::Failed)).chain(unanswered).collect();
        for (about, state) in verdicts {
            let entry = self.nodes[at].view[about];
            self.tell(at, about, Entry { state, ..entry });
        }
    }

    fn probe(&mut self, at: usize) {
        let Some(target) = self.next_target(at) else { return };
        let relays: Vec<_> = self.nodes[at].live().filter(|relay| ![at, target].contains(relay)).collect();
        let relay = self.random.choice(relays);
        let by_relay = |group: &mut Self, relay| {
            group.send(at, relay) && group.round_trip(relay, target) && group.send(relay, at)
        };
        let answered = self.round_trip(at, target) || relay.is_some_and(|relay| by_relay(self, relay));
        self.nodes[at].unanswered = (!answered).then_some(target);
    }

    fn next_target(&mut self, at: usize) -> Option<usize> {
        let node = &mut self.nodes[at];
        let live: Vec<_> = node.live().filter(|about| *about != at).collect();
        node.order.retain(|about| live.contains(about));
        if node.order.is_empty() {
            node.order = live;
            self.random.shuffle(&mut node.order);
        }
        node.order.pop()
    }

    fn arrives(&mut self) -> bool {
        self.random.f64() >= LOSS
    }

    fn round_trip(&mut self, from: usize, to: usize) -> bool {
        self.send(from, to) && self.send(to, from)
    }

    /// Sends a message with updates behind it. Returns whether it arrives at a member that goes on in spite of them.
    fn send(&mut self, from: usize, to: usize) -> bool {
        let updates = if self.variant == Variant::Basic { vec![] } else { self.updates(from) };
        if !self.arrives() || !self.up(from) || !self.up(to) {
            return false;
        }
        updates.into_iter().for_each(|(about, entry)| self.hear(to, about, entry));
        self.up(to)
    }

    /// The updates to pass on: of each kind, those that were sent least.
    fn updates(&mut self, from: usize) -> Vec<(usize, Entry)> {
        let node = &mut self.nodes[from];
        let limit = node.limit();
        let mut updates = Vec::new();
        for kind in [&[State::Failed][..], &[State::Alive, State::Suspect]] {
            let pending = |entry: &Entry| kind.contains(&entry.state) && entry.sent < limit;
            let mut list: Vec<_> = (0..MEMBERS).filter(|about| pending(&node.view[*about])).collect();
            self.random.shuffle(&mut list);
            list.sort_by_key(|about| node.view[*about].sent);
            for about in list.into_iter().take(PER_LIST) {
                node.view[about].sent += 1;
                updates.push((about, node.view[about]));
            }
        }
        updates
    }

    /// Stores an update, to pass it on: to all at once by a multicast, or with message after message.
    fn tell(&mut self, at: usize, about: usize, entry: Entry) {
        self.hear(at, about, entry);
        for to in 0..MEMBERS {
            if self.variant == Variant::Basic && to != at && self.up(to) && self.arrives() {
                self.hear(to, about, entry);
            }
        }
    }

    fn hear(&mut self, at: usize, about: usize, Entry { state, incarnation, .. }: Entry) {
        let node = &mut self.nodes[at];
        let old = node.view[about];
        let newer = state == State::Failed || (incarnation, state) > (old.incarnation, old.state);
        if old.state == State::Failed || !newer {
            return;
        }
        let refuted = about == at && state == State::Suspect;
        let (state, incarnation) =
            if refuted { (State::Alive, incarnation + 1) } else { (state, incarnation) };
        node.view[about] = Entry { state, incarnation, since: self.now, sent: 0 };
        if old.state == State::Unknown && state != State::Failed {
            // A position in the whole list, part of which is done in this round.
            let others = node.live().filter(|other| *other != at).count();
            let place = self.random.usize(..others);
            if place <= node.order.len() {
                node.order.insert(place, about);
            }
        }
    }
}
