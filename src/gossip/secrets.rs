//! The keyring of a running node in use: sealing and opening. Without the feature `encryption`, `no_secrets.rs` replaces it.

use std::{
    io::{self, ErrorKind, Read, Write},
    sync::Arc,
};

use super::{
    clock::wall_millis,
    config::GossipConfig,
    counters::Counters,
    directory::Directory,
    peer_clocks::{ClockLog, PeerClocks},
    peer_log::Mismatch,
};
use crate::{
    Encryption, Error, Key, Keyring,
    keys::key::random,
    log_line::{Sink, Topic, log},
    swim::{Clocks, Metrics},
    wire::{
        frame::PREFIX,
        hash,
        seal::{
            TAG,
            clock::Reading,
            datagram::{AssociatedData, OVERHEAD, Opener, Refusal, Sealer, is_sealed},
            exchange::Ephemeral,
            stream::{self, Greeting},
        },
    },
};

pub(super) use stream::Purpose;

/// The least time between two warnings about a clock that was set back, in milliseconds.
const WARNING_MS: u64 = 60_000;
/// How far the wall clock must be set back before that is logged, in milliseconds.
const SET_BACK_MS: u64 = 5_000;

/// The keyring, if there is one, with the names of node and cluster. Data that cannot be opened is counted.
#[derive(Debug)]
pub(super) struct Secrets {
    ring: Option<Keyring>,
    cluster: String,
    mark: u32,
    counters: Arc<Counters>,
    clocks: Arc<PeerClocks>,
}

impl Secrets {
    pub(super) fn of(config: &GossipConfig, counters: &Arc<Counters>) -> Self {
        let cluster = config.swim.cluster.clone();
        let (ring, counters) = (config.keyring.clone(), Arc::clone(counters));
        Self { ring, mark: hash::cluster(&cluster), cluster, counters, clocks: Arc::default() }
    }

    /// The comparison of the members' clocks with this node's.
    pub(super) fn clocks(&self) -> Option<Clocks> {
        self.clocks.compare(self.clocks.steady())
    }

    /// How many milliseconds a member's clock is ahead of this node's.
    pub(super) fn clock_ahead_ms(&self, member: &str) -> Option<i64> {
        self.clocks.ahead_ms(member)
    }

    /// Adds the figures about clocks to the metrics of the protocol.
    pub(super) fn add_to(&self, metrics: &mut Metrics) {
        if let Some(clocks) = self.clocks() {
            metrics.clocks_off = clocks.off as u64;
            metrics.clock_difference = (clocks.largest_ms.unsigned_abs() + 500) / 1000;
        }
    }

    /// Whether this node seals what it sends.
    pub(super) fn seals(&self) -> bool {
        self.ring.as_ref().is_some_and(|ring| ring.encryption() != Encryption::Accept)
    }

    /// Whether this node accepts only sealed data.
    pub(super) fn requires(&self) -> bool {
        self.ring.as_ref().is_some_and(|ring| ring.encryption() == Encryption::Require)
    }

    pub(super) fn ring(&self) -> Result<&Keyring, Error> {
        let missing = "this node has no keyring; give its configuration one";
        self.ring.as_ref().ok_or_else(|| Error::Key { problem: missing.into() })
    }

    /// The mark of the cluster in packets.
    pub(super) fn mark(&self) -> u32 {
        self.mark
    }

    /// Agrees with the other side on the sealing of a stream that this node opens.
    pub(super) fn open_stream(
        &self,
        socket: &mut (impl Read + Write),
        purpose: Purpose,
    ) -> io::Result<StreamSeal> {
        let opening = self.begin_stream(socket, purpose)?;
        self.finish_stream(socket, opening)
    }

    /// The first half of this agreement, which does not wait for the other side.
    pub(super) fn begin_stream(&self, socket: &mut impl Write, purpose: Purpose) -> io::Result<Opening> {
        let key = self.ring().map_err(io::Error::other)?.primary();
        let ours = self.greet(socket, &key, purpose)?;
        Ok(Opening { key, ours, purpose })
    }

    /// The second half: reads the other side's greeting.
    pub(super) fn finish_stream(&self, socket: &mut impl Read, opening: Opening) -> io::Result<StreamSeal> {
        let mut theirs = vec![0; opening.purpose.greeting()];
        socket.read_exact(&mut theirs)?;
        self.agree(opening.key, opening.ours, &theirs, true)
    }

