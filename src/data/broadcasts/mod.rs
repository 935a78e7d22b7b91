//! Broadcasts: payloads for every member, once, in their sender's order (Serf's user events).
//!
//! An origin, its life and a number that the origin counts name a broadcast. A broadcast is new if its number is not among
//! the known numbers of that life (`window`). It spreads by gossip, behind the protocol's updates (`queue`), which may miss
//! a member: a later number or a differing digest shows the gap, and another member gives the missing broadcasts from its
//! `log` (`repair`). `lives` has the state of each life, `past` the names that are no longer listed; `origin` keeps the
//! order, `given_up` has the numbers that count as known without having arrived; `confirm` tells the origin which members
//! have a broadcast, `large` sends broadcasts that fit in no datagram; `send` writes packets, `kept` is the part in a state
//! file, `item` is one broadcast, `commands` are calls of the application.

mod commands;
mod confirm;
mod given_up;
mod item;
mod kept;
mod large;
mod lives;
mod log;
mod origin;
mod past;
mod queue;
mod repair;
mod send;
mod window;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::Sender;

pub use self::confirm::Unconfirmed;
pub(crate) use self::{
    confirm::Outcome,
    item::{CONFIRM, FOLD, Item},
    large::MAX_LARGE,
    origin::Delivery,
    repair::{Exchange, pace},
};
use self::{
    confirm::{Confirmations, PendingConfirms, Resend},
    log::{KEEP, Log},
    origin::Heard,
    past::Past,
    queue::Queue,
    window::{Window, is_plausible},
};
use crate::{
    data::{
        rate::{Bucket, Rate},
        shares::Shares,
        stamp::Stamps,
    },
    swim::{Event, Life, Metrics, Node, Time},
    wire::data::Broadcast,
};

/// Broadcasts per second of a node, on average, and those that may come at once.
const OWN: Rate = (50, 256);
/// The rate at which a receiver passes on broadcasts of one origin: four times as much. Further ones wait for repair. The
/// rate is not shared by account, since the queue is.
const PASSED: Rate = (4 * OWN.0, 4 * OWN.1);
/// Lives of one name: the present one, and one before.
const MAX_LIVES: usize = 2;
/// A node takes over the knowledge of others as older than itself for this long after its start, unless it did so before.
const JOINING: Duration = Duration::from_secs(10);
/// The digest is withheld while the queue is busy, but no longer than this.
const BUSY: Duration = Duration::from_millis(500);
/// The most deliveries that wait for readers; a driver takes them after each input.
const MAX_DELIVERIES: usize = 8192;
/// Members that are to be sent a broadcast directly.
const MAX_RESENDS: usize = 4096;

/// Why a broadcast was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMany {
    PerSecond,
    Confirmed,
    Large,
}

#[derive(Debug)]
pub(crate) struct Broadcasts {
    own: Life,
    /// The number of this node's last broadcast.
    last: u64,
    lives: BTreeMap<Arc<str>, Vec<Heard>>,
    /// The xor of the shares of the live origins.
    digest: u64,
    /// Until then this node sends the digest.
    tell_until: Time,
    busy_since: Time,
    queue: Queue,
    log: Log,
    stamps: Stamps,
    rate: Bucket,
    /// The next deadline of each life.
    due: BTreeSet<(Time, Life)>,
    /// Bytes of the broadcasts that wait for an earlier one.
    held: Shares,
    deliveries: VecDeque<Delivery>,
    /// The members to ask for missing broadcasts.
    asks: VecDeque<Life>,
    /// An origin to ask, since others claim a number that is believed from the origin alone.
    to_ask: Option<Life>,
    /// When to send a random member the digest, as the queue is empty, and the earliest time for that.
    check: Option<Time>,
    next_check: Time,
    /// Whether datagrams may be sent that no datagram from outside caused.
    sends: bool,
    confirmations: Confirmations,
    resends: VecDeque<Resend>,
    pending_confirms: PendingConfirms,
    rng: fastrand::Rng,
    /// When this node first knew others, and whether it has taken over their knowledge.
    joined: Option<Time>,
    took_over: bool,
    /// The epoch of each name's present life and when it was first listed: earlier broadcasts are not for this node. A name
    /// that returns keeps its time.
    arrivals: BTreeMap<Arc<str>, (u64, Time)>,
    past: Past,
    /// Whether readers may have received a broadcast that is in no state file yet, and the keeper of the state file.
    changed: bool,
    keeper: Option<Sender<()>>,
    /// The counters of metrics.
    counted: Metrics,
    now: Time,
}

