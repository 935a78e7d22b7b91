use std::sync::Arc;

use allocation_counter::measure;

use super::*;
use crate::{
    swim::{Config, Start},
    wire::packet::{Header, Writer},
};

pub(super) fn life(name: &str, epoch: u64) -> Life {
    Life { name: name.into(), epoch }
}

pub(super) fn item(name: &str, epoch: u64, seq: u64) -> Arc<Item> {
    let origin = life(name, epoch);
    let (topic, payload) = ("topic".into(), seq.to_le_bytes().into());
    let account = name.bytes().next().map(|first| u32::from(first).into());
    Arc::new(Item { origin, account, seq, stamp: 0, given: 0, flags: 0, topic, payload })
}

/// A node that knows no other, and its broadcasts.
pub(super) fn alone() -> (Node, Broadcasts) {
    let start = Start::new(([10, 0, 0, 1], 1).into(), 1, 1);
    let node = Node::new(Config::lan("me"), start, Time::ZERO);
    let all = Broadcasts::new(&node, Stamps::new(1, Time::ZERO));
    (node, all)
}

/// Datagrams repeat broadcasts, and each packet that goes out takes some from the queue.
#[test]
fn a_broadcast_that_is_known_and_a_packet_of_broadcasts_cost_no_allocation() {
    let (node, mut all) = alone();
    (1..=10).for_each(|seq| all.learn(&node, item("a", 1, seq), &life("a", 1), true));
    while all.poll_delivery().is_some() {}
    let (origin, payload) = (life("a", 1), 7_u64.to_le_bytes());
    let known = Broadcast {
        origin: "a",
        epoch: 1,
        seq: 7,
        stamp: 0,
        flags: CONFIRM,
        topic: "topic",
        payload: &payload,
    };
    let heard = measure(|| (0..1000).for_each(|_| all.on_broadcast(Time::ZERO, &node, &origin, &known)));
    assert_eq!((heard.count_total, all.poll_delivery()), (0, None));
    let (to, mut buffer, mut bytes) = (life("b", 1), Vec::new(), 0);
    let mut fill = |all: &mut Broadcasts| {
        let header = Header { cluster: 1, sender: 0, token: 0 };
        let mut packet = Writer::new(&mut buffer, header, 1400);
        all.fill(&node, &to, Some(u32::MAX), &mut packet);
        bytes += packet.len();
        packet.finish();
    };
    // The first run allocates the memory that the second one reuses.
    fill(&mut all);
    let filled = measure(|| (0..1000).for_each(|_| fill(&mut all)));
    assert_eq!(filled.count_total, 0, "{} bytes", filled.bytes_total);
    assert!(bytes > 1000 * 200 && all.queue.len() == 10, "{bytes}");
}
