//! One map: changes of its owner, and readers that hear of them in any order, against a model.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::super::{
    Part,
    map::{MAX_KEYS, MAX_MAP, OwnerMap, Register},
};
use crate::{
    swim::Time,
    wire::data::{KeyValue, KeyValueDelta},
};

const NOW: Time = Time::from_origin(Duration::from_secs(1000));

fn values(map: &OwnerMap) -> BTreeMap<String, Vec<u8>> {
    map.iter().map(|(key, entry)| (key.to_string(), entry.value.to_vec())).collect()
}

/// Makes a reader hear the present change of a key.
fn tell(map: &OwnerMap, key: &str, reader: &mut OwnerMap) {
    let Some((key, register)) = map.register(key) else { return };
    let said = map.tell("a", key, register);
    if !reader.knows(key, said.version) && reader.has_room_for(1, said.key.len() + said.value.len()) {
        reader.insert(Arc::clone(key), Register::new(&said, NOW));
    }
}

/// The changes above a version, as in a sync.
fn changes_above(map: &OwnerMap, version: u64) -> Vec<(Arc<str>, Register)> {
    let (mut above, mut changes) = (version, Vec::new());
    while let Some((key, register)) = map.next_above(above) {
        above = register.entry.version;
        changes.push((Arc::clone(key), Register::new(&map.tell("a", key, register), NOW)));
    }
    changes
}

fn bring_up_to_date(from: &OwnerMap, reader: &mut OwnerMap) {
    let above = if reader.version < from.floor { 0 } else { reader.version };
    let OwnerMap { epoch, version, floor, .. } = *from;
    reader.apply(&KeyValueDelta { owner: "a", epoch, version, floor }, changes_above(from, above));
}

#[test]
fn changes_in_order_are_known_and_others_wait_for_the_gap() {
    let (mut owner, mut reader) = (OwnerMap::new(1), OwnerMap::new(1));
    for key in ["x", "y", "z"] {
        owner.change(key, Some(b"1"), 0, NOW);
    }
    tell(&owner, "x", &mut reader);
    tell(&owner, "z", &mut reader);
    assert_eq!((reader.version, reader.len()), (1, 2));
    tell(&owner, "y", &mut reader);
    assert_eq!(reader.version, 3);
    // The first of two changes of a key is no longer told, and no reader misses it.
    owner.change("x", Some(b"2"), 0, NOW);
    owner.change("x", Some(b"3"), 0, NOW);
    tell(&owner, "x", &mut reader);
    assert_eq!((reader.version, values(&reader)), (5, values(&owner)));
}

#[test]
fn changes_out_of_order_leave_room_for_the_whole_map() {
    let (mut owner, mut reader) = (OwnerMap::new(1), OwnerMap::new(1));
    for version in 5000.. {
        let (key, value) = (&*format!("forged {version}"), &[7; 500][..]);
        let said = KeyValue { owner: "a", epoch: 1, version, step: 1, stamp: 0, flags: 0, key, value };
        if !reader.has_room_for(1, key.len() + value.len()) {
            break;
        }
        reader.insert(key.into(), Register::new(&said, NOW));
    }
    owner.change("k", Some(&[1; 9000]), 0, NOW);
    bring_up_to_date(&owner, &mut reader);
    assert_eq!((reader.version, values(&reader), reader.audit()), (1, values(&owner), Ok(())));
}

#[test]
fn a_node_that_is_below_the_floor_forgets_the_map_first() {
    let (mut owner, mut reader) = (OwnerMap::new(1), OwnerMap::new(1));
    owner.change("kept", Some(b"1"), 0, NOW);
    owner.change("gone", Some(b"1"), 0, NOW);
    bring_up_to_date(&owner, &mut reader);
    owner.change("gone", None, 0, NOW);
    owner.forget_deleted(NOW + Duration::from_secs(9), Duration::from_secs(9));
    assert_eq!((owner.floor, owner.has_tombstones()), (3, false));
    owner.change("more", Some(b"1"), 0, NOW);
    tell(&owner, "more", &mut reader);
    assert_eq!(
        (reader.version, reader.len()),
        (2, 3),
        "the deletion is missing, and it is known that something is"
    );
    bring_up_to_date(&owner, &mut reader);
    assert_eq!((reader.version, reader.floor, values(&reader)), (4, 3, values(&owner)));
}

#[test]
fn above_a_forged_version_the_owner_is_believed_again() {
    let (mut owner, mut reader) = (OwnerMap::new(1), OwnerMap::new(1));
    owner.change("x", Some(b"true"), 0, NOW);
    let forged = 1 << 62;
    let mut liar = OwnerMap::new(1);
    liar.version = forged - 1;
    liar.change("x", Some(b"false"), 0, NOW);
    bring_up_to_date(&liar, &mut reader);
    assert_eq!(reader.version, forged);
    owner.jump_above(forged);
    owner.change("y", Some(b"true"), 0, NOW);
    bring_up_to_date(&owner, &mut reader);
    assert_eq!((reader.version, values(&reader)), (forged + 3, values(&owner)));
}

