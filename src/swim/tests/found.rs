//! Schedules that the search found, each with the bug that it showed.

use std::time::Duration;

use super::{super::Config, world::holds};
use crate::sim::{Fault, Side};

/// The node left while its join was under way, and the exchange announced it as alive.
#[test]
fn a_node_that_leaves_before_it_was_announced_is_not_announced_later() {
    use Fault::{Crash, Isolate, Leave, Restart};
    let faults = [(20_067, Crash(2)), (15_998, Isolate(vec![2])), (4940, Restart(2)), (10_647, Leave(2))];
    holds(1091, 5, Config::wan, faults);
}

/// Old datagrams told the node of a member that was gone, and it did not probe, since no seed had answered yet.
#[test]
fn a_node_that_hears_of_members_before_a_seed_answers_probes_them() {
    use Fault::{Clog, Crash, Restart};
    let faults = [(50_289, Clog(0, 1)), (29_074, Crash(0)), (6024, Crash(1)), (6506, Restart(1))];
    holds(6522, 2, Config::lan, faults);
}

/// The node failed, came back and failed again between two rounds of gossip, and was told of failures twice.
#[test]
fn a_node_that_fails_twice_in_a_moment_is_told_of_failures_once() {
    use Fault::{Block, Clog, Pause};
    let millis = Duration::from_millis;
    let faults = [
        (12_703, Clog(0, 2)),
        (12_958, Clog(1, 2)),
        (2306, Block(0, millis(7786))),
        (10_764, Pause(0, millis(18_353))),
        (8668, Block(2, millis(11_022))),
    ];
    holds(50_118, 3, Config::lan, faults);
}

/// Datagrams were filtered, and no stream reached the node since its address was gone: it heard answers to its own streams
/// alone, and took a member that had left for failed.
#[test]
fn a_node_that_nobody_reaches_hears_of_a_leave() {
    use Fault::{FilteredUdp, Leave, NewAddress};
    let faults = [
        (4759, NewAddress(3, 242)),
        (2916, FilteredUdp(Side::All)),
        (665, Leave(0)),
        (15_545, NewAddress(1, 171)),
    ];
    holds(2_001_783, 4, Config::lan, faults);
}
