//! The arguments of a program that takes no options but `--help`. Without `lexopt`, since the programs are binaries, which
//! are built without dev-dependencies.

use std::{env, ops::RangeInclusive, process};

#[path = "../../tools/usage.rs"]
mod usage;

/// The arguments. `--help` shows the usage and ends the program; a mistake ends it with status 2.
pub(crate) fn read(usage: &str, count: RangeInclusive<usize>) -> Vec<String> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let option = arguments.iter().find(|argument| argument.starts_with('-'));
    let mistake = match option.map(String::as_str) {
        Some("--help" | "-h") => {
            println!("{usage}");
            process::exit(0)
        }
        Some(option) => usage::unknown(usage, option),
        None if !count.contains(&arguments.len()) => "these are not the arguments that it takes".into(),
        None => return arguments,
    };
    eprintln!("{mistake}\n\n{usage}");
    process::exit(2)
}
