//! Forward secrecy for streams that change keys: an ephemeral X25519 exchange (RFC 7748) beside the shared key.
//!
//! Each side draws a key pair for the stream and sends its public key in its greeting. With `F(k, blocks)` as
//! HChaCha20 chained over blocks of 16 bytes, the key of the stream is
//!
//! ```text
//! F(shared key, T) xor F(F(X25519, 0), T)      T: label, the caller's greeting, the other's, zeros
//! ```
//!
//! So it takes both secrets. An outsider lacks the shared key; an eavesdropper who learns it later lacks the X25519 output,
//! for both secret keys are wiped once they have agreed. An attacker that holds the shared key *now* and sits between the
//! two can be each one's partner: X25519 authenticates nobody.

use chacha20::{R20, hchacha};
use ed25519_compact::x25519::{DHOutput, PublicKey, SecretKey};
use zeroize::Zeroizing;

use crate::{
    Error,
    keys::key::{self, Key},
};

/// Bytes of a public key.
pub(crate) const PUBLIC: usize = 32;
const BLOCK: usize = 16;
const LABEL: &[u8; BLOCK] = b"syncswim key use";

/// A key pair for one stream. The secret stays where it was drawn and is wiped when dropped.
pub(crate) struct Ephemeral(Box<SecretKey>);

impl Ephemeral {
    pub(crate) fn generate() -> Result<Self, Error> {
        let mut secret = Box::new(SecretKey::new([0; SecretKey::BYTES]));
        key::fill(&mut secret[..])?;
        Ok(Self(secret))
    }

    pub(crate) fn public(&self) -> [u8; PUBLIC] {
        *self.0.recover_public_key().expect("no multiple of the base point is of low order")
    }

    /// The key of the stream, of both greetings; `None` if the other side's public key is of low order, for then
    /// anybody could compute the X25519 output, or is not a canonical one.
    pub(crate) fn agree(&self, key: &Key, theirs: &[u8], opened: &[u8], answered: &[u8]) -> Option<Key> {
        let shared = PublicKey::from_slice(theirs).ok()?.dh(&self.0).ok()?;
        Some(stream_key(key, &shared, opened, answered))
    }
}

fn stream_key(key: &Key, shared: &DHOutput, opened: &[u8], answered: &[u8]) -> Key {
    let mut transcript = [&LABEL[..], opened, answered].concat();
    transcript.resize(transcript.len().next_multiple_of(BLOCK), 0);
    let (blocks, _) = transcript.as_chunks();
    // The output of X25519 is not uniform; HChaCha20 makes a key of it, as in NaCl's box.
    let ephemeral = chained(shared, &[[0; BLOCK]]);
    let parts = [chained(key.as_bytes(), blocks), chained(&ephemeral, blocks)];
    Key::from_both(&parts[0], &parts[1])
}

/// A pseudorandom function of a transcript: its length is the same for all that are used with one key.
fn chained(key: &[u8; 32], blocks: &[[u8; BLOCK]]) -> Zeroizing<[u8; 32]> {
    let (first, rest) = blocks.split_first().expect("no transcript is empty");
    let mut state = Zeroizing::new(hchacha::<R20>(key.into(), first.into()).0);
    for block in rest {
        *state = hchacha::<R20>((&*state).into(), block.into()).0;
    }
    state
}

#[cfg(test)]
impl Ephemeral {
    /// For test vectors.
    pub(crate) fn of(secret: [u8; 32]) -> Self {
        Self(Box::new(SecretKey::new(secret)))
    }
}
