//! Checks `--help` of every example: its purpose, its usage, its options and an example to copy.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The programs in the manifest: the folder and the source of each.
fn programs() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bins = Path::new(env!("CARGO_BIN_EXE_cluster")).parent().unwrap();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let in_folder = |kind: &str, folder: &Path| {
        let sections = manifest.split(&format!("[[{kind}]]\nname = \"")).skip(1).collect::<Vec<_>>();
        let names = sections.into_iter().map(|rest| rest.split('"').next().unwrap().to_owned());
        let source = |name: &str| fs::read_to_string(root.join(format!("{name}.rs"))).unwrap();
        names.map(|name| (name.clone(), folder.join(&name), source(&name))).collect::<Vec<_>>()
    };
    [in_folder("bin", bins), in_folder("example", &bins.join("examples"))].concat()
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|problem| panic!("{}: {problem}: run `cargo test -p examples`", program.display()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_says_what_a_program_is_for_names_its_options_and_shows_an_example() {
    let programs = programs();
    assert!(programs.len() >= 6, "{programs:?}");
    for (program, place, source) in programs {
        let shown = run(&place, &["--help"]);
        let help = text(&shown.stdout);
        assert!(shown.status.success() && shown.stderr.is_empty(), "{program}: {shown:?}");
        assert_eq!(shown, run(&place, &["-h"]), "{program}");
        assert!(!help.starts_with("usage") && help.contains(&format!("\n\nusage: {program}")), "{help}");
        assert!(help.contains("\n\nexample: cargo run "), "{help}");
        for option in source.split("=> return Ok(None)").last().unwrap().split("Long(\"").skip(1) {
            let option = option.split('"').next().unwrap();
            assert!(
                help.contains(&format!("\n  --{option} ")),
                "{program} does not tell of --{option}:\n{help}"
            );
        }
    }
}

#[test]
fn a_wrong_option_ends_a_program_with_2_and_names_the_one_that_was_meant() {
    for (program, place, _) in programs() {
        let (wrong, meant) = if program == "node" { ("--nmae", "--name") } else { ("--hepl", "--help") };
        let ended = run(&place, &[wrong]);
        assert_eq!(ended.status.code(), Some(2), "{program}: {ended:?}");
        let expected = format!("there is no option {wrong}; did you mean {meant}?\n");
        assert!(text(&ended.stderr).starts_with(&expected), "{program}: {}", text(&ended.stderr));
    }
}
