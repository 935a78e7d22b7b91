//! How long a node waits, how often it tries again, and when it forgets.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
};

use super::{
    super::{Config, MemberState, Output, StreamKind, StreamStep, phase::Phase, timers::Timer},
    bench::{Bench, EPOCH, alive, answers_come, failed, messages, packet_of, suspect},
    world::{addr, millis, secs},
};
use crate::wire::message::{Ack, Message, Nack, Retry, StreamAck};

/// The destinations and numbers of the pings that wait to be sent.
fn pings(bench: &mut Bench) -> Vec<(SocketAddr, u32)> {
    let mut pings = Vec::new();
    for (to, packet) in bench.sent() {
        messages(&packet, |message| {
            if let Message::Ping(ping) = message {
                pings.push((to, ping.seq));
            }
        });
    }
    pings
}

/// A probe round without answers: the target and its address, the relays and the numbers that they were sent.
struct FailingProbe {
    target: String,
    relays: Vec<(SocketAddr, u32)>,
    seq: u32,
}

fn failing_probe(bench: &mut Bench) -> FailingProbe {
    let mut probe = FailingProbe { target: String::new(), relays: Vec::new(), seq: 0 };
    while probe.relays.is_empty() {
        bench.now = bench.node.poll_timeout().expect("it probes");
        bench.node.handle_timeout(bench.now);
        for (to, packet) in bench.sent() {
            messages(&packet, |message| match message {
                Message::Ping(ping) => (probe.target, probe.seq) = (ping.target.to_owned(), ping.seq),
                Message::PingReq(request) => probe.relays.push((to, request.seq)),
                _ => {}
            });
        }
    }
    probe
}

/// A node in a cluster of nine whose probes are answered by datagram alone.
fn without_streams() -> Bench {
    let mut config = Config::lan("me");
    config.stream_fallback = false;
    Bench::with(config, 8)
}

#[test]
fn a_nack_counts_only_under_the_number_that_its_relay_was_sent() {
    for (from_relays, health) in [(true, 0), (false, 3)] {
        let mut bench = without_streams();
        let probe = failing_probe(&mut bench);
        assert_eq!(probe.relays.len(), 3);
        for (from, seq) in &probe.relays {
            bench.receive_from(*from, &Nack { seq: if from_relays { *seq } else { probe.seq } });
        }
        assert_eq!(bench.node.metrics().dropped_stray_answers, if from_relays { 0 } else { 3 });
        bench.pass(millis(510));
        assert_eq!(bench.node.metrics().probes_failed, 1);
        assert_eq!(bench.node.metrics().health_score, health, "nacks from relays: {from_relays}");
    }
}

/// A sender can write any mark into a datagram, so no relay is told the number that the target was sent.
#[test]
fn no_relay_can_answer_as_the_target_nor_as_another_relay() {
    let mut bench = without_streams();
    // The node heard from m1 last, so m1 is asked as the witness.
    bench.receive(&alive("m1", 0, addr(1)));
    let FailingProbe { target, relays, seq } = failing_probe(&mut bench);
    let numbers: BTreeSet<_> = relays.iter().map(|(_, seq)| *seq).chain([seq]).collect();
    assert_eq!(numbers.len(), relays.len() + 1, "each has a number of its own");
    // One of three relays sends an ack, also in the name of the target; the others send nacks.
    let (liar, seq) = relays[0];
    for name in [target.as_str(), "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8"] {
        bench.receive_as(Some(name), liar, &Ack { seq });
        bench.receive_as(Some(name), liar, &Retry { seq, token: 7 });
    }
    relays[1..].iter().for_each(|(from, seq)| _ = bench.receive_from(*from, &Nack { seq: *seq }));
    bench.pass(millis(510));
    assert_eq!(bench.standing(&target), Some((MemberState::Suspect, 0)));
    assert_eq!(bench.node.metrics().probes_failed, 1);
}

