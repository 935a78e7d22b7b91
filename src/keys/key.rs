//! A key: its bytes, its fingerprint, and the ciphers made of it.
//!
//! The bytes are in one allocation from the first to the last; only handles to it are copied and moved. It is
//! written in place and wiped when the last handle is dropped. No cipher holds the key either: XChaCha20-Poly1305
//! begins by deriving a subkey from the key and the first 16 bytes of the nonce (HChaCha20), which reads the key
//! where it is. What a cipher holds and moves is that subkey, which opens one session and tells nothing of the key.

use std::{convert::Infallible, fmt, io, str::FromStr, sync::Arc};

use chacha20::{R20, hchacha};
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce};
use ctutils::CtEq;
use zeroize::Zeroize;

use crate::{
    Error,
    text::{Quoted, serde_as_text},
};

/// A secret of 32 bytes that all nodes of a cluster share. Clones are handles to one place in memory, which is wiped
/// when the last of them is dropped. Keys are compared in constant time, and never printed.
///
/// ```
/// use syncswim::Key;
///
/// let key: Key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f".parse()?;
/// assert_eq!(format!("{key:?}"), "Key(874d6a79aa79fee2)");
/// assert_ne!(Key::generate()?.fingerprint(), key.fingerprint());
/// # Ok::<(), syncswim::Error>(())
/// ```
#[derive(Clone)]
pub struct Key(Arc<Secret>);

struct Secret {
    bytes: [u8; 32],
    fingerprint: Fingerprint,
}

impl Key {
    /// Generates a key from the system's randomness.
    ///
    /// # Errors
    /// [`Error::Randomness`] if the system provides none.
    pub fn generate() -> Result<Self, Error> {
        Self::written_by(|bytes| fill(bytes))
    }

    /// Writes a key at its final place in memory.
    fn written_by<E>(write: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Arc::new(Secret { bytes: [0; 32], fingerprint: Fingerprint([0; 8]) });
        let place = Arc::get_mut(&mut secret).expect("nobody else has it yet");
        write(&mut place.bytes)?;
        place.fingerprint = place.named();
        Ok(Self(secret))
    }

    /// A key that only a holder of both secrets can derive.
    pub(crate) fn from_both(one: &[u8; 32], other: &[u8; 32]) -> Self {
        let Ok(key) = Self::written_by(|bytes| {
            bytes.iter_mut().zip(one).zip(other).for_each(|((byte, one), other)| *byte = one ^ other);
            Ok::<(), Infallible>(())
        });
        key
    }

    /// The bytes, for programs that store them. Protect them as well as the cluster must be protected, and wipe every copy.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0.bytes
    }

    /// The public name of the key: the same for all purposes, and it reveals nothing about the key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// The cipher of one session: XChaCha20-Poly1305 for all nonces that begin with these 16 bytes.
    pub(crate) fn cipher(&self, session: &[u8; 16]) -> ChaCha20Poly1305 {
        self.0.cipher(session)
    }
}

impl Secret {
    fn cipher(&self, session: &[u8; 16]) -> ChaCha20Poly1305 {
        let mut subkey = hchacha::<R20>((&self.bytes).into(), session.into());
        let cipher = ChaCha20Poly1305::new(&subkey);
        subkey.as_mut_slice().zeroize();
        cipher
    }

    /// The tag over nothing, under a nonce that no packet has: a pseudorandom function of the key.
    fn named(&self) -> Fingerprint {
        let (nonce, context) = (Nonce::default(), b"syncswim key fingerprint");
        let tag = self.cipher(&[0; 16]).encrypt_inout_detached(&nonce, context, (&mut [][..]).into());
        let mut fingerprint = Fingerprint([0; 8]);
        fingerprint.0.copy_from_slice(&tag.expect("nothing is not too long")[..8]);
        fingerprint
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// In constant time: the duration does not depend on where two keys differ.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes.ct_eq(&other.0.bytes).to_bool()
    }
}

impl Eq for Key {}

