//! Every parameter of the protocol, with its unit, its default and its reason.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    Error, IpNetwork,
    text::Quoted,
    wire::{MAX_NAME, message::is_name},
};

/// The parameters of a node's protocol. Start from a preset and change what you need.
///
/// Every node of a cluster should run the same values: the timeouts assume it.
///
/// ```
/// use std::time::Duration;
/// use syncswim::swim::Config;
///
/// let mut config = Config::wan("node-a");
/// config.cluster = "orders".into();
/// config.probe_timeout = Duration::from_secs(2);
/// config.validate()?;
/// # Ok::<(), syncswim::Error>(())
/// ```
///
/// A `Config` that serde reads takes the values of [`lan`](Self::lan) for missing fields (those that a later version adds
/// included). One that is not [valid](Self::validate) is an error there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
#[non_exhaustive]
pub struct Config {
    /// The node's name: 1 to 128 bytes, unique in the cluster, without characters that break or disguise a line (control
    /// characters, line separators, changes of direction). It stays the same when the node restarts or moves.
    pub name: String,

    /// The cluster's name: 1 to 128 bytes, with the same restrictions. Packets of other clusters are dropped, so two
    /// clusters that share addresses never merge. Defaults to `"default"`.
    pub cluster: String,

    /// Time between two probes by this node, and the unit of the suspicion timeout. Smaller finds crashes sooner, for
    /// proportionally more packets; larger finds them later. Defaults to 1 s (LAN, local), 5 s (WAN).
    pub probe_interval: Duration,

    /// How long a direct ping may take before others are asked. Should be at least the 99th percentile of the
    /// round-trip time (SWIM §3.1) and below the interval. Too small costs relayed probes, too big leaves the
    /// relays no time. Defaults to 500 ms (LAN), 3 s (WAN), 200 ms (local).
    pub probe_timeout: Duration,

    /// How many random members are asked to ping a silent one (SWIM's k); at most 8. With [`nacks`](Self::nacks) one more is
    /// asked, unless this is 0: the member heard from last, whose answer counts for this node's own health alone. Fewer have
    /// more false suspicions under loss, and one that lies weighs more; more cost packets. Defaults to 3 (LAN, WAN), 1 (local).
    pub indirect_probes: usize,

    /// Whether a silent member is also tried over a stream, so that lost datagrams alone never fail it. Off, a member that
    /// UDP does not reach is declared failed. Defaults to true.
    pub stream_fallback: bool,

    /// Lifeguard's local-health-aware probes: a node slows down when its own probes fail. Off, a node that loses many of the
    /// packets sent to it accuses healthy members sooner. Defaults to true.
    pub lha_probe: bool,

    /// Whether relays answer after 80 % of their time that the target has been silent so far, which distinguishes an
    /// overloaded relay from a dead target (Lifeguard §IV-A). Off, a dead target worsens the node's own awareness, and a
    /// relay that lies is not outvoted. Defaults to true.
    pub nacks: bool,

    /// Lifeguard's local-health-aware suspicion: wait longer while few members agree (§IV-B). Off, every suspicion times out
    /// after the least time, even one with a single accuser. Defaults to true.
    pub lha_suspicion: bool,

    /// Lifeguard's buddy system: a ping to a suspect carries the suspicion before all else (§IV-C). Off, the suspect learns
    /// of it by gossip, later, and refutes later. Defaults to true.
    pub buddy: bool,

    /// Whether a node notices that its own process was paused: if a timer fires far too late, it discards the result of the
    /// present probe and extends all suspicions by the pause. Off, a starved process declares healthy members failed.
    /// Defaults to true.
    pub notice_stalls: bool,

    /// The largest factor by which poor local health stretches probe interval and timeout; at least 1. Smaller lets a node
    /// that loses many of the packets sent to it accuse healthy members; with larger, such a node finds crashes later.
    /// Defaults to 8.
    pub health_max: u32,

    /// α: the least time a suspect has to refute is `α · max(1, log10 n) · probe_interval`; `2 · α · β · probe_interval`
    /// must not exceed [`forget_after`](Self::forget_after). Smaller finds
    /// crashes sooner and fails more healthy members, larger the reverse. Defaults to 2 (LAN), 6 (WAN), 3 (local).
    pub suspicion_mult: u32,

