//! The bytes: what is read of a file that is damaged, of another version, or anything.

use std::io;

use proptest::prelude::*;

use super::{
    super::{
        Files,
        record::{Entry, HEADER, Record, append, header},
        state::State,
    },
    addr, head, own, parse, read,
};
use crate::{
    sim::disk::ModelDisk,
    wire::{data::WINDOW, hash},
};

/// A file with a record of each kind, and of one that nobody knows; and the states that its beginnings stand for.
fn file() -> (Vec<u8>, Vec<State>) {
    let entry =
        |name, addr, live| Entry { name, addr, epoch: 1_700_000_000_000, live, since: 1_700_000_000_001 };
    let v6 = "[2001:db8::1]:7946".parse().unwrap();
    let records = [
        Some(Record::Life(1_700_000_000_000)),
        Some(Record::Member(entry("a", addr(1), true))),
        Some(Record::Member(entry("node-b", v6, false))),
        None,
        Some(head("a", 1_700_000_000_000, 1)),
        Some(head("node-b", 1_600_000_000_000, 9)),
        Some(head("a", 1_700_000_000_000, 700)),
        Some(Record::Member(entry("a", addr(2), false))),
        Some(Record::Gone("node-b")),
        Some(Record::Forgotten("node-b")),
        Some(head("a", 1_800_000_000_000, 2)),
        Some(head("a", 1_900_000_000_000, 3)),
        Some(Record::Left),
        Some(Record::Life(1_800_000_000_000)),
    ];
    let (mut file, mut state) = (own().to_vec(), State::default());
    let mut states = vec![state.clone()];
    for record in &records {
        match record {
            Some(record) => record.write(&mut file),
            None => append(&mut file, 200, &"of a later version"),
        }
        record.iter().for_each(|record| state.apply(record));
        states.push(state.clone());
    }
    (file, states)
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_an_older_state() {
    let (file, states) = file();
    assert_eq!(parse(&file), states[states.len() - 1]);
    let mut reached = 0;
    for length in 0..file.len() {
        let state = parse(&file[..length]);
        let at = states[reached..].iter().position(|older| *older == state);
        reached += at.unwrap_or_else(|| panic!("{length} bytes are {state:?}"));
    }
    assert!(reached > 3);
}

#[test]
fn a_file_with_any_bit_flipped_is_an_older_state() {
    let (mut file, states) = file();
    for bit in 0..file.len() * 8 {
        file[bit / 8] ^= 1 << (bit % 8);
        let state = parse(&file);
        assert!(states.contains(&state), "bit {bit}: {state:?}");
        file[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn tails_of_zeros_and_tails_that_are_doubled_do_no_harm() {
    let (file, states) = file();
    let last = &states[states.len() - 1];
    for length in [1, 6, 7, 512, 70_000] {
        let tail = [&file[..], &vec![0; length]].concat();
        assert_eq!(State::parse(&tail, &own()).unwrap(), (last.clone(), length));
        assert_eq!(State::parse(&vec![0; length], &own()).unwrap(), (State::default(), length));
    }
    assert_eq!(parse(&[&file[..], &file[HEADER..]].concat()), *last);
}

#[test]
fn a_body_may_have_more_behind_it() {
    let mut file = own().to_vec();
    append(&mut file, 1, &(7_u64, "of a later version"));
    append(&mut file, 3, &("nobody", 1_u8));
    append(&mut file, 4, &"why");
    assert_eq!(parse(&file), State { epoch: 7, left: true, ..State::default() });
}

#[test]
fn the_bytes_are_those_of_the_documents() {
    let mut file = own().to_vec();
    Record::Life(300).write(&mut file);
    let entry = Entry { name: "b", addr: addr(1), epoch: 1, live: true, since: 2 };
    Record::Member(entry).write(&mut file);
    Record::Gone("b").write(&mut file);
    Record::Left.write(&mut file);
    head("b", 1, 300).write(&mut file);
    Record::Forgotten("b").write(&mut file);
    let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

/// The header; a life of epoch 300; a member b; b is gone; a leave; of b's life 1 all up to 300, 302 and 304; b is forgotten.
const GOLDEN: &str = concat!(
    "7377696d7374610101c2166f6745f33a423e95a8",
    "03003375fc6c01ac02",
    "0d00f6e39b9b020162000a0000018a3e010102",
    "0300a1026339030162",
    "01003c77eef904",
    "0800ae1dde0b05016201ac020105",
    "03004ac0a83f060162",
);

#[test]
fn the_file_of_another_node_cluster_or_version_is_refused_and_left_as_it_is() {
    let of = |cluster, node| {
        let mut file = header(hash::cluster(cluster), hash::member(node)).to_vec();
        Record::Life(9).write(&mut file);
        file
    };
    let mut later = own();
    later[7] = 2;
    let checksum = crc32fast::hash(&later[..16]).to_le_bytes();
    later[16..].copy_from_slice(&checksum);
    for (file, problem) in [
        (of("blue", "you"), "it is of another node"),
        (of("red", "me"), "it is of another cluster"),
        (later.to_vec(), "it is of another version of this library"),
        (b"# a configuration that somebody gave by mistake".to_vec(), "it is not a state file"),
        (b"short".to_vec(), "it is not a state file"),
    ] {
        let error = State::parse(&file, &own()).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::InvalidData, problem.to_owned()));
    }
}

#[test]
fn a_head_that_no_node_writes_is_skipped() {
    let mut file = own().to_vec();
    append(&mut file, 5, &("b", 1_u64, 2_u64, vec![0xff_u8; WINDOW + 1]));
    append(&mut file, 5, &"cut off");
    append(&mut file, 1, &7_u64);
    assert_eq!(parse(&file), State { epoch: 7, ..State::default() });
}

proptest! {
    /// Bytes never panic, whoever wrote them.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = State::parse(&bytes, &own());
        let behind = [&own()[..], &bytes].concat();
        prop_assert!(State::parse(&behind, &own()).is_ok());
        let mut disk = ModelDisk::default();
        let mut file = disk.create().unwrap();
        disk.write(&mut file, &behind).unwrap();
        disk.put_in_place().unwrap();
        let (mut state, _) = read(disk);
        state.finish().unwrap();
    }
}
