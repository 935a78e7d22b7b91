//! Bugs that random cases and schedules found, each in its shortest form and named after the rule that it broke.

use std::{sync::mpsc, thread, time::Duration};

use super::{
    super::{Config, MemberState, Node, Output, Start, StreamStep, Time},
    bench::{Bench, alive, failed, left, messages, packet_of, suspect},
    world::{ORIGIN, World, addr, holds, millis, secs},
};
use crate::{
    sim::{
        Fault, Place, Theme, YEAR,
        attacker::{Ahead, Attack, Kind, Lie, Who},
        chaos::{Case, Claimed, Said, Step},
    },
    wire::{
        Tags,
        message::{Alive, Digest, Left, Message, Same},
    },
};

/// A failed member was due to be tried, and to be forgotten, when the node woke up days late: the reconnect ping wrote the
/// member's state, which was forgotten by then.
#[test]
fn a_node_that_wakes_days_late_can_still_reconnect_to_members_that_it_forgets() {
    let failed = Said { kind: 6, name: 2, addr: 7, claimed: Claimed::Incarnation(1), detail: 0 };
    let out_of_turn = Said { kind: 10, ..failed };
    let steps = vec![
        Step::Seeds(131),
        Step::Frame(1, vec![failed, out_of_turn]),
        Step::Sleep(Duration::from_millis(268_435_460)),
    ];
    Case { config: 0, steps }.run();
}

/// The same in a cluster: one host was paused for longer than another's failure is remembered.
#[test]
fn a_node_that_was_paused_past_a_memory_of_seconds_goes_on() {
    let short = |name| {
        let mut config = Config::lan(name);
        (config.reap_left_after, config.reap_failed_after) = (secs(5), secs(8));
        (config.suspicion_max_mult, config.forget_after) = (3, secs(12));
        config
    };
    for seed in 0..20 {
        holds(seed, 2, short, [(24_779, Fault::Pause(0, secs(17))), (8791, Fault::ClockJump(1, secs(16)))]);
    }
}

/// Two joins under one ticket had shared their counters.
#[test]
fn joins_that_share_a_ticket_are_counted_apart() {
    let steps =
        vec![Step::Seeds(15), Step::Join(1, 72), Step::Join(1, 134), Step::Sleep(Duration::from_secs(262))];
    Case { config: 0, steps }.run();
}

#[test]
fn a_join_whose_ticket_is_in_use_reports_too() {
    use Fault::{Isolate, Join};
    let faults = [
        (4670, Isolate(vec![1, 2])),
        (4193, Join(6, 0, vec![Place::Host(2)])),
        (11_784, Join(6, 0, vec![Place::Host(1), Place::Conflict(4)])),
    ];
    holds(56, 7, Config::wan, faults);
}

#[test]
fn seeds_that_are_resolved_while_others_are_tried_are_tried_too() {
    let mut bench = Bench::new(0);
    let asked = |bench: &mut Bench| {
        let outputs = std::iter::from_fn(|| bench.node.poll_output());
        let mut asked = Vec::new();
        for output in outputs {
            if let Output::OpenStream { addr, .. } = output {
                asked.push(addr);
            }
        }
        asked
    };
    bench.node.handle_seeds(bench.now, &[addr(50)]);
    assert_eq!(asked(&mut bench), [addr(50)]);
    bench.node.handle_seeds(bench.now, &[addr(51)]);
    bench.pass(secs(60));
    bench.node.handle_seeds(bench.now, &[addr(51)]);
    bench.pass(secs(60));
    assert!(asked(&mut bench).contains(&addr(51)), "a seed that is known only later is tried");
}

/// After an exchange that changed nothing, the pause was between the probe interval and the sync interval, which is shorter
/// here.
#[test]
fn a_sync_interval_below_the_probe_interval_is_refused_or_works() {
    let mut config = Config::lan("me");
    (config.probe_interval, config.sync_interval) = (secs(5), secs(2));
    if config.validate().is_err() {
        return;
    }
    let mut bench = Bench::with(config, 2);
    bench.receive(&Digest { digest: 12345 });
    let Some(Output::OpenStream { stream, .. }) = bench.node.poll_output() else { panic!("it differs") };
    let mut frame = Vec::new();
    assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
    bench.node.handle_frame(bench.now, stream, &packet_of(&Same {}));
}

