//! Mailboxes: messages to topics, until their readers take them.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use super::status::Status;
use crate::{
    collections::fanout::{Fanout, Queue, Subscription},
    data::{
        Stamp,
        shares::{Shares, Size},
    },
    swim::{Account, Life},
    text::Escaped,
    wire::data::MAX_SMALL,
};

/// The most messages in one mailbox, of which an account has its [share](Shares::has_room), and the most broadcasts.
const MAX_UNREAD: usize = 2048;
/// Bytes of their payloads, in the same way.
const MAX_UNREAD_BYTES: usize = 8 << 20;
/// The most mailboxes: each message is compared with the topics of each.
const MAX_INBOXES: usize = 64;
/// How many senders' losses a mailbox counts separately, including those that its reader is about to be told. The bound is
/// not shared by account: if names of one host take it up, a reader is still told how much is lost, though not of whom.
const MAX_APART: usize = 256;

/// The topics of an inbox.
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

    /// Whether `topic` is one of these.
    #[must_use]
    pub fn holds(&self, topic: &str) -> bool {
        match &self.0 {
            Kind::One(one) => one == topic,
            Kind::Prefix(prefix) => topic.starts_with(&**prefix),
        }
    }
}

/// In the form of the C interface: a prefix ends in `*`.
impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::One(topic) => Escaped(topic).fmt(f),
            Kind::Prefix(prefix) => write!(f, "{}*", Escaped(prefix)),
        }
    }
}

/// One topic.
impl<S: Into<String>> From<S> for Topics {
    fn from(topic: S) -> Self {
        Self(Kind::One(topic.into()))
    }
}

/// How a message arrived.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MessageKind {
    /// It was [sent](crate::Gossip::send) to this member.
    Sent,
    /// It was [broadcast](crate::Gossip::broadcast) to all.
    #[non_exhaustive]
    Broadcast {
        /// Its number, which its sender counts from 1 in each of its lives.
        seq: u64,
        /// Orders the broadcasts of all senders as far as they had received each other's: a member that has received a
        /// broadcast gives its next one a greater stamp. A stamp that is more than ten minutes ahead of this node's clock
        /// counts as ten minutes ahead of its arrival, so members may order the broadcasts of a sender with such a clock
        /// differently.
        stamp: Stamp,
        /// How many of the sender's broadcasts just before it are missing. They may still arrive, late.
        gap: u64,
        /// Whether later broadcasts of the sender were delivered before it.
        late: bool,
    },
}

/// A message in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) from: Life,
    pub(crate) account: Option<Account>,
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) kind: MessageKind,
    /// Whether a later item of its topic may replace it in a full mailbox.
    pub(crate) folds: bool,
}

/// The next item for the reader of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unread {
    Message(Item),
    /// `count` items of a sender are lost for the reader; without a sender, of many senders together.
    Lost {
        from: Option<Life>,
        count: u64,
    },
}

impl Unread {
    #[cfg(any(test, fuzzing))]
    pub(crate) fn into_message(self) -> Option<Item> {
        if let Self::Message(item) = self { Some(item) } else { None }
    }
}

/// The items that wait for one reader.
#[derive(Debug)]
pub(crate) struct Mailbox {
    topics: Topics,
    unread: VecDeque<Unread>,
    /// Messages and broadcasts have separate shares: the sender of a message is proven, that of a broadcast is claimed.
    messages: Shares,
    broadcasts: Shares,
    /// How many of the unread items are reports of losses, which count for no account.
    notices: usize,
    /// The losses for this reader after the unread items.
    lost: Lost,
    /// Broadcasts that did not arrive, while this mailbox has received none.
    unheard: Option<Lost>,
}

/// The number of losses of each sender; beyond a number of senders, the losses of all others together.
#[derive(Debug, Default)]
struct Lost(BTreeMap<Option<Life>, u64>);

impl Lost {
    /// Counts at most `most` senders separately.
    fn add(&mut self, from: Option<Life>, count: u64, most: usize) {
        let is_apart = self.0.len() < most || self.0.contains_key(&from);
        let lost = self.0.entry(from.filter(|_| is_apart)).or_default();
        *lost = lost.saturating_add(count);
    }

    fn pop(&mut self) -> Option<Unread> {
        self.0.pop_first().map(|(from, count)| Unread::Lost { from, count })
    }
}

impl Mailbox {
    fn shares_of(&mut self, kind: &MessageKind) -> &mut Shares {
        match kind {
            MessageKind::Sent => &mut self.messages,
            MessageKind::Broadcast { .. } => &mut self.broadcasts,
        }
    }

