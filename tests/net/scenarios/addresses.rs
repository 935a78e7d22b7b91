//! Nodes whose datagrams leave from another address than the one that they advertise.

use std::{
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

use super::{Lab, ODD, PATIENCE, at, setup};
use crate::{
    life::Cluster,
    node::now,
    process::{Process, Setup, Told, within},
    report::{Claim, DIRECT_TAG, Report},
    space::{Host, Net, PORT, Problem, Space},
};

/// Plain nodes `n1` … at hosts of their own; the first is the seed.
pub(super) fn plain(net: &Net, cluster: &mut Cluster, count: usize) -> Result<Vec<Host>, Problem> {
    let hosts = (0..count).map(|_| net.host()).collect::<Result<Vec<_>, _>>()?;
    start_plain(cluster, &hosts)?;
    Ok(hosts)
}

pub(super) fn start_plain(cluster: &mut Cluster, hosts: &[Host]) -> Result<(), Problem> {
    for (n, host) in hosts.iter().enumerate() {
        cluster.start(host, &setup(format!("n{}", n + 1), &[at(&hosts[0])]))?;
    }
    Ok(())
}

/// A direct network, with which all others are compared.
pub(super) fn direct(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = plain(&net, &mut cluster, 5)?;
    let others = [net.host()?, net.host()?];
    for (host, name) in others.iter().zip(["odd", "odder"]) {
        cluster.start(host, &setup(name, &[at(&hosts[0])]))?;
    }
    cluster.live(ODD, lab.quiet, report)?;
    cluster.tells_no_problem(report);
    if let Some(tag) = report.tag {
        DIRECT_TAG.get_or_init(|| tag);
    }
    Ok(())
}

/// A host with two addresses at one interface: it advertises the second, and sends from the first.
pub(super) fn second_address(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = plain(&net, &mut cluster, 5)?;
    let others = [net.host()?, net.host()?];
    for (n, (host, name)) in (100..).zip(others.iter().zip(["odd", "odder"])) {
        let second = SocketAddr::from(([10, 77, 0, n], PORT));
        host.space.ip(&format!("addr add {}/24 dev eth0", second.ip()))?;
        cluster.start(host, &Setup { advertise: Some(second), ..setup(name, &[at(&hosts[0])]) })?;
    }
    cluster.live(ODD, lab.quiet, report)?;
    cluster.tells_no_problem(report);
    Ok(())
}

/// As with `docker -p 17001:7946`: a node's packets leave from its router's address, from any port.
pub(super) fn mapped_port(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let net = lab.net()?;
    let (mut cluster, _hosts, _routers) = mapped(lab, &net, 5, &["odd", "odder"], "udp, tcp")?;
    cluster.live(ODD, lab.quiet, report)?;
    cluster.tells_no_problem(report);
    Ok(())
}

/// Docker's mapping without `/udp`: streams get in, datagrams only as answers. A newcomer's datagrams count once it has
/// tokens, which it is sent by stream when it calls.
pub(super) fn mapped_tcp(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let net = lab.net()?;
    let (mut cluster, _hosts, _routers) = mapped(lab, &net, 5, &["odd", "odder"], "tcp")?;
    cluster.live(ODD, lab.quiet, report)
}

/// The same with a cluster of two: no third member can report about the node behind the router.
pub(super) fn mapped_tcp_two(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let net = lab.net()?;
    let (mut cluster, _hosts, _routers) = mapped(lab, &net, 1, &["odd"], "tcp")?;
    cluster.gather(ODD, report);
    let (left, failed, of) = cluster.leave("odd", ODD.spread)?;
    report.leave = Some((left, failed, of));
    report.claim(Claim::LeaversAreToldAsLeft, left == of, || {
        format!("{left} of {of} say left, {failed} failed")
    });
    cluster.judge(report);
    Ok(())
}

/// Plain nodes, and nodes behind routers that map a port of these protocols.
fn mapped(
    lab: &Lab,
    net: &Net,
    count: usize,
    names: &[&str],
    protocols: &str,
) -> Result<(Cluster, Vec<Host>, Vec<Space>), Problem> {
    const OUTER: u16 = 17001;
    let mut cluster = lab.cluster();
    let mut hosts = plain(net, &mut cluster, count)?;
    let seed = at(&hosts[0]);
    let mut routers = Vec::new();
    for name in names {
        let (host, router, outside) = net.mapped(OUTER, protocols)?;
        let advertise = Some((outside, OUTER).into());
        cluster.start(&host, &Setup { advertise, ..setup(*name, &[seed]) })?;
        hosts.push(host);
        routers.push(router);
    }
    Ok((cluster, hosts, routers))
}

/// Every host is in two networks. Two nodes advertise their address in the second, and send to the others through the
/// first.
pub(super) fn second_network(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    net.bridge(1)?;
    let hosts = (0..7).map(|_| net.host()).collect::<Result<Vec<_>, _>>()?;
    let second = hosts.iter().map(|host| net.plug(host, 1)).collect::<Result<Vec<_>, _>>()?;
    start_plain(&mut cluster, &hosts[..5])?;
    for (n, name) in [(5, "odd"), (6, "odder")] {
        let advertise = Some((second[n], PORT).into());
        cluster.start(&hosts[n], &Setup { advertise, ..setup(name, &[at(&hosts[0])]) })?;
    }
    cluster.live(ODD, lab.quiet, report)?;
    cluster.tells_no_problem(report);
    Ok(())
}

/// Every host has only an IPv6 address.
pub(super) fn ipv6(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let seed = SocketAddr::from(([0xfd77, 0, 0, 0, 0, 0, 0, 1], PORT));
    let mut hosts = Vec::new();
    for (n, name) in ["n1", "n2", "n3", "n4", "n5", "odd", "odder"].into_iter().enumerate() {
        let host = net.host()?;
        host.space.ip("addr flush dev eth0 scope global")?;
        host.space.ip(&format!("addr add fd77::{}/64 dev eth0 nodad", n + 1))?;
        let bind = (Ipv6Addr::UNSPECIFIED, PORT).into();
        cluster.start(&host, &Setup { bind, ..setup(name, &[seed]) })?;
        hosts.push(host);
    }
    cluster.live(ODD, lab.quiet, report)
}

/// Every host has an address of each family. Every other member advertises the one of IPv6, and the seed that of IPv4.
pub(super) fn dual_stack(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let mut hosts = Vec::new();
    for (n, name) in (1..).zip(["n1", "n2", "n3", "n4", "n5", "odd", "odder"]) {
        let host = net.host()?;
        let second = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, n);
        host.space.ip(&format!("addr add {second}/64 dev eth0 nodad"))?;
        let ip = if n % 2 == 0 { second.into() } else { host.addr.into() };
        let advertise = Some(SocketAddr::new(ip, PORT));
        hosts.push(host);
        let bind = (Ipv6Addr::UNSPECIFIED, PORT).into();
        cluster
            .start(&hosts[hosts.len() - 1], &Setup { bind, advertise, ..setup(name, &[at(&hosts[0])]) })?;
    }
    cluster.live(ODD, lab.quiet, report)?;
    cluster.tells_no_problem(report);
    Ok(())
}

