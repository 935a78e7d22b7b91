//! Messages that decode, in any order, with time that jumps and commands: the steps are in `syncswim::sim::chaos`. With
//! `SHOW=1` a case is printed before it runs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use syncswim::sim::chaos::Case;

fuzz_target!(|bytes: &[u8]| {
    let case = Case::read(bytes);
    if std::env::var_os("SHOW").is_some() {
        eprintln!("{case:#?}");
    }
    case.run();
});
