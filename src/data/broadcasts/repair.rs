//! Repair: two members tell each other which broadcasts they know, and each gives what the other lacks (`data::sync`).
//!
//! First heads go both ways, by ascending life. Then each side sends, for each life of which the other knows less, the
//! broadcasts that its log has, and the head again to show that this was all. A broadcast that is still missing is lost,
//! unless another member gives it soon.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    time::Duration,
};

use super::{Broadcasts, Item, kept::with_head, origin::Heard, window::Window};
use crate::{
    swim::{Life, Node, Time},
    wire::{
        data::{BroadcastHead, DataMessage},
        packet::Writer,
    },
};

/// The most lives in one exchange of which the other side lacks something. The rest waits for the next exchange.
const MAX_BEHIND: usize = 4096;

/// The least time between two exchanges for broadcasts, and the longest if the last changed nothing.
pub(crate) fn pace(node: &Node) -> (Duration, Duration) {
    let config = node.config();
    (config.gossip_interval, config.probe_interval.saturating_mul(4))
}

/// The state of an exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    with: Life,
    /// The last head that was written, and the last that arrived.
    written: Option<Life>,
    heard: Option<Life>,
    /// The other side's knowledge of lives of which this node knows more.
    behind: VecDeque<(Life, Window)>,
    /// The other side's first heads, for lives of which this node takes over broadcasts from before its time.
    before: BTreeMap<Life, Window>,
    /// The number of the last broadcast that was written, of the first life in `behind`.
    given: u64,
    /// Whether this turn still has something to send: heads, and broadcasts that the other side lacks.
    tells: bool,
    gives: bool,
}

impl Exchange {
    pub(crate) fn new(with: Life) -> Self {
        Self {
            with,
            written: None,
            heard: None,
            behind: VecDeque::new(),
            before: BTreeMap::new(),
            given: 0,
            tells: false,
            gives: false,
        }
    }
}

impl Broadcasts {
    /// A hash of all known numbers; 0 if there are none.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// The digest for a packet, or 0 while it need not be sent: long after the last broadcast, or while broadcasts are on
    /// their way.
    pub(crate) fn settled_digest(&self, now: Time) -> u64 {
        if now < self.tell_until && self.is_settled(now) { self.digest } else { 0 }
    }

    /// Whether a member knows other broadcasts than this node.
    pub(crate) fn differs_from(&self, now: Time, theirs: u64) -> bool {
        theirs != 0 && theirs != self.digest && self.is_settled(now)
    }

    /// Plans a turn of this side: the first two turns tell heads, the second and third give broadcasts.
    pub(crate) fn begin_turn(exchange: &mut Exchange, turn: u8) {
        (exchange.tells, exchange.gives) = (turn <= 1, turn == 1 || turn == 2);
    }

    /// Writes as much of the turn into a frame as fits. Returns whether that was all.
    pub(crate) fn say(&self, exchange: &mut Exchange, packet: &mut Writer<'_>) -> bool {
        if exchange.tells {
            exchange.tells = !self.put_heads(exchange, packet);
        }
        if !exchange.tells && exchange.gives {
            exchange.gives = !self.put_missing(exchange, packet);
        }
        !exchange.tells && !exchange.gives
    }

    /// Processes a section of the other side. Returns whether the section is about broadcasts.
    pub(crate) fn on_section(
        &mut self,
        now: Time,
        node: &Node,
        exchange: &mut Exchange,
        from: &Life,
        message: &DataMessage<'_>,
    ) -> bool {
        match message {
            DataMessage::Broadcast(broadcast) => self.on_repaired(now, node, from, broadcast),
            DataMessage::BroadcastHead(head) => self.on_head(now, node, exchange, head),
            _ => return false,
        }
        true
    }

    /// The other side has ended a turn: after its heads, this node knows what the other side lacks.
    pub(crate) fn end_turn(&mut self, exchange: &mut Exchange, turn: u8) {
        if turn <= 1 {
            self.lack_between(exchange, None);
        }
        // A member that knows nothing may have joined a moment ago as well; and the opener has given nothing before the
        // third turn.
        self.took_over |= turn >= 1 && exchange.heard.is_some();
    }

    fn is_settled(&self, now: Time) -> bool {
        self.queue.is_empty() || now.since(self.busy_since) >= super::BUSY
    }

    /// The lives whose heads are sent, in order, after this one.
    fn told_lives(&self, behind: Option<&Life>) -> impl Iterator<Item = &Heard> {
        let from = Bound::Included(behind.map_or("", |life| &*life.name));
        let is_behind = move |heard: &&Heard| behind.is_none_or(|behind| heard.life > *behind);
        let is_told = |heard: &&Heard| heard.share != 0 || self.log.of(&heard.life).next().is_some();
        self.lives
            .range::<str, _>((from, Bound::Unbounded))
            .flat_map(|(_, lives)| lives)
            .filter(is_behind)
            .filter(is_told)
    }

