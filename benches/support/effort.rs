//! How long a bench measures.

use lexopt::Arg::Long;

use crate::options;

/// How thorough a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    /// Not run by `cargo bench` at all: shows that it still works.
    Smoke,
    /// With `--quick`.
    Quick,
    Full,
}

impl Effort {
    /// What the command line asks for: `cargo bench` says `--bench`.
    pub(crate) fn asked() -> Self {
        options::read("usage: cargo bench --bench NAME [-- --quick]", |parser| {
            let (mut bench, mut quick) = (false, false);
            while let Some(argument) = parser.next()? {
                match argument {
                    Long("bench") => bench = true,
                    Long("quick") => quick = true,
                    unknown => return Err(unknown.unexpected()),
                }
            }
            Ok(match (bench, quick) {
                (false, false) => Self::Smoke,
                (_, true) => Self::Quick,
                (true, false) => Self::Full,
            })
        })
    }

    pub(crate) fn rounds(self) -> usize {
        match self {
            Self::Smoke => 1,
            Self::Quick => 7,
            Self::Full => 25,
        }
    }

    /// For what takes long: fewer, but enough for a median.
    pub(crate) fn few_rounds(self) -> usize {
        self.rounds().div_ceil(3) | 1
    }
}
