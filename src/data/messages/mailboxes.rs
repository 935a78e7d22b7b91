//! Mailboxes: what was sent to topics, until their readers take it.

use std::{collections::VecDeque, sync::Arc};

use super::status::Status;
use crate::{
    membership::fanout::{Fanout, Queue, Subscription},
    swim::Life,
};

/// Messages in one mailbox,
const MAX_UNREAD: usize = 1024;
/// and the bytes of their payloads.
const MAX_UNREAD_BYTES: usize = 4 << 20;

/// Which topics an inbox is for.
///
/// ```
/// use syncswim::Topics;
///
/// assert!(Topics::from("jobs").holds("jobs") && !Topics::from("jobs").holds("jobs/7"));
/// assert!(Topics::prefix("jobs/").holds("jobs/7") && Topics::all().holds("jobs/7"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topics(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    One(String),
    Prefix(String),
}

impl Topics {
    /// All topics.
    #[must_use]
    pub fn all() -> Self {
        Self::prefix("")
    }

    /// The topics that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self(Kind::Prefix(prefix.into()))
    }

    /// Whether `topic` is one of them.
    #[must_use]
    pub fn holds(&self, topic: &str) -> bool {
        match &self.0 {
            Kind::One(one) => one == topic,
            Kind::Prefix(prefix) => topic.starts_with(&**prefix),
        }
    }
}

/// One topic.
impl<S: Into<String>> From<S> for Topics {
    fn from(topic: S) -> Self {
        Self(Kind::One(topic.into()))
    }
}

/// A message as it lies in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) from: Life,
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Arc<[u8]>,
}

/// What waits for one reader.
#[derive(Debug)]
pub(crate) struct Mailbox {
    topics: Topics,
    unread: VecDeque<Item>,
    bytes: usize,
}

impl Mailbox {
    fn takes(&self, len: usize) -> bool {
        self.unread.len() < MAX_UNREAD && self.bytes + len <= MAX_UNREAD_BYTES
    }
}

impl Queue for Mailbox {
    type Item = Item;

    fn pop(&mut self) -> Option<Item> {
        let item = self.unread.pop_front()?;
        self.bytes -= item.payload.len();
        Some(item)
    }

    fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }
}

/// All mailboxes of a node.
#[derive(Debug)]
pub(super) struct Mailboxes(Fanout<Mailbox>);

impl Default for Mailboxes {
    fn default() -> Self {
        Self(Fanout::new())
    }
}

impl Mailboxes {
    pub(super) fn open(&self, topics: Topics) -> Subscription<Mailbox> {
        self.0.subscribe(Mailbox { topics, unread: VecDeque::new(), bytes: 0 })
    }

    /// Puts a message into every mailbox that is for its topic, or into none.
    pub(super) fn deliver(&self, item: &Item) -> Status {
        let (len, mut fits) = (item.payload.len(), true);
        // Readers only make room meanwhile.
        self.0.publish(|mailbox| fits &= !mailbox.topics.holds(&item.topic) || mailbox.takes(len));
        if !fits {
            return Status::Busy;
        }
        let mut readers = 0;
        self.0.publish(|mailbox| {
            if mailbox.topics.holds(&item.topic) {
                readers += 1;
                mailbox.bytes += len;
                mailbox.unread.push_back(item.clone());
            }
        });
        if readers == 0 { Status::NoReader } else { Status::Taken }
    }

    pub(super) fn close(&self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(topic: &str, len: usize) -> Item {
        let from = Life { name: "a".into(), epoch: 1 };
        Item { from, topic: topic.into(), payload: vec![0; len].into() }
    }

    #[test]
    fn a_message_goes_to_every_reader_of_its_topic_or_to_none() {
        let mailboxes = Mailboxes::default();
        assert_eq!(mailboxes.deliver(&item("jobs/1", 1)), Status::NoReader);
        let (one, all) = (mailboxes.open("jobs/1".into()), mailboxes.open(Topics::prefix("jobs/")));
        assert_eq!(mailboxes.deliver(&item("jobs/1", 1)), Status::Taken);
        assert_eq!(mailboxes.deliver(&item("jobs/2", 1)), Status::Taken);
        assert_eq!(mailboxes.deliver(&item("job", 1)), Status::NoReader);
        assert_eq!(one.try_recv(), Ok(item("jobs/1", 1)));
        assert!(one.try_recv().is_err());
        assert_eq!([all.try_recv(), all.try_recv()], [Ok(item("jobs/1", 1)), Ok(item("jobs/2", 1))]);
        for _ in 0..MAX_UNREAD {
            assert_eq!(mailboxes.deliver(&item("jobs/2", 1)), Status::Taken);
        }
        assert_eq!(mailboxes.deliver(&item("jobs/1", 1)), Status::Busy);
        assert!(one.try_recv().is_err(), "the full mailbox of the other reader keeps it from both");
        drop(all);
        assert_eq!(mailboxes.deliver(&item("jobs/1", 1)), Status::Taken);
    }

    #[test]
    fn the_bytes_of_a_mailbox_are_bounded() {
        let mailboxes = Mailboxes::default();
        let reader = mailboxes.open(Topics::all());
        for _ in 0..4 {
            assert_eq!(mailboxes.deliver(&item("t", 1 << 20)), Status::Taken);
        }
        assert_eq!(mailboxes.deliver(&item("t", 1)), Status::Busy);
        assert_eq!(reader.try_recv().map(|item| item.payload.len()), Ok(1 << 20));
        assert_eq!(mailboxes.deliver(&item("t", 1)), Status::Taken);
    }
}
