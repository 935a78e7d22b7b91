//! What a node logs of peers that it does not understand, or that do not understand it: with the peer's address.
//!
//! Whoever has the wrong key or cluster opens streams towards this node, which rejects them and says why. The other side
//! learns only that its stream was rejected, and says that.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use crate::{
    log_line::{Field, Throttle, Topic},
    wire::{
        frame::SEALED,
        packet::{self, Reject},
    },
};

/// A clock that is off by less than this is not told: a datagram may have been under way as this node started.
#[cfg(feature = "encryption")]
const MIN_OFF_MS: u64 = 1000;

/// Why a node cannot take in what a peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("sealed with a key that is not on this node's ring")]
    #[cfg(feature = "encryption")]
    Key,
    #[error("of another cluster")]
    Cluster,
    #[error("of another version of the protocol")]
    Version,
    #[error("not sealed, and this node requires it")]
    #[cfg(feature = "encryption")]
    Clear,
    #[error("sealed, and this node has no key")]
    Sealed,
}

impl Mismatch {
    /// What the header of a packet shows that is not sealed, or not any more.
    pub(super) fn of_packet(bytes: &[u8], cluster: u32) -> Option<Self> {
        match packet::foreign(bytes, cluster)? {
            Reject::Cluster => Some(Self::Cluster),
            Reject::Version if bytes[0] == SEALED => Some(Self::Sealed),
            Reject::Version => Some(Self::Version),
            Reject::Short | Reject::Checksum => None,
        }
    }

    /// The one that an error was made of.
    pub(super) fn of_error(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    fn topic(self) -> Topic {
        match self {
            #[cfg(feature = "encryption")]
            Self::Key => Topic::WrongKey,
            Self::Cluster => Topic::WrongCluster,
            Self::Version => Topic::WrongVersion,
            #[cfg(feature = "encryption")]
            Self::Clear => Topic::NotSealed,
            Self::Sealed => Topic::NoKey,
        }
    }

    fn hint(self) -> &'static str {
        match self {
            #[cfg(feature = "encryption")]
            Self::Key => "it seals with a key that is not on our ring; give both sides a key in common",
            Self::Cluster => "it belongs to another cluster; give both sides the same, or keep them apart",
            Self::Version => "it speaks another version of the protocol",
            #[cfg(feature = "encryption")]
            Self::Clear => "it does not seal, and we require it; give it the key",
            Self::Sealed => "it seals, and we have no key; give us the key",
        }
    }
}

impl From<Mismatch> for io::Error {
    fn from(mismatch: Mismatch) -> Self {
        Self::new(ErrorKind::InvalidData, mismatch)
    }
}

/// By what a peer was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    Datagram,
    Stream,
}

/// Shared by all threads of a node. Each kind of line is throttled for each host.
#[derive(Debug)]
pub(super) struct PeerLog {
    /// This node's name.
    node: String,
    throttle: Throttle,
}

impl PeerLog {
    pub(super) fn new(node: &str) -> Self {
        Self { node: node.to_owned(), throttle: Throttle::default() }
    }

    /// What a peer sent was dropped.
    pub(super) fn mismatch(&self, mismatch: Mismatch, peer: SocketAddr, via: Via) {
        let via = if via == Via::Datagram { "datagram" } else { "stream" };
        self.log(mismatch.topic(), peer, &[("via", &via), ("hint", &mismatch.hint())]);
    }

    /// A peer did not go on with a stream that this node opened.
    pub(super) fn rejected(&self, peer: SocketAddr, error: &io::Error) {
        let reason = match error.kind() {
            ErrorKind::InvalidData => error.to_string(),
            _ => "it hung up".to_owned(),
        };
        let hint = "its key or cluster may be another; its log says which";
        self.log(Topic::StreamRejected, peer, &[("reason", &reason), ("hint", &hint)]);
    }

    /// A genuine datagram was dropped because its time of sending is too far off.
    #[cfg(feature = "encryption")]
    pub(super) fn clock_off(&self, peer: SocketAddr, off_ms: u64) {
        if off_ms >= MIN_OFF_MS {
            let hint = "a clock is wrong, here or there, or somebody replays; run NTP";
            self.log(Topic::ClockOff, peer, &[("off_ms", &off_ms), ("hint", &hint)]);
        }
    }

    fn log(&self, topic: Topic, peer: SocketAddr, fields: &[Field<'_>]) {
        if !topic.is_on() {
            return;
        }
        let mut all: Vec<Field<'_>> = vec![("peer", &peer)];
        all.extend_from_slice(fields);
        all.push(("node", &self.node));
        // From each stream another port.
        let kind = format!("{} {}", topic.words(), peer.ip());
        self.throttle.log(&kind, topic, &all);
    }
}
