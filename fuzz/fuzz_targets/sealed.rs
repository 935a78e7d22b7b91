//! Sealed datagrams and frames, damaged or made up: they come out as they were, or not at all.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], Vec<(u16, u8)>, &[u8])| {
    let (packet, flips, noise) = input;
    syncswim::fuzzing::sealed(packet, &flips, noise);
});
