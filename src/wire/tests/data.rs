//! Messages between members: their bytes in version 3, their limits, and what damaged ones do.

use proptest::prelude::*;

use super::{
    super::data::{
        Answer, AnswerHead, Ask, AskHead, Broadcast, BroadcastHead, Chunk, Confirm, DataDigest, DataEnd,
        DataHello, DataMessage, KeyValue, KeyValueBuckets, KeyValueDelta, KeyValueHead, MAX_CHUNK, MAX_SMALL,
        MAX_TOPIC, MAX_VALUE, WINDOW, is_data,
    },
    *,
};

/// Every kind of message as the section that carries it.
const SECTIONS: [&str; 15] = [
    // Ask: epoch, slot, id, life, kind, within, topic, payload
    "50 1a  80 d0 95 ff bc 31 01 ac 02 80 d0 95 ff bc 31 01 d0 0f 04 6a 6f 62 73 02 68 69",
    // Answer: epoch, id, status, payload
    "51 0c  80 d0 95 ff bc 31 ac 02 02 02 68 69",
    // Broadcast: origin, epoch, seq, stamp, flags, topic, payload
    "52 21  06 6e 6f 64 65 2d 61 80 d0 95 ff bc 31 ac 02 88 ef 99 ab c5 e8 8c 91 11 02 04 6a 6f 62 73 02 68 69",
    // Confirm: epoch, seq
    "53 08  80 d0 95 ff bc 31 ac 02",
    // KeyValue: owner, epoch, version, step, stamp, flags, key, value
    "54 22  06 6e 6f 64 65 2d 61 80 d0 95 ff bc 31 ac 02 01 88 ef 99 ab c5 e8 8c 91 11 02 04 6a 6f 62 73 02 68 69",
    // DataDigest: broadcasts, key_values
    "55 10  88 77 66 55 44 33 22 11 2c 01 00 00 00 00 00 00",
    // AskHead: epoch, slot, id, life, kind, within, topic, length
    "60 1a  80 d0 95 ff bc 31 01 ac 02 80 d0 95 ff bc 31 01 d0 0f 04 6a 6f 62 73 f0 a2 04",
    // Chunk: bytes
    "61 03  02 68 69",
    // AnswerHead: epoch, id, status, length
    "62 0c  80 d0 95 ff bc 31 ac 02 02 f0 a2 04",
    // DataHello: broadcasts, key_values
    "63 10  88 77 66 55 44 33 22 11 2c 01 00 00 00 00 00 00",
    // BroadcastHead: origin, epoch, below, above
    "64 12  06 6e 6f 64 65 2d 61 80 d0 95 ff bc 31 ac 02 02 68 69",
    // KeyValueHead: owner, epoch, version
    "65 0f  06 6e 6f 64 65 2d 61 80 d0 95 ff bc 31 ac 02",
    // KeyValueDelta: owner, epoch, version, floor
    "66 11  06 6e 6f 64 65 2d 61 80 d0 95 ff bc 31 ac 02 d0 0f",
    // DataEnd
    "67 00",
    // KeyValueBuckets: digests
    "68 03  02 68 69",
];

/// What all kinds of messages are made from.
#[derive(Debug, Clone, Copy)]
struct Said<'a> {
    name: &'a str,
    epoch: u64,
    number: u64,
    digest: u64,
    kind: u8,
    within_ms: u32,
    topic: &'a str,
    bytes: &'a [u8],
    length: u32,
}

const SAID: Said<'_> = Said {
    name: "node-a",
    epoch: 1_700_000_000_000,
    number: 300,
    digest: 0x1122_3344_5566_7788,
    kind: 1,
    within_ms: 2000,
    topic: "jobs",
    bytes: b"hi",
    length: 70_000,
};

fn every_kind_of_data(said: Said<'_>) -> [DataMessage<'_>; 15] {
    let Said { name, epoch, number, digest, kind, within_ms, topic, bytes, length } = said;
    let (id, life, slot) = (number, epoch, kind);
    [
        DataMessage::Ask(Ask { epoch, slot, id, life, kind, within_ms, topic, payload: bytes }),
        DataMessage::Answer(Answer { epoch, id, status: 2, payload: bytes }),
        DataMessage::Broadcast(Broadcast {
            origin: name,
            epoch,
            seq: number,
            stamp: digest,
            flags: 2,
            topic,
            payload: bytes,
        }),
        DataMessage::Confirm(Confirm { epoch, seq: number }),
        DataMessage::KeyValue(KeyValue {
            owner: name,
            epoch,
            version: number,
            step: kind.into(),
            stamp: digest,
            flags: 2,
            key: topic,
            value: bytes,
        }),
        DataMessage::DataDigest(DataDigest { broadcasts: digest, key_values: number }),
        DataMessage::AskHead(AskHead { epoch, slot, id, life, kind, within_ms, topic, length }),
        DataMessage::Chunk(Chunk { bytes }),
        DataMessage::AnswerHead(AnswerHead { epoch, id, status: 2, length }),
        DataMessage::DataHello(DataHello { broadcasts: digest, key_values: number }),
        DataMessage::BroadcastHead(BroadcastHead { origin: name, epoch, below: number, above: bytes }),
        DataMessage::KeyValueHead(KeyValueHead { owner: name, epoch, version: number }),
        DataMessage::KeyValueDelta(KeyValueDelta {
            owner: name,
            epoch,
            version: number,
            floor: within_ms.into(),
        }),
        DataMessage::DataEnd(DataEnd {}),
        DataMessage::KeyValueBuckets(KeyValueBuckets { digests: bytes }),
    ]
}

