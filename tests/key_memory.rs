//! Once a key is off every keyring, no copy of it remains in the memory of the process.
//!
//! The tests search all of their own memory. They search for masked keys, so that the search itself holds no key in clear.

#![cfg(feature = "encryption")]
#![allow(clippy::disallowed_methods, reason = "tests wait in real time, with deadlines")]

mod support;

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    sync::Mutex,
};

use support::await_that;
use syncswim::{Gossip, GossipConfig, Key, Keyring};
use zeroize::Zeroize;

const MASK: u8 = 0xa5;
const CHUNK: usize = 1 << 16;

/// One search at a time: a search reads the buffer of another one as well.
static SEARCHING: Mutex<()> = Mutex::new(());

/// A key, masked.
struct Needle([u8; 32]);

impl Needle {
    fn of(key: &Key) -> Self {
        let mut masked = [0; 32];
        for (masked, byte) in masked.iter_mut().zip(key.as_bytes()) {
            *masked = byte ^ MASK;
        }
        Self(masked)
    }

    fn is_at(&self, bytes: &[u8]) -> bool {
        bytes.iter().zip(&self.0).all(|(byte, masked)| byte ^ MASK == *masked)
    }

    /// The number of copies of the key in the memory of this process.
    fn count(&self) -> usize {
        let mut memory = File::open("/proc/self/mem").unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut buffer = vec![0; CHUNK];
        let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + CHUNK as u64;
        let mut found = 0;
        for (start, end) in maps.lines().filter_map(writable) {
            let mut at = start;
            while at + 32 <= end {
                let len = CHUNK.min((end - at) as usize);
                let read = memory.seek(SeekFrom::Start(at)).and_then(|_| memory.read(&mut buffer[..len]));
                let len = read.unwrap_or(0);
                let hits = (0..len.saturating_sub(31)).filter(|i| self.is_at(&buffer[*i..*i + 32]));
                found += hits.filter(|i| !own.contains(&(at + *i as u64))).count();
                buffer.zeroize();
                buffer.resize(CHUNK, 0);
                // The next chunk begins with the bytes of a key that this chunk may have cut.
                at += if len < CHUNK { CHUNK as u64 } else { CHUNK as u64 - 31 };
            }
        }
        found
    }
}

/// Start and end of a mapping that can be written to.
fn writable(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_whitespace();
    let (range, rights) = (fields.next()?, fields.next()?);
    let (start, end) = range.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    if rights.starts_with("rw") { Some((address(start)?, address(end)?)) } else { None }
}

/// Whether this system shows a process its memory.
fn can_search() -> bool {
    let can = cfg!(target_os = "linux") && File::open("/proc/self/mem").is_ok();
    if !can {
        println!("skipped: this system does not show a process its own memory");
    }
    can
}

fn cluster(key: &Key) -> (Vec<Gossip>, Vec<Keyring>) {
    let (mut nodes, mut rings) = (Vec::<Gossip>::new(), Vec::new());
    for i in 0..3 {
        let ring = Keyring::new(key.clone());
        let mut config = GossipConfig::local(format!("n{i}")).bind(([127, 0, 0, 1], 0)).keyring(&ring);
        config.seeds.extend(nodes.first().map(|first| first.local().addr.to_string()));
        nodes.push(Gossip::start(config).unwrap());
        rings.push(ring);
    }
    await_that("they see each other", || nodes.iter().all(|node| node.members().live().count() == 3));
    (nodes, rings)
}

#[test]
fn a_key_that_was_rotated_away_is_nowhere_in_memory() {
    if !can_search() {
        return;
    }
    let _alone = SEARCHING.lock().unwrap();
    let [old, new] = [Key::generate().unwrap(), Key::generate().unwrap()];
    let [was, is] = [&old, &new].map(Needle::of);
    let (nodes, rings) = cluster(&old);
    let report = nodes[1].rotate_key(&new).unwrap();
    assert!(report.is_complete(), "{report:?}");
    drop((old, new));
    // A packet that is being sealed uses a copy of the key; afterwards there is none.
    nodes.into_iter().for_each(|node| node.shutdown().unwrap());
    assert_eq!(was.count(), 0, "the old key");
    assert_eq!(is.count(), rings.len(), "the new key is where each ring holds it, and in no buffer");
    drop(rings);
    assert_eq!(is.count(), 0, "a ring that is dropped");
}

#[test]
fn a_key_that_could_not_be_delivered_is_in_no_buffer() {
    if !can_search() {
        return;
    }
    let _alone = SEARCHING.lock().unwrap();
    let [old, new] = [Key::generate().unwrap(), Key::generate().unwrap()];
    let is = Needle::of(&new);
    let (nodes, rings) = cluster(&old);
    // The member is still listed, but does not answer.
    nodes[2].abort().unwrap();
    let report = nodes[0].rotate_key(&new).unwrap();
    assert!(report.nodes.iter().any(|node| node.problem.is_some()), "{report:?}");
    drop(new);
    nodes[..2].iter().for_each(|node| node.shutdown().unwrap());
    let held = rings.iter().filter(|ring| ring.fingerprints().len() == 2).count();
    assert!(held >= 1);
    assert_eq!(is.count(), held);
}

#[test]
fn however_rings_grow_and_shrink_a_key_is_in_one_place() {
    if !can_search() {
        return;
    }
    let _alone = SEARCHING.lock().unwrap();
    let keys: Vec<Key> = (0..8).map(|_| Key::generate().unwrap()).collect();
    let needles: Vec<Needle> = keys.iter().map(Needle::of).collect();
    let ring = Keyring::new(keys[0].clone());
    keys[1..].iter().for_each(|key| ring.install(key.clone()).unwrap());
    ring.use_key(keys[3].fingerprint()).unwrap();
    ring.remove(keys[0].fingerprint()).unwrap();
    ring.use_key(keys[7].fingerprint()).unwrap();
    assert_eq!(needles.iter().map(Needle::count).collect::<Vec<_>>(), [1; 8], "the caller has them all");
    let kept = ring.fingerprints()[0];
    drop(keys);
    ring.fingerprints().into_iter().skip(1).for_each(|other| ring.remove(other).unwrap());
    assert_eq!(ring.fingerprints(), [kept]);
    let left: Vec<usize> = needles.iter().map(Needle::count).collect();
    assert_eq!(left, [0, 0, 0, 0, 0, 0, 0, 1], "but the primary one");
}

#[test]
fn a_key_that_is_read_from_hex_is_in_one_place() {
    if !can_search() {
        return;
    }
    let _alone = SEARCHING.lock().unwrap();
    let text: String = std::iter::repeat_with(|| format!("{:02x}", fastrand::u8(..))).take(32).collect();
    let key: Key = text.parse().unwrap();
    let needle = Needle::of(&key);
    assert_eq!(needle.count(), 1);
    assert!(format!("{text}0").parse::<Key>().is_err() && text[1..].parse::<Key>().is_err());
    assert_eq!(needle.count(), 1, "what could not be read is gone");
    let again = Key::from(key.as_bytes());
    assert!(again == key);
    assert_eq!(needle.count(), 2);
    drop((key, again));
    assert_eq!(needle.count(), 0);
}
