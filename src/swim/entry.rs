//! The entries of a recording: a node's inputs and outputs.

use std::{borrow::Cow, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

use super::{
    event::Output,
    join::JoinOrigin,
    remove::Removal,
    stored::{DestinationForm, JoinOriginForm, StreamFailureForm, StreamIdForm, StreamStepForm},
    stream::{StreamFailure, StreamId, StreamStep},
    timers::Timer,
    transmit::Destination,
};
use crate::wire::Tags;

/// Longer datagrams and frames of the node itself are recorded as a checksum: it writes them again when it is replayed.
const MAX_WHOLE: usize = 4096;

/// One entry of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry<'a> {
    /// An input, this many nanoseconds after the one before.
    Given(i64, #[serde(borrow)] Cow<'a, Input<'a>>),
    Gave(#[serde(borrow)] RecordedOutput<'a>),
}

/// An input of a node: each variant stands for the method of [`Node`](super::Node) with its name. Polls are among them where
/// they change the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Input<'a> {
    /// `handle_datagram`.
    Datagram {
        /// The source address.
        from: SocketAddr,
        /// The packet, in the clear.
        #[serde(borrow, serialize_with = "as_bytes")]
        bytes: &'a [u8],
    },
    /// `handle_timeout`.
    Timeout,
    /// `poll_stream`.
    PollStream(#[serde(with = "StreamIdForm")] StreamId),
    /// `handle_frame`.
    Frame {
        /// The stream that it arrived in.
        #[serde(with = "StreamIdForm")]
        stream: StreamId,
        /// The packet in it, in the clear.
        #[serde(borrow, serialize_with = "as_bytes")]
        bytes: &'a [u8],
    },
    /// `accept_stream`.
    AcceptStream {
        /// The address of the other side.
        from: SocketAddr,
    },
    /// `stream_began`.
    StreamBegan(#[serde(with = "StreamIdForm")] StreamId),
    /// `handle_stream_failure`.
    StreamFailed(
        #[serde(with = "StreamIdForm")] StreamId,
        #[serde(with = "StreamFailureForm")] StreamFailure,
    ),
    /// `join_while_resolving`.
    Join {
        /// The driver's identifier of the join.
        ticket: u64,
        /// The addresses that are known already.
        addrs: Cow<'a, [SocketAddr]>,
        /// The number of look-ups that follow.
        lookups: usize,
    },
    /// `seek_seeds`.
    SeekSeeds,
    /// `seek_seeds_later`.
    SeekSeedsLater,
    /// `handle_seeds_while_resolving`.
    Seeds {
        /// The addresses that are known already.
        addrs: Cow<'a, [SocketAddr]>,
        /// The number of look-ups that follow.
        lookups: usize,
    },
    /// `handle_lookup`.
    Lookup {
        /// The origin of the join.
        #[serde(with = "JoinOriginForm")]
        origin: JoinOrigin,
        /// The addresses that were found.
        addrs: Cow<'a, [SocketAddr]>,
        /// The number of further look-ups that came of it.
        more: usize,
    },
    /// `set_tags`.
    SetTags(Tags),
    /// `set_addr`.
    SetAddr(SocketAddr),
    /// `set_address_present`.
    AddressPresent(bool),
    /// `leave`.
    Leave,
    /// `remove`.
    Remove(Cow<'a, str>, Removal),
    /// The data layer needs this many bytes in packets.
    WantRoom(usize),
    /// The data layer needs a member's token, which this node lacks.
    AskForToken {
        /// Its name.
        name: Cow<'a, str>,
        /// The epoch of its life.
        epoch: u64,
    },
    /// The data layer opens a stream to a member.
    OpenDataStream {
        /// Its name.
        name: Cow<'a, str>,
        /// The epoch of its life.
        epoch: u64,
        /// How long the stream may take.
        timeout: Duration,
    },
    /// The data layer closes a stream.
    CloseDataStream(#[serde(with = "StreamIdForm")] StreamId),
    /// `rejoin`.
    Rejoin {
        /// The epoch of the earlier life.
        epoch: u64,
        /// Its members, with their addresses.
        members: Vec<(Cow<'a, str>, SocketAddr)>,
    },
    /// A timeout of a process whose sends block, with the loops that wait: only in the simulator.
    #[doc(hidden)]
    TimeoutBlocked(Vec<BlockedLoop>),
}

/// One of the loops of a process whose sends block.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[doc(hidden)]
pub struct BlockedLoop(pub(super) Timer);

/// An output of a node as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum RecordedOutput<'a> {
    /// A datagram.
    Datagram(#[serde(with = "DestinationForm")] Destination, #[serde(borrow)] RecordedBytes<'a>),
    /// The waiting datagram turned out to be unnecessary.
    NoDatagram,
    /// Something to do, or to pass on.
    Output(#[serde(with = "super::stored::cow")] Cow<'a, Output>),
    /// How a stream goes on, with the frame to send.
    Stream(#[serde(with = "StreamStepForm")] StreamStep, #[serde(borrow)] Option<RecordedBytes<'a>>),
}

/// Bytes that a node wrote, as they are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RecordedBytes<'a> {
    /// All of them.
    Whole(#[serde(borrow, serialize_with = "as_bytes")] &'a [u8]),
    /// The number of bytes, and their CRC-32.
    Checksum(usize, u32),
}

impl<'a> RecordedBytes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        match bytes.len() {
            ..=MAX_WHOLE => Self::Whole(bytes),
            len => Self::Checksum(len, crc32fast::hash(bytes)),
        }
    }
}

/// At once, not byte by byte.
fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}
