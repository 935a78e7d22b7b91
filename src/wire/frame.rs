//! Stream frames: a packet behind its length, u32 LE.

/// The longest frame either side sends or accepts, in bytes.
pub(crate) const MAX_FRAME: usize = 32 * 1024;
/// The version of what is sealed, its first byte. A packet in the clear has another.
pub(crate) const SEALED: u8 = 4;
/// Bytes of the length.
pub(crate) const PREFIX: usize = 4;

/// The length that a prefix announces, or `None` if it breaks the limit; checked before anything is allocated.
/// Sealing adds some bytes to a frame.
pub(crate) fn length(prefix: [u8; PREFIX], sealing: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(prefix)).ok().filter(|len| *len <= MAX_FRAME + sealing)
}

/// The prefix for a frame.
pub(crate) fn prefix(frame: &[u8]) -> [u8; PREFIX] {
    (frame.len() as u32).to_le_bytes()
}

/// Whether a prefix is none, but begins the greeting of a sealed stream: no frame is that long.
pub(crate) fn is_greeting(prefix: [u8; PREFIX]) -> bool {
    prefix[0] == SEALED && prefix[1..3] == [0xff; 2]
}
