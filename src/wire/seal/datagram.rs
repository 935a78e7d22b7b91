//! A sealed datagram.
//!
//! ```text
//! 0        version (4)
//! 1..5     cluster mark, u32 LE
//! 5..9     mark of the key
//! 9..33    nonce: session of the sender, 16 bytes · count, u64 LE
//! 33..     sealed: time of sending, ms since 1970, u64 LE · packet
//! last 16  tag, over the sealed bytes, bytes 0..33, the recipient's mark and the cluster's name
//! ```
//!
//! The recipient's mark is in no byte of the datagram: for every other recipient the tag is wrong.

use super::{
    Place, Session, TAG, VERSION,
    clock::{Clock, Reading},
    replay::{Admission, FRESH_MS, Replays},
};
use crate::keys::{key::Key, keyring::Keyring};

const HEADER: usize = 33;
const TIME: usize = 8;
/// Header and recipient: what the associated data begins with.
const BOUND: usize = HEADER + size_of::<u32>();
/// Bytes that sealing adds to a packet.
pub(crate) const OVERHEAD: usize = HEADER + TIME + TAG;

/// Why a sealed datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too short, or of another cluster.
    Foreign,
    UnknownKey,
    /// Not sealed with that key, or for another member, or changed on its way.
    Forged,
    /// Not sent after this node started, or too long ago, or in the future: this many milliseconds off its clock.
    Stale(u64),
    Replayed,
}

/// Whether a datagram says that it is sealed.
pub(crate) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.first() == Some(&VERSION)
}

/// Seals what one node sends.
#[derive(Debug)]
pub(crate) struct Sealer {
    session: Session,
    sent: u64,
    cluster: AssociatedData,
}

/// Header, recipient and cluster's name: what is not encrypted, but cannot be changed either.
#[derive(Debug, Clone)]
pub(crate) struct AssociatedData {
    mark: u32,
    /// Header and recipient of the datagram at hand, then the name.
    context: Vec<u8>,
}

impl AssociatedData {
    pub(crate) fn new(name: &str, mark: u32) -> Self {
        Self { mark, context: [&[0; BOUND], name.as_bytes()].concat() }
    }

    fn context(&mut self, header: &[u8], recipient: u32) -> &[u8] {
        self.context[..HEADER].copy_from_slice(header);
        self.context[HEADER..BOUND].copy_from_slice(&recipient.to_le_bytes());
        &self.context
    }
}

impl Sealer {
    pub(crate) fn new(session: Session, cluster: AssociatedData) -> Self {
        Self { session, sent: 0, cluster }
    }

    /// Seals a packet for the member of that mark into `sealed`, whose memory is reused.
    pub(crate) fn seal(&mut self, key: &Key, now: u64, recipient: u32, packet: &[u8], sealed: &mut Vec<u8>) {
        self.sent += 1;
        let place = Place { session: self.session, count: self.sent };
        sealed.clear();
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.cluster.mark.to_le_bytes());
        sealed.extend_from_slice(&key.fingerprint().mark());
        sealed.extend_from_slice(&place.session);
        sealed.extend_from_slice(&place.count.to_le_bytes());
        sealed.extend_from_slice(&now.to_le_bytes());
        sealed.extend_from_slice(packet);
        let (header, body) = sealed.split_at_mut(HEADER);
        let tag = super::seal(key, place, self.cluster.context(header, recipient), body);
        sealed.extend_from_slice(&tag);
    }
}

/// Opens what one node receives.
#[derive(Debug)]
pub(crate) struct Opener {
    cluster: AssociatedData,
    replays: Replays,
    clock: Clock,
    started: u64,
    ahead_ms: i64,
}

impl Opener {
    /// `started`: by this node's clock, in milliseconds since 1970. What was sent until then is refused.
    pub(crate) fn new(cluster: AssociatedData, started: u64) -> Self {
        Self { cluster, replays: Replays::default(), clock: Clock::default(), started, ahead_ms: 0 }
    }

    /// The time to seal by, in milliseconds since 1970.
    pub(crate) fn now(&self, at: Reading) -> u64 {
        self.clock.now(at)
    }

    /// By how many milliseconds the time of the last datagram that was opened is ahead of this node's.
    pub(crate) fn ahead_ms(&self) -> i64 {
        self.ahead_ms
    }

    /// Opens a datagram in place; `recipient` is this node's mark.
    pub(crate) fn open<'a>(
        &mut self,
        ring: &Keyring,
        at: Reading,
        recipient: u32,
        bytes: &'a mut [u8],
    ) -> Result<&'a [u8], Refusal> {
        let len = bytes.len().checked_sub(OVERHEAD).ok_or(Refusal::Foreign)?;
        let (header, rest) = bytes.split_at_mut(HEADER);
        let (body, tag) = rest.split_at_mut(TIME + len);
        if header[0] != VERSION || header[1..5] != self.cluster.mark.to_le_bytes() {
            return Err(Refusal::Foreign);
        }
        let (session, count): (Session, [u8; 8]) = (array(&header[9..25]), array(&header[25..33]));
        let count = u64::from_le_bytes(count);
        let (mut tried, mark) = (false, array(&header[5..9]));
        let context = self.cluster.context(header, recipient);
        let genuine = ring.marked(mark).any(|key| {
            tried = true;
            super::open(&key, Place { session, count }, context, body, tag)
        });
        if !genuine {
            return Err(if tried { Refusal::Forged } else { Refusal::UnknownKey });
        }
        let (sent, packet) = body.split_at(TIME);
        self.admit(session, count, u64::from_le_bytes(array(sent)), at)?;
        Ok(packet)
    }

    /// Whether a genuine datagram is new.
    fn admit(&mut self, session: Session, count: u64, sent: u64, at: Reading) -> Result<(), Refusal> {
        let now = self.clock.now(at);
        if !self.clock.is_confirmed() {
            // This node's clock was ahead at the start and has been put right.
            self.started = self.started.min(now);
        }
        let off = now.abs_diff(sent);
        // Within the millisecond of the start, before and after cannot be told apart.
        if sent <= self.started || off > FRESH_MS {
            return Err(Refusal::Stale(off));
        }
        match self.replays.admit(session, count, sent) {
            Admission::New => {
                self.clock.confirm(at);
                self.ahead_ms = sent.cast_signed() - now.cast_signed();
                Ok(())
            }
            Admission::Seen => Err(Refusal::Replayed),
            Admission::Old => Err(Refusal::Stale(off)),
        }
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("cut to its length")
}
