//! Arbitrary answers of name servers: the first byte is the query, the rest is the answer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((kind, answer)) = bytes.split_first() {
        syncswim::fuzz_dns_answer(*kind, answer);
    }
});
