//! The asks of this node: each is repeated until it is answered, its member departs, or its time is up.
//!
//! A small ask goes by datagram, after a while again, then by stream; a large one, or one to a member that datagrams do not
//! reach, by stream at once. As the receiver takes in each number once, repeating does no harm. A request that waits for the
//! application there is answered by datagram when it is done, and asked about meanwhile in case that gets lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    answerer::AskKind,
    ask::{Ask, MIN_REPEAT, NewAsk, Step, doubled},
    memory::ids_of,
    status::{Answer, Outcome, Settled, Status},
};
use crate::swim::{Event, Life, Node, NotOpened, StreamId, Time, WayTo};

/// Asks of callers that are under way at the same time, without those of queries.
const MAX_ASKS: usize = 1024;
/// Queries at the same time.
const MAX_QUERIES: usize = 16;
/// To one member: the receiver remembers more.
const MAX_PER_MEMBER: usize = 128;
/// Asks of queries that were just sent and are not answered.
const MAX_IN_FLIGHT: usize = 64;
/// Asks of queries that are sent at once,
const BURST: usize = 16;
/// and when the next ones are.
const BURST_PAUSE: Duration = Duration::from_millis(1);
/// So often it goes by datagram before it goes by stream,
const DATAGRAMS: u32 = 3;
/// and so often in all: beside a stream, which may take long where much is lost.
const ALL_DATAGRAMS: u32 = 10;
/// Beside a stream the pause grows no more.
const MAX_DOUBLED: u32 = 2;
/// The first pause after which it is looked whether a member has answered a greeting; it doubles.
const MEETING: Duration = Duration::from_millis(5);

/// This node has too much under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

/// What is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// By datagram.
    Datagram(u64),
    /// To this node itself.
    Own(u64),
}

#[derive(Debug, Default)]
pub(super) struct Asker {
    last_id: u64,
    asks: BTreeMap<u64, Ask>,
    by_member: BTreeMap<Arc<str>, BTreeSet<u64>>,
    by_stream: BTreeMap<StreamId, u64>,
    /// Streams whose asks are settled, or wait for the application.
    needless: Vec<StreamId>,
    timers: BTreeSet<(Time, u64)>,
    /// Those of queries whose turn has not come, in their order.
    queued: BTreeSet<u64>,
    singles: usize,
    in_flight: usize,
    /// When the next of them may be sent.
    release: Time,
    /// How many asks of each are not settled.
    queries: BTreeMap<u64, usize>,
    closed: bool,
    /// How often asks were sent again.
    pub(super) repeated: u64,
}

impl Asker {
    pub(super) fn get(&self, id: u64) -> Option<&Ask> {
        self.asks.get(&id)
    }

    pub(super) fn by_stream(&self, stream: StreamId) -> Option<(u64, &Ask)> {
        let id = *self.by_stream.get(&stream)?;
        Some((id, self.asks.get(&id)?))
    }

    pub(super) fn len(&self) -> usize {
        self.asks.len()
    }

    /// Begins one ask.
    pub(super) fn ask(&mut self, node: &Node, now: Time, to: Life, new: NewAsk) -> Result<(), TooMany> {
        let to_member = self.by_member.get(&to.name).map_or(0, BTreeSet::len);
        if self.closed {
            // The caller learns of the end as its channel is dropped.
            return Ok(());
        }
        if self.singles >= MAX_ASKS || to_member >= MAX_PER_MEMBER {
            return Err(TooMany);
        }
        self.singles += 1;
        self.insert(node, now, to, new, None);
        Ok(())
    }

    /// Begins a query: one ask to each of these members.
    pub(super) fn query(
        &mut self,
        node: &Node,
        now: Time,
        to: Vec<Life>,
        new: impl Fn() -> NewAsk,
    ) -> Result<(), TooMany> {
        if self.closed {
            return Ok(());
        }
        if self.queries.len() >= MAX_QUERIES {
            return Err(TooMany);
        }
        let query = self.next_id(node);
        self.queries.extend((!to.is_empty()).then_some((query, to.len())));
        to.into_iter().for_each(|to| self.insert(node, now, to, new(), Some(query)));
        Ok(())
    }

    fn next_id(&self, node: &Node) -> u64 {
        self.last_id.saturating_add(1).max(ids_of(node.own_life().epoch).start.saturating_add(1))
    }

    fn insert(&mut self, node: &Node, now: Time, to: Life, new: NewAsk, query: Option<u64>) {
        let id = self.next_id(node);
        self.last_id = id;
        if query.is_some() {
            self.queued.insert(id);
        }
        self.by_member.entry(Arc::clone(&to.name)).or_default().insert(id);
        let ask = Ask::new(now, to, new, query);
        self.timers.insert((ask.at, id));
        self.asks.insert(id, ask);
    }

