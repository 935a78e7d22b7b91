//! The secrets of a cluster: keys, what they are called without being shown, and which of them is in use.

use std::{fmt, str::FromStr, sync::Arc};

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use parking_lot::RwLock;
use zeroize::Zeroize;

use crate::Error;

/// The most keys on one ring: a packet is only ever tried with the keys whose mark it bears, and finding those
/// must not take long either.
const MAX_KEYS: usize = 8;

/// A secret of 32 bytes that all nodes of a cluster share. Wiped from memory when dropped, and never printed.
///
/// ```
/// use syncswim::Key;
///
/// let key: Key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f".parse()?;
/// assert_eq!(format!("{key:?}"), "Key(874d6a79aa79fee2)");
/// assert_ne!(Key::generate()?.fingerprint(), key.fingerprint());
/// # Ok::<(), syncswim::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    secret: [u8; 32],
    fingerprint: Fingerprint,
}

impl Key {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// [`Error::Key`] if the system has none to give.
    pub fn generate() -> Result<Self, Error> {
        random().map(Self::from)
    }

    /// The bytes, for those who store them. Keep them as safe as the cluster must be.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.secret
    }

    /// What to call the key: two keys with one fingerprint do not occur, and nothing of the key shows in it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(crate) fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&self.secret).into())
    }
}

impl From<[u8; 32]> for Key {
    fn from(mut secret: [u8; 32]) -> Self {
        let mut key = Self { secret, fingerprint: Fingerprint([0; 8]) };
        secret.zeroize();
        // The tag over nothing, under a nonce that no packet has: a pseudorandom function of the key.
        let (nonce, context) = (XNonce::default(), b"syncswim key fingerprint");
        let tag = key.cipher().encrypt_inout_detached(&nonce, context, (&mut [][..]).into());
        key.fingerprint.0.copy_from_slice(&tag.expect("nothing is not too long")[..8]);
        key
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// From 64 hexadecimal digits.
impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut secret = [0; 32];
        let digits = text.as_bytes();
        let digit = |at: usize| digits.get(at).and_then(|digit| (*digit as char).to_digit(16));
        for (i, byte) in secret.iter_mut().enumerate() {
            let (Some(high), Some(low)) = (digit(2 * i), digit(2 * i + 1)) else { return Err(not_hex()) };
            *byte = (high << 4 | low) as u8;
        }
        if digits.len() == 64 { Ok(secret.into()) } else { Err(not_hex()) }
    }
}

/// What was given may be a key with a typing error, so it is not shown.
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
    /// What packets say of the key they are sealed with.
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

/// How far a node goes in sealing what it sends, and in refusing what is not sealed. To turn encryption on in a
/// running cluster, bring every node to one step before any goes to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// Send in clear; accept both. The first step.
    Accept,
    /// Send sealed; accept both. The second step.
    Send,
    /// Send sealed; accept nothing else. Where a new cluster begins, and the only step that protects.
    Require,
}

/// The keys that a node opens packets with; the primary one also seals. Clones share one ring, so that it can be
/// changed while the node runs.
///
/// To change the key of a cluster by hand: [`install`](Self::install) the new one on every node, then
/// [`use_key`](Self::use_key) on every node, then [`remove`](Self::remove) the old one on every node.
/// [`Gossip::rotate_key`](crate::Gossip::rotate_key) does that in one call.
///
/// ```
/// use syncswim::{GossipConfig, Key, Keyring};
///
/// let (old, new) = (Key::generate()?, Key::generate()?);
/// let ring = Keyring::new(old.clone());
/// let config = GossipConfig::lan("node-a").keyring(&ring);
///
/// ring.install(new.clone())?;
/// ring.use_key(new.fingerprint())?;
/// ring.remove(old.fingerprint())?;
/// assert_eq!(ring.list(), [new.fingerprint()]);
/// # Ok::<(), syncswim::Error>(())
/// ```
#[derive(Clone)]
pub struct Keyring(Arc<RwLock<Ring>>);

struct Ring {
    /// Never empty; the first is the primary one.
    keys: Vec<Key>,
    encryption: Encryption,
}

impl Keyring {
    /// A ring with one key, which [requires](Encryption::Require) encryption.
    #[must_use]
    pub fn new(primary: Key) -> Self {
        Self(Arc::new(RwLock::new(Ring { keys: vec![primary], encryption: Encryption::Require })))
    }

    /// Adds a key that packets may be sealed with. One that is there already changes nothing.
    ///
    /// # Errors
    /// [`Error::Key`] if eight are there.
    pub fn install(&self, key: Key) -> Result<(), Error> {
        let mut ring = self.0.write();
        if ring.position(key.fingerprint).is_some() {
            return Ok(());
        }
        if ring.keys.len() >= MAX_KEYS {
            return error(format!("there are {MAX_KEYS} keys on the ring; remove one that is out of use"));
        }
        ring.keys.push(key);
        Ok(())
    }

