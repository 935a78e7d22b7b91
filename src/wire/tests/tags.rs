//! Tags: one encoding per map, a limit, and nothing from the network that breaks either.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    super::{Tags, tags::TagsError},
    hex,
};
use crate::Error;

fn pairs(tags: &Tags) -> Vec<(&str, &str)> {
    tags.iter().collect()
}

proptest! {
    #[test]
    fn tags_survive_the_network_and_come_sorted(
        map in prop::collection::btree_map(".{0,12}", ".{0,12}", 0..8_usize),
    ) {
        let tags = match Tags::of(&map) {
            Ok(tags) => tags,
            Err(_) => return Ok(()),
        };
        let expected: Vec<_> = map.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        prop_assert_eq!(pairs(&tags), expected);
        prop_assert_eq!(Tags::from_encoded(tags.encoded()), Ok(tags.clone()));
        prop_assert_eq!(tags.is_empty(), map.is_empty());
        for (key, value) in &map {
            prop_assert_eq!(tags.get(key), Some(value.as_str()));
        }
    }

    #[test]
    fn any_bytes_are_refused_or_the_one_encoding_of_their_map(
        bytes in prop::collection::vec(prop_oneof![0..5_u8, any::<u8>()], 0..40),
    ) {
        if let Ok(tags) = Tags::from_encoded(&bytes) {
            let map: BTreeMap<&str, &str> = tags.iter().collect();
            let again = Tags::of(&map).unwrap();
            prop_assert_eq!(again.encoded(), &bytes[..]);
            prop_assert_eq!(again, tags);
        }
    }
}

#[test]
fn tags_are_sorted_and_one_can_be_set() {
    let tags = Tags::new([("b", "1"), ("a", "2")]).unwrap();
    assert_eq!(pairs(&tags), [("a", "2"), ("b", "1")]);
    let tags = tags.with("b", "3").unwrap();
    assert_eq!((tags.get("a"), tags.get("b"), tags.get("c")), (Some("2"), Some("3"), None));
}

#[test]
fn a_node_says_nothing_that_others_could_misread_but_hears_it() {
    for (pairs, said) in [
        ([("a", "1"), ("a", "2")], "`tags` have the key \"a\" twice; give it once"),
        ([("a", "1"), ("", "2")], "`tags` have an empty key; give each a name"),
        ([("a", "1"), ("b\n", "2")], "`tags` have a control character in \"b\\n\" = \"2\"; leave it out"),
        ([("a", "1"), ("b", "\u{202e}2")], "control character in \"b\" = \"\\u{202e}2\""),
    ] {
        let error = Tags::new(pairs).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    assert!(Tags::default().with("", "1").is_err() && Tags::default().with("a", "\0").is_err());
    let heard = Tags::of(&BTreeMap::from([("", "1"), ("b", "\n")])).unwrap();
    assert_eq!(Tags::from_encoded(heard.encoded()), Ok(heard.clone()));
    assert_eq!(heard.to_string(), "=1,b=\\n");
}

#[test]
fn the_network_must_send_keys_once_each_and_ascending() {
    for (bytes, why) in [
        ("02 01 61 01 31 01 61 01 32", "a key twice"),
        ("02 01 62 01 31 01 61 01 32", "descending keys"),
        ("00", "an empty map that takes a byte"),
        ("01 01 61 01 31 00", "something behind the pairs"),
        ("02 01 61 01 31", "a pair missing"),
        ("01 01 61", "a value missing"),
        ("01 01 ff 00", "no UTF-8"),
        ("01 7f 61 00", "a key beyond the end"),
        ("ff ff ff ff ff ff ff ff ff 01", "a count beyond the end"),
        ("81 00 01 61 01 31", "a count that is not the shortest"),
        ("01 81 00 61 01 31", "a key's length that is not the shortest"),
        ("01 01 61 81 00 31", "a value's length that is not the shortest"),
    ] {
        assert_eq!(Tags::from_encoded(&hex(bytes)), Err(TagsError), "{why}");
    }
    assert_eq!(pairs(&Tags::from_encoded(&hex("02 00 01 31 01 61 00")).unwrap()), [("", "1"), ("a", "")]);
    assert_eq!(Tags::from_encoded(&[]), Ok(Tags::default()));
}

#[test]
fn tags_take_at_most_512_bytes_encoded() {
    // Count, the key and its length, and two bytes for the value's.
    let value = |encoded: usize| "x".repeat(encoded - 5);
    let longest = Tags::new([("k", value(512))]).unwrap();
    assert_eq!(longest.encoded().len(), 512);
    assert_eq!(Tags::from_encoded(longest.encoded()), Ok(longest));
    let long_key = Tags::new([("k".repeat(200), "v")]).unwrap();
    assert_eq!(Tags::from_encoded(long_key.encoded()), Ok(long_key));
    assert!(matches!(Tags::new([("k", value(513))]), Err(Error::TooLarge { size: 513, limit: 512, .. })));
    let mut too_long = hex("01 01 6b fc 03");
    too_long.extend(value(513).bytes());
    assert_eq!(Tags::from_encoded(&too_long), Err(TagsError));
}

#[test]
fn tags_are_shown_as_pairs_and_cannot_forge_a_line_in_a_log() {
    let show = |tags: &[(&str, &str)]| Tags::of(&tags.iter().copied().collect()).unwrap().to_string();
    assert_eq!(show(&[]), "");
    assert_eq!(show(&[("role", "db")]), "role=db");
    assert_eq!(show(&[("zone", "b"), ("role", "db")]), "role=db,zone=b");
    assert_eq!(show(&[("n\u{f6}", "\u{1f980}\\\"")]), "n\u{f6}=\u{1f980}\\\"");
    assert_eq!(show(&[("a\nb", "\x1b[31m")]), "a\\nb=\\u{1b}[31m");
    let tags = Tags::of(&BTreeMap::from([("a", "1\n")])).unwrap();
    assert_eq!(format!("{tags:?}"), r#"{"a": "1\n"}"#);
}
