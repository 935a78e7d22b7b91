//! The ephemeral exchange of streams that change keys: what it takes to read one, written out with the primitives.

use chacha20::{R20, hchacha};
use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use ed25519_compact::x25519;

use super::hex;
use crate::{
    Key, Keyring,
    wire::{
        hash,
        message::{KeyChange, Message},
        packet,
        seal::{
            exchange::Ephemeral,
            stream::{Greeting, Purpose, StreamSeal, asked_key},
        },
    },
};

const NAME: &str = "default";
/// What the change brings: it must not be found by who lacks it.
const NEW: [u8; 32] = [0x5e; 32];

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

fn old_key() -> Key {
    Key::from([1; 32])
}

fn greeting(session: u8, ephemeral: Option<Ephemeral>) -> Greeting {
    Greeting::new(hash::cluster(NAME), &old_key(), [session; 16], ephemeral)
}

fn agree(ours: Greeting, theirs: &[u8], we_opened: bool) -> Option<StreamSeal> {
    ours.agree(old_key(), NAME, theirs, we_opened)
}

fn key_change() -> Vec<u8> {
    let mut frame = Vec::new();
    let mut writer = packet::Writer::new(&mut frame, packet::Header::anonymous(hash::cluster(NAME)), 200);
    assert!(writer.message(&KeyChange { step: 0, key: &NEW }));
    writer.finish();
    frame
}

/// What goes over the wire when a key is changed: both greetings and the caller's first frame.
struct Recording {
    opened: Vec<u8>,
    answered: Vec<u8>,
    frame: Vec<u8>,
}

impl Recording {
    fn of(caller: Option<Ephemeral>, called: Option<Ephemeral>) -> Self {
        let (caller, called) = (greeting(3, caller), greeting(4, called));
        let (opened, answered) = (caller.bytes().to_vec(), called.bytes().to_vec());
        let mut ours = agree(caller, &answered, true).expect("they match");
        let mut theirs = agree(called, &opened, false).expect("they match");
        let mut frame = key_change();
        ours.seal(&mut frame);
        let mut received = frame.clone();
        assert!(theirs.open(&mut received) && received == key_change(), "the other side reads it");
        Self { opened, answered, frame }
    }

    /// XChaCha20-Poly1305 with this key, as `PROTOCOL.md` describes the first frame of the caller.
    fn decrypt(&self, key: &[u8; 32]) -> Option<Vec<u8>> {
        let mut nonce = XNonce::default();
        nonce[..16].copy_from_slice(&self.opened[12..28]);
        nonce[16] = 1;
        let context = [&[0], &self.opened[..], &self.answered[..], NAME.as_bytes()].concat();
        let (sealed, tag) = self.frame.split_at(self.frame.len() - 16);
        let (mut body, tag) = (sealed.to_vec(), Tag::try_from(tag).unwrap());
        let cipher = XChaCha20Poly1305::new(key.into());
        cipher.decrypt_inout_detached(&nonce, &context, body.as_mut_slice().into(), &tag).ok()?;
        Some(body)
    }

    /// The key of the stream, of the old key and what X25519 would give.
    fn stream_key(&self, shared: &[u8; 32]) -> [u8; 32] {
        let mut transcript = [b"syncswim key use", &self.opened[..], &self.answered[..]].concat();
        transcript.resize(144, 0);
        let chain = |key: [u8; 32], blocks: &[u8]| {
            blocks.chunks(16).fold(key, |key, block| {
                let block: [u8; 16] = block.try_into().unwrap();
                hchacha::<R20>((&key).into(), (&block).into()).0
            })
        };
        let ephemeral = chain(chain(*shared, &[0; 16]), &transcript);
        let mut key = chain([1; 32], &transcript);
        key.iter_mut().zip(ephemeral).for_each(|(key, byte)| *key ^= byte);
        key
    }
}