    /// When [`act`](Self::act) has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let waits = !self.queued.is_empty() && self.in_flight < MAX_IN_FLIGHT;
        let first = self.timers.first().map(|(at, _)| *at);
        first.into_iter().chain(waits.then_some(self.release)).min()
    }

    /// Does what is due.
    pub(super) fn act(&mut self, node: &mut Node, now: Time, acts: &mut impl FnMut(Act)) {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            self.fire(node, now, id, acts);
        }
        if now < self.release {
            return;
        }
        let room = BURST.min(MAX_IN_FLIGHT.saturating_sub(self.in_flight));
        for _ in 0..room {
            let Some(id) = self.queued.pop_first() else { break };
            self.release = now + BURST_PAUSE;
            if let Some(ask) = self.asks.get_mut(&id) {
                (ask.step, ask.in_flight) = (Step::Asking, true);
                self.in_flight += 1;
                self.timers.remove(&(ask.at, id));
                self.fire(node, now, id, acts);
            }
        }
    }

    fn fire(&mut self, node: &mut Node, now: Time, id: u64, acts: &mut impl FnMut(Act)) {
        let Some(ask) = self.asks.get_mut(&id) else { return };
        if now >= ask.deadline {
            let sent = ask.sent;
            return self.settle(now, id, Outcome::Silent { sent });
        }
        let next = match ask.step {
            Step::Queued => ask.deadline,
            Step::Streaming(_) => self.repeat_beside_stream(node, now, id, acts),
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

    /// Sends an ask, and says when to look at it again.
    fn attempt(
        &mut self,
        node: &mut Node,
        now: Time,
        id: u64,
        acts: &mut impl FnMut(Act),
    ) -> Result<Time, Outcome> {
        let Some(ask) = self.asks.get_mut(&id) else { return Ok(now) };
        let (tries, meetings) = (ask.tries, ask.meetings);
        let is_pending = ask.step == Step::Pending;
        if ask.to == node.own_life() {
            ask.sent = true;
            acts(Act::Own(id));
            return Ok(ask.deadline);
        }
        if tries + meetings > 0 && ask.in_flight {
            // Others need not wait for a member that is silent.
            ask.in_flight = false;
            self.in_flight -= 1;
        }
        let way = node.way_to(&ask.to);
        let is_small = ask.goes_by_datagram(node, way);
        let by_datagram = is_small && (is_pending || tries < DATAGRAMS);
        let next = match way {
            WayTo::NotLive => return Err(ask.departed(node)),
            WayTo::Unmet => {
                node.meet(now, &ask.to);
                ask.meetings += 1;
                return Ok(now + doubled(MEETING, meetings));
            }
            _ if by_datagram => {
                self.repeated += u64::from(ask.sent && !is_pending);
                ask.sent = true;
                acts(Act::Datagram(id));
                now + if is_pending { ask.until_poll(node, now) } else { ask.pause(node, tries) }
            }
            _ => match node.open_data_stream(now, &ask.to, ask.left(now).min(node.config().stream_timeout)) {
                Ok(stream) => {
                    self.repeated += u64::from(ask.sent && !is_pending);
                    if !is_pending {
                        ask.step = Step::Streaming(stream);
                    }
                    self.by_stream.insert(stream, id);
                    if is_small {
                        ask.sent = true;
                        acts(Act::Datagram(id));
                        now + ask.pause(node, MAX_DOUBLED)
                    } else {
                        ask.deadline
                    }
                }
                Err(NotOpened::NotLive) => return Err(ask.departed(node)),
                Err(NotOpened::Full) => now + doubled(MIN_REPEAT, tries),
            },
        };
        ask.tries += 1;
        Ok(next)
    }

    fn repeat_beside_stream(&mut self, node: &Node, now: Time, id: u64, acts: &mut impl FnMut(Act)) -> Time {
        let Some(ask) = self.asks.get_mut(&id) else { return now };
        if ask.tries >= ALL_DATAGRAMS || !ask.goes_by_datagram(node, node.way_to(&ask.to)) {
            return ask.deadline;
        }
        self.repeated += 1;
        ask.tries += 1;
        acts(Act::Datagram(id));
        now + ask.pause(node, MAX_DOUBLED)
    }

    /// The bytes of an ask begin to go out in a stream.
    pub(super) fn begins_in(&mut self, stream: StreamId) {
        let id = self.by_stream.get(&stream);
        if let Some(ask) = id.and_then(|id| self.asks.get_mut(id)) {
            ask.sent = true;
        }
    }

    /// A stream of an ask has ended, and perhaps it is not answered.
    pub(super) fn stream_ended(&mut self, node: &Node, now: Time, stream: StreamId) {
        let Some(id) = self.by_stream.remove(&stream) else { return };
        let Some(ask) = self.asks.get_mut(&id) else { return };
        if ask.step == Step::Streaming(stream) {
            ask.step = Step::Asking;
        }
        let next = now + ask.pause(node, ask.tries.saturating_sub(1));
        self.reset_timer(id, next);
    }

    fn reset_timer(&mut self, id: u64, next: Time) {
        if let Some(ask) = self.asks.get(&id) {
            self.timers.remove(&(ask.at, id));
            self.set_timer(id, next);
        }
    }

    /// A member says what became of an ask.
    pub(super) fn on_answer(&mut self, node: &mut Node, now: Time, from: &str, id: u64, answer: &Answer) {
        let Some(ask) = self.asks.get_mut(&id).filter(|ask| *ask.to.name == *from) else { return };
        if ask.in_flight {
            ask.in_flight = false;
            self.in_flight -= 1;
        }
        let outcome = match answer.status {
            Status::Pending => return self.wait(node, now, id),
            Status::Fetch => return self.fetch(node, now, id),
            Status::Taken if ask.new.kind == AskKind::Message => Outcome::Taken,
            Status::Answered if ask.new.kind == AskKind::Request => {
                Outcome::Answered(Arc::clone(&answer.payload))
            }
            // It does not fit the question, so nothing is certain.
            Status::Taken | Status::Answered => Outcome::Silent { sent: true },
            Status::NoReader => Outcome::NoReader,
            Status::Busy => Outcome::Busy,
            Status::TooLarge => Outcome::TooLarge,
            Status::Refused => Outcome::Refused(String::from_utf8_lossy(&answer.payload).into()),
            Status::Dropped => Outcome::Dropped,
            Status::AnotherLife => Outcome::Died { sent: true },
            Status::Forgotten => Outcome::Silent { sent: true },
        };
        self.settle(now, id, outcome);
    }

    /// The application there will answer later.
    fn wait(&mut self, node: &Node, now: Time, id: u64) {
        let Some(ask) = self.asks.get_mut(&id) else { return };
        if ask.step == Step::Pending {
            return;
        }
        (ask.step, ask.tries) = (Step::Pending, 0);
        let next = now + ask.pause(node, 0);
        self.forsake_streams(id);
        self.reset_timer(id, next);
    }

    /// The answer waits there, too long for a datagram.
    fn fetch(&mut self, node: &mut Node, now: Time, id: u64) {
        self.wait(node, now, id);
        let Some(ask) = self.asks.get(&id) else { return };
        if self.by_stream.values().any(|fetching| *fetching == id) {
            return;
        }
        let timeout = ask.left(now).min(node.config().stream_timeout);
        let deadline = ask.deadline;
        let next = match node.open_data_stream(now, &ask.to, timeout) {
            Ok(stream) => {
                self.by_stream.insert(stream, id);
                deadline
            }
            Err(_) => now + MIN_REPEAT,
        };
        self.reset_timer(id, next);
    }

    /// A member has departed, or begun another life.
    pub(super) fn on_event(&mut self, node: &Node, now: Time, event: &Event) {
        let Some(member) = event.member() else { return };
        let Some(ids) = self.by_member.get(&member.name) else { return };
        let over = |id: &&u64| {
            let ask = self.asks.get(*id);
            ask.is_some_and(|ask| !member.state.is_live() || ask.to.epoch != member.identity.epoch)
        };
        let over: Vec<u64> = ids.iter().filter(over).copied().collect();
        for id in over {
            let Some(ask) = self.asks.get(&id) else { continue };
            let outcome = ask.departed(node);
            self.settle(now, id, outcome);
        }
    }

    fn forsake_streams(&mut self, id: u64) {
        let streams = self.by_stream.iter().filter(|(_, of)| **of == id).map(|(stream, _)| *stream);
        self.needless.extend(streams);
        self.by_stream.retain(|_, of| *of != id);
    }

    /// Streams that are to be closed.
    pub(super) fn take_needless(&mut self) -> Vec<StreamId> {
        std::mem::take(&mut self.needless)
    }

    fn settle(&mut self, now: Time, id: u64, outcome: Outcome) {
        let Some(ask) = self.asks.remove(&id) else { return };
        self.forsake_streams(id);
        self.timers.remove(&(ask.at, id));
        self.queued.remove(&id);
        self.in_flight -= usize::from(ask.in_flight);
        if let Some(ids) = self.by_member.get_mut(&ask.to.name) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_member.remove(&ask.to.name);
            }
        }
        match ask.query {
            None => self.singles -= 1,
            Some(query) => self.count_settled(query),
        }
        // The caller may have gone.
        let _ = ask.new.caller.try_send(Settled { took: now.since(ask.began), to: ask.to, outcome });
    }

    fn count_settled(&mut self, query: u64) {
        if let Some(left) = self.queries.get_mut(&query) {
            *left -= 1;
            if *left == 0 {
                self.queries.remove(&query);
            }
        }
    }

    /// Callers learn by a disconnection that the node has ended.
    pub(super) fn close(&mut self) {
        *self = Self { closed: true, ..Self::default() };
    }
}
