//! A sealed datagram.
//!
//! ```text
//! 0        version (2)
//! 1..5     cluster mark, u32 LE
//! 5..9     mark of the key
//! 9..33    nonce: session of the sender, 16 bytes · count, u64 LE
//! 33..     sealed: time of sending, ms since 1970, u64 LE · packet
//! last 16  tag, over the sealed bytes, bytes 0..33 and the cluster's name
//! ```

use super::{Place, Session, TAG, VERSION, replay::FRESH_MS, replay::Replays};
use crate::wire::{key::Key, keyring::Keyring};

const HEADER: usize = 33;
const TIME: usize = 8;
/// Bytes that sealing adds to a packet.
pub(crate) const OVERHEAD: usize = HEADER + TIME + TAG;

/// Why a sealed datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too short, or of another cluster.
    Foreign,
    UnknownKey,
    /// Not sealed with that key, or changed on its way.
    Forged,
    /// Not sent after we started, or too long ago, or in our future: by so many milliseconds.
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
    cluster: Cluster,
}

/// Header and cluster's name: what is not encrypted, but cannot be changed either.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    mark: u32,
    /// The header of the datagram at hand, then the name.
    context: Vec<u8>,
}

impl Cluster {
    pub(crate) fn new(name: &str, mark: u32) -> Self {
        Self { mark, context: [&[0; HEADER], name.as_bytes()].concat() }
    }

    fn context(&mut self, header: &[u8]) -> &[u8] {
        self.context[..HEADER].copy_from_slice(header);
        &self.context
    }
}

impl Sealer {
    pub(crate) fn new(session: Session, cluster: Cluster) -> Self {
        Self { session, sent: 0, cluster }
    }

    /// Seals a packet into `sealed`, whose memory is reused.
    pub(crate) fn seal(&mut self, key: &Key, now: u64, packet: &[u8], sealed: &mut Vec<u8>) {
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
        let tag = super::seal(key, place, self.cluster.context(header), body);
        sealed.extend_from_slice(&tag);
    }
}

/// Opens what one node receives.
#[derive(Debug)]
pub(crate) struct Opener {
    cluster: Cluster,
    replays: Replays,
    started: u64,
}

impl Opener {
    /// `started`: by our clock, in milliseconds since 1970. What was sent until then is none of ours.
    pub(crate) fn new(cluster: Cluster, started: u64) -> Self {
        Self { cluster, replays: Replays::default(), started }
    }

    /// Opens a datagram in place.
    pub(crate) fn open<'a>(
        &mut self,
        ring: &Keyring,
        now: u64,
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
        let context = self.cluster.context(header);
        let genuine = ring.marked(mark).any(|key| {
            tried = true;
            super::open(&key, Place { session, count }, context, body, tag)
        });
        if !genuine {
            return Err(if tried { Refusal::Forged } else { Refusal::UnknownKey });
        }
        // Our clock was ahead at the start and has been put right.
        self.started = self.started.min(now);
        let (sent, packet) = body.split_at(TIME);
        let sent = u64::from_le_bytes(array(sent));
        // Of the millisecond in which we started, nobody can tell which part is before.
        if sent <= self.started || now.abs_diff(sent) > FRESH_MS {
            return Err(Refusal::Stale(now.abs_diff(sent)));
        }
        if !self.replays.admit(session, count, now) {
            return Err(Refusal::Replayed);
        }
        Ok(packet)
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("cut to its length")
}
