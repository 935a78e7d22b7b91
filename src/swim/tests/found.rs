//! Schedules that the search found, each with the bug that it showed.

use super::{
    super::Config,
    world::{holds, millis},
};
use crate::sim::{Burst, Fault, Side};

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

/// Two holders of a name superseded each other to one identity. One node went on listing it at the address of the holder that was
/// gone, since relays reached the other, and all digests were equal.
#[test]
fn a_node_that_lists_a_holder_that_is_gone_learns_where_the_other_is() {
    use Fault::{Block, Bursts, Conflict, Crash, Duplication, EndConflict, Isolate};
    let faults = [
        (13_263, Conflict(8)),
        (5160, Block(6, millis(4392))),
        (3516, Crash(3)),
        (6047, Crash(8)),
        (3214, Conflict(4)),
        (5562, EndConflict { host: 8, leaves: false }),
        (6742, Conflict(7)),
        (9138, Conflict(5)),
        (2218, Block(7, millis(19_573))),
        (20_677, Bursts(Burst { good: millis(11_094), bad: millis(1670), loss: 0.917343307304257 })),
        (8451, Crash(5)),
        (4839, Duplication(0.03456087081790429)),
        (18_470, Duplication(0.07549230671168643)),
        (1183, Conflict(2)),
        (10_201, Isolate(vec![4, 6])),
        (6889, Isolate(vec![0, 1, 7])),
        (14_572, Block(1, millis(13_454))),
    ];
    holds(4_000_837, 9, Config::local, faults);
}
