//! Messages, requests and queries: from one member to another, each with a report of its outcome.
//!
//! `commands` are calls of the application. `asker` has the asks of this node, each an `ask` that ends with a `status`;
//! `answerer` takes in the asks of others (`memory` knows which were seen before), `mailboxes` and `servers` hold what waits
//! for the application, `queries` the members that a query still has to ask, `transfer` moves payloads that are too long for
//! a datagram. This module routes.
//!
//! ```text
//! asker                                         answerer
//! Ask(slot, id, kind, topic, payload) ─────────▶    seen before? else into the mailboxes, or to the application
//!                    ◀───────────────────────── Answer(id, status)   at once
//!                    ◀───────────────────────── Answer(id, status, payload)   once the application has answered
//! Ask(id, poll) ───────────────────────────────▶    in case that got lost
//! ```

mod answerer;
mod ask;
mod asker;
mod commands;
mod mailboxes;
mod memory;
mod queries;
mod servers;
mod status;
mod transfer;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use self::{
    answerer::{Answerer, Arrived, Ready},
    asker::{Act, Asker},
    status::Answer,
    transfer::{Head, Received, Transfers},
};
pub(crate) use self::{
    answerer::{AskKind, TooLate},
    ask::{NewAsk, TooMany},
    commands::NotAsked,
    mailboxes::{Item, Mailbox, Unread},
    memory::AskId,
    queries::Results,
    servers::RequestItem,
    status::{Settled, Status},
};
pub use self::{
    mailboxes::{MessageKind, Topics},
    status::QueryProblem,
};
use crate::{
    swim::{Destination, Event, Life, Metrics, Node, StreamId, Time, WayTo},
    wire::{
        data::{self, Ask, DataMessage},
        frame::MAX_FRAME,
        message::Malformed,
        packet::{HEADER, Writer},
    },
};

/// The longest payload of a message, a request or an answer.
pub(crate) const MAX_MESSAGE: usize = 1 << 20;
/// Datagrams that may wait to be sent; asks that find no room are repeated later.
const MAX_WAITING: usize = 4096;
/// The most epochs of this process that are kept: it takes a greater one whenever others claim a later life of its name.
const MAX_EPOCHS: usize = 64;
/// The most bytes of a datagram with an answer besides its payload.
const AROUND_ANSWER: usize = HEADER + 27;

/// Takes in a broadcast that came as an ask: its origin, topic and payload. Returns whether readers get it.
pub(super) type TakeLarge<'a> = &'a mut dyn FnMut(&Node, &Life, &str, &[u8]) -> bool;

/// How a section arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// In a datagram; `may_ask` if the section is at its front and the datagram has not caused another one yet.
    Datagram {
        may_ask: bool,
    },
    Stream(StreamId),
}

/// A datagram to send.
#[derive(Debug)]
enum Waiting {
    /// The ask's number, and the time that its caller waits.
    Ask(u64, Duration),
    Answer(Ready),
}

#[derive(Debug, Default)]
pub(super) struct Messages {
    asker: Asker,
    answerer: Answerer,
    transfers: Transfers,
    waiting: VecDeque<Waiting>,
    dropped_datagrams: u64,
    /// The epochs that this process had: it takes a greater one if others claim a later life of its name.
    epochs: BTreeSet<u64>,
}

