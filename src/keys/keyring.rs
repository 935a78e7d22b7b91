//! The keys of a node: which are installed, which one seals, and whether packets in the clear are accepted.

use std::{fmt, str::FromStr, sync::Arc};

use parking_lot::RwLock;

use super::key::{Fingerprint, Key};
use crate::{
    Error,
    text::{Quoted, serde_as_text},
};

/// The most keys on one ring. A packet is tried only with the keys whose mark it bears, and finding those must be fast, too.
const MAX_KEYS: usize = 8;

/// Whether a node seals what it sends, and refuses what is not sealed. To turn encryption on in a running cluster, bring
/// every node to one step before any goes to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Encryption {
    /// Send in the clear; accept both. The first step.
    Accept,
    /// Send sealed; accept both. The second step.
    Send,
    /// Send sealed; accept nothing else. A new cluster starts with this step, and it is the only one that protects.
    Require,
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accept => "accept",
            Self::Send => "send",
            Self::Require => "require",
        })
    }
}

/// Parses the text that [`Display`](fmt::Display) writes.
///
/// ```
/// use syncswim::Encryption;
///
/// let encryption: Encryption = "require".parse()?;
/// assert_eq!((encryption, encryption.to_string()), (Encryption::Require, "require".into()));
/// # Ok::<(), syncswim::Error>(())
/// ```
impl FromStr for Encryption {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let all = [Self::Accept, Self::Send, Self::Require];
        let problem = || format!("is {}; it must be accept, send or require", Quoted(text));
        let found = all.into_iter().find(|encryption| encryption.to_string() == text);
        found.ok_or_else(|| Error::invalid("encryption", problem()))
    }
}

serde_as_text!(Encryption);

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
/// assert_eq!(ring.fingerprints(), [new.fingerprint()]);
/// # Ok::<(), syncswim::Error>(())
/// ```
#[derive(Clone)]
pub struct Keyring(Arc<RwLock<Ring>>);

#[derive(Clone, PartialEq)]
struct Ring {
    /// Never empty; the first is the primary one, the others follow from the newest to the oldest.
    keys: Vec<Key>,
    encryption: Encryption,
}

impl Keyring {
    /// A keyring with one key, which [requires](Encryption::Require) encryption.
    #[must_use]
    pub fn new(primary: Key) -> Self {
        Self(Arc::new(RwLock::new(Ring { keys: vec![primary], encryption: Encryption::Require })))
    }

    /// Adds a key that packets may be sealed with. A key that is installed already changes nothing.
    ///
    /// # Errors
    /// [`Error::Key`] if there are eight keys already.
    pub fn install(&self, key: Key) -> Result<(), Error> {
        let mut ring = self.0.write();
        if ring.position(key.fingerprint()).is_some() {
            return Ok(());
        }
        if ring.keys.len() >= MAX_KEYS {
            return error(format!("there are {MAX_KEYS} keys on the ring; remove one that is out of use"));
        }
        ring.keys.insert(1, key);
        Ok(())
    }

    /// The same for a change of keys, which a full keyring must not stop, since anybody who holds a key could fill it. The
    /// oldest key that is not the primary one makes room, and is returned.
    pub(crate) fn install_newest(&self, key: Key) -> Option<Fingerprint> {
        let mut ring = self.0.write();
        match ring.position(key.fingerprint()) {
            Some(0) => return None,
            Some(at) => drop(ring.keys.remove(at)),
            None => {}
        }
        let evicted = if ring.keys.len() < MAX_KEYS { None } else { ring.keys.pop() };
        ring.keys.insert(1, key);
        evicted.map(|key| key.fingerprint())
    }

    /// Makes a key the primary one: from now on this node seals with it.
    ///
    /// # Errors
    /// [`Error::Key`] if it is not installed.
    pub fn use_key(&self, fingerprint: Fingerprint) -> Result<(), Error> {
        let mut ring = self.0.write();
        let Some(at) = ring.position(fingerprint) else { return unknown(fingerprint) };
        ring.keys[..=at].rotate_right(1);
        Ok(())
    }

    /// Removes a key: packets that are sealed with it are dropped from now on.
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

    /// The installed keys: the primary one, then the others from the newest to the oldest.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.0.read().keys.iter().map(Key::fingerprint).collect()
    }

    /// The present step.
    #[must_use]
    pub fn encryption(&self) -> Encryption {
        self.0.read().encryption
    }

    /// Goes to another step, at once and for all nodes that share this keyring.
    pub fn set_encryption(&self, encryption: Encryption) {
        self.0.write().encryption = encryption;
    }

    /// A separate keyring with the same keys.
    pub(crate) fn detached(&self) -> Self {
        Self(Arc::new(RwLock::new(self.0.read().clone())))
    }

    /// The key that seals.
    pub(crate) fn primary(&self) -> Key {
        self.0.read().keys[0].clone()
    }

    /// The key to seal with, if packets are to be sealed.
    pub(crate) fn sealing(&self) -> Option<Key> {
        let ring = self.0.read();
        (ring.encryption != Encryption::Accept).then(|| ring.keys[0].clone())
    }

    /// The keys of this mark: almost always one, or none.
    pub(crate) fn marked(&self, mark: [u8; 4]) -> impl Iterator<Item = Key> {
        let ring = self.0.read();
        let found: [Option<Key>; MAX_KEYS] = {
            let mut marked = ring.keys.iter().filter(|key| key.fingerprint().mark() == mark);
            std::array::from_fn(|_| marked.next().cloned())
        };
        found.into_iter().flatten()
    }
}

