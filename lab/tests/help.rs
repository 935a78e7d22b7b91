//! Checks `--help` of every program of the lab: its purpose, each option that its source reads, and an example.
#![cfg(feature = "programs")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Options with which a program starts itself.
const HIDDEN: [&str; 1] = ["inside"];

/// The programs that the manifest lists, and their sources.
fn programs() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let names = manifest.split("[[bin]]\nname = \"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let programs: Vec<_> =
        names.map(|name| (name.to_owned(), sources(&root.join("src/bin"), name))).collect();
    assert!(programs.len() >= 3, "{programs:?}");
    programs
}

fn sources(folder: &Path, name: &str) -> String {
    let files: Vec<PathBuf> = match fs::read_dir(folder.join(name)) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => vec![folder.join(format!("{name}.rs"))],
    };
    files.iter().filter(|file| file.is_file()).map(|file| fs::read_to_string(file).unwrap()).collect()
}

/// The options in `Long("one" | "other")`.
fn options(source: &str) -> Vec<&str> {
    let patterns = source.split("Long(").skip(1).filter_map(|rest| rest.split(')').next());
    let names = patterns.flat_map(|pattern| pattern.split('"').skip(1).step_by(2));
    names.filter(|name| !HIDDEN.contains(name) && *name != "help").collect()
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let folder = Path::new(env!("CARGO_BIN_EXE_simulate")).parent().unwrap();
    Command::new(folder.join(program)).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_says_what_a_program_is_for_names_its_options_and_shows_an_example() {
    for (program, source) in programs() {
        let shown = run(&program, &["--help"]);
        let help = text(&shown.stdout);
        assert!(shown.status.success() && shown.stderr.is_empty(), "{program}: {shown:?}");
        assert_eq!(shown, run(&program, &["-h"]), "{program}");
        assert!(!help.starts_with("usage") && help.contains(&format!("\n\nusage: {program} ")), "{help}");
        assert!(help.contains("\n\nexample: cargo run "), "{help}");
        let options = options(&source);
        assert!(!options.is_empty(), "{program}");
        for option in options {
            assert!(
                help.contains(&format!("\n  --{option} ")),
                "{program} does not tell of --{option}:\n{help}"
            );
        }
    }
}

#[test]
fn a_wrong_option_ends_a_program_with_2_and_names_the_one_that_was_meant() {
    for (program, source) in programs() {
        let mut meant = options(&source);
        meant.sort_by_key(|option| option.len());
        let meant = meant.last().unwrap();
        let wrong = format!("--{meant}x");
        let ended = run(&program, &[&wrong]);
        assert_eq!(ended.status.code(), Some(2), "{program}: {ended:?}");
        let expected = format!("there is no option {wrong}; did you mean --{meant}?\n");
        assert!(text(&ended.stderr).starts_with(&expected), "{program}: {}", text(&ended.stderr));
        assert!(ended.stdout.is_empty());
    }
}
