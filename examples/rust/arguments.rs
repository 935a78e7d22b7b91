//! The arguments of a program that takes no options but `--help`.

use std::{ops::RangeInclusive, process};

use lexopt::prelude::*;

#[path = "../../tools/usage.rs"]
mod usage;

/// Reads the arguments. `--help` shows the usage and ends the program; a mistake ends it with status 2.
pub(crate) fn read(usage: &str, count: RangeInclusive<usize>) -> Vec<String> {
    let mistake = match parse(usage, &count) {
        Ok(arguments) => return arguments,
        Err(lexopt::Error::UnexpectedOption(option)) => usage::unknown(usage, &option),
        Err(mistake) => mistake.to_string(),
    };
    eprintln!("{mistake}\n\n{usage}");
    process::exit(2)
}

fn parse(usage: &str, count: &RangeInclusive<usize>) -> Result<Vec<String>, lexopt::Error> {
    let (mut parser, mut arguments) = (lexopt::Parser::from_env(), vec![]);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => {
                println!("{usage}");
                process::exit(0)
            }
            Value(value) => arguments.push(value.string()?),
            unknown => return Err(unknown.unexpected()),
        }
    }
    if !count.contains(&arguments.len()) {
        return Err("wrong number of arguments".into());
    }
    Ok(arguments)
}
