//! The command line of a program.
//!
//! The usage of each says what the program is for, then `usage: NAME`, its options with their units and defaults, and an
//! example; `tests/help.rs` compares it with the options that the source reads.

use std::{fmt::Display, process, str::FromStr};

pub use lexopt::{
    Arg::{self, Long, Value},
    Error, ValueExt,
};

#[path = "../../tools/usage.rs"]
mod usage;

/// The arguments of this program, in their order.
#[derive(Debug)]
pub struct Arguments<'a> {
    parser: lexopt::Parser,
    usage: &'a str,
    /// The latest option, for errors about its value.
    option: String,
}

/// Reads the command line. A mistake is printed, with the option that was probably meant, and the program ends with
/// status 2.
pub fn read<T>(usage: &str, parse: impl FnOnce(&mut Arguments<'_>) -> Result<T, Error>) -> T {
    let parser = lexopt::Parser::from_env();
    let mut arguments = Arguments { parser, usage, option: String::new() };
    parse(&mut arguments).unwrap_or_else(|mistake| {
        eprintln!("{}\n`--help` has all options, their defaults and an example", said(usage, &mistake));
        process::exit(2)
    })
}

fn said(usage: &str, mistake: &Error) -> String {
    match mistake {
        Error::UnexpectedOption(option) => usage::unknown(usage, option),
        other => other.to_string(),
    }
}

impl Arguments<'_> {
    /// The next option, or argument that is none. `--help` shows the usage and ends the program.
    ///
    /// # Errors
    ///
    /// The option before it has a value that it does not take, or this one is no text.
    #[expect(clippy::should_implement_trait, reason = "what it returns borrows from it")]
    pub fn next(&mut self) -> Result<Option<Arg<'_>>, Error> {
        let next = self.parser.next()?;
        match &next {
            Some(Long("help") | Arg::Short('h')) => {
                println!("{}", self.usage);
                process::exit(0)
            }
            Some(Long(name)) => self.option = format!("--{name}"),
            _ => {}
        }
        Ok(next)
    }

    /// The value of the latest option.
    ///
    /// # Errors
    ///
    /// It is missing, or not of this type.
    pub fn value<T: FromStr<Err: Display>>(&mut self) -> Result<T, Error> {
        self.value_with(str::parse)
    }

    /// The value of the latest option, as this function reads it.
    ///
    /// # Errors
    ///
    /// It is missing, or the function refuses it.
    pub fn value_with<T, E: Display>(&mut self, read: impl FnOnce(&str) -> Result<T, E>) -> Result<T, Error> {
        let text = self.parser.value()?.string()?;
        read(&text).map_err(|problem| format!("{} {text}: {problem}", self.option).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: &str =
        "usage: x\n\n  --nodes N\n  --segment-loss P\n  --out DIR\n\nexample: cargo run --release";

    #[test]
    fn a_misspelt_option_is_told_with_the_one_that_is_most_like_it() {
        for (option, meant) in [
            ("--noeds", "; did you mean --nodes?"),
            ("--node", "; did you mean --nodes?"),
            ("--segmentloss", "; did you mean --segment-loss?"),
            ("--output", ""),
            ("--release", ""),
            ("-x", ""),
        ] {
            let mistake = Error::UnexpectedOption(option.into());
            assert_eq!(said(USAGE, &mistake), format!("there is no option {option}{meant}"));
        }
        assert_eq!(said(USAGE, &"--nodes x: no number".into()), "--nodes x: no number");
    }
}
