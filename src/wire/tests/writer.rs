//! The writer: never beyond its limit, and a section that does not fit changes nothing.

use super::*;

/// Every kind twice: short, and as long as the limits allow.
fn samples<'a>(name: &'a str, tags: &'a [u8]) -> Vec<Message<'a>> {
    let long = Fields {
        name,
        tags,
        epoch: u64::MAX,
        incarnation: u64::MAX,
        addr: ([0xffff; 8], 65_535).into(),
        accusers: [name; 8].into_iter().collect(),
        window_ms: u32::MAX,
        age_secs: u64::MAX,
        ..fields()
    };
    every_kind(fields()).into_iter().chain(every_kind(long)).collect()
}

fn finished(limit: usize, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, Header::anonymous(CLUSTER), limit);
    fill(&mut writer);
    writer.finish();
    bytes
}

#[test]
fn at_every_limit_a_section_is_there_as_a_whole_or_not_at_all() {
    let (name, tags) = ("n".repeat(128), [7; 512]);
    for message in samples(&name, &tags) {
        let whole = packet_of(&[message]);
        for limit in HEADER..whole.len() + 3 {
            let fits = limit >= whole.len();
            let bytes = finished(limit, |writer| {
                assert_eq!(put(writer, &message), fits, "{message:?} in {limit} bytes");
                assert_eq!(writer.is_empty(), !fits);
                assert_eq!(writer.room(), limit - if fits { whole.len() } else { HEADER });
            });
            assert_eq!(bytes, if fits { whole.clone() } else { sealed(&[]) }, "{message:?} in {limit} bytes");
        }
    }
}

#[test]
fn at_every_limit_a_section_that_does_not_fit_leaves_the_packet_unchanged() {
    let (name, tags) = ("n".repeat(128), [7; 512]);
    let messages = samples(&name, &tags);
    let sections: Vec<_> = messages.iter().map(section_of).collect();
    let all = packet_of(&messages).len();
    for limit in HEADER..=all {
        let mut expected = Vec::new();
        let bytes = finished(limit, |writer| {
            for (message, section) in messages.iter().zip(&sections) {
                let room = writer.room();
                assert_eq!(put(writer, message), section.len() <= room, "{message:?} in {room} bytes");
                if section.len() <= room {
                    expected.extend(section);
                }
            }
        });
        assert!(bytes.len() <= limit);
        assert_eq!(bytes, sealed(&expected), "limit {limit}");
    }
}

#[test]
fn a_limit_below_the_header_gives_the_header_alone() {
    for limit in 0..=HEADER {
        assert_eq!(finished(limit, |writer| assert!(!writer.message(&End {}))), sealed(&[]));
    }
}

#[test]
fn nothing_of_the_buffers_past_is_sent() {
    let mut bytes = vec![0xaa; 3000];
    let mut writer = Writer::new(&mut bytes, Header::anonymous(CLUSTER), 1400);
    assert!(writer.message(&End {}));
    writer.finish();
    assert_eq!(bytes, sealed(&hex("22 00")));
}

#[test]
fn a_body_longer_than_a_length_can_express_does_not_fit() {
    let body = |len: usize| vec![7_u8; len];
    let bytes = finished(ROOMY, |writer| {
        // Two bytes of each are the count in front.
        assert!(writer.push(200, &body((1 << 14) - 1 - 2)));
        assert!(!writer.push(200, &body((1 << 14) - 2)));
    });
    assert_eq!(bytes.len(), HEADER + 3 + (1 << 14) - 1);
    assert_eq!(read(&bytes), [Ok(None)]);
}

#[test]
fn the_largest_claim_fits_behind_the_largest_ping_in_the_smallest_datagram() {
    let (name, tags) = ("n".repeat(128), [7; 512]);
    let mut messages = samples(&name, &tags).split_off(every_kind(fields()).len());
    // Senders keep accusers to 512 bytes.
    let accusers = [name.as_str(); 4].into_iter().collect();
    messages[5] =
        every_kind(Fields { name: &name, epoch: u64::MAX, incarnation: u64::MAX, accusers, ..fields() })[5];
    for claim in &messages[4..9] {
        let len = packet_of(&[messages[0], *claim]).len();
        assert!(len <= 1000, "{len} bytes: {claim:?}");
    }
}
