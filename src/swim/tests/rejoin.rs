//! A node that starts anew contacts the members of its earlier life, and believes nothing of what it remembers.

use std::net::SocketAddr;

use super::{
    super::{
        Config, EarlierLife, JoinProblem, MemberState, Node, Output, Start, StreamFailure, StreamId,
        StreamKind, StreamStep,
    },
    bench::{Bench, EPOCH, alive, answers_come, gone, packet_of},
    world::{ORIGIN, addr, millis, secs},
};
use crate::{
    sim::forge,
    wire::message::{Ack, End, Message},
};

fn past(epoch: u64, members: &[(&str, SocketAddr)]) -> EarlierLife {
    EarlierLife::new(epoch, members.iter().map(|(name, addr)| ((*name).into(), *addr)))
}

/// A node that starts at `addr(0)` with this memory.
fn starts(config: Config, past: &EarlierLife) -> Bench {
    let mut bench = Bench { node: Node::new(config, Start::new(addr(0), EPOCH, 1), ORIGIN), now: ORIGIN };
    bench.node.rejoin(ORIGIN, past);
    bench
}

/// The destinations of the streams of a kind, in order.
fn opened(bench: &mut Bench, kind: StreamKind) -> Vec<(StreamId, SocketAddr)> {
    let outputs = std::iter::from_fn(|| bench.node.poll_output());
    let mut opened: Vec<_> = outputs
        .filter_map(|output| match output {
            Output::OpenStream { stream, addr, kind: its, .. } if its == kind => Some((stream, addr)),
            _ => None,
        })
        .collect();
    opened.sort_by_key(|(_, addr)| *addr);
    opened
}

/// The called member tells an empty table, and takes this node's.
fn answer(bench: &mut Bench, stream: StreamId) {
    bench.node.stream_began(bench.now, stream);
    let mut frame = Vec::new();
    while bench.node.poll_stream(bench.now, stream, &mut frame) == StreamStep::Send {}
    for _ in 0..2 {
        bench.node.handle_frame(bench.now, stream, &packet_of(&End {}));
        while bench.node.poll_stream(bench.now, stream, &mut frame) == StreamStep::Send {}
    }
}

#[test]
fn remembered_members_are_not_listed() {
    let mut bench = starts(Config::lan("me"), &past(1, &[("a", addr(1)), ("b", addr(2))]));
    bench.pass(secs(60));
    assert_eq!((bench.node.members().len(), bench.node.metrics().departed_members), (1, 0));
    assert_eq!(bench.kinds(), ["joined"], "of itself");
    // Nor are verdicts of others about them doubted.
    bench.sync(gone("a", 0, false, 0));
    bench.sync(Message::Alive(alive("b", 0, addr(9))));
    assert_eq!(bench.member("b").map(|b| b.addr), Some(addr(9)));
}

#[test]
fn the_seeds_have_a_head_start_and_then_three_that_are_remembered_are_joined() {
    let members: Vec<(String, _)> = (1..9).map(|i| (format!("m{i}"), addr(i))).collect();
    let members: Vec<_> = members.iter().map(|(name, addr)| (name.as_str(), *addr)).collect();
    let mut bench = starts(Config::lan("me"), &past(1, &members));
    bench.node.handle_seeds(bench.now, &[addr(99)]);
    bench.pass(millis(249));
    let seeds: Vec<_> = opened(&mut bench, StreamKind::Join).into_iter().map(|(_, addr)| addr).collect();
    assert_eq!(seeds, [addr(99)]);
    bench.pass(millis(1));
    let tried = opened(&mut bench, StreamKind::Join);
    assert_eq!(tried.len(), 3, "{tried:?}");
    assert!(tried.iter().all(|(_, tried)| members.iter().any(|(_, addr)| addr == tried)), "{tried:?}");
    // One answer ends it.
    answer(&mut bench, tried[0].0);
    let outputs: Vec<_> = std::iter::from_fn(|| bench.node.poll_output()).collect();
    assert!(outputs.contains(&Output::RejoinTried { result: Ok(1) }), "{outputs:?}");
    // As with seeds, the node contacts three if it can, but none twice.
    let mut open: Vec<_> = bench.node.streams.opened.keys().copied().collect();
    let mut count = tried.len();
    while let Some(stream) = open.pop() {
        bench.node.handle_stream_failure(bench.now, stream, StreamFailure::Refused);
        let more = opened(&mut bench, StreamKind::Join);
        count += more.len();
        open.extend(more.into_iter().map(|(stream, _)| stream));
    }
    assert_eq!(count, members.len());
    bench.pass(secs(600));
    assert!(opened(&mut bench, StreamKind::Join).is_empty(), "there is a cluster by now");
}