/// Timers were set anew for the same moment, without end.
#[test]
fn the_greatest_time_passes() {
    let (done, is_done) = mpsc::channel();
    let at_the_end = move || {
        let mut bench = Bench::new(0);
        bench.node.handle_timeout(Time::from_origin(Duration::MAX));
        done.send(()).expect("it is waited for");
    };
    thread::Builder::new().spawn(at_the_end).expect("a thread can be had");
    is_done.recv_timeout(secs(5)).expect("no timer fires for ever");
}

/// A displaced node was listed again by all when the other holder was gone, but did not take part: it probed no member.
#[test]
fn a_displaced_node_takes_part_again_when_the_holder_is_gone() {
    use Fault::{Conflict, Crash, Heal, Restart};
    holds(59, 2, Config::wan, [(4037, Crash(0)), (5602, Conflict(0)), (1908, Restart(0)), (68_251, Heal)]);
}

/// A made-up member claimed another's name, and answered to it for a while.
#[test]
fn a_node_displaced_by_a_made_up_member_takes_part_again_when_that_is_silent() {
    let (from, about) = (Who::Ghost(0), Who::Host(1));
    let alive = Lie { kind: Kind::Alive, about, ahead: Ahead::Incarnations(1), at: from };
    let infiltrate = Attack::Infiltrate { ghosts: 1, to: 5, answers_for: Duration::from_millis(45_900) };
    let attacks = [
        (23_995, Fault::Attack(infiltrate)),
        (6378, Fault::Attack(Attack::Datagram { from, to: 1, lies: vec![alive] })),
        (1118, Fault::Cut(4, 5)),
    ];
    holds(103, 6, Config::local, attacks);
}

#[test]
fn of_many_members_that_leave_at_once_none_is_declared_failed() {
    holds(73, 10, Config::local, [(10_905, Fault::LeaveTogether(vec![3, 4, 5, 6, 7, 9]))]);
}

/// An Alive is believed 200 years ahead, and a claim against it 100: a made-up member 101 years ahead was never found dead.
#[test]
fn a_made_up_member_of_the_far_future_is_found_dead() {
    let alive =
        Lie { kind: Kind::Alive, about: Who::Ghost(1), ahead: Ahead::Life(150 * YEAR), at: Who::Ghost(0) };
    let attack = Attack::Datagram { from: Who::Host(2), to: 1, lies: vec![alive] };
    holds(175, 3, Config::local, [(32_217, Fault::Attack(attack))]);
}

#[test]
fn a_member_whose_clock_is_far_ahead_is_found_dead_when_it_crashes() {
    let faults = [(26_830, Fault::WrongClock(1, 121 * YEAR as i64)), (20_000, Fault::Crash(1))];
    holds(7, 10, Config::local, faults);
}

/// Members believe each step, but the steps together lead to an epoch that no member follows.
#[test]
fn a_member_whose_clock_is_of_1970_sees_the_same_members_as_the_others() {
    let faults =
        [(568, Fault::WrongClock(0, 165 * YEAR as i64)), (7540, Fault::WrongClock(1, -1_700_000_000_000))];
    holds(0, 8, Config::lan, faults);
}

/// On both sides of a partition a holder of the name took up the same later life.
#[test]
fn two_holders_of_one_life_are_one_when_the_partition_is_over() {
    use Fault::{ClockJump, Conflict, Isolate, WrongClock};
    let faults = [
        (69_718, WrongClock(6, 4_761_936_000_000)),
        (5476, Isolate((1..=7).collect())),
        (13_802, ClockJump(0, millis(1633))),
        (8436, Conflict(6)),
        (10_552, WrongClock(6, 63_933_119)),
    ];
    holds(16_913, 8, |name| Theme::Everything.config(16_913, name), faults);
}

/// A life that began with a clock of 1970 took its name back from another holder under the identity that its past life had
/// used, with other tags.
#[test]
fn two_lives_under_one_identity_are_seen_with_the_tags_of_the_one_that_lives() {
    let mut bench = Bench::new(1);
    let past = Tags::new([("n", "0")]).unwrap();
    bench.receive(&Alive { tags: past.encoded(), ..alive("m2", 1, addr(9)) });
    let now = alive("m2", 1, addr(9));
    bench.receive(&now);
    assert_eq!(bench.standing("m2"), Some((MemberState::Suspect, 1)), "it is asked which it is");
    bench.receive(&Alive { incarnation: 2, ..now });
    assert_eq!(bench.member("m2").unwrap().tags, Tags::default());
}

