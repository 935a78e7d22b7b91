//! Log lines about peers whose data this node cannot use, or that cannot use this node's data, with the peer's address.
//!
//! A node with the wrong key or cluster opens streams towards this node, which rejects them and logs the reason. The other
//! side only learns that its stream was rejected, and logs that.

use std::{
    fmt::Display,
    io::{self, ErrorKind},
    net::SocketAddr,
};

use super::family::Family;
use crate::{
    log_line::{Field, Sink, Throttle, Topic},
    wire::{
        frame::SEALED,
        packet::{self, Reject},
    },
};

/// A smaller clock difference is not logged: a datagram may have been under way as this node started.
#[cfg(feature = "encryption")]
const MIN_OFF_MS: u64 = 1000;

/// Why a node cannot use the data of a peer.
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
    /// The mismatch that the header of an unsealed or opened packet shows.
    pub(super) fn of_packet(bytes: &[u8], cluster: u32) -> Option<Self> {
        match packet::foreign(bytes, cluster)? {
            Reject::Cluster => Some(Self::Cluster),
            Reject::Version if bytes[0] == SEALED => Some(Self::Sealed),
            Reject::Version => Some(Self::Version),
            Reject::Short | Reject::Checksum => None,
        }
    }

    /// The mismatch that an error was made from.
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

/// The channel through which the peer's data arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    Datagram,
    Stream,
}

/// Shared by all threads of a node. Each kind of line is throttled for each host. Lines about datagrams, whose sources can
/// be forged in any number, do not displace those about streams.
#[derive(Debug)]
pub(super) struct PeerLog {
    /// This node's name.
    node: String,
    datagrams: Throttle,
    streams: Throttle,
}

impl PeerLog {
    pub(super) fn new(node: &str) -> Self {
        Self { node: node.to_owned(), datagrams: Throttle::default(), streams: Throttle::default() }
    }

    /// Logs that data of a peer was dropped.
    pub(super) fn mismatch(&self, mismatch: Mismatch, peer: SocketAddr, via: Via, sink: &mut impl Sink) {
        let (name, throttle) = self.of(via);
        self.write(throttle, mismatch.topic(), peer, &[("via", &name), ("hint", &mismatch.hint())], sink);
    }

    /// Logs that data of a peer was dropped, or its stream refused, because its address is in no allowed network.
    pub(super) fn not_allowed(&self, peer: SocketAddr, via: Via, sink: &mut impl Sink) {
        let hint = "no network in `allow` holds this address; if it is a member's, add its network";
        let (name, throttle) = self.of(via);
        self.write(throttle, Topic::NotAllowed, peer, &[("via", &name), ("hint", &hint)], sink);
    }

    /// Logs that no datagram can be sent to a peer, since this node's socket is of the other address family.
    pub(super) fn other_family(&self, peer: SocketAddr, own: Family, sink: &mut impl Sink) {
        let hint = "bind to [::], which speaks both, or have it advertise an address of this node's family";
        self.write(&self.datagrams, Topic::OtherFamily, peer, &[("own", &own), ("hint", &hint)], sink);
    }

    /// Logs that a peer ended a stream that this node opened.
    pub(super) fn rejected(&self, peer: SocketAddr, error: &io::Error, sink: &mut impl Sink) {
        let (reason, hint): (&dyn Display, _) = match error.kind() {
            ErrorKind::InvalidData => (error, "its key or cluster may be another; its log says which"),
            _ => (&"it hung up", "it ended, or a proxy has nobody behind it; else its log says why"),
        };
        self.write(&self.streams, Topic::StreamRejected, peer, &[("reason", reason), ("hint", &hint)], sink);
    }

    /// Logs that a genuine datagram was dropped because its time of sending differs too much.
    #[cfg(feature = "encryption")]
    pub(super) fn clock_off(&self, peer: SocketAddr, off_ms: u64, sink: &mut impl Sink) {
        if off_ms >= MIN_OFF_MS {
            let hint = "a clock is wrong, here or there, or somebody replays; run NTP";
            self.write(&self.datagrams, Topic::ClockOff, peer, &[("off_ms", &off_ms), ("hint", &hint)], sink);
        }
    }

    fn of(&self, via: Via) -> (&'static str, &Throttle) {
        match via {
            Via::Datagram => ("datagram", &self.datagrams),
            Via::Stream => ("stream", &self.streams),
        }
    }

