//! When a state file is written: at the end while it grows, again when it has grown enough, was damaged or is gone.

use std::{collections::BTreeSet, io, mem, sync::Arc};

use super::{
    files::Files,
    record::{HEADER, Record, header},
    state::{Heads, Remembered, State},
};
use crate::{
    Stop,
    swim::{EarlierLife, Event, Member, MemberState},
    wire::{data::BroadcastHead, hash},
};

/// A file that has grown to this many bytes, and to this many times what it had when it was rewritten, is rewritten.
const LEAST_GROWTH: usize = 64 << 10;
const GROWTH: usize = 4;
/// Origins of which it is gone on from what readers got: as many as a cluster has members, unless it is told otherwise. Without a
/// bound, a node that is restarted often would keep each that was there once.
pub(super) const MAX_ORIGINS: usize = 65_536;

/// The state file of a running node.
#[derive(Debug)]
pub(crate) struct StateFile<F: Files> {
    files: F,
    header: [u8; HEADER],
    /// This node's name.
    node: Arc<str>,
    state: State,
    /// Members of an earlier life, and origins of broadcasts, that were not seen again in this one.
    unseen: BTreeSet<Arc<str>>,
    /// `None` until the file was rewritten, at first, and after a failure.
    open: Option<Open<F::File>>,
    /// Records that are not written yet, while it is open.
    pending: Vec<u8>,
    waiting: usize,
    abandoned: Stop,
}

#[derive(Debug)]
struct Open<T> {
    file: T,
    size: usize,
    /// It is rewritten rather than grow beyond this.
    most: usize,
    /// Whether the disk has all of it.
    synced: bool,
}

/// The contents of the file at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The earlier life, for the new one.
    pub(crate) past: EarlierLife,
    /// Which broadcasts it does not get again.
    pub(crate) heads: Heads,
    /// Whether the earlier life ended with a leave, so that its members are not looked for.
    pub(crate) left: bool,
    /// Bytes that could not be read: a crash has cut the last record off, or the file was damaged.
    pub(crate) damaged: usize,
}

impl<F: Files> StateFile<F> {
    /// Reads the file of a node that starts, and begins another life in it. At most this many members are remembered, and none
    /// after a leave, unless the node is to rejoin then. Nothing is written yet, but that it can be is tried.
    pub(crate) fn read(
        mut files: F,
        (cluster, node): (&str, &str),
        most: usize,
        rejoin_after_leave: bool,
    ) -> io::Result<(Self, Found)> {
        let header = header(hash::cluster(cluster), hash::member(node));
        let file = files.read()?.unwrap_or_default();
        let (mut state, damaged) = State::parse(&file, &header)?;
        files.try_out()?;
        let left = mem::take(&mut state.left) && !rejoin_after_leave;
        if left {
            state.members.clear();
        }
        let mut past = state.past();
        past.members.truncate(most);
        let mut unseen: BTreeSet<_> = past.members.iter().map(|member| Arc::clone(&member.name)).collect();
        state.members.retain(|name, _| unseen.contains(name));
        state.heads.truncate(MAX_ORIGINS, |origin| unseen.contains(origin));
        unseen.extend(state.heads.origins().cloned());
        let heads = state.heads.clone();
        let (open, pending, waiting) = (None, Vec::new(), 0);
        let (node, abandoned) = (node.into(), Stop::new());
        let file = Self { files, header, node, state, unseen, open, pending, waiting, abandoned };
        Ok((file, Found { past, heads, left, damaged }))
    }

    /// Takes in what happened, at this wall-clock time in milliseconds since 1970.
    pub(crate) fn note(&mut self, event: &Event, wall: u64) {
        match event {
            Event::Reaped { member } => self.forget(&member.name),
            event => event.member().into_iter().for_each(|member| self.note_member(member, wall)),
        }
    }

    /// Takes in all members, in place of events that were missed.
    pub(crate) fn note_all(&mut self, members: &[Member], wall: u64) {
        let listed: BTreeSet<_> = members.iter().map(|member| &member.name).collect();
        let known = self.state.members.keys().chain(self.state.heads.origins());
        let is_gone = |name: &&Arc<str>| !listed.contains(*name) && !self.unseen.contains(*name);
        let gone: Vec<_> = known.filter(is_gone).cloned().collect();
        gone.iter().for_each(|name| self.forget(name));
        members.iter().for_each(|member| self.note_member(member, wall));
    }

