//! The common parts of the lab's programs: the option parser, the plotter, statistics, and runs on all processors.
//!
//! The programs are in `src/bin/`: `papers` (the papers' tables), `simulate` (a forecast), `search` (broken promises),
//! `replay` (recordings) and `view` (a run to look at).

pub mod options;
pub mod plot;
#[cfg(feature = "programs")]
pub mod progress;
#[cfg(feature = "programs")]
pub mod recording;
#[cfg(feature = "programs")]
pub mod runs;
pub mod stats;
#[cfg(feature = "programs")]
pub mod view;