fn put_data(packet: &mut Writer<'_>, message: &DataMessage<'_>) -> bool {
    match message {
        DataMessage::Ask(m) => packet.message(m),
        DataMessage::Answer(m) => packet.message(m),
        DataMessage::Broadcast(m) => packet.message(m),
        DataMessage::Confirm(m) => packet.message(m),
        DataMessage::KeyValue(m) => packet.message(m),
        DataMessage::DataDigest(m) => packet.message(m),
        DataMessage::AskHead(m) => packet.message(m),
        DataMessage::Chunk(m) => packet.message(m),
        DataMessage::AnswerHead(m) => packet.message(m),
        DataMessage::DataHello(m) => packet.message(m),
        DataMessage::BroadcastHead(m) => packet.message(m),
        DataMessage::KeyValueHead(m) => packet.message(m),
        DataMessage::KeyValueDelta(m) => packet.message(m),
        DataMessage::DataEnd(m) => packet.message(m),
        DataMessage::KeyValueBuckets(m) => packet.message(m),
    }
}

fn data_packet(message: &DataMessage<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut packet = Writer::new(&mut bytes, Header::anonymous(CLUSTER), ROOMY);
    assert!(put_data(&mut packet, message));
    packet.finish();
    bytes
}

/// What a reader makes of the first section.
fn read_data(packet: &[u8]) -> Result<Option<DataMessage<'_>>, Malformed> {
    let section = open(packet).unwrap().next().expect("there is one")?;
    assert!(section.is_data());
    section.data_message()
}

#[test]
fn every_kind_of_data_has_the_bytes_of_version_3() {
    for (message, expected) in every_kind_of_data(SAID).iter().zip(SECTIONS) {
        assert_eq!(data_packet(message)[HEADER..], hex(expected), "{message:?}");
        assert_eq!(read_data(&sealed(&hex(expected))), Ok(Some(*message)));
    }
}

#[test]
fn exactly_these_tags_are_known_and_none_is_of_the_protocol() {
    let known: Vec<u8> = (0..=255).filter(|tag| DataMessage::decode(*tag, &[]) != Ok(None)).collect();
    assert_eq!(known, SECTIONS.map(|section| hex(section)[0]));
    assert!(known.iter().all(|tag| is_data(*tag) && Message::decode(*tag, &[]) == Ok(None)));
    assert!((0..=255).all(|tag| !is_data(tag) || Message::decode(tag, &[]) == Ok(None)));
}

#[test]
fn the_limits_of_data_are_part_of_the_format() {
    assert_eq!((MAX_TOPIC, MAX_SMALL, MAX_VALUE, MAX_CHUNK, WINDOW), (64, 512, 15_360, 15_360, 32));
}

#[test]
fn data_beyond_a_limit_is_malformed() {
    let (topic, long) = ("t".repeat(64), "t".repeat(65));
    let (value, small) = (vec![7; MAX_VALUE], vec![7; MAX_SMALL]);
    let at = |said: Said<'_>, kind: usize| read_data(&data_packet(&every_kind_of_data(said)[kind])).is_ok();
    for kind in [0, 2, 4, 6] {
        assert!(at(Said { topic: &topic, ..SAID }, kind), "{kind}");
        for bad in [&long, "", "a\nb"] {
            assert!(!at(Said { topic: bad, ..SAID }, kind), "{kind} {bad:?}");
        }
    }
    for kind in [2, 4, 10, 11, 12] {
        assert!(!at(Said { name: "", ..SAID }, kind), "{kind}");
    }
    assert!(at(Said { bytes: &small, ..SAID }, 2) && at(Said { bytes: &value, ..SAID }, 4));
    assert!(!at(Said { bytes: &[small.clone(), vec![7]].concat(), ..SAID }, 2));
    let longer = [value, vec![7]].concat();
    assert!(!at(Said { bytes: &longer, ..SAID }, 4) && !at(Said { bytes: &longer, ..SAID }, 7));
    assert!(at(Said { bytes: &small[..32], ..SAID }, 10) && !at(Said { bytes: &small[..33], ..SAID }, 10));
}

proptest! {
    #[test]
    fn damaged_data_is_refused_or_means_something(
        kind in 0_usize..15, at in any::<prop::sample::Index>(), bits in 1_u8..,
    ) {
        let whole = hex(SECTIONS[kind]);
        let mut damaged = whole.clone();
        damaged[at.index(whole.len())] ^= bits;
        for packet in [sealed(&damaged), sealed(&whole[..at.index(whole.len())])] {
            for section in open(&packet).unwrap().flatten() {
                let _ = section.data_message();
            }
        }
    }
}
