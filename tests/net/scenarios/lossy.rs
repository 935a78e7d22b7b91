//! Networks that lose packets.

use std::time::Duration;

use super::{Lab, ODD, addresses::start_plain, at, setup};
use crate::{
    life::{Cluster, Plan},
    process::Setup,
    report::Report,
    space::{Host, Problem},
};

/// Twenty nodes; each host loses `percent` of the incoming packets that match `matches`.
pub(super) fn loss(lab: &Lab, report: &mut Report, matches: &str, percent: u8) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = (0..20).map(|_| net.host()).collect::<Result<Vec<_>, _>>()?;
    hosts.iter().try_for_each(|host| host.lose(matches, percent))?;
    start(&mut cluster, &hosts)?;
    // A node whose probes fail declares verdicts later, and updates that gossip misses arrive with the next sync, after half
    // a minute.
    let (patience, spread) = (Duration::from_secs(60), Duration::from_secs(45));
    cluster.live(Plan { patience, spread, ..ODD }, lab.quiet, report)?;
    cluster.tells_no_problem(report);
    report.note(format!("{} suspicions were refuted or confirmed", cluster.suspicions()));
    Ok(())
}

/// Two hosts are behind a path that drops what is larger than 1280 bytes, and does not say so, as a VPN does behind a firewall
/// without ICMP. All nodes are set up for it. Large tags fill datagrams and the segments of streams.
pub(super) fn mtu_1280(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = (0..7).map(|_| net.host()).collect::<Result<Vec<_>, _>>()?;
    hosts.iter().try_for_each(Host::send_single)?;
    hosts[5..].iter().try_for_each(|host| net.narrow(host, 1280))?;
    for (host, name) in hosts.iter().zip(["n1", "n2", "n3", "n4", "n5", "odd", "odder"]) {
        let max_datagram = Some(1280 - 48);
        cluster.start(host, &Setup { max_datagram, ..setup(name, &[at(&hosts[0])]) })?;
    }
    cluster.gather(ODD, report);
    cluster.fill_tables(400, Duration::from_secs(5), report)?;
    // One more, which gets the whole table by stream.
    let newcomer = net.host()?;
    newcomer.send_single()?;
    net.narrow(&newcomer, 1280)?;
    cluster.start(&newcomer, &Setup { max_datagram: Some(1280 - 48), ..setup("new", &[at(&hosts[0])]) })?;
    cluster.live(ODD, lab.quiet, report)?;
    cluster.tells_no_problem(report);
    Ok(())
}

/// All but two are plain; those are odd.
fn start(cluster: &mut Cluster, hosts: &[Host]) -> Result<(), Problem> {
    let (plain, odd) = hosts.split_at(hosts.len() - 2);
    start_plain(cluster, plain)?;
    odd.iter()
        .zip(["odd", "odder"])
        .try_for_each(|(host, name)| cluster.start(host, &setup(name, &[at(&hosts[0])])))
}

/// Two hosts lose 40 % of incoming packets, and none that they send.
pub(super) fn one_way(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = (0..7).map(|_| net.host()).collect::<Result<Vec<_>, _>>()?;
    hosts[5..].iter().try_for_each(|host| host.lose("meta l4proto udp", 40))?;
    start(&mut cluster, &hosts)?;
    cluster.live(ODD, lab.quiet, report)?;
    cluster.tells_no_problem(report);
    Ok(())
}

/// Nothing from one host arrives at another, in this direction only: relays must answer for it.
pub(super) fn pairs(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = (0..7).map(|_| net.host()).collect::<Result<Vec<_>, _>>()?;
    for (from, to) in [(5, 1), (2, 5), (6, 3)] {
        hosts[to].filter(&format!("ip saddr {}", hosts[from].addr))?;
    }
    start(&mut cluster, &hosts)?;
    cluster.live(ODD, lab.quiet, report)
}
