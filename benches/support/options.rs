//! The command line of a bench.

use std::process;

use lexopt::{Error, Parser};

/// Reads it. A mistake is shown with the usage, and ends the program with status 2.
pub(crate) fn read<T>(usage: &str, parse: impl FnOnce(&mut Parser) -> Result<T, Error>) -> T {
    parse(&mut Parser::from_env()).unwrap_or_else(|mistake| {
        eprintln!("{mistake}\n\n{usage}");
        process::exit(2)
    })
}
