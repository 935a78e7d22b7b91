//! The node: takes inputs, routes them to the rules, and returns their outputs.

use std::{borrow::Cow, collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use super::{
    anti_entropy::SyncPace,
    bounds::{clock_at_zero, first_epoch},
    carry::Carrier,
    config::Config,
    dissemination::Pace,
    entry::{Input, RecordedOutput},
    event::{Event, Output},
    flap::Flaps,
    health::Health,
    history::History,
    introduce::{MAX_ASKED, Unverified},
    join::Joins,
    lately_departed::LatelyDeparted,
    leave::Leave,
    member::{Identity, Member, MemberId, MemberState, Record},
    metrics::Metrics,
    moves::Moves,
    phase::Phase,
    probe::Prober,
    reach::Reach,
    reconnect::Reconnects,
    recorder::Recorder,
    rejoin::Rejoin,
    relay::Relays,
    secret::{Numbers, Tokens},
    self_claims::NameConflict,
    stream::Streams,
    table::Table,
    time::Time,
    timers::{Timer, Timers},
    transmit::Transmit,
    updates::UpdateQueue,
    upper_layer::UpperLayer,
    validation::{Challenged, Guesses, MAX_CHALLENGED, Pinged},
};
use crate::wire::{Tags, hash};

/// The parameters of a node's start, besides its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Start {
    /// The address where others reach this node, over UDP and TCP.
    pub addr: SocketAddr,
    /// Milliseconds since 1970, which identify this life of its name. A time after 2100 is replaced by a time in the year
    /// 2100 that is drawn from `seed`.
    pub epoch: u64,
    /// The source of all randomness, and of numbers that others must not be able to guess: those that answers repeat, and
    /// tokens.
    pub seed: u128,
    /// The tags that it shows. Defaults to none.
    pub tags: Tags,
}

impl Start {
    /// A node without tags.
    #[must_use]
    pub fn new(addr: SocketAddr, epoch: u64, seed: u128) -> Self {
        Self { addr, epoch, seed, tags: Tags::default() }
    }
}

/// One participant of a cluster, as a state machine.
///
/// Inputs are `handle_*`, outputs `poll_*`, commands are verbs, the rest are getters. **Take in what has arrived, fire what
/// is due, then drain the outputs; then sleep until the deadline or the next input.** After a command, drain the outputs,
/// too. The whole driver:
///
/// ```no_run
/// # use std::net::SocketAddr;
/// # use syncswim::swim::{Config, Node, Output, Start, Time};
/// # fn now() -> Time { unimplemented!() }
/// # fn receive_until(_: Option<Time>) -> Option<(SocketAddr, Vec<u8>)> { unimplemented!() }
/// # fn send(_: SocketAddr, _: &[u8]) {}
/// # fn act(_: Output) {}
/// # let start = Start::new(([127, 0, 0, 1], 1).into(), 0, 0);
/// let mut node = Node::new(Config::lan("node-a"), start, now());
/// let mut buffer = Vec::new();
/// loop {
///     while let Some(to) = node.poll_transmit(&mut buffer) {
///         send(to.addr, &buffer);
///     }
///     while let Some(output) = node.poll_output() {
///         act(output); // pass on events, run streams, resolve seeds
///     }
///     // Take in what has arrived before firing what is due: a late reader must not accuse anybody. But a bounded number: a
///     // flood must not keep timers from firing.
///     let mut deadline = node.poll_timeout();
///     for _ in 0..64 {
///         let Some((from, bytes)) = receive_until(deadline) else { break };
///         node.handle_datagram(now(), from, &bytes);
///         deadline = Some(now()); // from here on only what is there already
///     }
///     node.handle_timeout(now());
/// }
/// ```
///
/// The origin of [`Time`] is the driver's choice, but should lie further back than
/// [`Config::forget_after`], so that the age of old departures can be told.
#[derive(Debug)]
pub struct Node {
    pub(super) config: Config,
    pub(super) name: Arc<str>,
    pub(super) cluster: u32,
    pub(super) mark: u32,
    pub(super) rng: fastrand::Rng,
    pub(super) numbers: Numbers,
    pub(super) now: Time,
    /// The time of the wall clock at [`Time::ZERO`], in milliseconds since 1970, as far as it can be right.
    pub(super) clock: u64,
    pub(super) phase: Phase,
    pub(super) table: Table,
    pub(super) timers: Timers,
    pub(super) health: Health,
    pub(super) flaps: Flaps,
    /// How long this node was held up the last time.
    pub(super) last_stall: Duration,
    pub(super) updates: UpdateQueue<MemberId>,
    pub(super) pace: Pace,
    pub(super) lately_departed: LatelyDeparted,
    /// Scratch memory for random picks.
    pub(super) picks: Vec<usize>,
    pub(super) prober: Prober,
    pub(super) relays: Relays,
    pub(super) streams: Streams,
    pub(super) sync_pace: SyncPace,
    pub(super) joins: Joins,
    pub(super) rejoin: Rejoin,
    pub(super) reconnects: Reconnects,
    pub(super) conflict: NameConflict,
    pub(super) unverified: Pinged<Unverified>,
    pub(super) challenges: Pinged<Challenged>,
    pub(super) moves: Moves,
    pub(super) guesses: Guesses,
    pub(super) leave: Leave,
    pub(super) carrier: Carrier,
    pub(super) reach: Reach,
    pub(super) upper: UpperLayer,
    pub(super) metrics: Metrics,
    pub(super) history: History,
    /// The mark of the member that the last datagram was proven to be from.
    pub(super) heard_from: Option<u32>,
    pub(super) transmits: VecDeque<Transmit>,
    pub(super) outputs: VecDeque<Output>,
    /// Writes down what it is given and what it puts out.
    pub(super) recorder: Recorder,
}

