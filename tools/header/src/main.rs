//! Writes `include/syncswim.h` from `src/capi/`, or with `--check` tests whether it is up to date.

use std::{fs, path::Path, process::ExitCode};

use cbindgen::{Builder, Config, DocumentationStyle, Language, Style};

/// The order of the sections in the header.
const MODULES: [&str; 7] = ["status", "callback", "logger", "config", "cluster", "membership", "watch"];
const LAST: [&str; 6] = ["members", "message", "messages", "broadcasts", "entries", "report"];

const USAGE: &str = "Writes include/syncswim.h from src/capi/.

usage: header [--check]

  --check  writes nothing, and fails if the header is not up to date

example: cargo run -p header -- --check";

fn main() -> ExitCode {
    let check = match asked_to_check() {
        Ok(Some(check)) => check,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprintln!("{mistake}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (source, target) = (root.join("src/capi"), root.join("include/syncswim.h"));
    let config = Config {
        language: Language::C,
        cpp_compat: true,
        style: Style::Both,
        include_guard: Some("SYNCSWIM_H".into()),
        no_includes: true,
        sys_includes: vec!["stddef.h".into(), "stdint.h".into()],
        header: Some(include_str!("manual.h").trim_end().into()),
        documentation_style: DocumentationStyle::Doxy,
        line_length: 110,
        usize_is_size_t: true,
        sort_by: cbindgen::SortKey::None,
        ..Config::default()
    };
    let files = MODULES.iter().chain(&LAST).map(|module| source.join(format!("{module}.rs")));
    let bindings = files.fold(Builder::new().with_config(config), Builder::with_src).generate();
    let mut text = Vec::new();
    bindings.expect("the sources are valid").write(&mut text);
    let text = without_rust(&String::from_utf8(text).expect("a header is text"));
    if check {
        if fs::read_to_string(&target).is_ok_and(|committed| committed == text) {
            return ExitCode::SUCCESS;
        }
        eprintln!("include/syncswim.h is out of date: cargo run -p header");
        return ExitCode::FAILURE;
    }
    fs::write(target, text).expect("the header can be written");
    ExitCode::SUCCESS
}

/// `None` for `--help`.
fn asked_to_check() -> Result<Option<bool>, lexopt::Error> {
    let (mut parser, mut check) = (lexopt::Parser::from_env(), false);
    while let Some(argument) = parser.next()? {
        match argument {
            lexopt::Arg::Long("check") => check = true,
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(None),
            unknown => return Err(unknown.unexpected()),
        }
    }
    Ok(Some(check))
}

/// The doc comments' sections on safety are for Rust; the header has one such section for all.
fn without_rust(text: &str) -> String {
    let mut out = String::new();
    let mut skipping = false;
    for line in text.lines() {
        if line.trim_start().starts_with("* # Safety") {
            skipping = true;
            // The empty line before it.
            out.truncate(out.trim_end().trim_end_matches('*').trim_end().len());
            out.push('\n');
        }
        skipping &= !line.contains("*/");
        if !skipping {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}