    /// Writes heads into a frame. Returns whether it has written all.
    fn put_heads(&self, exchange: &mut Exchange, packet: &mut Writer<'_>) -> bool {
        for heard in self.told_lives(exchange.written.clone().as_ref()) {
            if !put_head(packet, &heard.life, &heard.window) {
                return false;
            }
            exchange.written = Some(heard.life.clone());
        }
        true
    }

    /// The other side tells what it knows of a life, in ascending order; or, of an earlier one, that it has given all.
    fn on_head(&mut self, now: Time, node: &Node, exchange: &mut Exchange, head: &BroadcastHead<'_>) {
        self.now = now;
        let window = Window::of_head(head.below, head.above);
        let known = self.heard(head.origin, head.epoch).map(|heard| heard.life.clone());
        let named = || node.known_life(head.origin).map(|(known, _)| known);
        let Some(life) = known.or_else(named).filter(|life| life.epoch == head.epoch) else { return };
        if exchange.heard.as_ref().is_some_and(|before| *before >= life) {
            if let Some(before) = exchange.before.remove(&life) {
                self.update(node, &life, before.highest(), |heard, out| heard.take_over(&before, out));
            }
            return self.on_all_given(node, &exchange.with, &life, &window);
        }
        self.lack_between(exchange, Some(&life));
        exchange.heard = Some(life.clone());
        if life.name == self.own.name {
            if window.highest() > self.last {
                self.on_own(node, life.epoch, window.highest());
            }
        } else if self.takes_over()
            && window.highest() > 0
            && self.believes(&exchange.with, &life, window.highest())
        {
            // Broadcasts sent since this node was listed as live come first; the rest was before its time.
            if exchange.before.len() < MAX_BEHIND {
                exchange.before.insert(life.clone(), window);
            }
        }
        if window.lacks(&self.known_of(&life)) {
            lacks(exchange, life, window);
        }
    }

    /// The other side has given all that it has of a life: the other numbers that it knows may be lost.
    fn on_all_given(&mut self, node: &Node, from: &Life, life: &Life, theirs: &Window) {
        let is_other = life.name != self.own.name;
        if is_other && self.known_of(life).lacks(theirs) && self.believes(from, life, theirs.highest()) {
            let now = self.now;
            self.update(node, life, 0, |heard, _| heard.note_ungiven(now, theirs));
        }
    }

    pub(super) fn known_of(&self, life: &Life) -> Window {
        self.heard(&life.name, life.epoch).map(|heard| heard.window).unwrap_or_default()
    }

    /// The other side knows nothing about the lives between its last head and this one.
    fn lack_between(&self, exchange: &mut Exchange, to: Option<&Life>) {
        let behind = exchange.heard.clone();
        let unknown =
            self.told_lives(behind.as_ref()).take_while(|heard| to.is_none_or(|to| heard.life < *to));
        unknown.for_each(|heard| lacks(exchange, heard.life.clone(), Window::default()));
    }

    fn next_missing<'a>(
        &'a self,
        exchange: &Exchange,
        life: &Life,
        theirs: &Window,
        behind: u64,
    ) -> Option<&'a Item> {
        let begin = self
            .arrivals
            .get(&exchange.with.name)
            .filter(|(epoch, _)| *epoch == exchange.with.epoch)
            .map_or(Time::ZERO, |(_, at)| *at);
        let missing =
            self.log.since(life, begin).filter(|item| item.seq > behind && !theirs.contains(item.seq));
        missing.min_by_key(|item| item.seq).map(|item| &**item)
    }

    /// Writes broadcasts that the other side lacks into a frame. Returns whether it has written all.
    fn put_missing(&self, exchange: &mut Exchange, packet: &mut Writer<'_>) -> bool {
        while let Some((life, theirs)) = exchange.behind.front() {
            while let Some(item) = self.next_missing(exchange, life, theirs, exchange.given) {
                if !packet.message(&item.message()) {
                    return false;
                }
                exchange.given = item.seq;
            }
            if let Some(heard) = self.heard(&life.name, life.epoch)
                && !put_head(packet, life, &heard.window)
            {
                return false;
            }
            exchange.behind.pop_front();
            exchange.given = 0;
        }
        true
    }
}

fn lacks(exchange: &mut Exchange, life: Life, window: Window) {
    if exchange.behind.len() < MAX_BEHIND {
        exchange.behind.push_back((life, window));
    }
}

fn put_head(packet: &mut Writer<'_>, life: &Life, window: &Window) -> bool {
    with_head(life, window, |head| packet.message(head))
}
