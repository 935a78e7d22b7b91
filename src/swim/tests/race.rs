//! How joins race: many dead addresses, few live ones, and names whose look-up is under way.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::{
    super::{
        Config, JoinOrigin, JoinProblem, Node, Output, Start, StreamFailure, StreamId, StreamStep, Time,
    },
    bench::{EPOCH, packet_of},
    world::{ORIGIN, addr, millis, secs},
};
use crate::wire::{Tags, message::End};

/// A node and its streams, whose results the test decides.
struct Rig {
    node: Node,
    now: Time,
    open: BTreeMap<StreamId, SocketAddr>,
    /// The most streams that were open at the same time.
    most: usize,
    tried: Vec<SocketAddr>,
    done: Vec<(u64, Result<usize, JoinProblem>)>,
    seeds: Vec<Result<usize, JoinProblem>>,
    asked: Vec<Time>,
}

impl Rig {
    fn new() -> Self {
        let start = Start { addr: addr(0), epoch: EPOCH, seed: 1, tags: Tags::default() };
        Self {
            node: Node::new(Config::lan("me"), start, ORIGIN),
            now: ORIGIN,
            open: BTreeMap::new(),
            most: 0,
            tried: Vec::new(),
            done: Vec::new(),
            seeds: Vec::new(),
            asked: Vec::new(),
        }
    }

    fn settle(&mut self) {
        let mut buffer = Vec::new();
        while self.node.poll_transmit(&mut buffer).is_some() {}
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::OpenStream { stream, addr, .. } => {
                    self.node.stream_began(self.now, stream);
                    assert_eq!(self.node.poll_stream(self.now, stream, &mut buffer), StreamStep::Send);
                    self.open.insert(stream, addr);
                    self.tried.push(addr);
                }
                Output::JoinDone { ticket, result } => self.done.push((ticket, result)),
                Output::SeedsTried { result } => self.seeds.push(result),
                Output::ResolveSeeds => self.asked.push(self.now),
                _ => {}
            }
        }
        let node = &self.node;
        self.open.retain(|stream, _| node.is_open(*stream));
        self.most = self.most.max(self.open.len());
    }

    /// Lets time pass until a join ends or a condition holds. Returns the time that passed.
    fn until(&mut self, limit: Duration, mut holds: impl FnMut(&mut Self) -> bool) -> Duration {
        let (begin, end) = (self.now, self.now + limit);
        self.settle();
        while !holds(self) && self.now < end {
            self.now = self.now + millis(10);
            self.node.handle_timeout(self.now);
            self.settle();
        }
        self.now.since(begin)
    }

    fn stream_to(&self, to: SocketAddr) -> Option<StreamId> {
        self.open.iter().find(|(_, addr)| **addr == to).map(|(stream, _)| *stream)
    }

    /// The peer at an address answers a whole exchange.
    fn answer(&mut self, to: SocketAddr) -> bool {
        let Some(stream) = self.stream_to(to) else { return false };
        let mut frame = Vec::new();
        for _ in 0..2 {
            self.node.handle_frame(self.now, stream, &packet_of(&End {}));
            while self.node.poll_stream(self.now, stream, &mut frame) == StreamStep::Send {}
        }
        self.settle();
        true
    }
}

fn addrs(range: std::ops::Range<usize>) -> Vec<SocketAddr> {
    range.map(addr).collect()
}

#[test]
fn one_live_address_among_forty_silent_ones_is_joined_within_three_seconds() {
    for shift in 0..20 {
        let mut rig = Rig::new();
        // Further random draws give another order.
        (0..shift).for_each(|ticket| rig.node.join(rig.now, 1000 + ticket, &[addr(0), addr(0)]));
        rig.node.join(rig.now, 7, &addrs(1..42));
        let took = rig.until(secs(60), |rig| rig.answer(addr(41)) && !rig.done.is_empty());
        assert!(took < secs(3), "{took:?}");
        assert_eq!(rig.done.last(), Some(&(7, Ok(1))));
        assert!(rig.most <= 24, "{} at a time", rig.most);
    }
}

#[test]
fn all_joins_together_open_no_more_than_24_streams_and_none_is_starved() {
    let mut rig = Rig::new();
    for ticket in 0..64 {
        let first = 100 * (ticket as usize + 1);
        rig.node.join(rig.now, ticket, &addrs(first..first + 60));
    }
    // 3,840 addresses, 24 a second.
    rig.until(secs(200), |rig| {
        (0..64).for_each(|ticket: usize| _ = rig.answer(addr(100 * (ticket + 1))));
        rig.done.len() == 64
    });
    assert_eq!((rig.most, rig.done.len()), (24, 64), "at a time, and joins that are done");
    assert!(rig.done.iter().all(|(_, result)| *result == Ok(1)), "{:?}", rig.done);
}

