//! Recordings of nodes, from files: read, run again, and put on one timeline.

mod timeline;

use std::{fmt, fs, io, path::Path};

pub use syncswim::recording::{
    Difference, Dissected, NoAnswer, Recording, Replay, Said, Segment, Sent, Step, Unreadable, WhatIf,
    dissect, mark,
};
pub use timeline::{Flight, Moment, Timeline, TimelineNode, What};

/// Why a file cannot be read as a recording.
#[derive(Debug)]
pub enum ReadError {
    /// It cannot be read at all.
    Io(io::Error),
    /// It is no recording, or a damaged one.
    Unreadable(Unreadable),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Unreadable(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

/// Reads the recording in a file.
///
/// # Errors
/// The file cannot be read, or nothing of it is a recording.
pub fn read(path: &Path) -> Result<Recording, ReadError> {
    let bytes = fs::read(path).map_err(ReadError::Io)?;
    Recording::parse(&bytes).map_err(ReadError::Unreadable)
}
