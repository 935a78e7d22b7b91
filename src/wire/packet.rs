//! A packet: header, then sections. Datagrams and stream frames share it.
//!
//! ```text
//! 0        version (1)
//! 1..5     cluster mark, u32 LE
//! 5..9     CRC-32 (IEEE) of bytes 0..5 and 9.., u32 LE
//! 9..      sections: tag u8 · body length, LEB128 in 1–2 bytes · body (postcard)
//! ```
//!
//! A reader skips sections whose tag it does not know and ignores bytes behind the fields it knows, so both
//! can be added without a new version.

use serde::Serialize;

use super::message::{Malformed, Message};

/// The version of the layout above and of the messages' meaning.
pub(crate) const VERSION: u8 = 1;
/// Bytes before the first section.
pub(crate) const HEADER: usize = 9;
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

/// Checks the header; the sections are then decoded one by one, as they are asked for.
pub(crate) fn open(bytes: &[u8], cluster: u32) -> Result<Sections<'_>, Reject> {
    let (header, body) = bytes.split_at_checked(HEADER).ok_or(Reject::Short)?;
    if header[0] != VERSION {
        return Err(Reject::Version);
    }
    if header[1..5] != cluster.to_le_bytes() {
        return Err(Reject::Cluster);
    }
    if header[5..9] != checksum(&header[..5], body).to_le_bytes() {
        return Err(Reject::Checksum);
    }
    Ok(Sections { rest: body })
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

    /// Whether it is part of a probe, known or from the future.
    pub(crate) fn is_probe(self) -> bool {
        self.tag < 0x10
    }

    /// Decodes the body; `None` for a tag from the future.
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
}

impl<'a> Writer<'a> {
    /// Starts a packet of at most `limit` bytes; `buffer` is overwritten and its memory reused.
    pub(crate) fn new(buffer: &'a mut Vec<u8>, cluster: u32, limit: usize) -> Self {
        buffer.resize(limit.max(HEADER), 0);
        buffer[0] = VERSION;
        buffer[1..5].copy_from_slice(&cluster.to_le_bytes());
        Self { buffer, len: HEADER }
    }

    /// Appends a section, or leaves the packet as it was and returns false if it does not fit.
    pub(crate) fn push<T: Serialize>(&mut self, tag: u8, body: &T) -> bool {
        let Some(room) = self.buffer.get_mut(self.len..).filter(|room| room.len() >= 2) else { return false };
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
        self.buffer.len() - self.len
    }

    /// Whether no section was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == HEADER
    }

    /// Seals the packet: the buffer then holds exactly its bytes.
    pub(crate) fn finish(self) {
        self.buffer.truncate(self.len);
        let (head, body) = self.buffer.split_at_mut(HEADER);
        let crc = checksum(&head[..5], body);
        head[5..9].copy_from_slice(&crc.to_le_bytes());
    }
}
