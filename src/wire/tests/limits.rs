//! What breaks a limit is malformed, wherever it stands.

use super::{
    super::{
        frame,
        message::{is_name, is_reachable},
    },
    *,
};

/// Whether a message that is written as it stands is taken in.
fn is_taken(message: &Message<'_>) -> bool {
    match read(&packet_of(&[*message]))[..] {
        [Ok(Some(got))] => {
            assert_eq!(got, *message);
            true
        }
        [Err(Malformed)] => false,
        ref other => panic!("{other:?}"),
    }
}

/// The kinds that carry a name.
fn named(name: &str) -> impl Iterator<Item = Message<'_>> {
    let nameless = |m: &Message<'_>| {
        matches!(
            m,
            Message::Ack(_)
                | Message::Nack(_)
                | Message::Retry(_)
                | Message::NewToken(_)
                | Message::Carried(_)
                | Message::Seen(_)
                | Message::Same(_)
                | Message::End(_)
                | Message::Digest(_)
                | Message::BucketSelection(_)
                | Message::KeyChange(_)
                | Message::KeyAnswer(_)
        )
    };
    every_kind(Fields { name, ..fields() }).into_iter().filter(move |message| !nameless(message))
}

#[test]
fn a_name_has_1_to_128_bytes_and_no_control_characters() {
    let (longest, too_long) = ("x".repeat(128), "x".repeat(129));
    let (wide, too_wide) = ("\u{e9}".repeat(64), "\u{e9}".repeat(65));
    assert_eq!(named("n").count(), 10);
    for name in ["n", " ", "a b", "n\u{f6}de", "\u{1f980}", &longest, &wide] {
        assert!(is_name(name), "{name:?}");
        assert!(named(name).all(|message| is_taken(&message)), "{name:?}");
    }
    for name in ["", "\n", "a\nb", "a\0", "\x1b[31m", "\x7f", "\u{85}", &too_long, &too_wide] {
        assert!(!is_name(name), "{name:?}");
        assert!(!named(name).any(|message| is_taken(&message)), "{name:?}");
    }
}

#[test]
fn a_name_is_utf8() {
    assert_eq!(
        Message::decode(35, &hex("02 c3 a9")),
        Ok(Some(Message::StreamPing(StreamPing { target: "\u{e9}" })))
    );
    assert_eq!(Message::decode(35, &hex("02 c3 28")), Err(Malformed));
    assert_eq!(Message::decode(35, &hex("03 ed a0 80")), Err(Malformed));
}

#[test]
fn tags_take_at_most_512_bytes() {
    for (len, taken) in [(0, true), (511, true), (512, true), (513, false), (10_000, false)] {
        let tags = vec![0; len];
        let alive = every_kind(Fields { tags: &tags, ..fields() })[4];
        assert_eq!(is_taken(&alive), taken, "{len} bytes");
    }
}

#[test]
fn of_a_suspicions_accusers_the_first_8_count() {
    let body = |count: u8| {
        let accusers = hex("01 62").repeat(count.into());
        [hex("01 61 00 00"), vec![count], accusers].concat()
    };
    for count in 0..=8 {
        let body = body(count);
        let Ok(Some(Message::Suspect(suspect))) = Message::decode(17, &body) else {
            panic!("{count} accusers")
        };
        assert_eq!(suspect.accusers.iter().collect::<Vec<_>>(), vec!["b"; count.into()]);
    }
    for count in [9, 10, 127] {
        let body = body(count);
        let Ok(Some(Message::Suspect(suspect))) = Message::decode(17, &body) else {
            panic!("{count} accusers")
        };
        assert_eq!(suspect.accusers.iter().count(), 8);
    }
    let announced_but_missing = hex("01 61 00 00 ff ff ff ff 0f 01 62");
    assert_eq!(Message::decode(17, &announced_but_missing), Err(Malformed));
    let long = "x".repeat(129);
    for bad in ["", "a\tb", &long] {
        let accusers = ["b", bad].into_iter().collect();
        assert!(!is_taken(&every_kind(Fields { accusers, ..fields() })[5]), "{bad:?}");
    }
}

#[test]
fn collecting_more_than_8_accusers_keeps_the_first() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let accusers: Accusers<'_> = names.into_iter().collect();
    assert_eq!(accusers.iter().collect::<Vec<_>>(), names[..8]);
}

#[test]
fn only_an_address_that_can_be_sent_to_is_accepted() {
    for addr in ["10.0.0.5:1", "127.0.0.1:65535", "[::1]:7946", "[fe80::1]:7946"] {
        let addr = addr.parse().unwrap();
        assert!(is_reachable(addr) && is_taken(&every_kind(Fields { addr, ..fields() })[4]), "{addr}");
    }
    for addr in [
        "10.0.0.5:0",
        "[2001:db8::5]:0",
        "0.0.0.0:7946",
        "[::]:7946",
        "[::ffff:10.0.0.5]:7946",
        "[::ffff:0.0.0.0]:7946",
        "224.0.0.1:7946",
        "239.255.255.255:7946",
        "[ff02::1]:7946",
        "[::ffff:224.0.0.1]:7946",
        "255.255.255.255:7946",
        "[::ffff:255.255.255.255]:7946",
    ] {
        let addr = addr.parse().unwrap();
        assert!(!is_reachable(addr) && !is_taken(&every_kind(Fields { addr, ..fields() })[4]), "{addr}");
    }
}

#[test]
fn an_address_is_of_family_0_or_1_and_its_port_fits() {
    let alive = |addr: &str| Message::decode(16, &hex(&format!("01 61 00 00 {addr} 00"))).map(|_| ());
    assert_eq!(alive("00 0a 00 00 05 ff ff 03"), Ok(()));
    assert_eq!(alive("00 0a 00 00 05 ff ff 07"), Err(Malformed));
    assert_eq!(alive("02 0a 00 00 05 ff ff 03"), Err(Malformed));
    assert_eq!(alive("00 0a 00 00"), Err(Malformed));
}

#[test]
fn whether_a_gone_member_left_is_0_or_1() {
    let gone = |left: &str| Message::decode(20, &hex(&format!("01 61 00 00 {left} 00"))).map(|_| ());
    assert_eq!(gone("00"), Ok(()));
    assert_eq!(gone("01"), Ok(()));
    assert_eq!(gone("02"), Err(Malformed));
}

#[test]
fn a_frame_above_the_limit_is_refused_by_its_prefix_alone() {
    for len in [0, 1, 9, 32_767, 32_768_u32] {
        assert_eq!(frame::length(len.to_le_bytes(), 0), Some(len as usize));
    }
    for len in [32_769, 1 << 20, 1 << 31, u32::MAX] {
        assert_eq!(frame::length(len.to_le_bytes(), 0), None, "{len}");
    }
}
