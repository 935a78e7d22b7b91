//! Asks that need a stream, many at the same time.

use super::{
    AskKind, Receiver, SECOND, Settled, Status, World, answer, cluster, inbox, millis, next_message, outcome,
    outcome_within, send, serve, take, taken, try_ask,
};
use crate::{
    data::find,
    recording::{Input, Step},
    swim::Config,
};

#[test]
fn a_large_message_that_many_small_ones_overtake_arrives() {
    let mut world = cluster(2);
    world.run_for(10 * SECOND);
    let inbox = inbox(&mut world, 1);
    let large: Vec<_> = (0..60).map(|_| send(&mut world, 0, 1, &[7; 200_000])).collect();
    let mut overtook = 0;
    while large.iter().any(Receiver::is_empty) {
        let small: Vec<_> = (0..50).map(|_| send(&mut world, 0, 1, b"small")).collect();
        let is_over = |settled: &[Receiver<Settled>]| settled.iter().all(|settled| !settled.is_empty());
        world.run_until("the small ones", SECOND, |_| is_over(&small));
        overtook += small.len();
        while inbox.try_recv().is_ok() {}
    }
    assert!(overtook > 256, "{overtook}");
    assert!(large.iter().all(|settled| outcome(settled) == Some(taken())), "after {overtook} small ones");
    assert_eq!(world.node(1).metrics().refused_streams, 0);
}

#[test]
fn asks_that_need_a_stream_get_one_in_their_order() {
    let mut world = cluster(2);
    world.record(16 << 20);
    let inbox = inbox(&mut world, 1);
    let settled: Vec<_> = (0..60_u8).map(|at| send(&mut world, 0, 1, &[at; 50_000])).collect();
    world.run_until("all", 10 * SECOND, |_| settled.iter().all(|settled| !settled.is_empty()));
    let read: Vec<_> = std::iter::from_fn(|| next_message(&inbox)).map(|item| item.payload[0]).collect();
    // Three messages are under way at the same time.
    let is_near = |(place, at): (usize, &u8)| place.abs_diff(usize::from(*at)) <= 3;
    assert!(read.len() == 60 && read.iter().enumerate().all(is_near), "{read:?}");
    assert_eq!(world.node(0).metrics().refused_streams + world.node(1).metrics().refused_streams, 0);
    let recorded = world.recordings();
    let opens = |step: &Step<'_>| matches!(step.input, Some(Input::OpenDataStream { .. }));
    let opened = recorded[0].replay().filter(|step| step.as_ref().is_ok_and(opens)).count();
    assert_eq!(opened, 60, "a stream is opened once there is room, and not tried before");
}

#[test]
fn where_only_streams_reach_the_asker_an_answer_comes_within_a_second() {
    let mut world = World::new(3);
    world.net.no_udp = true;
    world.start_cluster(2, Config::lan);
    world.run_for(20 * SECOND);
    let _tokens = serve(&mut world, 1);
    let settled = try_ask(&mut world, (0, 1), AskKind::Request, b"?", 60 * SECOND).unwrap();
    world.run_for(20 * SECOND);
    let item = take(&mut world, 1).unwrap();
    assert_eq!(answer(&mut world, 1, &item, Status::Answered, b"!"), Ok(()));
    assert_eq!(outcome_within(&mut world, millis(1200), &settled), Ok((*b"!").into()));
}

/// Data syncs bring each member the other's values and broadcasts.
#[test]
fn values_arrive_while_large_messages_wait_for_streams_both_ways() {
    let mut world = cluster(2);
    let inboxes = [inbox(&mut world, 0), inbox(&mut world, 1)];
    let mut asked: [Vec<Receiver<Settled>>; 2] = Default::default();
    let mut refill = |world: &mut World| {
        for (from, asked) in asked.iter_mut().enumerate() {
            asked.retain(Receiver::is_empty);
            while asked.len() < 30 {
                asked.push(send(world, from, 1 - from, &[7; 100_000]));
            }
        }
        world.run_for(millis(1));
        inboxes.iter().for_each(|inbox| while inbox.try_recv().is_ok() {});
    };
    (0..1000).for_each(|_| refill(&mut world));
    for host in 0..2 {
        let set = world.drive_with(host, |endpoint, now| endpoint.set(now, "k", Some(&[7; 10_000])));
        assert!(set.is_ok());
    }
    (0..3000).for_each(|_| refill(&mut world));
    for (host, owner) in [(0, "n1"), (1, "n0")] {
        let held = world.drive_with(host, |endpoint, _| {
            find(endpoint.entries().1, owner)
                .and_then(|owned| owned.map.get("k").map(|entry| entry.value.len()))
        });
        assert_eq!(held, Some(10_000), "at n{host}");
    }
}
