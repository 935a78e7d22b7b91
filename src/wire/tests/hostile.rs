//! Bytes that nobody honest sent: decoding never panics, does bounded work and says what was wrong.

use proptest::prelude::*;

use super::{super::Tags, *};

/// Every tag that has a meaning.
const TAGS: [u8; 23] =
    [1, 2, 3, 4, 5, 16, 17, 18, 19, 20, 32, 33, 34, 35, 36, 37, 38, 39, 48, 49, 50, 64, 65];

/// A packet with a section of every kind.
fn full_packet() -> Vec<u8> {
    packet_of(&every_kind(fields()))
}

/// Reads as far as anybody does, tags included.
fn read_all(bytes: &[u8]) {
    let Ok(sections) = open(bytes) else { return };
    for section in sections {
        if let Ok(Some(Message::Alive(alive))) = section.and_then(packet::Section::message) {
            let _ = Tags::from_encoded(alive.tags).map(|tags| tags.to_string());
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read_all(&bytes);
    }

    #[test]
    fn any_bytes_behind_a_correct_header_are_read_without_a_panic(
        body in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let bytes = sealed(&body);
        prop_assert!(open(&bytes).is_ok());
        read_all(&bytes);
    }

    #[test]
    fn any_body_under_a_known_tag_is_read_without_a_panic(
        tag in prop::sample::select(&TAGS[..]),
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        prop_assert_ne!(Message::decode(tag, &body), Ok(None));
    }

    #[test]
    fn a_sealed_packet_with_spoilt_sections_is_read_without_a_panic(
        at in 0..300_usize, byte in any::<u8>(), cut in 0..300_usize,
    ) {
        let mut body = full_packet().split_off(HEADER);
        let at = at % body.len();
        body[at] = byte;
        body.truncate(cut.max(1));
        read_all(&sealed(&body));
    }

    #[test]
    fn every_section_takes_at_least_two_bytes_but_for_a_malformed_last_one(
        body in prop::collection::vec(0..4_u8, 0..600),
    ) {
        let bytes = sealed(&body);
        let (good, bad): (Vec<_>, Vec<_>) = open(&bytes).unwrap().partition(Result::is_ok);
        prop_assert!(good.len() * 2 + bad.len() <= body.len());
        prop_assert!(bad.len() <= 1);
    }
}

#[test]
fn the_list_of_tags_has_every_tag_with_a_meaning() {
    let known = |tag: &u8| Message::decode(*tag, &[]) != Ok(None);
    assert_eq!((0..=u8::MAX).filter(known).collect::<Vec<_>>(), TAGS);
}

#[test]
fn every_flip_of_a_single_bit_is_noticed() {
    let bytes = full_packet();
    for bit in 0..bytes.len() * 8 {
        let mut spoilt = bytes.clone();
        spoilt[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0 => Reject::Version,
            1..5 => Reject::Cluster,
            _ => Reject::Checksum,
        };
        assert_eq!(open(&spoilt).unwrap_err(), expected, "bit {bit}");
    }
}

#[test]
fn every_truncation_is_noticed() {
    let bytes = full_packet();
    for len in 0..bytes.len() {
        let expected = if len < HEADER { Reject::Short } else { Reject::Checksum };
        assert_eq!(open(&bytes[..len]).unwrap_err(), expected, "{len} bytes");
    }
}

#[test]
fn bytes_behind_the_packet_are_noticed() {
    let mut bytes = full_packet();
    bytes.push(0);
    assert_eq!(open(&bytes).unwrap_err(), Reject::Checksum);
}

#[test]
fn a_packet_of_another_cluster_or_version_is_told_from_a_spoilt_one() {
    let bytes = full_packet();
    assert_eq!(packet::open(&bytes, CLUSTER + 1).unwrap_err(), Reject::Cluster);
    for version in [0, 1, 2, 4, 255] {
        let mut other = bytes.clone();
        other[0] = version;
        assert_eq!(open(&other).unwrap_err(), Reject::Version);
    }
}

#[test]
fn a_packet_cut_inside_a_section_gives_the_sections_before_it_and_one_malformed() {
    let messages = every_kind(fields());
    let body = full_packet().split_off(HEADER);
    let mut ends = vec![0];
    for message in &messages {
        ends.push(ends.last().unwrap() + section_of(message).len());
    }
    for len in 0..=body.len() {
        let whole = ends.iter().filter(|end| (1..=len).contains(*end)).count();
        let mut expected: Vec<_> = messages[..whole].iter().map(|message| Ok(Some(*message))).collect();
        if !ends.contains(&len) {
            expected.push(Err(Malformed));
        }
        assert_eq!(read(&sealed(&body[..len])), expected, "{len} bytes");
    }
}

#[test]
fn a_body_cut_anywhere_is_malformed() {
    for message in every_kind(fields()) {
        let section = section_of(&message);
        let (tag, body) = (section[0], &section[2..]);
        for len in 0..body.len() {
            assert_eq!(Message::decode(tag, &body[..len]), Err(Malformed), "{message:?}: {len} bytes");
        }
    }
}

#[test]
fn a_malformed_body_leaves_the_sections_behind_it_readable() {
    let mut body = hex("21 00  23 01 00  22 00");
    let expected = [Ok(Some(Message::Same(Same {}))), Err(Malformed), Ok(Some(Message::End(End {})))];
    assert_eq!(read(&sealed(&body)), expected);
    body[4] = 0xff;
    assert_eq!(read(&sealed(&body)), expected);
}

#[test]
fn unknown_tags_are_skipped() {
    let body = [hex("ff 00"), hex("00 03 01 02 03"), hex("22 00"), hex("06 80 01"), vec![9; 128]].concat();
    let end = Ok(Some(Message::End(End {})));
    assert_eq!(read(&sealed(&body)), [Ok(None), Ok(None), end, Ok(None)]);
}

#[test]
fn bytes_behind_the_known_fields_are_ignored() {
    for message in every_kind(fields()) {
        let section = section_of(&message);
        let body = [&section[2..], &[0xff, 0, 0x80, 7]].concat();
        assert_eq!(Message::decode(section[0], &body), Ok(Some(message)));
    }
}

#[test]
fn a_length_has_one_or_two_bytes_and_need_not_be_the_shortest() {
    let end = Ok(Some(Message::End(End {})));
    for (body, expected) in [
        ("22 00", vec![end]),
        ("22 80 00", vec![end]),
        ("22 80 00 22 00", vec![end, end]),
        ("22 80 80 00", vec![Err(Malformed)]),
        ("22 80", vec![Err(Malformed)]),
        ("22", vec![Err(Malformed)]),
        ("22 01", vec![Err(Malformed)]),
        ("22 ff 7f 00", vec![Err(Malformed)]),
        ("22 ff ff 03", vec![Err(Malformed)]),
    ] {
        assert_eq!(read(&sealed(&hex(body))), expected, "{body}");
    }
    let longest = [hex("22 ff 7f"), vec![0; (1 << 14) - 1]].concat();
    assert_eq!(read(&sealed(&longest)), [end]);
    let of_three_bytes = [hex("22 80 80 01"), vec![0; 1 << 15]].concat();
    assert_eq!(read(&sealed(&of_three_bytes)), [Err(Malformed)]);
}

#[test]
fn numbers_need_not_be_the_shortest_but_must_fit() {
    let window = |bytes: &str| match Message::decode(3, &hex(&format!("04 03 02 01 01 61 {bytes}")))? {
        Some(Message::PingReq(request)) => Ok(request.window_ms),
        other => panic!("{other:?}"),
    };
    assert_eq!(window("05"), Ok(5));
    assert_eq!(window("85 00"), Ok(5));
    assert_eq!(window("ff ff ff ff 0f"), Ok(u32::MAX));
    assert_eq!(window("ff ff ff ff 1f"), Err(Malformed));
    assert_eq!(window("80 80 80 80 80 00"), Err(Malformed));
    let epoch = |bytes: &str| match Message::decode(18, &hex(&format!("01 61 {bytes} 00")))? {
        Some(Message::Failed(failed)) => Ok(failed.epoch),
        other => panic!("{other:?}"),
    };
    assert_eq!(epoch("ff ff ff ff ff ff ff ff ff 01"), Ok(u64::MAX));
    assert_eq!(epoch("ff ff ff ff ff ff ff ff ff 02"), Err(Malformed));
}

#[test]
fn sixty_kilobytes_of_the_smallest_sections_are_thirty_thousand_and_no_more() {
    const BYTES: usize = 60 * 1024;
    let body = hex("22 00").repeat((BYTES - HEADER) / 2);
    let bytes = sealed(&body);
    let sections = read(&bytes);
    assert_eq!(sections.len(), (BYTES - HEADER) / 2);
    assert!(sections.iter().all(|section| *section == Ok(Some(Message::End(End {})))));
}

#[test]
fn sixty_kilobytes_of_the_smallest_pings_and_claims_are_a_few_thousand() {
    let addr = ([10, 0, 0, 5], 1).into();
    let small = Fields { name: "a", epoch: 0, incarnation: 0, addr, tags: b"", window_ms: 0, ..fields() };
    let kinds = every_kind(small);
    for (message, most) in [(kinds[0], 7_677), (kinds[2], 6_824), (kinds[4], 4_724), (kinds[6], 10_237)] {
        let section = section_of(&message);
        let bytes = sealed(&section.repeat((60 * 1024 - HEADER) / section.len()));
        assert_eq!(read(&bytes).len(), most, "{message:?}");
    }
}