impl Broadcasts {
    pub(in crate::data) fn new(node: &Node, stamps: Stamps) -> Self {
        let own = node.own_life();
        Self {
            stamps,
            rng: fastrand::Rng::with_seed(own.epoch ^ u64::from(node.config().max_datagram as u32)),
            own,
            last: 0,
            lives: BTreeMap::new(),
            digest: 0,
            tell_until: Time::ZERO,
            busy_since: Time::ZERO,
            queue: Queue::default(),
            log: Log::default(),
            rate: Bucket::default(),
            due: BTreeSet::new(),
            held: Shares::default(),
            deliveries: VecDeque::new(),
            asks: VecDeque::new(),
            to_ask: None,
            check: None,
            next_check: Time::ZERO,
            sends: false,
            confirmations: Confirmations::default(),
            resends: VecDeque::new(),
            pending_confirms: PendingConfirms::default(),
            joined: None,
            took_over: false,
            arrivals: BTreeMap::new(),
            past: Past::default(),
            changed: false,
            keeper: None,
            counted: Metrics::default(),
            now: node.now(),
        }
    }

    /// Sends a payload to every member, this node included.
    pub(crate) fn broadcast(
        &mut self,
        now: Time,
        node: &Node,
        topic: &str,
        payload: &[u8],
        flags: u8,
    ) -> Result<Arc<Item>, TooMany> {
        self.now = now;
        if !self.rate.take(now, OWN) {
            return Err(TooMany::PerSecond);
        }
        self.follow_own(node);
        self.last += 1;
        let (own, seq, stamp) = (self.own.clone(), self.last, self.stamps.next(now));
        let message = Broadcast { origin: &own.name, epoch: own.epoch, seq, stamp, flags, topic, payload };
        let item = Item::of(own.clone(), None, &message, stamp);
        self.counted.broadcasts_sent += 1;
        self.learn(node, Arc::clone(&item), &own, true);
        Ok(item)
    }

    /// Processes a broadcast that a live member has passed on.
    pub(crate) fn on_broadcast(&mut self, now: Time, node: &Node, from: &Life, message: &Broadcast<'_>) {
        self.take_in(now, node, from, message, true);
    }

    /// Takes in a broadcast that a member has given because this node lacked it. No member passes it on: the others get it
    /// by repair, as this node did.
    fn on_repaired(&mut self, now: Time, node: &Node, from: &Life, message: &Broadcast<'_>) {
        self.pending_confirms.earn();
        self.take_in(now, node, from, message, false);
    }

    fn take_in(&mut self, now: Time, node: &Node, from: &Life, message: &Broadcast<'_>, by_gossip: bool) {
        self.now = now;
        let &Broadcast { origin, epoch, seq, flags, .. } = message;
        let asks = flags & item::CONFIRM_ANYWAY != 0 && is_by_origin(from, origin, epoch);
        if self.heard(origin, epoch).is_some_and(|heard| heard.window.contains(seq)) {
            if asks && self.has_or_gets(node, from, message) {
                let life = Life { name: Arc::clone(&from.name), epoch };
                self.pending_confirms.add(now, &life, node.account_of_said(origin), seq, Duration::ZERO);
            }
            return;
        }
        if *origin == *self.own.name {
            return self.on_own(node, epoch, seq);
        }
        let Some(life) = self.admit(node, from, message) else {
            self.counted.dropped_broadcasts += 1;
            return;
        };
        self.counted.broadcasts_received += 1;
        let account = node.account_of_said(&life.name);
        if asks {
            self.pending_confirms.add(now, &life, account, seq, Duration::ZERO);
        } else if flags & CONFIRM != 0 && confirm::is_sampled(&self.own.name, seq, node.live()) {
            let spread = confirm::spread(node.live()).mul_f64(self.rng.f64());
            self.pending_confirms.add(now, &life, account, seq, spread);
        }
        let stamp = self.stamps.on_stamp(now, message.stamp);
        let item = Item::of(life.clone(), account, message, stamp);
        // Others take in what is of an earlier life from its origin alone.
        let is_present = node.listed_life(&life.name).is_none_or(|(present, _)| present == life.epoch);
        let passes = by_gossip && is_present && self.heard_or_new(life, seq).passed.take(now, PASSED);
        self.counted.delayed_broadcasts += u64::from(by_gossip && !passes);
        self.learn(node, item, from, passes);
    }

    /// Whether readers have a known broadcast, or receive it now: a number may count as known although its broadcast did not
    /// arrive.
    fn has_or_gets(&mut self, node: &Node, from: &Life, message: &Broadcast<'_>) -> bool {
        let life = Life { name: Arc::clone(&from.name), epoch: message.epoch };
        let has = self.heard(&life.name, life.epoch).and_then(|heard| heard.has_come(message.seq));
        if has == Some(false) {
            let stamp = self.stamps.on_stamp(self.now, message.stamp);
            let item = Item::of(life.clone(), node.account_of_said(&life.name), message, stamp);
            self.counted.broadcasts_received += 1;
            self.update(node, &life, item.seq, |heard, out| heard.take_given_up(item, out));
        }
        has.is_some()
    }