/// One relay may lie.
#[test]
fn more_relays_must_reach_a_member_than_not() {
    for (acks, nacks, state) in [
        (1, 0, MemberState::Alive),
        (1, 1, MemberState::Suspect),
        (1, 2, MemberState::Suspect),
        (2, 1, MemberState::Alive),
    ] {
        let mut bench = without_streams();
        let relays = failing_probe(&mut bench).relays;
        relays[..acks].iter().for_each(|(from, seq)| _ = bench.receive_from(*from, &Ack { seq: *seq }));
        relays[acks..acks + nacks]
            .iter()
            .for_each(|(from, seq)| _ = bench.receive_from(*from, &Nack { seq: *seq }));
        bench.pass(millis(510));
        let suspects = bench.node.members().iter().filter(|m| m.state == MemberState::Suspect).count();
        assert_eq!(suspects == 1, state == MemberState::Suspect, "{acks} acks, {nacks} nacks");
    }
}

/// A lying relay would keep a member that no datagram reaches without updates.
#[test]
fn a_member_that_answers_again_and_again_by_stream_alone_is_sent_streams_despite_acks_of_relays() {
    for (acks, rounds) in [(0, 1), (1, 8), (3, 8)] {
        let mut bench = Bench::new(4);
        let mut answered = HashMap::<String, u32>::new();
        loop {
            let FailingProbe { target, relays, .. } = failing_probe(&mut bench);
            let home = bench.member(&target).expect("it is listed").addr;
            let opened = bench.opened().into_iter().rfind(|(_, addr)| *addr == home);
            let (stream, _) = opened.expect("it is pinged by stream");
            let mut frame = Vec::new();
            assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
            bench.node.handle_frame(bench.now, stream, &packet_of(&StreamAck { name: &target }));
            relays[..acks].iter().for_each(|(from, seq)| _ = bench.receive_from(*from, &Ack { seq: *seq }));
            relays[acks..].iter().for_each(|(from, seq)| _ = bench.receive_from(*from, &Nack { seq: *seq }));
            bench.pass(millis(510));
            let times = answered.entry(target.clone()).or_default();
            *times += 1;
            if bench.node.carrier.carries_to(&target) {
                assert_eq!(*times, rounds, "{acks} acks");
                break;
            }
            assert!(*times < rounds, "{acks} acks");
        }
    }
}

#[test]
fn a_stall_puts_off_every_verdict_by_its_length() {
    for (notice_stalls, state) in [(true, MemberState::Suspect), (false, MemberState::Failed)] {
        let mut config = Config::lan("me");
        config.notice_stalls = notice_stalls;
        let mut bench = Bench::with(config, 8);
        bench.receive(&suspect("m2", 0, &["m1", "m3", "m4", "m5"]));
        // The least time is two seconds; nothing fires for ten.
        bench.now = bench.now + secs(10);
        bench.node.handle_timeout(bench.now);
        assert_eq!(bench.standing("m2"), Some((state, 0)), "notice_stalls: {notice_stalls}");
        bench.pass(millis(900));
        assert_eq!(bench.standing("m2"), Some((state, 0)));
        bench.pass(millis(1200));
        assert_eq!(bench.standing("m2"), Some((MemberState::Failed, 0)), "put off, and not dropped");
    }
}

/// A confirmation makes the timeout shorter than the time already waited. The verdict then falls at once, and this is no
/// stall.
#[test]
fn a_confirmation_that_comes_late_is_no_stall() {
    let mut bench = Bench::new(8);
    bench.receive(&suspect("m2", 0, &["m1"]));
    bench.pass(secs(8));
    assert_eq!(bench.standing("m2"), Some((MemberState::Suspect, 0)));
    bench.receive(&suspect("m2", 0, &["m3", "m4", "m5"]));
    bench.pass(millis(1));
    assert_eq!(bench.standing("m2"), Some((MemberState::Failed, 0)));
    assert_eq!(bench.node.metrics().stalls, 0);
}

