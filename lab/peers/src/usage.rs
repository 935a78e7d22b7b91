//! The resources that a cluster and its network have used so far, according to the system.

use std::{fs, ops::Sub};

use crate::home::Home;

/// Headers of an IPv4 datagram over UDP.
const UDP_HEADERS: f64 = 28.0;
/// Headers of an IPv4 packet over TCP with timestamps; the few packets that open or reset a stream differ.
const TCP_HEADERS: f64 = 52.0;

/// Counters at one moment, or the difference between two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    /// UDP datagrams sent.
    pub(crate) datagrams: f64,
    /// IP packets sent, TCP included.
    pub(crate) packets: f64,
    /// Bytes sent, with the headers of IP, UDP and TCP.
    pub(crate) bytes: f64,
    segments: f64,
}

impl Usage {
    /// Since its processes began. The network's counters are those of this process's network namespace.
    pub(crate) fn now(home: &Home) -> Self {
        let (snmp, netstat) = (read("/proc/self/net/snmp"), read("/proc/self/net/netstat"));
        let tcp = counter(&snmp, "Tcp:", "OutSegs") + counter(&snmp, "Tcp:", "OutRsts");
        Self {
            cpu_seconds: home.cpu_seconds(),
            datagrams: counter(&snmp, "Udp:", "OutDatagrams"),
            packets: counter(&snmp, "Ip:", "OutRequests"),
            bytes: counter(&netstat, "IpExt:", "OutOctets"),
            segments: tcp,
        }
    }

    /// Bytes sent without headers.
    pub(crate) fn payload(&self) -> f64 {
        (self.bytes - UDP_HEADERS * self.datagrams - TCP_HEADERS * self.segments).max(0.0)
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
            datagrams: self.datagrams - earlier.datagrams,
            packets: self.packets - earlier.packets,
            bytes: self.bytes - earlier.bytes,
            segments: self.segments - earlier.segments,
        }
    }
}

/// Whether the loopback interface is unused so far.
pub(crate) fn network_is_quiet() -> bool {
    counter(&read("/proc/self/net/snmp"), "Ip:", "OutRequests") == 0.0
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A value from tables of two lines each: names, then values, both after the protocol.
fn counter(tables: &str, protocol: &str, name: &str) -> f64 {
    let mut lines = tables.lines().filter_map(|line| line.strip_prefix(protocol));
    let found = lines.next().zip(lines.next()).and_then(|(names, values)| {
        let at = names.split_whitespace().position(|other| other == name)?;
        values.split_whitespace().nth(at)?.parse().ok()
    });
    found.unwrap_or(f64::NAN)
}