    /// Agrees with the side that opened a stream, and sent these first bytes, whether and how to seal it.
    pub(super) fn answer_stream(
        &self,
        first: [u8; PREFIX],
        socket: &mut (impl Read + Write),
    ) -> io::Result<Option<StreamSeal>> {
        let (Some(ring), Some(purpose)) = (&self.ring, Purpose::of(first)) else {
            if self.requires() {
                self.counters.count(|counted| counted.dropped_unsealed += 1);
                return Err(Mismatch::Clear.into());
            }
            return Ok(None);
        };
        let mut theirs = vec![0; purpose.greeting()];
        theirs[..first.len()].copy_from_slice(&first);
        socket.read_exact(&mut theirs[first.len()..])?;
        let Some(key) = stream::asked_key(&theirs, self.mark, ring) else {
            let is_foreign = !stream::is_for(&theirs, self.mark);
            self.counters.count(|counted| match is_foreign {
                true => counted.dropped_cluster += 1,
                false => counted.dropped_unknown_key += 1,
            });
            return Err(if is_foreign { Mismatch::Cluster } else { Mismatch::Key }.into());
        };
        let ours = self.greet(socket, &key, purpose)?;
        self.agree(key, ours, &theirs, false).map(Some)
    }

    fn greet(&self, socket: &mut impl Write, key: &Key, purpose: Purpose) -> io::Result<Greeting> {
        let ephemeral = match purpose {
            Purpose::Members => None,
            Purpose::Keys => Some(Ephemeral::generate().map_err(io::Error::other)?),
        };
        let session = random().map_err(io::Error::other)?;
        let greeting = Greeting::new(self.mark, key, session, ephemeral);
        socket.write_all(greeting.bytes())?;
        Ok(greeting)
    }

    fn agree(&self, key: Key, ours: Greeting, theirs: &[u8], we_opened: bool) -> io::Result<StreamSeal> {
        let is_for_keys = ours.is_for_keys();
        let seal = ours.agree(key, &self.cluster, theirs, we_opened);
        let error = || io::Error::new(ErrorKind::InvalidData, "the greetings do not match");
        let counters = Arc::clone(&self.counters);
        seal.map(|seal| StreamSeal { seal, is_for_keys, counters }).ok_or_else(error)
    }
}

/// A sealed stream on which this node has sent its greeting.
pub(super) struct Opening {
    key: Key,
    ours: Greeting,
    purpose: Purpose,
}

/// Seals and opens the frames of one stream.
pub(super) struct StreamSeal {
    seal: stream::StreamSeal,
    is_for_keys: bool,
    counters: Arc<Counters>,
}

impl StreamSeal {
    pub(super) const OVERHEAD: usize = TAG;

    /// Whether the stream was opened to change keys.
    pub(super) fn is_for_keys(&self) -> bool {
        self.is_for_keys
    }

    pub(super) fn seal(&mut self, frame: &mut Vec<u8>) {
        self.seal.seal(frame);
    }

    /// Opens a frame. Returns false, and counts it, if the frame is not genuine.
    pub(super) fn open(&mut self, frame: &mut Vec<u8>) -> bool {
        let is_genuine = self.seal.open(frame);
        if !is_genuine {
            self.counters.count(|counted| counted.dropped_forged += 1);
        }
        is_genuine
    }
}

/// Why a datagram was dropped before its packet was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    Mismatch(Mismatch),
    /// The datagram is genuine, but its time of sending differs by this much from this node's clock.
    Stale {
        off_ms: u64,
    },
    /// The datagram is not genuine, or a replay.
    Forged,
}

/// Seals and opens datagrams. The clock thread owns it.
#[derive(Debug)]
pub(super) struct DatagramSeal {
    counters: Arc<Counters>,
    /// `None` without a keyring: datagrams pass unchanged.
    sealing: Option<Sealing>,
}

#[derive(Debug)]
struct Sealing {
    /// The node's name, for the log.
    name: String,
    ring: Keyring,
    /// The mark of this node's name.
    mark: u32,
    sealer: Sealer,
    opener: Opener,
    sealed: Vec<u8>,
    wall: fn() -> u64,
    clocks: Arc<PeerClocks>,
    clock_log: ClockLog,
    /// When the last datagram was opened, by the steady clock; `None` if it was not sealed.
    opened: Option<u64>,
    /// When a warning about a clock that was set back was last due, by the steady clock.
    warned: Option<u64>,
}

impl DatagramSeal {
    pub(super) fn new(secrets: &Secrets, name: &str, started: u64) -> Result<Self, Error> {
        let counters = Arc::clone(&secrets.counters);
        let Some(ring) = secrets.ring.clone() else { return Ok(Self { counters, sealing: None }) };
        let cluster = AssociatedData::new(&secrets.cluster, secrets.mark);
        let sealer = Sealer::new(random()?, cluster.clone());
        let opener = Opener::new(cluster, started);
        let (name, mark) = (name.to_owned(), hash::member(name));
        let sealing = Sealing {
            name,
            ring,
            mark,
            sealer,
            opener,
            sealed: Vec::new(),
            wall: wall_millis,
            clocks: Arc::clone(&secrets.clocks),
            clock_log: ClockLog::default(),
            opened: None,
            warned: None,
        };
        Ok(Self { counters, sealing: Some(sealing) })
    }

