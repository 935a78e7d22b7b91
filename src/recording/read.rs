//! Reading a recording. What a file holds is checked block by block: what is damaged is left out and said.

use std::{fmt, time::Duration};

use super::{BLOCK_HEAD, Block, Header, MAGIC, Replay, SLOTS_AT, core_hash, write::checksum};
use crate::{
    swim::{Beginning, InForm, Node, Time},
    wire::message::is_name,
};

/// One life of one node, as a file holds it.
#[derive(Debug, Clone)]
pub struct Recording {
    pub(super) header: Header,
    pub(super) segments: Vec<Segment>,
    damage: Vec<String>,
}

/// A part of a recording that begins with the node's whole state.
#[derive(Debug, Clone)]
pub struct Segment {
    number: u64,
    beginning: Beginning,
    /// Whether it follows the segment before without a gap.
    follows: bool,
    pub(super) content: Vec<u8>,
    /// Where each block ends, with the wall clock and the node's time when it was written.
    blocks: Vec<(usize, u64, Time)>,
}

/// Why a file cannot be read as a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

fn unreadable<T>(problem: impl Into<String>) -> Result<T, Unreadable> {
    Err(Unreadable(problem.into()))
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    /// The error, if nothing of it can be read.
    pub fn parse(file: &[u8]) -> Result<Self, Unreadable> {
        let header = header(file)?;
        let mut damage = Vec::new();
        let slots = (0..header.slots).filter_map(|slot| {
            let begins = usize::try_from(slot.checked_mul(header.slot)?.checked_add(SLOTS_AT)?).ok()?;
            let length = usize::try_from(header.slot).ok()?;
            let bytes = file.get(begins..)?;
            Some((slot, &bytes[..length.min(bytes.len())]))
        });
        let mut segments: Vec<_> = slots
            .filter_map(|(slot, bytes)| {
                segment(bytes, &mut damage).filter(|found| found.number % header.slots == slot)
            })
            .collect();
        segments.sort_by_key(|segment| segment.number);
        let mut before: Option<(u64, usize)> = None;
        for segment in &mut segments {
            let is_next = |(number, _): &(u64, usize)| number.checked_add(1) == Some(segment.number);
            let is_whole = |blocks: usize| blocks == segment.beginning.chunks_before as usize;
            if let Some((number, blocks)) = before.filter(is_next) {
                if !is_whole(blocks) {
                    damage.push(format!("segment {number} breaks off: its rest is damaged"));
                }
                segment.follows = is_whole(blocks) && !segment.beginning.gap;
            }
            before = Some((segment.number, segment.blocks.len()));
        }
        let recording = Self { header, segments, damage };
        if recording.segments.is_empty() {
            return match recording.damage.join("; ") {
                _ if !recording.is_of_this_build() => recording.of_another_build("what is"),
                damage if damage.is_empty() => unreadable("it holds no whole segment"),
                damage => unreadable(format!("it holds no whole segment: {damage}")),
            };
        }
        recording.check_states()?;
        Ok(recording)
    }

    fn check_states(&self) -> Result<(), Unreadable> {
        let Some(segment) = self.segments.iter().find(|segment| segment.state().is_none()) else {
            return Ok(());
        };
        let number = segment.number;
        match self.is_of_this_build() {
            true => unreadable(format!("the state that segment {number} begins with is damaged")),
            false => self.of_another_build("the state"),
        }
    }

    fn of_another_build<T>(&self, what: &str) -> Result<T, Unreadable> {
        unreadable(format!(
            "{what} in it cannot be read by this build ({}): it was recorded by {}",
            this_build(),
            self.build()
        ))
    }

    /// The name of the node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.header.name
    }

    /// Which build recorded it: a version of syncswim and a hash of the sources of its core.
    #[must_use]
    pub fn build(&self) -> String {
        build_text(&self.header.version, self.header.core)
    }

    /// Whether the core of this program is the one that was recorded: another one may do something else.
    #[must_use]
    pub fn is_of_this_build(&self) -> bool {
        self.header.core == core_hash()
    }

    /// Its segments, the oldest first; at least one.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The damage of the file, in words. The end of a file may be torn if its process was killed.
    #[must_use]
    pub fn damage(&self) -> &[String] {
        &self.damage
    }

    /// Runs the node again, from the oldest segment on.
    #[must_use]
    pub fn replay(&self) -> Replay<'_> {
        Replay::new(self, 0)
    }

    /// The same from another segment on, by its place among [`segments`](Self::segments).
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn replay_from(&self, segment: usize) -> Replay<'_> {
        Replay::new(self, segment)
    }
}

