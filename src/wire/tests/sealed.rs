//! Sealed datagrams and streams: their bytes, and that nothing else is taken for one.

use proptest::prelude::*;

use crate::{
    Key, Keyring,
    wire::{
        hash,
        seal::{
            clock::Reading,
            datagram::{AssociatedData, OVERHEAD, Opener, Refusal, Sealer},
            stream::{Greeting, StreamSeal, asked_key},
        },
    },
};

const NOW: u64 = 1_700_000_000_000;
const HOUR: u64 = 3_600_000;
/// The member that datagrams are for.
const US: u32 = 0x5eed_1234;
const PACKET: &[u8] = b"a packet of the protocol";

fn key(byte: u8) -> Key {
    Key::from([byte; 32])
}

fn cluster(name: &str) -> AssociatedData {
    AssociatedData::new(name, hash::cluster(name))
}

fn sealed(key: &Key, name: &str, time: u64, count: u64) -> Vec<u8> {
    let (mut sealer, mut bytes) = (Sealer::new([7; 16], cluster(name)), Vec::new());
    (0..count).for_each(|_| sealer.seal(key, time, US, PACKET, &mut bytes));
    bytes
}

fn opener() -> Opener {
    Opener::new(cluster("default"), NOW - 60_000)
}

/// With both clocks right.
fn open(opener: &mut Opener, ring: &Keyring, now: u64, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    open_at(opener, ring, Reading { wall: now, steady: now - NOW + HOUR }, bytes)
}

fn open_at(opener: &mut Opener, ring: &Keyring, at: Reading, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    opener.open(ring, at, US, &mut bytes.to_vec()).map(<[u8]>::to_vec)
}

#[test]
fn the_bytes_of_a_sealed_datagram_are_fixed() {
    let bytes = sealed(&key(1), "default", NOW, 1);
    assert_eq!(bytes.len(), PACKET.len() + OVERHEAD);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_DATAGRAM);
}

#[test]
fn the_bytes_of_a_sealed_stream_are_fixed() {
    let [mut ours, _] = stream_pair();
    let mut frame = PACKET.to_vec();
    ours.seal(&mut frame);
    let greeting = greeting(hash::cluster("default"), &key(1), [3; 16]);
    let hex: String = greeting.bytes().iter().chain(&frame).map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_STREAM);
}

/// As libsodium makes them: header, nonce, time and packet, tag.
const GOLDEN_DATAGRAM: &str = "042f8ad442117d0ebb0707070707070707070707070707070701000000000000\
    00557f9a138a17f22a3c897f7f125476a08d2341becd9eae9b6858e96af6e97a\
    6dbb19e3fca30c203bc6253acde2721a51";
const GOLDEN_STREAM: &str = "04ffffff2f8ad442117d0ebb0303030303030303030303030303030327af9d15\
    e4a6c7c25c42ff3c08a9d010a2245f6cd825f7f9dc647dcef99b740a54224b8e\
    18173270";

#[test]
fn a_sealed_datagram_is_opened_once() {
    let (ring, mut opener) = (Keyring::new(key(1)), opener());
    for count in [1, 2, 5, 4] {
        let bytes = sealed(&key(1), "default", NOW, count);
        assert_eq!(open(&mut opener, &ring, NOW, &bytes), Ok(PACKET.to_vec()));
        assert_eq!(open(&mut opener, &ring, NOW, &bytes), Err(Refusal::Replayed));
    }
}