    /// Makes the seal read another wall clock.
    #[cfg(test)]
    pub(super) fn read_wall(&mut self, wall: fn() -> u64) {
        self.sealing.as_mut().expect("it has a keyring").wall = wall;
    }

    /// Notes which member the datagram that was opened last is from; `None` if its sender is not proven.
    pub(super) fn on_opened(&mut self, sender: Option<u32>, directory: &Directory, sink: &mut impl Sink) {
        let Some(Sealing { name, opener, clocks, clock_log, opened, .. }) = &mut self.sealing else { return };
        if let (Some(now), Some(sender)) = (opened.take(), sender) {
            clocks.take(now, sender, opener.ahead_ms());
            clock_log.look(now, clocks, directory, name, sink);
        }
    }

    /// Returns the datagram for a packet to the member with that mark.
    pub(super) fn seal<'a>(&'a mut self, recipient: u32, packet: &'a [u8]) -> &'a [u8] {
        let Some(sealing) = &mut self.sealing else { return packet };
        let Some(key) = sealing.ring.sealing() else { return packet };
        let now = sealing.opener.now(sealing.reading());
        sealing.sealer.seal(&key, now, recipient, packet, &mut sealing.sealed);
        self.counters.count(|counted| counted.bytes_sent += OVERHEAD as u64);
        &sealing.sealed
    }

    /// Returns the packet in a datagram, or why the datagram was dropped and counted.
    pub(super) fn open<'a>(&mut self, bytes: &'a mut [u8]) -> Result<&'a [u8], Dropped> {
        let Self { counters, sealing } = self;
        let len = bytes.len() as u64;
        let Some(sealing) = sealing else { return Ok(bytes) };
        if !is_sealed(bytes) {
            if sealing.ring.encryption() == Encryption::Require {
                counters.count_dropped(len, |counted| &mut counted.dropped_unsealed);
                return Err(Dropped::Mismatch(Mismatch::Clear));
            }
            return Ok(bytes);
        }
        let at = sealing.reading();
        sealing.look_at_wall(at);
        match sealing.opener.open(&sealing.ring, at, sealing.mark, bytes) {
            Ok(packet) => {
                counters.count(|counted| counted.bytes_received += OVERHEAD as u64);
                sealing.opened = Some(at.steady);
                Ok(packet)
            }
            Err(refusal) => {
                counters.count_dropped(len, |counted| match refusal {
                    Refusal::Foreign => &mut counted.dropped_cluster,
                    Refusal::UnknownKey => &mut counted.dropped_unknown_key,
                    Refusal::Forged => &mut counted.dropped_forged,
                    Refusal::Stale(_) => &mut counted.dropped_stale,
                    Refusal::Replayed => &mut counted.dropped_replayed,
                });
                Err(match refusal {
                    Refusal::Foreign => Dropped::Mismatch(Mismatch::Cluster),
                    Refusal::UnknownKey => Dropped::Mismatch(Mismatch::Key),
                    Refusal::Stale(off_ms) => Dropped::Stale { off_ms },
                    Refusal::Forged | Refusal::Replayed => Dropped::Forged,
                })
            }
        }
    }
}

impl Sealing {
    fn reading(&self) -> Reading {
        Reading { wall: (self.wall)(), steady: self.clocks.steady() }
    }

    /// Warns if the wall clock was set back: for hours that has no effect, then other nodes refuse datagrams that this one
    /// seals.
    fn look_at_wall(&mut self, at: Reading) {
        let back = self.opener.now(at).saturating_sub(at.wall);
        if back > SET_BACK_MS && self.warned.is_none_or(|warned| at.steady - warned >= WARNING_MS) {
            self.warned = Some(at.steady);
            let hint = "put the wall clock right; if it is right now, restart this node";
            log(Topic::ClockSetBack, &[("by_ms", &back), ("hint", &hint), ("node", &self.name)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_in_clear_is_refused_and_counted_where_sealing_is_required() {
        let counters = Arc::new(Counters::default());
        let config = GossipConfig::local("a").keyring(&Keyring::new(Key::from([1; 32])));
        let secrets = Secrets::of(&config, &counters);
        assert!(secrets.requires());
        for times in 1..=2 {
            let mut socket = io::Cursor::new(Vec::new());
            let error = secrets.answer_stream([0; PREFIX], &mut socket).map(drop).unwrap_err();
            assert_eq!(Mismatch::of_error(&error), Some(Mismatch::Clear));
            let mut metrics = Metrics::default();
            counters.add_to(&mut metrics);
            assert_eq!(metrics.dropped_unsealed, times);
        }
    }
}
