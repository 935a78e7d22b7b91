//! Sealing: XChaCha20-Poly1305 around the packets of datagrams and streams (`PROTOCOL.md` has the bytes).
//!
//! A nonce is never used twice under a key: its first 16 bytes are random, drawn once per process for datagrams
//! and once per side of each stream, and the last 8 count. So a repeated nonce takes two equal draws of 128 bits.

pub(crate) mod clock;
pub(crate) mod datagram;
pub(crate) mod exchange;
#[cfg(fuzzing)]
pub mod fuzzing;
mod replay;
pub(crate) mod stream;

use chacha20poly1305::{AeadInOut, Nonce, Tag};

use crate::keys::key::Key;

/// The version of sealed datagrams and streams, in their first byte.
pub(crate) const VERSION: u8 = super::frame::SEALED;
/// Bytes that prove that the rest is genuine.
pub(crate) const TAG: usize = 16;
/// The random bytes that one side draws.
pub(crate) type Session = [u8; 16];

/// The two parts of a nonce, and all that it is for.
#[derive(Debug, Clone, Copy)]
struct Place {
    session: Session,
    count: u64,
}

impl Place {
    /// The rest of the nonce once the session has become part of the cipher's key.
    fn nonce(self) -> Nonce {
        let mut nonce = Nonce::default();
        nonce[4..].copy_from_slice(&self.count.to_le_bytes());
        nonce
    }
}

fn seal(key: &Key, place: Place, context: &[u8], buffer: &mut [u8]) -> Tag {
    let cipher = key.cipher(&place.session);
    cipher
        .encrypt_inout_detached(&place.nonce(), context, buffer.into())
        .expect("packets are shorter than 256 GiB")
}

/// Decrypts in place; on failure the buffer is as it was.
fn open(key: &Key, place: Place, context: &[u8], buffer: &mut [u8], tag: &[u8]) -> bool {
    let Ok(tag) = Tag::try_from(tag) else { return false };
    let cipher = key.cipher(&place.session);
    cipher.decrypt_inout_detached(&place.nonce(), context, buffer.into(), &tag).is_ok()
}
