//! The bytes of version 3, written out. If one of these tests fails, nodes of two releases no longer
//! understand each other: that takes a new version (see `PROTOCOL.md`).

use std::net::SocketAddr;

use super::{
    super::{Tags, frame, hash, message, packet},
    *,
};

/// Every kind of message as the section that carries it.
const SECTIONS: [&str; 22] = [
    // Ping: seq, target
    "01 0b  04 03 02 01  06 6e 6f 64 65 2d 61",
    // Ack: seq
    "02 04  04 03 02 01",
    // PingReq: seq, target, window
    "03 0d  04 03 02 01  06 6e 6f 64 65 2d 61  ac 02",
    // Nack: seq
    "04 04  04 03 02 01",
    // Alive: name, epoch, incarnation, address, tags
    "10 20  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02  00 0a 00 00 05 8a 3e  09 01 04 72 6f 6c 65 02 64 62",
    // Suspect: name, epoch, incarnation, accusers
    "11 1e  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02  02 06 6e 6f 64 65 2d 62 06 6e 6f 64 65 2d 63",
    // Failed: name, epoch, incarnation
    "12 0f  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02",
    // Left: name, epoch, incarnation
    "13 0f  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02",
    // Departed: name, epoch, incarnation, left, age
    "14 12  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02  01  90 1c",
    // Hello: name, digest
    "20 0f  06 6e 6f 64 65 2d 61  88 77 66 55 44 33 22 11",
    // Same
    "21 00",
    // End
    "22 00",
    // StreamPing: target
    "23 07  06 6e 6f 64 65 2d 61",
    // StreamAck: name
    "24 07  06 6e 6f 64 65 2d 61",
    // BucketSelection: parts
    "26 08  88 77 66 55 44 33 22 11",
    // Digest: digest
    "30 08  88 77 66 55 44 33 22 11",
    // KeyChange: step, key
    "40 08  01  06 6e 6f 64 65 2d 61",
    // KeyAnswer: problem
    "41 07  06 6e 6f 64 65 2d 61",
    // Retry: seq, token
    "05 08  04 03 02 01  2c 01 00 00",
    // NewToken: token
    "31 04  04 03 02 01",
    // Carried
    "27 00",
    // Seen: address
    "32 07  00 0a 00 00 05 8a 3e",
];

/// The two claims that may say by whom a member was removed: behind their other fields, the name and whether it is to be
/// forgotten.
const REMOVED: [&str; 2] = [
    "13 17  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02  06 6e 6f 64 65 2d 62 01",
    "14 1a  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02  01  90 1c  06 6e 6f 64 65 2d 62 01",
];

/// A ping with an alive behind it, of the cluster "default": the example in `PROTOCOL.md`.
const PACKET: &str = "
    03 2f 8a d4 42 a6 e2 87 2f 60 7d a6 36 0a 0b 0c 0d
    01 0b 04 03 02 01 06 6e 6f 64 65 2d 62
    10 20 06 6e 6f 64 65 2d 61 80 d0 95 ff bc 31 ac 02 00 0a 00 00 05 8a 3e 09 01 04 72 6f 6c 65 02 64 62";

#[test]
fn every_kind_of_message_has_the_bytes_of_version_3() {
    for (message, expected) in every_kind(fields()).iter().zip(SECTIONS) {
        assert_eq!(section_of(message), hex(expected), "{message:?}");
    }
}

#[test]
fn the_bytes_of_version_3_decode_to_every_kind_of_message() {
    for (message, bytes) in every_kind(fields()).into_iter().zip(SECTIONS) {
        assert_eq!(read(&sealed(&hex(bytes))), [Ok(Some(message))]);
    }
}

#[test]
fn the_remover_of_a_member_stands_behind_the_fields_that_older_readers_know() {
    let removed = Some(Removed { by: "node-b", reap: true });
    let messages = every_kind(Fields { removed, ..fields() });
    for (message, bytes) in [messages[7], messages[8]].into_iter().zip(REMOVED) {
        assert_eq!(section_of(&message), hex(bytes), "{message:?}");
        assert_eq!(read(&sealed(&hex(bytes))), [Ok(Some(message))]);
    }
    for (left, departed) in [
        // Nobody's name, what is not UTF-8, and what ends too early: as if it were not there.
        (
            "13 11  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02  00 01",
            "14 14  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02  01  90 1c  00 01",
        ),
        (
            "13 12  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02  01 ff 01",
            "14 15  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02  01  90 1c  01 ff 01",
        ),
        (
            "13 11  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02  01 62",
            "14 14  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02  01  90 1c  01 62",
        ),
    ] {
        let plain = every_kind(fields());
        assert_eq!(read(&sealed(&hex(left))), [Ok(Some(plain[7]))], "{left}");
        assert_eq!(read(&sealed(&hex(departed))), [Ok(Some(plain[8]))], "{departed}");
    }
    // A name that would break a line of the log.
    let forged = "13 12  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02  01 0a 01";
    assert_eq!(read(&sealed(&hex(forged))), [Err(Malformed)]);
}

