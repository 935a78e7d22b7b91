//! `view` at its command line: meaningless options are mistakes, reported in plain words.
#![cfg(feature = "programs")]

use std::process::Command;

#[test]
fn mistakes_are_told_and_end_with_status_2() {
    for (arguments, said) in [
        (&["--simulate", "nodes=3", "--fault", "99:crash:1"][..], "crash 1: the run ends before, after 60 s"),
        (
            &["--simulate", "bind=127.0.0.1:1"],
            "--simulate bind=127.0.0.1:1: bind means nothing in a simulation",
        ),
        (&["--simulate", "record=x"], "--simulate record=x: record means nothing in a simulation"),
        (&["--simulate", "colour=red"], "--simulate colour=red: "),
        (&["/dev/null/none.rec"], "/dev/null/none.rec: "),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_view")).args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.starts_with(said), "{told}");
    }
}