    /// β: the longest time is β times the least, if no other member confirms. Smaller lets a member that receives nothing
    /// fail healthy ones sooner; with larger, a crash that only one member has noticed is found later. Defaults to 12 (LAN),
    /// 6 (WAN, local).
    pub suspicion_max_mult: u32,

    /// K: how many other accusers shorten the wait to the least; at most 7. Clusters with fewer than K + 2 members cannot
    /// provide them: there the time is twice the least. With fewer, a few members that are wrong together fail healthy ones;
    /// more take longer to arrive. Defaults to 3 (LAN), 4 (WAN), 1 (local).
    pub suspicion_confirmations: u32,

    /// How many members check each suspicion with their next probe, on average: their accusations shorten it, or their pings
    /// give the suspect more chances to refute. It costs no packets. An unconfirmed suspicion is extended by its full
    /// timeout, once, and again while this node's own probes fail. With 0 no member checks out of turn; larger takes more
    /// probes from other members; at most 64. Defaults to 6.
    pub verifiers: u32,

    /// Mean time between two rounds of gossip, while there are updates; after a pause, up to ten follow each other at a tenth
    /// of it. Smaller spreads updates faster, in more and emptier packets; larger delays refutations, so that healthy members are
    /// declared failed. Defaults to 200 ms (LAN), 500 ms (WAN), 100 ms (local).
    pub gossip_interval: Duration,

    /// Members that get updates in each round; 1 to 64. Fewer spread updates more slowly, more cost packets. Defaults to 3 (LAN,
    /// local), 4 (WAN).
    pub gossip_fanout: usize,

    /// Each update is sent `mult · ⌈log10(n + 1)⌉` times. Too small loses updates under packet loss, which
    /// the next push/pull then repairs; too large fills packets with what all know. Defaults to 4 (LAN, WAN), 2 (local).
    pub retransmit_mult: u32,

    /// How long a failed member still gets updates, so that a falsely accused one learns of it and refutes. Too short, and
    /// it learns of it only by its next ping or push/pull; too long sends updates to dead members. Defaults to 30 s (LAN),
    /// 60 s (WAN), 15 s (local).
    pub gossip_to_failed: Duration,

    /// Time between two push/pulls with a random member, which exchange what differs. With n > 32 members that have answered it
    /// is `⌈log2 n − 5⌉ + 1` times as long. Digests in the answers to probes begin others sooner. Smaller costs streams, larger
    /// repairs later what gossip missed. Defaults to 30 s (LAN), 60 s (WAN), 15 s (local).
    pub sync_interval: Duration,

    /// Longest delay between two attempts to reach a failed member at its last address; the attempts never end. At most one
    /// member is tried per probe interval. Smaller sends more to dead addresses, larger lets the sides of a partition find
    /// each other later. Defaults to 10 s (LAN), 30 s (WAN), 5 s (local).
    pub reconnect_max_delay: Duration,

    /// Longest delay between two attempts to reach the seeds; the attempts never end. While they fail, or find this node
    /// alone, the delays begin with 50 ms and double. Smaller costs streams and look-ups, larger finds seeds later that
    /// start late. Defaults to 30 s (LAN), 60 s (WAN), 15 s (local).
    pub seed_max_delay: Duration,

    /// Longest time that a leave waits for acknowledgements. It usually takes one round trip. Too short, and others may
    /// declare the node failed; the longer, the longer a stop takes if no member answers. Defaults to 1 s (LAN), 5 s (WAN),
    /// 500 ms (local).
    pub leave_timeout: Duration,

    /// How long a failed member is listed before it is reaped. Until then it counts for the
    /// [majority](crate::Membership::majority): too short, and a minority that is cut off takes itself for a majority; the
    /// longer, the longer members that never return are listed. Defaults to 24 h, 72 h (WAN).
    pub reap_failed_after: Duration,

    /// How long a member that left is listed before it is reaped, and counts for the majority. Too short, and a program that
    /// rarely reads the members does not see that it left; the longer, the longer it counts. Defaults to 5 min, 15 min
    /// (WAN).
    pub reap_left_after: Duration,

