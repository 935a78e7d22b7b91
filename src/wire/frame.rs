//! Stream frames: a packet behind its length, u32 LE.

/// The longest frame either side sends or accepts, in bytes.
pub(crate) const MAX_FRAME: usize = 32 * 1024;
/// Bytes of the length.
pub(crate) const PREFIX: usize = 4;

/// The length that a prefix announces, or `None` if it breaks the limit; checked before anything is allocated.
pub(crate) fn length(prefix: [u8; PREFIX]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(prefix)).ok().filter(|len| *len <= MAX_FRAME)
}

/// The prefix for a packet of at most [`MAX_FRAME`] bytes.
pub(crate) fn prefix(packet: &[u8]) -> [u8; PREFIX] {
    debug_assert!(packet.len() <= MAX_FRAME);
    (packet.len() as u32).to_le_bytes()
}
