//! The messages of the data layer: messages and requests, broadcasts, key–values. One section each.
//!
//! Their tags are a range of their own, which the protocol under them hands up unread (see [`is_data`]).

use serde::{Deserialize, Serialize};

use super::{
    hash::BUCKETS,
    message::{is_name, messages},
};

/// The longest topic of a message, a request or a broadcast, and the longest key, in bytes.
pub(crate) const MAX_TOPIC: usize = 64;
/// The longest payload of a broadcast, and the longest value that travels by datagram, in bytes.
pub(crate) const MAX_SMALL: usize = 512;
/// The longest value of a key, in bytes: it fits in one section.
pub(crate) const MAX_VALUE: usize = 15 << 10;
/// The most of a payload that one [`Chunk`] holds, in bytes.
pub(crate) const MAX_CHUNK: usize = 15 << 10;
/// Bytes of the numbers that a [`BroadcastHead`] knows of above the first that is missing.
pub(crate) const WINDOW: usize = 32;

/// Whether a section with this tag is of this module.
pub(crate) fn is_data(tag: u8) -> bool {
    (0x50..0x70).contains(&tag)
}

/// "Take this message", or "answer this request": to one life of one member, which takes in each once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ask<'a> {
    /// The life of the sender in which it was begun.
    pub(crate) epoch: u64,
    /// Concurrent asks of the sender to this receiver have different slots.
    pub(crate) slot: u8,
    /// The sender counts its asks. Those of a slot follow each other: one ends what came before it there.
    pub(crate) id: u64,
    /// The epoch of the receiver that is meant.
    pub(crate) life: u64,
    /// 0 a message, 1 a request, 2 asks what became of it.
    pub(crate) kind: u8,
    /// For how long the sender waits.
    pub(crate) within_ms: u32,
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
}

/// The outcome of an [`Ask`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer<'a> {
    /// As in the ask.
    pub(crate) epoch: u64,
    pub(crate) id: u64,
    /// `data::messages` says what each means.
    pub(crate) status: u8,
    pub(crate) payload: &'a [u8],
}

/// Something for every member.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Broadcast<'a> {
    pub(crate) origin: &'a str,
    /// Which life of the origin.
    pub(crate) epoch: u64,
    /// The origin counts them, from 1 in each of its lives.
    pub(crate) seq: u64,
    /// Orders the broadcasts of all origins.
    pub(crate) stamp: u64,
    /// 1: a reader that is behind may see the newest of its topic alone; 2: receivers confirm it.
    pub(crate) flags: u8,
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
}

/// "Your broadcast has arrived": to its origin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Confirm {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

/// A key of the map that a member owns, with its value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyValue<'a> {
    pub(crate) owner: &'a str,
    /// Which life of the owner.
    pub(crate) epoch: u64,
    /// The owner counts its changes, from 1 in each of its lives.
    pub(crate) version: u64,
    /// A node that knows the map up to `version − step` knows it up to `version` afterwards. 0: that is not known.
    pub(crate) step: u64,
    /// Orders the changes of all owners.
    pub(crate) stamp: u64,
    /// 1: the key is deleted; 2: the value is not here, as it is too long for a datagram.
    pub(crate) flags: u8,
    pub(crate) key: &'a str,
    pub(crate) value: &'a [u8],
}

/// "So much do I know of broadcasts and key–values": behind an ack, from one member to another, while either is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct DataDigest {
    #[serde(with = "postcard::fixint::le")]
    pub(crate) broadcasts: u64,
    #[serde(with = "postcard::fixint::le")]
    pub(crate) key_values: u64,
}

/// Opens a stream for an [`Ask`] whose payload follows in [`Chunk`]s.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct AskHead<'a> {
    pub(crate) epoch: u64,
    pub(crate) slot: u8,
    pub(crate) id: u64,
    pub(crate) life: u64,
    pub(crate) kind: u8,
    pub(crate) within_ms: u32,
    pub(crate) topic: &'a str,
    /// Bytes of the whole payload.
    pub(crate) length: u32,
}

