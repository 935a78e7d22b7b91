//! Recordings of nodes: a bounded file, and with the feature `sim` what is read from it and run again.
//!
//! **This module, which the feature `sim` adds, is outside semantic versioning:** it may change in any version.
//!
//! A file is a header and a ring of slots. Each slot holds a segment: the whole state of the node, then what it was given and
//! what it put out (`swim::recorder`), in blocks that are checked one by one. A full ring overwrites its oldest slot, so that
//! the latest history is kept and begins with a state. No key that seals is in it, for the core has none; the secret from which
//! this life of the node draws tokens and sequence numbers is.
//!
//! ```text
//! 0..8     "swimrec" and the version of this layout (2)
//! 8..12    length of the header, u32 LE
//! 12..16   its CRC-32, u32 LE
//! 16..     header (postcard); slots from byte 1024 on, segment n in slot n modulo their number
//!
//! a block  segment u64 LE · index u32 LE · length u32 LE · CRC-32 of these and of the content, u32 LE · content (postcard)
//! ```

#[cfg(any(test, feature = "sim"))]
mod dissect;
#[cfg(any(test, feature = "sim"))]
mod read;
#[cfg(any(test, feature = "sim"))]
mod replay;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "sim"))]
mod what_if;
mod write;

use serde::{Deserialize, Serialize};

#[cfg(any(test, feature = "sim"))]
use crate::swim::Time;
#[cfg(any(test, feature = "sim"))]
pub use crate::swim::entry::{Input, RecordedBytes};

#[cfg(any(test, feature = "sim"))]
pub use dissect::{Dissected, Said, dissect, mark};
#[cfg(any(test, feature = "sim"))]
pub use read::{Recording, Segment, Unreadable};
#[cfg(any(test, feature = "sim"))]
pub use replay::{Difference, Replay, Sent, Step};
#[cfg(any(test, feature = "sim"))]
pub use what_if::{WhatIf, WhatIfProblem};
pub(crate) use write::{Writer, check_limit, segment_size};

/// What every file begins with; the last byte is the version of the layout.
const MAGIC: [u8; 8] = *b"swimrec\x02";
/// Where the slots begin.
const SLOTS_AT: u64 = 1024;
/// How many there are.
const SLOTS: u64 = 4;
/// Bytes before the content of a block.
const BLOCK_HEAD: usize = 20;

/// Which version wrote a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    /// The version of the crate.
    version: String,
    /// A hash of the sources of the core, of the wire format and of what both use.
    core: u64,
    /// The node.
    name: String,
    slots: u64,
    /// Bytes of a slot.
    slot: u64,
}

/// The content of a block.
#[cfg(any(test, feature = "sim"))]
#[derive(Debug, Clone, Deserialize)]
struct Block<'a> {
    /// Nanoseconds since 1970 when it was written.
    wall: u64,
    /// The node's time when it was written.
    at: Time,
    #[serde(borrow)]
    bytes: &'a [u8],
}

/// A hash of the sources that a replay depends on, by `build.rs`.
fn core_hash() -> u64 {
    env!("SYNCSWIM_CORE").parse().unwrap_or_default()
}
