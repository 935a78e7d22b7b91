//! Calls on an endpoint about messages.

use crossbeam_channel::{Receiver, Sender};

use super::{
    AskId, MAX_MESSAGE, Mailbox, NewAsk, RequestItem, Results, Settled, Status, TooLate, TooMany, Topics,
    answerer::Ready, status::Answer,
};
use crate::{
    collections::fanout::Subscription,
    data::Endpoint,
    swim::{Life, MemberState, Time},
};

/// Why a member is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAsked {
    Unknown,
    NotLive(MemberState),
    TooMany(TooMany),
}

impl Endpoint {
    /// Asks the live member of this name, and reports the outcome to the caller.
    pub(crate) fn ask(
        &mut self,
        now: Time,
        to: &str,
        new: NewAsk,
        caller: Sender<Settled>,
    ) -> Result<(), NotAsked> {
        let Some(to) = self.present_life(to) else {
            let member = self.node.member(to).ok_or(NotAsked::Unknown)?;
            return Err(NotAsked::NotLive(member.state));
        };
        let Self { messages, node, .. } = self;
        messages.asker.ask(node, now, to, new, caller).map_err(NotAsked::TooMany)?;
        if !node.is_leaving() {
            messages.act(node, now);
        }
        self.settle(now);
        Ok(())
    }

    /// Asks each of these members. Returns the query's number, and the subscription to the outcomes.
    pub(crate) fn query(
        &mut self,
        now: Time,
        to: Vec<Life>,
        new: NewAsk,
    ) -> Result<(u64, Subscription<Results>), TooMany> {
        let Self { messages, node, .. } = self;
        let query = messages.asker.query(now, to, new)?;
        messages.act(node, now);
        self.settle(now);
        Ok(query)
    }

    /// A query's answers have no reader any more.
    pub(crate) fn cancel_query(&mut self, now: Time, query: u64) {
        self.messages.asker.cancel(now, query);
        self.settle(now);
    }

    /// Opens a mailbox for these topics, unless there are too many.
    pub(crate) fn open_inbox(&self, topics: Topics) -> Option<Subscription<Mailbox>> {
        self.messages.answerer.mailboxes.open(topics)
    }

    /// Adds a reader of a topic's requests. The receiver holds a token while a request waits. `None` if too many topics are
    /// served.
    pub(crate) fn open_server(&mut self, topic: &str) -> Option<Receiver<()>> {
        self.messages.answerer.servers.open(topic)
    }

    /// The oldest request whose sender waits for the answer.
    pub(crate) fn take_request(&mut self, now: Time, topic: &str) -> Option<RequestItem> {
        loop {
            let item = self.messages.answerer.take_request(now, topic)?;
            if self.present_life(&item.from.name).is_some() {
                return Some(item);
            }
            // The sender may be back a moment later, and ask.
            self.messages.answerer.note_dropped(now, &item);
        }
    }

    /// The life of a member as it is known now, if it is live, or this node's own.
    fn present_life(&self, name: &str) -> Option<Life> {
        let own = Some(self.node.own_life()).filter(|own| *own.name == *name);
        own.or_else(|| self.node.live_life(name))
    }

    /// A reader of requests is gone.
    pub(crate) fn close_server(&mut self, now: Time, topic: &str) {
        for ready in self.messages.answerer.close_server(now, topic) {
            let _ = self.send_answer(now, ready);
        }
        self.settle(now);
    }

    /// Sends an answer to the present life of the requester.
    fn send_answer(&mut self, now: Time, ready: Ready) -> Result<(), TooLate> {
        let to = self.present_life(&ready.to.name).ok_or(TooLate)?;
        self.messages.send_answer(&mut self.node, now, Ready { to, ..ready });
        Ok(())
    }

    /// The application answers a request, refuses it, or drops it.
    pub(crate) fn answer(
        &mut self,
        now: Time,
        (to, id): (&Life, AskId),
        status: Status,
        payload: &[u8],
    ) -> Result<(), TooLate> {
        debug_assert!(payload.len() <= MAX_MESSAGE, "its caller has looked");
        let answer = Answer { status, payload: payload.into() };
        let ready = self.messages.answerer.answer(now, to, id, answer)?;
        self.send_answer(now, ready)?;
        self.settle(now);
        Ok(())
    }

    /// The node leaves: all waiting callers are told what is known until then.
    pub(in crate::data) fn abandon(&mut self, now: Time) {
        self.confirm_large(now);
        self.broadcasts.abandon();
        self.messages.asker.abandon(now);
    }

    /// The node has ended: all waiting callers are told.
    pub(crate) fn close(&mut self) {
        self.messages.asker.close();
        self.messages.answerer.close();
        self.broadcasts.close();
        self.large.clear();
    }
}
