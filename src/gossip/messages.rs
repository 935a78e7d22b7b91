//! Messages and requests to one member, and the mailboxes of this one.

use std::{fmt, iter::FusedIterator, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, TryRecvError, bounded};

use super::handle::Gossip;
use crate::{
    Error, MessageKind, Topics,
    data::messages::{AskKind, Item, MAX_MESSAGE, Mailbox, NewAsk, NotAsked, Outcome, Settled},
    membership::fanout::Subscription,
    swim::Life,
    wire::data::is_topic,
};

/// Who sent something: one life of a member. A member that restarts has its name still, and a greater epoch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Sender {
    /// Its name.
    pub name: Arc<str>,
    /// Which life of it: its start, in milliseconds since 1970.
    pub epoch: u64,
}

impl Sender {
    pub(super) fn of(life: Life) -> Self {
        Self { name: life.name, epoch: life.epoch }
    }
}

/// Its name.
impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::Escaped(&self.name).fmt(f)
    }
}

/// A message that a member sent or broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Who sent it.
    pub from: Sender,
    /// What it was sent to.
    pub topic: Arc<str>,
    /// What it says.
    pub payload: Arc<[u8]>,
    /// How it came.
    pub kind: MessageKind,
}

/// The answer to a [request](Gossip::request).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// Who answered.
    pub from: Sender,
    /// What it said.
    pub payload: Arc<[u8]>,
    /// How long it took.
    pub took: Duration,
}

