//! Puts many mutants into a copy of the source, each behind a switch, so that all of them are compiled at once.
//!
//! ```text
//! mutants TREE < LIST > PLACED
//! ```
//!
//! A line of the list is one mutant, as `cargo mutants --list --json` describes it, in fields between tabs: number, file,
//! genre, line and column of its first and behind its last character, replacement. The numbers of those that were placed
//! are printed. In the library, `crate::mutant(n)` says whether mutant n is on.

mod mutant;
mod place;
mod rewrite;

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use lexopt::prelude::*;
use mutant::Mutant;

const USAGE: &str = "usage: mutants TREE < LIST > PLACED";

/// The switch: the environment names the mutant that is on.
const SWITCH: &str = "
#[allow(unused, missing_docs)]
pub(crate) fn mutant(n: u32) -> bool {
    static ON: std::sync::LazyLock<u32> =
        std::sync::LazyLock::new(|| std::env::var(\"MUTANT\").ok().and_then(|n| n.parse().ok()).unwrap_or(0));
    *ON == n
}
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let Some(tree) = parse()? else {
        println!("{USAGE}");
        return Ok(());
    };
    place_all(&tree)
}

/// The folder of the source; `None` for `--help`.
fn parse() -> Result<Option<PathBuf>, lexopt::Error> {
    let (mut parser, mut tree) = (lexopt::Parser::from_env(), None);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Value(value) if tree.is_none() => tree = Some(value.into()),
            unknown => return Err(unknown.unexpected()),
        }
    }
    Ok(Some(tree.ok_or("the tree is missing")?))
}

/// Places the mutants that standard input lists, and prints the numbers of those that have a place.
fn place_all(tree: &Path) -> Result<(), Box<dyn Error>> {
    let mut list = String::new();
    io::stdin().read_to_string(&mut list)?;
    let mut files = BTreeMap::<&str, Vec<Mutant<'_>>>::new();
    for line in list.lines() {
        let (file, mutant) = Mutant::parse(line).ok_or_else(|| format!("not a mutant: {line}"))?;
        files.entry(file).or_default().push(mutant);
    }
    for (file, mutants) in files {
        let path = tree.join(file);
        let source = fs::read_to_string(&path)?;
        let edits = place::edits(&source, &mutants)?;
        edits.iter().flat_map(|edit| edit.numbers()).for_each(|number| println!("{number}"));
        fs::write(path, rewrite::rewrite(&source, edits))?;
    }
    let root = tree.join("src/lib.rs");
    let source = fs::read_to_string(&root)?;
    fs::write(root, source + SWITCH)?;
    Ok(())
}