    fn push(&mut self, unread: Unread) {
        self.put(self.unread.len(), unread);
    }

    fn put(&mut self, at: usize, unread: Unread) {
        match &unread {
            Unread::Message(item) => self.shares_of(&item.kind).add(item.account, size(item)),
            Unread::Lost { .. } => self.notices += 1,
        }
        self.unread.insert(at, unread);
    }

    fn note_lost(&mut self, from: Option<Life>, count: u64) {
        self.lost.add(from, count, MAX_APART.saturating_sub(self.notices));
    }

    /// Adds a broadcast. Returns how many are thereby lost for the reader.
    fn on_broadcast(&mut self, item: &Item) -> u64 {
        for (from, count) in self.unheard.take().into_iter().flat_map(|unheard| unheard.0) {
            self.note_lost(from, count);
        }
        self.take(item)
    }

    /// Adds a message that other mailboxes accept. Returns how many are thereby lost for the reader.
    fn take(&mut self, item: &Item) -> u64 {
        if self.has_room_for(item) {
            while let Some(lost) = self.lost.pop() {
                self.push(lost);
            }
        } else if !(item.folds && self.fold(item)) {
            self.note_lost(Some(item.from.clone()), 1);
            return 1;
        }
        self.push(Unread::Message(item.clone()));
        0
    }

    fn has_room_for(&mut self, item: &Item) -> bool {
        self.shares_of(&item.kind).has_room(item.account, size(item), (MAX_UNREAD, MAX_UNREAD_BYTES))
    }

    /// Takes out an older item that a newer one of its topic replaces: one of its account, or of another if that account then
    /// has room for it. A large item never replaces a smaller one.
    fn fold(&mut self, newer: &Item) -> bool {
        let older = |unread: &Unread| {
            let Unread::Message(older) = unread else { return None };
            let fits = newer.payload.len() <= older.payload.len().max(MAX_SMALL);
            (older.folds && older.topic == newer.topic && fits).then_some(older.account)
        };
        let own = |unread: &Unread| older(unread) == Some(newer.account);
        if let Some(at) = self.unread.iter().position(own) {
            self.take_out(at);
            return true;
        }
        let Some(at) = self.unread.iter().position(|unread| older(unread).is_some()) else { return false };
        let Some(taken) = self.take_out(at) else { return false };
        if self.has_room_for(newer) {
            return true;
        }
        self.put(at, taken);
        false
    }

    fn take_out(&mut self, at: usize) -> Option<Unread> {
        let unread = self.unread.remove(at)?;
        self.release(&unread);
        Some(unread)
    }

    fn release(&mut self, unread: &Unread) {
        match unread {
            Unread::Message(item) => self.shares_of(&item.kind).remove(item.account, size(item)),
            Unread::Lost { .. } => self.notices -= 1,
        }
    }

    fn lose(&mut self, from: &Life, count: u64) {
        match &mut self.unheard {
            Some(unheard) => unheard.add(Some(from.clone()), count, MAX_APART),
            None => self.note_lost(Some(from.clone()), count),
        }
    }
}

impl Queue for Mailbox {
    type Item = Unread;

    fn pop(&mut self) -> Option<Unread> {
        self.take_out(0).or_else(|| self.lost.pop())
    }

    fn is_empty(&self) -> bool {
        self.unread.is_empty() && self.lost.0.is_empty()
    }
}

