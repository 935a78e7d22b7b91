//! The asks of this node: each is repeated until it is answered, its member departs, or its time is up.
//!
//! A small ask goes by datagram, after a pause again, then by stream; a large ask, or one to a member that datagrams do not
//! reach, goes by stream at once. As the receiver takes in each number once, repeating does no harm. The receiver answers a
//! request by datagram when its application has answered; meanwhile this node polls, in case that datagram gets lost. Asks
//! that need a stream get one in the order in which they began.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::Sender;

use super::{
    answerer::AskKind,
    ask::{ALL_DATAGRAMS, Ask, Caller, DATAGRAMS, MAX_DOUBLED, NewAsk, Step, TooMany, deadline, doubled},
    memory::AskId,
    queries::{MAX_QUERIES, Queries, Query, READING_PAUSE, Results},
    status::{Answer, Outcome, QueryProblem, Settled, Status},
};
use crate::{
    collections::fanout::{Fanout, Subscription},
    error::EndedBy,
    swim::{Event, Life, Node, NotOpened, StreamId, Time, WayTo},
};

/// Asks of callers that may be under way at the same time, not counting those of queries.
const MAX_ASKS: usize = 1024;
/// Asks to one member at the same time, those of queries included: each has a slot of its own.
const MAX_PER_MEMBER: usize = 128;
/// Asks of queries that may be just sent and not answered.
const MAX_IN_FLIGHT: usize = 64;
/// Asks of queries that may be sent at once.
const BURST: usize = 16;
/// The pause after such a burst.
const BURST_PAUSE: Duration = Duration::from_millis(1);
/// How many of the streams that this node may open, in total and to one member, are left for syncs.
const SPARED_STREAMS: (usize, usize) = (2, 1);
/// The first pause before a member's token is checked for again; it doubles.
const TOKEN_PAUSE: Duration = Duration::from_millis(5);

const _: () = assert!(MAX_PER_MEMBER + MAX_QUERIES <= 1 << u8::BITS);

/// An ask to send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// By datagram.
    Datagram(u64),
    /// To this node itself.
    Own(u64),
}

#[derive(Debug, Default)]
pub(super) struct Asker {
    last: u64,
    asks: BTreeMap<u64, Ask>,
    /// By member and slot.
    by_member: BTreeMap<Arc<str>, BTreeMap<u8, u64>>,
    by_stream: BTreeMap<StreamId, u64>,
    /// Asks that need a stream and have none yet.
    streamless: BTreeSet<u64>,
    /// Whether a stream may be open for one of them, as far as this node knows.
    may_open: bool,
    /// When to look again at those of queries whose answers nobody reads.
    unread: Option<Time>,
    /// Streams whose asks are settled, or pending.
    needless: Vec<StreamId>,
    /// Of asks, and of queries that have members left to ask.
    timers: BTreeSet<(Time, u64)>,
    singles: usize,
    in_flight: usize,
    /// When the next ask of a query may be sent.
    release: Time,
    pub(super) queries: Queries,
    closed: bool,
    /// How often asks were sent again.
    pub(super) repeated: u64,
}

impl Asker {
    pub(super) fn get(&self, id: u64) -> Option<&Ask> {
        self.asks.get(&id)
    }

    pub(super) fn by_stream(&self, stream: StreamId) -> Option<&Ask> {
        self.asks.get(self.by_stream.get(&stream)?)
    }

    pub(super) fn len(&self) -> usize {
        self.asks.len()
    }

    /// Begins one ask.
    pub(super) fn ask(
        &mut self,
        node: &Node,
        now: Time,
        to: Life,
        new: NewAsk,
        caller: Sender<Settled>,
    ) -> Result<(), TooMany> {
        if self.closed {
            // The caller notices the end when its channel is dropped.
            return Ok(());
        }
        if self.singles >= MAX_ASKS {
            return Err(TooMany::Asks);
        }
        if self.by_member.get(&to.name).map_or(0, BTreeMap::len) >= MAX_PER_MEMBER {
            return Err(TooMany::ToMember);
        }
        self.singles += 1;
        let id = self.insert(node, now, to, new, Caller::One(caller));
        self.timers.insert((now, id));
        Ok(())
    }

