//! Writing a recording.

use std::io::{self, Seek, SeekFrom, Write};

use super::{BLOCK_HEAD, Block, Header, MAGIC, SLOTS, SLOTS_AT, core_hash};
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
    block: Vec<u8>,
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
        Ok(Self { file, slot, segment: 0, used: 0, block: Vec::new() })
    }

    /// Appends a chunk; `wall` is the time in nanoseconds since 1970 when the node's is `at`.
    pub(crate) fn write(&mut self, chunk: &Chunk, wall: u64, at: Time) -> io::Result<()> {
        if chunk.segment != self.segment {
            (self.segment, self.used) = (chunk.segment, 0);
        }
        self.block.clear();
        self.block.extend_from_slice(&chunk.segment.to_le_bytes());
        self.block.extend_from_slice(&chunk.index.to_le_bytes());
        self.block.resize(BLOCK_HEAD, 0);
        let block = Block { wall, at, bytes: &chunk.bytes };
        let block = postcard::to_extend(&block, std::mem::take(&mut self.block)).map_err(io::Error::other)?;
        self.block = block;
        let length = ((self.block.len() - BLOCK_HEAD) as u32).to_le_bytes();
        self.block[12..16].copy_from_slice(&length);
        let checksum = checksum(&self.block).to_le_bytes();
        self.block[16..20].copy_from_slice(&checksum);
        // The recorder counts this overhead. If it counts wrong, which is a bug, the next slot stays whole.
        if self.used + self.block.len() as u64 > self.slot {
            return Err(io::Error::other("a bug: a segment of the recording is larger than its slot"));
        }
        self.file.seek(SeekFrom::Start(SLOTS_AT + self.segment % SLOTS * self.slot + self.used))?;
        self.file.write_all(&self.block)?;
        self.used += self.block.len() as u64;
        Ok(())
    }

    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn get_ref(&self) -> &F {
        &self.file
    }
}

/// The checksum of a block, without the checksum itself.
pub(super) fn checksum(block: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&block[..16]);
    crc.update(&block[BLOCK_HEAD..]);
    crc.finalize()
}