/// An insider raises the identity of a dead member once a second. `probes`: whether this node probes the member; in a large
/// cluster its turn may be far off.
#[test]
fn a_suspicion_under_ever_greater_identities_ends_all_the_same() {
    for probes in [true, false] {
        let mut bench = Bench::new(8);
        if !probes {
            bench.node.phase = Phase::Starting;
        }
        bench.receive(&suspect("m2", 0, &["m1"]));
        let longest = secs(24);
        for lies in 1_u64.. {
            bench.receive(&suspect("m2", lies, &[]));
            for _ in 0..20 {
                bench.pass(millis(50));
                answers_come(&mut bench, Some(addr(2)));
            }
            match bench.standing("m2") {
                Some((MemberState::Suspect, identity)) => assert_eq!(identity, lies, "others decide by it"),
                standing => {
                    assert_eq!(standing, Some((MemberState::Failed, lies)), "probes: {probes}");
                    break;
                }
            }
            assert!(secs(lies) <= 5 * longest, "m2 is suspected for ever; probes: {probes}");
        }
    }
}

/// The member's refutations come too late each time: a greater identity is accused already.
#[test]
fn a_node_that_answers_all_the_time_is_not_declared_failed_under_ever_greater_identities() {
    let mut bench = Bench::new(8);
    for lies in 1..=2400 {
        bench.receive(&suspect("m2", lies, &["m1", "m3", "m4", "m5"]));
        bench.pass(millis(50));
        answers_come(&mut bench, None);
        assert_eq!(bench.standing("m2"), Some((MemberState::Suspect, lies)));
    }
}

/// A member that refutes and is suspected again has the whole time to refute again.
#[test]
fn a_suspicion_under_a_greater_identity_starts_anew_soon_after_the_first() {
    let mut bench = Bench::new(8);
    bench.node.phase = Phase::Starting;
    bench.receive(&suspect("m2", 0, &["m1"]));
    bench.pass(secs(20));
    bench.receive(&suspect("m2", 1, &["m1"]));
    bench.pass(secs(23));
    assert_eq!(bench.standing("m2"), Some((MemberState::Suspect, 1)));
}

/// Rapid, Figure 10: ten of 200 lose 80 % both ways, and one of them declared a healthy member failed.
#[test]
fn a_node_with_trouble_of_its_own_declares_no_member_failed_that_it_alone_suspects() {
    for (trouble, expected) in [(false, MemberState::Failed), (true, MemberState::Suspect)] {
        let mut bench = Bench::new(8);
        bench.node.accuse("m2", EPOCH, &[]);
        let id = bench.node.table.find("m2").expect("it is a member");
        bench.node.suspicion_ran_out(id);
        assert_eq!(bench.standing("m2"), Some((MemberState::Suspect, 0)), "it is extended once in any case");
        if trouble {
            bench.node.flaps.note_trouble(bench.now);
        }
        bench.node.suspicion_ran_out(id);
        assert_eq!(bench.standing("m2"), Some((expected, 0)), "trouble: {trouble}");
        bench.now = bench.now + secs(1001);
        bench.node.advance(bench.now);
        bench.node.flaps.note_trouble(bench.now);
        bench.node.suspicion_ran_out(id);
        assert_eq!(bench.standing("m2"), Some((MemberState::Failed, 0)), "no trouble extends it for ever");
    }
}

/// Members that know of the departure may have stopped gossiping about it to this node.
#[test]
fn a_node_that_accuses_a_member_alone_asks_others_for_their_tables() {
    for (confirmed, asks) in [(false, true), (true, false)] {
        let mut bench = Bench::new(8);
        bench.node.accuse("m2", EPOCH, &[]);
        if confirmed {
            bench.receive(&suspect("m2", 0, &["m1"]));
        }
        assert!(!opens_an_exchange(&mut bench), "it has just told the others");
        bench.node.accuse("m2", EPOCH, &[]);
        assert_eq!(opens_an_exchange(&mut bench), asks, "confirmed: {confirmed}");
    }
}