impl Messages {
    /// Processes a section of a live member. Returns whether the section has its place there.
    pub(super) fn on_message(
        &mut self,
        node: &mut Node,
        large: TakeLarge<'_>,
        now: Time,
        from: &Life,
        via: Via,
        message: &DataMessage<'_>,
    ) -> Result<(), Malformed> {
        match (message, via) {
            (DataMessage::Ask(ask), Via::Datagram { may_ask: true }) => {
                self.on_ask(node, large, now, from, ask)
            }
            (DataMessage::Answer(answer), Via::Datagram { .. }) => {
                let id = (answer.epoch, answer.id);
                let (status, payload) = (Status::of(answer.status), answer.payload.into());
                self.asker.on_answer(node, now, &from.name, id, &Answer { status, payload });
                Ok(())
            }
            (DataMessage::AskHead(head), Via::Stream(stream)) => {
                let kind = AskKind::of(head.kind).ok_or(Malformed)?;
                let topic = head.topic.into();
                let id = AskId { slot: head.slot, epoch: head.epoch, number: head.id };
                let (life, within_ms) = (head.life, head.within_ms);
                let ask = Head::Ask { id, life, kind, within_ms, topic };
                let received = self.transfers.take_head(stream, ask, head.length);
                self.in_stream(node, large, now, from, stream, received)
            }
            (DataMessage::AnswerHead(head), Via::Stream(stream)) => {
                let (epoch, id, status) = (head.epoch, head.id, Status::of(head.status));
                let answer = Head::Answer { epoch, id, status };
                let received = self.transfers.take_head(stream, answer, head.length);
                self.in_stream(node, large, now, from, stream, received)
            }
            (DataMessage::Chunk(chunk), Via::Stream(stream)) => {
                let received = self.transfers.take_chunk(stream, chunk.bytes);
                self.in_stream(node, large, now, from, stream, received)
            }
            _ => Err(Malformed),
        }
    }

    fn on_ask(
        &mut self,
        node: &mut Node,
        large: TakeLarge<'_>,
        now: Time,
        from: &Life,
        ask: &Ask<'_>,
    ) -> Result<(), Malformed> {
        let kind = AskKind::of(ask.kind).ok_or(Malformed)?;
        let within = Duration::from_millis(ask.within_ms.into());
        let id = AskId { slot: ask.slot, epoch: ask.epoch, number: ask.id };
        let account = node.account_of_member(&from.name);
        let arrived = Arrived { from, account, id, kind, topic: ask.topic, within };
        let answer = self.take_in(node, large, now, &arrived, ask.life, Some(ask.payload.into()));
        if node.way_to(from) == WayTo::Unproven {
            // The sender's next try gets the answer, which is remembered.
            node.ask_for_token(now, from);
        } else if let Some(answer) = answer {
            self.push(Waiting::Answer(Ready { to: from.clone(), id, answer }));
        }
        Ok(())
    }

    fn take_in(
        &mut self,
        node: &Node,
        large: TakeLarge<'_>,
        now: Time,
        ask: &Arrived<'_>,
        life: u64,
        payload: Option<Arc<[u8]>>,
    ) -> Option<Answer> {
        if life != node.own_life().epoch && !self.epochs.contains(&life) {
            return Some(Status::AnotherLife.into());
        }
        let &Arrived { from, kind, topic, .. } = ask;
        self.answerer.take_in(now, ask, payload, |payload| match kind {
            AskKind::Broadcast if large(node, from, topic, payload) => Some(Status::Taken.into()),
            // It is forgotten whether the broadcast arrived, or its number is out of bounds.
            AskKind::Broadcast => Some(Status::Expired.into()),
            _ => about_itself(node, now, topic)
                .map(|text| Answer { status: Status::Answered, payload: text.into() }),
        })
    }

    /// Processes what a section in a stream has completed.
    fn in_stream(
        &mut self,
        node: &mut Node,
        large: TakeLarge<'_>,
        now: Time,
        from: &Life,
        stream: StreamId,
        received: Result<Option<Received>, Malformed>,
    ) -> Result<(), Malformed> {
        match received? {
            None => {}
            Some((Head::Ask { id, life, kind, within_ms, topic }, payload)) => {
                let within = Duration::from_millis(within_ms.into());
                let account = node.account_of_member(&from.name);
                let arrived = Arrived { from, account, id, kind, topic: &topic, within };
                match self.take_in(node, large, now, &arrived, life, payload) {
                    Some(answer) => self.transfers.answer(stream, id, answer),
                    None => node.close_data_stream(now, stream),
                }
            }
            Some((Head::Answer { epoch, id, status }, payload)) => {
                // If an answer is too long, the caller learns only that there is one.
                let answer = payload.map_or(Status::Expired.into(), |payload| Answer { status, payload });
                self.asker.on_answer(node, now, &from.name, (epoch, id), &answer);
                node.close_data_stream(now, stream);
            }
        }
        Ok(())
    }

