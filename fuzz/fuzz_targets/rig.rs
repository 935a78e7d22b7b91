//! A node among three members, and packets whose header is right, so that what is fuzzed is what lies behind it.

#![allow(dead_code, reason = "each target uses its part")]

use std::{net::SocketAddr, time::Duration};

use syncswim::{
    Tags,
    swim::{Config, Node, Output, Start, Time},
};

pub const BEGIN: Time = Time::from_origin(Duration::from_secs(20_000 * 3600));
/// The cluster mark of "default".
const MARK: [u8; 4] = [0x2f, 0x8a, 0xd4, 0x42];

pub fn addr(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 7946).into()
}

/// The node "me", which knows the members "a", "b" and "c" at the addresses 1 to 3. Its tables are small, so that
/// their bounds are reached.
pub fn node() -> Node {
    let mut config = Config::lan("me");
    (config.max_members, config.max_departed, config.max_heal) = (8, 4, 2);
    let start = Start { addr: addr(0), epoch: 1000, seed: 1, tags: Tags::default() };
    let mut node = Node::new(config, start, BEGIN);
    for (host, name) in [(1, b'a'), (2, b'b'), (3, b'c')] {
        let alive = [0x10, 14, 1, name, 1, 0, 0, 10, 0, 0, host, 0x8a, 0x3e, 0, 0, 0];
        node.handle_datagram(BEGIN, addr(host), &packet(&alive));
        // It asks a stranger whether it is there.
        let mut ping = Vec::new();
        assert_eq!(node.poll_transmit(&mut ping), Some(addr(host)));
        node.handle_datagram(BEGIN, addr(host), &packet(&[&[2, 4], &ping[11..15]].concat()));
    }
    drain(&mut node);
    assert_eq!(node.live(), 4);
    node
}

/// The sections behind a header that is right.
pub fn packet(sections: &[u8]) -> Vec<u8> {
    let head = [&[1], &MARK[..]].concat();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head);
    crc.update(sections);
    [&head, &crc.finalize().to_le_bytes()[..], sections].concat()
}

/// Takes out everything, as drivers do after each input. Datagrams keep to their limit.
pub fn drain(node: &mut Node) -> Vec<Output> {
    let mut buffer = Vec::new();
    while node.poll_transmit(&mut buffer).is_some() {
        assert!(buffer.len() <= node.config().max_datagram);
    }
    std::iter::from_fn(|| node.poll_output()).collect()
}

/// Whatever came, bounds hold and we are a member.
pub fn check(node: &Node) {
    node.audit().unwrap();
    assert!(node.members().windows(2).all(|pair| pair[0].name < pair[1].name));
    assert!(node.member("me").is_some_and(|me| me.state.is_live()));
}
