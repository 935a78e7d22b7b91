//! The state that the records of a file make up.

use std::{cmp::Reverse, collections::BTreeMap, io, net::SocketAddr, sync::Arc};

use super::record::{self, Entry, HEADER, Record};
use crate::{swim::EarlierLife, wire::data::BroadcastHead};

/// Lives of one name of which is kept what readers got.
const MAX_LIVES: usize = 2;

/// The state of a node that outlives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The epoch of the latest life; 0 if there was none.
    pub(super) epoch: u64,
    /// Whether that life ended with a leave.
    pub(super) left: bool,
    pub(super) members: BTreeMap<Arc<str>, Remembered>,
    pub(super) heads: Heads,
}

/// A member that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) addr: SocketAddr,
    pub(super) epoch: u64,
    pub(super) live: bool,
    pub(super) since: u64,
}

/// Which broadcasts readers got of the last lives of each origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Heads(BTreeMap<Arc<str>, Lives>);

/// `below` and `above` of each epoch, as in a [`BroadcastHead`].
type Lives = BTreeMap<u64, (u64, Vec<u8>)>;

impl Heads {
    pub(crate) fn iter(&self) -> impl Iterator<Item = BroadcastHead<'_>> {
        self.0.iter().flat_map(|(origin, lives)| {
            let heads = lives.iter();
            heads.map(move |(&epoch, &(below, ref above))| BroadcastHead { origin, epoch, below, above })
        })
    }

    pub(super) fn origins(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }

    pub(super) fn has(&self, origin: &str) -> bool {
        self.0.contains_key(origin)
    }

    /// Keeps this many origins, first those that are known as members.
    pub(super) fn truncate(&mut self, most: usize, is_member: impl Fn(&Arc<str>) -> bool) {
        let excess = self.0.len().saturating_sub(most);
        let (members, others): (Vec<_>, Vec<_>) = self.origins().cloned().partition(is_member);
        others.iter().rev().chain(members.iter().rev()).take(excess).for_each(|name| _ = self.0.remove(name));
    }

    fn put(&mut self, &BroadcastHead { origin, epoch, below, above }: &BroadcastHead<'_>) {
        let lives = self.0.entry(origin.into()).or_default();
        lives.insert(epoch, (below, above.to_vec()));
        if lives.len() > MAX_LIVES {
            lives.pop_first();
        }
    }
}

impl State {
    /// The state in a file, and how many bytes at its end could not be read; `own` is the header that it must have.
    pub(super) fn parse(file: &[u8], own: &[u8; HEADER]) -> io::Result<(Self, usize)> {
        let records = record::records(file, own)?;
        let (mut state, mut rest) = (Self::default(), records);
        while let Some(record) = record::next(&mut rest) {
            record.iter().for_each(|record| state.apply(record));
        }
        let header = if file.starts_with(own) { HEADER } else { 0 };
        Ok((state, file.len() - header - (records.len() - rest.len())))
    }

    /// A file that says it.
    pub(super) fn to_file(&self, own: &[u8; HEADER]) -> Vec<u8> {
        let mut file = own.to_vec();
        Record::Life(self.epoch).write(&mut file);
        for (name, remembered) in &self.members {
            Record::Member(remembered.entry(name)).write(&mut file);
        }
        if self.left {
            Record::Left.write(&mut file);
        }
        self.heads.iter().for_each(|head| Record::Head(head).write(&mut file));
        file
    }

    pub(super) fn apply(&mut self, record: &Record<'_>) {
        match record {
            // A new life is later than all before it, whatever its clock showed first.
            Record::Life(epoch) => (self.epoch, self.left) = (self.epoch.max(*epoch), false),
            Record::Member(entry) => {
                let Entry { name, addr, epoch, live, since } = *entry;
                let remembered = Remembered { addr, epoch, live, since };
                match self.members.get_mut(name) {
                    Some(known) => *known = remembered,
                    None => drop(self.members.insert(name.into(), remembered)),
                }
            }
            Record::Gone(name) => drop(self.members.remove(*name)),
            Record::Forgotten(name) => {
                self.members.remove(*name);
                self.heads.0.remove(*name);
            }
            Record::Left => self.left = true,
            Record::Head(head) => self.heads.put(head),
        }
    }

    /// The earlier life for the next one: first the members that lived, then those that failed last.
    pub(super) fn past(&self) -> EarlierLife {
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(_, remembered)| (!remembered.live, Reverse(remembered.since)));
        let members = members.into_iter().map(|(name, remembered)| (Arc::clone(name), remembered.addr));
        EarlierLife::new(self.epoch, members)
    }
}

impl Remembered {
    pub(super) fn entry<'a>(&self, name: &'a str) -> Entry<'a> {
        let Self { addr, epoch, live, since } = *self;
        Entry { name, addr, epoch, live, since }
    }
}

/// Reads a file of any bytes, behind a header of this node or without one, and has a node rejoin by it.
#[cfg(fuzzing)]
pub fn fuzz_state_file(bytes: &[u8]) {
    use crate::swim::{Config, Node, Start, Time};

    let own = record::header(1, 2);
    let _ = State::parse(bytes, &own);
    let (state, _) = State::parse(&[&own[..], bytes].concat(), &own).expect("it is this node's");
    let (again, damaged) = State::parse(&state.to_file(&own), &own).expect("it is this node's");
    assert!(damaged == 0 && again == state, "{state:?} is read as {again:?}");
    let start = Start::new(([10, 0, 0, 1], 1).into(), 1, 1);
    let mut node = Node::new(Config::lan("me"), start, Time::ZERO);
    node.rejoin(Time::ZERO, &state.past());
    let mut buffer = Vec::new();
    for _ in 0..20 {
        while node.poll_transmit(&mut buffer).is_some() {}
        while node.poll_output().is_some() {}
        node.audit().expect("every bound is held");
        node.handle_timeout(node.poll_timeout().unwrap_or_default());
    }
}