/// The node answered pings after its leave. A member that had slept until all others forgot it took it to be alive, and told
/// them.
#[test]
fn a_node_that_left_and_still_runs_comes_back_to_no_view() {
    let mut world = World::new(7);
    world.start_cluster(3, |name| {
        let mut config = Config::lan(name);
        (config.reap_left_after, config.reap_failed_after) = (secs(2), secs(2));
        (config.suspicion_max_mult, config.forget_after) = (3, secs(12));
        config
    });
    world.run_until("one view", secs(10), |world| world.all_see(3));
    world.run_for(secs(5));
    world.pause(1, secs(40));
    world.net.isolate([1]);
    world.with(2, Node::leave);
    world.run_for(secs(39));
    assert_eq!(world.state(0, "n2"), None, "it is forgotten");
    world.net.heal();
    world.run_for(secs(30));
    let lists_it = |host| world.state(host, "n2").is_some_and(MemberState::is_live);
    assert_eq!([lists_it(0), lists_it(1)], [false; 2]);
}

/// Clocks beyond 2100 had all given the same epoch.
#[test]
fn a_node_that_left_with_a_clock_beyond_2100_starts_in_a_random_epoch() {
    let start = |seed| Start { addr: addr(0), epoch: 2 * LATEST, seed, tags: Tags::default() };
    let epochs = [1, 2, 3].map(|seed| {
        let node = Node::new(Config::lan("me"), start(seed), ORIGIN);
        node.local().identity.epoch
    });
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2] && epochs[0] != epochs[2], "{epochs:?}");
    assert!(
        epochs.iter().all(|epoch| (LATEST..LATEST + YEAR).contains(epoch)),
        "all others believe it: {epochs:?}"
    );
}

/// The same: another member calls the new life before it hears of the one that left.
#[test]
fn a_node_that_left_with_a_clock_beyond_2100_does_not_come_back_when_it_is_called() {
    let mut world = World::new(1);
    world.start_cluster(2, Config::lan);
    world.restart_with_clock_off(1, 150 * YEAR as i64);
    world.run_until("one view", secs(30), |world| world.all_see(2));
    world.leave_and_stop(1);
    world.run_for(secs(5));
    // The node knows no member: the other node calls it.
    world.hosts[1].seeds = vec![addr(9)];
    world.restart_with_clock_off(1, 150 * YEAR as i64);
    world.join(0, 1, &[addr(1)]);
    world.run_until("one view", secs(30), |world| world.all_see(2));
}

/// The update of a leave died out before all had it, as updates may. A member that suspected the leaver was then told
/// nothing by members that knew, and declared it failed.
#[test]
fn an_accuser_of_a_member_that_left_is_told_that_it_left() {
    let mut bench = Bench::new(3);
    bench.sync(Message::Left(left("m2", 0)));
    bench.node.updates.clear();
    bench.sent();
    let told = |bench: &mut Bench| {
        bench.pass(secs(2));
        let mut told = 0;
        for (_, packet) in bench.sent() {
            messages(&packet, |message| {
                told += u32::from(matches!(message, Message::Left(Left { name: "m2", .. })))
            });
        }
        told
    };
    assert_eq!(told(&mut bench), 0, "it is no update any more");
    bench.receive(&suspect("m2", 0, &["m3"]));
    assert!(told(&mut bench) > 0);
    bench.node.updates.clear();
    bench.receive(&failed("m2", 0));
    assert!(told(&mut bench) > 0);
    bench.node.updates.clear();
    bench.receive(&failed("m2", 1));
    assert_eq!(told(&mut bench), 0, "what it said later is not known");
}

/// The identity of a member that made room is forgotten too, so an older update lists it as it was before. Remembering it
/// would keep an honest member out until it had something new to say, and cost room for made-up names.
#[test]
fn a_node_that_was_forgotten_for_want_of_room_may_be_listed_as_it_was_before() {
    let mut bench = Bench::with(Config { max_members: 3, ..Config::lan("me") }, 1);
    bench.sync(Message::Alive(alive("silent", 5, addr(7))));
    bench.sync(Message::Alive(alive("other", 0, addr(8))));
    assert_eq!(bench.standing("silent"), None, "it makes room");
    bench.sync(Message::Alive(alive("silent", 4, addr(7))));
    assert_eq!(bench.standing("silent"), Some((MemberState::Alive, 4)));
}

/// The year 2100.
const LATEST: u64 = 4_102_444_800_000;
