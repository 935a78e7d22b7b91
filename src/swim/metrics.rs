//! What a node counted.

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the node's start, and the gauges of this moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
        #[non_exhaustive]
        pub struct Metrics { $($(#[$doc])* pub $name: u64,)* }

        impl Metrics {
            /// Every value with its name, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Adds what somebody else counted.
            pub(crate) fn add(&mut self, others: &Self) {
                $(self.$name += others.$name;)*
            }
        }
    };
}

metrics! {
    /// Gauge: live members, this node included.
    live_members,
    /// Gauge: departed members that are remembered.
    departed_members,
    /// Gauge: members about which an update waits to be sent.
    queued_updates,
    /// Gauge: Lifeguard's local health, 0 is well.
    health_score,
    /// Gauge: live members that datagrams do not reach, though streams do.
    streams_only_members,
    /// Gauge: 1 while no member reaches this node at the address that it advertises.
    unreached,
    /// Gauge: 1 while that address, which was one of this host, is none any more.
    address_gone,
    /// Datagrams handed out for sending.
    datagrams_sent,
    /// Their bytes, without UDP and IP headers.
    bytes_sent,
    /// Datagrams taken in.
    datagrams_received,
    /// Their bytes, without UDP and IP headers.
    bytes_received,
    /// What would have been datagrams, sent by stream to members that datagrams do not reach.
    carried_sent,
    /// The same, received.
    carried_received,
    /// Packets dropped because they were too short.
    dropped_short,
    /// Packets dropped because of their version.
    dropped_version,
    /// Packets dropped because they belong to another cluster.
    dropped_cluster,
    /// Packets dropped because of their checksum.
    dropped_checksum,
    /// Sections dropped because they did not decode or broke a limit.
    dropped_malformed,
    /// Claims dropped because their epoch or incarnation jumps too far.
    dropped_implausible,
    /// An Alive of another member about one that this node's own probes do not reach: it is not believed until that member
    /// answers, or says so itself.
    ignored_returns,
    /// Claims dropped because an unverified peer made them: it may make one, its own Alive.
    dropped_unverified,
    /// Datagrams, streams and claimed addresses refused because `allow` does not hold them.
    dropped_not_allowed,
    /// Datagrams and streams dropped because they were not sealed and had to be. Counted by the driver, as are
    /// the next four.
    dropped_unsealed,
    /// Datagrams and streams dropped because they are sealed with a key that is not on the ring.
    dropped_unknown_key,
    /// Datagrams and frames dropped because they are not genuine.
    dropped_forged,
    /// Genuine datagrams dropped because they were sent too long ago, or before this node started: replayed, or
    /// from a host whose clock is wrong.
    dropped_stale,
    /// Genuine datagrams dropped because they came before.
    dropped_replayed,
    /// Pings dropped because they were meant for another name.
    dropped_wrong_target,
    /// Acks and nacks dropped because this node had not asked that address.
    dropped_stray_answers,
    /// Datagrams not sent because too many waited already, or too many went by stream.
    dropped_transmits,
    /// Relay requests refused: from or about nodes that are no members, or too many.
    refused_relays,
    /// Live members refused because the table was full.
    refused_members,
    /// Streams refused because too many were open.
    refused_streams,
    /// Live members that had never answered, taken out of a full table to make room.
    evicted_members,
    /// Departed members forgotten early to make room.
    evicted_departed,
    /// Failed members that are no longer tried, to make room.
    evicted_reconnects,
    /// Probe rounds begun.
    probes,
    /// Probe rounds that ended without an answer.
    probes_failed,
    /// Probe rounds in which others were asked.
    probes_indirect,
    /// Probe rounds saved by a stream alone: datagrams to that member get lost.
    probes_saved_by_stream,
    /// Suspicions raised or heard.
    suspicions,
    /// Accusations against this node that it refuted.
    refutations,
    /// Times this node was declared failed again, had trouble of its own, and stayed away until it was well.
    flaps_damped,
    /// Times this node was held up and blamed itself.
    stalls,
    /// Exchanges of tables completed.
    syncs,
    /// Of these, the ones that found equal tables.
    syncs_equal,
    /// Of these, the ones that exchanged only the parts that differ.
    syncs_partial,
    /// Failed members tried at their last address.
    reconnects_tried,
    /// Datagrams that the system failed to receive. Counted by the driver.
    receive_errors,
    /// Datagrams that the system refused to send. Counted by the driver.
    send_errors,
}