impl Ring {
    fn position(&self, fingerprint: Fingerprint) -> Option<usize> {
        self.keys.iter().position(|key| key.fingerprint() == fingerprint)
    }
}

/// Equal if they have the same keys in the same order, and the same step, at this moment.
impl PartialEq for Keyring {
    fn eq(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) {
            return true;
        }
        // One lock at a time: so a thread that compares the other way round cannot deadlock with this one.
        let ring = self.0.read().clone();
        ring == *other.0.read()
    }
}

impl Eq for Keyring {}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keys, encryption) = (self.fingerprints(), self.encryption());
        f.debug_struct("Keyring").field("keys", &keys).field("encryption", &encryption).finish()
    }
}

fn unknown(fingerprint: Fingerprint) -> Result<(), Error> {
    error(format!("key {fingerprint} is not on the ring; install it first"))
}

fn error(problem: String) -> Result<(), Error> {
    Err(Error::Key { problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::from([byte; 32])
    }

    #[test]
    fn a_ring_shows_the_fingerprints_of_its_keys_alone() {
        let (key, ring) = (key(0xee), Keyring::new(key(0xee)));
        for shown in [format!("{ring:?}"), format!("{:?}", ring.fingerprints())] {
            assert!(!shown.contains("eeee") && !shown.contains("238"), "{shown}");
            assert!(shown.contains(&key.fingerprint().to_string()), "{shown}");
        }
    }

    #[test]
    fn the_ring_has_one_primary_key_and_keeps_it() {
        let ring = Keyring::new(key(1));
        let [one, two, three] = [1, 2, 3].map(|byte| key(byte).fingerprint());
        ring.install(key(2)).unwrap();
        ring.install(key(2)).unwrap();
        assert_eq!(ring.fingerprints(), [one, two]);
        assert!(ring.use_key(three).is_err() && ring.remove(three).is_err() && ring.remove(one).is_err());
        ring.use_key(two).unwrap();
        assert_eq!((ring.fingerprints(), ring.primary()), (vec![two, one], key(2)));
        ring.remove(one).unwrap();
        assert_eq!(ring.fingerprints(), [two]);
        assert_eq!(ring.marked(two.mark()).count(), 1);
        assert_eq!(ring.marked(one.mark()).count(), 0);
    }

    #[test]
    fn rings_are_equal_while_their_contents_are() {
        let [one, other] = [(); 2].map(|()| Keyring::new(key(1)));
        assert_eq!((&one, &one), (&other, &one.clone()));
        one.install(key(2)).unwrap();
        assert_ne!(one, other);
        other.install(key(2)).unwrap();
        assert_eq!(one, other);
        one.use_key(key(2).fingerprint()).unwrap();
        assert_ne!(one, other, "another key seals");
        other.use_key(key(2).fingerprint()).unwrap();
        other.set_encryption(Encryption::Send);
        assert_ne!(one, other);
    }

    #[test]
    fn the_ring_is_bounded() {
        let ring = Keyring::new(key(0));
        (1..8).for_each(|byte| ring.install(key(byte)).unwrap());
        assert!(ring.install(key(8)).is_err());
        assert_eq!(ring.fingerprints().len(), MAX_KEYS);
    }

    #[test]
    fn on_a_full_ring_the_oldest_key_makes_room_and_never_the_primary_one() {
        let ring = Keyring::new(key(0));
        (1..8).for_each(|byte| ring.install(key(byte)).unwrap());
        assert_eq!(ring.install_newest(key(8)), Some(key(1).fingerprint()));
        assert_eq!(ring.install_newest(key(2)), None, "it is there");
        assert_eq!(ring.install_newest(key(0)), None, "it is the primary one");
        assert_eq!(ring.fingerprints(), [0, 2, 8, 7, 6, 5, 4, 3].map(|byte| key(byte).fingerprint()));
        ring.use_key(key(8).fingerprint()).unwrap();
        for junk in 20..40 {
            assert!(ring.install_newest(key(junk)).is_some());
        }
        assert_eq!(ring.fingerprints()[0], key(8).fingerprint());
        assert_eq!(ring.fingerprints().len(), MAX_KEYS);
    }
}
