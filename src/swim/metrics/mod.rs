//! What a node counted and measured.
//!
//! Each metric is one entry of `metrics!`: its documentation is also its help text, its kind and unit are said once, and
//! so is its name in Prometheus. The field's name is its name everywhere else.

mod histogram;
mod metric;
mod prometheus;

use serde::{Deserialize, Serialize};

pub use histogram::Histogram;
pub use metric::{Metric, MetricKind, MetricLabel, MetricUnit, MetricValue};

macro_rules! value_of {
    (counter) => {
        u64
    };
    (gauge) => {
        u64
    };
    (histogram) => {
        Histogram
    };
}

macro_rules! kind_of {
    (counter) => {
        MetricKind::Counter
    };
    (gauge) => {
        MetricKind::Gauge
    };
    (histogram) => {
        MetricKind::Histogram
    };
}

macro_rules! unit_of {
    () => {
        MetricUnit::Number
    };
    (bytes) => {
        MetricUnit::Bytes
    };
    (seconds) => {
        MetricUnit::Seconds
    };
}

macro_rules! label_of {
    () => {
        None
    };
    ($label:ident $value:literal) => {
        Some(MetricLabel { name: stringify!($label), value: $value })
    };
}

macro_rules! metrics {
    ($(
        $(#[doc = $doc:literal])+
        $kind:ident $name:ident $([$unit:ident])? = $family:literal $({ $label:ident = $value:literal })?;
    )*) => {
        /// Counters and a histogram since the node's start, and the gauges of this moment.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        #[non_exhaustive]
        pub struct Metrics {$(
            $(#[doc = $doc])+
            #[doc = concat!("\n\nA ", stringify!($kind), ", in Prometheus `", $family, $("{", stringify!($label), "=\"", $value, "\"}",)? "`.")]
            pub $name: value_of!($kind),
        )*}

        impl Metrics {
            /// Every metric, in a fixed order.
            ///
            /// ```
            /// let metrics = syncswim::Metrics::default();
            /// let sent = metrics.iter().find(|metric| metric.name == "bytes_sent").expect("it is there");
            /// assert_eq!(sent.family, "syncswim_sent_bytes_total");
            /// assert_eq!((sent.kind.to_string(), sent.value.number()), ("counter".into(), Some(0)));
            /// ```
            pub fn iter(&self) -> impl Iterator<Item = Metric> {
                [$(Metric {
                    name: stringify!($name),
                    family: $family,
                    label: label_of!($($label $value)?),
                    kind: kind_of!($kind),
                    unit: unit_of!($($unit)?),
                    help: concat!($($doc),+).trim_ascii_start(),
                    value: (&self.$name).into(),
                },)*].into_iter()
            }

            /// Adds other counters.
            pub(crate) fn add(&mut self, others: &Self) {
                $(self.$name += &others.$name;)*
            }
        }
    };
}

metrics! {
    /// Live members, alive or suspect, this node included.
    gauge live_members = "syncswim_live_members";
    /// Listed members by their state as this node sees them, itself included.
    gauge alive_members = "syncswim_members" { state = "alive" };
    /// Listed members by their state as this node sees them, itself included.
    gauge suspect_members = "syncswim_members" { state = "suspect" };
    /// Listed members by their state as this node sees them, itself included.
    gauge failed_members = "syncswim_members" { state = "failed" };
    /// Listed members by their state as this node sees them, itself included.
    gauge left_members = "syncswim_members" { state = "left" };
    /// Departed members that are remembered, listed or not.
    gauge departed_members = "syncswim_departed_members";
    /// Members about which an update waits to be sent.
    gauge queued_updates = "syncswim_queued_updates";
    /// Datagrams that wait to be sent, by datagram or stream.
    gauge queued_transmits = "syncswim_queued_transmits";
    /// Streams and look-ups of names that wait for a thread.
    gauge queued_jobs = "syncswim_queued_jobs";
    /// Messages, requests and parts of queries of this node that are not settled yet.
    gauge open_asks = "syncswim_open_asks";
    /// Streams that are open, in either direction.
    gauge open_streams = "syncswim_open_streams";
    /// Broadcasts that wait to be passed on.
    gauge queued_broadcasts = "syncswim_queued_broadcasts";
    /// Broadcasts of the last minute that are kept for members that missed them.
    gauge logged_broadcasts = "syncswim_logged_broadcasts";
    /// Awareness (Lifeguard's local health score): 0 is well; probe interval and timeout are multiplied by the score plus
    /// one.
    gauge health_score = "syncswim_health_score";
    /// Live members that datagrams do not reach, though streams do: for certain, as loss is not taken for it.
    gauge streams_only_members = "syncswim_streams_only_members";
    /// Keys with values that this node knows, of all owners.
    gauge entries = "syncswim_entries";
    /// Bytes of these keys and values.
    gauge entry_bytes [bytes] = "syncswim_entry_bytes";
    /// Keys of which a change waits to be sent.
    gauge queued_entries = "syncswim_queued_entries";
    /// 1 while no member reaches this node at the address that it advertises.
    gauge unreached = "syncswim_unreached";
    /// 1 while the advertised address, which was one of this host, is none any more.
    gauge address_gone = "syncswim_address_gone";
    /// 1 while members see this node's datagrams come from another address than it advertises: normal behind a port mapping
    /// and with two networks, and the first thing to look at while `unreached` is 1.
    gauge address_differs = "syncswim_address_differs";
    /// How far the clock of a member is off this node's at most, in whole seconds; 0 without encryption.
    gauge clock_difference [seconds] = "syncswim_clock_difference_seconds";
    /// Members whose clocks are more than 5 s off this node's; 0 without encryption.
    gauge clocks_off = "syncswim_clocks_off";
    /// 1 while a flight recording is written; 0 without one, and once it has ended by itself.
    gauge recording = "syncswim_recording";
    /// Other members that joined, restarted or came back, as this node's events told.
    counter member_joins = "syncswim_member_joins_total";
    /// Other members that were declared failed or replaced by a later life of themselves, as this node's events told.
    counter member_failures = "syncswim_member_failures_total";
    /// Other members that left on purpose, as this node's events told.
    counter member_leaves = "syncswim_member_leaves_total";
    /// Failed members that were removed by somebody, as this node's events told; they are not among those that left.
    counter member_removals = "syncswim_member_removals_total";
    /// Suspicions of other members that ended with a refutation.
    counter member_refutations = "syncswim_member_refutations_total";
    /// Suspicions of other members raised or heard.
    counter suspicions = "syncswim_suspicions_total";
    /// Suspicions and verdicts about this node that it heard and that were not outdated.
    counter own_suspicions = "syncswim_own_suspicions_total";
    /// Accusations against this node that it refuted.
    counter refutations = "syncswim_refutations_total";
    /// Times this node was declared failed again, had trouble of its own, and stayed away until it was well.
    counter flaps_damped = "syncswim_flaps_damped_total";
    /// Times this node was held up and blamed itself.
    counter stalls = "syncswim_stalls_total";
    /// Broadcasts of this node.
    counter broadcasts_sent = "syncswim_broadcasts_sent_total";
    /// Broadcasts of others, each counted once.
    counter broadcasts_received = "syncswim_broadcasts_received_total";
    /// Broadcasts of others that were not passed on, as their origin sends too many: members that miss them ask for them.
    counter delayed_broadcasts = "syncswim_delayed_broadcasts_total";
    /// Broadcasts that did not come and will not, for any reader.
    counter lost_broadcasts = "syncswim_lost_broadcasts_total";
    /// Messages and broadcasts that an inbox lost because it was full, once for each inbox; its reader is told how many.
    counter overrun_messages = "syncswim_overrun_messages_total";
    /// Numbers of broadcasts that somebody used in this node's name, and those in others' names that claim more than these
    /// can have sent.
    counter forged_broadcasts = "syncswim_forged_broadcasts_total";
    /// Broadcasts that were not taken in: of no member, of its past life, or with a number that jumps too far.
    counter dropped_broadcasts = "syncswim_dropped_broadcasts_total";
    /// Broadcasts that were passed on or kept for less than their time, to make room.
    counter evicted_broadcasts = "syncswim_evicted_broadcasts_total";
    /// Times another live process was reported that announces this node's name.
    counter conflicts = "syncswim_conflicts_total";
    /// Probe rounds begun.
    counter probes = "syncswim_probes_total";
    /// Probe rounds that ended without an answer.
    counter probes_failed = "syncswim_probes_failed_total";
    /// Probe rounds in which others were asked.
    counter probes_indirect = "syncswim_probes_indirect_total";
    /// Probe rounds saved by a stream alone: datagrams to that member get lost.
    counter probes_saved_by_stream = "syncswim_probes_saved_by_stream_total";
    /// Time between a probe's ping and its answer by datagram from the member itself.
    histogram probe_round_trip [seconds] = "syncswim_probe_round_trip_seconds";
    /// Datagrams handed out for sending.
    counter datagrams_sent = "syncswim_datagrams_sent_total";
    /// Bytes of datagrams handed out for sending, without UDP and IP headers.
    counter bytes_sent [bytes] = "syncswim_sent_bytes_total";
    /// Datagrams taken in.
    counter datagrams_received = "syncswim_datagrams_received_total";
    /// Bytes of datagrams taken in, without UDP and IP headers.
    counter bytes_received [bytes] = "syncswim_received_bytes_total";
    /// What would have been datagrams, sent by stream to members that datagrams do not reach.
    counter carried_sent = "syncswim_carried_sent_total";
    /// What would have been datagrams, received by stream.
    counter carried_received = "syncswim_carried_received_total";
    /// Push/pulls completed.
    counter syncs = "syncswim_syncs_total";
    /// Push/pulls that found equal tables.
    counter syncs_equal = "syncswim_syncs_equal_total";
    /// Push/pulls in which only the buckets that differ were sent.
    counter syncs_partial = "syncswim_syncs_partial_total";
    /// Data syncs begun, which repair broadcasts and key–values.
    counter data_syncs = "syncswim_data_syncs_total";
    /// Failed members tried at their last address.
    counter reconnects_tried = "syncswim_reconnects_tried_total";
    /// Packets dropped because they were too short.
    counter dropped_short = "syncswim_dropped_short_total";
    /// Packets dropped because of their version.
    counter dropped_version = "syncswim_dropped_version_total";
    /// Packets dropped because they belong to another cluster.
    counter dropped_cluster = "syncswim_dropped_cluster_total";
    /// Packets dropped because of their checksum.
    counter dropped_checksum = "syncswim_dropped_checksum_total";
    /// Sections dropped because they did not decode or broke a limit.
    counter dropped_malformed = "syncswim_dropped_malformed_total";
    /// Claims dropped because their epoch or incarnation jumps too far.
    counter dropped_implausible = "syncswim_dropped_implausible_total";
    /// Claims of another member that a member is alive which this node's own probes do not reach: it is not believed until
    /// that member answers, or says so itself.
    counter ignored_returns = "syncswim_ignored_returns_total";
    /// Claims dropped because an unverified peer made them: it may make one, its own Alive.
    counter dropped_unverified = "syncswim_dropped_unverified_total";
    /// Datagrams, streams and claimed addresses refused because `allow` does not hold them.
    counter dropped_not_allowed = "syncswim_dropped_not_allowed_total";
    /// Datagrams and streams dropped because they were not sealed and had to be.
    counter dropped_unsealed = "syncswim_dropped_unsealed_total";
    /// Datagrams and streams dropped because they are sealed with a key that is not on the ring.
    counter dropped_unknown_key = "syncswim_dropped_unknown_key_total";
    /// Datagrams and frames dropped because they are not genuine.
    counter dropped_forged = "syncswim_dropped_forged_total";
    /// Genuine datagrams dropped because of the time at which they were sent: too long ago, too far ahead by this node's
    /// clock, or before this node started. They are replayed, or a host's clock is wrong.
    counter dropped_stale = "syncswim_dropped_stale_total";
    /// Genuine datagrams dropped because they came before.
    counter dropped_replayed = "syncswim_dropped_replayed_total";
    /// Pings dropped because they were meant for another name.
    counter dropped_wrong_target = "syncswim_dropped_wrong_target_total";
    /// Acks and nacks dropped because this node had not asked that address.
    counter dropped_stray_answers = "syncswim_dropped_stray_answers_total";
    /// Datagrams not sent because too many waited already, or too many went by stream.
    counter dropped_transmits = "syncswim_dropped_transmits_total";
    /// Seeds and their addresses that were passed over because there were too many.
    counter dropped_seeds = "syncswim_dropped_seeds_total";
    /// Events that readers lost because they were too slow, once for each reader.
    counter lost_events = "syncswim_lost_events_total";
    /// Relay requests refused: from or about nodes that are no members, or too many.
    counter refused_relays = "syncswim_refused_relays_total";
    /// Live members refused because the table was full.
    counter refused_members = "syncswim_refused_members_total";
    /// Messages and requests of this node that were sent again, since no answer came in time.
    counter repeated_asks = "syncswim_repeated_asks_total";
    /// Messages and requests of others refused because too many waited for their readers, or there was no room to remember them.
    counter refused_asks = "syncswim_refused_asks_total";
    /// Messages and requests of others dropped: of a life of their sender that this node did not know yet.
    counter dropped_asks = "syncswim_dropped_asks_total";
    /// Key–values refused because their owner's map or all maps together would be too large. What is held of that map stays
    /// as it is.
    counter refused_entries = "syncswim_refused_entries_total";
    /// Key–values dropped because their version is beyond what an owner reaches, or because they were announced and did not
    /// come within a minute, or whose stamp is so far ahead of this node's clock that it counts as ten minutes ahead.
    counter implausible_entries = "syncswim_implausible_entries_total";
    /// Changes of key–values that were left to repair, because too many waited to be sent.
    counter unqueued_entries = "syncswim_unqueued_entries_total";
    /// Streams refused because too many were open.
    counter refused_streams = "syncswim_refused_streams_total";
    /// Joins refused because too many were under way.
    counter refused_joins = "syncswim_refused_joins_total";
    /// Tokens from other addresses than their members' own not looked at, because too many were wrong recently.
    counter refused_tokens = "syncswim_refused_tokens_total";
    /// Live members that had never answered, taken out of a full table to make room.
    counter evicted_members = "syncswim_evicted_members_total";
    /// Departed members forgotten early to make room.
    counter evicted_departed = "syncswim_evicted_departed_total";
    /// Failed members that are no longer tried, to make room.
    counter evicted_reconnects = "syncswim_evicted_reconnects_total";
    /// Members that are no longer told that they were declared departed, to make room.
    counter evicted_verdicts = "syncswim_evicted_verdicts_total";
    /// Pings to members that have not answered yet whose answer is no longer waited for, to make room.
    counter evicted_challenges = "syncswim_evicted_challenges_total";
    /// Datagrams that the system failed to receive.
    counter receive_errors = "syncswim_receive_errors_total";
    /// Datagrams that the system refused to send.
    counter send_errors = "syncswim_send_errors_total";
    /// Inputs that a flight recording lacks, because the disk was too slow for it.
    counter recording_lost_inputs = "syncswim_recording_lost_inputs_total";
    /// Flight recordings that ended by themselves: the disk is full, or the node's state does not fit in the file.
    counter recording_failures = "syncswim_recording_failures_total";
    /// Tries to write the state file that failed: the disk is full, read-only or broken. It is tried again every 30 s.
    counter state_file_errors = "syncswim_state_file_errors_total";
}