fn size(item: &Item) -> Size {
    (1, item.payload.len())
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
    /// Opens a mailbox, unless there are too many.
    pub(super) fn open(&self, topics: Topics) -> Option<Subscription<Mailbox>> {
        let mailbox = Mailbox {
            topics,
            unread: VecDeque::new(),
            messages: Shares::default(),
            broadcasts: Shares::default(),
            notices: 0,
            lost: Lost::default(),
            unheard: Some(Lost::default()),
        };
        (self.0.len() < MAX_INBOXES).then(|| self.0.subscribe(mailbox))
    }

    /// Puts a message into every mailbox for its topic that has room. Returns for how many readers it is lost. If no mailbox
    /// has room, it is lost for none, since its sender is told.
    pub(super) fn deliver(&self, item: &Item) -> (Status, u64) {
        let (mut readers, mut has_room) = (0, false);
        self.0.publish(|mailbox| {
            if mailbox.topics.holds(&item.topic) {
                readers += 1;
                has_room |= mailbox.has_room_for(item);
            }
        });
        if !has_room {
            return (if readers == 0 { Status::NoReader } else { Status::Busy }, 0);
        }
        let mut lost = 0;
        // Meanwhile readers only make room.
        self.0.publish(|mailbox| {
            if mailbox.topics.holds(&item.topic) {
                lost += mailbox.take(item);
            }
        });
        (Status::Taken, lost)
    }

    /// Puts a broadcast into every mailbox for its topic. Returns for how many readers something is thereby lost.
    pub(super) fn broadcast(&self, item: &Item) -> u64 {
        let mut lost = 0;
        self.0.publish(|mailbox| {
            if mailbox.topics.holds(&item.topic) {
                lost += mailbox.on_broadcast(item);
            }
        });
        lost
    }

    /// Reports to the readers of broadcasts that some will not arrive.
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

    /// The most that one account may hold alone.
    const EACH: usize = MAX_UNREAD / 2;

    fn item(topic: &str, len: usize) -> Item {
        let from = Life { name: "a".into(), epoch: 1 };
        let (kind, folds) = (MessageKind::Sent, false);
        Item { from, account: None, topic: topic.into(), payload: vec![0; len].into(), kind, folds }
    }

    #[test]
    fn a_message_goes_to_every_reader_of_its_topic_that_has_room() {
        let mailboxes = Mailboxes::default();
        assert_eq!(mailboxes.deliver(&item("jobs/1", 1)), (Status::NoReader, 0));
        let (one, all) = (open(&mailboxes, "jobs/1"), open(&mailboxes, Topics::prefix("jobs/")));
        assert_eq!(mailboxes.deliver(&item("jobs/1", 1)), TAKEN);
        assert_eq!(mailboxes.deliver(&item("jobs/2", 1)), TAKEN);
        assert_eq!(mailboxes.deliver(&item("job", 1)), (Status::NoReader, 0));
        assert_eq!(one.try_recv(), Ok(message("jobs/1", 1)));
        assert!(one.try_recv().is_err());
        assert_eq!([all.try_recv(), all.try_recv()], [Ok(message("jobs/1", 1)), Ok(message("jobs/2", 1))]);
        for _ in 0..EACH {
            assert_eq!(mailboxes.deliver(&item("jobs/2", 1)), TAKEN);
        }
        for _ in 0..3 {
            assert_eq!(mailboxes.deliver(&item("jobs/1", 1)), (Status::Taken, 1));
        }
        assert_eq!(
            one.try_recv(),
            Ok(message("jobs/1", 1)),
            "the full mailbox of the other reader keeps it from nobody"
        );
        assert_eq!(
            mailboxes.deliver(&item("jobs/2", 1)),
            (Status::Busy, 0),
            "it is lost for nobody: its sender is told"
        );
        let read = kinds(&all);
        assert_eq!((read.len(), read.last()), (EACH + 1, Some(&Err(3))));
        assert_eq!(mailboxes.deliver(&item("jobs/2", 1)), TAKEN);
    }

    #[test]
    fn mailboxes_are_bounded() {
        let mailboxes = Mailboxes::default();
        let mut open: Vec<_> = (0..MAX_INBOXES).map(|_| open(&mailboxes, "t")).collect();
        assert!(mailboxes.open("t".into()).is_none());
        open.pop();
        assert!(mailboxes.open("t".into()).is_some());
    }

    const TAKEN: (Status, u64) = (Status::Taken, 0);

    fn open(mailboxes: &Mailboxes, topics: impl Into<Topics>) -> Subscription<Mailbox> {
        mailboxes.open(topics.into()).unwrap()
    }

    fn heard(seq: u64, folds: bool) -> Item {
        let kind = MessageKind::Broadcast { seq, stamp: Stamp(seq), gap: 0, late: false };
        Item { kind, folds, ..item("t", 1) }
    }

    fn of(host: u32, item: Item) -> Item {
        Item { account: Some(host.into()), ..item }
    }

    fn message(topic: &str, len: usize) -> Unread {
        Unread::Message(item(topic, len))
    }

    /// How each message arrived, or how many are lost.
    fn kinds(reader: &Subscription<Mailbox>) -> Vec<Result<MessageKind, u64>> {
        let kind = |unread| match unread {
            Unread::Message(item) => Ok(item.kind),
            Unread::Lost { count, .. } => Err(count),
        };
        std::iter::from_fn(|| reader.try_recv().ok()).map(kind).collect()
    }

    #[test]
    fn a_slow_reader_of_broadcasts_loses_its_own_and_is_told_how_many() {
        let mailboxes = Mailboxes::default();
        let (slow, quick) = (open(&mailboxes, "t"), open(&mailboxes, Topics::all()));
        let mut got = Vec::new();
        let mut lost = 0;
        for seq in 1..=1500 {
            lost += mailboxes.broadcast(&heard(seq, false));
            got.extend(kinds(&quick));
        }
        assert_eq!((got.len(), lost), (1500, 476));
        let of_slow = kinds(&slow);
        assert_eq!((of_slow.len(), of_slow.last()), (1025, Some(&Err(476))));
        assert_eq!(mailboxes.broadcast(&heard(1501, false)), 0);
        assert_eq!(kinds(&slow).len(), 1);
    }

    #[test]
    fn in_a_full_mailbox_the_newest_of_a_topic_takes_the_place_of_an_older_one() {
        let mailboxes = Mailboxes::default();
        let reader = open(&mailboxes, "t");
        (1..=5000).for_each(|seq| assert_eq!(mailboxes.broadcast(&heard(seq, true)), 0));
        let got = kinds(&reader);
        let last = MessageKind::Broadcast { seq: 5000, stamp: Stamp(5000), gap: 0, late: false };
        assert_eq!((got.len(), got.last()), (EACH, Some(&Ok(last))));
    }

    /// Of a topic that all may send to: what one host sends leaves the places of others alone.
    #[test]
    fn in_a_full_mailbox_a_host_replaces_its_own_and_others_within_its_share() {
        let mailboxes = Mailboxes::default();
        let reader = open(&mailboxes, "t");
        for host in 1..=9 {
            (1..=5000).for_each(|seq| assert_eq!(mailboxes.broadcast(&of(host, heard(seq, true))), 0));
        }
        let read: Vec<_> = std::iter::from_fn(|| reader.try_recv().ok()).collect();
        let count = |host: u32| {
            let is_its = |unread: &&Unread| matches!(unread, Unread::Message(item) if item.account == Some(host.into()));
            read.iter().filter(is_its).count()
        };
        assert_eq!([count(1), count(2), count(3)], [EACH, EACH / 2, EACH / 4]);
        assert!((4..=9).all(|host| count(host) > 0), "the newest of each is there");
    }

    #[test]
    fn a_reader_without_broadcasts_is_not_told_of_lost_ones_before_its_first() {
        let mailboxes = Mailboxes::default();
        let reader = open(&mailboxes, Topics::all());
        let from = item("t", 0).from;
        mailboxes.lose(&from, 3);
        mailboxes.lose(&from, 4);
        assert_eq!(mailboxes.deliver(&item("t", 1)), TAKEN);
        assert_eq!(kinds(&reader), [Ok(MessageKind::Sent)]);
        mailboxes.broadcast(&heard(9, false));
        mailboxes.lose(&from, 1);
        let read = kinds(&reader);
        assert_eq!((read.len(), read.first(), read.last()), (3, Some(&Err(7)), Some(&Err(1))));
    }

    #[test]
    fn a_reader_that_reads_again_is_told_its_losses_before_the_next_item_and_loses_nothing_more() {
        let mailboxes = Mailboxes::default();
        let reader = open(&mailboxes, "t");
        (0..=EACH as u64).for_each(|seq| _ = mailboxes.broadcast(&heard(seq, false)));
        (0..100).for_each(|_| assert!(reader.try_recv().is_ok()));
        assert_eq!(mailboxes.broadcast(&heard(2000, false)), 0, "there is room");
        assert_eq!(mailboxes.deliver(&item("t", 1)), TAKEN);
        let read = kinds(&reader);
        assert_eq!(read[EACH - 100], Err(1));
        assert_eq!((read.len(), read.last()), (EACH - 97, Some(&Ok(MessageKind::Sent))));
    }

    #[test]
    fn senders_of_which_something_is_lost_are_bounded_and_no_loss_is_forgotten() {
        let mailboxes = Mailboxes::default();
        let (quiet, reader) = (open(&mailboxes, "quiet"), open(&mailboxes, "t"));
        for epoch in 1..=5000 {
            mailboxes.lose(&Life { name: "a".into(), epoch }, 1);
        }
        assert_eq!(mailboxes.broadcast(&heard(1, false)), 0);
        mailboxes.0.publish(|mailbox| {
            let held = mailbox.lost.0.len() + mailbox.unheard.as_ref().map_or(0, |unheard| unheard.0.len());
            assert!(held <= MAX_APART + 1 && mailbox.unread.len() <= EACH, "{held}");
        });
        let read = kinds(&reader);
        let lost = read.iter().map(|read| read.as_ref().err().copied().unwrap_or(0));
        assert_eq!((lost.sum::<u64>(), read.len(), kinds(&quiet).len()), (5000, MAX_APART + 1, 0));
    }

    #[test]
    fn messages_and_broadcasts_of_one_host_leave_room_for_those_of_others() {
        let mailboxes = Mailboxes::default();
        let _reader = open(&mailboxes, Topics::all());
        let taken = (0..5000).filter(|_| mailboxes.deliver(&of(1, item("t", 1))) == TAKEN).count();
        let lost = (0..5000).map(|seq| mailboxes.broadcast(&of(1, heard(seq, false)))).sum::<u64>();
        assert_eq!((taken, lost), (EACH, 5000 - EACH as u64));
        assert_eq!(
            (mailboxes.deliver(&of(2, item("t", 1))), mailboxes.broadcast(&of(2, heard(1, false)))),
            (TAKEN, 0)
        );
    }

    /// A broadcast's origin is only claimed: an attacker can make up any number of hosts.
    #[test]
    fn broadcasts_of_any_number_of_hosts_take_no_room_of_messages() {
        let mailboxes = Mailboxes::default();
        let reader = open(&mailboxes, Topics::all());
        for host in 0..20 {
            (0..2000).for_each(|seq| _ = mailboxes.broadcast(&of(host, heard(seq, false))));
        }
        let taken = (0..5000).filter(|_| mailboxes.deliver(&of(1, item("t", 1))) == TAKEN).count();
        assert_eq!((taken, mailboxes.deliver(&of(2, item("t", 1)))), (EACH, TAKEN));
        assert!(kinds(&reader).len() < 4 * EACH);
        mailboxes.0.publish(|mailbox| {
            assert_eq!(
                (mailbox.messages.all(), mailbox.broadcasts.all(), mailbox.notices),
                ((0, 0), (0, 0), 0)
            );
        });
    }

    /// Readers are told of losses before the next item, and the reports take no room of the senders.
    #[test]
    fn losses_of_many_names_take_no_room_of_messages() {
        let mailboxes = Mailboxes::default();
        let reader = open(&mailboxes, Topics::all());
        let named = |name: u64| Life { name: name.to_string().into(), epoch: 1 };
        (0..1024).for_each(|seq| _ = mailboxes.broadcast(&of(1, heard(seq, false))));
        let mut taken = 0;
        for round in 0..600 {
            (0..256).for_each(|name| mailboxes.lose(&named(round * 256 + name), 1));
            taken += usize::from(mailboxes.deliver(&of(2, item("t", 1))) == TAKEN);
        }
        let read = kinds(&reader);
        let lost = read.iter().filter_map(|read| read.as_ref().err()).sum::<u64>();
        assert_eq!((taken, lost), (600, 600 * 256));
        let notices = read.iter().filter(|read| read.is_err()).count();
        assert!(notices <= MAX_APART + 600, "one before each message once they are too many: {notices}");
    }

    #[test]
    fn a_large_message_takes_no_place_of_a_small_one() {
        let mailboxes = Mailboxes::default();
        let reader = open(&mailboxes, "t");
        (1..=EACH as u64).for_each(|seq| assert_eq!(mailboxes.broadcast(&heard(seq, true)), 0));
        for seq in 0..EACH as u64 {
            mailboxes.broadcast(&Item { payload: vec![0; 1 << 20].into(), ..heard(2000 + seq, true) });
            mailboxes.0.publish(|mailbox| {
                let bytes = mailbox.broadcasts.all().1;
                assert!(bytes <= MAX_UNREAD_BYTES + EACH * MAX_SMALL, "{bytes}");
            });
        }
        drop(reader);
    }

    #[test]
    fn the_bytes_of_a_mailbox_are_bounded() {
        let mailboxes = Mailboxes::default();
        let reader = open(&mailboxes, Topics::all());
        for _ in 0..4 {
            assert_eq!(mailboxes.deliver(&item("t", 1 << 20)), TAKEN);
        }
        assert_eq!(mailboxes.deliver(&item("t", 1)), (Status::Busy, 0));
        assert_eq!(reader.try_recv(), Ok(message("t", 1 << 20)));
        assert_eq!(mailboxes.deliver(&item("t", 1)), TAKEN);
    }
}