/// The kernel makes namespaces so, and a container may keep it: nothing that a host sends to itself arrives.
pub(super) fn loopback_down(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = plain(&net, &mut cluster, 5)?;
    let others = [net.bare()?, net.bare()?];
    for (host, name) in others.iter().zip(["odd", "odder"]) {
        net.plug(host, 0)?;
        // Without a seed it has no work, so only the call can wake it.
        cluster.start(host, &setup(name, &[]))?;
    }
    let (up, limit) = (|told: &Told| told.kind == "joined", Duration::from_secs(3));
    within(PATIENCE, || cluster.process("odd").first(0, up).and(cluster.process("odder").first(0, up)));
    let from = now();
    for name in ["odd", "odder"] {
        cluster.process(name).command(&format!("join {}", at(&hosts[0])))?;
    }
    let done = |told: &Told| told.kind == "join";
    let returned = within(limit, || cluster.process("odd").first(from, done)).is_some();
    report.claim(Claim::CallsReturn, returned, || format!("no end of a join within {limit:?}"));
    cluster.live(ODD, lab.quiet, report)
}

/// How long a node may take to notice that its own address does not work.
const NOTICE: Duration = Duration::from_secs(60);

/// A node advertises an address without a host. The node must report it, and the others must not be affected.
pub(super) fn unreachable(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = plain(&net, &mut cluster, 5)?;
    let odd = net.host()?;
    // It never joins, so no other node can be wrong about it.
    let nowhere = SocketAddr::from(([10, 77, 0, 200], PORT));
    cluster.start(&odd, &Setup { advertise: Some(nowhere), ..setup("odd", &[at(&hosts[0])]) })?;
    cluster.process("odd").will_be_gone();
    cluster.gather(ODD, report);
    report.nodes = 6;
    told(report, cluster.process("odd"), 0, &nowhere.ip().to_string());
    cluster.judge(report);
    Ok(())
}

/// The host's address is replaced while the node runs, as a new DHCP lease does.
pub(super) fn replaced(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = plain(&net, &mut cluster, 5)?;
    let odd = net.host()?;
    cluster.start(&odd, &setup("odd", &[at(&hosts[0])]))?;
    cluster.gather(ODD, report);
    let new = "10.77.0.150";
    odd.space.ip(&format!("addr del {}/24 dev eth0", odd.addr))?;
    odd.space.ip(&format!("addr add {new}/24 dev eth0"))?;
    let from = now();
    // Until it is found again, the others' reports are right.
    cluster.process("odd").will_be_gone();
    let followed =
        cluster.all_others("odd", from, NOTICE, |told| told.name == "odd" && told.text.contains(new));
    report.claim(Claim::AddressIsFollowed, followed.is_ok(), || followed.unwrap_err());
    told(report, cluster.process("odd"), from, &odd.addr.to_string());
    cluster.judge(report);
    Ok(())
}

