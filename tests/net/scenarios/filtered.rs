//! Firewalls that pass TCP and filter UDP.

use std::{thread, time::Duration};

use super::{Lab, ODD, addresses::start_plain, at, setup};
use crate::{
    life::{Cluster, Plan},
    report::Report,
    space::{Host, Net, Problem},
};

/// Seven nodes in a network where no datagram arrives.
fn filtered(lab: &Lab, net: &Net) -> Result<(Vec<Host>, Cluster), Problem> {
    let mut cluster = lab.cluster();
    let hosts = (0..7).map(|_| net.host()).collect::<Result<Vec<_>, _>>()?;
    hosts.iter().try_for_each(|host| host.filter("meta l4proto udp"))?;
    start_plain(&mut cluster, &hosts[..5])?;
    for (host, name) in hosts[5..].iter().zip(["odd", "odder"]) {
        cluster.start(host, &setup(name, &[at(&hosts[0])]))?;
    }
    Ok((hosts, cluster))
}

/// The cluster lives without datagrams.
pub(super) fn everywhere(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let net = lab.net()?;
    let (_hosts, mut cluster) = filtered(lab, &net)?;
    cluster.live(ODD, lab.quiet, report)
}

/// Without datagrams, a process is stopped for two seconds, three times. This must not look like a crash.
pub(super) fn pause(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let net = lab.net()?;
    let (_hosts, mut cluster) = filtered(lab, &net)?;
    cluster.gather(Plan { patience: Duration::from_secs(60), ..ODD }, report);
    for _ in 0..3 {
        cluster.process("odd").freeze(Duration::from_secs(2))?;
        // A suspicion caused by the pause has timed out by then.
        thread::sleep(Duration::from_secs(12));
    }
    cluster.judge(report);
    Ok(())
}

/// No datagram arrives at one host. Its node leaves, and another crashes.
pub(super) fn into_one(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = (0..6).map(|_| net.host()).collect::<Result<Vec<_>, _>>()?;
    hosts[5].filter("meta l4proto udp")?;
    start_plain(&mut cluster, &hosts[..5])?;
    cluster.start(&hosts[5], &setup("odd", &[at(&hosts[0])]))?;
    cluster.live(Plan { victim: "n5", ..ODD }, lab.quiet, report)
}
