//! The disk operations of a state file.

use std::{
    collections::hash_map::RandomState,
    fmt::Debug,
    fs::{self, File},
    hash::BuildHasher,
    io::{self, Read, Write},
    mem,
    path::{Path, PathBuf},
};

use crate::private_file;

/// The suffix of a file that is not in place yet; a random number follows.
const NEW: &str = ".new-";
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

    /// Replaces the old one by the new one, atomically.
    fn put_in_place(&mut self) -> io::Result<()>;

    /// Waits until the disk has that, too.
    fn sync_folder(&mut self) -> io::Result<()>;

    /// The new one is given up, and nothing of it is left.
    fn discard(&mut self);

    /// Whether this is the file that the next start will read, with the length that it was left with and with this header:
    /// nothing has removed, replaced, cut off or overwritten it.
    fn check_in_place(&mut self, file: &Self::File, size: usize, header: &[u8]) -> bool;

    /// Whether a new file can be made, as far as that can be told without writing one.
    fn try_out(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A path on a real disk.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    new: PathBuf,
    /// Whether what others left behind was removed.
    swept: bool,
}

impl Disk {
    /// The new file has a name that no other process takes, nor another life of this one: what is put in place is what was
    /// written here, whole.
    pub(crate) fn new(path: PathBuf) -> Self {
        let mut new = path.clone().into_os_string();
        // The hasher is keyed by the system's randomness.
        new.push(format!("{NEW}{:016x}", RandomState::new().hash_one(std::process::id())));
        Self { path, new: new.into(), swept: false }
    }

    /// Removes new files that killed processes did not put in place. Where one is still being written by a process that has
    /// no business here, that one fails, and tries again.
    fn sweep(&mut self) -> io::Result<()> {
        if !mem::replace(&mut self.swept, true) {
            let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_new = |other: &str| {
                let number = other.strip_prefix(&name).and_then(|rest| rest.strip_prefix(NEW));
                number.is_some_and(|number| number.len() == 16 && u64::from_str_radix(number, 16).is_ok())
            };
            for entry in fs::read_dir(self.folder())?.flatten() {
                if entry.file_name().to_str().is_some_and(is_new) {
                    // It may be gone by now.
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        Ok(())
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
        self.sweep()?;
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

    fn discard(&mut self) {
        // The next start sweeps it away if this fails.
        let _ = fs::remove_file(&self.new);
    }

    fn check_in_place(&mut self, file: &File, size: usize, header: &[u8]) -> bool {
        let is_there = match (fs::symlink_metadata(&self.path), file.metadata()) {
            (Ok(there), Ok(ours)) => is_same(&there, &ours) && there.len() == size as u64,
            _ => false,
        };
        let mut front = vec![0; header.len()];
        is_there
            && File::open(&self.path).and_then(|mut file| file.read_exact(&mut front)).is_ok()
            && front == header
    }

    /// A path that cannot be written to shows at the start. A disk that is full may have room later.
    fn try_out(&mut self) -> io::Result<()> {
        match self.create() {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {}
            made => drop(made?),
        }
        self.discard();
        Ok(())
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