impl Node {
    /// Makes a node that no other knows yet: it becomes part of a cluster by joining or by being joined.
    ///
    /// # Panics
    /// If `config` is not [valid](Config::validate).
    #[must_use]
    pub fn new(config: Config, start: Start, now: Time) -> Self {
        config.validate().expect("the configuration was validated");
        let mut rng = fastrand::Rng::with_seed((start.seed ^ start.seed >> 64) as u64);
        let name: Arc<str> = Arc::from(config.name.as_str());
        let identity = Identity { epoch: first_epoch(start.epoch, &mut rng), incarnation: 0 };
        let mut own =
            Record::new(Arc::clone(&name), as_on_the_wire(start.addr), MemberState::Alive, identity, now);
        own.tags = start.tags;
        let mut table = Table::new(Tokens::new(start.seed), &mut rng);
        let me = table.insert(own, &mut rng);
        debug_assert_eq!(me, MemberId::SELF);
        let mut node = Self {
            cluster: hash::cluster(&config.cluster),
            mark: hash::member(&name),
            numbers: Numbers::new(start.seed),
            flaps: Flaps::default(),
            last_stall: Duration::ZERO,
            health: Health::new(if config.lha_probe { config.health_max } else { 1 }),
            reconnects: Reconnects::new(config.max_reconnects),
            name,
            rng,
            now,
            clock: clock_at_zero(identity.epoch, now),
            phase: Phase::Starting,
            table,
            timers: Timers::default(),
            updates: UpdateQueue::default(),
            pace: Pace::default(),
            lately_departed: LatelyDeparted::default(),
            picks: Vec::new(),
            prober: Prober::default(),
            relays: Relays::default(),
            streams: Streams::default(),
            sync_pace: SyncPace::default(),
            joins: Joins::default(),
            rejoin: Rejoin::default(),
            conflict: NameConflict::default(),
            unverified: Pinged::new(MAX_ASKED),
            challenges: Pinged::new(MAX_CHALLENGED),
            moves: Moves::new(),
            guesses: Guesses::default(),
            leave: Leave::default(),
            carrier: Carrier::default(),
            reach: Reach::default(),
            upper: UpperLayer::default(),
            metrics: Metrics::default(),
            history: History::new(config.history),
            heard_from: None,
            transmits: VecDeque::new(),
            outputs: VecDeque::new(),
            recorder: Recorder::default(),
            config,
        };
        node.emit_member(|member| Event::Joined { member }, MemberId::SELF);
        node
    }

    /// Fires the timers that are due. Call it at the deadline, after all datagrams that have arrived were taken in.
    pub fn handle_timeout(&mut self, now: Time) {
        self.given(now, || Input::Timeout);
        self.advance(now);
        self.notice_stall(now);
        while let Some(timer) = self.timers.pop_due(now) {
            self.fire(timer);
        }
    }