#[test]
fn a_second_join_does_not_wait_for_the_silence_of_the_first() {
    let mut rig = Rig::new();
    rig.node.join(rig.now, 1, &addrs(1..25));
    rig.until(secs(2), |_| false);
    assert_eq!(rig.open.len(), 24);
    rig.node.join(rig.now, 2, &[addr(99)]);
    let took = rig.until(secs(60), |rig| rig.answer(addr(99)));
    assert!(took <= secs(1), "{took:?}");
    assert_eq!(rig.done, [(2, Ok(1))]);
}

#[test]
fn an_address_that_is_slow_to_answer_has_its_whole_time_unless_others_wait() {
    let mut rig = Rig::new();
    rig.node.join(rig.now, 1, &addrs(1..4));
    rig.until(secs(9), |_| false);
    assert!(rig.answer(addr(2)));
    assert_eq!(rig.done, [(1, Ok(1))]);
}

#[test]
fn a_join_tries_no_more_addresses_than_it_needs_and_replaces_refusing_ones_at_once() {
    let mut rig = Rig::new();
    rig.node.join(rig.now, 1, &addrs(1..42));
    rig.settle();
    assert_eq!(rig.tried.len(), 3);
    let (now, refused) = (rig.now, rig.tried.clone());
    for addr in refused {
        let stream = rig.stream_to(addr).unwrap();
        rig.node.handle_stream_failure(now, stream, StreamFailure::Refused);
    }
    rig.settle();
    assert_eq!((rig.tried.len(), rig.open.len()), (6, 3));
    // One address answers, and its table takes long: no further address is tried.
    let stream = *rig.open.keys().next().unwrap();
    rig.node.handle_frame(
        rig.now,
        stream,
        &packet_of(&crate::wire::message::BucketDigests { digests: &[0; 512] }),
    );
    rig.until(millis(900), |_| false);
    assert_eq!(rig.tried.len(), 6);
}

#[test]
fn silent_attempts_are_withdrawn_once_enough_addresses_have_answered() {
    let mut rig = Rig::new();
    rig.node.join(rig.now, 1, &addrs(1..42));
    rig.until(millis(600), |_| false);
    let open: Vec<_> = rig.open.values().copied().collect();
    assert_eq!(open.len(), 12);
    open.iter().take(3).for_each(|addr| assert!(rig.answer(*addr)));
    assert_eq!(rig.open.len(), 0, "withdrawn");
    assert_eq!(rig.done, [(1, Ok(1))]);
    rig.until(secs(60), |_| false);
    assert_eq!(rig.tried.len(), 12);
}

#[test]
fn a_name_that_is_still_looked_up_delays_no_address() {
    let mut rig = Rig::new();
    rig.node.join_while_resolving(rig.now, 1, &[addr(1)], 2);
    rig.settle();
    assert!(rig.answer(addr(1)));
    assert_eq!(rig.done, [(1, Ok(1))]);
    // Addresses that are found later are tried as well.
    rig.node.handle_lookup(rig.now, JoinOrigin::Ticket { ticket: 1 }, &[addr(1), addr(2)], 0);
    rig.settle();
    assert_eq!(rig.tried, [addr(1), addr(2)]);
}

#[test]
fn a_join_has_not_failed_before_its_last_look_up() {
    let mut rig = Rig::new();
    rig.node.join_while_resolving(rig.now, 1, &[addr(1)], 2);
    rig.settle();
    let stream = rig.stream_to(addr(1)).unwrap();
    rig.node.handle_stream_failure(rig.now, stream, StreamFailure::Refused);
    rig.node.handle_lookup(rig.now, JoinOrigin::Ticket { ticket: 1 }, &[], 1);
    rig.until(secs(60), |_| false);
    assert_eq!(rig.done, []);
    rig.node.handle_lookup(rig.now, JoinOrigin::Ticket { ticket: 1 }, &[], 0);
    rig.settle();
    assert_eq!(rig.done, [], "one has come of another");
    rig.node.handle_lookup(rig.now, JoinOrigin::Ticket { ticket: 1 }, &[], 0);
    rig.settle();
    assert_eq!(rig.done, [(1, Err(JoinProblem::Refused { addr: addr(1) }))]);
    rig.node.handle_lookup(rig.now, JoinOrigin::Ticket { ticket: 1 }, &[addr(5)], 0);
    rig.settle();
    assert_eq!(rig.tried.len(), 1, "nobody asks any more");
}