#[test]
fn silent_remembered_members_are_tried_again_and_again_with_back_off() {
    let mut bench = starts(Config::lan("me"), &past(1, &[("a", addr(1))]));
    let (mut tries, mut failures) = (Vec::new(), 0);
    while tries.len() < 14 {
        bench.pass(millis(5));
        let mut failed = Vec::new();
        while let Some(output) = bench.node.poll_output() {
            match output {
                Output::OpenStream { stream, .. } => failed.push(stream),
                Output::RejoinTried { result: Err(JoinProblem::Refused { .. }) } => failures += 1,
                Output::RejoinTried { result: other } => panic!("{other:?}"),
                _ => {}
            }
        }
        for stream in failed {
            tries.push(bench.now.since(ORIGIN));
            bench.node.handle_stream_failure(bench.now, stream, StreamFailure::Refused);
        }
    }
    assert!(failures >= 13);
    assert!(tries[1] - tries[0] < millis(100), "{tries:?}");
    let last = tries[13] - tries[12];
    assert!(secs(20) < last && last < secs(40), "seed_max_delay: {last:?}");
}

#[test]
fn addresses_that_no_other_can_have_are_not_tried() {
    let mut config = Config::lan("me");
    config.allow = Some(vec!["10.0.0.0/8".parse().unwrap()]);
    let nobody = |text: &str| text.parse().unwrap();
    let long = "x".repeat(200);
    let remembered = past(
        1,
        &[
            ("me", addr(1)),
            ("a", addr(0)),
            ("b", nobody("10.0.0.2:0")),
            ("c", nobody("224.0.0.1:1")),
            ("d", nobody("0.0.0.0:1")),
            ("e", nobody("192.0.2.1:1")),
            (&long, addr(2)),
            ("", addr(3)),
            ("line\nbreak", addr(4)),
        ],
    );
    let mut bench = starts(config, &remembered);
    bench.pass(secs(600));
    assert!(opened(&mut bench, StreamKind::Join).is_empty());
    assert_eq!(bench.node.poll_timeout(), None, "nothing is ever due");
}

#[test]
fn remembered_members_beyond_the_bound_are_left_out() {
    let mut config = Config::lan("me");
    config.max_reconnects = 5;
    let members: Vec<(String, _)> = (1..90).map(|i| (format!("m{i}"), addr(i))).collect();
    let members: Vec<_> = members.iter().map(|(name, addr)| (name.as_str(), *addr)).collect();
    let mut bench = starts(config, &past(1, &members));
    bench.events();
    assert_eq!((bench.node.rejoin.len(), bench.node.reconnects.len()), (5, 5));
    assert_eq!(bench.node.audit(), Ok(()));
}

