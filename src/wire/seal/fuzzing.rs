//! The fuzzer's access to sealing, built for it alone (`fuzz/fuzz_targets/sealed.rs`).

use super::{
    clock::Reading,
    datagram::{AssociatedData, Opener, Sealer},
    stream::{self, Greeting},
};
use crate::{
    keys::{key::Key, keyring::Keyring},
    wire::{frame, hash},
};

const NAME: &str = "default";
const NOW: u64 = 1_700_000_000_000;
const AT: Reading = Reading { wall: NOW, steady: 0 };
const MEMBER: u32 = 7;

fn damage(bytes: &mut [u8], flips: &[(u16, u8)]) {
    for (at, flip) in flips {
        let len = bytes.len().max(1);
        bytes.iter_mut().skip(usize::from(*at) % len).take(1).for_each(|byte| *byte ^= flip);
    }
}

/// A packet that is sealed, perhaps damaged, and opened, as a datagram and as the frame of a stream, comes out as it
/// was or not at all; and noise never comes through.
///
/// # Panics
/// If that is not so.
pub fn sealed(packet: &[u8], flips: &[(u16, u8)], noise: &[u8]) {
    let (key, mark) = (Key::from([7; 32]), hash::cluster(NAME));
    let (ring, cluster) = (Keyring::new(key.clone()), AssociatedData::new(NAME, mark));
    let mut opener = Opener::new(cluster.clone(), NOW - 1);
    let mut genuine = Vec::new();
    Sealer::new([1; 16], cluster).seal(&key, NOW, MEMBER, packet, &mut genuine);
    let mut bytes = genuine.clone();
    damage(&mut bytes, flips);
    let damaged = bytes != genuine;
    let opened = opener.open(&ring, AT, MEMBER, &mut bytes).ok();
    assert_eq!(opened, Some(packet).filter(|_| !damaged));
    // Under a key that nothing was sealed with: of the other, the fuzzer has seen datagrams.
    let other = Keyring::new(Key::from([8; 32]));
    assert!(opener.open(&other, AT, MEMBER, &mut noise.to_vec()).is_err(), "noise");
    if !damaged {
        assert!(opener.open(&ring, AT, MEMBER, &mut genuine).is_err(), "a replay");
    }

    let ours = Greeting::new(mark, &key, [2; 16], None);
    let mut theirs = Greeting::new(mark, &key, [3; 16], None).bytes().to_vec();
    let _ = noise.first_chunk().map(|prefix| frame::length(*prefix, super::TAG));
    let _ = stream::asked_key(noise, mark, &ring).is_some();
    let called = Greeting::new(mark, &key, [3; 16], None);
    let mut called = called.agree(key.clone(), NAME, ours.bytes(), false).expect("they match");
    damage(&mut theirs, flips);
    let greeted = theirs == Greeting::new(mark, &key, [3; 16], None).bytes();
    let Some(mut caller) = ours.agree(key, NAME, &theirs, true) else { return };
    let mut bytes = packet.to_vec();
    caller.seal(&mut bytes);
    let genuine = bytes.clone();
    damage(&mut bytes, flips);
    let intact = greeted && bytes == genuine;
    assert_eq!(called.open(&mut bytes), intact);
}