    /// Begins a query: one ask to each of these members. Returns its number, and the subscription to the outcomes.
    pub(super) fn query(
        &mut self,
        now: Time,
        to: Vec<Life>,
        new: NewAsk,
    ) -> Result<(u64, Subscription<Results>), TooMany> {
        let answers = Fanout::new();
        let reader = answers.subscribe(Results::default());
        if self.closed || to.is_empty() {
            return Ok((0, reader));
        }
        if self.queries.are_all() {
            return Err(TooMany::Queries);
        }
        let (id, deadline) = (self.next_number(), deadline(now, &new));
        self.timers.insert((deadline, id));
        self.queries.insert(id, Query { new, began: now, deadline, waiting: to.into(), asked: 0, answers });
        Ok((id, reader))
    }

    /// A query's answers have no reader any more.
    pub(super) fn cancel(&mut self, now: Time, query: u64) {
        let Some(Query { deadline, .. }) = self.queries.remove(query) else { return };
        self.timers.remove(&(deadline, query));
        let is_its = |ask: &Ask| matches!(ask.caller, Caller::Query(of) if of == query);
        let its: Vec<_> = self.asks.iter().filter(|(_, ask)| is_its(ask)).map(|(id, _)| *id).collect();
        its.into_iter().for_each(|id| self.settle(now, id, Err(QueryProblem::Dropped)));
    }

    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn insert(&mut self, node: &Node, began: Time, to: Life, new: NewAsk, caller: Caller) -> u64 {
        let number = self.next_number();
        let taken = self.by_member.entry(Arc::clone(&to.name)).or_default();
        let slot = (0..u8::MAX).find(|slot| !taken.contains_key(slot)).unwrap_or(u8::MAX);
        taken.insert(slot, number);
        let id = AskId { slot, epoch: node.own_life().epoch, number };
        self.asks.insert(number, Ask::new(began, to, id, new, caller));
        number
    }

