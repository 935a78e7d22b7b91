//! Answers of name servers, whatever they are: the first byte says what was asked for, the rest is the answer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((kind, answer)) = bytes.split_first() {
        syncswim::fuzz_dns_answer(*kind, answer);
    }
});