#[test]
fn a_recording_and_the_old_key_do_not_reveal_the_new_one() {
    let secrets = [[0x11; 32], [0x22; 32]];
    let [caller, called] = secrets.map(Ephemeral::of);
    let public = [caller.public(), called.public()];
    let recorded = Recording::of(Some(caller), Some(called));
    // Everything that old key and recording give: neither the old key alone, nor with whatever stands in for X25519.
    assert_eq!(recorded.decrypt(&[1; 32]), None);
    let product = |secret: &[u8; 32], public: &[u8; 32]| {
        *x25519::PublicKey::new(*public).dh(&x25519::SecretKey::new(*secret)).unwrap()
    };
    let guesses = [
        [0; 32],
        [1; 32],
        public[0],
        public[1],
        product(&public[0], &public[1]),
        product(&public[1], &public[0]),
        product(&[1; 32], &public[0]),
        product(&[1; 32], &public[1]),
    ];
    for shared in guesses {
        assert_eq!(recorded.decrypt(&recorded.stream_key(&shared)), None, "{shared:02x?}");
    }
    // That the attempt is made rightly: with one of the two ephemeral secrets it succeeds.
    for (secret, public) in [(&secrets[0], &public[1]), (&secrets[1], &public[0])] {
        let key = recorded.stream_key(&product(secret, public));
        assert_eq!(recorded.decrypt(&key), Some(key_change()));
    }
    // And without the exchange the old key was enough.
    let plain = Recording::of(None, None);
    let read = plain.decrypt(&[1; 32]).expect("no forward secrecy");
    let section = packet::open(&read, hash::cluster(NAME)).unwrap().1.next().unwrap().unwrap();
    assert_eq!(section.message(), Ok(Some(Message::KeyChange(KeyChange { step: 0, key: &NEW }))));
}

#[test]
fn the_exchange_alone_without_the_shared_key_is_not_enough() {
    let (ours, theirs) = (Ephemeral::of([0x11; 32]), Ephemeral::of([0x22; 32]));
    let (caller, called) = (greeting(3, Some(ours)), greeting(4, Some(theirs)));
    let (opened, answered) = (caller.bytes().to_vec(), called.bytes().to_vec());
    let mut ours = caller.agree(Key::from([9; 32]), NAME, &answered, true).unwrap();
    let mut theirs = agree(called, &opened, false).unwrap();
    let mut frame = key_change();
    ours.seal(&mut frame);
    assert!(!theirs.open(&mut frame));
}

#[test]
fn greetings_are_bound_bit_by_bit() {
    let ends =
        || [greeting(3, Some(Ephemeral::of([0x11; 32]))), greeting(4, Some(Ephemeral::of([0x22; 32])))];
    for at in 0..60 * 8 {
        let [caller, called] = ends();
        let mut opened = caller.bytes().to_vec();
        opened[at / 8] ^= 1 << (at % 8);
        let mut ours = agree(caller, called.bytes(), true).unwrap();
        let Some(mut theirs) = agree(called, &opened, false) else { continue };
        let mut frame = key_change();
        ours.seal(&mut frame);
        assert!(!theirs.open(&mut frame), "bit {at}");
    }
}

#[test]
fn a_public_key_of_low_order_is_refused() {
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in points {
        for bit in [0, 0x80] {
            let mut theirs = greeting(4, Some(Ephemeral::generate().unwrap())).bytes().to_vec();
            theirs[28..].copy_from_slice(&hex(point));
            theirs[59] |= bit;
            let ours = greeting(3, Some(Ephemeral::generate().unwrap()));
            assert!(agree(ours, &theirs, true).is_none(), "{point}");
        }
    }
}

#[test]
fn x25519_agrees_with_the_standard_and_with_libsodium() {
    let product = |secret, point| {
        let secret = x25519::SecretKey::new(secret);
        *x25519::PublicKey::new(point).dh(&secret).unwrap()
    };
    // RFC 7748, section 5.2.
    let (secret, point, output) = (
        bytes("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
        bytes("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
        bytes("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"),
    );
    assert_eq!(product(secret, point), output);
    let [one, other] = [[0x11; 32], [0x22; 32]];
    let public = Ephemeral::of(one).public();
    assert_eq!(public, bytes("7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13"));
    let shared = bytes("9e004098efc091d4ec2663b4e9f5cfd4d7064571690b4bea97ab146ab9f35056");
    assert_eq!(product(other, public), shared);
    assert_eq!(product(one, Ephemeral::of(other).public()), shared);
}

#[test]
fn each_purpose_has_its_greeting() {
    let plain = greeting(3, None);
    let keys = greeting(3, Some(Ephemeral::generate().unwrap()));
    for (greeting, purpose) in [(&plain, Purpose::Members), (&keys, Purpose::Keys)] {
        let bytes = greeting.bytes();
        assert_eq!(Purpose::of(*bytes.first_chunk().unwrap()), Some(purpose));
        assert_eq!(bytes.len(), purpose.greeting());
        assert_eq!(asked_key(bytes, hash::cluster(NAME), &Keyring::new(old_key())), Some(old_key()));
    }
    let other = greeting(4, None);
    assert!(agree(keys, other.bytes(), true).is_none(), "answered for another purpose");
    assert_eq!(Purpose::of([0, 1, 0, 0]), None);
}
