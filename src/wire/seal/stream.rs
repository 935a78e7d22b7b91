//! A sealed stream: both sides draw a random session, and every frame is bound to both.
//!
//! ```text
//! greeting, 28 bytes each way, 60 where keys are to be changed
//! 0        version (4)
//! 1..4     ff ff ff, or ff ff fe where keys are to be changed: no frame is that long, so a greeting is no frame
//! 4..8     cluster mark, u32 LE
//! 8..12    mark of the key, chosen by the one who opened the stream
//! 12..28   session: random
//! 28..60   where keys are to be changed: an ephemeral public key, X25519
//!
//! frame
//! 0..4     length of the rest, u32 LE
//! 4..      sealed packet
//! last 16  tag, over the sealed bytes, direction, both greetings and the cluster's name
//! ```
//!
//! The nonce of a frame is its sender's session and the number of the frame, so frames cannot be left out,
//! repeated or put in another order; a recorded stream fails at its first frame, for the other side's greeting
//! is new. No clock is involved. `exchange.rs` says what the ephemeral keys are for.

use super::{
    Place, Session, TAG, VERSION,
    exchange::{Ephemeral, PUBLIC},
};
use crate::keys::{key::Key, keyring::Keyring};

const GREETING: usize = 28;
/// Marker, cluster and key: what both greetings must agree in.
const COMMON: usize = 12;
/// Bytes by which a greeting shows that it is one, and what the stream is for.
const MARKER: [u8; 4] = [VERSION, 0xff, 0xff, 0xff];
const KEYS_MARKER: [u8; 4] = [VERSION, 0xff, 0xff, 0xfe];

/// The purpose of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The messages of the core.
    Members,
    /// A change of keys, under forward secrecy.
    Keys,
}

impl Purpose {
    /// The purpose that the first bytes of a stream show, if they are those of a greeting.
    pub(crate) fn of(first: [u8; MARKER.len()]) -> Option<Self> {
        match first {
            MARKER => Some(Self::Members),
            KEYS_MARKER => Some(Self::Keys),
            _ => None,
        }
    }

    /// The length of a greeting.
    pub(crate) fn greeting(self) -> usize {
        match self {
            Self::Members => GREETING,
            Self::Keys => GREETING + PUBLIC,
        }
    }
}

/// The first message of one side, and the ephemeral secret that belongs to it.
pub(crate) struct Greeting {
    bytes: Vec<u8>,
    ephemeral: Option<Ephemeral>,
}

/// The state that both sides must share to understand each other's frames.
pub(crate) struct StreamSeal {
    key: Key,
    /// Direction, both greetings, the cluster's name.
    context: Vec<u8>,
    ours: Lane,
    theirs: Lane,
}

/// One direction.
struct Lane {
    direction: u8,
    session: Session,
    frames: u64,
}

/// The key that a greeting asks for, if it is for this cluster and we have it.
pub(crate) fn asked_key(greeting: &[u8], cluster: u32, ring: &Keyring) -> Option<Key> {
    let mark = greeting.get(8..COMMON)?.try_into().ok()?;
    ring.marked(mark).next().filter(|_| is_for(greeting, cluster))
}

/// Whether a greeting is for this cluster.
pub(crate) fn is_for(greeting: &[u8], cluster: u32) -> bool {
    greeting.get(4..8) == Some(&cluster.to_le_bytes())
}

impl Greeting {
    /// The greeting of a node; with an ephemeral key pair, of a stream that changes keys.
    pub(crate) fn new(cluster: u32, key: &Key, session: Session, ephemeral: Option<Ephemeral>) -> Self {
        let marker = if ephemeral.is_some() { KEYS_MARKER } else { MARKER };
        let mark = key.fingerprint().mark();
        let mut bytes = [&marker[..], &cluster.to_le_bytes(), &mark, &session].concat();
        bytes.extend(ephemeral.iter().flat_map(Ephemeral::public));
        Self { bytes, ephemeral }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn is_for_keys(&self) -> bool {
        self.ephemeral.is_some()
    }

    /// Agrees with the other side's greeting on how to seal. `None` if that is not an answer to ours, or the other way
    /// round. The ephemeral secret is wiped.
    pub(crate) fn agree(self, key: Key, name: &str, theirs: &[u8], we_opened: bool) -> Option<StreamSeal> {
        let ours = &*self.bytes;
        if theirs.len() != ours.len() || theirs[..COMMON] != ours[..COMMON] {
            return None;
        }
        let (opened, answered) = if we_opened { (ours, theirs) } else { (theirs, ours) };
        let key = match &self.ephemeral {
            None => key,
            Some(ephemeral) => ephemeral.agree(&key, &theirs[GREETING..], opened, answered)?,
        };
        Some(StreamSeal::new(key, name, opened, answered, we_opened))
    }
}

impl StreamSeal {
    fn new(key: Key, name: &str, opened: &[u8], answered: &[u8], we_opened: bool) -> Self {
        let context = [&[0], opened, answered, name.as_bytes()].concat();
        let lane = |direction, greeting: &[u8]| {
            let mut session = Session::default();
            session.copy_from_slice(&greeting[COMMON..GREETING]);
            Lane { direction, session, frames: 0 }
        };
        let (forth, back) = (lane(0, opened), lane(1, answered));
        let (ours, theirs) = if we_opened { (forth, back) } else { (back, forth) };
        Self { key, context, ours, theirs }
    }

    /// Seals the frame in the buffer.
    pub(crate) fn seal(&mut self, buffer: &mut Vec<u8>) {
        let place = self.ours.next(&mut self.context);
        let tag = super::seal(&self.key, place, &self.context, buffer);
        buffer.extend_from_slice(&tag);
    }

    /// Opens the frame in the buffer; false if it is not genuine.
    pub(crate) fn open(&mut self, buffer: &mut Vec<u8>) -> bool {
        let Some(len) = buffer.len().checked_sub(TAG) else { return false };
        let place = self.theirs.next(&mut self.context);
        let (body, tag) = buffer.split_at_mut(len);
        let genuine = super::open(&self.key, place, &self.context, body, tag);
        buffer.truncate(len);
        genuine
    }
}

impl Lane {
    fn next(&mut self, context: &mut [u8]) -> Place {
        context[0] = self.direction;
        self.frames += 1;
        Place { session: self.session, count: self.frames }
    }
}