/// A host in two networks, of which the cluster reaches one, loses its address there for a while: a switch restarts, or a lease
/// is renewed.
pub(super) fn returns(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    net.bridge(1)?;
    let hosts = plain(&net, &mut cluster, 5)?;
    let odd = net.host()?;
    net.plug(&odd, 1)?;
    odd.space.ip("route replace default dev eth1")?;
    cluster.start(&odd, &setup("odd", &[at(&hosts[0])]))?;
    cluster.gather(ODD, report);
    let home = odd.addr.to_string();
    odd.space.ip(&format!("addr del {home}/24 dev eth0"))?;
    cluster.process("odd").will_be_gone();
    let is_elsewhere = |told: &Told| told.kind == "updated" && !told.text.contains(&home);
    let from = now();
    let took = within(NOTICE, || cluster.process("odd").first(from, is_elsewhere)).is_some();
    report.claim(Claim::AddressIsFollowed, took, || "it takes no address of the other network".into());
    odd.space.ip(&format!("addr add {home}/24 dev eth0"))?;
    let from = now();
    let returned =
        cluster.all_others("odd", from, NOTICE, |told| told.name == "odd" && told.text.contains(&home));
    // While it is cut off, it may take others for failed.
    report.claim(Claim::AddressIsFollowed, returned.is_ok(), || returned.unwrap_err());
    Ok(())
}

/// Whether a node reports, in an event and in its log, that `addr` does not work.
fn told(report: &mut Report, process: &Process, from: u64, addr: &str) {
    let event = || process.first(from, |told| told.kind == "other" && told.text.contains(addr));
    let event = within(NOTICE, event).is_some();
    let log = !process.warnings(&[addr]).is_empty();
    report.claim(Claim::ProblemIsTold, event && log, || {
        let seen = |seen| if seen { "there is" } else { "no" };
        format!("{} event and {} warning about {addr} within {NOTICE:?}", seen(event), seen(log))
    });
}

/// As for a pod of a StatefulSet, the name stays and the address changes: once after SIGTERM, at which it leaves, and once
/// after a crash.
pub(super) fn moved(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = plain(&net, &mut cluster, 5)?;
    let pods = [net.host()?, net.host()?, net.host()?];
    let start = |cluster: &mut Cluster, host| cluster.start(host, &setup("odd", &[at(&hosts[0])]));
    start(&mut cluster, &pods[0])?;
    cluster.gather(ODD, report);
    let (left, failed, of) = cluster.leave_by("odd", ODD.spread, |process| process.terminate())?;
    report.leave = Some((left, failed, of));
    report.claim(Claim::LeaversAreToldAsLeft, left == of, || {
        format!("{left} of {of} say left, {failed} failed")
    });
    for (host, crashes) in [(&pods[1], true), (&pods[2], false)] {
        let from = now();
        start(&mut cluster, host)?;
        let addr = at(host).to_string();
        let seen = cluster
            .all_others("odd", from, ODD.patience, |told| told.name == "odd" && told.text.contains(&addr));
        report.claim(Claim::AddressIsFollowed, seen.is_ok(), || seen.unwrap_err());
        let all = cluster.converge(from, ODD.patience);
        report.claim(Claim::AllSeeAll, all.is_ok(), || all.unwrap_err());
        if crashes {
            cluster.process("odd").crash()?;
        }
    }
    cluster.judge(report);
    Ok(())
}

/// A host with two addresses. Its node crashes, and is started again at once with the other address, while the host keeps
/// the address of the earlier life.
pub(super) fn moved_on_its_host(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = plain(&net, &mut cluster, 5)?;
    let odd = net.host()?;
    let second = SocketAddr::from(([10, 77, 0, 100], PORT));
    odd.space.ip(&format!("addr add {}/24 dev eth0", second.ip()))?;
    cluster.start(&odd, &setup("odd", &[at(&hosts[0])]))?;
    cluster.gather(ODD, report);
    cluster.process("odd").crash()?;
    let from = now();
    cluster.start(&odd, &Setup { advertise: Some(second), ..setup("odd", &[at(&hosts[0])]) })?;
    let (addr, limit) = (second.to_string(), Duration::from_secs(2));
    let seen = cluster.all_others("odd", from, limit, |told| told.name == "odd" && told.text.contains(&addr));
    report.claim(Claim::AddressIsFollowed, seen.is_ok(), || seen.unwrap_err());
    let taken =
        ["name taken", "name conflict"].map(|words| cluster.process("odd").warnings(&[words])).concat();
    report.claim(Claim::NoProblemIsTold, taken.is_empty(), || taken.join("; "));
    cluster.judge(report);
    Ok(())
}