#[test]
fn an_owner_has_256_keys_and_64_kib_and_its_deletions_take_nothing_of_that() {
    let mut owner = OwnerMap::new(1);
    for i in 0..MAX_KEYS {
        assert_eq!(owner.excess(&i.to_string(), b""), None);
        owner.change(&i.to_string(), Some(b""), 0, NOW);
    }
    assert_eq!(owner.excess("one more", b""), Some((Part::Keys, 257)));
    assert_eq!(owner.excess("7", b"another value"), None);
    for i in 0..3 * MAX_KEYS {
        owner.change(&(i % MAX_KEYS).to_string(), None, 0, NOW);
        owner.change(&format!("another {}", i % MAX_KEYS), None, 0, NOW);
    }
    assert_eq!((owner.len(), owner.size().1), (0, 0));
    assert!(owner.floor > 0, "the oldest deletions are forgotten");
    assert_eq!(owner.excess("x", &[0; MAX_MAP - 1]), None);
    assert_eq!(owner.excess("x", &[0; MAX_MAP]), Some((Part::Map, MAX_MAP + 1)));
}

#[test]
fn a_change_out_of_order_is_not_replaced_by_the_one_that_it_replaced() {
    let mut owner = OwnerMap::new(1);
    let [mut behind, mut teller] = [OwnerMap::new(1), OwnerMap::new(1)];
    owner.change("x", Some(b"1"), 0, NOW);
    owner.change("x", None, 0, NOW);
    owner.forget_deleted(NOW, Duration::ZERO);
    owner.change("x", Some(b"2"), 0, NOW);
    bring_up_to_date(&owner, &mut teller);
    owner.change("x", Some(b"3"), 0, NOW);
    tell(&owner, "x", &mut behind);
    owner.change("y", Some(b"1"), 0, NOW);
    owner.change("x", Some(b"4"), 0, NOW);
    tell(&owner, "y", &mut teller);
    // The teller knows all changes up to y, except replaced ones.
    assert_eq!((teller.version, teller.get("x").unwrap().version), (5, 3));
    bring_up_to_date(&teller, &mut behind);
    assert_eq!((behind.version, behind.get("x").unwrap().version), (5, 4));
    bring_up_to_date(&owner, &mut behind);
    assert_eq!(values(&behind), values(&owner));
}

#[derive(Debug, Clone)]
enum Step {
    Set(u8, u8),
    Delete(u8),
    /// A reader hears of a key from the owner or from another reader.
    Tell(usize, u8, usize),
    /// One reader brings another up to date.
    Sync(usize, usize),
    /// One node forgets its deletions.
    Forget(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..6_u8, any::<u8>()).prop_map(|(key, value)| Step::Set(key, value)),
        2 => (0..6_u8).prop_map(Step::Delete),
        6 => (0..4_usize, 0..6_u8, 1..4_usize).prop_map(|(from, key, to)| Step::Tell(from, key, to)),
        2 => (0..4_usize, 1..4_usize).prop_map(|(from, to)| Step::Sync(from, to)),
        1 => (0..4_usize).prop_map(Step::Forget),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn readers_converge_to_the_owners_map_in_any_order_and_no_deleted_key_returns(steps in steps()) {
        let mut maps = vec![OwnerMap::new(1); 4];
        let mut model = BTreeMap::new();
        for step in steps {
            let before = maps.clone();
            match step {
                Step::Set(key, value) => {
                    maps[0].change(&key.to_string(), Some(&[value]), 0, NOW);
                    model.insert(key.to_string(), vec![value]);
                }
                Step::Delete(key) if maps[0].get(&key.to_string()).is_some() => {
                    maps[0].change(&key.to_string(), None, 0, NOW);
                    model.remove(&key.to_string());
                }
                Step::Delete(_) => {}
                Step::Tell(from, key, to) => tell(&before[from], &key.to_string(), &mut maps[to]),
                Step::Sync(from, to) => bring_up_to_date(&before[from], &mut maps[to]),
                Step::Forget(at) => maps[at].forget_deleted(NOW, Duration::ZERO),
            }
            prop_assert_eq!(values(&maps[0]), model.clone());
            for (map, old) in maps.iter().zip(&before) {
                prop_assert!(map.version >= old.version && map.floor >= old.floor && map.floor <= map.version);
                // A map has no key of a later version, and a reader with the latest version has the whole map.
                prop_assert!(map.version <= maps[0].version);
                if map.version == maps[0].version {
                    prop_assert_eq!(values(map), model.clone());
                }
                for (key, entry) in map.iter() {
                    let known = old.get(key).map_or(0, |old| old.version);
                    prop_assert!(entry.version >= known);
                    prop_assert!(known > 0 || entry.version > old.version);
                }
            }
        }
        let owner = maps[0].clone();
        for reader in &mut maps[1..] {
            bring_up_to_date(&owner, reader);
            prop_assert_eq!((reader.version, values(reader)), (owner.version, model.clone()));
        }
    }
}
