//! The bytes of a state file.

use std::{io, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::wire::data::{BroadcastHead, WINDOW};

/// The beginning of every file; the last byte is the version of the layout.
const MAGIC: [u8; 8] = *b"swimsta\x01";
/// Bytes of the header.
pub(super) const HEADER: usize = 20;
/// Bytes before the kind of a record.
const RECORD_HEAD: usize = 6;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// A life of this node begins, with this epoch.
    Life(u64),
    /// A member, as it is known from now on.
    Member(Entry<'a>),
    /// A member is remembered no longer.
    Gone(&'a str),
    /// This node has left.
    Left,
    /// Which broadcasts of a life of an origin this node's readers got.
    Head(BroadcastHead<'a>),
    /// Neither a member is remembered any longer nor what it broadcast.
    Forgotten(&'a str),
}

/// The record of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) addr: SocketAddr,
    /// The epoch of its life.
    pub(super) epoch: u64,
    /// Whether it was alive or suspect, or had failed.
    pub(super) live: bool,
    /// Since when, in milliseconds since 1970.
    pub(super) since: u64,
}

/// The header of a node's file.
pub(super) fn header(cluster: u32, node: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&cluster.to_le_bytes());
    header[12..16].copy_from_slice(&node.to_le_bytes());
    let checksum = crc32fast::hash(&header[..16]).to_le_bytes();
    header[16..].copy_from_slice(&checksum);
    header
}

/// The records of a file, if it is the one of this header. A header that is damaged or cut off is taken for it: a file of zeros
/// is what some disks leave behind a power cut.
pub(super) fn records<'a>(file: &'a [u8], own: &[u8; HEADER]) -> io::Result<&'a [u8]> {
    let Some((found, records)) = file.split_first_chunk::<HEADER>() else {
        let is_cut = own.starts_with(file) || file.iter().all(|byte| *byte == 0);
        return if is_cut { Ok(&[]) } else { Err(refusal("it is not a state file")) };
    };
    let is_whole = crc32fast::hash(&found[..16]).to_le_bytes() == found[16..];
    let (is_state, is_version) = (found[..7] == MAGIC[..7], found[7] == MAGIC[7]);
    let [same_cluster, same_node] = [8..12, 12..16].map(|part| found[part.clone()] == own[part]);
    match (is_whole, is_state) {
        _ if found == own => Ok(records),
        (true, true) if !is_version => Err(refusal("it is of another version of this library")),
        (true, true) if !same_cluster => Err(refusal("it is of another cluster")),
        (true, true) if !same_node => Err(refusal("it is of another node")),
        // The rest of the header, or its beginning, is this node's.
        (false, true) => Ok(records),
        (false, false) if same_cluster && same_node => Ok(records),
        _ if found.iter().all(|byte| *byte == 0) => Ok(&[]),
        _ => Err(refusal("it is not a state file")),
    }
}

fn refusal(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// Takes the next record from the front; `None` for a kind that is not known. The rest that is cut off or damaged is left.
pub(super) fn next<'a>(rest: &mut &'a [u8]) -> Option<Option<Record<'a>>> {
    let (head, behind) = rest.split_first_chunk::<RECORD_HEAD>()?;
    let [low, high, checksum @ ..] = *head;
    let length = [low, high];
    let (content, behind) = behind.split_at_checked(u16::from_le_bytes(length).into())?;
    let (kind, body) = content.split_first()?;
    if checksum_of(length, content) != u32::from_le_bytes(checksum) {
        return None;
    }
    *rest = behind;
    Some(Record::decode(*kind, body))
}

fn checksum_of(length: [u8; 2], content: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length);
    crc.update(content);
    crc.finalize()
}

impl<'a> Record<'a> {
    fn decode(kind: u8, body: &'a [u8]) -> Option<Self> {
        match kind {
            1 => taken(body).map(Self::Life),
            2 => taken(body).map(Self::Member),
            3 => taken(body).map(Self::Gone),
            4 => Some(Self::Left),
            5 => taken(body).filter(|head: &BroadcastHead<'_>| head.above.len() <= WINDOW).map(Self::Head),
            6 => taken(body).map(Self::Forgotten),
            _ => None,
        }
    }

    /// Appends it.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Life(epoch) => append(bytes, 1, epoch),
            Self::Member(entry) => append(bytes, 2, entry),
            Self::Gone(name) => append(bytes, 3, name),
            Self::Left => append(bytes, 4, &()),
            Self::Head(head) => append(bytes, 5, head),
            Self::Forgotten(name) => append(bytes, 6, name),
        }
    }
}

/// A body, with more behind it perhaps.
fn taken<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    postcard::take_from_bytes(body).ok().map(|(value, _)| value)
}

pub(super) fn append(bytes: &mut Vec<u8>, kind: u8, body: &impl Serialize) {
    let at = bytes.len();
    bytes.extend_from_slice(&[0; RECORD_HEAD]);
    bytes.push(kind);
    let written = postcard::to_extend(body, std::mem::take(bytes));
    *bytes = written.expect("memory takes all");
    // A name has at most 128 bytes.
    let content = at + RECORD_HEAD;
    let length = u16::try_from(bytes.len() - content).expect("a record is short").to_le_bytes();
    let checksum = checksum_of(length, &bytes[content..]).to_le_bytes();
    bytes[at..at + 2].copy_from_slice(&length);
    bytes[at + 2..content].copy_from_slice(&checksum);
}
