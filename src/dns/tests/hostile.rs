//! Answers that are malformed or made to harm: dropped at worst.

use proptest::prelude::*;

use super::super::message::{Kind, Refusal, answer, question};

const NAME: &str = "db.test";

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::A), Just(Kind::Aaaa), Just(Kind::Srv)]
}

/// The header of an answer, behind it our question, and then whatever comes.
fn framed(kind: Kind, counts: [u16; 3], rest: &[u8]) -> Vec<u8> {
    let mut bytes = question(7, NAME, kind, false).unwrap();
    bytes[2] |= 0x80;
    for (at, count) in [6, 8, 10].into_iter().zip(counts) {
        bytes[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
    bytes.extend_from_slice(rest);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..600), kind in kinds()) {
        let id = bytes.first_chunk().map_or(0, |two| u16::from_be_bytes(*two));
        let _ = answer(&bytes, id, NAME, kind);
    }

    #[test]
    fn any_records_behind_our_question_are_taken(
        rest in prop::collection::vec(any::<u8>(), 0..400),
        counts in any::<[u8; 3]>(),
        kind in kinds(),
    ) {
        let _ = answer(&framed(kind, counts.map(|count| u16::from(count % 8)), &rest), 7, NAME, kind);
    }

    /// Names that lead anywhere, types that we know, and lengths that lie.
    #[test]
    fn records_that_are_nearly_right_are_taken(
        records in prop::collection::vec(
            (0xc000u16..0xc080, prop_oneof![Just(1u16), Just(28), Just(33), Just(5), Just(41), any::<u16>()], any::<u8>(),
                prop::collection::vec(prop_oneof![4 => 0u8..4, 1 => 0xc0u8..=0xff, 1 => any::<u8>()], 0..24), -2i32..3),
            0..12,
        ),
        kind in kinds(),
    ) {
        let mut rest = Vec::new();
        for (owner, of, class, data, lie) in &records {
            rest.extend(owner.to_be_bytes());
            rest.extend(of.to_be_bytes());
            rest.extend([0, class % 5]);
            rest.extend([0, 0, 0, 60]);
            rest.extend(((data.len() as i32 + lie).max(0) as u16).to_be_bytes());
            rest.extend(data);
        }
        let split = records.len() as u16 / 2;
        let counts = [split, 0, records.len() as u16 - split];
        let _ = answer(&framed(kind, counts, &rest), 7, NAME, kind);
    }
}

#[test]
fn a_header_that_announces_more_than_can_be_there_sets_aside_no_memory() {
    for counts in [[u16::MAX; 3], [1, 0, 0], [0, 0, 40]] {
        assert_eq!(answer(&framed(Kind::A, counts, &[0; 10]), 7, NAME, Kind::A), Err(Refusal::Malformed));
    }
}

#[test]
fn a_name_that_points_at_itself_has_an_end() {
    // Behind the question: an owner that is a pointer to itself, then one to the other.
    for at in 0..40u8 {
        let rest = [0xc0, at, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4];
        let _ = answer(&framed(Kind::A, [1, 0, 0], &rest), 7, NAME, Kind::A);
    }
}

#[test]
fn names_that_cannot_be_asked_for_are_refused() {
    for name in ["a..b", &"x".repeat(64), &[&*"x".repeat(60); 5].join(".")] {
        assert!(question(1, name, Kind::A, true).is_none(), "{name}");
    }
}