#[test]
fn a_hello_that_knows_of_removals_has_their_digest_behind_the_fields_that_older_readers_know() {
    let hello = every_kind(Fields { removals: 0x0102_0304_0506_0708, ..fields() })[9];
    let bytes = "20 17  06 6e 6f 64 65 2d 61  88 77 66 55 44 33 22 11  08 07 06 05 04 03 02 01";
    assert_eq!(section_of(&hello), hex(bytes));
    assert_eq!(read(&sealed(&hex(bytes))), [Ok(Some(hello))]);
    let cut = "20 11  06 6e 6f 64 65 2d 61  88 77 66 55 44 33 22 11  08 07";
    assert_eq!(read(&sealed(&hex(cut))), [Ok(Some(every_kind(fields())[9]))], "as if it were not there");
}

#[test]
fn exactly_the_tags_of_version_3_are_known() {
    let known: Vec<u8> = (0..=255).filter(|tag| Message::decode(*tag, &[]) != Ok(None)).collect();
    assert_eq!(
        known,
        [1, 2, 3, 4, 5, 16, 17, 18, 19, 20, 32, 33, 34, 35, 36, 37, 38, 39, 48, 49, 50, 64, 65]
    );
    let mut shown = SECTIONS.map(|section| hex(section)[0]).to_vec();
    shown.push(37); // below
    shown.sort_unstable();
    assert_eq!(known, shown);
}

#[test]
fn an_ipv6_address_is_sixteen_bytes_in_network_order_and_loses_flow_and_scope() {
    let addr: SocketAddr = "[2001:db8::5]:65535".parse().unwrap();
    let bytes = "10 24  06 6e 6f 64 65 2d 61  80 d0 95 ff bc 31  ac 02
        01 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 05 ff ff 03  00";
    let alive = every_kind(Fields { addr, tags: b"", ..fields() })[4];
    assert_eq!(section_of(&alive), hex(bytes));
    let SocketAddr::V6(mut scoped) = addr else { unreachable!() };
    scoped.set_scope_id(3);
    scoped.set_flowinfo(9);
    let alive = every_kind(Fields { addr: scoped.into(), tags: b"", ..fields() })[4];
    assert_eq!(section_of(&alive), hex(bytes));
}

#[test]
fn numbers_take_one_byte_per_seven_bits() {
    for (epoch, bytes) in [
        (0, "00"),
        (127, "7f"),
        (128, "80 01"),
        (16_383, "ff 7f"),
        (16_384, "80 80 01"),
        (u64::MAX, "ff ff ff ff ff ff ff ff ff 01"),
    ] {
        let failed = every_kind(Fields { name: "a", epoch, incarnation: 0, ..fields() })[6];
        assert_eq!(section_of(&failed)[2..], hex(&format!("01 61 {bytes} 00")), "{epoch}");
    }
}

#[test]
fn a_body_from_128_bytes_on_has_a_length_of_two_bytes() {
    let name = "x".repeat(128);
    let section = section_of(&every_kind(Fields { name: &name, ..fields() })[12]);
    assert_eq!(section[..6], hex("23 82 01 80 01 78"));
    let name = "x".repeat(126);
    let section = section_of(&every_kind(Fields { name: &name, ..fields() })[12]);
    assert_eq!(section[..4], hex("23 7f 7e 78"));
}

#[test]
fn a_packet_is_version_cluster_checksum_and_sections() {
    let mut bytes = Vec::new();
    let header =
        Header { cluster: hash::cluster("default"), sender: hash::member("node-a"), token: 0x0d0c_0b0a };
    let mut writer = Writer::new(&mut bytes, header, 1400);
    assert!(put(&mut writer, &every_kind(Fields { name: "node-b", ..fields() })[0]));
    assert!(put(&mut writer, &every_kind(fields())[4]));
    writer.finish();
    assert_eq!(bytes, hex(PACKET));
}

