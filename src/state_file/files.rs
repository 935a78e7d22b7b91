//! What a state file needs of a disk.

use std::{
    fmt::Debug,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use crate::private_file;

/// More of a file is not read: a million members.
const MAX_READ: u64 = 64 << 20;

/// A file that is replaced as a whole, and grows at its end. Each method is one step that may fail, or be the last one.
pub(crate) trait Files {
    /// A file that is written to.
    type File: Debug;

    /// All that is in the file; `None` if there is none.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>>;

    /// Begins a new one beside it, in place of one that was not finished.
    fn create(&mut self) -> io::Result<Self::File>;

    /// Appends.
    fn write(&mut self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()>;

    /// Waits until the disk has what was written.
    fn sync(&mut self, file: &mut Self::File) -> io::Result<()>;

    /// Puts the new one in the place of the old one, at one stroke.
    fn put_in_place(&mut self) -> io::Result<()>;

    /// Waits until the disk has that, too.
    fn sync_folder(&mut self) -> io::Result<()>;

    /// Whether this is the file that the next start will read: nobody removed or replaced it.
    fn is_in_place(&mut self, file: &Self::File) -> bool;
}

/// A path on a real disk.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    new: PathBuf,
}

impl Disk {
    pub(crate) fn new(path: PathBuf) -> Self {
        let mut new = path.clone().into_os_string();
        new.push(".new");
        Self { path, new: new.into() }
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }
}

impl Files for Disk {
    type File = File;

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        if private_file::find(&self.path)?.is_none() {
            // A path that is misspelt shows at the start, not at the next one.
            return if self.folder().is_dir() { Ok(None) } else { Err(io::ErrorKind::NotFound.into()) };
        }
        let mut bytes = Vec::new();
        File::open(&self.path)?.take(MAX_READ).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn create(&mut self) -> io::Result<File> {
        match fs::remove_file(&self.new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        private_file::create(&self.new)
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&mut self, file: &mut File) -> io::Result<()> {
        file.sync_all()
    }

    fn put_in_place(&mut self) -> io::Result<()> {
        fs::rename(&self.new, &self.path)
    }

    /// Not all systems and file systems know this; on those, the rename has to do.
    fn sync_folder(&mut self) -> io::Result<()> {
        if cfg!(unix) {
            match File::open(self.folder())?.sync_all() {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {}
                synced => return synced,
            }
        }
        Ok(())
    }

    fn is_in_place(&mut self, file: &File) -> bool {
        match (fs::symlink_metadata(&self.path), file.metadata()) {
            (Ok(there), Ok(ours)) => is_same(&there, &ours),
            _ => false,
        }
    }
}

#[cfg(unix)]
fn is_same(there: &fs::Metadata, ours: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    (there.dev(), there.ino()) == (ours.dev(), ours.ino())
}

/// Without inodes: one of another length is another one.
#[cfg(not(unix))]
fn is_same(there: &fs::Metadata, ours: &fs::Metadata) -> bool {
    there.is_file() && there.len() == ours.len()
}