#[test]
fn another_key_or_cluster_or_time_is_refused() {
    let (ring, mut opener) = (Keyring::new(key(1)), opener());
    let mut refusal = |bytes: Vec<u8>| open(&mut opener, &ring, NOW, &bytes).unwrap_err();
    assert_eq!(refusal(sealed(&key(2), "default", NOW, 1)), Refusal::UnknownKey);
    assert_eq!(refusal(sealed(&key(1), "other", NOW, 1)), Refusal::Foreign);
    assert_eq!(refusal(sealed(&key(1), "default", NOW - 30_001, 1)), Refusal::Stale(30_001));
    assert_eq!(refusal(sealed(&key(1), "default", NOW + 30_001, 1)), Refusal::Stale(30_001));
    assert_eq!(refusal(vec![2; OVERHEAD - 1]), Refusal::Foreign);
    // The same mark of a cluster of another name: the name itself is bound as well.
    let mut disguised = Sealer::new([7; 16], AssociatedData::new("other", hash::cluster("default")));
    let mut bytes = Vec::new();
    disguised.seal(&key(1), NOW, US, PACKET, &mut bytes);
    assert_eq!(refusal(bytes), Refusal::Forged);
}

#[test]
fn a_datagram_sent_before_this_node_started_is_refused_however_fresh() {
    let (ring, mut opener) = (Keyring::new(key(1)), Opener::new(cluster("default"), NOW));
    for (count, sent, age) in [(1, NOW - 1, 6), (2, NOW, 5)] {
        let recorded = sealed(&key(1), "default", sent, count);
        assert_eq!(open(&mut opener, &ring, NOW + 5, &recorded), Err(Refusal::Stale(age)));
    }
    let fresh = sealed(&key(1), "default", NOW + 1, 3);
    assert_eq!(open(&mut opener, &ring, NOW + 5, &fresh), Ok(PACKET.to_vec()));
}

#[test]
fn a_node_hears_others_after_its_clock_that_was_ahead_at_the_start_is_put_right() {
    let (ring, mut opener) = (Keyring::new(key(1)), Opener::new(cluster("default"), NOW + 3_600_000));
    let mut heard =
        |sent, now, count| open(&mut opener, &ring, now, &sealed(&key(1), "default", sent, count)).map(drop);
    assert_eq!(heard(NOW, NOW, 1), Err(Refusal::Stale(0)), "the moment of the start is this one now");
    assert_eq!(heard(NOW + 1, NOW + 1, 2), Ok(()));
    assert_eq!(heard(NOW - 1, NOW + 5, 3), Err(Refusal::Stale(6)));
}

/// Seals with a session of its own, for whom one likes.
fn sealed_for(recipient: u32, session: u8, time: u64, count: u64) -> Vec<u8> {
    let (mut sealer, mut bytes) = (Sealer::new([session; 16], cluster("default")), Vec::new());
    (0..count).for_each(|_| sealer.seal(&key(1), time, recipient, PACKET, &mut bytes));
    bytes
}

#[test]
fn a_datagram_that_was_sealed_for_another_member_is_forged() {
    let (ring, mut opener) = (Keyring::new(key(1)), opener());
    let withheld = sealed_for(hash::member("b"), 7, NOW, 1);
    let mut open_as = |name, bytes: &[u8]| {
        let at = Reading { wall: NOW, steady: 0 };
        opener.open(&ring, at, hash::member(name), &mut bytes.to_vec()).map(<[u8]>::to_vec)
    };
    assert_eq!(open_as("a", &withheld), Err(Refusal::Forged), "passed on to somebody else");
    assert_eq!(open_as("b", &withheld), Ok(PACKET.to_vec()));
    assert_eq!(withheld.len(), PACKET.len() + OVERHEAD, "the mark is on no wire");
}

/// The clocks after so much time, with the wall clock off by so much.
fn after(passed: u64, off: i64) -> Reading {
    Reading { wall: (NOW + passed).saturating_add_signed(off), steady: passed }
}