#[test]
fn the_epoch_is_later_than_the_last_one_even_if_the_clock_is_behind() {
    let epoch_after = |past_epoch| {
        let bench = starts(Config::lan("me"), &past(past_epoch, &[]));
        bench.node.local().identity.epoch
    };
    assert_eq!(epoch_after(0), EPOCH);
    assert_eq!(epoch_after(EPOCH - 1), EPOCH);
    assert_eq!(epoch_after(EPOCH), EPOCH + 1);
    assert_eq!(epoch_after(EPOCH + 1_000_000), EPOCH + 1_000_001);
    // No life can have had this epoch.
    assert_eq!(epoch_after(u64::MAX), EPOCH);
    assert_eq!(epoch_after((1 << 62) + (1 << 43)), EPOCH);
}

#[test]
fn remembered_members_are_pinged_like_failed_ones_until_they_are_listed() {
    let mut bench = Bench::new(1);
    bench.node.rejoin(bench.now, &past(1, &[("a", addr(5)), ("b", addr(6)), ("c", addr(7))]));
    bench.sync(Message::Alive(alive("b", 0, addr(8))));
    bench.meet("b");
    bench.sync(gone("c", 0, true, 0));
    let mut pinged = Vec::new();
    for _ in 0..60 {
        bench.pass(secs(1));
        for (to, packet) in bench.sent() {
            pinged.push(to);
            if let Some((seq, _)) = forge::ping(&packet).filter(|_| to == addr(1)) {
                bench.receive_from(addr(1), &Ack { seq });
            }
        }
    }
    assert!(pinged.contains(&addr(5)), "it may be back at any time");
    assert!(!pinged.contains(&addr(6)), "it is a member, and lives elsewhere");
    assert!(!pinged.contains(&addr(7)), "it has left");
}

/// Loss kept the node from ever hearing of it but by another, which then failed: two nodes that each know the other from an
/// earlier life would never meet again.
#[test]
fn a_remembered_member_that_others_list_and_that_never_answers_is_pinged_all_the_same() {
    let mut bench = Bench::new(1);
    bench.node.rejoin(bench.now, &past(1, &[("a", addr(5))]));
    bench.sync(Message::Alive(alive("a", 0, addr(5))));
    assert_eq!(bench.node.reconnects.len(), 0, "a member that is listed is probed");
    for _ in 0..60 {
        bench.pass(secs(1));
        answers_come(&mut bench, Some(addr(5)));
    }
    assert_eq!(bench.standing("a"), Some((MemberState::Failed, 0)));
    let mut pinged = false;
    for _ in 0..600 {
        bench.pass(secs(1));
        pinged |= bench.sent().iter().any(|(to, _)| *to == addr(5));
    }
    assert!(pinged, "with back-off");
}

#[test]
fn a_remembered_member_that_left_and_is_listed_again_is_tried_where_it_was() {
    let mut bench = Bench::new(1);
    bench.node.rejoin(bench.now, &past(1, &[("a", addr(5))]));
    bench.sync(Message::Alive(alive("a", 0, addr(5))));
    bench.sync(gone("a", 0, true, 0));
    bench.sync(Message::Alive(alive("a", 1, addr(5))));
    bench.sync(gone("a", 1, false, 0));
    for _ in 0..60 {
        bench.pass(secs(1));
        answers_come(&mut bench, Some(addr(5)));
    }
    assert_eq!(bench.standing("a"), Some((MemberState::Failed, 1)));
    assert_eq!((bench.node.reconnects.len(), bench.node.reconnects.left()), (1, 0));
}

/// A forged claim raised the epoch while the node's clock was years ahead. Going on from it would keep the node out until
/// the clocks of others got there.
#[test]
fn an_epoch_that_no_member_can_have_accepted_is_not_continued() {
    let latest = starts(Config::lan("me"), &past(0, &[])).node.latest_epoch();
    let day = 24 * 3600 * 1000;
    for (epoch, goes_on) in [(EPOCH + 5, true), (latest, true), (latest + 1, false), (latest + day, false)] {
        let bench = starts(Config::lan("me"), &past(epoch, &[]));
        let begins = if goes_on { epoch + 1 } else { EPOCH };
        assert_eq!(bench.node.local().identity.epoch, begins);
    }
}
