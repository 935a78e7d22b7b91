//! Networks that delay, reorder or duplicate packets.

use std::time::Duration;

use super::{Lab, ODD, at, setup};
use crate::{
    life::Plan,
    process::Setup,
    relay::{Relay, Weather},
    report::Report,
    space::Problem,
};

/// Seven nodes whose packets all go through the relay.
pub(super) fn delayed(lab: &Lab, report: &mut Report, weather: Weather, wan: bool) -> Result<(), Problem> {
    let (net, mut cluster) = (lab.net()?, lab.cluster());
    let hosts = (0..7).map(|_| net.routed()).collect::<Result<Vec<_>, _>>()?;
    let relay = Relay::start(&net, 7, weather)?;
    let names = ["n1", "n2", "n3", "n4", "n5", "odd", "odder"];
    for (host, name) in hosts.iter().zip(names) {
        cluster.start(host, &Setup { wan, ..setup(name, &[at(&hosts[0])]) })?;
    }
    let patience = Duration::from_secs(if wan { 120 } else { 60 });
    cluster.live(Plan { patience, ..ODD }, lab.quiet, report)?;
    cluster.tells_no_problem(report);
    let (datagrams, streams) = relay.end()?;
    report.note(format!(
        "{datagrams} datagrams and {streams} streams were relayed; {} suspicions",
        cluster.suspicions()
    ));
    if datagrams == 0 || streams == 0 {
        return Err(Problem("the packets did not go through the relay".into()));
    }
    Ok(())
}

const fn weather(delay: u64, jitter: u64, twice: u8) -> Weather {
    Weather { delay: Duration::from_millis(delay), jitter: Duration::from_millis(jitter), twice }
}

/// A round trip of 200 ms, more or less 100.
pub(super) const ROUND_TRIP_200: Weather = weather(100, 50, 0);
/// Each way takes 200 ms, more or less 100.
pub(super) const EACH_WAY_200: Weather = weather(200, 100, 0);
/// A third arrives twice, and packets sent within 50 ms arrive in any order.
pub(super) const SHUFFLED: Weather = weather(25, 25, 33);
