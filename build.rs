//! A hash of the sources of the core and of the wire format, for recordings: only the same core runs the same.

use std::{fs, path::Path};

fn main() {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for folder in ["src/swim", "src/wire"] {
        println!("cargo::rerun-if-changed={folder}");
        add(Path::new(folder), &mut hash);
    }
    println!("cargo::rustc-env=SYNCSWIM_CORE={hash}");
}

/// FNV-1a over all sources but tests, in the order of their names.
fn add(path: &Path, hash: &mut u64) {
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("the sources are here");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
        paths.sort();
        paths.iter().filter(|path| !path.ends_with("tests")).for_each(|path| add(path, hash));
    } else {
        for byte in fs::read(path).expect("the sources are here") {
            *hash = (*hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
