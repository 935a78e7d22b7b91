//! A packet: header, then sections. Datagrams and stream frames share it.
//!
//! ```text
//! 0        version (3)
//! 1..5     cluster mark, u32 LE
//! 5..9     CRC-32 (IEEE) of bytes 0..5 and 9.., u32 LE
//! 9..13    mark of the sender's name, u32 LE
//! 13..17   the token that the receiver gave to the sender, u32 LE; 0 for none
//! 17..     sections: tag u8 · body length, LEB128 in 1–2 bytes · body (postcard)
//! ```
//!
//! A reader skips sections whose tag it does not know and ignores bytes behind the fields it knows, so both
//! can be added without a new version.

use serde::Serialize;

use super::{
    data::{self, DataMessage},
    message::{Ack, Body, Carried, Malformed, Message, Nack, Ping, PingReq, Retry},
};

/// The version of the layout above and of the messages' meaning.
pub(crate) const VERSION: u8 = 3;
/// Bytes before the first section.
pub(crate) const HEADER: usize = 17;
/// Where the part begins that the checksum covers as a whole.
const CHECKED: usize = 9;
/// The longest body that a two-byte length can announce.
const MAX_BODY: usize = (1 << 14) - 1;

/// Why a packet was dropped before any of its sections was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reject {
    Short,
    Version,
    Cluster,
    Checksum,
}

/// The sender of a packet, and its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) cluster: u32,
    /// The mark of the sender's name: [`hash::member`](super::hash::member).
    pub(crate) sender: u32,
    /// The token that the receiver gave to the sender; 0 for none.
    pub(crate) token: u32,
}

impl Header {
    /// For packets whose sender does not matter.
    #[cfg(any(test, feature = "encryption"))]
    pub(crate) fn anonymous(cluster: u32) -> Self {
        Self { cluster, sender: 0, token: 0 }
    }
}

/// Checks the header; the sections are then decoded one by one, as they are asked for.
pub(crate) fn open(bytes: &[u8], cluster: u32) -> Result<(Header, Sections<'_>), Reject> {
    let (header, rest) = split(bytes, cluster)?;
    if header[5..9] != checksum(&header[..5], &bytes[CHECKED..]).to_le_bytes() {
        return Err(Reject::Checksum);
    }
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    Ok((Header { cluster, sender: word(9), token: word(13) }, Sections { rest }))
}

/// The sections of a packet that was [opened](open) before.
pub(crate) fn sections(bytes: &[u8]) -> Sections<'_> {
    Sections { rest: bytes.get(HEADER..).unwrap_or_default() }
}

/// Header and rest of a packet of this version and cluster, whose checksum may be wrong.
fn split(bytes: &[u8], cluster: u32) -> Result<(&[u8], &[u8]), Reject> {
    let (header, rest) = bytes.split_at_checked(HEADER).ok_or(Reject::Short)?;
    if header[0] != VERSION {
        return Err(Reject::Version);
    }
    if header[1..5] != cluster.to_le_bytes() {
        return Err(Reject::Cluster);
    }
    Ok((header, rest))
}

/// Why a packet would be dropped by the look of its header, before any of it is decoded: for the log.
pub(crate) fn foreign(bytes: &[u8], cluster: u32) -> Option<Reject> {
    split(bytes, cluster).err().filter(|reject| *reject != Reject::Short)
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(body);
    crc.finalize()
}

/// The sections of a packet. After a malformed length the rest is unreadable and the iteration ends.
#[derive(Debug, Clone)]
pub(crate) struct Sections<'a> {
    rest: &'a [u8],
}

/// One section, not yet decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'a> {
    tag: u8,
    body: &'a [u8],
}

impl<'a> Section<'a> {
    /// Whether it is a claim about a member, known or from the future.
    pub(crate) fn is_claim(self) -> bool {
        (0x10..0x20).contains(&self.tag)
    }

    /// Whether it says that the rest of the frame stands for a datagram.
    pub(crate) fn opens_datagram(self) -> bool {
        self.tag == Carried::TAG
    }

    /// Whether it asks for something or answers: such a section counts only at the front of a datagram. One with an unknown
    /// tag is skipped.
    pub(crate) fn stands_first(self) -> bool {
        matches!(self.tag, Ping::TAG | Ack::TAG | PingReq::TAG | Nack::TAG | Retry::TAG)
    }