impl Gossip {
    /// Sends a message to a member: `Ok` means that it is in the mailboxes of that member's [inboxes](Self::inbox) for `topic`,
    /// once. The payload is at most 1 MiB. Waits at most [`stream_timeout`](crate::swim::Config::stream_timeout); see
    /// [`send_within`](Self::send_within).
    ///
    /// What one thread sends to one member, and what was `Ok`, arrives in order. What was not answered may still arrive later. A message to this node itself is delivered as well.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let a = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// let b = Gossip::start(GossipConfig::local("b").bind("127.0.0.1:0"))?;
    /// b.join([a.local().addr.to_string()])?;
    /// let inbox = b.inbox("jobs");
    /// a.send("b", "jobs", b"sweep the floor")?;
    /// let message = inbox.recv().expect("the node runs");
    /// assert_eq!((&*message.from.name, &*message.payload), ("a", &b"sweep the floor"[..]));
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownMember`], [`Error::NotLive`], [`Error::NotReached`], [`Error::NoReader`], [`Error::Busy`] or
    /// [`Error::TooLarge`]: it was not delivered. [`Error::Unanswered`]: it may have been. [`Error::Config`] if `topic` has not 1 to 64
    /// bytes. [`Error::Left`], [`Error::Stopped`] or [`Error::Panicked`] if this node has left or ended; if it ends during the
    /// call, the message may have been delivered.
    pub fn send(&self, member: &str, topic: &str, payload: &[u8]) -> Result<(), Error> {
        self.send_within(member, topic, payload, self.running.config.stream_timeout)
    }

    /// [`send`](Self::send) that waits this long.
    ///
    /// # Errors
    /// As `send`.
    pub fn send_within(
        &self,
        member: &str,
        topic: &str,
        payload: &[u8],
        limit: Duration,
    ) -> Result<(), Error> {
        self.ask(AskKind::Message, member, topic, payload, limit).map(drop)
    }

    /// Asks a member, and waits for the answer of its application, which [serves](Self::serve) `topic`. Request and answer
    /// are at most 1 MiB long.
    ///
    /// Each node answers `syncswim/ping`, with nothing, and `syncswim/info`, with lines of `key=value` about itself.
    ///
    /// ```
    /// use std::time::Duration;
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let a = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// let b = Gossip::start(GossipConfig::local("b").bind("127.0.0.1:0"))?;
    /// b.join([a.local().addr.to_string()])?;
    /// let requests = b.serve("double")?;
    /// std::thread::spawn(move || {
    ///     for request in &requests {
    ///         let doubled = request.payload().repeat(2);
    ///         request.answer(&doubled).expect("the other waits");
    ///     }
    /// });
    /// let reply = a.request("b", "double", b"ab", Duration::from_secs(5))?;
    /// assert_eq!(&*reply.payload, b"abab");
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Error::Refused`] if the application there refuses it or drops it unanswered.
    /// [`Error::Unanswered`] is the error after `limit`, and if the member fails meanwhile.
    pub fn request(
        &self,
        member: &str,
        topic: &str,
        payload: &[u8],
        limit: Duration,
    ) -> Result<Reply, Error> {
        self.ask(AskKind::Request, member, topic, payload, limit)
    }

    /// A mailbox for the messages that others [send](Self::send) or [broadcast](Self::broadcast) to these topics, from now on: one topic, as `"jobs"`, or
    /// [`Topics::prefix`], or [`Topics::all`]. Each of several inboxes for a topic gets its messages. While an inbox has 1,024
    /// unread messages or 4 MiB of them, their senders get [`Error::Busy`], and broadcasts are lost for it: it is told
    /// [how many](MessageKind::Lost). Dropping it cancels it.
    pub fn inbox(&self, topics: impl Into<Topics>) -> Inbox {
        let topics = topics.into();
        Inbox(self.running.node.call(|endpoint, _| endpoint.open_inbox(topics)))
    }

    fn ask(
        &self,
        kind: AskKind,
        member: &str,
        topic: &str,
        payload: &[u8],
        within: Duration,
    ) -> Result<Reply, Error> {
        self.check_asking(topic, payload)?;
        let (caller, result) = bounded(1);
        let new = NewAsk { kind, topic: topic.into(), payload: payload.into(), within, caller };
        let begun = self.running.node.call(|endpoint, now| endpoint.ask(now, member, new));
        begun.map_err(|not_asked| not_asked_error(member, not_asked))?;
        self.running.node.wake();
        let settled = result.recv().map_err(|_| self.running.node.ended())?;
        reply_of(settled, topic, payload.len())
    }

    pub(super) fn check_asking(&self, topic: &str, payload: &[u8]) -> Result<(), Error> {
        check_topic(topic)?;
        check_size(payload)?;
        self.running.check_present()
    }
}

pub(super) fn check_topic(topic: &str) -> Result<(), Error> {
    match is_topic(topic) {
        true => Ok(()),
        false => Err(Error::config("topic", "must have 1 to 64 bytes without control characters")),
    }
}

pub(super) fn check_size(payload: &[u8]) -> Result<(), Error> {
    match payload.len() {
        ..=MAX_MESSAGE => Ok(()),
        size => Err(too_large(size)),
    }
}

fn too_large(size: usize) -> Error {
    let (what, remedy) = ("bytes of a payload", "split it, or send where to fetch it");
    Error::TooLarge { what, size, limit: MAX_MESSAGE, remedy }
}

fn not_asked_error(member: &str, not_asked: NotAsked) -> Error {
    let name = member.to_owned();
    match not_asked {
        NotAsked::Unknown => Error::UnknownMember { name },
        NotAsked::NotLive(state) => Error::NotLive { name, left: state == crate::MemberState::Left },
        NotAsked::TooMany => Error::Busy {
            what: "this node".into(),
            limit: "128 messages and requests to one member, and 1,024 in all, that are not answered yet",
            remedy: "wait for some of them",
        },
    }
}

/// What became of an ask, for its caller.
pub(super) fn reply_of(
    Settled { to, outcome, took }: Settled,
    topic: &str,
    size: usize,
) -> Result<Reply, Error> {
    let name = to.name.to_string();
    match outcome {
        Outcome::Taken => Ok(Reply { from: Sender::of(to), payload: Arc::default(), took }),
        Outcome::Answered(payload) => Ok(Reply { from: Sender::of(to), payload, took }),
        Outcome::NoReader => Err(Error::NoReader { name, topic: topic.into() }),
        Outcome::Busy => Err(Error::Busy {
            what: name,
            limit: "1,024 messages or 256 requests that wait for their reader, and 4 MiB of them,",
            remedy: "have them read faster, or try again later",
        }),
        Outcome::TooLarge => Err(too_large(size)),
        Outcome::Refused(reason) => Err(Error::Refused { name, reason }),
        Outcome::Dropped => Err(Error::Refused { name, reason: "it dropped the request unanswered".into() }),
        Outcome::Silent { sent: false } => Err(Error::NotReached { name, took }),
        Outcome::Silent { sent: true } => Err(Error::Unanswered { name, took }),
        Outcome::Died { sent: true } | Outcome::Left { sent: true } => Err(Error::Unanswered { name, took }),
        Outcome::Died { sent: false } => Err(Error::NotLive { name, left: false }),
        Outcome::Left { sent: false } => Err(Error::NotLive { name, left: true }),
    }
}

/// A mailbox of messages, from [`Gossip::inbox`]. Dropping it cancels it. Threads may share one by reference; each message
/// then goes to one of them.
#[derive(Debug)]
#[must_use = "dropping it cancels the mailbox"]
pub struct Inbox(Subscription<Mailbox>);

fn message_of(Item { from, topic, payload, kind, .. }: Item) -> Message {
    Message { from: Sender::of(from), topic, payload, kind }
}

impl Inbox {
    /// Waits for the next message.
    ///
    /// # Errors
    /// When the node has ended and everything was read.
    pub fn recv(&self) -> Result<Message, RecvError> {
        self.0.recv().map(message_of)
    }

    /// Waits for the next message, at most this long.
    ///
    /// # Errors
    /// After that time, or when the node has ended and everything was read.
    pub fn recv_timeout(&self, limit: Duration) -> Result<Message, RecvTimeoutError> {
        self.0.recv_timeout(limit).map(message_of)
    }

    /// Takes the next message if there is one.
    ///
    /// # Errors
    /// When there is none, or the node has ended and everything was read.
    pub fn try_recv(&self) -> Result<Message, TryRecvError> {
        self.0.try_recv().map(message_of)
    }

    /// Waits for each message until the node ends. `for message in &inbox` does the same.
    pub fn iter(&self) -> &Self {
        self
    }

    /// For `select!`: ready while a message waits; then call [`try_recv`](Self::try_recv) once. After a
    /// disconnection, read on until `try_recv` says so too.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<()> {
        self.0.receiver()
    }
}

impl Iterator for Inbox {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        self.recv().ok()
    }
}

impl FusedIterator for Inbox {}

/// As `for` takes it by reference.
impl Iterator for &Inbox {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        self.recv().ok()
    }
}

impl FusedIterator for &Inbox {}
