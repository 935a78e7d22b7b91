//! The networks. Each scenario builds one and runs the life of a cluster in it.

mod addresses;
mod delayed;
mod filtered;
mod lossy;
mod paused;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    life::{Cluster, Plan},
    needs::Need,
    process::Setup,
    report::{Known, Report},
    space::{Host, Net, PORT, Problem},
};

/// The settings of a scenario.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) name: &'static str,
    pub(crate) folder: PathBuf,
    /// How long a cluster is watched between its start and its end.
    pub(crate) quiet: Duration,
    /// How often the leaver leaves.
    pub(crate) leaves: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    First,
    Any,
    /// No other scenario runs at the same time.
    Alone,
}

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) needs: Need,
    pub(crate) order: Order,
    pub(crate) known: &'static [Known],
    pub(crate) run: fn(&Lab, &mut Report) -> Result<(), Problem>,
}

impl Scenario {
    const fn new(name: &'static str, needs: Need, run: fn(&Lab, &mut Report) -> Result<(), Problem>) -> Self {
        Self { name, needs, order: Order::Any, known: &[], run }
    }

    #[allow(dead_code, reason = "today every claim holds")]
    const fn known(self, known: &'static [Known]) -> Self {
        Self { known, ..self }
    }

    const fn order(self, order: Order) -> Self {
        Self { order, ..self }
    }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("direct", Need::Namespaces, addresses::direct).order(Order::First),
    // These take longest.
    Scenario::new("stopped-60-s", Need::Namespaces, |lab, report| paused::stopped(lab, report, 60)),
    Scenario::new("stopped-20-s", Need::Namespaces, |lab, report| paused::stopped(lab, report, 20)),
    Scenario::new("stopped-5-s", Need::Namespaces, |lab, report| paused::stopped(lab, report, 5)),
    Scenario::new("udp-filtered", Need::Nft, filtered::everywhere),
    Scenario::new("udp-filtered-pause", Need::Nft, filtered::pause),
    Scenario::new("udp-filtered-into-one", Need::Nft, filtered::into_one),
    Scenario::new("unreachable-address", Need::Namespaces, addresses::unreachable),
    Scenario::new("address-replaced", Need::Namespaces, addresses::replaced),
    Scenario::new("address-returns", Need::Namespaces, addresses::returns),
    Scenario::new("second-address", Need::Namespaces, addresses::second_address),
    Scenario::new("mapped-port", Need::Nft, addresses::mapped_port),
    Scenario::new("mapped-port-tcp", Need::Nft, addresses::mapped_tcp),
    Scenario::new("mapped-port-tcp-two", Need::Nft, addresses::mapped_tcp_two),
    Scenario::new("second-network", Need::Namespaces, addresses::second_network),
    Scenario::new("loopback-down", Need::Namespaces, addresses::loopback_down),
    Scenario::new("moved", Need::Namespaces, addresses::moved),
    Scenario::new("moved-on-its-host", Need::Namespaces, addresses::moved_on_its_host),
    Scenario::new("ipv6", Need::Namespaces, addresses::ipv6),
    Scenario::new("dual-stack", Need::Namespaces, addresses::dual_stack),
    Scenario::new("mtu-1280", Need::Namespaces, lossy::mtu_1280),
    Scenario::new("loss-10", Need::Nft, |lab, report| lossy::loss(lab, report, "meta l4proto udp", 10)),
    Scenario::new("loss-20", Need::Nft, |lab, report| lossy::loss(lab, report, "meta l4proto udp", 20)),
    Scenario::new("loss-30", Need::Nft, |lab, report| lossy::loss(lab, report, "meta l4proto udp", 30)),
    Scenario::new("loss-25-of-all", Need::Nft, |lab, report| {
        lossy::loss(lab, report, "meta l4proto { udp, tcp }", 25)
    }),
    Scenario::new("round-trip-200-ms", Need::Relay, |lab, report| {
        delayed::delayed(lab, report, delayed::ROUND_TRIP_200, false)
    }),
    Scenario::new("each-way-200-ms", Need::Relay, |lab, report| {
        delayed::delayed(lab, report, delayed::EACH_WAY_200, false)
    }),
    Scenario::new("each-way-200-ms-wan", Need::Relay, |lab, report| {
        delayed::delayed(lab, report, delayed::EACH_WAY_200, true)
    }),
    Scenario::new("twice-and-shuffled", Need::Relay, |lab, report| {
        delayed::delayed(lab, report, delayed::SHUFFLED, false)
    }),
    Scenario::new("one-way-loss", Need::Nft, lossy::one_way),
    Scenario::new("one-way-pairs", Need::Nft, lossy::pairs),
    Scenario::new("starved", Need::Namespaces, paused::starved).order(Order::Alone),
];

/// The default plan: the last but one leaves, the last crashes.
const PATIENCE: Duration = Duration::from_secs(30);
const SPREAD: Duration = Duration::from_secs(10);

impl Lab {
    /// A network for this scenario.
    pub(crate) fn net(&self) -> Result<Net, Problem> {
        Net::new(self.name)
    }

    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::new(self.folder.clone(), self.leaves)
    }
}

/// The settings of a node, unless a scenario changes them.
pub(crate) fn setup(name: impl Into<String>, seeds: &[SocketAddr]) -> Setup {
    Setup {
        name: name.into(),
        bind: ([0, 0, 0, 0], PORT).into(),
        advertise: None,
        seeds: seeds.to_vec(),
        wan: false,
        max_datagram: None,
        busy: 0,
    }
}

pub(crate) fn at(host: &Host) -> SocketAddr {
    (host.addr, PORT).into()
}

/// `odd` sets the first tag and leaves, `odder` crashes: the two nodes that a scenario is about.
pub(crate) const ODD: Plan<'static> =
    Plan { speaker: "odd", leaver: "odd", victim: "odder", patience: PATIENCE, spread: SPREAD };
