//! Recordings of nodes, from files: read, run again, and put on one timeline.

mod timeline;

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

pub use syncswim::recording::{
    Difference, Dissected, Recording, Replay, Said, Segment, Sent, Step, Unreadable, WhatIf, WhatIfProblem,
    dissect, mark,
};
pub(crate) use timeline::UNDER_WAY;
pub use timeline::{Flight, Moment, Timeline, TimelineNode, What, aligned};

/// Files of more bytes are not read: 64 times the default limit of recordings. Reading takes twice as much memory.
const MOST_BYTES: u64 = 4 << 30;
/// The bytes of a file that show whether it is a recording at all.
const HEAD: u64 = 1024;

/// Why a file cannot be read as a recording.
#[derive(Debug)]
pub enum ReadError {
    /// It cannot be read at all.
    Io(io::Error),
    /// It is a folder, a device or a pipe: reading these need not end.
    NotAFile,
    /// It is a recording of more bytes than are read.
    TooLarge(u64),
    /// It is no recording, or a damaged one.
    Unreadable(Unreadable),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NotAFile => f.write_str("it is not a regular file"),
            Self::TooLarge(length) => {
                write!(f, "it has {length} bytes; recordings of at most {MOST_BYTES} are read")
            }
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
    if !fs::metadata(path).map_err(ReadError::Io)?.is_file() {
        return Err(ReadError::NotAFile);
    }
    let mut file = File::open(path).map_err(ReadError::Io)?;
    let length = file.metadata().map_err(ReadError::Io)?.len();
    let mut bytes = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    let is_recording = bytes.starts_with(b"swimrec");
    if is_recording && length > MOST_BYTES {
        return Err(ReadError::TooLarge(length));
    }
    if is_recording {
        file.take(MOST_BYTES - HEAD).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    }
    // A file that does not begin like a recording is refused because of its first bytes.
    Recording::parse(&bytes).map_err(ReadError::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_recording_of_reasonable_size_is_refused_before_it_is_read() {
        let folder = std::env::temp_dir();
        assert!(matches!(read(&folder), Err(ReadError::NotAFile)));
        #[cfg(unix)]
        assert!(matches!(read(Path::new("/dev/zero")), Err(ReadError::NotAFile)));
        let path = folder.join(format!("sparse-{}.rec", std::process::id()));
        fs::write(&path, b"swimrec\x01").unwrap();
        File::options().write(true).open(&path).unwrap().set_len(20 << 30).unwrap();
        let large = read(&path);
        fs::write(&path, b"something").unwrap();
        File::options().write(true).open(&path).unwrap().set_len(20 << 30).unwrap();
        let other = read(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(
            large.unwrap_err().to_string(),
            "it has 21474836480 bytes; recordings of at most 4294967296 are read"
        );
        assert_eq!(other.unwrap_err().to_string(), "it is not a recording of syncswim");
    }
}
