//! What is written is what is read, for every kind of message.

use proptest::prelude::*;

use super::{
    super::message::{is_name, is_reachable},
    *,
};

/// 1 to 128 bytes of any script, without control characters.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9.-]{1,128}", "\\PC{1,32}"].prop_filter("it may be a name", |name| is_name(name))
}

fn addr() -> impl Strategy<Value = SocketAddr> {
    let v4 = (any::<[u8; 4]>(), 1_u16..).prop_map(SocketAddr::from);
    let v6 = (any::<[u16; 8]>(), 1_u16..).prop_map(SocketAddr::from);
    prop_oneof![v4, v6].prop_filter("somebody could send to it", |addr| is_reachable(*addr))
}

/// Small and large alike, so that encodings of every length occur.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(n, shift)| n >> shift)
}

proptest! {
    #[test]
    fn every_kind_of_message_survives(
        name in name(),
        (epoch, incarnation, digest, age_secs) in (number(), number(), any::<u64>(), number()),
        (seq, window_ms, left) in (any::<u32>(), any::<u32>(), any::<bool>()),
        addr in addr(),
        tags in prop::collection::vec(any::<u8>(), 0..=512),
        accusers in prop::collection::vec(self::name(), 0..=8),
        removed in prop::option::of((self::name(), any::<bool>())),
        removals in any::<u64>(),
    ) {
        let (name, tags) = (name.as_str(), tags.as_slice());
        let accusers = accusers.iter().map(String::as_str).collect();
        let removed = removed.as_ref().map(|(by, reap)| Removed { by, reap: *reap });
        let messages = every_kind(Fields {
            name, epoch, incarnation, addr, tags, accusers, seq, digest, window_ms, left, age_secs, removed, removals,
        });
        let bytes = packet_of(&messages);
        let expected: Vec<_> = messages.into_iter().map(|message| Ok(Some(message))).collect();
        prop_assert_eq!(read(&bytes), expected);
    }

    #[test]
    fn a_decoded_message_borrows_from_the_packet(name in name(), accuser in self::name()) {
        // With no memory of its own (it is `Copy`) and its parts in the packet, decoding allocates nothing.
        fn copies<T: Copy>(_: T) {}
        let accusers = [accuser.as_str()].into_iter().collect();
        let bytes = packet_of(&every_kind(Fields { name: &name, accusers, ..fields() }));
        let lies_in = |part: &[u8]| part.is_empty() || bytes.as_ptr_range().contains(&part.as_ptr());
        for message in read(&bytes) {
            copies(message);
            match message.unwrap().unwrap() {
                Message::Ping(m) => prop_assert!(lies_in(m.target.as_bytes())),
                Message::PingReq(m) => prop_assert!(lies_in(m.target.as_bytes())),
                Message::Alive(m) => prop_assert!(lies_in(m.name.as_bytes()) && lies_in(m.tags)),
                Message::Suspect(m) => {
                    prop_assert!(lies_in(m.name.as_bytes()));
                    prop_assert!(m.accusers.iter().all(|accuser| lies_in(accuser.as_bytes())));
                }
                Message::Failed(m) => prop_assert!(lies_in(m.name.as_bytes())),
                Message::Left(m) => prop_assert!(lies_in(m.name.as_bytes())),
                Message::Departed(m) => prop_assert!(lies_in(m.name.as_bytes())),
                Message::Hello(m) => prop_assert!(lies_in(m.name.as_bytes())),
                Message::StreamPing(m) => prop_assert!(lies_in(m.target.as_bytes())),
                Message::StreamAck(m) => prop_assert!(lies_in(m.name.as_bytes())),
                Message::BucketDigests(m) => prop_assert!(lies_in(m.digests)),
                Message::KeyChange(m) => prop_assert!(lies_in(m.key)),
                Message::KeyAnswer(m) => prop_assert!(lies_in(m.problem.as_bytes())),
                Message::Ack(_) | Message::Nack(_) | Message::Retry(_) | Message::NewToken(_) | Message::Carried(_) | Message::Seen(_) | Message::Same(_) | Message::End(_) | Message::Digest(_) | Message::BucketSelection(_) => {}
            }
        }
    }
}