#[test]
fn a_clock_that_is_set_back_lets_nothing_recorded_in() {
    let ring = Keyring::new(key(1));
    let mut opener = Opener::new(cluster("default"), NOW - 1);
    let recorded = sealed_for(US, 7, NOW + 10, 1);
    assert!(open_at(&mut opener, &ring, after(10, 0), &recorded).is_ok());
    // Others are heard until the sender of the recording is forgotten.
    for minute in 1..=5 {
        let other = sealed_for(US, 8, NOW + minute * 60_000, minute);
        assert!(open_at(&mut opener, &ring, after(minute * 60_000, 0), &other).is_ok());
    }
    // Recorded, and kept from us.
    let withheld = sealed_for(US, 9, NOW + 20, 1);
    let five = 5 * 60_000;
    for back in [0, 60_000, 270_000, 299_990, 300_000, 330_000, 3_600_000] {
        for bytes in [&recorded, &withheld] {
            let refused = open_at(&mut opener, &ring, after(five, -back), bytes).unwrap_err();
            assert!(matches!(refused, Refusal::Stale(_)), "{back} ms back: {refused:?}");
        }
    }
}

#[test]
fn a_node_whose_clock_is_set_back_hears_and_is_heard() {
    let ring = Keyring::new(key(1));
    let mut opener = Opener::new(cluster("default"), NOW - 1);
    assert!(open_at(&mut opener, &ring, after(10, 0), &sealed_for(US, 7, NOW + 10, 1)).is_ok());
    for (count, passed) in (2..).zip([20, 60_000, HOUR, 10 * HOUR]) {
        let at = after(passed, -(HOUR as i64));
        assert!(opener.now(at).abs_diff(NOW + passed) < 20_000, "what it sends is fresh to the others");
        let bytes = sealed_for(US, 7, NOW + passed, count);
        assert_eq!(open_at(&mut opener, &ring, at, &bytes), Ok(PACKET.to_vec()), "after {passed} ms");
    }
}

#[test]
fn a_clock_that_is_set_forward_is_deaf_until_it_is_put_right_and_no_longer() {
    let ring = Keyring::new(key(1));
    let mut opener = Opener::new(cluster("default"), NOW - 1);
    let hour = HOUR as i64;
    let mut heard = |passed, off, count| {
        open_at(&mut opener, &ring, after(passed, off), &sealed_for(US, 7, NOW + passed, count)).map(drop)
    };
    assert_eq!(heard(10, 0, 1), Ok(()));
    assert_eq!(heard(20, hour, 2), Err(Refusal::Stale(HOUR)));
    assert_eq!(heard(30, 0, 3), Ok(()));
    // A sleep of an hour, which the steady clock does not count: that step is right.
    let woken = Reading { wall: NOW + HOUR, steady: 40 };
    assert!(open_at(&mut opener, &ring, woken, &sealed_for(US, 7, NOW + HOUR, 4)).is_ok());
}

#[test]
fn a_restarted_node_refuses_earlier_datagrams_even_if_its_clock_is_then_set_back() {
    let ring = Keyring::new(key(1));
    let mut opener = Opener::new(cluster("default"), NOW);
    let recorded = sealed_for(US, 7, NOW - 5_000, 1);
    assert!(open_at(&mut opener, &ring, after(100, 0), &recorded).is_err());
    // One datagram shows that the clock was right.
    assert!(open_at(&mut opener, &ring, after(100, 0), &sealed_for(US, 8, NOW + 100, 1)).is_ok());
    for back in [5_000, 5_100, 20_000] {
        assert!(open_at(&mut opener, &ring, after(200, -back), &recorded).is_err(), "{back} ms back");
    }
}

#[test]
fn a_withheld_datagram_is_taken_once_within_its_time_and_never_after() {
    let ring = Keyring::new(key(1));
    for (late, taken) in [(0, true), (30_000, true), (30_001, false)] {
        let mut opener = Opener::new(cluster("default"), NOW - 1);
        let withheld = sealed_for(US, 7, NOW, 1);
        assert_eq!(open_at(&mut opener, &ring, after(late, 0), &withheld).is_ok(), taken, "{late} ms late");
        assert!(open_at(&mut opener, &ring, after(late, 0), &withheld).is_err(), "again");
    }
}

