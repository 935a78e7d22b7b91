//! A hash of the sources of the core, of the wire format and of what both use, and of the target, whose logarithms may differ
//! in a bit: for recordings, since only the same core runs the same.

use std::{env, fs, path::Path};

const SOURCES: [&str; 8] = [
    "src/swim",
    "src/wire",
    "src/address.rs",
    "src/collections/by_account.rs",
    "src/error",
    "src/error.rs",
    "src/ip_network.rs",
    "src/text.rs",
];

fn main() {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        add_sources(Path::new(source), &mut hash);
    }
    add(env::var("TARGET").expect("cargo sets it").as_bytes(), &mut hash);
    println!("cargo::rustc-env=SYNCSWIM_CORE={hash}");
}

/// All sources but tests, in the order of their names.
fn add_sources(path: &Path, hash: &mut u64) {
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("the sources are here");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
        paths.sort();
        paths.iter().filter(|path| !path.ends_with("tests")).for_each(|path| add_sources(path, hash));
    } else {
        add(&fs::read(path).expect("the sources are here"), hash);
    }
}

/// FNV-1a.
fn add(bytes: &[u8], hash: &mut u64) {
    for byte in bytes {
        *hash = (*hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
}
