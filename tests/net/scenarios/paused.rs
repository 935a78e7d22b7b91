//! Processes that get no processor time.

use std::{thread, time::Duration};

use super::{Lab, ODD, addresses::plain, at, setup};
use crate::{
    node::now,
    process::Setup,
    report::{Claim, Report},
    space::Problem,
};

/// A process is stopped and resumed: it must not report others as failed, and all must list it again.
pub(super) fn stopped(lab: &Lab, report: &mut Report, seconds: u64) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = plain(&net, &mut cluster, 5)?;
    let others = [net.host()?, net.host()?];
    for (host, name) in others.iter().zip(["odd", "odder"]) {
        cluster.start(host, &setup(name, &[at(&hosts[0])]))?;
    }
    cluster.gather(ODD, report);
    cluster.process("odd").pause()?;
    thread::sleep(Duration::from_secs(seconds));
    let resumed = now();
    cluster.process("odd").resume(Duration::from_secs(3))?;
    // No node is asked while reports may still be due to the pause.
    thread::sleep(Duration::from_secs(4));
    let again = cluster.converge(resumed, ODD.patience);
    match &again {
        Ok(time) => report.note(format!("all saw all again {:.2} s after it went on", time.as_secs_f64())),
        Err(seen) => report.note(format!("after it went on: {seen}")),
    }
    report.claim(Claim::AllSeeAll, again.is_ok(), || again.unwrap_err());
    cluster.part(ODD, report)
}

/// A node shares one processor with sixteen threads of its own program that never rest.
pub(super) fn starved(lab: &Lab, report: &mut Report) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = plain(&net, &mut cluster, 5)?;
    let others = [net.host()?, net.host()?];
    for (host, (name, busy)) in others.iter().zip([("odd", 16), ("odder", 0)]) {
        cluster.start(host, &Setup { busy, ..setup(name, &[at(&hosts[0])]) })?;
    }
    cluster.live(ODD, lab.quiet.max(Duration::from_secs(20)), report)?;
    report.note(format!("{} suspicions in all", cluster.suspicions()));
    Ok(())
}
