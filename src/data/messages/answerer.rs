//! The asks of others: each is taken in once, and answered.

use std::{sync::Arc, time::Duration};

use super::{
    mailboxes::{Item, Mailboxes, MessageKind},
    memory::{AskId, Entry, Known, Memory},
    servers::{NotServed, RequestItem, Servers},
    status::{Answer, Status},
};
use crate::swim::{Account, Life, Time};

/// The kind of an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskKind {
    /// A message for the mailboxes.
    Message,
    /// A request that the application answers.
    Request,
    /// The question what became of an earlier ask.
    Poll,
    /// A broadcast that fits in no datagram.
    Broadcast,
}

impl AskKind {
    pub(super) fn number(self) -> u8 {
        self as u8
    }

    pub(super) fn of(number: u8) -> Option<Self> {
        [Self::Message, Self::Request, Self::Poll, Self::Broadcast].get(usize::from(number)).copied()
    }
}

/// An ask as it has arrived.
#[derive(Debug)]
pub(super) struct Arrived<'a> {
    pub(super) from: &'a Life,
    pub(super) account: Option<Account>,
    pub(super) id: AskId,
    pub(super) kind: AskKind,
    pub(super) topic: &'a str,
    pub(super) within: Duration,
}

/// The application's answer is not delivered: the sender has given up, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLate;

/// An answer on its way to a member.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) to: Life,
    pub(super) id: AskId,
    pub(super) answer: Answer,
}

#[derive(Debug, Default)]
pub(super) struct Answerer {
    memory: Memory,
    pub(super) mailboxes: Mailboxes,
    pub(super) servers: Servers,
    /// Asks that were dropped because their sender's life is not known yet.
    pub(super) dropped: u64,
    /// Asks that found no room.
    pub(super) refused: u64,
    /// Messages and broadcasts that were lost because readers were too slow.
    pub(super) overrun: u64,
}

impl Answerer {
    /// Takes in an ask, unless it was taken in before, and returns the answer; none if the sender has to repeat it. `own`
    /// answers asks that are not for the application.
    pub(super) fn take_in(
        &mut self,
        now: Time,
        ask: &Arrived<'_>,
        payload: Option<Arc<[u8]>>,
        own: impl FnOnce(&[u8]) -> Option<Answer>,
    ) -> Option<Answer> {
        if ask.id.epoch > ask.from.epoch {
            self.dropped += 1;
            return None;
        }
        if ask.kind == AskKind::Poll {
            return Some(match self.memory.look(ask.from, ask.id) {
                Known::Seen(entry) => answer_of(entry),
                _ => Status::Expired.into(),
            });
        }
        match self.memory.admit(now, ask.from, ask.account, ask.id, ask.within) {
            Known::New => {}
            Known::Seen(entry) => return Some(answer_of(entry)),
            Known::Over => return Some(Status::Expired.into()),
            // No answer: a copy might find room and be taken in after all.
            Known::NoRoom => {
                self.refused += 1;
                return None;
            }
        }
        let entry = match payload {
            None => Entry::Answered(Status::TooLarge.into()),
            Some(payload) if ask.kind == AskKind::Message => self.take_message(ask, payload),
            Some(payload) => match own(&payload) {
                Some(answer) => Entry::Answered(answer),
                None => self.begin_request(now, ask, payload),
            },
        };
        self.memory.note(now, ask.from, ask.id, entry.clone());
        Some(answer_of(entry))
    }

    fn take_message(&mut self, ask: &Arrived<'_>, payload: Arc<[u8]>) -> Entry {
        let (status, lost) = self.mailboxes.deliver(&Item {
            from: ask.from.clone(),
            account: ask.account,
            topic: ask.topic.into(),
            payload,
            kind: MessageKind::Sent,
            folds: false,
        });
        self.overrun += lost;
        self.refused += u64::from(status == Status::Busy);
        Entry::Answered(status.into())
    }

    fn begin_request(&mut self, now: Time, ask: &Arrived<'_>, payload: Arc<[u8]>) -> Entry {
        self.expire(now, ask.topic);
        let until = now + ask.within;
        let (from, account, topic) = (ask.from.clone(), ask.account, ask.topic.into());
        match self.servers.push(RequestItem { from, account, id: ask.id, topic, payload, until }) {
            Ok(()) => Entry::Pending(until),
            Err(NotServed::NoReader) => Entry::Answered(Status::NoReader.into()),
            Err(NotServed::Full) => {
                self.refused += 1;
                Entry::Answered(Status::Busy.into())
            }
        }
    }

    /// Takes out requests whose senders have given up.
    fn expire(&mut self, now: Time, topic: &str) {
        for over in self.servers.expire(now, topic) {
            self.note_dropped(now, &over);
        }
    }