    /// Whether a stream carries an ask and its answer.
    pub(super) fn has(&self, stream: StreamId) -> bool {
        self.transfers.knows(stream) || self.asker.by_stream(stream).is_some()
    }

    /// Writes the next frame of such a stream, if there is one.
    pub(super) fn write_frame(
        &mut self,
        node: &mut Node,
        now: Time,
        stream: StreamId,
        buffer: &mut Vec<u8>,
    ) -> bool {
        if !self.transfers.knows(stream) {
            self.begin_transfer(now, stream);
        }
        let mut frame = Writer::new(buffer, node.data_header(stream), MAX_FRAME);
        let written = self.transfers.write(stream, &mut frame);
        frame.finish();
        if self.transfers.has_answered(stream) {
            // The stream is closed before the other side opens the next one, which would otherwise be one too many.
            node.close_data_stream(now, stream);
        }
        written
    }

    fn begin_transfer(&mut self, now: Time, stream: StreamId) {
        let Some(ask) = self.asker.by_stream(stream) else { return };
        let (life, kind, within_ms) = (ask.life, ask.kind(), millis(ask.left(now)));
        let head = Head::Ask { id: ask.id, life, kind, within_ms, topic: Arc::clone(&ask.new.topic) };
        self.transfers.say(stream, head, ask.payload());
        self.asker.begins_in(stream);
    }

    /// Closes streams that are no longer needed.
    pub(super) fn close_needless(&mut self, node: &mut Node, now: Time) {
        for stream in self.asker.take_needless() {
            node.close_data_stream(now, stream);
        }
    }

    pub(super) fn stream_ended(&mut self, node: &mut Node, now: Time, stream: StreamId) {
        self.transfers.ended(stream);
        self.asker.stream_ended(node, now, stream);
    }

    pub(super) fn on_event(&mut self, node: &Node, event: &Event) {
        self.asker.on_event(node, node.now(), event);
        let own = node.own_life();
        if event.member().is_some_and(|member| member.name == own.name) && self.epochs.insert(own.epoch) {
            // Asks that are under way can only mean the latest epochs.
            while self.epochs.len() > MAX_EPOCHS {
                self.epochs.pop_first();
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        Time::earlier(self.asker.poll_timeout(), self.answerer.poll_timeout())
    }

    /// Runs work that is due.
    pub(super) fn act(&mut self, node: &mut Node, now: Time) {
        self.answerer.act(now);
        let mut acts = Vec::new();
        self.asker.act(node, now, &mut |act| acts.push(act));
        for act in acts {
            match act {
                Act::Datagram(id) => {
                    let left = self.asker.get(id).map_or(Duration::ZERO, |ask| ask.left(now));
                    self.push(Waiting::Ask(id, left));
                }
                Act::Own(id) => self.ask_itself(node, now, id),
            }
        }
    }

    fn ask_itself(&mut self, node: &mut Node, now: Time, id: u64) {
        let Some(ask) = self.asker.get(id) else { return };
        // This node's epoch may have risen since the ask was planned.
        let (from, topic, payload) = (node.own_life(), Arc::clone(&ask.new.topic), ask.payload());
        let (id, life) = (ask.id, ask.life);
        let (kind, within) = (ask.kind(), ask.left(now));
        let arrived = Arrived { from: &from, account: None, id, kind, topic: &topic, within };
        // An ask to this node itself has no copies.
        let answer = self.take_in(node, &mut |_, _, _, _| false, now, &arrived, life, Some(payload));
        let answer = answer.unwrap_or(Status::Busy.into());
        self.asker.on_answer(node, now, &from.name, (id.epoch, id.number), &answer);
    }

    fn push(&mut self, waiting: Waiting) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(waiting);
        } else {
            self.dropped_datagrams += 1;
        }
    }