    /// Another node used a number of this node's life. This node goes on above it, since all others may take the forged
    /// broadcast for its own.
    fn on_own(&mut self, node: &Node, epoch: u64, seq: u64) {
        if epoch != self.own.epoch || seq <= self.last {
            return;
        }
        self.counted.forged_broadcasts += 1;
        self.last = window::above(seq, self.last);
        let (life, known) = (self.own.clone(), Window::up_to(self.last));
        self.heard_or_new(life.clone(), self.last).take_over(&known, &mut VecDeque::new());
        self.refresh(node, &life);
        self.tell_until = self.now + KEEP;
    }

    /// The life of a broadcast's origin, if the origin is a member and the number is believed.
    fn admit(&mut self, node: &Node, from: &Life, message: &Broadcast<'_>) -> Option<Life> {
        let (known, _) = node.known_life(message.origin)?;
        let life = match self.heard(message.origin, message.epoch) {
            Some(heard) => heard.life.clone(),
            None if known.epoch == message.epoch => known,
            None if is_by_origin(from, message.origin, message.epoch) && self.keeps(from, message.epoch) => {
                Life { epoch: message.epoch, ..known }
            }
            None => return None,
        };
        self.believes(from, &life, message.seq).then_some(life)
    }

    /// Whether a member's claim is believed that a life has come to this number. If only the origin would be believed, it is
    /// asked.
    fn believes(&mut self, from: &Life, life: &Life, seq: u64) -> bool {
        let by_origin = is_by_origin(from, &life.name, life.epoch);
        let believed = is_plausible(seq, self.known_of(life).highest(), by_origin);
        if !believed && !by_origin {
            self.to_ask = Some(life.clone());
        }
        believed
    }

    /// Processes a new broadcast, of this node or of another one.
    fn learn(&mut self, node: &Node, item: Arc<Item>, from: &Life, passes: bool) {
        let life = item.origin.clone();
        let now = self.now;
        if !item.is_large() {
            self.counted.evicted_broadcasts += u64::from(self.log.push(now, Arc::clone(&item)));
        }
        if passes && !item.is_large() {
            if self.queue.is_empty() {
                self.busy_since = now;
            }
            self.counted.evicted_broadcasts += u64::from(self.queue.push(Arc::clone(&item)));
        }
        self.tell_until = now + KEEP;
        self.update(node, &life, item.seq, |heard, out| heard.take(now, item, from, out));
    }

    /// Follows the events of members.
    pub(crate) fn on_event(&mut self, node: &Node, event: &Event) {
        let Some(member) = event.member() else { return };
        self.now = self.now.max(node.now());
        let (name, epoch) = (&member.name, member.identity.epoch);
        match event {
            Event::Joined { .. } => {
                let life = Life { name: Arc::clone(name), epoch };
                self.confirmations.joined(&life);
                self.past.remove(name);
                let arrival = self.arrivals.entry(Arc::clone(name)).or_insert((epoch, self.now));
                if arrival.0 != epoch {
                    *arrival = (epoch, self.now);
                }
                if self.digest != 0 {
                    // The member may have joined a moment ago, and takes over the knowledge of others.
                    self.tell_until = self.tell_until.max(self.now + JOINING);
                }
            }
            Event::Failed { .. } => self.confirmations.gone(name, epoch, Unconfirmed::Failed),
            Event::Left { .. } => self.confirmations.gone(name, epoch, Unconfirmed::Left),
            Event::Reaped { .. } => return self.reaped(node, name),
            _ => return,
        }
        let lives: Vec<Life> =
            self.lives.get(name).into_iter().flatten().map(|heard| heard.life.clone()).collect();
        lives.iter().for_each(|life| self.refresh(node, life));
    }