    /// Notes that the application will not see a request. The sender may have begun a later ask in its slot.
    pub(super) fn note_dropped(&mut self, now: Time, item: &RequestItem) {
        if matches!(self.memory.look(&item.from, item.id), Known::Seen(_)) {
            self.memory.note(now, &item.from, item.id, Entry::Answered(Status::Dropped.into()));
        }
    }

    /// The oldest request for the application whose sender waits for the answer.
    pub(super) fn take_request(&mut self, now: Time, topic: &str) -> Option<RequestItem> {
        self.expire(now, topic);
        loop {
            let item = self.servers.take(topic)?;
            if self.is_awaited(now, &item.from, item.id) {
                return Some(item);
            }
        }
    }

    fn is_awaited(&self, now: Time, from: &Life, id: AskId) -> bool {
        matches!(self.memory.look(from, id), Known::Seen(Entry::Pending(until)) if now < until)
    }

    /// Drops answers that were not asked for in time.
    pub(super) fn act(&mut self, now: Time) {
        self.memory.expire(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.memory.poll_timeout()
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn audit(&self) {
        self.memory.audit();
    }

    /// The application answers a request, if the sender still waits.
    pub(super) fn answer(
        &mut self,
        now: Time,
        to: &Life,
        id: AskId,
        answer: Answer,
    ) -> Result<Ready, TooLate> {
        if !self.is_awaited(now, to, id) {
            return Err(TooLate);
        }
        self.memory.note(now, to, id, Entry::Answered(answer.clone()));
        Ok(Ready { to: to.clone(), id, answer })
    }

    /// A reader of requests is gone. If it was the last one, the waiting requests are answered with "no reader".
    pub(super) fn close_server(&mut self, now: Time, topic: &str) -> Vec<Ready> {
        let over = self.servers.close(topic);
        let dropped = || Status::NoReader.into();
        over.into_iter().filter_map(|item| self.answer(now, &item.from, item.id, dropped()).ok()).collect()
    }

    pub(super) fn close(&mut self) {
        self.mailboxes.close();
        self.servers.close_all();
    }
}

fn answer_of(entry: Entry) -> Answer {
    match entry {
        Entry::Pending(_) => Status::Pending.into(),
        Entry::Answered(answer) => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn take_in(answerer: &mut Answerer, at: u64, from: &str) -> Option<Status> {
        let account = from.parse().ok().map(|host: u32| host.into());
        let from = Life { name: from.into(), epoch: 1 };
        let id = AskId { slot: 1, epoch: 1, number: 1 };
        let ask = Arrived { from: &from, account, id, kind: AskKind::Message, topic: "t", within: MINUTE };
        let now = Time::from_origin(Duration::from_secs(at));
        answerer.take_in(now, &ask, Some(Arc::default()), |_| None).map(|answer| answer.status)
    }

    /// The sender gave up the request and sent a message in its slot; a copy of the request is still under way.
    #[test]
    fn a_request_that_is_over_is_not_remembered_in_the_place_of_a_later_message() {
        let mut answerer = Answerer::default();
        let _tokens = answerer.servers.open("jobs");
        let reader = answerer.mailboxes.open("t".into()).unwrap();
        let (from, second) = (Life { name: "a".into(), epoch: 1 }, Duration::from_secs(1));
        let take_in = |answerer: &mut Answerer, at, number, kind, topic| {
            let id = AskId { slot: 0, epoch: 1, number };
            let ask = Arrived { from: &from, account: None, id, kind, topic, within: second };
            answerer.take_in(at, &ask, Some(Arc::default()), |_| None).map(|answer| answer.status)
        };
        let (begin, later) = (Time::from_origin(second), Time::from_origin(3 * second));
        assert_eq!(take_in(&mut answerer, begin, 1, AskKind::Request, "jobs"), Some(Status::Pending));
        assert_eq!(take_in(&mut answerer, later, 2, AskKind::Message, "t"), Some(Status::Taken));
        assert_eq!(answerer.take_request(later, "jobs"), None);
        assert_eq!(take_in(&mut answerer, later, 2, AskKind::Message, "t"), Some(Status::Taken));
        assert_eq!(std::iter::from_fn(|| reader.try_recv().ok()).count(), 1);
    }

    #[test]
    fn a_message_that_finds_no_room_in_the_memory_is_not_answered_as_a_copy_may_find_room() {
        let mut answerer = Answerer::default();
        for sender in 0..65_536 {
            assert_eq!(take_in(&mut answerer, 0, &sender.to_string()), Some(Status::NoReader));
        }
        let reader = answerer.mailboxes.open("t".into()).unwrap();
        assert_eq!((take_in(&mut answerer, 1, "late"), answerer.refused), (None, 1));
        assert_eq!(take_in(&mut answerer, 121, "late"), Some(Status::Taken));
        assert_eq!(take_in(&mut answerer, 122, "late"), Some(Status::Taken));
        assert_eq!(std::iter::from_fn(|| reader.try_recv().ok()).count(), 1);
    }
}