    /// How long the identity of a departed member is remembered, counted from its departure, so that no old update brings
    /// it back. Longer than any partition you expect, and at least twice the longest suspicion (`2 · α · β ·
    /// probe_interval`), or members that one node has forgotten are learned again from others that still suspect them.
    /// Longer takes memory, up to [`max_departed`](Self::max_departed). Defaults to 24 h, 72 h (WAN).
    pub forget_after: Duration,

    /// How long a stream may take as a whole. A join without an answer for a second is given up sooner if other addresses
    /// wait for its place, of which there are 24. Too short cuts off large tables on slow links; too long lets silent peers
    /// hold threads. Defaults to 10 s (LAN), 30 s (WAN), 1 s (local).
    pub stream_timeout: Duration,

    /// The largest datagram sent, in bytes: below the path's MTU less 48 for IPv6 and UDP headers, at least
    /// 1,000 so that the largest update fits. Larger is fragmented or lost on the way, smaller takes more packets. Below the
    /// default, segments of the streams that the node opens are as small. Defaults to 1,400.
    pub max_datagram: usize,

    /// The networks that members may be in: datagrams and streams from elsewhere, and claims of addresses elsewhere, are
    /// dropped and counted. `None` allows all, an empty list none. Too narrow shuts members out, too wide lets unverified
    /// peers in. Defaults to `None`.
    pub allow: Option<Vec<IpNetwork>>,

    /// The most live members in the table, a sixteenth of them for members that return. In a full table a member that never
    /// answered makes room (`evicted_members`); if there is none, the new one is refused (`refused_members`). Larger lets
    /// made-up members take more memory. Defaults to 65,536.
    pub max_members: usize,

    /// The most departed members that are remembered; one that never answered makes room, or, if there is none, the one
    /// that departed first of the host with the most (`evicted_departed`). Too few, and old updates can list a forgotten
    /// member again; more take memory. Defaults to 16,384.
    pub max_departed: usize,

    /// The most failed members whose address is stored to reconnect; the one whose next attempt is furthest off makes room
    /// (`evicted_reconnects`). With fewer than a partition may cut off, some are found again later; more take memory.
    /// Defaults to 4,096.
    pub max_reconnects: usize,

    /// How many observations, of all members together, [`Node::explain`](super::Node::explain) remembers; the oldest makes
    /// room. A quarter is for members that have never answered, whose names may be made up to displace the others. Their
    /// memory, about 48 bytes each, is allocated at the start. Fewer explain less of the past; 0 remembers none.
    /// Defaults to 512.
    pub history: usize,
}

const HOUR: Duration = Duration::from_secs(3600);

/// The fields of a configuration as they are read, before they are checked together.
macro_rules! unchecked {
    ($($field:ident: $type:ty),* $(,)?) => {
        #[derive(Deserialize)]
        #[serde(default)]
        struct Unchecked {
            $($field: $type),*
        }

        /// Without a name, which has no default, it is not valid.
        impl Default for Unchecked {
            fn default() -> Self {
                let Config { $($field),* } = Config::lan("");
                Self { $($field),* }
            }
        }

        impl TryFrom<Unchecked> for Config {
            type Error = Error;

            fn try_from(Unchecked { $($field),* }: Unchecked) -> Result<Self, Error> {
                let config = Self { $($field),* };
                config.validate()?;
                Ok(config)
            }
        }
    };
}

unchecked! {
    name: String,
    cluster: String,
    probe_interval: Duration,
    probe_timeout: Duration,
    indirect_probes: usize,
    stream_fallback: bool,
    lha_probe: bool,
    nacks: bool,
    lha_suspicion: bool,
    buddy: bool,
    notice_stalls: bool,
    health_max: u32,
    suspicion_mult: u32,
    suspicion_max_mult: u32,
    suspicion_confirmations: u32,
    verifiers: u32,
    gossip_interval: Duration,
    gossip_fanout: usize,
    retransmit_mult: u32,
    gossip_to_failed: Duration,
    sync_interval: Duration,
    reconnect_max_delay: Duration,
    seed_max_delay: Duration,
    leave_timeout: Duration,
    reap_failed_after: Duration,
    reap_left_after: Duration,
    forget_after: Duration,
    stream_timeout: Duration,
    max_datagram: usize,
    allow: Option<Vec<IpNetwork>>,
    max_members: usize,
    max_departed: usize,
    max_reconnects: usize,
    history: usize,
}

