//! Writing a recording.

use std::io::{self, IoSlice, Seek, SeekFrom, Write};

use super::{BLOCK_HEAD, Header, MAGIC, SLOTS, SLOTS_AT, core_hash};
use crate::{
    Error,
    swim::{Chunk, MIN_SEGMENT, Time},
};

/// The smallest file of a node: its state with a full history takes a small part of a segment.
const MIN_LIMIT: u64 = 1 << 20;

/// That the file of a node may be so large. Simulated nodes get smaller ones, so that they wrap soon.
pub(crate) fn check_limit(limit: u64) -> Result<(), Error> {
    if limit < MIN_LIMIT {
        let problem = format!("is {limit} bytes; it must be at least {MIN_LIMIT}");
        return Err(Error::invalid("max_bytes", problem));
    }
    Ok(())
}

/// Bytes of a segment in a file of at most `limit` bytes.
pub(crate) fn segment_size(limit: u64) -> usize {
    usize::try_from(limit.saturating_sub(SLOTS_AT) / SLOTS).unwrap_or(usize::MAX).max(MIN_SEGMENT)
}

/// A file, or what stands for one.
#[derive(Debug)]
pub(crate) struct Writer<F> {
    file: F,
    slot: u64,
    /// The slot that is written to, and where in it.
    segment: u64,
    used: u64,
    /// Where the next write goes by itself.
    at: u64,
}

impl<F: Write + Seek> Writer<F> {
    /// Begins a file of at most `limit` bytes.
    pub(crate) fn new(mut file: F, name: &str, limit: u64) -> io::Result<Self> {
        let slot = segment_size(limit) as u64;
        let header = Header {
            version: env!("CARGO_PKG_VERSION").into(),
            core: core_hash(),
            name: name.into(),
            slots: SLOTS,
            slot,
        };
        let header = postcard::to_stdvec(&header).map_err(io::Error::other)?;
        file.write_all(&MAGIC)?;
        file.write_all(&(header.len() as u32).to_le_bytes())?;
        file.write_all(&crc32fast::hash(&header).to_le_bytes())?;
        file.write_all(&header)?;
        let at = 16 + header.len() as u64;
        Ok(Self { file, slot, segment: 0, used: 0, at })
    }

    /// Appends a chunk; `wall` is the time in nanoseconds since 1970 when the node's is `at`.
    pub(crate) fn write(&mut self, chunk: &Chunk, wall: u64, at: Time) -> io::Result<()> {
        if chunk.segment != self.segment {
            (self.segment, self.used) = (chunk.segment, 0);
        }
        let bytes = &chunk.bytes;
        let mut head = vec![0; BLOCK_HEAD];
        head[..8].copy_from_slice(&chunk.segment.to_le_bytes());
        head[8..12].copy_from_slice(&chunk.index.to_le_bytes());
        // A `Block` without its bytes.
        head = postcard::to_extend(&(wall, at, bytes.len()), head).map_err(io::Error::other)?;
        let length = head.len() + bytes.len();
        head[12..16].copy_from_slice(&((length - BLOCK_HEAD) as u32).to_le_bytes());
        let checksum = checksum(&head, bytes).to_le_bytes();
        head[16..20].copy_from_slice(&checksum);
        // The recorder counts this overhead. If it counts wrong, which is a bug, the next slot stays whole.
        if self.used + length as u64 > self.slot {
            return Err(io::Error::other("a bug: a segment of the recording is larger than its slot"));
        }
        let at = SLOTS_AT + self.segment % SLOTS * self.slot + self.used;
        if at != self.at {
            self.file.seek(SeekFrom::Start(at))?;
        }
        write_both(&mut self.file, &head, bytes)?;
        self.used += length as u64;
        self.at = at + length as u64;
        Ok(())
    }

    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn get_ref(&self) -> &F {
        &self.file
    }
}

/// In one call, as a rule, and without a copy.
fn write_both(file: &mut impl Write, head: &[u8], bytes: &[u8]) -> io::Result<()> {
    let written = match file.write_vectored(&[IoSlice::new(head), IoSlice::new(bytes)]) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
        written => written?,
    };
    file.write_all(&head[written.min(head.len())..])?;
    file.write_all(&bytes[written.saturating_sub(head.len())..])
}

/// Of a block, which may be in two parts, except for the checksum itself.
pub(super) fn checksum(block: &[u8], rest: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&block[..16]);
    crc.update(&block[BLOCK_HEAD..]);
    crc.update(rest);
    crc.finalize()
}
