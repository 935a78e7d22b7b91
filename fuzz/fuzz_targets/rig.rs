//! A node among three members, and packets whose header is right, so that what is fuzzed is what lies behind it.

#![allow(dead_code, reason = "each target uses its part")]

use std::{net::SocketAddr, sync::LazyLock, time::Duration};

use syncswim::{
    sim::endpoint::Endpoint,
    swim::{Config, Node, Output, Start, Time},
};

pub const BEGIN: Time = Time::from_origin(Duration::from_secs(20_000 * 3600));
/// The cluster mark of "default".
const MARK: [u8; 4] = [0x2f, 0x8a, 0xd4, 0x42];
/// The marks of the names "a" to "d".
const NAMES: [[u8; 4]; 4] =
    [[0x95, 0x7d, 0x38, 0xb6], [0xf7, 0x4c, 0x19, 0x3d], [0x11, 0xa4, 0xf3, 0x58], [0xce, 0x70, 0xdf, 0xbd]];
/// Bytes before the first section.
const HEADER: usize = 17;

/// A sender: its address, name and token.
#[derive(Debug, Clone, Copy)]
pub struct Speaker {
    pub from: SocketAddr,
    mark: [u8; 4],
    token: [u8; 4],
}

pub fn addr(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 7946).into()
}

/// Members 1 to 3 at their addresses; the same three elsewhere; three that use their names without a token; and unverified
/// peers, all called "d", of which every other one knows the token for its address.
pub fn speaker(number: u8) -> Speaker {
    static SPEAKERS: LazyLock<Vec<Speaker>> = LazyLock::new(|| (0..=u8::MAX).map(make_speaker).collect());
    SPEAKERS[usize::from(number)]
}

fn make_speaker(number: u8) -> Speaker {
    let (name, home, knows) = match number {
        1..=3 => (number - 1, number, true),
        4..=6 => (number - 4, number - 3, true),
        7..=9 => (number - 7, number - 6, false),
        _ => (3, number, number % 2 == 0),
    };
    let unverified = Speaker { from: addr(number), mark: NAMES[usize::from(name)], token: [0; 4] };
    if knows { Speaker { token: token(unverified, name, home), ..unverified } } else { unverified }
}

/// The token that the node gives to a peer that introduces itself under this name at this address: its answer contains it.
fn token(unverified: Speaker, name: u8, home: u8) -> [u8; 4] {
    let (mut node, mut retry) = (lonely(), Vec::new());
    let ping = [1, 7, 0, 0, 0, 0, 2, b'm', b'e'];
    let sections = [&ping[..], &alive(name, home)].concat();
    node.handle_datagram(BEGIN, addr(home), &packet(unverified, &sections));
    let to = node.poll_transmit(&mut retry).map(|to| to.addr);
    assert_eq!((to, &retry[HEADER..][..6]), (Some(addr(home)), &[5, 8, 0, 0, 0, 0][..]));
    *retry.last_chunk().expect("it ends with the token")
}

fn alive(name: u8, home: u8) -> [u8; 16] {
    [0x10, 14, 1, b'a' + name, 1, 0, 0, 10, 0, 0, home, 0x8a, 0x3e, 0, 0, 0]
}

/// The node "me", which knows no other. Its tables are small, so that their bounds are reached.
fn lonely() -> Endpoint {
    let mut config = Config::lan("me");
    (config.max_members, config.max_departed, config.max_reconnects) = (8, 4, 2);
    let start = Start::new(addr(0), 1000, 1);
    Endpoint::new(Node::new(config, start, BEGIN))
}

/// The same when it knows the members "a", "b" and "c" at the addresses 1 to 3, and may send them updates.
pub fn node() -> Endpoint {
    let mut node = lonely();
    for host in 1..=3 {
        let new_token = [0x31, 4, host, 0, 0, 0];
        let sections = [&alive(host - 1, host)[..], &new_token].concat();
        node.handle_datagram(BEGIN, addr(host), &packet(speaker(host), &sections));
    }
    drain(&mut node);
    assert_eq!((node.live(), node.metrics().dropped_unverified), (4, 0));
    node
}

/// The sections behind a header that is right.
pub fn packet(speaker: Speaker, sections: &[u8]) -> Vec<u8> {
    let head = [&[3], &MARK[..]].concat();
    let body = [&speaker.mark, &speaker.token, sections].concat();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head);
    crc.update(&body);
    [&head, &crc.finalize().to_le_bytes()[..], &body].concat()
}

/// Takes out everything, as drivers do after each input. Datagrams keep to their limit.
pub fn drain(node: &mut Endpoint) -> Vec<Output> {
    let mut buffer = Vec::new();
    while node.poll_transmit(&mut buffer).is_some() {
        assert!(buffer.len() <= node.config().max_datagram);
    }
    std::iter::from_fn(|| node.poll_output()).collect()
}

/// After any input, the bounds hold and the node is a member.
pub fn check(node: &Endpoint) {
    node.audit().unwrap();
    assert!(node.members().windows(2).all(|pair| pair[0].name < pair[1].name));
    assert!(node.member("me").is_some_and(|me| me.state.is_live()));
}