    fn write(
        &self,
        throttle: &Throttle,
        topic: Topic,
        peer: SocketAddr,
        fields: &[Field<'_>],
        sink: &mut impl Sink,
    ) {
        if !sink.is_on(topic) {
            return;
        }
        let mut all: Vec<Field<'_>> = vec![("peer", &peer)];
        all.extend_from_slice(fields);
        all.push(("node", &self.node));
        // The port is left out, since it changes with each stream.
        throttle.write(topic, &peer.ip().to_string(), &all, sink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_line::{Log, Written};

    fn peer(host: u8, port: u16) -> SocketAddr {
        ([10, 0, 0, host], port).into()
    }

    #[cfg(feature = "encryption")]
    #[test]
    fn each_mismatch_is_one_line_with_the_address_and_a_remedy() {
        let (log, mut written) = (PeerLog::new("me"), Written::default());
        for mismatch in [Mismatch::Key, Mismatch::Cluster, Mismatch::Version] {
            log.mismatch(mismatch, peer(1, 7), Via::Datagram, &mut written);
        }
        for mismatch in [Mismatch::Clear, Mismatch::Sealed] {
            log.mismatch(mismatch, "[fd00::1]:7".parse().unwrap(), Via::Stream, &mut written);
        }
        log.rejected(peer(1, 7), &ErrorKind::UnexpectedEof.into(), &mut written);
        log.rejected(
            peer(2, 7),
            &io::Error::new(ErrorKind::InvalidData, "a frame is too long"),
            &mut written,
        );
        log.clock_off(peer(1, 7), MIN_OFF_MS - 1, &mut written);
        log.clock_off(peer(1, 7), 31_000, &mut written);
        log.not_allowed(peer(1, 7), Via::Datagram, &mut written);
        let expected = [
            r#"wrong key peer=10.0.0.1:7 via=datagram hint="it seals with a key that is not on our ring; give both sides a key in common" node=me"#,
            r#"wrong cluster peer=10.0.0.1:7 via=datagram hint="it belongs to another cluster; give both sides the same, or keep them apart" node=me"#,
            r#"wrong version peer=10.0.0.1:7 via=datagram hint="it speaks another version of the protocol" node=me"#,
            r#"not sealed peer=[fd00::1]:7 via=stream hint="it does not seal, and we require it; give it the key" node=me"#,
            r#"no key peer=[fd00::1]:7 via=stream hint="it seals, and we have no key; give us the key" node=me"#,
            r#"stream rejected peer=10.0.0.1:7 reason="it hung up" hint="it ended, or a proxy has nobody behind it; else its log says why" node=me"#,
            r#"stream rejected peer=10.0.0.2:7 reason="a frame is too long" hint="its key or cluster may be another; its log says which" node=me"#,
            r#"clock off peer=10.0.0.1:7 off_ms=31000 hint="a clock is wrong, here or there, or somebody replays; run NTP" node=me"#,
            r#"not allowed peer=10.0.0.1:7 via=datagram hint="no network in `allow` holds this address; if it is a member's, add its network" node=me"#,
        ];
        assert_eq!(written.0, expected);
    }

    #[test]
    fn mismatches_of_one_host_at_any_ports_and_of_many_hosts_are_logged_seldom() {
        let (log, mut written) = (PeerLog::new("me"), Written::default());
        for port in 1..1_000 {
            log.mismatch(Mismatch::Cluster, peer(1, port), Via::Stream, &mut written);
            log.mismatch(Mismatch::Version, peer(1, port), Via::Stream, &mut written);
        }
        assert_eq!(written.0.len(), 2);
        written.0.clear();
        for host in 2..=255 {
            log.mismatch(Mismatch::Cluster, peer(host, 7), Via::Datagram, &mut written);
        }
        assert_eq!(written.0.len(), 65);
        log.mismatch(Mismatch::Cluster, peer(77, 7), Via::Stream, &mut written);
        assert_eq!(written.0.len(), 66, "sources of datagrams are forged easily: these hide no stream");
    }

    #[test]
    fn while_its_level_is_off_a_line_allocates_nothing() {
        assert!(!Topic::WrongCluster.is_on(), "unit tests have no logger");
        let log = PeerLog::new("me");
        let counted = allocation_counter::measure(|| {
            log.mismatch(Mismatch::Cluster, peer(1, 7), Via::Stream, &mut Log);
            crate::log_line::log(Topic::MemberJoined, &[("name", &"b")]);
        });
        assert_eq!(counted.count_total, 0);
    }
}
