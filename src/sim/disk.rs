//! A model of a disk, for state files: a power cut may lose data that was not synced.
//!
//! A later process reads everything that an earlier one wrote, however the earlier one ended. After a power cut the
//! folder is as it was last synced, or as processes left it. A file has the data that was synced or written back by the
//! system; the rest is cut off somewhere, and blocks of the remaining part may be zeros.

use std::{collections::BTreeMap, io, time::Duration};

use crate::{state_file::Files, swim::Time};

/// The time after which a system writes data back.
const WRITE_BACK: Duration = Duration::from_secs(30);
/// Data is lost in blocks of this many bytes.
const BLOCK: usize = 512;

/// A folder with one file, and possibly a new one beside it.
#[derive(Debug, Default)]
pub(crate) struct ModelDisk {
    pub(crate) now: Time,
    inodes: BTreeMap<u64, Inode>,
    last: u64,
    /// The file as processes see it.
    name: Option<u64>,
    /// The file after a power cut.
    durable: Option<u64>,
    /// The new file, which is not in place yet.
    new: Option<u64>,
    pub(crate) faults: Faults,
}

/// The faults of the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// This many operations succeed; the next one and all after it fail, and writes end half way.
    pub(crate) operations: Option<usize>,
    /// This many bytes fit.
    pub(crate) room: Option<usize>,
    pub(crate) read_only: bool,
}

#[derive(Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    /// The bytes that a power cut leaves.
    synced: usize,
    /// The lengths that the file has had since it was last synced, each with the time of its write.
    grown: Vec<(Time, usize)>,
}

impl ModelDisk {
    /// The content that the next process would read.
    pub(crate) fn file(&self) -> Option<&[u8]> {
        Some(&self.inodes.get(&self.name?)?.bytes)
    }

    /// Overwrites the file from outside.
    #[cfg(test)]
    pub(crate) fn overwrite(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let name = self.name.expect("there is one");
        change(&mut self.inode(name).bytes);
    }

    /// Whether a new file is left beside the present one.
    #[cfg(test)]
    pub(crate) fn has_new(&self) -> bool {
        self.new.is_some()
    }

    /// Removes the file from outside.
    #[cfg(test)]
    pub(crate) fn remove(&mut self) {
        (self.name, self.durable) = (None, None);
    }

    /// The machine loses power, and starts again.
    pub(crate) fn cut_power(&mut self, rng: &mut fastrand::Rng) {
        self.faults = Faults::default();
        self.new = None;
        self.name = if rng.bool() { self.name } else { self.durable };
        self.durable = self.name;
        let name = self.name;
        self.inodes.retain(|id, _| Some(*id) == name);
        let now = self.now;
        self.inodes.values_mut().for_each(|inode| inode.cut_power(now, rng));
    }

    /// Whether the next operation succeeds.
    fn operate(&mut self, writes: bool) -> io::Result<()> {
        if writes && self.faults.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        match &mut self.faults.operations {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the disk is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn inode(&mut self, id: u64) -> &mut Inode {
        self.inodes.entry(id).or_default()
    }

    fn free(&self) -> usize {
        let taken: usize = self.inodes.values().map(|inode| inode.bytes.len()).sum();
        self.faults.room.map_or(usize::MAX, |room| room.saturating_sub(taken))
    }
}

impl Inode {
    fn cut_power(&mut self, now: Time, rng: &mut fastrand::Rng) {
        let written_back = self.grown.iter().filter(|(at, _)| now.since(*at) >= WRITE_BACK);
        let safe = written_back.map(|(_, length)| *length).max().unwrap_or(0).max(self.synced);
        let length = rng.usize(safe..=self.bytes.len());
        self.bytes.truncate(length);
        for block in self.bytes[safe..].chunks_mut(BLOCK) {
            if rng.u8(..4) == 0 {
                block.fill(0);
            }
        }
        (self.synced, self.grown) = (length, Vec::new());
    }
}

impl Files for ModelDisk {
    type File = u64;

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.file().map(<[u8]>::to_vec))
    }

    fn create(&mut self) -> io::Result<u64> {
        self.operate(true)?;
        self.last += 1;
        self.new = Some(self.last);
        let kept = [self.name, self.durable];
        self.inodes.retain(|id, _| kept.contains(&Some(*id)));
        self.inode(self.last);
        Ok(self.last)
    }

    fn write(&mut self, file: &mut u64, bytes: &[u8]) -> io::Result<()> {
        let operated = self.operate(true);
        let fit = if operated.is_ok() { self.free().min(bytes.len()) } else { bytes.len() / 2 };
        let now = self.now;
        if !self.faults.read_only {
            let inode = self.inode(*file);
            inode.bytes.extend_from_slice(&bytes[..fit]);
            inode.grown.push((now, inode.bytes.len()));
        }
        operated?;
        if fit < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self, file: &mut u64) -> io::Result<()> {
        self.operate(false)?;
        let inode = self.inode(*file);
        (inode.synced, inode.grown) = (inode.bytes.len(), Vec::new());
        Ok(())
    }

    fn put_in_place(&mut self) -> io::Result<()> {
        self.operate(true)?;
        self.name = Some(self.new.take().ok_or(io::ErrorKind::NotFound)?);
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.operate(false)?;
        self.durable = self.name;
        Ok(())
    }

    fn discard(&mut self) {
        if self.operate(true).is_ok()
            && let Some(new) = self.new.take()
        {
            self.inodes.remove(&new);
        }
    }

    fn check_in_place(&mut self, file: &u64, size: usize, header: &[u8]) -> bool {
        let bytes = self.file().filter(|_| self.name == Some(*file));
        bytes.is_some_and(|bytes| bytes.len() == size && bytes.starts_with(header))
    }
}
