//! What callers have an endpoint do about messages.

use crossbeam_channel::Receiver;

use super::{
    MAX_MESSAGE, Mailbox, NewAsk, NotAnswered, RequestItem, Status, TooMany, Topics, status::Answer,
};
use crate::{
    data::Endpoint,
    membership::fanout::Subscription,
    swim::{Life, MemberState, Time},
};

/// The longest reason of a refusal.
const MAX_REASON: usize = 512;

/// Why a member is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAsked {
    Unknown,
    NotLive(MemberState),
    TooMany,
}

impl Endpoint {
    /// Asks the live member of this name; its caller is told what becomes of it.
    pub(crate) fn ask(&mut self, now: Time, to: &str, new: NewAsk) -> Result<(), NotAsked> {
        let own = Some(self.node.own_life()).filter(|own| *own.name == *to);
        let Some(to) = own.or_else(|| self.node.live_life(to)) else {
            let member = self.node.member(to).ok_or(NotAsked::Unknown)?;
            return Err(NotAsked::NotLive(member.state));
        };
        let Self { messages, node, .. } = self;
        messages.asker.ask(node, now, to, new).map_err(|TooMany| NotAsked::TooMany)?;
        messages.act(node, now);
        self.settle(now);
        Ok(())
    }

    /// Asks each of these.
    pub(crate) fn query(
        &mut self,
        now: Time,
        to: Vec<Life>,
        new: impl Fn() -> NewAsk,
    ) -> Result<(), TooMany> {
        let Self { messages, node, .. } = self;
        messages.asker.query(node, now, to, new)?;
        messages.act(node, now);
        self.settle(now);
        Ok(())
    }

    /// A mailbox for these topics.
    pub(crate) fn open_inbox(&self, topics: Topics) -> Subscription<Mailbox> {
        self.messages.answerer.mailboxes.open(topics)
    }

    /// One more reader of the requests of a topic; it has a token while one waits.
    pub(crate) fn open_server(&mut self, topic: &str) -> Receiver<()> {
        self.messages.answerer.servers.open(topic)
    }

    /// The oldest request that waits.
    pub(crate) fn take_request(&mut self, now: Time, topic: &str) -> Option<RequestItem> {
        self.messages.answerer.take_request(now, topic)
    }

    /// A reader of requests is gone.
    pub(crate) fn close_server(&mut self, now: Time, topic: &str) {
        for ready in self.messages.answerer.close_server(now, topic) {
            self.messages.send_answer(&mut self.node, now, ready);
        }
        self.settle(now);
    }

    /// The application answers a request, refuses it, or drops it.
    pub(crate) fn answer(
        &mut self,
        now: Time,
        (to, id): (&Life, u64),
        status: Status,
        payload: &[u8],
    ) -> Result<(), NotAnswered> {
        let most = if status == Status::Refused { MAX_REASON } else { MAX_MESSAGE };
        let answer = Answer { status, payload: payload[..payload.len().min(most)].into() };
        let ready = self.messages.answerer.answer(now, to, id, answer)?;
        self.messages.send_answer(&mut self.node, now, ready);
        self.settle(now);
        Ok(())
    }

    /// The node has ended: everybody who waits is told so.
    pub(crate) fn close(&mut self) {
        self.messages.asker.close();
        self.messages.answerer.close();
        self.broadcasts.close();
    }
}