impl Segment {
    /// Its number in the whole recording, of which the oldest segments may be overwritten.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many inputs are known to be lost between the segment before and this one.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.beginning.lost
    }

    /// Whether it goes on where the segment before ends.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// When it begins, by the node's clock.
    #[must_use]
    pub fn at(&self) -> Time {
        self.beginning.at
    }

    /// Bytes of what follows the state that it begins with.
    #[must_use]
    pub fn entry_bytes(&self) -> usize {
        self.state().map_or(0, |(_, _, entries)| entries.len())
    }

    /// The time since 1970, by the host's clock, of a moment of the node's clock, which an entry at this place has.
    pub(super) fn wall(&self, place: usize, at: Time) -> Duration {
        let block = self.blocks.iter().find(|(end, ..)| place < *end).or(self.blocks.last());
        let &(_, wall, then) = block.expect("a segment has blocks");
        (Duration::from_nanos(wall) + at.since(then)).saturating_sub(then.since(at))
    }

    /// The state that it begins with, its bytes, and the entries behind it.
    pub(super) fn state(&self) -> Option<(Node, &[u8], &[u8])> {
        let (_, state) = postcard::take_from_bytes::<Beginning>(&self.content).ok()?;
        let (InForm(node), entries) = postcard::take_from_bytes::<InForm<Node>>(state).ok()?;
        Some((node, &state[..state.len() - entries.len()], entries))
    }
}

fn build_text(version: &str, core: u64) -> String {
    format!("syncswim {version}, core {core:016x}")
}

/// Which build this is.
pub(super) fn this_build() -> String {
    build_text(env!("CARGO_PKG_VERSION"), core_hash())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn header(file: &[u8]) -> Result<Header, Unreadable> {
    let Some(magic) = file.get(..MAGIC.len()) else { return unreadable("it is too short for a recording") };
    if magic[..7] != MAGIC[..7] {
        return unreadable("it is not a recording of syncswim");
    }
    if magic[7] != MAGIC[7] {
        return unreadable(format!("its layout has version {}; this program knows {}", magic[7], MAGIC[7]));
    }
    let length = word(file, 8).map_or(0, |length| length as usize);
    let header = file.get(16..).and_then(|rest| rest.get(..length));
    let header = header.filter(|header| word(file, 12) == Some(crc32fast::hash(header)));
    let header = header.and_then(|header| postcard::from_bytes::<Header>(header).ok());
    match header {
        // Printed names must not disturb a terminal.
        Some(header) if !is_name(&header.name) || !is_name(&header.version) => {
            unreadable("its header is not a name and a version")
        }
        Some(header) if header.slots > 0 && header.slots <= 1024 => Ok(header),
        _ => unreadable("its header is damaged"),
    }
}

/// The segment in a slot, as far as its blocks are whole.
fn segment(slot: &[u8], damage: &mut Vec<String>) -> Option<Segment> {
    let number = u64::from_le_bytes(slot.get(..8)?.try_into().ok()?);
    let (mut rest, mut content, mut blocks) = (slot, Vec::new(), Vec::new());
    while let Some(next) = block(rest, number, blocks.len() as u32) {
        let Some((block, behind)) = next else {
            damage.push(format!("segment {number} breaks off: its block {} is damaged", blocks.len()));
            break;
        };
        content.extend_from_slice(block.bytes);
        blocks.push((content.len(), block.wall, block.at));
        rest = behind;
    }
    let (beginning, _) = postcard::take_from_bytes::<Beginning>(&content).ok()?;
    Some(Segment { number, beginning, follows: false, content, blocks })
}

/// The block that a slot goes on with, and what is behind it: none if something else comes, and none within if it is damaged.
fn block(bytes: &[u8], segment: u64, index: u32) -> Option<Option<(Block<'_>, &[u8])>> {
    let expected = [&segment.to_le_bytes()[..], &index.to_le_bytes()].concat();
    bytes.starts_with(&expected).then(|| {
        let length = BLOCK_HEAD.checked_add(word(bytes, 12)? as usize)?;
        let (whole, behind) = bytes.split_at_checked(length)?;
        let block = (word(whole, 16)? == checksum(whole, &[]))
            .then(|| postcard::from_bytes(&whole[BLOCK_HEAD..]).ok());
        block.flatten().map(|block| (block, behind))
    })
}
