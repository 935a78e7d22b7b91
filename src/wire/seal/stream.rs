//! A sealed stream: both sides say something fresh, and every frame is bound to both.
//!
//! ```text
//! greeting, 28 bytes each way
//! 0        version (2)
//! 1..4     ff ff ff: no frame is that long, so a greeting is no frame
//! 4..8     cluster mark, u32 LE
//! 8..12    mark of the key, chosen by the one who opened the stream
//! 12..28   session: random
//!
//! frame
//! 0..4     length of the rest, u32 LE
//! 4..      sealed packet
//! last 16  tag, over the sealed bytes, direction, both greetings and the cluster's name
//! ```
//!
//! The nonce of a frame is its sender's session and the number of the frame, so frames cannot be left out,
//! repeated or put in another order; a recorded stream fails at its first frame, for the other side's greeting
//! is new. No clock is involved.

use super::{Place, Session, TAG, VERSION};
use crate::wire::{key::Key, keyring::Keyring};

pub(crate) const GREETING: usize = 28;
/// Bytes by which a greeting shows that it is one.
pub(crate) const MARKER: [u8; 4] = [VERSION, 0xff, 0xff, 0xff];

pub(crate) type Greeting = [u8; GREETING];

/// What both sides must agree on to understand each other's frames.
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

/// The greeting of a node.
pub(crate) fn greeting(cluster: u32, key: &Key, session: Session) -> Greeting {
    let mut bytes = [0; GREETING];
    bytes[..4].copy_from_slice(&MARKER);
    bytes[4..8].copy_from_slice(&cluster.to_le_bytes());
    bytes[8..12].copy_from_slice(&key.fingerprint().mark());
    bytes[12..].copy_from_slice(&session);
    bytes
}

/// The key that a greeting asks for, if it is for this cluster and we have it.
pub(crate) fn asked_key(greeting: &Greeting, cluster: u32, ring: &Keyring) -> Option<Key> {
    let meant = greeting[..4] == MARKER && greeting[4..8] == cluster.to_le_bytes();
    let mark = greeting[8..12].try_into().ok()?;
    ring.marked(mark).next().filter(|_| meant)
}

impl StreamSeal {
    /// For the side that opened the stream, or for the other one. `None` if the greetings do not match.
    pub(crate) fn new(
        key: Key,
        name: &str,
        opened: &Greeting,
        answered: &Greeting,
        we_opened: bool,
    ) -> Option<Self> {
        if opened[..12] != answered[..12] {
            return None;
        }
        let context = [&[0], &opened[..], &answered[..], name.as_bytes()].concat();
        let lane = |direction, greeting: &Greeting| {
            let mut session = Session::default();
            session.copy_from_slice(&greeting[12..]);
            Lane { direction, session, frames: 0 }
        };
        let (forth, back) = (lane(0, opened), lane(1, answered));
        let (ours, theirs) = if we_opened { (forth, back) } else { (back, forth) };
        Some(Self { key, context, ours, theirs })
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