#[test]
fn the_example_in_the_document_is_this_packet() {
    let document = include_str!("../../../PROTOCOL.md");
    let example = document.split_once("## An example").unwrap().1;
    let block = example.split("```").nth(1).unwrap().trim_start_matches("text");
    let bytes: String = block.lines().filter_map(|line| line.trim_start().split("  ").next()).collect();
    assert_eq!(hex(&bytes), hex(PACKET));
}

#[test]
fn an_empty_packet_is_a_header() {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes, Header::anonymous(hash::cluster("default")), 1400).finish();
    assert_eq!(bytes, hex("03 2f 8a d4 42 6c 07 cb eb 00 00 00 00 00 00 00 00"));
}

#[test]
fn a_frame_is_a_packet_behind_its_length() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, Header::anonymous(hash::cluster("default")), frame::MAX_FRAME);
    assert!(writer.message(&End {}));
    writer.finish();
    assert_eq!(bytes, hex("03 2f 8a d4 42 1c 0e 47 b1 00 00 00 00 00 00 00 00 22 00"));
    assert_eq!(frame::prefix(&bytes), [0x13, 0, 0, 0]);
    assert_eq!(frame::prefix(&vec![0; 0x1234]), [0x34, 0x12, 0, 0]);
}

#[test]
fn tags_are_a_count_and_pairs_by_ascending_key() {
    let tags = Tags::new([("zone", "b"), ("role", "db")]).unwrap();
    assert_eq!(tags.encoded(), hex("02  04 72 6f 6c 65  02 64 62  04 7a 6f 6e 65  01 62"));
    assert_eq!(Tags::default().encoded(), []);
}

#[test]
fn hashes_never_change() {
    assert_eq!(hash::cluster(""), 0x5c9f_fd72);
    assert_eq!(hash::cluster("default"), 0x42d4_8a2f);
    assert_eq!(hash::cluster("orders"), 0x2d64_0f22);
    assert_eq!(hash::member("a"), 0xb638_7d95);
    assert_eq!(hash::member("node-a"), 0x36a6_7d60);
    assert_ne!(hash::member("default"), hash::cluster("default"));
    assert_eq!(hash::entry("a", 0, 0), 0x41ea_12fa_a2da_5080);
    assert_eq!(hash::entry("node-a", 1_700_000_000_000, 300), 0xe349_3327_9a9a_ab58);
    assert_eq!(hash::entry("n\u{f6}de", u64::MAX, u64::MAX), 0xb92f_66e6_f4b8_d327);
    let (v4, v6) = ("10.0.0.1:7946".parse().unwrap(), "[fd00::1]:7946".parse().unwrap());
    assert_eq!(hash::live("a", 0, 0, v4), 0x3715_3ab9_1cd3_61c6);
    assert_eq!(hash::live("node-a", 1_700_000_000_000, 300, v6), 0xa55b_b688_173c_3e1b);
    assert_eq!(hash::removal("a", 0, 0, false), 0x8734_63c7_18de_6655);
    assert_eq!(hash::removal("node-a", 1_700_000_000_000, 300, true), 0x9767_540d_e11b_7223);
}

#[test]
fn the_limits_are_part_of_the_format() {
    assert_eq!(packet::VERSION, 3);
    assert_eq!(HEADER, 17);
    assert_eq!(frame::MAX_FRAME, 32_768);
    assert_eq!(message::MAX_ACCUSERS, 8);
    assert_eq!(super::super::MAX_NAME, 128);
    assert_eq!(super::super::MAX_TAGS, 512);
}

#[test]
fn the_digests_of_a_tables_parts_are_512_bytes() {
    let message = Message::BucketDigests(BucketDigests { digests: &[7; 512] });
    assert_eq!(section_of(&message), [&hex("25 82 04  80 04")[..], &[7; 512]].concat());
    assert!(Message::decode(37, &section_of(&message)[3..]).is_ok());
    assert!(Message::decode(37, &[0xff, 3].repeat(300)).is_err(), "511 are too few");
}

#[test]
fn a_members_part_is_fixed() {
    assert_eq!([hash::bucket("a"), hash::bucket("node-a"), hash::bucket("")], [56, 31, 27]);
}
