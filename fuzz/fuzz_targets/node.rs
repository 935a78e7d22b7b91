//! Messages that decode, in any order, with time that jumps and commands: the steps are in `syncswim::sim::chaos`, which
//! also prints a case that fails, in its shortest form.

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
