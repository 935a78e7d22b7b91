//! `replay` at its command line: mistakes end with status 2, and a reader that closes the pipe early causes no error.
#![cfg(feature = "programs")]

use std::process::{Command, Stdio};

const REPLAY: &str = env!("CARGO_BIN_EXE_replay");

#[test]
fn a_time_that_is_none_is_a_mistake() {
    for at in ["inf", "nan", "-1", "1e300", "soon"] {
        let output = Command::new(REPLAY).args(["a.rec", &format!("--at={at}")]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{at}: {said}");
        assert!(said.starts_with(&format!("--at {at}: ")), "{said}");
    }
}

#[test]
fn a_reader_that_is_gone_is_no_panic() {
    let mut replay = Command::new(REPLAY)
        .args(["--random", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(replay.stdout.take());
    let output = replay.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}