/// The next bytes of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chunk<'a> {
    pub(crate) bytes: &'a [u8],
}

/// The [`Answer`] in a stream; its payload follows in [`Chunk`]s.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct AnswerHead {
    pub(crate) epoch: u64,
    pub(crate) id: u64,
    pub(crate) status: u8,
    /// Bytes of the whole payload.
    pub(crate) length: u32,
}

/// Opens a stream in which two members bring each other up to date. Heads follow, then [`DataEnd`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct DataHello {
    #[serde(with = "postcard::fixint::le")]
    pub(crate) broadcasts: u64,
    #[serde(with = "postcard::fixint::le")]
    pub(crate) key_values: u64,
}

/// Which broadcasts of a life of an origin the sender knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BroadcastHead<'a> {
    pub(crate) origin: &'a str,
    pub(crate) epoch: u64,
    /// All up to this number are known.
    pub(crate) below: u64,
    /// Numbers above it that are known have their bits set, the first bit for `below + 2`. [`WINDOW`] bytes at most.
    pub(crate) above: &'a [u8],
}

/// A digest of the maps of the live owners in each bucket of the members' table, of which there are [`BUCKETS`]:
/// 8 bytes each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyValueBuckets<'a> {
    pub(crate) digests: &'a [u8],
}

/// How far the sender knows the map of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyValueHead<'a> {
    pub(crate) owner: &'a str,
    pub(crate) epoch: u64,
    pub(crate) version: u64,
}

/// "What follows of this owner makes you know its map up to this version." [`KeyValue`]s follow.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyValueDelta<'a> {
    pub(crate) owner: &'a str,
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    /// The highest version of a deletion that the owner has forgotten: a node that knows less forgets the map first.
    pub(crate) floor: u64,
}

/// The sender has said all; the other side's turn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct DataEnd {}

messages! {
    /// Any message between members, decoded and checked against the limits.
    DataMessage:
    80 Ask<'a>,
    81 Answer<'a>,
    82 Broadcast<'a>,
    83 Confirm,
    84 KeyValue<'a>,
    85 DataDigest,
    96 AskHead<'a>,
    97 Chunk<'a>,
    98 AnswerHead,
    99 DataHello,
    100 BroadcastHead<'a>,
    101 KeyValueHead<'a>,
    102 KeyValueDelta<'a>,
    103 DataEnd,
    104 KeyValueBuckets<'a>,
}

impl DataMessage<'_> {
    fn is_within_limits(&self) -> bool {
        match self {
            Self::Ask(m) => is_topic(m.topic),
            Self::Broadcast(m) => is_name(m.origin) && is_topic(m.topic) && m.payload.len() <= MAX_SMALL,
            Self::KeyValue(m) => is_name(m.owner) && is_topic(m.key) && m.value.len() <= MAX_VALUE,
            Self::AskHead(m) => is_topic(m.topic),
            Self::Chunk(m) => m.bytes.len() <= MAX_CHUNK,
            Self::BroadcastHead(m) => is_name(m.origin) && m.above.len() <= WINDOW,
            Self::KeyValueBuckets(m) => m.digests.len() <= BUCKETS * 8,
            Self::KeyValueHead(m) => is_name(m.owner),
            Self::KeyValueDelta(m) => is_name(m.owner),
            Self::Answer(_)
            | Self::Confirm(_)
            | Self::DataDigest(_)
            | Self::AnswerHead(_)
            | Self::DataHello(_)
            | Self::DataEnd(_) => true,
        }
    }
}

/// A topic or a key: 1 to 64 bytes, without characters that would forge lines in logs.
pub(crate) fn is_topic(topic: &str) -> bool {
    topic.len() <= MAX_TOPIC && is_name(topic)
}