    pub(super) fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Probe => self.next_probe(),
            Timer::Indirect => self.probe_indirectly(),
            Timer::Bare => self.ping_bare(),
            Timer::Nack(seq) => self.relay_time_is_up(seq),
            Timer::Suspicion(id) => self.suspicion_ran_out(id),
            Timer::Gossip => self.gossip(),
            Timer::Sync => self.sync_periodically(),
            Timer::Reconnect => self.try_reconnect(),
            Timer::Seeds => self.resolve_seeds(),
            Timer::Race => self.race_on(),
            Timer::Conflict => self.ask_about_conflict_again(),
            Timer::Leave => self.repeat_leave(),
            Timer::Reap(id) => self.reap(id),
            Timer::Stream(stream) => self.stream_time_is_up(stream),
            Timer::Rejoin => self.try_rejoin(),
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next, unless an input arrives before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The next output that the driver must do or pass on.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if let Some(output) = &output {
            self.gave(|| RecordedOutput::Output(Cow::Borrowed(output)));
        }
        output
    }

    /// The outputs that a driver which drains after each input never leaves behind.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn undrained(&self) -> usize {
        self.transmits.len() + self.outputs.len()
    }

    pub(super) fn emit(&mut self, output: Output) {
        if let Output::Event(event) = &output {
            self.count_event(event);
        }
        self.outputs.push_back(output);
    }

    /// Counts the events of other members, not of this node.
    fn count_event(&mut self, event: &Event) {
        let count = match event {
            Event::Conflict { .. } => &mut self.metrics.conflicts,
            event if event.member().is_none_or(|member| member.name == self.name) => return,
            Event::Joined { .. } => &mut self.metrics.member_joins,
            Event::Failed { .. } => &mut self.metrics.member_failures,
            Event::Left { member, .. } if member.removed_by.is_some() => &mut self.metrics.member_removals,
            Event::Left { .. } => &mut self.metrics.member_leaves,
            event if event.is_refutation() => &mut self.metrics.member_refutations,
            _ => return,
        };
        *count += 1;
    }

    pub(super) fn emit_member(&mut self, event: impl FnOnce(Member) -> Event, id: MemberId) {
        let member = self.table.get(id).view();
        self.emit(Output::Event(event(member)));
    }

    /// Time never runs backwards, even if the driver's does.
    pub(super) fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    pub(super) fn set_timer(&mut self, timer: Timer, delay: Duration) {
        self.set_timer_at(timer, self.now + delay);
    }

    /// A moment that is over already is now: a timer that is due long since would look as if this node had been held up.
    pub(super) fn set_timer_at(&mut self, timer: Timer, at: Time) {
        self.timers.set(timer, at.max(self.now));
    }

    /// A delay of three quarters to five quarters, so that nodes do not act in step.
    pub(super) fn jittered(&mut self, delay: Duration) -> Duration {
        delay.mul_f64(0.75 + self.rng.f64() / 2.0)
    }

    /// Shows other tags to the cluster from now on.
    pub fn set_tags(&mut self, now: Time, tags: Tags) {
        self.given(now, || Input::SetTags(tags.clone()));
        self.advance(now);
        if self.is_leaving() || self.table.get(MemberId::SELF).tags == tags {
            return;
        }
        self.change_own(|own| own.tags = tags);
    }

    /// The host's address was replaced: from now on this node is reached at that one. Members learn it as they learn of tags.
    pub fn set_addr(&mut self, now: Time, addr: SocketAddr) {
        self.given(now, || Input::SetAddr(addr));
        self.advance(now);
        let addr = as_on_the_wire(addr);
        let is_known = addr == self.table.get(MemberId::SELF).addr;
        if self.is_leaving() || is_known || !self.config.allows(addr.ip()) {
            return;
        }
        self.change_own(|own| own.addr = addr);
        self.begin_at_new_address();
    }

    fn change_own(&mut self, change: impl FnOnce(&mut Record)) {
        let previous = self.local();
        self.table.update(MemberId::SELF, &mut self.rng, change);
        // While this node is not announced, the change waits as well.
        if self.takes_part() {
            self.table.update(MemberId::SELF, &mut self.rng, |own| own.identity.incarnation += 1);
            self.announce();
        }
        self.emit_member(|member| Event::Updated { member, previous }, MemberId::SELF);
    }

    /// This node as a member.
    #[must_use]
    pub fn local(&self) -> Member {
        self.table.get(MemberId::SELF).view()
    }

    /// Every member that is listed, this node included, by ascending name: O(n log n).
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let mut members: Vec<_> = self
            .table
            .walk(0)
            .filter(|(_, record)| !record.tombstone)
            .map(|(_, record)| record.view())
            .collect();
        members.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        members
    }

    /// The member of this name, if it is listed.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Member> {
        self.table.find_listed(name).map(|id| self.table.get(id).view())
    }

    /// The number of live members, this node included.
    #[must_use]
    pub fn live(&self) -> usize {
        self.table.live()
    }

    /// Counters and gauges.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics {
            live_members: self.table.live() as u64,
            alive_members: self.table.listed(MemberState::Alive) as u64,
            suspect_members: self.table.listed(MemberState::Suspect) as u64,
            failed_members: self.table.listed(MemberState::Failed) as u64,
            left_members: self.table.listed(MemberState::Left) as u64,
            departed_members: self.table.departed() as u64,
            queued_updates: self.updates.len() as u64,
            queued_transmits: self.transmits.len() as u64,
            open_streams: self.streams.len() as u64,
            probes: self.prober.rounds,
            health_score: u64::from(self.health.score()),
            streams_only_members: self.carrier.streams_only().count() as u64,
            unreached: self.reach.is_unreached().into(),
            address_gone: self.reach.is_gone().into(),
            address_differs: self.observed_addr().is_some().into(),
            ..self.metrics.clone()
        }
    }

    /// The configuration it runs with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// The wire carries neither scope nor flow of an address, and no IPv4-mapped IPv6 address.
fn as_on_the_wire(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
