//! Messages and requests to one member, and this node's inboxes.

use std::{fmt, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use serde::{Deserialize, Serialize};

use super::handle::Gossip;
use crate::{
    EndedBy, Error, MemberState, MessageKind, QueryProblem, Topics,
    collections::fanout::Subscription,
    data::messages::{AskKind, Item, MAX_MESSAGE, Mailbox, NewAsk, NotAsked, Settled, TooMany, Unread},
    reader::{Reader, reads},
    swim::Life,
    wire::data::is_topic,
};

/// One life of a member. A member that restarts has the same name and a greater epoch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemberLife {
    /// Its name.
    pub name: Arc<str>,
    /// Its epoch: its start time in milliseconds since 1970, or a greater number if other members knew of a later life.
    pub epoch: u64,
}

impl MemberLife {
    pub(super) fn of(life: Life) -> Self {
        Self { name: life.name, epoch: life.epoch }
    }
}

/// Its name.
impl fmt::Display for MemberLife {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::Escaped(&self.name).fmt(f)
    }
}

/// Identifies a broadcast among all of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BroadcastId {
    /// The life that sent it.
    pub from: MemberLife,
    /// Its number, which the sender counts from 1 in each of its lives.
    pub seq: u64,
}

/// As `name.epoch.seq`.
impl fmt::Display for BroadcastId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.from, self.from.epoch, self.seq)
    }
}

/// A message that a member sent or broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Message {
    /// The life that sent it.
    pub from: MemberLife,
    /// The topic that it was sent to.
    pub topic: Arc<str>,
    /// Its content.
    pub payload: Arc<[u8]>,
    /// Whether it was sent to this node alone, or broadcast.
    pub kind: MessageKind,
}

impl Message {
    /// The identity of the [broadcast](Gossip::broadcast), if it is one: the same at every member, and at its sender.
    #[must_use]
    pub fn broadcast_id(&self) -> Option<BroadcastId> {
        match self.kind {
            MessageKind::Broadcast { seq, .. } => Some(BroadcastId { from: self.from.clone(), seq }),
            MessageKind::Sent => None,
        }
    }
}

/// An item of an [`Inbox`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InboxItem {
    /// A message.
    Message(Message),
    /// Messages or broadcasts were lost for this inbox: it was full, or broadcasts never arrived. The program must read
    /// again whatever depends on them. Only inboxes that receive broadcasts report broadcasts that never arrived.
    #[non_exhaustive]
    Lost {
        /// The member that sent them. Losses of more than 256 members at a time are reported together, as `None`.
        from: Option<MemberLife>,
        /// How many were lost, of any topic.
        count: u64,
    },
}

impl InboxItem {
    /// The message, if it is one.
    #[must_use]
    pub fn into_message(self) -> Option<Message> {
        match self {
            Self::Message(message) => Some(message),
            Self::Lost { .. } => None,
        }
    }

    fn of(unread: Unread) -> Self {
        match unread {
            Unread::Message(Item { from, topic, payload, kind, .. }) => {
                Self::Message(Message { from: MemberLife::of(from), topic, payload, kind })
            }
            Unread::Lost { from, count } => Self::Lost { from: from.map(MemberLife::of), count },
        }
    }
}

/// The answer to a [request](Gossip::request).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The life that answered.
    pub from: MemberLife,
    /// The content of the answer.
    pub payload: Arc<[u8]>,
    /// The time from the call to the answer.
    pub took: Duration,
}