    /// Writes the next datagram. Returns its destination.
    pub(super) fn poll_transmit(&mut self, node: &mut Node, buffer: &mut Vec<u8>) -> Option<Destination> {
        while let Some(waiting) = self.waiting.pop_front() {
            let to = match &waiting {
                Waiting::Ask(id, _) => self.asker.get(*id).map(|ask| &ask.to),
                Waiting::Answer(ready) => Some(&ready.to),
            };
            let Some(to) = to.and_then(|to| node.begin_data_datagram(to, buffer)) else { continue };
            let most = node.config().max_datagram;
            let mut packet = Writer::resume(buffer, most);
            let is_written = match &waiting {
                Waiting::Ask(id, left) => self.write_ask(*id, *left, &mut packet),
                Waiting::Answer(ready) => write_answer(ready, &mut packet),
            };
            packet.finish();
            if is_written {
                node.count_data_datagram(buffer.len());
                return Some(to);
            }
        }
        None
    }

    fn write_ask(&self, id: u64, left: Duration, packet: &mut Writer<'_>) -> bool {
        let Some(ask) = self.asker.get(id) else { return false };
        let AskId { slot, epoch, number } = ask.id;
        packet.message(&Ask {
            epoch,
            slot,
            id: number,
            life: ask.life,
            kind: ask.kind().number(),
            within_ms: millis(left),
            topic: &ask.new.topic,
            payload: &ask.payload(),
        })
    }

    /// Whether as many queries are under way as there may be.
    pub(super) fn has_all_queries(&self) -> bool {
        self.asker.queries.are_all()
    }

    /// Puts a broadcast into the mailboxes for its topic.
    pub(super) fn deliver_broadcast(&mut self, item: &Item) {
        self.answerer.overrun += self.answerer.mailboxes.broadcast(item);
    }

    /// Reports to readers of broadcasts that some will not come.
    pub(super) fn lose_broadcasts(&self, from: &Life, count: u64) {
        self.answerer.mailboxes.lose(from, count);
    }

    fn send_answer(&mut self, node: &mut Node, now: Time, ready: Ready) {
        if ready.to == node.own_life() {
            let id = (ready.id.epoch, ready.id.number);
            self.asker.on_answer(node, now, &ready.to.name, id, &ready.answer);
        } else {
            self.push(Waiting::Answer(ready));
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn audit(&self) {
        self.answerer.audit();
    }

    pub(super) fn add_to(&self, metrics: &mut Metrics) {
        metrics.open_asks = self.asker.len() as u64;
        metrics.repeated_asks = self.asker.repeated;
        metrics.refused_asks = self.answerer.refused;
        metrics.dropped_asks = self.answerer.dropped;
        metrics.overrun_messages = self.answerer.overrun;
        metrics.dropped_transmits += self.dropped_datagrams;
        metrics.queued_transmits += self.waiting.len() as u64;
    }
}

/// An answer that does not fit waits for a stream.
fn write_answer(Ready { id, answer, .. }: &Ready, packet: &mut Writer<'_>) -> bool {
    let fits = answer.payload.len() + AROUND_ANSWER - HEADER <= packet.room();
    let (status, payload): (_, &[u8]) =
        if fits { (answer.status, &answer.payload) } else { (Status::Fetch, &[]) };
    packet.message(&data::Answer { epoch: id.epoch, id: id.number, status: status.number(), payload })
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// The answer to a topic that the node itself serves.
fn about_itself(node: &Node, now: Time, topic: &str) -> Option<Vec<u8>> {
    match topic {
        "syncswim/ping" => Some(Vec::new()),
        "syncswim/info" => {
            let own = node.local();
            let text = format!(
                "name={}\nversion={}\nepoch={}\nuptime_ms={}\nlive_members={}\nhealth_score={}\n",
                own.name,
                env!("CARGO_PKG_VERSION"),
                own.identity.epoch,
                now.since(own.since).as_millis(),
                node.live(),
                node.metrics().health_score,
            );
            Some(text.into_bytes())
        }
        _ => None,
    }
}
