//! State files of any bytes: each is read or refused, and what was read is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| syncswim::fuzz_state_file(bytes));
