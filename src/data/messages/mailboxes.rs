//! Mailboxes: what was sent to topics, until their readers take it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

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

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MessageKind {
    /// It was [sent](crate::Gossip::send) to this member.
    Sent,
    /// It was [broadcast](crate::Gossip::broadcast) to all.
    #[non_exhaustive]
    Broadcast {
        /// Its sender counts its broadcasts, from 1 in each of its lives.
        seq: u64,
        /// Orders the broadcasts of all senders, as far as they heard of each other: whoever sends after it has received one
        /// gives a greater stamp.
        stamp: u64,
        /// So many of its sender just before it are missing. They may still come, late.
        gap: u64,
        /// Later ones of its sender came before it.
        late: bool,
    },
    /// So many broadcasts of the sender did not come and will not, or this reader was too slow for them: what depends on
    /// them is to be looked at anew. Topic and payload are empty. Only an inbox that gets broadcasts is told.
    #[non_exhaustive]
    Lost {
        /// How many, of whichever topics.
        count: u64,
    },
}

/// A message as it lies in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) from: Life,
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) kind: MessageKind,
    /// A later one of its topic takes its place in a full mailbox.
    pub(crate) folds: bool,
}

impl Item {
    fn lost(from: Life, count: u64) -> Self {
        let kind = MessageKind::Lost { count };
        Self { from, topic: Arc::default(), payload: Arc::default(), kind, folds: false }
    }
}

/// What waits for one reader.
#[derive(Debug)]
pub(crate) struct Mailbox {
    topics: Topics,
    unread: VecDeque<Item>,
    bytes: usize,
    /// Whether it gets broadcasts.
    hears: bool,
    /// Broadcasts of each origin that are lost for this reader behind what is unread, or before the first.
    lost: BTreeMap<Life, u64>,
}

impl Mailbox {
    fn push(&mut self, item: Item) {
        self.bytes += item.payload.len();
        self.unread.push_back(item);
    }

    /// Takes a broadcast, and says how many are lost for the reader by that. While it is to be told of others, they are all
    /// lost.
    fn hear(&mut self, item: &Item) -> u64 {
        if !std::mem::replace(&mut self.hears, true) {
            let lost = std::mem::take(&mut self.lost);
            lost.into_iter().for_each(|(from, count)| self.push(Item::lost(from, count)));
        }
        if self.lost.is_empty() && self.takes(item.payload.len()) || item.folds && self.fold(item) {
            self.push(item.clone());
            return 0;
        }
        *self.lost.entry(item.from.clone()).or_default() += 1;
        1
    }

    /// Takes out what a newer one of its topic replaces.
    fn fold(&mut self, newer: &Item) -> bool {
        let same = self.unread.iter().position(|older| older.folds && older.topic == newer.topic);
        let older = same.and_then(|at| self.unread.remove(at));
        self.bytes -= older.as_ref().map_or(0, |older| older.payload.len());
        older.is_some()
    }

    fn lose(&mut self, from: &Life, count: u64) {
        if self.hears && self.lost.is_empty() && self.takes(0) {
            self.push(Item::lost(from.clone(), count));
        } else {
            let lost = self.lost.entry(from.clone()).or_default();
            *lost = lost.saturating_add(count);
        }
    }

    fn takes(&self, len: usize) -> bool {
        self.unread.len() < MAX_UNREAD && self.bytes + len <= MAX_UNREAD_BYTES
    }
}

impl Queue for Mailbox {
    type Item = Item;

    fn pop(&mut self) -> Option<Item> {
        let Some(item) = self.unread.pop_front() else {
            let (from, count) = if self.hears { self.lost.pop_first()? } else { return None };
            return Some(Item::lost(from, count));
        };
        self.bytes -= item.payload.len();
        Some(item)
    }

    fn is_empty(&self) -> bool {
        self.unread.is_empty() && (self.lost.is_empty() || !self.hears)
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
        let (unread, lost) = (VecDeque::new(), BTreeMap::new());
        self.0.subscribe(Mailbox { topics, unread, bytes: 0, hears: false, lost })
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
                mailbox.push(item.clone());
            }
        });
        if readers == 0 { Status::NoReader } else { Status::Taken }
    }

    /// Puts a broadcast into every mailbox that is for its topic, and says for how many readers something is lost by that.
    pub(super) fn broadcast(&self, item: &Item) -> u64 {
        let mut lost = 0;
        self.0.publish(|mailbox| {
            if mailbox.topics.holds(&item.topic) {
                lost += mailbox.hear(item);
            }
        });
        lost
    }

    /// Tells the readers of broadcasts that some will not come.
    pub(super) fn lose(&self, from: &Life, count: u64) {
        self.0.publish(|mailbox| mailbox.lose(from, count));
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
        let (kind, folds) = (MessageKind::Sent, false);
        Item { from, topic: topic.into(), payload: vec![0; len].into(), kind, folds }
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

    fn heard(seq: u64, folds: bool) -> Item {
        let kind = MessageKind::Broadcast { seq, stamp: seq, gap: 0, late: false };
        Item { kind, folds, ..item("t", 1) }
    }

    fn kinds(reader: &Subscription<Mailbox>) -> Vec<MessageKind> {
        std::iter::from_fn(|| reader.try_recv().ok()).map(|item| item.kind).collect()
    }

    #[test]
    fn a_slow_reader_of_broadcasts_loses_its_own_and_is_told_how_many() {
        let mailboxes = Mailboxes::default();
        let (slow, quick) = (mailboxes.open("t".into()), mailboxes.open(Topics::all()));
        let mut got = Vec::new();
        let mut lost = 0;
        for seq in 1..=1500 {
            lost += mailboxes.broadcast(&heard(seq, false));
            got.extend(kinds(&quick));
        }
        assert_eq!((got.len(), lost), (1500, 476));
        let of_slow = kinds(&slow);
        assert_eq!((of_slow.len(), of_slow.last()), (1025, Some(&MessageKind::Lost { count: 476 })));
        assert_eq!(mailboxes.broadcast(&heard(1501, false)), 0);
        assert_eq!(kinds(&slow).len(), 1);
    }

    #[test]
    fn in_a_full_mailbox_the_newest_of_a_topic_takes_the_place_of_an_older_one() {
        let mailboxes = Mailboxes::default();
        let reader = mailboxes.open("t".into());
        (1..=5000).for_each(|seq| assert_eq!(mailboxes.broadcast(&heard(seq, true)), 0));
        let got = kinds(&reader);
        let last = MessageKind::Broadcast { seq: 5000, stamp: 5000, gap: 0, late: false };
        assert_eq!((got.len(), got.last()), (MAX_UNREAD, Some(&last)));
    }

    #[test]
    fn who_gets_no_broadcasts_is_not_told_of_lost_ones_before_the_first() {
        let mailboxes = Mailboxes::default();
        let reader = mailboxes.open(Topics::all());
        let from = item("t", 0).from;
        mailboxes.lose(&from, 3);
        mailboxes.lose(&from, 4);
        assert_eq!(mailboxes.deliver(&item("t", 1)), Status::Taken);
        assert_eq!(kinds(&reader), [MessageKind::Sent]);
        mailboxes.broadcast(&heard(9, false));
        mailboxes.lose(&from, 1);
        let [first, _, last] = kinds(&reader)[..] else { panic!() };
        assert_eq!((first, last), (MessageKind::Lost { count: 7 }, MessageKind::Lost { count: 1 }));
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