    fn note_member(&mut self, member: &Member, wall: u64) {
        if *member.name == *self.node {
            return self.note_own(member);
        }
        self.unseen.remove(&member.name);
        if member.state == MemberState::Left {
            // Its broadcasts may come again as long as it is listed.
            if self.state.members.contains_key(&member.name) {
                self.put(&Record::Gone(&member.name));
            }
            return;
        }
        let (addr, epoch, live) = (member.addr, member.identity.epoch, member.state.is_live());
        let known = self.state.members.get(&member.name);
        if known.is_some_and(|known| (known.addr, known.epoch, known.live) == (addr, epoch, live)) {
            return;
        }
        let since = known.filter(|known| known.live == live).map_or(wall, |known| known.since);
        let remembered = Remembered { addr, epoch, live, since };
        self.put(&Record::Member(remembered.entry(&member.name)));
    }

    fn note_own(&mut self, own: &Member) {
        if own.state == MemberState::Left {
            if !self.state.left {
                self.put(&Record::Left);
            }
        } else if self.state.epoch < own.identity.epoch {
            self.put(&Record::Life(own.identity.epoch));
        }
    }

    /// Forgets members of an earlier life that were not seen again, and returns their names.
    pub(crate) fn forget_unseen(&mut self) -> BTreeSet<Arc<str>> {
        let unseen = mem::take(&mut self.unseen);
        unseen.iter().for_each(|name| self.forget(name));
        unseen
    }

    fn forget(&mut self, name: &str) {
        self.unseen.remove(name);
        if self.state.heads.has(name) {
            self.put(&Record::Forgotten(name));
        } else if self.state.members.contains_key(name) {
            self.put(&Record::Gone(name));
        }
    }

    /// Takes in which broadcasts of a life of another readers got.
    pub(crate) fn note_head(&mut self, head: &BroadcastHead<'_>) {
        self.put(&Record::Head(*head));
    }

    fn put(&mut self, record: &Record<'_>) {
        self.state.apply(record);
        if self.open.is_some() {
            record.write(&mut self.pending);
            self.waiting += 1;
        }
    }

    /// Once it is raised, nothing is begun on the disk any more: the next life may have the file by then.
    pub(crate) fn abandoned(&self) -> Stop {
        self.abandoned.clone()
    }

    fn check_kept(&self) -> io::Result<()> {
        if self.abandoned.is_stopped() { Err(io::Error::other("the node has ended")) } else { Ok(()) }
    }

    /// How many records wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Writes what waits; the whole file if it is not there, or large enough. What fails is made good by the next call.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        self.check_kept()?;
        let (pending, _) = (mem::take(&mut self.pending), mem::take(&mut self.waiting));
        match self.open.take() {
            Some(mut open) if open.has_room(pending.len()) && self.check_in_place(&open) => {
                if !pending.is_empty() {
                    self.files.write(&mut open.file, &pending)?;
                    (open.size, open.synced) = (open.size + pending.len(), false);
                }
                self.open = Some(open);
                Ok(())
            }
            _ => self.write_anew(),
        }
    }

    fn check_in_place(&mut self, open: &Open<F::File>) -> bool {
        self.files.check_in_place(&open.file, open.size, &self.header)
    }

    /// Compaction. At no moment is there no file.
    fn write_anew(&mut self) -> io::Result<()> {
        let bytes = self.state.to_file(&self.header);
        let mut file = self.files.create()?;
        self.replace_by(&mut file, &bytes).inspect_err(|_| self.files.discard())?;
        self.files.sync_folder()?;
        let (size, most) = (bytes.len(), LEAST_GROWTH.max(GROWTH * bytes.len()));
        self.open = Some(Open { file, size, most, synced: true });
        Ok(())
    }

    fn replace_by(&mut self, file: &mut F::File, bytes: &[u8]) -> io::Result<()> {
        self.files.write(file, bytes)?;
        self.files.sync(file)?;
        // The disk may have taken its time.
        self.check_kept()?;
        self.files.put_in_place()
    }

    /// Writes what waits, and has the disk keep it: the node ends.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.write()?;
        match &mut self.open {
            Some(open) if !open.synced => self.files.sync(&mut open.file),
            _ => Ok(()),
        }
    }

    /// The contents of the file, once all is written.
    #[cfg(test)]
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn files_mut(&mut self) -> &mut F {
        &mut self.files
    }

    /// The process ends here, with records still waiting.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn into_files(self) -> F {
        self.files
    }
}

impl<T> Open<T> {
    fn has_room(&self, more: usize) -> bool {
        self.size + more <= self.most
    }
}