fn opens_an_exchange(bench: &mut Bench) -> bool {
    let is_one = |output| matches!(output, Output::OpenStream { kind: StreamKind::Exchange, .. });
    std::iter::from_fn(|| bench.node.poll_output()).any(is_one)
}

#[test]
fn a_failed_member_is_tried_for_ever_and_never_more_than_the_longest_delay_apart() {
    let mut bench = Bench::new(1);
    bench.receive(&failed("m1", 0));
    let (mut last, mut longest) = (bench.now, secs(0));
    let end = bench.now + secs(3600);
    while let Some(at) = bench.node.poll_timeout().filter(|at| *at <= end) {
        bench.now = at;
        bench.node.handle_timeout(at);
        if pings(&mut bench).iter().any(|(to, _)| *to == addr(1)) {
            longest = longest.max(at.since(last));
            last = at;
        }
    }
    // Ten seconds and a quarter.
    assert!(longest <= millis(12_500), "{longest:?}");
    assert!(end.since(last) <= millis(12_500), "it is tried still");
    let tried = bench.node.metrics().reconnects_tried;
    assert!((288..=490).contains(&tried), "{tried}: it backs off");
}

/// Whether rounds of gossip go to m2, which failed this many seconds ago.
fn tells_a_failed_member(seconds: u64) -> bool {
    let mut bench = Bench::new(2);
    // The node sends neither probes nor reconnect pings, only gossip.
    bench.node.phase = Phase::Starting;
    bench.receive(&failed("m2", 0));
    bench.node.updates.clear();
    bench.pass(secs(seconds));
    bench.sent();
    bench.receive(&alive("new", 0, addr(9)));
    bench.pass(secs(2));
    bench.sent().iter().any(|(to, _)| *to == addr(2))
}

#[test]
fn a_failed_member_gets_updates_for_thirty_seconds() {
    assert!(tells_a_failed_member(1));
    assert!(tells_a_failed_member(27));
    assert!(!tells_a_failed_member(31));
}

#[test]
fn a_verdict_is_remembered_for_six_hundred_probe_intervals() {
    for (later, word) in [(599, 1), (601, 2)] {
        let mut bench = Bench::new(5);
        bench.receive(&failed("me", 0));
        bench.now = bench.now + secs(later);
        bench.node.flaps.note_trouble(bench.now);
        bench.receive(&suspect("me", 1, &["m1"]));
        assert_eq!(bench.node.local().identity.incarnation, word, "{later} s later");
    }
}

fn has_left(bench: &mut Bench) -> bool {
    std::iter::from_fn(|| bench.node.poll_output())
        .any(|output| matches!(output, Output::LeaveDone { confirmed: true }))
}

#[test]
fn a_leave_is_over_once_as_many_answered_as_are_told_at_once() {
    for (members, answers) in [(1, 1), (2, 2), (3, 3), (6, 3)] {
        let mut bench = Bench::new(members);
        bench.node.leave(bench.now);
        let told = pings(&mut bench);
        assert_eq!(told.len(), answers, "{members} members");
        for (i, (to, seq)) in told.into_iter().enumerate() {
            assert!(!has_left(&mut bench), "{i} of {answers} answered");
            bench.receive_from(to, &Ack { seq });
        }
        assert!(has_left(&mut bench), "{members} members");
    }
}

#[test]
fn a_node_that_takes_up_its_name_again_tries_failed_members_again() {
    let mut bench = Bench::new(3);
    bench.receive(&failed("m2", 0));
    bench.node.confirm_conflict(bench.node.local().identity, addr(50));
    assert!(!bench.node.timers.is_set(Timer::Reconnect));
    let incarnation = bench.node.local().identity.incarnation;
    bench.receive(&failed("me", incarnation));
    assert!(bench.node.timers.is_set(Timer::Reconnect));
}

#[test]
fn a_displaced_node_disseminates_no_queued_update_about_itself() {
    let mut bench = Bench::new(3);
    bench.node.announce();
    bench.node.confirm_conflict(bench.node.local().identity, addr(50));
    assert!(!bench.has_news("me"));
}