    /// Whether it is for the data layer: see [`data`].
    pub(crate) fn is_data(self) -> bool {
        data::is_data(self.tag)
    }

    /// Its tag and its body.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn parts(self) -> (u8, &'a [u8]) {
        (self.tag, self.body)
    }

    /// Whether it answers a ping.
    pub(crate) fn is_ack(self) -> bool {
        self.tag == Ack::TAG
    }

    /// Decodes the body of such a section; `None` for an unknown tag.
    pub(crate) fn data_message(self) -> Result<Option<DataMessage<'a>>, Malformed> {
        DataMessage::decode(self.tag, self.body)
    }

    /// Decodes the body; `None` for an unknown tag.
    pub(crate) fn message(self) -> Result<Option<Message<'a>>, Malformed> {
        Message::decode(self.tag, self.body)
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = Result<Section<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.rest.split_first()?;
        let split = split_body(rest);
        self.rest = split.map_or(&[], |(_, rest)| rest);
        Some(split.map(|(body, _)| Section { tag, body }).ok_or(Malformed))
    }
}

fn split_body(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&low, rest) = bytes.split_first()?;
    if low < 0x80 {
        return rest.split_at_checked(usize::from(low));
    }
    let (&high, rest) = rest.split_first()?;
    if high >= 0x80 {
        return None;
    }
    rest.split_at_checked(usize::from(low & 0x7f) | usize::from(high) << 7)
}

/// Builds one packet in a caller's buffer, never longer than its limit.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    buffer: &'a mut Vec<u8>,
    len: usize,
    /// Bytes at the end that stay free.
    kept: usize,
}

impl<'a> Writer<'a> {
    /// Starts a packet of at most `limit` bytes; `buffer` is overwritten and its memory reused.
    pub(crate) fn new(buffer: &'a mut Vec<u8>, header: Header, limit: usize) -> Self {
        buffer.resize(limit.max(HEADER), 0);
        buffer[0] = VERSION;
        buffer[1..5].copy_from_slice(&header.cluster.to_le_bytes());
        buffer[9..13].copy_from_slice(&header.sender.to_le_bytes());
        buffer[13..17].copy_from_slice(&header.token.to_le_bytes());
        Self { buffer, len: HEADER, kept: 0 }
    }

    /// Goes on with a packet that was finished, up to `limit` bytes.
    pub(crate) fn resume(buffer: &'a mut Vec<u8>, limit: usize) -> Self {
        let len = buffer.len();
        buffer.resize(limit.max(len), 0);
        Self { buffer, len, kept: 0 }
    }

    /// Keeps this many bytes free from now on.
    pub(crate) fn keep(&mut self, bytes: usize) {
        self.kept = bytes.min(self.buffer.len() - self.len);
    }

    /// Appends a section, or leaves the packet as it was and returns false if it does not fit.
    pub(crate) fn push<T: Serialize>(&mut self, tag: u8, body: &T) -> bool {
        let end = self.buffer.len() - self.kept;
        let Some(room) = self.buffer.get_mut(self.len..end).filter(|room| room.len() >= 2) else {
            return false;
        };
        let Ok(written) = postcard::to_slice(body, &mut room[2..]) else { return false };
        let size = written.len();
        if size < 0x80 {
            room[1] = size as u8;
            self.len += 2 + size;
        } else {
            if size > MAX_BODY || room.len() < 3 + size {
                return false;
            }
            room.copy_within(2..2 + size, 3);
            room[1] = (size & 0x7f) as u8 | 0x80;
            room[2] = (size >> 7) as u8;
            self.len += 3 + size;
        }
        room[0] = tag;
        true
    }

    /// Bytes still free.
    pub(crate) fn room(&self) -> usize {
        self.buffer.len() - self.kept - self.len
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether no section was added.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == HEADER
    }

    /// Seals the packet: the buffer then holds exactly its bytes.
    pub(crate) fn finish(self) {
        self.buffer.truncate(self.len);
        let (head, body) = self.buffer.split_at_mut(CHECKED);
        let crc = checksum(&head[..5], body);
        head[5..9].copy_from_slice(&crc.to_le_bytes());
    }
}