    /// Makes a key the primary one: what is sent from now on is sealed with it.
    ///
    /// # Errors
    /// [`Error::Key`] if it is not installed.
    pub fn use_key(&self, fingerprint: Fingerprint) -> Result<(), Error> {
        let mut ring = self.0.write();
        let Some(at) = ring.position(fingerprint) else { return unknown(fingerprint) };
        ring.keys.swap(0, at);
        Ok(())
    }

    /// Takes a key off: packets that are sealed with it are dropped from now on.
    ///
    /// # Errors
    /// [`Error::Key`] if it is not installed, or is the primary one.
    pub fn remove(&self, fingerprint: Fingerprint) -> Result<(), Error> {
        let mut ring = self.0.write();
        match ring.position(fingerprint) {
            None => unknown(fingerprint),
            Some(0) => error(format!("key {fingerprint} is in use; use another one first")),
            Some(at) => {
                ring.keys.remove(at);
                Ok(())
            }
        }
    }

    /// What is installed, the primary key first.
    #[must_use]
    pub fn list(&self) -> Vec<Fingerprint> {
        self.0.read().keys.iter().map(Key::fingerprint).collect()
    }

    /// How far this node goes.
    #[must_use]
    pub fn encryption(&self) -> Encryption {
        self.0.read().encryption
    }

    /// Goes to another step, at once and for all nodes that share this ring.
    pub fn set_encryption(&self, encryption: Encryption) {
        self.0.write().encryption = encryption;
    }

    /// The key that seals.
    pub(crate) fn primary(&self) -> Key {
        self.0.read().keys[0].clone()
    }

    /// The keys of this mark: almost always one, or none.
    pub(crate) fn marked(&self, mark: [u8; 4]) -> impl Iterator<Item = Key> {
        let ring = self.0.read();
        let found: [Option<Key>; MAX_KEYS] = {
            let mut marked = ring.keys.iter().filter(|key| key.fingerprint.mark() == mark);
            std::array::from_fn(|_| marked.next().cloned())
        };
        found.into_iter().flatten()
    }
}

impl Ring {
    fn position(&self, fingerprint: Fingerprint) -> Option<usize> {
        self.keys.iter().position(|key| key.fingerprint == fingerprint)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keys, encryption) = (self.list(), self.encryption());
        f.debug_struct("Keyring").field("keys", &keys).field("encryption", &encryption).finish()
    }
}

fn unknown(fingerprint: Fingerprint) -> Result<(), Error> {
    error(format!("key {fingerprint} is not on the ring; install it first"))
}

fn error(problem: String) -> Result<(), Error> {
    Err(Error::Key { problem })
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Key { problem: format!("the system gave no randomness: {error}") })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::from([byte; 32])
    }

    #[test]
    fn a_key_is_read_from_hex_and_never_shown() {
        let text = "00ff".repeat(16);
        let key: Key = text.parse().unwrap();
        assert_eq!(key.as_bytes()[..3], [0, 255, 0]);
        for bad in ["", "00", &text[1..], &format!("{text}00"), &text.replace('f', "g"), &"é".repeat(32)] {
            let error = bad.parse::<Key>().unwrap_err().to_string();
            assert!(bad.is_empty() || bad == "00" || !error.contains(bad), "{error}");
        }
        let ring = Keyring::new(key.clone());
        for shown in [format!("{key:?}"), format!("{ring:?}"), format!("{:?}", ring.list())] {
            assert!(!shown.contains("00ff") && !shown.contains("255"), "{shown}");
            assert!(shown.contains(&key.fingerprint().to_string()), "{shown}");
        }
    }

    #[test]
    fn the_ring_has_one_primary_key_and_keeps_it() {
        let ring = Keyring::new(key(1));
        let [one, two, three] = [1, 2, 3].map(|byte| key(byte).fingerprint());
        ring.install(key(2)).unwrap();
        ring.install(key(2)).unwrap();
        assert_eq!(ring.list(), [one, two]);
        assert!(ring.use_key(three).is_err() && ring.remove(three).is_err() && ring.remove(one).is_err());
        ring.use_key(two).unwrap();
        assert_eq!((ring.list(), ring.primary()), (vec![two, one], key(2)));
        ring.remove(one).unwrap();
        assert_eq!(ring.list(), [two]);
        assert_eq!(ring.marked(two.mark()).count(), 1);
        assert_eq!(ring.marked(one.mark()).count(), 0);
    }

    #[test]
    fn the_ring_is_bounded() {
        let ring = Keyring::new(key(0));
        (1..8).for_each(|byte| ring.install(key(byte)).unwrap());
        assert!(ring.install(key(8)).is_err());
        assert_eq!(ring.list().len(), MAX_KEYS);
    }
}