/// Copies the bytes to the key's final place. The caller must wipe the given ones.
impl From<&[u8; 32]> for Key {
    fn from(bytes: &[u8; 32]) -> Self {
        let copy = |place: &mut [u8; 32]| {
            place.copy_from_slice(bytes);
            Ok::<(), Infallible>(())
        };
        let Ok(key) = Self::written_by(copy);
        key
    }
}

/// The same, and wipes the given array. Passing an array by value copies it, so prefer a reference.
impl From<[u8; 32]> for Key {
    fn from(mut bytes: [u8; 32]) -> Self {
        let key = Self::from(&bytes);
        bytes.zeroize();
        key
    }
}

/// Parses 64 hexadecimal digits. The caller must wipe the text.
impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::written_by(|bytes| read_hex(text.as_bytes(), bytes).ok_or_else(not_hex))
    }
}

fn read_hex(digits: &[u8], bytes: &mut [u8; 32]) -> Option<()> {
    let digit = |at: usize| (digits[at] as char).to_digit(16);
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = (digit(2 * i)? << 4 | digit(2 * i + 1)?) as u8;
    }
    Some(())
}

/// The error does not show the text, which may be a key with a typing error.
fn not_hex() -> Error {
    Error::Key { problem: "a key is 64 hexadecimal digits, as `openssl rand -hex 32` prints".into() }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.fingerprint())
    }
}

/// The public name of a [`Key`]: eight bytes, shown as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub(crate) [u8; 8]);

impl Fingerprint {
    /// The mark of the key in packets that are sealed with it.
    pub(crate) fn mark(self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.0;
        [a, b, c, d]
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parses the text that `Display` writes, with digits of either case.
///
/// ```
/// use syncswim::{Fingerprint, Key};
///
/// let fingerprint = Key::generate()?.fingerprint();
/// assert_eq!(fingerprint.to_string().parse::<Fingerprint>()?, fingerprint);
/// # Ok::<(), syncswim::Error>(())
/// ```
impl FromStr for Fingerprint {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::Invalid`] if the text is not 16 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Error> {
        let is_one = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_one);
        let problem = || format!("is {}; it must be 16 hexadecimal digits, as logs have it", Quoted(text));
        let number = number.ok_or_else(|| Error::invalid("fingerprint", problem()))?;
        Ok(Self(number.to_be_bytes()))
    }
}

serde_as_text!(Fingerprint);

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// The same, at their final place in memory.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|error| {
        let by_code = error.raw_os_error().map(io::Error::from_raw_os_error);
        Error::Randomness { source: by_code.unwrap_or_else(|| io::Error::other(error.to_string())) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_hex_and_never_shown() {
        let text = "00ff".repeat(16);
        let key: Key = text.parse().unwrap();
        assert_eq!(key.as_bytes()[..3], [0, 255, 0]);
        for bad in ["", "00", &text[1..], &format!("{text}00"), &text.replace('f', "g"), &"é".repeat(32)] {
            let error = bad.parse::<Key>().unwrap_err().to_string();
            assert!(bad.is_empty() || bad == "00" || !error.contains(bad), "{error}");
        }
        for shown in [format!("{key:?}"), format!("{:?}", key.fingerprint())] {
            assert!(!shown.contains("00ff") && !shown.contains("255"), "{shown}");
            assert!(shown.contains(&key.fingerprint().to_string()), "{shown}");
        }
    }

    #[test]
    fn keys_are_equal_if_all_of_their_bytes_are() {
        let key = Key::from([7; 32]);
        assert_eq!(key, Key::from(&[7; 32]));
        for at in 0..32 {
            let mut other = [7; 32];
            other[at] ^= 0x80;
            assert_ne!(key, Key::from(&other), "byte {at}");
        }
    }

    #[test]
    fn clones_of_a_key_are_one_place_in_memory() {
        let key = Key::from([7; 32]);
        let (clone, before) = (key.clone(), key.as_bytes().as_ptr());
        let moved = [Some(key), Some(clone)];
        assert!(moved.iter().flatten().all(|key| key.as_bytes().as_ptr() == before));
    }
}
