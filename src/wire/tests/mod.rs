//! The format's tests: the exact bytes, what survives a round trip, and what hostile bytes can do (nothing).

mod data;
#[cfg(feature = "encryption")]
mod exchange;
mod golden;
mod hostile;
mod limits;
mod round_trip;
#[cfg(feature = "encryption")]
mod sealed;
mod tags;
mod writer;

use std::net::SocketAddr;

use super::{
    message::{
        Accusers, Ack, Alive, BucketDigests, BucketSelection, Carried, Departed, Digest, End, Failed, Hello,
        KeyAnswer, KeyChange, Left, Malformed, Message, Nack, NewToken, Ping, PingReq, Removed, Retry, Same,
        Seen, StreamAck, StreamPing, Suspect,
    },
    packet::{self, HEADER, Header, Reject, Sections, Writer},
};

const CLUSTER: u32 = 0xa1b2_c3d4;
/// More than any section takes.
const ROOMY: usize = 1 << 16;

/// What all kinds of messages are made from.
#[derive(Debug, Clone, Copy)]
struct Fields<'a> {
    name: &'a str,
    epoch: u64,
    incarnation: u64,
    addr: SocketAddr,
    tags: &'a [u8],
    accusers: Accusers<'a>,
    seq: u32,
    digest: u64,
    window_ms: u32,
    left: bool,
    age_secs: u64,
    removed: Option<Removed<'a>>,
    removals: u64,
}

/// One message of each kind.
fn every_kind(fields: Fields<'_>) -> [Message<'_>; 22] {
    let Fields { name, epoch, incarnation, addr, tags, accusers, seq, digest, window_ms, left, .. } = fields;
    let Fields { age_secs, removed, removals, .. } = fields;
    [
        Message::Ping(Ping { seq, target: name }),
        Message::Ack(Ack { seq }),
        Message::PingReq(PingReq { seq, target: name, window_ms }),
        Message::Nack(Nack { seq }),
        Message::Alive(Alive { name, epoch, incarnation, addr, tags }),
        Message::Suspect(Suspect { name, epoch, incarnation, accusers }),
        Message::Failed(Failed { name, epoch, incarnation }),
        Message::Left(Left { name, epoch, incarnation, removed }),
        Message::Departed(Departed { name, epoch, incarnation, left, age_secs, removed }),
        Message::Hello(Hello { name, digest, removals }),
        Message::Same(Same {}),
        Message::End(End {}),
        Message::StreamPing(StreamPing { target: name }),
        Message::StreamAck(StreamAck { name }),
        Message::BucketSelection(BucketSelection { buckets: digest }),
        Message::Digest(Digest { digest }),
        Message::KeyChange(KeyChange { step: 1, key: &name.as_bytes()[..name.len().min(32)] }),
        Message::KeyAnswer(KeyAnswer { problem: name }),
        Message::Retry(Retry { seq, token: window_ms }),
        Message::NewToken(NewToken { token: seq }),
        Message::Carried(Carried {}),
        Message::Seen(Seen { addr }),
    ]
}

/// Appends a message of any kind.
fn put(packet: &mut Writer<'_>, message: &Message<'_>) -> bool {
    match message {
        Message::Ping(m) => packet.message(m),
        Message::Ack(m) => packet.message(m),
        Message::Digest(m) => packet.message(m),
        Message::PingReq(m) => packet.message(m),
        Message::Nack(m) => packet.message(m),
        Message::Retry(m) => packet.message(m),
        Message::NewToken(m) => packet.message(m),
        Message::Carried(m) => packet.message(m),
        Message::Seen(m) => packet.message(m),
        Message::Alive(m) => packet.message(m),
        Message::Suspect(m) => packet.message(m),
        Message::Failed(m) => packet.message(m),
        Message::Left(m) => packet.message(m),
        Message::Departed(m) => packet.message(m),
        Message::Hello(m) => packet.message(m),
        Message::Same(m) => packet.message(m),
        Message::End(m) => packet.message(m),
        Message::StreamPing(m) => packet.message(m),
        Message::StreamAck(m) => packet.message(m),
        Message::BucketDigests(m) => packet.message(m),
        Message::BucketSelection(m) => packet.message(m),
        Message::KeyChange(m) => packet.message(m),
        Message::KeyAnswer(m) => packet.message(m),
    }
}

/// A packet of these messages, which all fit.
fn packet_of(messages: &[Message<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut packet = Writer::new(&mut bytes, Header::anonymous(CLUSTER), ROOMY);
    assert!(messages.iter().all(|message| put(&mut packet, message)));
    packet.finish();
    bytes
}

/// A message as a section: tag, length, body.
fn section_of(message: &Message<'_>) -> Vec<u8> {
    packet_of(&[*message]).split_off(HEADER)
}

/// A packet with a correct header in front of any bytes at all.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes, Header::anonymous(CLUSTER), HEADER).finish();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..5]);
    crc.update(&bytes[9..]);
    crc.update(body);
    bytes[5..9].copy_from_slice(&crc.finalize().to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn open(bytes: &[u8]) -> Result<Sections<'_>, Reject> {
    packet::open(bytes, CLUSTER).map(|(_, sections)| sections)
}

/// What a reader makes of each section of a packet with a correct header.
fn read(bytes: &[u8]) -> Vec<Result<Option<Message<'_>>, Malformed>> {
    let sections = open(bytes).expect("the header is correct");
    sections.map(|section| section.and_then(packet::Section::message)).collect()
}

/// Bytes written as hex pairs; blanks and line ends are for the reader.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
    let value = |digit: u8| char::from(digit).to_digit(16).expect("a hex digit") as u8;
    digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

fn fields() -> Fields<'static> {
    Fields {
        name: "node-a",
        epoch: 1_700_000_000_000,
        incarnation: 300,
        addr: ([10, 0, 0, 5], 7946).into(),
        tags: b"\x01\x04role\x02db",
        accusers: ["node-b", "node-c"].into_iter().collect(),
        seq: 0x0102_0304,
        digest: 0x1122_3344_5566_7788,
        window_ms: 300,
        left: true,
        age_secs: 3600,
        removed: None,
        removals: 0,
    }
}