impl Config {
    /// For nodes of one data centre. The timings have the meaning that memberlist's users know, and mostly its
    /// values; α, β and K are chosen by simulation to find crashes sooner and accuse fewer healthy members.
    #[must_use]
    pub fn lan(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            cluster: "default".into(),
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_probes: 3,
            stream_fallback: true,
            lha_probe: true,
            nacks: true,
            lha_suspicion: true,
            buddy: true,
            notice_stalls: true,
            health_max: 8,
            suspicion_mult: 2,
            suspicion_max_mult: 12,
            suspicion_confirmations: 3,
            verifiers: 6,
            gossip_interval: Duration::from_millis(200),
            gossip_fanout: 3,
            retransmit_mult: 4,
            gossip_to_failed: Duration::from_secs(30),
            sync_interval: Duration::from_secs(30),
            reconnect_max_delay: Duration::from_secs(10),
            seed_max_delay: Duration::from_secs(30),
            leave_timeout: Duration::from_secs(1),
            reap_failed_after: 24 * HOUR,
            reap_left_after: Duration::from_secs(300),
            forget_after: 24 * HOUR,
            stream_timeout: Duration::from_secs(10),
            max_datagram: 1400,
            allow: None,
            max_members: 65_536,
            max_departed: 16_384,
            max_reconnects: 4096,
            history: 512,
        }
    }

    /// For nodes across the internet: longer times everywhere.
    #[must_use]
    pub fn wan(name: impl Into<String>) -> Self {
        Self {
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            suspicion_mult: 6,
            suspicion_max_mult: 6,
            suspicion_confirmations: 4,
            gossip_interval: Duration::from_millis(500),
            gossip_fanout: 4,
            gossip_to_failed: Duration::from_secs(60),
            sync_interval: Duration::from_secs(60),
            reconnect_max_delay: Duration::from_secs(30),
            seed_max_delay: Duration::from_secs(60),
            leave_timeout: Duration::from_secs(5),
            reap_failed_after: 72 * HOUR,
            reap_left_after: Duration::from_secs(900),
            forget_after: 72 * HOUR,
            stream_timeout: Duration::from_secs(30),
            ..Self::lan(name)
        }
    }

    /// For nodes of one host: short round trips, no loss. For tests and demonstrations.
    #[must_use]
    pub fn local(name: impl Into<String>) -> Self {
        Self {
            probe_timeout: Duration::from_millis(200),
            indirect_probes: 1,
            suspicion_mult: 3,
            suspicion_max_mult: 6,
            suspicion_confirmations: 1,
            gossip_interval: Duration::from_millis(100),
            retransmit_mult: 2,
            gossip_to_failed: Duration::from_secs(15),
            sync_interval: Duration::from_secs(15),
            reconnect_max_delay: Duration::from_secs(5),
            seed_max_delay: Duration::from_secs(15),
            leave_timeout: Duration::from_millis(500),
            stream_timeout: Duration::from_secs(1),
            ..Self::lan(name)
        }
    }

    /// Whether [`allow`](Self::allow) includes an address.
    #[must_use]
    pub fn allows(&self, ip: IpAddr) -> bool {
        self.allow.as_ref().is_none_or(|networks| networks.iter().any(|network| network.contains(ip)))
    }

    /// How long an unconfirmed suspicion lasts in a small cluster, with the one extension that needs no trouble of this
    /// node's own.
    pub(crate) fn longest_suspicion(&self) -> Duration {
        let least = self.probe_interval.saturating_mul(self.suspicion_mult);
        least.saturating_mul(self.suspicion_max_mult).saturating_mul(2)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that cannot work, and what it should be.
    pub fn validate(&self) -> Result<(), Error> {
        let ensure = |holds: bool, field, problem: &str| match holds {
            true => Ok(()),
            false => Err(Error::config(field, problem)),
        };
        for (field, name) in [("name", &self.name), ("cluster", &self.cluster)] {
            let problem =
                || format!("must have 1 to {MAX_NAME} bytes and no control characters, not {}", Quoted(name));
            ensure(is_name(name), field, &problem())?;
        }
        for (field, value) in self.intervals() {
            ensure(value >= Duration::from_millis(1), field, "must be at least 1 ms")?;
            ensure(value <= 10_000 * HOUR, field, "must be at most 10,000 hours")?;
        }
        for (field, value, least, most) in self.counts() {
            let problem = || format!("is {value}; it must be from {least} to {most}");
            ensure((least..=most).contains(&value), field, &problem())?;
        }
        ensure(
            self.probe_timeout < self.probe_interval,
            "probe_timeout",
            "must be less than `probe_interval`",
        )?;
        ensure(
            self.forget_after >= self.longest_suspicion(),
            "forget_after",
            "must be at least 2 · `suspicion_mult` · `suspicion_max_mult` · `probe_interval`",
        )?;
        ensure(
            self.forget_after >= self.reap_failed_after.max(self.reap_left_after),
            "forget_after",
            "must not be less than `reap_failed_after` and `reap_left_after`",
        )
    }

    /// Each count with its least and its greatest value.
    fn counts(&self) -> [(&'static str, usize, usize, usize); 13] {
        [
            ("indirect_probes", self.indirect_probes, 0, 8),
            ("health_max", self.health_max as usize, 1, 1000),
            ("suspicion_mult", self.suspicion_mult as usize, 1, 1000),
            ("suspicion_max_mult", self.suspicion_max_mult as usize, 1, 1000),
            ("suspicion_confirmations", self.suspicion_confirmations as usize, 0, 7),
            ("verifiers", self.verifiers as usize, 0, 64),
            ("gossip_fanout", self.gossip_fanout, 1, 64),
            ("retransmit_mult", self.retransmit_mult as usize, 1, 100),
            ("max_datagram", self.max_datagram, 1000, 65_000),
            ("max_members", self.max_members, 1, 1 << 24),
            ("max_departed", self.max_departed, 1, 1 << 24),
            ("max_reconnects", self.max_reconnects, 1, 1 << 20),
            ("history", self.history, 0, 1 << 20),
        ]
    }

    fn intervals(&self) -> [(&'static str, Duration); 12] {
        [
            ("probe_interval", self.probe_interval),
            ("probe_timeout", self.probe_timeout),
            ("gossip_interval", self.gossip_interval),
            ("gossip_to_failed", self.gossip_to_failed),
            ("sync_interval", self.sync_interval),
            ("reconnect_max_delay", self.reconnect_max_delay),
            ("seed_max_delay", self.seed_max_delay),
            ("leave_timeout", self.leave_timeout),
            ("reap_failed_after", self.reap_failed_after),
            ("reap_left_after", self.reap_left_after),
            ("forget_after", self.forget_after),
            ("stream_timeout", self.stream_timeout),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid() {
        for config in [Config::lan("n"), Config::wan("n"), Config::local("n")] {
            config.validate().unwrap();
        }
    }

    /// The differences from the preset for a LAN.
    #[test]
    fn presets_are_what_is_written_about_them() {
        let (millis, secs) = (Duration::from_millis, Duration::from_secs);
        let wan = Config {
            probe_interval: secs(5),
            probe_timeout: secs(3),
            suspicion_mult: 6,
            suspicion_max_mult: 6,
            suspicion_confirmations: 4,
            gossip_interval: millis(500),
            gossip_fanout: 4,
            gossip_to_failed: secs(60),
            sync_interval: secs(60),
            reconnect_max_delay: secs(30),
            seed_max_delay: secs(60),
            leave_timeout: secs(5),
            reap_failed_after: 72 * HOUR,
            reap_left_after: secs(900),
            forget_after: 72 * HOUR,
            stream_timeout: secs(30),
            ..Config::lan("n")
        };
        let local = Config {
            probe_timeout: millis(200),
            indirect_probes: 1,
            suspicion_mult: 3,
            suspicion_max_mult: 6,
            suspicion_confirmations: 1,
            gossip_interval: millis(100),
            retransmit_mult: 2,
            gossip_to_failed: secs(15),
            sync_interval: secs(15),
            reconnect_max_delay: secs(5),
            seed_max_delay: secs(15),
            leave_timeout: millis(500),
            stream_timeout: secs(1),
            ..Config::lan("n")
        };
        assert_eq!(format!("{:#?}", Config::wan("n")), format!("{wan:#?}"));
        assert_eq!(format!("{:#?}", Config::local("n")), format!("{local:#?}"));
    }

    #[test]
    fn every_limit_can_be_reached_and_not_exceeded() {
        type Set = fn(&mut Config, u64);
        let at = |config: &mut Config, field: Set, value| {
            field(config, value);
            config.validate().is_ok()
        };
        let numbers: [(Set, u64, u64); 13] = [
            (|c, n| c.indirect_probes = n as usize, 0, 8),
            (|c, n| c.health_max = n as u32, 1, 1000),
            (|c, n| c.suspicion_mult = n as u32, 1, 1000),
            (|c, n| c.suspicion_max_mult = n as u32, 1, 1000),
            (|c, n| c.suspicion_confirmations = n as u32, 0, 7),
            (|c, n| c.verifiers = n as u32, 0, 64),
            (|c, n| c.gossip_fanout = n as usize, 1, 64),
            (|c, n| c.retransmit_mult = n as u32, 1, 100),
            (|c, n| c.max_datagram = n as usize, 1000, 65_000),
            (|c, n| c.max_members = n as usize, 1, 1 << 24),
            (|c, n| c.max_departed = n as usize, 1, 1 << 24),
            (|c, n| c.max_reconnects = n as usize, 1, 1 << 20),
            (|c, n| c.history = n as usize, 0, 1 << 20),
        ];
        let roomy = || Config { forget_after: 10_000 * HOUR, ..Config::lan("n") };
        for (nth, (field, least, most)) in numbers.into_iter().enumerate() {
            for value in [least, most] {
                assert!(at(&mut roomy(), field, value), "{nth}: {value}");
            }
            assert!(least == 0 || !at(&mut roomy(), field, least - 1), "{nth}: below {least}");
            assert!(!at(&mut roomy(), field, most + 1), "{nth}: above {most}");
        }
        let times: [Set; 4] = [
            |c, n| c.gossip_interval = Duration::from_micros(n),
            |c, n| c.sync_interval = Duration::from_micros(n),
            |c, n| c.leave_timeout = Duration::from_micros(n),
            |c, n| c.stream_timeout = Duration::from_micros(n),
        ];
        let most = 10_000 * 3600 * 1_000_000;
        for (nth, field) in times.into_iter().enumerate() {
            for (value, fine) in [(999, false), (1000, true), (most, true), (most + 1, false)] {
                assert_eq!(at(&mut roomy(), field, value), fine, "{nth}: {value}");
            }
        }
        let longest = Config::lan("n").longest_suspicion();
        assert_eq!(longest, Config::lan("n").probe_interval * 2 * 2 * 12, "the mean times, times two");
        let forgets = |after: Duration, reap_left: Duration, reap_failed: Duration| {
            let (reap_left_after, reap_failed_after) = (reap_left, reap_failed);
            let times =
                Config { reap_left_after, reap_failed_after, forget_after: after, ..Config::lan("n") };
            times.validate().is_ok()
        };
        let (moment, short) = (Duration::from_millis(1), Duration::from_secs(1));
        assert!(forgets(longest, short, longest) && forgets(longest, longest, short));
        assert!(!forgets(longest - moment, short, short), "less than a suspicion may last");
        assert!(!forgets(longest, longest + moment, short) && !forgets(longest, short, longest + moment));
    }

    #[test]
    fn a_bad_field_is_named() {
        type Spoil = fn(&mut Config);
        let cases: [(&str, Spoil); 10] = [
            ("name", |c| c.name.clear()),
            ("name", |c| c.name = "a\nb".into()),
            ("cluster", |c| c.cluster.clear()),
            ("cluster", |c| c.cluster = "c".repeat(129)),
            ("probe_interval", |c| c.probe_interval = Duration::ZERO),
            ("probe_timeout", |c| c.probe_timeout = c.probe_interval),
            ("indirect_probes", |c| c.indirect_probes = 9),
            ("gossip_fanout", |c| c.gossip_fanout = 0),
            ("max_datagram", |c| c.max_datagram = 500),
            ("forget_after", |c| c.forget_after = Duration::from_secs(1)),
        ];
        for (field, spoil) in cases {
            let mut config = Config::lan("n");
            spoil(&mut config);
            let error = config.validate().expect_err(field);
            assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
        }
    }
}