    /// When [`act`](Self::act) has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let waits = self.in_flight < MAX_IN_FLIGHT && self.queries.is_waiting();
        let first = self.timers.first().map(|(at, _)| *at);
        first.into_iter().chain(waits.then_some(self.release)).chain(self.unread).min()
    }

    /// Runs work that is due.
    pub(super) fn act(&mut self, node: &mut Node, now: Time, acts: &mut impl FnMut(Act)) {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            self.fire(node, now, id, acts);
        }
        if now >= self.release {
            for _ in 0..BURST.min(MAX_IN_FLIGHT.saturating_sub(self.in_flight)) {
                let Some((query, to, Query { new, began, .. })) = self.queries.next() else { break };
                let (new, began) = (new.clone(), *began);
                let id = self.insert(node, began, to, new, Caller::Query(query));
                self.release = now + BURST_PAUSE;
                self.in_flight += 1;
                self.fire(node, now, id, acts);
            }
        }
        self.open_streams(node, now);
    }

    fn fire(&mut self, node: &mut Node, now: Time, id: u64, acts: &mut impl FnMut(Act)) {
        let Some(ask) = self.asks.get_mut(&id) else { return self.queries.end(now, id, EndedBy::Timeout) };
        if now >= ask.deadline {
            let is_unread = self.streamless.contains(&id) && ask.is_of(&self.queries.unread());
            let outcome = ask.ended(if is_unread { EndedBy::Unread } else { EndedBy::Timeout });
            return self.settle(now, id, outcome);
        }
        let next = match ask.step {
            Step::Streaming => self.repeat_beside_stream(node, now, id, acts),
            Step::Asking | Step::Pending => match self.attempt(node, now, id, acts) {
                Ok(next) => next,
                Err(outcome) => return self.settle(now, id, outcome),
            },
        };
        self.set_timer(id, next);
    }

    fn set_timer(&mut self, id: u64, next: Time) {
        if let Some(ask) = self.asks.get_mut(&id) {
            ask.at = next.min(ask.deadline);
            self.timers.insert((ask.at, id));
        }
    }

    fn reset_timer(&mut self, id: u64, next: Time) {
        if let Some(ask) = self.asks.get(&id) {
            self.timers.remove(&(ask.at, id));
            self.set_timer(id, next);
        }
    }

    /// Sends an ask. Returns when to look at it again, or the outcome.
    fn attempt(
        &mut self,
        node: &mut Node,
        now: Time,
        id: u64,
        acts: &mut impl FnMut(Act),
    ) -> Result<Time, Outcome> {
        let Some(ask) = self.asks.get_mut(&id) else { return Ok(now) };
        let (tries, token_requests) = (ask.tries, ask.token_requests);
        let is_pending = ask.step == Step::Pending;
        if ask.to.name == node.own_life().name {
            ask.sent = true;
            acts(Act::Own(id));
            return Ok(ask.deadline);
        }
        if tries + token_requests > 0 && ask.in_flight {
            // A silent member does not keep the other members of a query waiting.
            ask.in_flight = false;
            self.in_flight -= 1;
        }
        let way = node.way_to(&ask.to);
        let is_small = ask.goes_by_datagram(node, way);
        match way {
            WayTo::NotLive => {
                let present = node.live_life(&ask.to.name).ok_or_else(|| ask.departed(node))?;
                ask.follow(present.epoch);
                return Ok(now);
            }
            WayTo::Unproven => {
                node.ask_for_token(now, &ask.to);
                ask.token_requests += 1;
                return Ok(now + doubled(TOKEN_PAUSE, token_requests));
            }
            WayTo::Datagram | WayTo::Stream => ask.tries += 1,
        }
        let by_datagram = is_small && (is_pending || tries < DATAGRAMS);
        let next = match (by_datagram, is_pending) {
            (true, true) => now + ask.until_poll(node, now),
            (true, false) => now + ask.pause(node, tries),
            (false, _) if is_small => now + ask.pause(node, MAX_DOUBLED),
            (false, _) => ask.deadline,
        };
        if is_small {
            self.repeated += u64::from(ask.sent && !is_pending);
            ask.sent = true;
            acts(Act::Datagram(id));
        }
        if !by_datagram {
            (_, self.may_open) = (self.streamless.insert(id), true);
            ask.step = if is_pending { Step::Pending } else { Step::Streaming };
        }
        Ok(next)
    }

    fn repeat_beside_stream(&mut self, node: &Node, now: Time, id: u64, acts: &mut impl FnMut(Act)) -> Time {
        let Some(ask) = self.asks.get_mut(&id) else { return now };
        if ask.tries >= ALL_DATAGRAMS || !ask.goes_by_datagram(node, node.way_to(&ask.to)) {
            return ask.deadline;
        }
        self.repeated += u64::from(ask.sent);
        ask.sent = true;
        ask.tries += 1;
        acts(Act::Datagram(id));
        now + ask.pause(node, MAX_DOUBLED)
    }

    /// Opens streams for asks that need one, while there may be more streams: the oldest ask first, but an ask whose member
    /// has all its streams keeps no other member's waiting.
    fn open_streams(&mut self, node: &mut Node, now: Time) {
        let is_due = self.unread.take_if(|at| *at <= now).is_some();
        if !mem::take(&mut self.may_open) && !is_due {
            return;
        }
        let (mut full, mut last, unread) = (BTreeSet::new(), 0, self.queries.unread());
        while let Some(id) = self.streamless.range(last + 1..).next().copied() {
            last = id;
            let Some(ask) = self.asks.get(&id) else { continue };
            if ask.is_of(&unread) {
                self.unread = Some(now + READING_PAUSE);
                continue;
            }
            if full.contains(&ask.to.name) {
                continue;
            }
            let timeout = ask.left(now).min(node.config().stream_timeout);
            let room = node.may_open_data_stream(&ask.to, SPARED_STREAMS);
            match room.and_then(|()| node.open_data_stream(now, &ask.to, timeout)) {
                Ok(stream) => drop(self.by_stream.insert(stream, id)),
                Err(NotOpened::Full) => {
                    // This module does not hear of the end of other streams than its own.
                    self.may_open = true;
                    return;
                }
                Err(NotOpened::FullWithIt) => {
                    full.insert(Arc::clone(&ask.to.name));
                    continue;
                }
                // The next look ends the ask, or follows the member to its new life.
                Err(NotOpened::NotLive) => self.try_anew(now, id),
            }
            self.streamless.remove(&id);
        }
    }

    fn try_anew(&mut self, now: Time, id: u64) {
        if let Some(ask) = self.asks.get_mut(&id).filter(|ask| ask.step == Step::Streaming) {
            ask.step = Step::Asking;
        }
        self.reset_timer(id, now);
    }

    /// The bytes of an ask begin to go out in a stream.
    pub(super) fn begins_in(&mut self, stream: StreamId) {
        let id = self.by_stream.get(&stream);
        if let Some(ask) = id.and_then(|id| self.asks.get_mut(id)) {
            self.repeated += u64::from(ask.sent && ask.step != Step::Pending);
            ask.sent = true;
        }
    }

    /// A stream has ended. Its ask, if any, may not be answered; and another stream may be opened.
    pub(super) fn stream_ended(&mut self, node: &mut Node, now: Time, stream: StreamId) {
        if let Some(id) = self.by_stream.remove(&stream)
            && let Some(ask) = self.asks.get_mut(&id)
        {
            let pause = match ask.step {
                Step::Pending => ask.until_poll(node, now),
                _ => ask.pause(node, ask.tries.saturating_sub(1)),
            };
            if ask.step == Step::Streaming {
                ask.step = Step::Asking;
            }
            self.reset_timer(id, now + pause);
        }
        self.may_open = true;
        self.open_streams(node, now);
    }

    /// A member answers an ask.
    pub(super) fn on_answer(
        &mut self,
        node: &mut Node,
        now: Time,
        from: &str,
        (epoch, id): (u64, u64),
        answer: &Answer,
    ) {
        let is_its = |ask: &&mut Ask| *ask.to.name == *from && ask.id.epoch == epoch;
        let Some(ask) = self.asks.get_mut(&id).filter(is_its) else { return };
        if ask.in_flight {
            ask.in_flight = false;
            self.in_flight -= 1;
        }
        let silent = |ended_by| Err(QueryProblem::new(true, ended_by));
        let outcome = match answer.status {
            Status::Pending => return self.wait(node, now, id),
            Status::Fetch => return self.fetch(node, now, id),
            Status::Taken if ask.new.kind != AskKind::Request => Ok(Arc::default()),
            Status::Answered if ask.new.kind == AskKind::Request => Ok(Arc::clone(&answer.payload)),
            // If the status does not fit the ask, nothing is certain.
            Status::Taken | Status::Answered | Status::Expired => silent(EndedBy::Expired),
            Status::AnotherLife => silent(EndedBy::Restart),
            Status::NoReader => Err(QueryProblem::NoReader),
            Status::Busy => Err(QueryProblem::Busy),
            Status::TooLarge => Err(QueryProblem::TooLarge),
            Status::Refused => {
                let reason = String::from_utf8_lossy(&answer.payload).into();
                Err(QueryProblem::Refused { reason })
            }
            Status::Dropped => Err(QueryProblem::Dropped),
        };
        self.settle(now, id, outcome);
    }

    /// The application of the other side will answer later.
    fn wait(&mut self, node: &Node, now: Time, id: u64) {
        let Some(ask) = self.asks.get_mut(&id) else { return };
        if ask.step == Step::Pending {
            return;
        }
        (ask.step, ask.tries) = (Step::Pending, 0);
        let next = now + ask.until_poll(node, now);
        self.forsake_streams(id);
        self.reset_timer(id, next);
    }

    /// The answer waits at the other side; it is too long for a datagram.
    fn fetch(&mut self, node: &mut Node, now: Time, id: u64) {
        self.wait(node, now, id);
        let Some(ask) = self.asks.get(&id) else { return };
        if self.by_stream.values().any(|fetching| *fetching == id) {
            return;
        }
        let deadline = ask.deadline;
        (_, self.may_open) = (self.streamless.insert(id), true);
        self.reset_timer(id, deadline);
        self.open_streams(node, now);
    }

    /// A member has departed, or begun another life. It is then asked again; if it is another process, it says so.
    pub(super) fn on_event(&mut self, node: &Node, now: Time, event: &Event) {
        let Some(member) = event.member() else { return };
        let Some(ids) = self.by_member.get(&member.name) else { return };
        let own = Some(node.own_life()).filter(|own| own.name == member.name && member.state.is_live());
        // A restart may be two events: the end of one life, and the beginning of the next.
        let present = own.or_else(|| node.live_life(&member.name));
        for id in ids.values().copied().collect::<Vec<_>>() {
            let Some(ask) = self.asks.get_mut(&id) else { continue };
            match &present {
                None => {
                    let outcome = ask.departed(node);
                    self.settle(now, id, outcome);
                }
                Some(present) if ask.to.epoch != present.epoch => {
                    ask.follow(present.epoch);
                    self.forsake_streams(id);
                    self.try_anew(now, id);
                }
                Some(_) => {}
            }
        }
    }

    fn forsake_streams(&mut self, id: u64) {
        let streams = self.by_stream.iter().filter(|(_, of)| **of == id).map(|(stream, _)| *stream);
        self.needless.extend(streams);
        self.by_stream.retain(|_, of| *of != id);
        self.streamless.remove(&id);
    }

    /// Streams that are to be closed.
    pub(super) fn take_needless(&mut self) -> Vec<StreamId> {
        mem::take(&mut self.needless)
    }

    fn settle(&mut self, now: Time, id: u64, outcome: Outcome) {
        let Some(ask) = self.asks.remove(&id) else { return };
        self.forsake_streams(id);
        self.timers.remove(&(ask.at, id));
        self.in_flight -= usize::from(ask.in_flight);
        if let Some(slots) = self.by_member.get_mut(&ask.to.name) {
            slots.remove(&ask.id.slot);
            if slots.is_empty() {
                self.by_member.remove(&ask.to.name);
            }
        }
        let to = Life { epoch: ask.life, ..ask.to };
        let settled = Settled { took: now.since(ask.began), to, outcome };
        match ask.caller {
            Caller::One(caller) => {
                self.singles -= 1;
                // The caller may have gone.
                let _ = caller.try_send(settled);
            }
            Caller::Query(query) => {
                if let Some(deadline) = self.queries.settle(query, settled) {
                    self.timers.remove(&(deadline, query));
                }
            }
        }
    }

    /// This node leaves: nobody is asked any more, and no answer is waited for.
    pub(super) fn abandon(&mut self, now: Time) {
        self.queries.ids().into_iter().for_each(|id| self.queries.end(now, id, EndedBy::Abandoned));
        let asks: Vec<_> = self.asks.iter().map(|(id, ask)| (*id, ask.ended(EndedBy::Abandoned))).collect();
        asks.into_iter().for_each(|(id, outcome)| self.settle(now, id, outcome));
    }

    /// Callers notice the end of the node by a disconnection.
    pub(super) fn close(&mut self) {
        *self = Self { closed: true, ..Self::default() };
    }
}