#[test]
fn every_key_of_the_ring_opens_and_the_primary_one_seals() {
    let ring = Keyring::new(key(1));
    ring.install(key(2)).unwrap();
    let mut opener = opener();
    assert!(open(&mut opener, &ring, NOW, &sealed(&key(2), "default", NOW, 1)).is_ok());
    assert!(open(&mut opener, &ring, NOW, &sealed(&key(1), "default", NOW, 2)).is_ok());
    ring.use_key(key(2).fingerprint()).unwrap();
    ring.remove(key(1).fingerprint()).unwrap();
    assert_eq!(open(&mut opener, &ring, NOW, &sealed(&key(1), "default", NOW, 3)), Err(Refusal::UnknownKey));
}

fn greeting(cluster: u32, key: &Key, session: [u8; 16]) -> Greeting {
    Greeting::new(cluster, key, session, None)
}

/// Both ends of a stream.
fn stream_pair() -> [StreamSeal; 2] {
    [true, false].map(|we_opened| stream_end(we_opened, 4))
}

fn stream_end(we_opened: bool, answered: u8) -> StreamSeal {
    let greeting = |byte| greeting(hash::cluster("default"), &key(1), [byte; 16]);
    let (ours, theirs) = if we_opened { (3, answered) } else { (answered, 3) };
    greeting(ours).agree(key(1), "default", greeting(theirs).bytes(), we_opened).expect("they match")
}

#[test]
fn frames_come_through_in_order_and_no_other_way() {
    let frame = |seal: &mut StreamSeal| {
        let mut frame = PACKET.to_vec();
        seal.seal(&mut frame);
        frame
    };
    let [mut a, mut b] = stream_pair();
    for _ in 0..3 {
        let mut forth = frame(&mut a);
        assert!(b.open(&mut forth));
        assert_eq!(forth, PACKET);
        assert!(a.open(&mut frame(&mut b)));
    }
    let (first, mut second) = (frame(&mut a), frame(&mut a));
    assert!(!b.open(&mut second), "one was left out");
    let [mut a, mut b] = stream_pair();
    let recorded = frame(&mut a);
    assert!(b.open(&mut recorded.clone()));
    assert!(!b.open(&mut recorded.clone()), "a frame again");
    assert!(!a.open(&mut recorded.clone()), "its own frame, reflected");
    assert!(!b.open(&mut first.clone()));
    // The same stream, recorded: but whoever is asked greets differently each time.
    let mut later = stream_end(false, 5);
    assert!(!later.open(&mut recorded.clone()), "a recorded stream");
}

#[test]
fn a_greeting_names_cluster_and_key() {
    let (mark, ring) = (hash::cluster("default"), Keyring::new(key(1)));
    let asked = |cluster, byte| asked_key(greeting(cluster, &key(byte), [0; 16]).bytes(), mark, &ring);
    assert_eq!(asked(mark, 1), Some(key(1)));
    assert_eq!(asked(mark, 2), None);
    assert_eq!(asked(mark + 1, 1), None);
    let (ours, theirs) = (greeting(mark, &key(1), [0; 16]), greeting(mark, &key(2), [1; 16]));
    assert!(ours.agree(key(1), "default", theirs.bytes(), true).is_none(), "answered with another key");
}

proptest! {
    #[test]
    fn no_bit_can_be_changed_and_no_byte_be_missing(at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<bool>()) {
        let (ring, mut opener) = (Keyring::new(key(1)), opener());
        let mut bytes = sealed(&key(1), "default", NOW, 1);
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1_u8 << bit }
        prop_assert!(open(&mut opener, &ring, NOW, &bytes).is_err());
        prop_assert!(open(&mut opener, &ring, NOW, &sealed(&key(1), "default", NOW, 1)).is_ok());
    }

    #[test]
    fn any_bytes_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let ring = Keyring::new(key(1));
        if let Some(version) = bytes.first_mut() { *version = 2 }
        prop_assert!(open(&mut opener(), &ring, NOW, &bytes).is_err());
    }
}