    /// Runs work that is due.
    pub(crate) fn handle_timeout(&mut self, now: Time, node: &Node) {
        self.now = now;
        if self.joined.is_none() && node.live() > 1 {
            self.joined = Some(now);
        }
        while let Some((at, _)) = self.due.first()
            && *at <= now
            && let Some((_, life)) = self.due.pop_first()
        {
            let mut ask = None;
            self.update(node, &life, 0, |heard, out| ask = heard.expire(now, out));
            let due = self.heard(&life.name, life.epoch).and_then(Heard::due);
            self.reschedule(&life, None, due);
            if let Some(from) = ask.filter(|from| !self.asks.contains(from)) {
                self.asks.push_back(from);
            }
        }
        if self.confirmations.next().is_some_and(|at| at <= now) {
            self.confirmations.expire(now, &mut self.resends);
            self.resends.truncate(MAX_RESENDS);
        }
        self.log.expire(now);
        while let Some(name) = self.past.pop_over(now) {
            self.forget(&name);
        }
        self.sends = true;
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`poll_transmit`](Self::poll_transmit) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let due = self.due.first().map(|(at, _)| *at);
        let resends = (!self.resends.is_empty()).then_some(self.now);
        let parts = [due, self.confirmations.next(), self.pending_confirms.next(), self.check, resends];
        parts.into_iter().flatten().min()
    }

    /// Follows this node's own life, and drops work for members that are gone.
    pub(crate) fn settle(&mut self, node: &Node) {
        self.follow_own(node);
        if node.live() <= 1 && !self.queue.is_empty() {
            self.queue.clear();
        }
    }

    /// If this node's epoch has risen, its life begins anew, and its numbers with it. Its earlier broadcasts then count as
    /// those of an earlier life.
    fn follow_own(&mut self, node: &Node) {
        let own = node.own_life();
        if self.own != own {
            let before = std::mem::replace(&mut self.own, own);
            self.last = 0;
            self.refresh(node, &before);
        }
    }

    /// The next member to ask for missing broadcasts, of those with which a sync may begin.
    pub(crate) fn poll_ask(&mut self, node: &Node, may_begin: impl Fn(&Life) -> bool) -> Option<Life> {
        self.asks.retain(|with| node.live_life(&with.name).as_ref() == Some(with));
        let at = self.asks.iter().position(may_begin)?;
        self.asks.remove(at)
    }

    /// The next member that is to get a confirmed broadcast by stream, and how long that may take.
    pub(crate) fn poll_by_stream(
        &mut self,
        now: Time,
        may_begin: impl Fn(&Life) -> bool,
    ) -> Option<(Life, Duration)> {
        self.confirmations.poll_by_stream(now, may_begin)
    }

    /// The origin to ask, since others claim a number that only the origin is believed about.
    pub(crate) fn take_to_ask(&mut self) -> Option<Life> {
        self.to_ask.take()
    }

    /// The next delivery for readers.
    pub(crate) fn poll_delivery(&mut self) -> Option<Delivery> {
        self.deliveries.pop_front()
    }

    /// The node ends.
    pub(crate) fn close(&mut self) {
        self.confirmations.close();
    }

    /// Adds the counters to the metrics.
    pub(crate) fn add_to(&self, metrics: &mut Metrics) {
        let (queued, logged) = (self.queue.len() as u64, self.log.len() as u64);
        metrics.add(&Metrics {
            queued_broadcasts: queued,
            logged_broadcasts: logged,
            ..self.counted.clone()
        });
    }

    /// Checks every bound that the code does not hold by construction.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn audit(&self) -> Result<(), String> {
        let held = self.lives.values().flatten().map(Heard::held).max().unwrap_or(0);
        let held_bytes: usize = self.lives.values().flatten().map(Heard::held_bytes).sum();
        let given_up = self.lives.values().flatten().map(Heard::given_up).max().unwrap_or(0);
        let lives = self.lives.values().map(Vec::len).max().unwrap_or(0);
        let bounds = [
            ("broadcasts in the queue", self.queue.len(), queue::MAX_QUEUED),
            ("broadcasts in the log", self.log.len(), log::MAX_LOGGED.0),
            ("bytes in the log", self.log.bytes(), log::MAX_LOGGED.1),
            ("broadcasts held back", held, origin::MAX_HELD),
            ("ranges that were given up", given_up, given_up::MAX_RANGES),
            ("bytes held back", self.held.all().1, lives::MAX_HELD_OF_ALL),
            ("names that are listed no longer", self.past.len(), past::MAX_PAST),
            ("lives of a name", lives, MAX_LIVES),
            ("things that are due", self.due.len(), self.lives.len() * MAX_LIVES),
        ];
        let digest = self.lives.values().flatten().fold(0, |digest, heard| digest ^ heard.share);
        match bounds.into_iter().find(|(_, length, bound)| length > bound) {
            Some((what, length, bound)) => Err(format!("{length} {what}, more than {bound}")),
            None if digest != self.digest => Err("the digest is not that of what is known".into()),
            None if held_bytes != self.held.all().1 => Err("what is held back is counted wrongly".into()),
            None => Ok(()),
        }
    }
}

/// Whether a member says this of itself: perhaps it sent it before its epoch rose.
fn is_by_origin(from: &Life, origin: &str, epoch: u64) -> bool {
    *from.name == *origin && epoch <= from.epoch
}

#[cfg(test)]
mod tests;
