//! Packets according to `PROTOCOL.md`, written and read without the library.

use std::net::{IpAddr, SocketAddr};

pub(crate) const PING: u8 = 0x01;
pub(crate) const ACK: u8 = 0x02;
pub(crate) const PING_REQ: u8 = 0x03;
pub(crate) const NACK: u8 = 0x04;
pub(crate) const RETRY: u8 = 0x05;
pub(crate) const ALIVE: u8 = 0x10;
pub(crate) const SUSPECT: u8 = 0x11;
pub(crate) const FAILED: u8 = 0x12;
pub(crate) const LEFT: u8 = 0x13;
pub(crate) const GONE: u8 = 0x14;
pub(crate) const HELLO: u8 = 0x20;
pub(crate) const END: u8 = 0x22;
pub(crate) const NEW_TOKEN: u8 = 0x31;

/// The greatest epoch that members accept from others.
pub(crate) const LATEST: u64 = 4_890_844_800_000;

const CLUSTER: u32 = 0x42d4_8a2f;
/// The bytes before the sections of a packet.
pub(crate) const HEADER: usize = 17;

pub(crate) type Section = (u8, Vec<u8>);

/// The sender of a packet, and the token that it shows.
#[derive(Clone, Copy, Default)]
pub(crate) struct Header {
    pub(crate) sender: u32,
    pub(crate) token: u32,
}

pub(crate) fn packet(header: Header, sections: &[Section]) -> Vec<u8> {
    let mut rest = [header.sender.to_le_bytes(), header.token.to_le_bytes()].concat();
    for (tag, body) in sections {
        rest.push(*tag);
        rest.extend(varint(body.len() as u64));
        rest.extend(body);
    }
    let head = [&[3][..], &CLUSTER.to_le_bytes()].concat();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head);
    crc.update(&rest);
    [head, crc.finalize().to_le_bytes().to_vec(), rest].concat()
}

pub(crate) fn frame(packet: &[u8]) -> Vec<u8> {
    [&(packet.len() as u32).to_le_bytes()[..], packet].concat()
}

/// The header and sections of an honest node's packet.
pub(crate) fn read(packet: &[u8]) -> Option<(Header, Vec<Section>)> {
    let word = |at: usize| Some(u32::from_le_bytes(packet.get(at..at + 4)?.try_into().ok()?));
    let header = Header { sender: word(9)?, token: word(13)? };
    let (mut rest, mut sections) = (packet.get(HEADER..)?, Vec::new());
    while let [tag, behind @ ..] = rest {
        let (len, behind) = split_varint(behind)?;
        let body = behind.get(..len as usize)?;
        sections.push((*tag, body.to_vec()));
        rest = &behind[body.len()..];
    }
    Some((header, sections))
}

/// The mark of a member's name in a header.
pub(crate) fn mark(name: &str) -> u32 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let mut hash = name.bytes().chain([0xff]).fold(0xcbf2_9ce4_8422_2325, fnv);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    (hash ^ hash >> 32) as u32
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn split_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let last = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    let value = bytes[..=last].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some((value, &bytes[last + 1..]))
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [varint(text.len() as u64), text.into()].concat()
}

fn address(addr: SocketAddr) -> Vec<u8> {
    let IpAddr::V4(ip) = addr.ip() else { panic!("{addr} is none of ours") };
    [vec![0], ip.octets().to_vec(), varint(addr.port().into())].concat()
}

/// A member as in claims.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Who {
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    pub(crate) epoch: u64,
    pub(crate) incarnation: u64,
}

impl Who {
    pub(crate) fn at(&self, addr: SocketAddr) -> Self {
        Self { addr, ..self.clone() }
    }

    pub(crate) fn later(&self, epochs: u64, incarnations: u64) -> Self {
        let (epoch, incarnation) = (self.epoch + epochs, self.incarnation + incarnations);
        Self { epoch, incarnation, ..self.clone() }
    }

    fn identity(&self) -> Vec<u8> {
        [text(&self.name), varint(self.epoch), varint(self.incarnation)].concat()
    }

    pub(crate) fn alive(&self) -> Section {
        (ALIVE, [self.identity(), address(self.addr), vec![0]].concat())
    }

    pub(crate) fn suspect(&self, accusers: &[&str]) -> Section {
        let accusers = [varint(accusers.len() as u64), accusers.iter().flat_map(|of| text(of)).collect()];
        (SUSPECT, [self.identity(), accusers.concat()].concat())
    }

    pub(crate) fn failed(&self) -> Section {
        (FAILED, self.identity())
    }

    pub(crate) fn left(&self) -> Section {
        (LEFT, self.identity())
    }

    pub(crate) fn gone(&self, left: bool, age: u64) -> Section {
        (GONE, [self.identity(), vec![u8::from(left)], varint(age)].concat())
    }
}

pub(crate) fn ping(seq: u32, target: &str) -> Section {
    (PING, [seq.to_le_bytes().to_vec(), text(target)].concat())
}

pub(crate) fn ping_req(seq: u32, target: &str, window_ms: u64) -> Section {
    (PING_REQ, [seq.to_le_bytes().to_vec(), text(target), varint(window_ms)].concat())
}

pub(crate) fn hello(name: &str) -> Section {
    (HELLO, [text(name), vec![0; 8]].concat())
}

pub(crate) fn word(tag: u8, value: u32) -> Section {
    (tag, value.to_le_bytes().to_vec())
}

/// The target of a ping.
pub(crate) fn target_of(ping: &[u8]) -> Option<&str> {
    let (len, rest) = split_varint(ping.get(4..)?)?;
    std::str::from_utf8(rest.get(..len as usize)?).ok()
}
