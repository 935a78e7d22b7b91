//! The state file of a node: what it needs to find its cluster again after a restart.
//!
//! One file that grows by records, and is rewritten, smaller, when it has grown enough. Reading it takes what is whole from the
//! front, so any beginning of a file is an older state of the node, and whatever a crash, a power cut or a full disk leaves can
//! be read. `record` has the bytes, `state` what they mean together, `keeper` when what is written, `files` what it needs of a
//! disk: the operations that a test or the simulator can let fail between any two.
//!
//! ```text
//! 0..8     "swimsta" and the version of this layout (1)
//! 8..12    the cluster's mark, u32 LE
//! 12..16   the node's mark, u32 LE
//! 16..20   CRC-32 of these 16 bytes, u32 LE
//!
//! a record  length of kind and body u16 LE · CRC-32 of length, kind and body u32 LE · kind u8 · body (postcard)
//!
//! 1  life       epoch                                     a life begins
//! 2  member     name · address · epoch · live · since     as it is known now
//! 3  gone       name                                      it is remembered no longer
//! 4  left                                                 this node has left the cluster
//! 5  head       origin · epoch · below · above            which broadcasts of a life readers got, as in a BroadcastHead
//! 6  forgotten  name                                      as gone, and its heads are as well
//! ```
//!
//! Records of other kinds are skipped, and what stands behind a known body is not read: later versions may add both.

mod files;
mod keeper;
mod record;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use files::{Disk, Files};
pub(crate) use keeper::{Found, StateFile};
#[cfg(fuzzing)]
pub use state::fuzz_state_file;