#[test]
fn seeds_whose_look_ups_never_end_are_looked_up_again_and_late_addresses_are_tried() {
    let mut rig = Rig::new();
    rig.node.seek_seeds(rig.now);
    rig.until(millis(10), |rig| !rig.asked.is_empty());
    rig.node.handle_seeds_while_resolving(rig.now, &[], 1);
    rig.until(secs(120), |rig| rig.asked.len() > 1);
    assert_eq!((rig.asked.len(), &rig.seeds[..]), (2, &[Err(JoinProblem::NoAddress)][..]));
    rig.node.handle_lookup(rig.now, JoinOrigin::Seeds, &[addr(3)], 0);
    rig.settle();
    assert_eq!(rig.tried, [addr(3)]);
}

/// The look-up finds this node itself, and that of another seed fails: so it is unknown whether there is a cluster.
#[test]
fn a_node_that_finds_itself_alone_hides_no_look_up_that_failed_and_looks_again_soon() {
    for (others, result) in [(0, Ok(0)), (1, Err(JoinProblem::NoAddress))] {
        let mut rig = Rig::new();
        rig.node.seek_seeds(rig.now);
        let (mut begun, begin) = (0, rig.now);
        rig.until(secs(2), |rig| {
            while begun < rig.asked.len() {
                begun += 1;
                rig.node.handle_seeds_while_resolving(rig.now, &[], 1 + others);
                rig.node.handle_lookup(rig.now, JoinOrigin::Seeds, &[addr(0)], 0);
                (0..others).for_each(|_| rig.node.handle_lookup(rig.now, JoinOrigin::Seeds, &[], 0));
                rig.settle();
            }
            false
        });
        assert!(rig.seeds.iter().all(|tried| *tried == result), "{:?}", rig.seeds);
        assert!(rig.asked.len() >= 4, "{} times in {:?}", rig.asked.len(), rig.now.since(begin));
        rig.node.join_while_resolving(rig.now, 1, &[addr(0)], others);
        (0..others).for_each(|_| rig.node.handle_lookup(rig.now, JoinOrigin::Ticket { ticket: 1 }, &[], 0));
        rig.settle();
        assert_eq!(rig.done, [(1, result)]);
    }
}

#[test]
fn a_node_that_leaves_gives_up_its_joins() {
    let mut rig = Rig::new();
    rig.node.join_while_resolving(rig.now, 1, &[], 1);
    rig.node.join(rig.now, 2, &[addr(0), addr(7)]);
    rig.settle();
    assert_eq!(rig.done, [], "the second has found this node itself, and another seed is silent");
    rig.node.leave(rig.now);
    rig.settle();
    let given_up = |ticket| (ticket, Err(JoinProblem::NoAddress));
    assert_eq!(rig.done, [given_up(1), given_up(2)]);
    rig.until(secs(60), |_| false);
    assert_eq!(rig.done.len(), 2, "each caller is told once");
}

#[test]
fn seeds_that_stay_dead_are_tried_less_and_less_often() {
    let mut rig = Rig::new();
    rig.node.seek_seeds(rig.now);
    let begin = rig.now;
    rig.until(secs(600), |rig| {
        while rig.seeds.len() < rig.asked.len() {
            rig.node.handle_seeds(rig.now, &[]);
            rig.settle();
        }
        false
    });
    let pauses: Vec<_> = rig.asked.windows(2).map(|two| two[1].since(two[0])).collect();
    let late = pauses.iter().skip(10).all(|pause| *pause > secs(20));
    assert!(rig.asked[3].since(begin) < secs(6) && late, "{pauses:?}");
}

#[test]
fn a_seed_that_is_no_member_is_tried_soon_though_another_seed_is_one() {
    let mut bench = super::bench::Bench::new(2);
    bench.node.handle_seeds(bench.now, &[addr(1), addr(9)]);
    let [(stream, to)] = bench.opened()[..] else { panic!("one is tried") };
    assert_eq!(to, addr(9));
    bench.node.handle_stream_failure(bench.now, stream, StreamFailure::Refused);
    let mut tried = None;
    let begin = bench.now;
    while bench.now.since(begin) < secs(1) && tried != Some(Output::ResolveSeeds) {
        bench.pass(millis(10));
        bench.sent();
        tried =
            std::iter::from_fn(|| bench.node.poll_output()).find(|output| *output == Output::ResolveSeeds);
    }
    assert_eq!(tried, Some(Output::ResolveSeeds));
}
