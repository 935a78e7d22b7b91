//! Files of a node that its owner alone may read.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    path::Path,
};

/// The regular file at a path, if there is one. Anything else at the path is an error, and symbolic links are not followed.
pub(crate) fn find(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found)),
        Ok(_) => Err(io::Error::other("what is there is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates a file where there must be none. On Unix only this user may read and write it.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
