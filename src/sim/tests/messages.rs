//! Messages, requests and queries between nodes of a world.

use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use crate::{
    Topics,
    data::messages::{AskKind, Mailbox, NewAsk, Outcome, Settled},
    membership::fanout::Subscription,
    sim::World,
    swim::{Config, Life},
};

const SECOND: Duration = Duration::from_secs(1);

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A cluster of `n` nodes that all know each other, on a LAN.
fn cluster(seed: u64, n: usize) -> World {
    let mut world = World::new(seed);
    world.start_cluster(n, Config::lan);
    world.run_until("one view", 30 * SECOND, |world| world.all_see(n));
    world
}

fn life(world: &World, host: usize) -> Life {
    world.node(host).own_life()
}

fn inbox(world: &mut World, host: usize) -> Subscription<Mailbox> {
    world.drive_with(host, |endpoint, _| endpoint.open_inbox(Topics::all()))
}

/// Begins an ask from one host to another.
fn ask(
    world: &mut World,
    from: usize,
    to: usize,
    kind: AskKind,
    payload: &[u8],
    within: Duration,
) -> Receiver<Settled> {
    let (caller, settled) = bounded(1);
    let name = format!("n{to}");
    let new = NewAsk { kind, topic: "jobs".into(), payload: payload.into(), within, caller };
    world.drive_with(from, |endpoint, now| endpoint.ask(now, &name, new)).expect("it can be asked");
    settled
}

fn send(world: &mut World, from: usize, to: usize, payload: &[u8]) -> Receiver<Settled> {
    ask(world, from, to, AskKind::Message, payload, 10 * SECOND)
}

fn outcome(settled: &Receiver<Settled>) -> Option<Outcome> {
    settled.try_recv().ok().map(|settled| settled.outcome)
}

#[test]
fn a_message_lies_in_the_mailbox_within_a_round_trip() {
    let mut world = cluster(1, 3);
    let inbox = inbox(&mut world, 1);
    let settled = send(&mut world, 0, 1, b"hi");
    let took = world.run_until("the answer", SECOND, |_| !settled.is_empty());
    assert_eq!(outcome(&settled), Some(Outcome::Taken));
    let item = inbox.try_recv().unwrap();
    assert_eq!((item.from, &*item.topic, &*item.payload), (life(&world, 0), "jobs", &b"hi"[..]));
    assert!(inbox.try_recv().is_err());
    assert!(took < millis(20), "{took:?}");
}

#[test]
fn a_message_of_a_mebibyte_goes_by_stream() {
    let mut world = cluster(2, 3);
    let inbox = inbox(&mut world, 1);
    for len in [1300, 1 << 20] {
        let payload: Vec<u8> = (0..len).map(|at: u32| (at % 251) as u8).collect();
        let settled = send(&mut world, 0, 1, &payload);
        world.run_for(SECOND);
        assert_eq!(outcome(&settled), Some(Outcome::Taken), "{len}");
        assert_eq!(&*inbox.try_recv().unwrap().payload, payload);
    }
    world.run_for(SECOND);
    assert!((0..3).all(|host| world.node(host).metrics().open_streams == 0));
}
