//! The bytes on the network: packets made of tagged sections, messages, tags, stream frames, and their sealing.
//!
//! Owns every byte layout (`PROTOCOL.md` has the tables) and every size limit; decoding borrows from the
//! input, allocates nothing and never panics. Knows no socket and no protocol rule.

pub(crate) mod data;
pub(crate) mod frame;
pub(crate) mod hash;
pub(crate) mod message;
pub(crate) mod packet;
#[cfg(feature = "encryption")]
pub(crate) mod seal;
mod tags;
#[cfg(test)]
mod tests;

pub use tags::{Tags, TagsIter};

/// The longest node name, in bytes.
pub(crate) const MAX_NAME: usize = 128;
/// The most bytes a node's tags may take, encoded.
pub(crate) const MAX_TAGS: usize = 512;