impl Gossip {
    /// Sends a message to a member: `Ok` means that it is in the mailboxes of that member's [inboxes](Self::inbox) for
    /// `topic`, once. The payload is at most 1 MiB. Waits at most [`stream_timeout`](crate::swim::Config::stream_timeout);
    /// see [`send_within`](Self::send_within).
    ///
    /// Messages from one thread to one member that returned `Ok` arrive in order. A message that was
    /// [`Unanswered`](Error::Unanswered) may still arrive later: a process that was stopped reads waiting messages when it
    /// goes on. Up to a thousand concurrent calls, 128 to one member, take turns, and none fails early because of others. A
    /// message to this node itself is delivered as well.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let a = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// let b = Gossip::start(GossipConfig::local("b").bind("127.0.0.1:0"))?;
    /// b.join([a.local().addr.to_string()])?;
    /// let inbox = b.inbox("jobs")?;
    /// a.send("b", "jobs", b"sweep the floor")?;
    /// let message = inbox.recv().expect("the node runs").into_message().expect("nothing is lost");
    /// assert_eq!((&*message.from.name, &*message.payload), ("a", &b"sweep the floor"[..]));
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownMember`], [`Error::NotLive`], [`Error::NotReached`], [`Error::NoReader`], [`Error::Busy`] or
    /// [`Error::TooLarge`]: it was not delivered. [`Error::Unanswered`]: it may have been delivered, or may be delivered
    /// later. [`Error::Invalid`] if `topic` has not 1 to 64 bytes or has characters that break or disguise a line (control
    /// characters, line separators, changes of direction), or the time is 0. [`Error::Left`] if this node has left:
    /// nothing was sent; if it leaves during the call, `Left` or [`Error::Unanswered`] at once. [`Error::Stopped`] or
    /// [`Error::Panicked`] if it has ended; if it ends during the call, the message may have been delivered.
    pub fn send(&self, member: &str, topic: &str, payload: impl AsRef<[u8]>) -> Result<(), Error> {
        self.send_within(member, topic, payload, self.running.config.stream_timeout)
    }

    /// As [`send`](Self::send), but waits at most `limit`. A message that does not fit in a datagram goes by a stream, which
    /// takes at most the [`stream_timeout`](crate::swim::Config::stream_timeout) of either node, and is begun again until
    /// the time is over: over a link that carries 1 Mbit/s, a message of 1 MiB needs a `stream_timeout` of 10 s.
    ///
    /// # Errors
    /// As `send`.
    pub fn send_within(
        &self,
        member: &str,
        topic: &str,
        payload: impl AsRef<[u8]>,
        limit: Duration,
    ) -> Result<(), Error> {
        self.ask(AskKind::Message, member, topic, payload.as_ref(), limit).map(drop)
    }

    /// Sends a request to a member, and waits for the answer of its application, which [serves](Self::serve) `topic`.
    /// Request and answer are at most 1 MiB long; long ones need a stream for each, as in
    /// [`send_within`](Self::send_within).
    ///
    /// Each node answers `syncswim/ping` with an empty payload, and `syncswim/info` with lines of `key=value` about itself.
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
    /// let answer = a.request("b", "double", b"ab", Duration::from_secs(5))?;
    /// assert_eq!(&*answer.payload, b"abab");
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Error::Refused`] if the application there refuses the request or drops it unanswered.
    /// [`Error::Unanswered`] is the error after `limit`, and if the member fails, restarts or leaves meanwhile.
    pub fn request(
        &self,
        member: &str,
        topic: &str,
        payload: impl AsRef<[u8]>,
        limit: Duration,
    ) -> Result<Answer, Error> {
        self.ask(AskKind::Request, member, topic, payload.as_ref(), limit)
    }

    /// An inbox for the messages that others [send](Self::send) or [broadcast](Self::broadcast) to these topics, from now on: one
    /// topic, as `"jobs"`, or [`Topics::prefix`], or [`Topics::all`]. Each of several inboxes for a topic gets its messages.
    ///
    /// An inbox holds up to 1,024 unread messages of one host, and about 4 MiB of them, but no more than the messages of all
    /// hosts leave free of 2,048 and of 8 MiB; and as many broadcasts. Messages that arrive while it is full are lost for
    /// it, and [`InboxItem::Lost`] says how many; other inboxes receive them. If all inboxes for the topic are full, the
    /// sender of a message gets [`Error::Busy`] instead. Dropping an inbox cancels it.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// let inbox = node.inbox("jobs")?;
    /// node.send("a", "jobs", b"sweep the floor")?;
    /// let message = inbox.recv().expect("the node runs").into_message().expect("nothing is lost");
    /// assert_eq!(&*message.payload, b"sweep the floor");
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Busy`] if there are 64 inboxes; [`Error::Stopped`] or [`Error::Panicked`] if the node has ended.
    pub fn inbox(&self, topics: impl Into<Topics>) -> Result<Inbox, Error> {
        self.running.check_running()?;
        let topics = topics.into();
        let inbox = self.running.node.call(|endpoint, _| endpoint.open_inbox(topics));
        let too_many = || {
            let remedy = "drop some, or open one for a prefix of topics";
            Error::busy(None, "64 inboxes", remedy)
        };
        Ok(Inbox(inbox.ok_or_else(too_many)?))
    }

    fn ask(
        &self,
        kind: AskKind,
        member: &str,
        topic: &str,
        payload: &[u8],
        within: Duration,
    ) -> Result<Answer, Error> {
        self.check_asking(topic, payload, ("limit", within))?;
        let (caller, result) = bounded(1);
        let new = NewAsk { kind, topic: topic.into(), payload: payload.into(), within };
        let begun = self.running.node.call(|endpoint, now| endpoint.ask(now, member, new, caller));
        begun.map_err(|not_asked| not_asked_error(member, not_asked))?;
        self.running.node.wake();
        let Settled { to, outcome, took } = result.recv().map_err(|_| self.running.node.ended())?;
        match outcome {
            Ok(payload) => Ok(Answer { from: MemberLife::of(to), payload, took }),
            Err(why) => Err(error_of(why, kind, member, topic, payload.len(), took)),
        }
    }

    /// `what` is the caller's name for the time to wait.
    pub(super) fn check_asking(
        &self,
        topic: &str,
        payload: &[u8],
        (what, time): (&'static str, Duration),
    ) -> Result<(), Error> {
        check_topic(topic)?;
        check_size(payload)?;
        check_time(what, time)?;
        self.running.check_present()
    }
}

pub(super) fn check_topic(topic: &str) -> Result<(), Error> {
    match is_topic(topic) {
        true => Ok(()),
        false => Err(Error::invalid("topic", "must have 1 to 64 bytes without control characters")),
    }
}

pub(super) fn check_time(what: &'static str, time: Duration) -> Result<(), Error> {
    match time.is_zero() {
        true => Err(Error::invalid(what, "must be longer than 0: nobody can answer in no time")),
        false => Ok(()),
    }
}

pub(super) fn check_size(payload: &[u8]) -> Result<(), Error> {
    match payload.len() {
        ..=MAX_MESSAGE => Ok(()),
        size => Err(too_large(size)),
    }
}

fn too_large(size: usize) -> Error {
    Error::too_large("bytes of payload", (size, MAX_MESSAGE), "send it in parts")
}

pub(super) fn too_many(too_many: TooMany) -> Error {
    let limit = match too_many {
        TooMany::Asks => "1,024 messages and requests that are not answered yet",
        TooMany::ToMember => "128 messages and requests to one member that are not answered yet",
        TooMany::Queries => "16 queries that are not over",
    };
    Error::busy(None, limit, "wait for some of them")
}

fn not_asked_error(member: &str, not_asked: NotAsked) -> Error {
    let name = member.to_owned();
    match not_asked {
        NotAsked::Unknown => Error::UnknownMember { name },
        NotAsked::NotLive(MemberState::Left) => Error::NotLive { name, ended_by: EndedBy::Leave },
        NotAsked::NotLive(_) => Error::NotLive { name, ended_by: EndedBy::Failure },
        NotAsked::TooMany(what) => too_many(what),
    }
}

/// The error of a message or a request that was not answered.
fn error_of(
    why: QueryProblem,
    kind: AskKind,
    member: &str,
    topic: &str,
    size: usize,
    took: Duration,
) -> Error {
    let name = member.to_owned();
    let (limit, remedy) = match kind {
        AskKind::Message => {
            ("1,024 messages and 4 MiB of them in an inbox", "have it read faster, or try again later")
        }
        _ => (
            "256 requests and 4 MiB of them that wait for a topic",
            "have it answer faster, or ask another member",
        ),
    };
    match why {
        QueryProblem::NoReader => Error::NoReader { name, topic: topic.into() },
        QueryProblem::Busy => Error::busy(Some(name), limit, remedy),
        QueryProblem::TooLarge => too_large(size),
        QueryProblem::Refused { reason } => Error::Refused { name, reason },
        QueryProblem::Dropped => Error::Refused { name, reason: "it dropped the request unanswered".into() },
        QueryProblem::NotReached { ended_by: EndedBy::Abandoned } => Error::Left,
        QueryProblem::NotReached { ended_by } => Error::NotReached { name, took, ended_by },
        QueryProblem::Silent { ended_by } => Error::Unanswered { name, took, ended_by },
    }
}

/// A subscription to messages, from [`Gossip::inbox`]. Dropping it cancels it. Threads may share it by reference; each item
/// then goes to one of them.
#[derive(Debug)]
#[must_use = "dropping it cancels the inbox"]
pub struct Inbox(Subscription<Mailbox>);

impl Reader for Inbox {
    type Item = InboxItem;

    fn receiver(&self) -> &Receiver<()> {
        self.0.receiver()
    }

    fn try_recv(&self) -> Result<InboxItem, TryRecvError> {
        self.0.try_recv().map(InboxItem::of)
    }
}

reads!(Inbox, InboxItem, "message or loss", "the node has ended and everything was read");
