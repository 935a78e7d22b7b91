//! Sealing: XChaCha20-Poly1305 around the packets of datagrams and streams (`PROTOCOL.md` has the bytes).
//!
//! A nonce is never used twice under a key: its first 16 bytes are random, drawn once per process for datagrams
//! and once per side of each stream, and the last 8 count. So two nodes would have to draw the same 128 bits.

pub(crate) mod datagram;
#[cfg(fuzzing)]
pub mod fuzzing;
mod replay;
pub(crate) mod stream;

use chacha20poly1305::{AeadInOut, Tag, XChaCha20Poly1305, XNonce};

/// The version of sealed datagrams and streams, in their first byte.
pub(crate) const VERSION: u8 = 2;
/// Bytes that prove that the rest is genuine.
pub(crate) const TAG: usize = 16;
/// What one side draws at random.
pub(crate) type Session = [u8; 16];

fn nonce(session: Session, count: u64) -> XNonce {
    let mut nonce = XNonce::default();
    nonce[..16].copy_from_slice(&session);
    nonce[16..].copy_from_slice(&count.to_le_bytes());
    nonce
}

fn seal(cipher: &XChaCha20Poly1305, nonce: &XNonce, context: &[u8], buffer: &mut [u8]) -> Tag {
    cipher.encrypt_inout_detached(nonce, context, buffer.into()).expect("packets are shorter than 256 GiB")
}

/// Decrypts in place; on failure the buffer is as it was.
fn open(cipher: &XChaCha20Poly1305, nonce: &XNonce, context: &[u8], buffer: &mut [u8], tag: &[u8]) -> bool {
    let Ok(tag) = Tag::try_from(tag) else { return false };
    cipher.decrypt_inout_detached(nonce, context, buffer.into(), &tag).is_ok()
}
